"""The store: one SQLite file, and the only SQL of the relay.

``Store`` is synchronous and belongs to one thread; ``open_async`` puts it behind aiosqlite, where
a whole batch is one call. Write-ahead log at ``synchronous=FULL`` (a commit is on disk when it
returns), ``secure_delete`` (what is deleted is overwritten); all three are asserted at start-up.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from kurir_server.errors import DatabaseError, StorageError
from kurir_server.limits import BUSY_MILLISECONDS
from kurir_server.store.billing import BillingRows
from kurir_server.store.businesses import BusinessRows
from kurir_server.store.ledger import LedgerRows
from kurir_server.store.mailboxes import Cursor, MailboxRows
from kurir_server.store.schema import SCHEMA, SCHEMA_VERSION
from kurir_server.store.upgrade import upgrade, version_of

T = TypeVar("T")

_FULL: Final = 2
_ON: Final = 1
_STATEMENTS: Final = 256
"""Prepared statements kept: more than there are."""


class SqlRows(MailboxRows, BusinessRows, BillingRows, LedgerRows):
    """Implements :class:`kurir_server.rows.Rows`."""


class Store:
    """One open database. All methods belong to the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self.rows = SqlRows(_Translating(connection))

    @classmethod
    def create(cls, path: Path, relay_id: bytes) -> Store:
        """Make a new database, readable by the operator alone.

        :raises DatabaseError: the file exists or cannot be made
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600, exist_ok=False)
        except FileExistsError as error:
            raise DatabaseError(
                f"{path} exists already", "give another file, or serve this one"
            ) from error
        except OSError as error:
            raise DatabaseError(f"cannot make {path}: {error.strerror}") from error
        connection = _connect(path)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {SCHEMA} COMMIT;")
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                (
                    ("schema_version", str(SCHEMA_VERSION)),
                    ("relay_id", relay_id.hex()),
                    ("minute", "0"),
                ),
            )
        except sqlite3.Error as error:
            connection.close()
            raise DatabaseError(f"cannot make {path}: {error}") from error
        connection.close()
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, *, bring_forward: bool = False) -> Store:
        """Open an existing database and assert its settings.

        :param bring_forward: change one of an older version; only while no relay serves it
        :raises DatabaseError: missing, damaged, of another version, or not durable
        """
        if not path.is_file():
            raise DatabaseError(
                f"there is no database {path}", f"make one with: kurir-relay init --db {path}"
            )
        connection = _connect(path)
        try:
            _settle(connection)
            if bring_forward:
                upgrade(connection)
            _check(connection, path)
        except sqlite3.Error as error:
            connection.close()
            raise DatabaseError(f"cannot use {path}: {error}") from error
        except DatabaseError:
            connection.close()
            raise
        return cls(connection, path)

    @property
    def connection(self) -> sqlite3.Connection:
        """For aiosqlite, which owns the thread and closes it."""
        return self._connection

    @property
    def relay_id(self) -> bytes:
        """The relay whose database this is."""
        found = self._connection.execute("SELECT value FROM meta WHERE key = 'relay_id'").fetchone()
        return bytes.fromhex(found[0])

    def settings(self) -> dict[str, str | int]:
        """journal_mode, synchronous and secure_delete as SQLite reports them."""
        return _settings(self._connection)

    def transact(self, work: Callable[[SqlRows], T]) -> T:
        """Run ``work`` in one transaction, which is on disk when this returns.

        :raises StorageError: not at present; nothing of it holds
        """
        try:
            self.begin()
            result = work(self.rows)
            self.commit()
        except sqlite3.Error as error:
            # Rows that are read lazily raise past _Translating.
            raise StorageError(_name(error)) from error
        finally:
            self.rollback()
        return result

    def read(self, work: Callable[[SqlRows], T]) -> T:
        """Run ``work``, which only reads, on one state of the data.

        :raises StorageError: not at present
        """
        try:
            # Deferred: it takes a snapshot at its first read, and no lock.
            self._execute("BEGIN")
            return work(self.rows)
        except sqlite3.Error as error:
            raise StorageError(_name(error)) from error
        finally:
            self.rollback()

    def begin(self) -> None:
        """:raises StorageError: not at present"""
        self._execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """On disk when it returns.

        :raises StorageError: not at present; nothing of this transaction holds"""
        self._execute("COMMIT")

    def rollback(self) -> None:
        """Undo what is not committed. Never raises: after a full disk SQLite may have rolled back
        by itself."""
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error:
            return

    def checkpoint(self) -> None:
        """Bring the write-ahead log into the database and cut it to nothing, so that what was
        deleted is gone from it too.

        :raises StorageError: not at present"""
        self._execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _execute(self, sql: str) -> None:
        try:
            self._connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise StorageError(_name(error)) from error


class AsyncStore:
    """A store in aiosqlite's thread."""

    def __init__(self, wrapper: aiosqlite.Connection, store: Store) -> None:
        self._wrapper = wrapper
        self._store = store

    async def run(self, work: Callable[[Store], T]) -> T:
        """Run ``work`` in the store's thread."""
        # aiosqlite's public methods are one hop between threads (100 µs) per statement; a whole
        # batch has to be one hop, and _execute is the only way to that.
        result: T = await self._wrapper._execute(work, self._store)  # type: ignore[no-untyped-call]
        return result

    async def close(self) -> None:
        """Close the file and end the thread."""
        await self._wrapper.close()


async def open_async(path: Path, opener: Callable[[Path], Store] = Store.open) -> AsyncStore:
    """Open a database in a thread of its own, and bring an older one forward.

    :raises DatabaseError: as :meth:`Store.open`
    """
    # Checked before there is a thread: one that fails to open outlives the event loop by a moment
    # and would then print a traceback of its own.
    Store.open(path, bring_forward=True).close()
    opened: list[Store] = []

    def connector() -> sqlite3.Connection:
        opened.append(opener(path))
        return opened[0].connection

    wrapper = await aiosqlite.Connection(connector, iter_chunk_size=64)
    return AsyncStore(wrapper, opened[0])


class _Translating:
    """Passes SQL on and turns SQLite's errors into ours."""

    __slots__ = ("_execute",)

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    def execute(self, sql: str, parameters: Iterable[Any] = (), /) -> Cursor:
        try:
            return self._execute(sql, parameters)  # type: ignore[arg-type]
        except sqlite3.Error as error:
            raise StorageError(_name(error)) from error


def _name(error: sqlite3.Error) -> str:
    """SQLite's name of an error, such as SQLITE_FULL: its text could hold a value."""
    return getattr(error, "sqlite_errorname", None) or type(error).__name__


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        isolation_level=None,
        timeout=BUSY_MILLISECONDS / 1_000,
        cached_statements=_STATEMENTS,
    )


def _settle(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON").fetchall()
    # Sorting and temporary tables never touch another file.
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA trusted_schema = OFF")


def _settings(connection: sqlite3.Connection) -> dict[str, str | int]:
    names = ("journal_mode", "synchronous", "secure_delete")
    return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}


def _check(connection: sqlite3.Connection, path: Path) -> None:
    expected = {"journal_mode": "wal", "synchronous": _FULL, "secure_delete": _ON}
    actual = _settings(connection)
    if actual != expected:
        raise DatabaseError(
            f"the database does not keep what the relay promises: {actual}",
            "put it on a local file system that SQLite's write-ahead log works on",
        )
    version = version_of(connection)
    if version is not None and version < SCHEMA_VERSION:
        raise DatabaseError(
            f"{path} is of an older kurir-relay (schema version {version})",
            "start the relay once, and it brings it forward; copy the file first",
        )
    if version != SCHEMA_VERSION:
        raise DatabaseError(
            f"{path} has another schema version than this kurir-relay ({SCHEMA_VERSION})",
            "use the kurir-relay that wrote it",
        )
