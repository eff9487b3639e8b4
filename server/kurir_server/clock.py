"""Relay time: whole seconds UTC that never fall, what of it is sure, and the demo clock.

A clock that leaps ahead may be wrong: a machine that starts with a bad hardware clock, a mistyped
date. Relay time follows it, as beacons and receipts need one time. But nothing ends by a leap
before it has stood for a day: until then what is sure goes on at the pace of the steady clock.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kurir_server.errors import ConfigError
from kurir_server.log import Event, Log
from kurir_server.rows import Moment
from kurir_wire.ids import DAY, MINUTE

LEAP: Final = 10 * MINUTE
"""Seconds that the machine's clock and the steady one may come apart by; more is a leap."""
DOUBT: Final = DAY
"""Seconds for which a leap has to stand before it is taken for the time, and things end by it."""
MAX_OFFSET: Final = 3_660 * DAY
"""A demo may jump ten years; more is a mistake and would overflow somebody's calendar."""


@dataclass(frozen=True, slots=True)
class _Leap:
    """``at`` in seconds of the steady clock."""

    at: float
    is_ahead: bool


@dataclass(slots=True)
class Clock:
    """The relay's clock.

    ``floor`` in seconds: time never falls below it; where the machine's clock goes back, relay time
    stands still until it has caught up, because a beacon once given out must not come again.
    ``behind`` in seconds: by how much the machine's clock is back at present.
    """

    log: Log
    demo_file: Path | None = None
    floor: int = 0
    _offset: int = 0
    _ahead: int = 0
    _stamp: tuple[int, int, int] | None = None
    behind: int = 0
    _sure: float | None = None
    _seen: float = 0.0
    _doubted: _Leap | None = None

    def start(self, floor: int, sure: int = 0) -> None:
        """:param floor: the last minute on disk, in seconds
        :param sure: what it was at least then, in seconds; 0 if nobody knows
        :raises ConfigError: the demo clock's file holds something else than seconds"""
        self.floor = max(self.floor, floor)
        if sure:
            # A relay that was down for long meets a leap as well, and lets things be for a day.
            self._sure, self._seen = float(sure), time.monotonic()
        if self.demo_file is not None:
            self._read_demo(self.demo_file, strict=True)

    def moment(self) -> Moment:
        """The time now."""
        if self.demo_file is not None:
            self._read_demo(self.demo_file, strict=False)
        wall = int(time.time()) + self._offset
        if wall < self.floor:
            if not self.behind:
                self.log(Event.CLOCK_BEHIND, seconds=self.floor - wall)
            self.behind = self.floor - wall
        else:
            self.floor = wall
            self.behind = 0
        tick = time.monotonic()
        sure = min(self._surely(wall, tick), self.floor)
        return Moment(self.floor, tick + self._ahead, self.floor - sure)

    def _surely(self, wall: int, tick: float) -> int:
        """What the time is at least, in seconds UTC."""
        expected = wall if self._sure is None else self._sure + tick - self._seen
        apart = wall - expected
        if self.demo_file is not None or abs(apart) <= LEAP:
            self._doubted = None
        elif self._doubted is None or self._doubted.is_ahead != (apart > 0):
            self._doubted = _Leap(tick, apart > 0)
            if apart > 0:
                self.log(Event.CLOCK_AHEAD, seconds=int(apart))
        elif tick - self._doubted.at >= DOUBT:
            self._doubted = None
        # Back is doubted as well: what was sure before is so again when the clock comes back.
        self._sure = expected if self._doubted is not None else float(wall)
        self._seen = tick
        return min(int(self._sure), wall)

    def _read_demo(self, path: Path, *, strict: bool) -> None:
        """Read the offset again if the file changed. A file that is being rewritten keeps the old
        offset until it is whole."""
        try:
            info = os.stat(path)
            stamp = (info.st_mtime_ns, info.st_size, info.st_ino)
            if stamp == self._stamp:
                return
            offset = int(path.read_text("ascii").strip())
            if abs(offset) > MAX_OFFSET:
                raise ValueError
        except (OSError, ValueError) as error:
            if strict and not isinstance(error, FileNotFoundError):
                raise ConfigError(
                    f"{path} does not hold a whole number of seconds",
                    "write an offset such as 86400 into it",
                ) from error
            return
        first = self._stamp is None
        self._stamp = stamp
        if offset != self._offset or first:
            self._offset = offset
            # Rates see the jump as well: whoever lets an hour pass may write as after an hour.
            # Going back takes nothing away: rates and housekeeping go on while relay time stands
            # still.
            self._ahead = max(self._ahead, offset)
            self.log(Event.DEMO_CLOCK, offset=offset)
