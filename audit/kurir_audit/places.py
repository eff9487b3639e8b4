"""Places: everything in which a search looks, as one run of bytes each.

A database is read twice: as the bytes of its files, which hold freed pages and old WAL frames too
(one place, for what stands in the WAL of one run may have moved to the file in another), and value
by value, for in the file SQLite cuts a long value into pages with pointers between them.
A capture is read as raw bytes and as unmasked payloads, each direction by itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from kurir_audit import database
from kurir_audit.capture import Direction, Kind, read_capture, reason
from kurir_audit.errors import EvidenceFileError

SEPARATOR: Final = b"\xff" * 4
"""Between joined pieces. It is in no UTF-8 text, and in UTF-16 it is not a character, so nothing is
found across two pieces."""


WAL_MAGIC: Final = b"\x37\x7f\x06"
WAL_HEAD: Final = 32
WAL_FRAME_HEAD: Final = 24
"""How a write-ahead log begins, and the bytes before its first and before each page."""


class Family(StrEnum):
    """The three kinds of evidence; each needs a control word of its own."""

    DATABASE = "database"
    LOG = "log"
    WIRE = "wire"


@dataclass(frozen=True, slots=True)
class Place:
    """One run of bytes with a name that is the same in every run of a demo."""

    name: str
    family: Family
    data: bytes
    marks: tuple[tuple[int, str], ...] = field(default=(), repr=False)
    """Where each joined piece begins, and what it is."""

    def where(self, offset: int) -> str:
        """For people: the piece and the byte in it."""
        if not self.marks:
            return f"byte {offset}"
        at = bisect_right(self.marks, offset, key=lambda mark: mark[0]) - 1
        start, label = self.marks[max(at, 0)]
        return f"{label}, byte {offset - start}"


@dataclass(frozen=True, slots=True)
class Evidence:
    """All places of one run, and what of the wire could not be parsed."""

    places: tuple[Place, ...]
    unparsed: tuple[str, ...] = ()

    def place(self, name: str) -> Place | None:
        """The place of this name, if there is one."""
        return next((place for place in self.places if place.name == name), None)


def wire_place(direction: Direction, form: str) -> str:
    """The name of a place on the wire; ``form`` is raw, unmasked or inflated."""
    return f"wire, {direction.words}, {form}"


def gather(
    db: Path | None = None, logs: Iterable[Path] = (), capture: Path | None = None
) -> Evidence:
    """Read everything that was left by one run.

    :raises EvidenceFileError: a file is missing, unreadable, or not what it should be
    """
    places: list[Place] = []
    unparsed: tuple[str, ...] = ()
    if db is not None:
        places += _database_places(db)
    log_pieces = [(path.name, _read(path)) for path in logs]
    if log_pieces:
        places.append(_joined("log", Family.LOG, log_pieces))
    if capture is not None:
        wire, unparsed = _wire_places(capture)
        places += wire
    return Evidence(tuple(places), unparsed)


def _database_places(path: Path) -> list[Place]:
    database.check_readable(path)
    files = [(path.name, _read(path))]
    wal, journal = (path.with_name(f"{path.name}-{suffix}") for suffix in ("wal", "journal"))
    if wal.exists():
        files += _wal_pieces(wal.name, _read(wal))
    if journal.exists():
        files.append((journal.name, _read(journal)))
    places = [_joined("database, files", Family.DATABASE, files)]
    with database.open_read_only(path) as connection:
        pieces = [
            (f"{table.name}.{column} row {number}", _as_bytes(value))
            for table in database.tables(connection)
            for number, row in enumerate(database.rows(connection, table), 1)
            for column, value in zip(table.columns, row, strict=True)
            if value is not None
        ]
    places.append(_joined("database, values", Family.DATABASE, pieces))
    return places


def _wal_pieces(name: str, data: bytes) -> list[tuple[str, bytes]]:
    """A write-ahead log, each page by itself (sqlite.org/fileformat2.html, section 4).

    A page is there as often as it was written, behind a header with random salt and checksum. Next
    to these the same public text would look new each time, and how often it was written depends on
    when the log was last emptied, which is not the same in two runs.
    """
    page = int.from_bytes(data[8:12], "big")
    if data[:3] != WAL_MAGIC or page < 512:
        return [(name, data)]
    starts = range(WAL_HEAD, len(data), WAL_FRAME_HEAD + page)
    heads = b"".join(data[start : start + WAL_FRAME_HEAD] for start in starts)
    pages = [
        (f"{name} frame {number}", data[start + WAL_FRAME_HEAD : start + WAL_FRAME_HEAD + page])
        for number, start in enumerate(starts, 1)
    ]
    return [(f"{name} headers", data[:WAL_HEAD] + heads), *pages]


def _wire_places(path: Path) -> tuple[list[Place], tuple[str, ...]]:
    raw: dict[tuple[Direction, int], bytearray] = defaultdict(bytearray)
    unmasked: dict[Direction, list[tuple[str, bytes]]] = {way: [] for way in Direction}
    inflated: dict[Direction, list[tuple[str, bytes]]] = {way: [] for way in Direction}
    notes: list[str] = []
    for record in read_capture(path):
        label = f"connection {record.connection}"
        match record.kind:
            case Kind.RAW:
                raw[record.direction, record.connection] += record.data
            case Kind.PAYLOAD | Kind.MESSAGE:
                unmasked[record.direction].append((label, record.data))
            case Kind.INFLATED:
                inflated[record.direction].append((label, record.data))
            case Kind.NOTE:
                text = record.data.decode(errors="replace")
                notes.append(f"{label}, {record.direction.words}: {text}")
    places = []
    for way in Direction:
        streams = [(f"connection {n}", bytes(data)) for (d, n), data in raw.items() if d is way]
        places.append(_joined(wire_place(way, "raw"), Family.WIRE, streams))
        places.append(_joined(wire_place(way, "unmasked"), Family.WIRE, unmasked[way]))
        if inflated[way]:
            places.append(_joined(wire_place(way, "inflated"), Family.WIRE, inflated[way]))
    return places, tuple(notes)


def _joined(name: str, family: Family, pieces: Iterable[tuple[str, bytes]]) -> Place:
    marks: list[tuple[int, str]] = []
    parts: list[bytes] = []
    # Before the first piece as well, so that all begin in the same surroundings.
    parts.append(SEPARATOR)
    offset = len(SEPARATOR)
    for label, data in pieces:
        marks.append((offset, label))
        parts += (data, SEPARATOR)
        offset += len(data) + len(SEPARATOR)
    return Place(name, family, b"".join(parts), tuple(marks))


def _as_bytes(value: database.Value) -> bytes:
    match value:
        case bytes():
            return value
        case str():
            return value.encode(errors="surrogateescape")
        case _:
            return str(value).encode()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EvidenceFileError(f"cannot read {path}: {reason(error)}") from error
