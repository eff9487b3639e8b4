"""The table of frauds. A kind is a function that commits one, seeded, in an otherwise honest world,
lets the check of those whom it harms run, and tells what should be named and what was.

To add a kind, write such a function in a module of this folder under :func:`fraud`, and import the
module in ``test_thousand``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Caught:
    """``where`` names the place that is at fault; ``found`` is what the check named, ``None`` if it
    found nothing."""

    where: str
    found: str | None


Kind = Callable[[Random], Caught]
KINDS: dict[str, tuple[Kind, int]] = {}
"""Each kind with how many of the cases are its."""


def fraud(cases: int = 40) -> Callable[[Kind], Kind]:
    """Puts a kind into the table, under its function's name in plain words."""

    def register(kind: Kind) -> Kind:
        name = kind.__name__.replace("_", " ")
        assert name not in KINDS
        KINDS[name] = kind, cases
        return kind

    return register
