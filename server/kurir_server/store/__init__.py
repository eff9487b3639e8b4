"""The store: one SQLite file, and the only SQL of the relay.

``Store`` is synchronous and belongs to one thread; ``open_async`` puts it behind aiosqlite, where
a whole batch is one call. Write-ahead log at ``synchronous=FULL`` (a commit is on disk when it
returns), ``secure_delete`` (what is deleted is overwritten); all three are asserted at start-up.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import aiosqlite

from kurir_server.errors import DatabaseError, StorageError
from kurir_server.limits import BUSY_MILLISECONDS, CUT_MILLISECONDS
from kurir_server.storage import Room
from kurir_server.store import opening
from kurir_server.store.billing import BillingRows
from kurir_server.store.businesses import BusinessRows
from kurir_server.store.checks import Checks
from kurir_server.store.copy import backup_minute, copy_to, put_in_place
from kurir_server.store.database import Database
from kurir_server.store.envelopes import EnvelopeRows
from kurir_server.store.errors import Translating, hint_for, name_of, translated
from kurir_server.store.known import Known
from kurir_server.store.ledger import LedgerRows
from kurir_server.store.mailboxes import MailboxRows
from kurir_server.store.reports import ReportRows
from kurir_server.store.schema import PAGE_BYTES, SCHEMA, SCHEMA_VERSION
from kurir_server.store.upgrade import LEDGER_VERSION, upgrade, version_of

T = TypeVar("T")

_UNUSED: Final = "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size"
"""Bytes in the file that hold nothing: deleting makes the file no smaller."""


class SqlRows(MailboxRows, EnvelopeRows, BusinessRows, BillingRows, LedgerRows, ReportRows):
    """Implements :class:`kurir_server.rows.Rows`, for one transaction."""

    def __init__(self, db: Database, known: Known) -> None:
        super().__init__(db, known)
        self.undo: list[Callable[[], None]] = []

    def if_undone(self, undo: Callable[[], None]) -> None:
        self.undo.append(undo)

    def write_back(self) -> None:
        """Write what was counted meanwhile, at the end of a transaction."""
        self.write_back_mailboxes()
        self.write_back_lanes()


class Store:
    """One open database. All methods belong to the thread that opened it."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path
        self._database = Translating(connection)
        self._known = Known()

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
        connection = opening.connect(path)
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(f"BEGIN; {SCHEMA}")
            connection.executemany(
                "INSERT INTO meta VALUES (?, ?)",
                (
                    ("schema_version", str(SCHEMA_VERSION)),
                    ("relay_id", relay_id.hex()),
                    ("minute", "0"),
                ),
            )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            connection.close()
            path.unlink(missing_ok=True)
            raise DatabaseError(f"cannot make {path}: {error}", hint_for(error)) from error
        connection.close()
        return cls.open(path)

    @classmethod
    def open(cls, path: Path, *, bring_forward: bool = False) -> Store:
        """Open an existing database and assert its settings.

        :param bring_forward: change one of an older version; only while no relay serves it
        :raises DatabaseError: missing, damaged, of another version, or not durable
        """
        _find(path)
        try:
            connection = opening.connect(path)
        except sqlite3.Error as error:
            raise DatabaseError(f"cannot use {path}: {error}", hint_for(error)) from error
        try:
            opening.settle(connection)
            if bring_forward:
                upgrade(connection)
            opening.check(connection, path)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            connection.close()
            raise DatabaseError(f"cannot use {path}: {error}", hint_for(error)) from error
        except DatabaseError:
            connection.close()
            raise
        return cls(connection, path)

    @classmethod
    def inspect(cls, path: Path, *, older: bool = False) -> Store:
        """Open a database, or a backup, for reading only: nothing of the file changes.

        :param older: one that could be brought forward will do; the present tables may be missing
        :raises DatabaseError: missing, damaged or of another version
        """
        _find(path)
        try:
            connection = opening.connect(path.absolute().as_uri() + "?mode=ro", uri=True)
        except sqlite3.Error as error:
            raise DatabaseError(f"cannot read {path}: {error}", hint_for(error)) from error
        try:
            opening.check_version(connection, path, older=older)
        except (sqlite3.Error, UnicodeDecodeError) as error:
            connection.close()
            raise DatabaseError(f"cannot read {path}: {error}", hint_for(error)) from error
        except DatabaseError:
            connection.close()
            raise
        return cls(connection, path)

    @property
    def rows(self) -> SqlRows:
        """For a single look-up outside of :meth:`transact` and :meth:`read`."""
        return SqlRows(self._database, Known())

    @property
    def connection(self) -> sqlite3.Connection:
        """For aiosqlite, which owns the thread and closes it."""
        return self._connection

    def origin(self) -> tuple[bytes, int, int]:
        """The relay whose database this is, the last minute in it, and the one that was sure.

        :raises DatabaseError: it does not say
        """
        try:
            query = "SELECT value FROM meta WHERE key = 'relay_id'"
            found = self._connection.execute(query).fetchone()
            return bytes.fromhex(found[0]), self.rows.minute(), self.rows.sure_minute()
        except (sqlite3.Error, StorageError, TypeError, ValueError) as error:
            raise DatabaseError(
                f"{self._path} is damaged: it does not say whose it is", "restore it from a backup"
            ) from error

    @property
    def changes(self) -> int:
        """Rows written since it was opened: if it has not risen, a commit wrote nothing."""
        return self._connection.total_changes

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    @property
    def relay_id(self) -> bytes:
        """The relay whose database this is."""
        return self.origin()[0]

    def take_damaged(self) -> Counter[str]:
        """What was met since the last call that is not as it was written, and how often."""
        met, self._database.damaged = self._database.damaged, Counter()
        return met

    @property
    def has_ledger(self) -> bool:
        """Whether it is of a version that has one."""
        return (version_of(self._connection) or 0) >= LEDGER_VERSION

    @property
    def backup_minute(self) -> int | None:
        """When this copy was made, if it is a backup that nobody has put in place."""
        return backup_minute(self._connection)

    @property
    def checks(self) -> Checks:
        """What only SQL finds out about the whole database."""
        return Checks(self._connection)

    def damage(self, *, full: bool) -> list[str]:
        """What is wrong with the file as SQLite sees it; with ``full``, indexes too."""
        return self.checks.damage(full=full)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """All that is read within is of one moment, whatever a relay writes meanwhile.

        :raises StorageError: it cannot be read
        """
        self._execute("BEGIN")
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(name_of(error)) from error
        finally:
            self.rollback()

    def copy_to(self, target: Path) -> None:
        """Write a backup to a new file: see :mod:`kurir_server.store.copy`.

        :raises StorageError: it cannot be read or written
        """
        copy_to(self._connection, target)

    def put_in_place(self, minute: int) -> None:
        """A backup becomes the database, whose time has come to ``minute`` at least.

        :raises StorageError: not at present
        """
        put_in_place(self._connection, minute)

    def settings(self) -> dict[str, str | int]:
        """journal_mode, synchronous and secure_delete as SQLite reports them."""
        return opening.settings_of(self._connection)

    def transact(self, work: Callable[[SqlRows], T]) -> T:
        """Run ``work`` in one transaction, which is on disk when this returns.

        :raises StorageError: not at present; nothing of it holds
        :raises DamagedError: what ``work`` met is not as it was written; nothing of it holds
        """
        rows = SqlRows(self._database, self._known)
        try:
            self.begin()
            version = self._execute("PRAGMA data_version")
            self._known.begin((version, self.changes))
            result = work(rows)
            rows.write_back()
            self.commit()
            self._known.end((version, self.changes))
            rows.undo.clear()
        except sqlite3.Error as error:
            # Rows that are read lazily raise past Translating.
            raise translated(error) from error
        finally:
            self._undo(rows)
        return result

    def read(self, work: Callable[[SqlRows], T]) -> T:
        """Run ``work``, which only reads, on one state of the data.

        :raises StorageError: not at present
        """
        rows = SqlRows(self._database, Known())
        try:
            # Deferred: it takes a snapshot at its first read, and no lock.
            self._execute("BEGIN")
            return work(rows)
        except sqlite3.Error as error:
            raise translated(error) from error
        finally:
            self._undo(rows)

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

    def checkpoint(self) -> bool:
        """Bring the write-ahead log into the database, where what was deleted is overwritten, and
        cut it to nothing. While another process reads (a backup), it is not cut. Where SQLite
        rebuilt a page, a copy may stay in its gap until the page is full again: see
        docs/threat-model.md.

        :returns: whether it was cut
        :raises StorageError: not at present"""
        # Such a reader may take minutes; nobody who writes shall wait for it.
        self._execute(f"PRAGMA busy_timeout = {CUT_MILLISECONDS}")
        try:
            ((held_up, _, _),) = self._execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self._execute(f"PRAGMA busy_timeout = {BUSY_MILLISECONDS}")
        return not held_up

    def room(self) -> Room:
        """What can still be written.

        :raises StorageError: not known at present"""
        try:
            unused = sum(self._connection.execute(_UNUSED).fetchone())
            disk = os.statvfs(self._path)
        except sqlite3.Error as error:
            raise StorageError(name_of(error)) from error
        except OSError as error:
            raise StorageError(type(error).__name__) from error
        return Room(disk.f_bavail * disk.f_frsize + unused, disk.f_blocks * disk.f_frsize)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _undo(self, rows: SqlRows) -> None:
        """Whatever did not come to the disk."""
        self.rollback()
        while rows.undo:
            rows.undo.pop()()

    def _execute(self, sql: str) -> list[Any]:
        try:
            return self._connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise translated(error) from error


def _find(path: Path) -> None:
    """:raises DatabaseError: there is no such file"""
    if not path.is_file():
        raise DatabaseError(
            f"there is no database {path}",
            f"give another --db, or make one with: kurir-relay init --db {path}",
        )


class AsyncStore:
    """A store in aiosqlite's thread."""

    def __init__(self, wrapper: aiosqlite.Connection, store: Store) -> None:
        self._wrapper = wrapper
        self._store = store

    @property
    def path(self) -> Path:
        """The database file."""
        return self._store.path

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
