"""Relay time: whole seconds UTC that never fall, and the demo clock."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kurir_server.errors import ConfigError
from kurir_server.log import Event, Log
from kurir_server.rows import Moment
from kurir_wire.ids import DAY

MAX_OFFSET: Final = 3_660 * DAY
"""A demo may jump ten years; more is a mistake and would overflow somebody's calendar."""


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

    def start(self, floor: int) -> None:
        """:param floor: the last minute on disk, in seconds
        :raises ConfigError: the demo clock's file holds something else than seconds"""
        self.floor = max(self.floor, floor)
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
        # Rates see a demo's jump as well: whoever lets an hour pass may write as after an hour.
        # Going back takes nothing away: rates and housekeeping go on while relay time stands still.
        self._ahead = max(self._ahead, self._offset)
        return Moment(self.floor, time.monotonic() + self._ahead)

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
            self.log(Event.DEMO_CLOCK, offset=offset)
