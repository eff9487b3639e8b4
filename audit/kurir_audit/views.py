"""What the commands print for people, in 100 columns. Each has a JSON twin in :mod:`as_json`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from kurir_audit.declaration import Field
from kurir_audit.declared_store import META
from kurir_audit.inventory import Inventory, TableLine
from kurir_audit.stored import Stored, StoredTable, meta_purpose, show

WIDTH: Final = 100
"""Columns for which everything here is laid out."""
VALUE: Final = 19
"""Columns of a value: "sealed, 65536 bytes"."""
FIRST_ROWS: Final = 2
"""Rows beside the purpose of their fields."""
MORE_ROWS: Final = 3
"""Rows side by side further down, where the purpose need not be repeated."""
MAX_ROWS: Final = 5
"""Rows of a table that are shown unless more are asked for: one block of each kind."""
LOG_LINES: Final = 8
"""Lines of the log that are shown: its end."""


def console(stderr: bool = False) -> Console:
    """A console for these views: at most 100 columns, and exactly so when nobody is watching, that
    what goes to a file is the same everywhere."""
    made = Console(stderr=stderr, highlight=False, emoji=False, markup=False)
    made.width = min(made.width, WIDTH) if made.is_terminal else WIDTH
    return made


def inventory_view(inventory: Inventory) -> Group:
    """Every table and column with purpose and retention."""
    parts: list[Table | Text] = []
    for line in inventory.tables:
        title = _title(line.name, line.about, _count(line.rows, "row"))
        parts += (title, _columns(line), Text())
    indexes = _grid(("index", 34), ("on", 34), ("why", None))
    for index in inventory.indexes:
        why = Text(index.why, style="dim") if index.why else Text("not declared", style="bold red")
        indexes.add_row(index.name, f"{index.table} ({', '.join(index.columns)})", why)
    parts += (_title("indexes", "second copies of columns above", ""), indexes, Text())
    return Group(*parts)


def inventory_verdict(inventory: Inventory) -> Text:
    """One sentence, and what is unknown or missing by name."""
    columns = sum(len(line.columns) for line in inventory.tables)
    size = f"{len(inventory.tables)} tables, {columns} columns, {inventory.file_bytes:,} bytes"
    text = Text()
    for name in inventory.missing:
        text.append(f"declared and not here: {name}\n", style="yellow")
    for name in inventory.unknown:
        text.append(f"unknown: {name}\n", style="bold red")
    if inventory.unknown:
        text.append(f"{size}; {len(inventory.unknown)} not declared", style="bold red")
    else:
        text.append(f"{size}; every one declared", style="bold green")
    return text


def stored_view(stored: Stored, max_rows: int = MAX_ROWS, log_lines: int = LOG_LINES) -> Group:
    """What a relay stored and logged. ``max_rows`` and ``log_lines`` 0 for all."""
    parts: list[Table | Text] = []
    empty = []
    for table in stored.tables:
        if not table.rows:
            empty.append(table.name)
            continue
        parts.append(_title(table.name, table.about, _count(len(table.rows), "row")))
        parts += _meta_rows(table) if table.name == META.name else _rows(table, max_rows)
    if empty:
        parts.append(Text("empty: " + ", ".join(empty) + "\n", style="dim"))
    if stored.log:
        shown = stored.log[-log_lines:]
        left = len(stored.log) - len(shown)
        about = f"the last {len(shown)}" if left else "all of it"
        parts.append(_title("log", about, _count(len(stored.log), "line")))
        parts += map(_log_line, shown)
    return Group(*parts)


def _rows(table: StoredTable, max_rows: int) -> Iterable[Table | Text]:
    rows = table.rows[: max_rows or None]
    for start in [0, *range(FIRST_ROWS, len(rows), MORE_ROWS)]:
        first = start == 0
        block = rows[start : start + (FIRST_ROWS if first else MORE_ROWS)]
        heads = [("field", 16), *((f"row {start + n + 1}", VALUE) for n in range(len(block)))]
        grid = _grid(*heads, ("why the relay has it" if first else "", None))
        for at, (name, field) in enumerate(table.fields):
            values = [_value(row[at]) for row in block]
            grid.add_row(name, *values, _why(field) if first else "")
        yield grid
        yield Text()
    if len(rows) < len(table.rows):
        yield Text(
            f"  … and {len(table.rows) - len(rows)} more (--rows 0 shows all)\n", style="dim"
        )


def _meta_rows(table: StoredTable) -> Iterable[Table | Text]:
    """Keys and values: each row is a field of its own."""
    grid = _grid(("key", 16), ("value", 42), ("why the relay has it", None))
    for key, value, *_ in table.rows:
        grid.add_row(key, _value(value), _why(meta_purpose(key)))
    yield grid
    yield Text()


def _columns(line: TableLine) -> Table:
    grid = _grid(("column", 16), ("bytes", 9), ("purpose", 40), ("kept", None))
    for column in line.columns:
        field = column.field
        kept = Text(field.retention, style="dim") if field else Text()
        grid.add_row(column.name, Text(f"{column.bytes:,}", justify="right"), _why(field), kept)
    return grid


def _why(field: Field | None) -> Text:
    if field is None:
        return Text("not declared", style="bold red")
    return Text.assemble((field.purpose.value, _COLOURS[field.purpose.value]), f" · {field.why}")


def _value(text: str) -> Text:
    style = "green" if text.startswith("sealed") else "dim" if text == "–" else "bold"
    return Text(text, style=style, overflow="fold")


def _log_line(line: dict[str, object]) -> Text:
    text = Text("  ")
    text.append(show(str(line.get("time", ""))), style="dim")
    text.append(f"  {show(str(line.get('event', '')))}", style="bold")
    for name, value in line.items():
        if name not in ("time", "level", "event"):
            text.append(f"  {name}=", style="dim")
            text.append(show(str(value)))
    return text


def _title(name: str, about: str | None, count: str) -> Text:
    text = Text()
    text.append(name, style="bold cyan")
    text.append(f"  {count}" if count else "", style="bold")
    text.append(f"  {about or 'not declared'}", style="dim" if about else "bold red")
    return text


def _grid(*columns: tuple[str, int | None]) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, expand=True)
    for head, width in columns:
        if width is None:
            grid.add_column(head, ratio=1, overflow="fold")
        else:
            grid.add_column(head, width=width, overflow="fold")
    return grid


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


_COLOURS: Final = {
    "delivery": "cyan",
    "billing": "magenta",
    "abuse": "yellow",
    "operation": "blue",
}
