"""Reading a relay's database without touching it, also while the relay runs.

SQLite's ``mode=ro`` alone is not enough: beside a database in WAL mode it leaves ``-wal`` and
``-shm`` files where there were none. So there are three ways in, chosen by what lies there:

- no ``-wal``: nobody has it open; ``immutable=1`` reads the file and makes nothing.
- ``-wal`` and ``-shm``: a relay runs, or was killed; ``mode=ro`` joins through the shared index and
  can neither change nor checkpoint the database.
- ``-wal`` alone, as in copied evidence: a private copy is read, for the index would have to be
  made.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kurir_audit.capture import reason
from kurir_audit.errors import EvidenceFileError

SQLITE_MAGIC: Final = b"SQLite format 3\0"
BUSY_SECONDS: Final = 5.0
"""A relay commits in milliseconds; waiting longer than this means that something is wrong."""

Connection = sqlite3.Connection
Value = None | int | float | str | bytes


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it is in the file."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """An index: a second copy of its columns. ``implicit`` if it belongs to a key or constraint."""

    name: str
    table: str
    columns: tuple[str, ...]
    implicit: bool


@contextlib.contextmanager
def open_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a database strictly read-only.

    :raises EvidenceFileError: missing, unreadable or not an SQLite database
    """
    check_readable(path)
    with contextlib.ExitStack() as stack:
        wal, shm = path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")
        if not wal.exists():
            query = "immutable=1"
        elif shm.exists():
            query = "mode=ro"
        else:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kurir-audit-")))
            shutil.copyfile(wal, folder / wal.name)
            path = Path(shutil.copyfile(path, folder / path.name))
            query = "mode=ro"
        try:
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?{query}", uri=True, timeout=BUSY_SECONDS
            )
            stack.enter_context(contextlib.closing(connection))
            connection.execute("PRAGMA query_only = ON")
            # One read transaction: all answers are of the same moment.
            connection.isolation_level = None
            connection.execute("BEGIN")
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            yield connection
        except sqlite3.Error as error:
            raise EvidenceFileError(
                f"cannot read {path}: {error}", "is this the relay's database, and is it whole?"
            ) from error


def check_readable(path: Path) -> None:
    """:raises EvidenceFileError: not a readable SQLite database"""
    try:
        with path.open("rb") as file:
            magic = file.read(len(SQLITE_MAGIC))
    except OSError as error:
        raise EvidenceFileError(
            f"cannot read {path}: {reason(error)}", "give the file that kurir-relay has as --db"
        ) from error
    if magic != SQLITE_MAGIC:
        raise EvidenceFileError(
            f"{path} is not an SQLite database", "give the file that kurir-relay has as --db"
        )


def tables(connection: sqlite3.Connection) -> tuple[Table, ...]:
    """All tables, also views and SQLite's own bookkeeping such as ``sqlite_sequence``."""
    names = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name"
    ).fetchall()
    return tuple(Table(name, _columns(connection, name)) for (name,) in names)


def indexes(connection: sqlite3.Connection) -> tuple[Index, ...]:
    """All indexes, the implicit ones too."""
    rows = connection.execute(
        "SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'index' ORDER BY name"
    ).fetchall()
    found = []
    for name, table, sql in rows:
        listed = connection.execute("SELECT name FROM pragma_index_info(?)", (name,)).fetchall()
        columns = tuple(column for (column,) in listed)
        if None in columns:  # an expression; what it says is in the text only
            columns = tuple(str(sql).partition("(")[2].rpartition(")")[0].split(", "))
        found.append(Index(name, table, columns, sql is None))
    return tuple(found)


def triggers(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Names of triggers: what they do is code in the data, so an audit wants to know."""
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    return tuple(name for (name,) in rows)


def count_rows(connection: sqlite3.Connection, table: str) -> int:
    """How many rows a table has."""
    (count,) = connection.execute(f"SELECT count(*) FROM {quoted(table)}").fetchone()  # noqa: S608
    return int(count)


def column_bytes(connection: sqlite3.Connection, table: Table) -> tuple[int, ...]:
    """Bytes of the values in each column, numbers as SQLite packs them."""
    sums = ", ".join(_size_sql(column) for column in table.columns)
    row = connection.execute(f"SELECT {sums} FROM {quoted(table.name)}").fetchone()  # noqa: S608
    return tuple(int(value or 0) for value in row)


def rows(connection: sqlite3.Connection, table: Table) -> Iterator[tuple[Value, ...]]:
    """All rows of a table, in SQLite's order."""
    columns = ", ".join(quoted(column) for column in table.columns)
    yield from connection.execute(f"SELECT {columns} FROM {quoted(table.name)}")  # noqa: S608


def quoted(name: str) -> str:
    """A name as SQL, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def _columns(connection: sqlite3.Connection, table: str) -> tuple[str, ...]:
    # table_xinfo also lists generated and hidden columns, in which a relay could keep things.
    listed = connection.execute("SELECT name FROM pragma_table_xinfo(?)", (table,)).fetchall()
    return tuple(name for (name,) in listed)


def _size_sql(column: str) -> str:
    name = quoted(column)
    steps = " ".join(
        f"WHEN {name} BETWEEN {-(1 << bits)} AND {(1 << bits) - 1} THEN {size}"
        for bits, size in ((7, 1), (15, 2), (23, 3), (31, 4), (47, 6))
    )
    return (
        f"sum(CASE typeof({name}) WHEN 'null' THEN 0 WHEN 'real' THEN 8 WHEN 'integer' "
        f"THEN CASE WHEN {name} IN (0, 1) THEN 0 {steps} ELSE 8 END "
        f"ELSE length(CAST({name} AS BLOB)) END)"
    )
