"""What a connection hands on: jobs for the writer, frames for the socket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from msgspec import Struct

from kurir_server.blob_rows import BlobRows
from kurir_server.limits import NO_ROOM_SECONDS
from kurir_server.rows import Moment, Rows
from kurir_wire import codes
from kurir_wire.entries import Result

RETRY_SECONDS: Final = 5
"""When to try again after the disk failed: soon, since an operator may just have made room."""
UNAVAILABLE: Final = Result(
    codes.UNAVAILABLE,
    "the relay cannot write to its disk at present; nothing was accepted",
    RETRY_SECONDS,
)
NO_ROOM: Final = Result(
    codes.UNAVAILABLE,
    "the relay's disk has room for its readers only at present; nothing was accepted",
    NO_ROOM_SECONDS,
)


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing of a job holds: the transaction was not committed."""


class Job(Struct, frozen=True):
    """One request's work.

    ``run`` is called in the store's thread inside a transaction; ``done`` in the event loop, after
    the commit, with what ``run`` returned, or with :class:`Failed`. ``weight`` in bytes, or as many
    as take as long.
    ``barrier``: the connection's next frame waits, because this one changes what it may do.
    """

    run: Callable[[Rows, Moment], Any]
    done: Callable[[Any], None]
    weight: int = 0
    barrier: bool = False


class BlobJob(Struct, frozen=True):
    """The same for the store of blobs, which has a thread of its own."""

    run: Callable[[BlobRows, Moment], Any]
    done: Callable[[Any], None]
    weight: int = 0


class Output(Struct):
    """What is to be done: frames to send in order, jobs to run, and perhaps a close with a code and
    a reason after the frames."""

    frames: list[bytes] = []
    jobs: list[Job] = []
    blob_jobs: list[BlobJob] = []
    close: tuple[int, str] | None = None
