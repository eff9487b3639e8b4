"""Captures: what crossed the relay's sockets, as an append-only file.

The file is a sequence of msgpack values. The first is ``["kurir-capture", 1]``; each further one is
a record ``[connection, direction, kind, opcode, data]``:

connection
    number of the TCP connection, from 1
direction
    0 client to relay, 1 relay to client
kind
    ``raw``       bytes exactly as they crossed the socket, in order
    ``payload``   the payload of one WebSocket frame, unmasked; ``opcode`` is the frame's
    ``message``   the payloads of a fragmented message, joined
    ``inflated``  a message that was compressed, after decompression
    ``note``      UTF-8 text: from here on the direction could not be parsed, and why
opcode
    the WebSocket opcode (1 text, 2 binary, 8 close, 9 ping, 10 pong, 0 continuation); -1 for raw
    and note

The HTTP upgrade is part of ``raw``. A file cut short by a crash is read up to its last whole
record.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final

import msgpack

from kurir_audit.errors import EvidenceFileError

MAGIC: Final = ["kurir-capture", 1]
NO_OPCODE: Final = -1
MAX_RECORD: Final = 64 * 1024 * 1024 + 1024
"""Bytes of one record: the largest frame that the tap parses, and room around it."""


class Direction(IntEnum):
    """Which way bytes went."""

    TO_RELAY = 0
    TO_CLIENT = 1

    @property
    def words(self) -> str:
        """For people."""
        return "client to relay" if self is Direction.TO_RELAY else "relay to client"


class Kind(StrEnum):
    """What a record holds."""

    RAW = "raw"
    PAYLOAD = "payload"
    MESSAGE = "message"
    INFLATED = "inflated"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a capture."""

    connection: int
    direction: Direction
    kind: Kind
    opcode: int
    data: bytes


class CaptureWriter:
    """Writes a new capture. Every record is handed to the system at once, so a tap that is killed
    loses nothing that it had recorded."""

    def __init__(self, path: Path) -> None:
        """:raises EvidenceFileError: the file exists, or cannot be made"""
        try:
            # A capture holds everything that crossed the sockets: for its owner alone.
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError as error:
            raise EvidenceFileError(
                f"{path} is there already", "a capture is never overwritten; name another file"
            ) from error
        except OSError as error:
            raise EvidenceFileError(f"cannot write {path}: {reason(error)}") from error
        self._file = os.fdopen(fd, "wb", buffering=0)
        self._packer = msgpack.Packer(use_bin_type=True)
        self._file.write(self._packer.pack(MAGIC))

    def write(self, record: Record) -> None:
        """Append one record.

        :raises EvidenceFileError: it cannot be written; what could not be recorded must not pass
        """
        packed = self._packer.pack(
            [
                record.connection,
                int(record.direction),
                record.kind.value,
                record.opcode,
                record.data,
            ]
        )
        view = memoryview(packed)
        try:
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise EvidenceFileError(f"cannot write the capture: {reason(error)}") from error

    def close(self) -> None:
        """Bring everything to the disk."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> CaptureWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self.close()


def read_capture(path: Path) -> Iterator[Record]:
    """The records of a capture, in order.

    :raises EvidenceFileError: not a capture, or damaged before its end
    """
    try:
        with path.open("rb") as file:
            unpacker = msgpack.Unpacker(
                file, raw=False, strict_map_key=True, max_buffer_size=MAX_RECORD
            )
            try:
                if next(unpacker, None) != MAGIC:
                    raise EvidenceFileError(
                        f"{path} is not a capture of kurir-audit tap",
                        "give the file that the tap wrote with --out",
                    )
                for values in unpacker:
                    yield _record(values)
            except (ValueError, TypeError, msgpack.UnpackException) as error:
                raise EvidenceFileError(f"{path} is damaged: {type(error).__name__}") from error
    except OSError as error:
        raise EvidenceFileError(f"cannot read {path}: {reason(error)}") from error


def _record(values: object) -> Record:
    """:raises ValueError: not a record"""
    match values:
        case [int(connection), int(direction), str(kind), int(opcode), bytes(data)]:
            return Record(connection, Direction(direction), Kind(kind), opcode, data)
        case _:
            raise ValueError("not a record")


def reason(error: OSError) -> str:
    """The system's words for an error, in the house form."""
    return (error.strerror or type(error).__name__).lower()
