"""What a relay stored and logged: every table with its real rows, field by field."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kurir_audit import database
from kurir_audit.capture import reason
from kurir_audit.declaration import Content, Field, Group
from kurir_audit.declared_store import META_KEYS, STORE
from kurir_audit.errors import EvidenceFileError
from kurir_audit.unpacked import unpacked

SHOWN_BYTES: Final = 4
"""Bytes of a blob that are shown: enough to see that two are the same."""
SHOWN_TEXT: Final = 40
"""Characters of a text that are shown."""
UNDECLARED: Final = "not declared"


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table with its rows, each value as it may be shown."""

    name: str
    about: str
    fields: tuple[tuple[str, Field | None], ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Stored:
    """All that a relay left behind."""

    tables: tuple[StoredTable, ...]
    log: tuple[dict[str, object], ...]
    """The lines of the log, oldest first; a line that is no JSON as ``{"line": …}``."""


def read(db: Path, logs: Iterable[Path] = ()) -> Stored:
    """Read a database and logs.

    :raises EvidenceFileError: a file cannot be read
    """
    with database.open_read_only(db) as connection:
        order = {group.name: number for number, group in enumerate(STORE)}
        found = sorted(
            database.tables(connection), key=lambda table: order.get(table.name, len(order))
        )
        tables = tuple(_stored_table(connection, table) for table in found)
    return Stored(tables, tuple(line for path in logs for line in _log_lines(path)))


def show(value: database.Value, content: Content = Content.PLAIN, unit: int = 0) -> str:
    """One value in a few characters."""
    match value, content:
        case int(), _ if unit:
            return _time(value, unit)
        case None, _:
            return "–"
        case bytes(), Content.SEALED:
            return f"sealed, {len(value)} bytes"
        case bytes(), Content.SIGNED:
            return f"{unpacked(value)}, {len(value)} B"
        case bytes(), _:
            if len(value) <= SHOWN_BYTES * 2:
                return value.hex() or "empty"
            return f"{value[:SHOWN_BYTES].hex()}… {len(value)} B"
        case str(), _:
            # Whatever is in a database must not steer a terminal.
            text = "".join(c if c.isprintable() else "·" for c in value)
            return text if len(text) <= SHOWN_TEXT else text[: SHOWN_TEXT - 1] + "…"
        case _:
            return str(value)


def _stored_table(connection: database.Connection, table: database.Table) -> StoredTable:
    group: Group | None = next((group for group in STORE if group.name == table.name), None)
    fields = tuple((name, group.field(name) if group else None) for name in table.columns)
    rows = tuple(
        tuple(
            show(value, field.content, field.unit) if field else show(value)
            for value, (_, field) in zip(row, fields, strict=True)
        )
        for row in database.rows(connection, table)
    )
    return StoredTable(table.name, group.about if group else UNDECLARED, fields, rows)


def _time(value: int, unit: int) -> str:
    """As fine as it is stored, and no finer."""
    form = {1: "%Y-%m-%d %H:%M:%S", 60: "%Y-%m-%d %H:%M", 3_600: "%Y-%m-%d %Hh", 86_400: "%Y-%m-%d"}
    try:
        return time.strftime(form[unit], time.gmtime(value * unit))
    except (ValueError, OverflowError, OSError):
        return str(value)  # no time that the calendar knows


def _log_lines(path: Path) -> Iterable[dict[str, object]]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise EvidenceFileError(f"cannot read {path}: {reason(error)}") from error
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        yield value if isinstance(value, dict) else {"line": line}


def meta_purpose(key: str) -> Field | None:
    """The declaration of one key of ``meta``, whose rows are fields of their own."""
    return META_KEYS.field(key)
