"""The relay's log: JSON lines, an enumerated set of events and fields, no user data.

:data:`FIELDS` is the one declaration; tests check that nothing else is ever written, and
docs/metadata.md lists it. No field holds a mailbox, an envelope, a business's customer or the
network address of a client.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from enum import Enum
from typing import Final, TextIO


class Event(Enum):
    """What is logged."""

    STARTED = "started"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    DEMO_CLOCK = "demo-clock"
    CLOCK_BEHIND = "clock-behind"
    DISK_FAILED = "disk-failed"
    DISK_RECOVERED = "disk-recovered"
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
    Event.STOPPING: Shape(Level.INFO, ("signal",)),
    Event.STOPPED: Shape(Level.INFO, ()),
    Event.DEMO_CLOCK: Shape(Level.WARNING, ("offset",)),
    Event.CLOCK_BEHIND: Shape(Level.WARNING, ("seconds",)),
    Event.DISK_FAILED: Shape(Level.ERROR, ("error",)),
    Event.DISK_RECOVERED: Shape(Level.INFO, ()),
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
    """Writes events at or above a level, one JSON object a line."""

    __slots__ = ("_level", "_stream")

    def __init__(self, stream: TextIO | None = None, level: Level = Level.INFO) -> None:
        self._stream = stream or sys.stderr
        self._level = level

    def __call__(self, event: Event, /, **fields: str | int | bool) -> None:
        """Log one event with exactly its declared fields.

        :raises ValueError: other fields than declared, which a test would have caught
        """
        shape = FIELDS[event]
        if tuple(fields) != shape.fields:
            raise ValueError(f"the event {event.value} has the fields {shape.fields}")
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
