"""The three panels at the end: what the customer saw, what the relay stored, the invoice."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from kurir_client.demo.chat import Said, Who
from kurir_client.demo.stage import BUSINESS, CUSTOMER
from kurir_client.display import harmless

FIRST: Final = 30
LAST: Final = 10
"""Messages of a long conversation that are shown: its beginning and its end."""
MAX_SHOWN: Final = 700
"""Characters of one message that are shown."""
VALUES_WIDTH: Final = 31
"""Columns for the values of one field at one moment."""
LOG_LINES: Final = 8


@dataclass(frozen=True, slots=True)
class Bill:
    """The invoice as it was fetched, and what its verification said."""

    invoice: dict[str, Any]
    verified: bool
    answer: str


def conversation_panel(said: Sequence[Said]) -> Panel:
    """What the customer saw."""
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)
    grid.add_column(width=5)
    grid.add_column(width=len(BUSINESS))
    grid.add_column(ratio=1, overflow="fold")
    left_out = len(said) - FIRST - LAST
    shown = [*said[:FIRST], *said[-LAST:]] if left_out > 0 else list(said)
    day = ""
    for number, line in enumerate(shown):
        if left_out > 0 and number == FIRST:
            grid.add_row("", "", Text(f"… {left_out} more …", style="dim"))
        when = time.gmtime(line.at)
        if (date := time.strftime("%A %d %B %Y", when)) != day:
            day = date
            grid.add_row("", "", Text(f"— {date} —", style="dim"))
        style = {Who.YOU: "bold", Who.THEM: "cyan", Who.NOTE: "yellow"}[line.who]
        name = {Who.YOU: "you", Who.THEM: BUSINESS, Who.NOTE: "!"}[line.who]
        text = Text(_shortened(line.text))
        if line.mark:
            text.append(f"  {line.mark}", style="green" if line.mark == "✓" else "red")
        if line.label:
            text.append(f"  [{line.label} · paid by {BUSINESS}]", style="dim")
        grid.add_row(time.strftime("%H:%M", when), Text(name, style=style), text)
    title = f"1 · What {CUSTOMER} saw (times in UTC; ✓ the relay has it on disk)"
    return _panel(title, grid)


def relay_panel(waiting: dict[str, Any], end: dict[str, Any]) -> Panel:
    """What the relay stored and logged: every field of every table, at two moments."""
    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, pad_edge=False)
    table.add_column("field", width=18, no_wrap=True)
    table.add_column("while the reminder waited", width=VALUES_WIDTH, no_wrap=True)
    table.add_column("at the end", width=VALUES_WIDTH, no_wrap=True)
    table.add_column("needed for", no_wrap=True)
    later = {item["name"]: item for item in end["tables"]}
    empty = []
    for then in waiting["tables"]:
        now = later.get(then["name"], {"rows": []})
        if not then["rows"] and not now["rows"]:
            empty.append(then["name"])
            continue
        counts = f"{len(then['rows'])} → {len(now['rows'])}"
        table.add_row(
            Text(then["name"], style="bold cyan"),
            Text(f"{counts} {'row' if counts == '1 → 1' else 'rows'}", style="bold"),
        )
        for name, before, after, purpose in _fields(then, now):
            table.add_row(f"  {name}", _values(before), _values(after), Text(purpose, style="dim"))
    log = Text("log", style="bold cyan")
    log.append(f"  {len(end['log'])} lines", style="bold")
    for line in end["log"][-LOG_LINES:]:
        facts = "  ".join(f"{k}={v}" for k, v in line.items() if k not in ("time", "level"))
        log.append(_cut(f"\n  {line.get('time', '')}  {facts}", 96), style="default")
    foot = Text(f"empty: {', '.join(empty) or 'none'}", style="dim")
    return _panel("2 · What the relay stored and logged, every field", table, foot, log)


def invoice_panel(bill: Bill) -> Panel:
    """The invoice, lines of one kind together."""
    invoice = bill.invoice
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=True)
    for head in ("settled on", "market", "tariff", "class"):
        table.add_column(head)
    for head in ("messages", "each, micro-USD", "micro-USD"):
        table.add_column(head, justify="right")
    for (day, market, tariff, klass, price), count in _grouped(invoice["lines"]):
        table.add_row(
            *(day, market, tariff, klass.replace("_", " ")),
            *(str(count), f"{price:,}", f"{count * price:,}"),
        )
    total = int(invoice["total_micro_usd"])
    usd = f"USD {total // 1_000_000}.{total % 1_000_000:06d}"
    sums = Text(f"{invoice['count']} lines, total {total:,} micro-USD = {usd}", style="bold")
    sums.append(
        "\nin window: answered within 24 hours of the customer's message, free; "
        "out of window: the late reminder",
        style="dim",
    )
    verdict = Text("\n✓ verified" if bill.verified else "\n✗ NOT verified")
    verdict.stylize("bold green" if bill.verified else "bold red")
    verdict.append(f"  kurir invoice verify: {harmless(bill.answer)}", style="default")
    title = f"3 · The invoice of {invoice['buyer']['legal_name']} for {invoice['month']}"
    return _panel(title, table, sums, verdict)


def _fields(
    then: dict[str, Any], now: dict[str, Any]
) -> Iterable[tuple[str, list[str], list[str], str]]:
    """Name, values at both moments, purpose."""
    if then["name"] == "meta":
        # Its rows are fields of their own.
        before = {row["key"]: row["value"] for row in then["rows"]}
        after = {row["key"]: row["value"] for row in now["rows"]}
        for key in dict.fromkeys((*before, *after)):
            purpose = then["keys"].get(key, {}).get("purpose", "not declared")
            yield key, _one(before, key), _one(after, key), purpose
        return
    for field in then["fields"]:
        name = field["name"]
        yield (
            name,
            [row[name] for row in then["rows"]],
            [row[name] for row in now["rows"]],
            field.get("purpose", "not declared"),
        )


def _one(values: dict[str, str], key: str) -> list[str]:
    return [values[key]] if key in values else []


def _values(values: list[str]) -> Text:
    """As many distinct values as fit, and how many more there are."""
    distinct = list(dict.fromkeys(values))
    if not distinct:
        return Text("no row", style="dim")
    shown = _cut(distinct[0], VALUES_WIDTH - 5)
    taken = 1
    for value in distinct[1:]:
        if len(shown) + len(value) + 7 > VALUES_WIDTH:
            break
        shown += f", {value}"
        taken += 1
    if taken < len(distinct):
        shown += f" +{len(distinct) - taken}"
    return Text(shown, style="green" if shown.startswith("sealed") else "")


def _grouped(
    lines: Iterable[dict[str, Any]],
) -> Iterable[tuple[tuple[str, str, str, str, int], int]]:
    def kind(line: dict[str, Any]) -> tuple[str, str, str, str, int]:
        price = int(line["list_price_micro_usd"])
        return line["day"], line["market"], line["tariff"], line["class"], price

    for key, group in groupby(sorted(lines, key=kind), key=kind):
        yield key, sum(1 for _ in group)


def _shortened(text: str) -> str:
    text = harmless(text)
    if len(text) <= MAX_SHOWN:
        return text
    half = MAX_SHOWN // 2
    return f"{text[:half]} … ({len(text):,} characters) … {text[-half:]}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _panel(title: str, *parts: RenderableType) -> Panel:
    # Lines above and below only: it can be read aloud, and copied without borders.
    return Panel(
        Group(*parts),
        title=Text(title, style="bold"),
        title_align="left",
        box=box.HORIZONTALS,
        padding=(1, 1),
    )
