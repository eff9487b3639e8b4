"""Money as people read it. Amounts are whole micro-USD; no float is ever made of one."""

from __future__ import annotations

from typing import Final

MICRO: Final = 1_000_000
_CENT: Final = 10_000


def decimal(micro: int) -> str:
    """``12.345600``: dollars with six places, for programs."""
    return f"{micro // MICRO}.{micro % MICRO:06d}"


def usd(micro: int) -> str:
    """``USD 1,234.567800``: exact."""
    return f"USD {micro // MICRO:,}.{micro % MICRO:06d}"


def usd_cents(micro: int) -> str:
    """``USD 1,234.57``: for payment, to the nearest cent, half a cent upwards."""
    cents = (micro + _CENT // 2) // _CENT
    return f"USD {cents // 100:,}.{cents % 100:02d}"
