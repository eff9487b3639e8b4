"""The client's SQLCipher database: connection, transactions, and rows as values.

Several processes may use one home at once (a follower and a sender), so state that moves, such as
sessions and the outbox, is read inside the transaction that changes it and never kept in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import sqlcipher3

from kurir_client.errors import ProfileError
from kurir_client.schema import (
    MIGRATIONS,
    SCHEMA,
    SCHEMA_VERSION,
    CameBy,
    Contact,
    HeldPass,
    Invite,
    Kind,
    Mailbox,
    Message,
    Outgoing,
    OwnAdjust,
    OwnCharge,
    Reportable,
    Role,
    SeenCheckpoint,
    Status,
)

BUSY_TIMEOUT: Final = 10.0
"""Seconds to wait for another kurir process that writes to the same home."""

RowT = TypeVar("RowT")


class Database:
    """An open database. All methods may raise :class:`ProfileError` when the disk fails."""

    def __init__(self, connection: Any) -> None:
        self._db = connection

    @classmethod
    def create(cls, file: Path, key: bytes) -> Self:
        """Make a new database under a 32-byte key."""
        if file.exists():
            raise ProfileError(f"there is a database at {file} already")
        store = cls(_connect(file, key))
        with store.transaction():
            store._run_all(SCHEMA)
            store.put("schema", str(SCHEMA_VERSION).encode())
        file.chmod(0o600)
        return store

    @classmethod
    def open(cls, file: Path, key: bytes) -> Self:
        """Open an existing one, and bring one of an older version forward.

        :raises ProfileError: missing, damaged, or of a newer version
        """
        if not file.exists():
            raise ProfileError(
                f"the database {file} is missing", "without it the profile is lost; make a new one"
            )
        store = cls(_connect(file, key))
        version = store._version()
        if version in MIGRATIONS:
            version = store._brought_forward()
        if version != SCHEMA_VERSION:
            store.close()
            raise ProfileError(
                f"the database has version {version}, this kurir reads {SCHEMA_VERSION}",
                "update kurir",
            )
        return store

    def _version(self) -> int:
        return int((self.get("schema") or b"0").decode())

    def _brought_forward(self) -> int:
        """:returns: the version that it has now"""
        with self.transaction():
            # Another process may have been faster.
            while (version := self._version()) in MIGRATIONS:
                self._run_all(MIGRATIONS[version])
                self.put("schema", str(version + 1).encode())
        return version

    def close(self) -> None:
        """Close it; open transactions are rolled back."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; takes the write lock at once, and is durable when it is left."""
        with _disk_errors():
            self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlcipher3.Error):  # a full disk has rolled it back already
                self._db.execute("ROLLBACK")
            raise
        with _disk_errors():
            try:
                self._db.execute("COMMIT")
            except sqlcipher3.Error:
                with contextlib.suppress(sqlcipher3.Error):  # the first error is the one to report
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: what is done in the block is undone if it raises."""
        self._run("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            with contextlib.suppress(ProfileError):  # as above: the first error is the one to tell
                self._run("ROLLBACK TO attempt")
                self._run("RELEASE attempt")
            raise
        self._run("RELEASE attempt")

    def version(self) -> int:
        """Changes whenever another process has written."""
        return int(self._one("PRAGMA data_version")[0])

    # meta

    def get(self, key: str) -> bytes | None:
        """A value of ``meta``."""
        row = self._maybe("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else bytes(row[0])

    def need(self, key: str) -> bytes:
        """A value that every profile of this kind has.

        :raises ProfileError: it is missing
        """
        value = self.get(key)
        if value is None:
            raise ProfileError(f"the profile has no {key}", "it is damaged or of another kind")
        return value

    def put(self, key: str, value: bytes) -> None:
        """Set a value of ``meta``."""
        self._run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def count_up(self, key: str, step: int = 1) -> int:
        """The next number of a counter in ``meta``, from 1 on; the first of ``step`` numbers."""
        last = int((self.get(key) or b"0").decode())
        self.put(key, str(last + step).encode())
        return last + 1

    # plumbing

    def _run_all(self, statements: str) -> None:
        for statement in statements.split(";\n"):
            if statement.strip():
                self._run(statement)

    def _run(self, statement: str, *values: object) -> int:
        with _disk_errors():
            return int(self._db.execute(statement, values).lastrowid or 0)

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with _disk_errors():
            return list(self._db.execute(statement, values).fetchall())

    def _maybe(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        with _disk_errors():
            row: tuple[Any, ...] | None = self._db.execute(statement, values).fetchone()
            return row

    def _one(self, statement: str, *values: object) -> tuple[Any, ...]:
        row = self._maybe(statement, *values)
        if row is None:
            raise ProfileError("the database gave no answer where it must")
        return row

    def _rows(self, type_: Callable[..., RowT], where: str, *values: object) -> list[RowT]:
        names = [column.name for column in fields(type_)]  # type: ignore[arg-type]
        statement = f"SELECT {', '.join(names)} FROM {_TABLES[type_]} {where}"  # noqa: S608 - own names
        return [
            type_(**{n: _CONVERT.get(n, _same)(v) for n, v in zip(names, row, strict=True)})
            for row in self._all(statement, *values)
        ]

    def _insert(self, row: object) -> None:
        names = [column.name for column in fields(row)]  # type: ignore[arg-type]
        marks = ", ".join("?" * len(names))
        self._run(
            f"INSERT INTO {_TABLES[type(row)]}({', '.join(names)}) VALUES ({marks})",  # noqa: S608
            *(getattr(row, name) for name in names),
        )


def _same(value: Any) -> Any:
    return value


_TABLES: Final[dict[Any, str]] = {
    Contact: "contact",
    Mailbox: "mailbox",
    Invite: "invite",
    Outgoing: "outbox",
    Message: "message",
    OwnCharge: "charge",
    SeenCheckpoint: "checkpoint",
    HeldPass: "pass",
    CameBy: "entry",
    Reportable: "reportable",
    OwnAdjust: "adjustment",
}
_CONVERT: Final[dict[str, Callable[[Any], Any]]] = {
    "kind": lambda value: Kind(value) if isinstance(value, str) else value,
    "role": Role,
    "status": Status,
    "introduced": bool,
    "wants_session": bool,
    "posted": bool,
    "used": bool,
    "agrees": bool,
}


def _connect(file: Path, key: bytes) -> Any:
    with _disk_errors():
        db = sqlcipher3.connect(str(file), timeout=BUSY_TIMEOUT, isolation_level=None)
        db.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return db


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except sqlcipher3.OperationalError as error:
        raise ProfileError(
            f"the database cannot be used at present: {error}",
            "check free space and permissions, and whether another kurir hangs",
        ) from error
    except sqlcipher3.DatabaseError as error:
        raise ProfileError(
            f"the database is damaged or not this profile's: {error}",
            "copy the folder away before you try anything; a new profile needs new invites",
        ) from error
