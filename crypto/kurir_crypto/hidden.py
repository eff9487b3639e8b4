"""Bases for values that hold secrets: they print as their class name and nothing else."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class Hidden:
    """Never shows a field. Subclasses are dataclasses with ``repr=False, eq=False``: a generated
    ``==`` would compare secrets byte by byte, in a time that depends on them."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class SecretState(Struct, frozen=True, eq=False, array_like=True, forbid_unknown_fields=True):
    """The same for what is stored: an immutable value that is encoded as an array of its fields."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Structs bring one that shows every field, in Rich's tracebacks too."""
        return []
