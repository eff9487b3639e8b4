"""The relay's log: JSON lines, an enumerated set of events and fields, no user data.

:data:`FIELDS` is the one declaration; tests check that nothing else is ever written, and
docs/metadata.md lists it. No field holds a mailbox, an envelope, a business's customer or the
network address of a client.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, TextIO

from kurir_server.errors import ConfigError


class Event(Enum):
    """What is logged."""

    STARTED = "started"
    READY = "ready"
    METRICS = "metrics"
    RELOADED = "reloaded"
    RELOAD_FAILED = "reload-failed"
    UNREADY = "unready"
    READY_AGAIN = "ready-again"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DEMO_CLOCK = "demo-clock"
    CLOCK_BEHIND = "clock-behind"
    CLOCK_AHEAD = "clock-ahead"
    DISK_FAILED = "disk-failed"
    DISK_RECOVERED = "disk-recovered"
    DATA_DAMAGED = "data-damaged"
    DISK_LOW = "disk-low"
    DISK_ROOMY = "disk-roomy"
    BLOBS_FAILED = "blobs-failed"
    BLOBS_RECOVERED = "blobs-recovered"
    BLOBS_DAMAGED = "blobs-damaged"
    CERTIFICATE_ENDS = "certificate-ends"
    CONNECTIONS_FULL = "connections-full"
    INTERNAL_ERROR = "internal-error"


class Level(Enum):
    """How urgent an event is."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


@dataclass(frozen=True, slots=True)
class Shape:
    """The level and the fields of an event."""

    level: Level
    fields: tuple[str, ...]


FIELDS: Final = {
    Event.STARTED: Shape(Level.INFO, ("version", "relay", "pid")),
    Event.READY: Shape(Level.INFO, ("listen", "tls")),
    Event.METRICS: Shape(Level.INFO, ("listen",)),
    Event.RELOADED: Shape(Level.INFO, ("part",)),
    Event.RELOAD_FAILED: Shape(Level.ERROR, ("part", "error", "hint")),
    Event.UNREADY: Shape(Level.WARNING, ("reason",)),
    Event.READY_AGAIN: Shape(Level.INFO, ()),
    Event.STOPPING: Shape(Level.INFO, ("signal",)),
    Event.STOPPED: Shape(Level.INFO, ()),
    Event.DEMO_CLOCK: Shape(Level.WARNING, ("offset",)),
    Event.CLOCK_BEHIND: Shape(Level.WARNING, ("seconds",)),
    Event.CLOCK_AHEAD: Shape(Level.WARNING, ("seconds",)),
    Event.DISK_FAILED: Shape(Level.ERROR, ("error",)),
    Event.DISK_RECOVERED: Shape(Level.INFO, ()),
    Event.DATA_DAMAGED: Shape(Level.ERROR, ("error", "rows")),
    Event.DISK_LOW: Shape(Level.ERROR, ()),
    Event.DISK_ROOMY: Shape(Level.INFO, ()),
    Event.BLOBS_FAILED: Shape(Level.ERROR, ("error",)),
    Event.BLOBS_RECOVERED: Shape(Level.INFO, ()),
    Event.BLOBS_DAMAGED: Shape(Level.ERROR, ("chunks",)),
    Event.CERTIFICATE_ENDS: Shape(Level.WARNING, ("days",)),
    Event.CONNECTIONS_FULL: Shape(Level.WARNING, ("connections",)),
    Event.INTERNAL_ERROR: Shape(Level.ERROR, ("place", "kind")),
}
COMMON: Final = ("time", "level", "event")
"""Fields of every line: the machine's UTC time in whole seconds, the level, the event."""


class Log:
    """Writes events at or above a level, one JSON object a line.

    ``counts``: how often each event came, whatever the level.
    """

    __slots__ = ("_level", "_path", "_stream", "counts")

    def __init__(
        self,
        stream: TextIO | None = None,
        level: Level = Level.INFO,
        path: Path | None = None,
    ) -> None:
        """:param path: the file to append to instead of ``stream``
        :raises ConfigError: the file cannot be opened
        """
        self._path = path
        self._stream = _append_to(path) if path is not None else stream or sys.stderr
        self._level = level
        self.counts: Counter[Event] = Counter()

    def reopen(self) -> None:
        """Go on in a new file, after the old one was moved away.

        :raises ConfigError: it cannot be opened; the old one stays in use
        """
        if self._path is not None:
            former, self._stream = self._stream, _append_to(self._path)
            _close(former)

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._path is not None:
            _close(self._stream)

    def __call__(self, event: Event, /, **fields: str | int | bool) -> None:
        """Log one event with exactly its declared fields.

        :raises ValueError: other fields than declared, which a test would have caught
        """
        shape = FIELDS[event]
        if tuple(fields) != shape.fields:
            raise ValueError(f"the event {event.value} has the fields {shape.fields}")
        self.counts[event] += 1
        if shape.level.value < self._level.value:
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = {"time": stamp, "level": shape.level.name.lower(), "event": event.value, **fields}
        try:
            self._stream.write(json.dumps(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            # A full disk or a closed pipe must not stop the relay.
            return

    def internal(self, error: BaseException) -> None:
        """Log a fault of our own by place and kind only: its text could hold user data."""
        frame = error.__traceback__
        place = "unknown"
        while frame is not None:
            name = frame.tb_frame.f_globals.get("__name__", "")
            if name.startswith("kurir_"):
                place = f"{name}:{frame.tb_lineno}"
            frame = frame.tb_next
        self(Event.INTERNAL_ERROR, place=place, kind=type(error).__name__)


def _close(stream: TextIO) -> None:
    # What a full disk kept back is lost with it, as each such line is.
    with contextlib.suppress(OSError, ValueError):
        stream.close()


def _append_to(path: Path) -> TextIO:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
