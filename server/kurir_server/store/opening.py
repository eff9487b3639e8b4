"""Connections to the database file: how they are set, and whether it is one of ours."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from kurir_server.errors import DatabaseError
from kurir_server.limits import BUSY_MILLISECONDS
from kurir_server.store.checks import missing_columns
from kurir_server.store.schema import SCHEMA_VERSION
from kurir_server.store.upgrade import version_of

_FULL: Final = 2
_ON: Final = 1
CACHE_BYTES: Final = 128 * 1_048_576
"""Pages in memory, at most. Envelopes are mostly fetched and removed soon after; charges lie by
their hashes for a month, and with a million of them each would have its page read from the disk."""
LOG_PAGES: Final = 16_384
"""Pages in the log (64 MiB) at which a commit brings them into the database, if the writer has not
cut it before: a page that is written and removed meanwhile goes there once, not many times."""
_STATEMENTS: Final = 256
"""Prepared statements kept: more than there are."""


def connect(path: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    """Open a file, with nothing set."""
    return sqlite3.connect(
        path,
        uri=uri,
        isolation_level=None,
        timeout=BUSY_MILLISECONDS / 1_000,
        cached_statements=_STATEMENTS,
    )


def settle(connection: sqlite3.Connection) -> None:
    """Durable commits, and what is deleted is overwritten."""
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = {-CACHE_BYTES // 1_024}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}").fetchall()
    connection.execute("PRAGMA secure_delete = ON").fetchall()
    # Sorting and temporary tables never touch another file.
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA trusted_schema = OFF")


def settings_of(connection: sqlite3.Connection) -> dict[str, str | int]:
    """journal_mode, synchronous and secure_delete as SQLite reports them."""
    names = ("journal_mode", "synchronous", "secure_delete")
    return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names}


def check(connection: sqlite3.Connection, path: Path) -> None:
    """:raises DatabaseError: not durable, or as :func:`check_version`"""
    expected = {"journal_mode": "wal", "synchronous": _FULL, "secure_delete": _ON}
    actual = settings_of(connection)
    if actual != expected:
        raise DatabaseError(
            f"the database does not keep what the relay promises: {actual}",
            "put it on a local file system that SQLite's write-ahead log works on",
        )
    check_version(connection, path)


def check_version(connection: sqlite3.Connection, path: Path, *, older: bool = False) -> None:
    """:param older: one that could be brought forward will do
    :raises DatabaseError: not a database of this version"""
    version = version_of(connection)
    if version is None:
        raise DatabaseError(
            f"{path} is not the database of a relay, or was never finished",
            "if kurir-relay init was interrupted, remove it and its keys, and run init again; "
            "else put a backup in its place with: kurir-relay restore",
        )
    if older and 1 <= version < SCHEMA_VERSION:
        return
    if version < SCHEMA_VERSION:
        raise DatabaseError(
            f"{path} is of an older kurir-relay (schema version {version})",
            "start the relay once, and it brings it forward; make a backup first with the "
            "kurir-relay that wrote it",
        )
    if version > SCHEMA_VERSION:
        raise DatabaseError(
            f"{path} is of a newer kurir-relay: schema version {version}, and this one knows "
            f"{SCHEMA_VERSION}",
            "use the kurir-relay that wrote it; no database goes back to an older version",
        )
    missing = missing_columns(connection)
    if missing:
        raise DatabaseError(
            f"{path} says that it has schema version {version}, and lacks {missing[0]}",
            "something else changed it; put a backup in its place with: kurir-relay restore",
        )
