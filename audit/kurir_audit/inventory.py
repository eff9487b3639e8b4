"""The inventory: a relay's database held against the declaration.

Every table, column and index is listed with purpose and retention, with how much is in it. Whatever
is not declared is named, and whatever is declared and not there as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kurir_audit import database
from kurir_audit.declaration import Field, IndexEntry
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


def take(path: Path) -> Inventory:
    """Take the inventory of a database.

    :raises EvidenceFileError: it cannot be read
    """
    with database.open_read_only(path) as connection:
        found = database.tables(connection)
        lines = tuple(_table_line(connection, table) for table in found)
        index_lines = tuple(map(_index_line, database.indexes(connection)))
        unknown = [name for line in lines for name in _unknown_in(line)]
        unknown += [f"index {line.name}" for line in index_lines if line.why is None]
        unknown += [f"trigger {name}" for name in database.triggers(connection)]
        unknown += _unknown_keys(connection, found)
    return Inventory(
        lines, index_lines, tuple(unknown), _missing(found, index_lines), path.stat().st_size
    )


def _table_line(connection: database.Connection, table: database.Table) -> TableLine:
    group = next((group for group in STORE if group.name == table.name), None)
    sizes = database.column_bytes(connection, table)
    columns = tuple(
        ColumnLine(name, group.field(name) if group else None, size)
        for name, size in zip(table.columns, sizes, strict=True)
    )
    rows = database.count_rows(connection, table.name)
    return TableLine(table.name, group.about if group else None, rows, columns)


def _index_line(index: database.Index) -> IndexLine:
    if index.implicit:
        return IndexLine(index.name, index.table, index.columns, "Belongs to a key of the table.")
    declared: IndexEntry | None = next(
        (entry for entry in INDEXES if entry.name == index.name), None
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


def _unknown_keys(connection: database.Connection, found: tuple[database.Table, ...]) -> list[str]:
    """A table of keys and values can hold anything, so its keys are held to the list as well."""
    table = next((table for table in found if table.name == META.name), None)
    if table is None or "key" not in table.columns:
        return []
    at = table.columns.index("key")
    keys = (str(row[at]) for row in database.rows(connection, table))
    return [f"key {META.name}[{key}]" for key in keys if META_KEYS.field(key) is None]


def _missing(found: tuple[database.Table, ...], indexes: tuple[IndexLine, ...]) -> tuple[str, ...]:
    columns = {table.name: table.columns for table in found}
    names = [f"table {group.name}" for group in STORE if group.name not in columns]
    names += [
        f"column {group.name}.{name}"
        for group in STORE
        if group.name in columns
        for name in group.names
        if name not in columns[group.name]
    ]
    have = {index.name for index in indexes}
    return (*names, *(f"index {entry.name}" for entry in INDEXES if entry.name not in have))
