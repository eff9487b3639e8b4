"""What SQLite says went wrong, in the relay's words."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Final

from kurir_server.errors import DamagedError, StorageError
from kurir_server.store.database import Cursor

_DISK: Final = ("BUSY", "CANTOPEN", "FULL", "IOERR", "LOCKED", "NOLFS", "NOMEM", "PERM", "READONLY")
"""What SQLite says of the disk, after SQLITE_. All else is of what it found there."""
_HINTS: Final = {
    "CORRUPT": "it is damaged: put a backup in its place with: kurir-relay restore",
    "NOTADB": "it is damaged: put a backup in its place with: kurir-relay restore",
    "FULL": "the disk is full: make room, nothing is lost",
    "IOERR": "the disk is full or broken: make room, or look at the system's log",
    "READONLY": "the relay must be able to write the file and its folder",
    "CANTOPEN": "the relay must be able to write the file and its folder, and the disk needs room",
    "BUSY": "another program holds it: end that first",
    "PERM": "the relay must be able to write the file and its folder",
}
"""By how SQLite's name of an error begins."""


class Translating:
    """Passes SQL on, turns SQLite's errors into ours, and counts what is damaged."""

    __slots__ = ("_execute", "_execute_many", "damaged")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._execute_many = connection.executemany
        self.damaged: Counter[str] = Counter()

    def execute(self, sql: str, parameters: Iterable[Any] = (), /) -> Cursor:
        try:
            return self._execute(sql, parameters)  # type: ignore[arg-type]
        except sqlite3.Error as error:
            raise self._counted(error) from error

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor:
        try:
            return self._execute_many(sql, parameters)
        except sqlite3.Error as error:
            raise self._counted(error) from error

    def each(self, sql: str, parameters: Iterable[Any] = (), /) -> Iterator[Any]:
        try:
            yield from self._execute(sql, parameters)  # type: ignore[arg-type]
        except sqlite3.Error as error:
            raise self._counted(error) from error

    def _counted(self, error: sqlite3.Error) -> StorageError:
        ours = translated(error)
        if isinstance(ours, DamagedError):
            self.damaged[str(ours)] += 1
        return ours


def translated(error: sqlite3.Error) -> StorageError:
    """Whether the disk is to blame, or what was found on it."""
    name = name_of(error)
    of_disk = name.removeprefix("SQLITE_").startswith(_DISK)
    return StorageError(name) if of_disk else DamagedError(name)


def name_of(error: Exception) -> str:
    """SQLite's name of an error, such as SQLITE_FULL: its text could hold a value."""
    return getattr(error, "sqlite_errorname", None) or type(error).__name__


def hint_for(error: Exception) -> str:
    """What to do about an error of SQLite."""
    name = name_of(error).removeprefix("SQLITE_")
    return next(
        (hint for start, hint in _HINTS.items() if name.startswith(start)), _HINTS["CORRUPT"]
    )
