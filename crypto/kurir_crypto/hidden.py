"""A base for values that hold secrets: they print as their class name and nothing else."""

from __future__ import annotations


class Hidden:
    """Never shows a field. Subclasses are dataclasses with ``repr=False, eq=False``: a generated
    ``==`` would compare secrets byte by byte, in a time that depends on them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"
