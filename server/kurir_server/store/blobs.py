"""The store of blobs: a second SQLite file, with the same promises as the first.

In SQLite and not in files of a folder: a chunk and the note that it is there are one commit, many
uploads share one, what is deleted is overwritten, and nothing is ever orphaned. Files would also
carry the times of their making to the nanosecond.

What is there shows no order: a blob's row is random, and its chunks lie behind one another.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from kurir_server.blob_rows import Blob, BlobRows, Put
from kurir_server.errors import DatabaseError, StorageError
from kurir_server.limits import BUSY_MILLISECONDS, CUT_MILLISECONDS
from kurir_server.store.errors import name_of
from kurir_wire.blobs import BlobId
from kurir_wire.ids import Hash
from kurir_wire.limits import MAX_BLOB_CHUNKS

T = TypeVar("T")

BLOBS_VERSION: Final = 1
BLOBS: Final = """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE blobs (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    write_gate BLOB NOT NULL,
    read_gate BLOB NOT NULL,
    chunks INTEGER NOT NULL,
    missing INTEGER NOT NULL,
    life INTEGER NOT NULL,
    expires_hour INTEGER NOT NULL
) STRICT;

CREATE TABLE chunks (
    place INTEGER PRIMARY KEY,
    sum BLOB NOT NULL,
    data BLOB NOT NULL
) STRICT;
"""
"""``place`` is ``row * MAX_BLOB_CHUNKS + index``."""

_SETTINGS: Final = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}
_ROW_BITS: Final = 52
"""So that a place stays below 2 ** 62."""
_SUM_BYTES: Final = 16
_ID_BYTES: Final = 32
_NOBODY: Final = bytes(32)
"""A gate that no token hashes to."""
MOVE_AWAY: Final = (
    "it holds attachments that wait, and no messages; where it is damaged, stop the relay and move "
    "it away, and the relay makes a new one"
)
_KEYS: Final = ("schema_version", "relay_id", "reserved")


class SqlBlobStore:
    """Implements :class:`kurir_server.blob_rows.BlobStore`."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        # Where the file is, to which the path may be a link on another disk.
        self._folder = path.resolve().parent
        self._rows = SqlBlobRows(connection)

    @classmethod
    def open(cls, path: Path, relay_id: bytes) -> SqlBlobStore:
        """Open the file, or make it: a relay whose blobs were lost goes on without them.

        :raises DatabaseError: damaged, of another version or relay, or not durable
        """
        with ExitStack() as opened, explained(path):
            path.touch(mode=0o600)
            connection = sqlite3.connect(
                path, isolation_level=None, timeout=BUSY_MILLISECONDS / 1_000
            )
            opened.callback(connection.close)
            _settle(connection)
            if is_empty(connection):
                _make(connection, relay_id)
            _check(connection, path, relay_id)
            opened.pop_all()
        return cls(connection, path)

    def transact(self, work: Callable[[BlobRows], T]) -> T:
        """Run ``work`` in one transaction, which is on disk when this returns.

        :raises StorageError: not at present; nothing of it holds
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            result = work(self._rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StorageError(name_of(error)) from error
        finally:
            self._roll_back()
        return result

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the file and cut it to nothing; while another process
        reads (``kurir-relay doctor``), it is not cut.

        :raises StorageError: not at present"""
        try:
            # Such a reader may take minutes; nobody who writes shall wait for it.
            self._connection.execute(f"PRAGMA busy_timeout = {CUT_MILLISECONDS}")
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        except sqlite3.Error as error:
            raise StorageError(name_of(error)) from error

    @property
    def writes(self) -> int:
        """Rows written since it was opened."""
        return self._connection.total_changes

    def take_damaged(self) -> int:
        """Chunks that were found not to be as they were written, since the last call."""
        count, self._rows.damaged = self._rows.damaged, 0
        return count

    def free_bytes(self) -> int:
        """Room on the disk that is left to this process."""
        found = os.statvfs(self._folder)
        return found.f_bavail * found.f_frsize

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _roll_back(self) -> None:
        """Never raises: after a full disk SQLite may have rolled back by itself."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            return


class SqlBlobRows:
    """Implements :class:`kurir_server.blob_rows.BlobRows`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.damaged = 0

    def blob(self, blob_id: BlobId) -> Blob | None:
        found = self._one(
            """SELECT row, id, write_gate, read_gate, chunks, missing, life, expires_hour
            FROM blobs WHERE id = ?""",
            blob_id,
        )
        return Blob(*found) if found else None

    def add_blob(
        self,
        blob_id: BlobId,
        write_gate: Hash,
        read_gate: Hash,
        chunks: int,
        life: int,
        expires_hour: int,
    ) -> None:
        row = secrets.randbits(_ROW_BITS)
        self._db.execute(
            "INSERT INTO blobs VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (row, blob_id, write_gate, read_gate, chunks, chunks, life, expires_hour),
        )
        self._reserve(chunks)

    def put_blob(self, blob: Blob) -> None:
        self._db.execute(
            "UPDATE blobs SET missing = ?, life = ?, expires_hour = ? WHERE row = ?",
            (blob.missing, blob.life, blob.expires_hour, blob.row),
        )

    def end_blob(self, row: int) -> None:
        self._db.execute(
            """UPDATE blobs SET id = ?, write_gate = ?, read_gate = ?, life = 0, expires_hour = 0
            WHERE row = ?""",
            (secrets.token_bytes(_ID_BYTES), _NOBODY, _NOBODY, row),
        )

    def put_chunk(self, row: int, index: int, data: bytes) -> Put:
        place, total = _place(row, index), sum_of_chunk(row, index, data)
        found = self._one("SELECT sum, data FROM chunks WHERE place = ?", place)
        if found is None:
            self._db.execute("INSERT INTO chunks VALUES (?, ?, ?)", (place, total, data))
            return Put.ADDED
        if found[0] != total:
            return Put.OTHER
        if found[1] != data:
            self._db.execute("UPDATE chunks SET data = ? WHERE place = ?", (data, place))
        return Put.SAME

    def chunk(self, row: int, index: int) -> bytes | None:
        found = self._one("SELECT sum, data FROM chunks WHERE place = ?", _place(row, index))
        if found is None:
            return None
        total, data = found
        if total != sum_of_chunk(row, index, data):
            self.damaged += 1
            return None
        return bytes(data)

    def indexes(self, row: int) -> list[int]:
        found = self._db.execute(
            "SELECT place FROM chunks WHERE place >= ? AND place < ? ORDER BY place",
            (_place(row, 0), _place(row + 1, 0)),
        )
        return [place % MAX_BLOB_CHUNKS for (place,) in found]

    def reserved(self) -> int:
        found = self._one("SELECT value FROM meta WHERE key = 'reserved'")
        return int(found[0]) if found else 0

    def sweep(self, hour: int, limit: int) -> bool:
        ended = self._db.execute(
            "SELECT row, chunks FROM blobs WHERE expires_hour <= ? LIMIT ?", (hour, limit)
        ).fetchall()
        left = limit
        for row, chunks in ended:
            done = self._db.execute(
                """DELETE FROM chunks WHERE place IN
                (SELECT place FROM chunks WHERE place >= ? AND place < ? LIMIT ?)""",
                (_place(row, 0), _place(row + 1, 0), left),
            )
            left -= done.rowcount
            if left <= 0:
                return True
            self._db.execute("DELETE FROM blobs WHERE row = ?", (row,))
            self._reserve(-chunks)
        return len(ended) == limit

    def _reserve(self, chunks: int) -> None:
        self._db.execute(
            "UPDATE meta SET value = CAST(value AS INTEGER) + ? WHERE key = 'reserved'", (chunks,)
        )

    def _one(self, sql: str, *parameters: object) -> Any:
        return self._db.execute(sql, parameters).fetchone()


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """:raises DatabaseError: what is done within cannot be done with this file"""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DatabaseError(f"cannot use {path}: {reason}", MOVE_AWAY) from error


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether it is to be filled at the next start."""
    return not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]


def _place(row: int, index: int) -> int:
    return row * MAX_BLOB_CHUNKS + index


def sum_of_chunk(row: int, index: int, data: bytes) -> bytes:
    """Of what stands where: a page that slipped into another's place is noticed as well."""
    place = _place(row, index).to_bytes(8, "big")
    return hashlib.blake2b(data, digest_size=_SUM_BYTES, salt=place).digest()


def _settle(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON").fetchall()
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA trusted_schema = OFF")


def _make(connection: sqlite3.Connection, relay_id: bytes) -> None:
    """In one transaction: a crash leaves an empty file, which is filled at the next start."""
    values = (str(BLOBS_VERSION), relay_id.hex(), "0")
    rows = "".join(
        f"INSERT INTO meta VALUES ('{key}', '{value}');"  # noqa: S608  (constants and hex)
        for key, value in zip(_KEYS, values, strict=True)
    )
    connection.executescript(f"BEGIN; {BLOBS} {rows} COMMIT;")


def _check(connection: sqlite3.Connection, path: Path, relay_id: bytes) -> None:
    actual = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _SETTINGS}
    if actual != _SETTINGS:
        raise DatabaseError(
            f"the file of blobs does not keep what the relay promises: {actual}",
            "put it on a local file system that SQLite's write-ahead log works on",
        )
    check_owner(connection, path, relay_id)


def check_owner(connection: sqlite3.Connection, path: Path, relay_id: bytes | None) -> None:
    """:param relay_id: ``None`` if it is not known
    :raises DatabaseError: of another version or relay"""
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    if meta.get("schema_version") != str(BLOBS_VERSION):
        raise DatabaseError(
            f"{path} has another version than this kurir-relay ({BLOBS_VERSION})",
            "use the kurir-relay that wrote it, or move it away: it holds no messages",
        )
    if relay_id is not None and meta.get("relay_id") != relay_id.hex():
        raise DatabaseError(
            f"{path} belongs to another relay",
            "move it away, and the relay makes a new one",
        )
