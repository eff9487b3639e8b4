"""Copies of a database: backups, and putting one in place.

A backup is made by SQLite's backup interface from within one reading transaction: a relay writes
on meanwhile, and the copy is of one moment. It carries a mark, so that no relay serves it before it
was put in place: what was lost since has to be thought of first.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from kurir_server.errors import StorageError

MARK: Final = "backup_minute"
"""The key of ``meta`` that a backup has: the last minute of relay time in it."""
PAGES: Final = 1_024
"""Copied in one step: 4 MiB."""


def copy_to(connection: sqlite3.Connection, target: Path) -> None:
    """Copy to an existing empty file, mark it, and check it.

    :raises StorageError: it cannot be read or written
    """
    try:
        connection.execute("BEGIN")
        try:
            # Reading begins the transaction: without one, each write of a relay would make the
            # copy start again from its first page.
            connection.execute("SELECT count(*) FROM meta").fetchone()
            with closing(sqlite3.connect(target, isolation_level=None)) as copy:
                connection.backup(copy, pages=PAGES)
                _mark(copy)
        finally:
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise StorageError(f"cannot copy the database to {target}: {error}") from error


def _mark(copy: sqlite3.Connection) -> None:
    copy.execute("PRAGMA synchronous = FULL")
    # One file: the log of a database that nobody serves would only be forgotten.
    copy.execute("PRAGMA journal_mode = DELETE").fetchone()
    copy.execute(
        "INSERT OR REPLACE INTO meta SELECT ?, value FROM meta WHERE key = 'minute'", (MARK,)
    )
    found = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found[0] != "ok":
        raise StorageError(f"the copy is not whole: {found[0]}", "see: kurir-relay doctor")


def backup_minute(connection: sqlite3.Connection) -> int | None:
    """The minute of a backup's mark."""
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (MARK,)).fetchone()
    return None if found is None else int(found[0])


def put_in_place(connection: sqlite3.Connection, minute: int) -> None:
    """Take the mark away, and let time go on no earlier than ``minute``.

    :raises StorageError: not at present
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            """UPDATE meta SET value = CAST(max(CAST(value AS INTEGER), ?) AS TEXT)
            WHERE key = 'minute'""",
            (minute,),
        )
        connection.execute("DELETE FROM meta WHERE key = ?", (MARK,))
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StorageError(f"cannot put the backup in place: {error}") from error
