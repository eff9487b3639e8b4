"""The inventory: a relay's database held against the declaration.

Every table, column and index is listed with purpose and retention, with how much is in it. Whatever
is not declared is named, and whatever is declared and not there as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kurir_audit import database
from kurir_audit.declaration import Field, Group, IndexEntry
from kurir_audit.declared_blobs import BLOB_META_KEYS, BLOB_STORE, BLOBS
from kurir_audit.declared_store import INDEXES, META, META_KEYS, STORE


@dataclass(frozen=True, slots=True)
class ColumnLine:
    """One column; ``field`` is ``None`` if it is not declared."""

    name: str
    field: Field | None
    bytes: int


@dataclass(frozen=True, slots=True)
class TableLine:
    """One table; ``about`` is ``None`` if it is not declared."""

    name: str
    about: str | None
    rows: int
    columns: tuple[ColumnLine, ...]


@dataclass(frozen=True, slots=True)
class IndexLine:
    """One index; ``why`` is ``None`` if it is not declared and not a key's own."""

    name: str
    table: str
    columns: tuple[str, ...]
    why: str | None


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is in a database."""

    tables: tuple[TableLine, ...]
    indexes: tuple[IndexLine, ...]
    unknown: tuple[str, ...]
    """Not declared: each is something that nobody has justified."""
    missing: tuple[str, ...]
    """Declared, and not in this database."""
    file_bytes: int


@dataclass(frozen=True, slots=True)
class _Declared:
    """What one of the relay's files may hold."""

    store: tuple[Group, ...]
    meta_keys: Group
    indexes: tuple[IndexEntry, ...]


_DATABASE: Final = _Declared(STORE, META_KEYS, INDEXES)
_BLOB_FILE: Final = _Declared(BLOB_STORE, BLOB_META_KEYS, ())


def take(path: Path) -> Inventory:
    """Take the inventory of a relay's database, or of its file of blobs.

    :raises EvidenceFileError: it cannot be read
    """
    with database.open_read_only(path) as connection:
        found = database.tables(connection)
        # One that has this table among others is held to the list of blobs, and fails it.
        is_of_blobs = any(table.name == BLOBS.name for table in found)
        declared = _BLOB_FILE if is_of_blobs else _DATABASE
        lines = tuple(_table_line(connection, declared, table) for table in found)
        index_lines = tuple(_index_line(declared, index) for index in database.indexes(connection))
        unknown = [name for line in lines for name in _unknown_in(line)]
        unknown += [f"index {line.name}" for line in index_lines if line.why is None]
        unknown += [f"trigger {name}" for name in database.triggers(connection)]
        unknown += _unknown_keys(connection, declared, found)
    return Inventory(
        lines,
        index_lines,
        tuple(unknown),
        _missing(declared, found, index_lines),
        path.stat().st_size,
    )


def _table_line(
    connection: database.Connection, declared: _Declared, table: database.Table
) -> TableLine:
    group = next((group for group in declared.store if group.name == table.name), None)
    sizes = database.column_bytes(connection, table)
    columns = tuple(
        ColumnLine(name, group.field(name) if group else None, size)
        for name, size in zip(table.columns, sizes, strict=True)
    )
    rows = database.count_rows(connection, table.name)
    return TableLine(table.name, group.about if group else None, rows, columns)


def _index_line(of: _Declared, index: database.Index) -> IndexLine:
    if index.implicit:
        return IndexLine(index.name, index.table, index.columns, "Belongs to a key of the table.")
    declared: IndexEntry | None = next(
        (entry for entry in of.indexes if entry.name == index.name), None
    )
    same = declared is not None and (declared.table, declared.columns) == (
        index.table,
        index.columns,
    )
    return IndexLine(
        index.name, index.table, index.columns, declared.why if declared and same else None
    )


def _unknown_in(line: TableLine) -> list[str]:
    if line.about is None:
        return [f"table {line.name}"]
    return [f"column {line.name}.{column.name}" for column in line.columns if column.field is None]


def _unknown_keys(
    connection: database.Connection, declared: _Declared, found: tuple[database.Table, ...]
) -> list[str]:
    """A table of keys and values can hold anything, so its keys are held to the list as well."""
    table = next((table for table in found if table.name == META.name), None)
    if table is None or "key" not in table.columns:
        return []
    at = table.columns.index("key")
    keys = (str(row[at]) for row in database.rows(connection, table))
    return [f"key {META.name}[{key}]" for key in keys if declared.meta_keys.field(key) is None]


def _missing(
    declared: _Declared, found: tuple[database.Table, ...], indexes: tuple[IndexLine, ...]
) -> tuple[str, ...]:
    columns = {table.name: table.columns for table in found}
    names = [f"table {group.name}" for group in declared.store if group.name not in columns]
    names += [
        f"column {group.name}.{name}"
        for group in declared.store
        if group.name in columns
        for name in group.names
        if name not in columns[group.name]
    ]
    have = {index.name for index in indexes}
    return (
        *names,
        *(f"index {entry.name}" for entry in declared.indexes if entry.name not in have),
    )
