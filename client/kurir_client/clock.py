"""What time it is. Everything below takes time as an argument; only shells ask a clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

Clock = Callable[[], int]
"""Whole seconds, UTC, since 1970."""


def system_clock() -> int:
    """The computer's clock."""
    return int(time.time())


def demo_clock(file: Path) -> Clock:
    """The computer's clock plus the seconds written in a file, read again at each call.

    For demonstrations and tests: it lets a day pass in a moment.
    """

    def now() -> int:
        try:
            offset = int(file.read_text().strip() or 0)
        except (OSError, ValueError):
            offset = 0  # the file is being replaced, or not written yet
        return system_clock() + offset

    return now
