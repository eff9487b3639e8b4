"""An invoice as a table for spreadsheets and bookkeeping programs: CSV (RFC 4180), UTF-8."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Final

from kurir_billing.dates import show_day
from kurir_billing.invoice import Invoice, billed
from kurir_billing.kinds import Category, Class
from kurir_client.money import decimal

COLUMNS: Final = (
    "entry",
    "day",
    "market",
    "tariff",
    "category",
    "class",
    "why",
    "list_price_usd",
    "list_price_micro_usd",
    "amount_usd",
    "amount_micro_usd",
    "charge",
)
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a cell begins that a spreadsheet would run."""

Row = tuple[str, ...]


def to_csv(invoice: Invoice) -> bytes:
    """One row for each charge, then the fee and adjustments, if there are any: amounts add up to
    the invoice's total.

    :raises InvoiceError: a rate card in it is none
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, dialect="excel")
    writer.writerow(COLUMNS)
    writer.writerows([_harmless(cell) for cell in row] for row in _rows(invoice))
    return out.getvalue().encode()


def _rows(invoice: Invoice) -> Iterator[Row]:
    for item in billed(invoice):
        line = item.leaf.line
        yield (
            "message",
            show_day(item.leaf.settled_day),
            line.market,
            line.tariff,
            Category(line.category).name.lower(),
            Class(line.klass).name.lower(),
            item.why.name.lower(),
            *_money(line.list_price),
            *_money(item.micro_usd),
            item.name.hex(),
        )
    fee = invoice.head.fee_micro_usd
    if fee:
        day = show_day(invoice.head.through_day)
        yield ("fee", day, "", "flat", "", "", "", *_money(fee), *_money(fee), "")
    for adjustment in invoice.adjustments:
        adjust, line = adjustment.adjust, adjustment.leaf.line
        yield (
            "adjustment",
            show_day(adjust.day),
            line.market,
            line.tariff,
            Category(adjust.category).name.lower(),
            Class(line.klass).name.lower(),
            "report",
            *_money(line.list_price + adjust.delta_micro_usd),
            *_money(adjust.delta_micro_usd),
            adjustment.leaf.charge_hash(invoice.cert.relay_id).hex(),
        )


def _money(micro: int) -> tuple[str, str]:
    return decimal(micro), str(micro)


def _harmless(cell: str) -> str:
    """An apostrophe before it makes a spreadsheet take it as text."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
