"""Days and months of bills: whole ones, UTC, by number and as people write them."""

from __future__ import annotations

import time
from datetime import date
from typing import Final

from kurir_wire.ids import DAY

EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
MAX_DAY: Final = date.max.toordinal() - EPOCH_ORDINAL
"""The last day that has a date; also keeps the calendar's arithmetic in range."""


def month_of_day(day: int) -> int:
    """The month (year * 100 + month, UTC) to which a day (unix time // 86400) belongs."""
    when = time.gmtime(day * DAY)
    return when.tm_year * 100 + when.tm_mon


def first_day(month: int) -> int | None:
    """The first day of a month (year * 100 + month); ``None`` if there is no such month."""
    try:
        return date(month // 100, month % 100, 1).toordinal() - EPOCH_ORDINAL
    except ValueError:
        return None


def show_day(day: int) -> str:
    """A day (unix time // 86400) as people write it."""
    return date.fromordinal(day + EPOCH_ORDINAL).isoformat() if day <= MAX_DAY else f"day {day}"


def show_month(month: int) -> str:
    """A month (year * 100 + month) as people write it."""
    return f"{month // 100:04}-{month % 100:02}"
