"""The file form of an invoice: JSON that a person can read, and change only to be found out.

Hashes, keys' ids and secrets are lower-case hex; what somebody signed as a whole is base64; money
is a decimal integer of micro-USD; days are ISO dates, UTC. Every value has one spelling, unknown
fields and repeated fields are refused, and each line of the invoice is one line of text.
Source: docs/protocol.md, "Invoice file"; its JSON Schema is invoice.schema.json beside this module.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Final

from kurir_billing.dates import show_month
from kurir_billing.errors import InvoiceError
from kurir_billing.fields import MONTH, Fields, Pairs, decode_base64, show_base64
from kurir_billing.head import CURRENCY, InvoiceHead
from kurir_billing.invoice import Invoice
from kurir_billing.invoice_rows import (
    adjustment_object,
    day_text,
    group_object,
    line_object,
    party_object,
    read_adjustment,
    read_blob,
    read_group,
    read_leaf,
    read_party,
    show_place,
)
from kurir_billing.lane import Lane
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import PlaceInLedger
from kurir_billing.standing import Standing
from kurir_wire.codec import pack
from kurir_wire.errors import WireError
from kurir_wire.relaycert import RelayCert

FORMAT: Final = "kurir-invoice/3"

_REVISION: Final = re.compile(r"[1-9][0-9]{0,8}")


def schema() -> bytes:
    """The JSON Schema (2020-12) of the file."""
    return resources.files("kurir_billing").joinpath("invoice.schema.json").read_bytes()


def to_json(invoice: Invoice) -> bytes:
    """The file of an invoice, UTF-8.

    :raises InvoiceError: a field has no form in a file, such as a month that does not exist
    """
    head, standing = invoice.head, invoice.standing
    places = standing.places if standing else ()
    if len(places) != len(invoice.leaves):
        raise InvoiceError("lines", "are not as many as their places in the ledger")
    lanes: dict[Lane, int] = {}
    lines = []
    for number, (leaf, place) in enumerate(zip(invoice.leaves, places, strict=True), 1):
        lane = lanes.setdefault(leaf.lane, len(lanes) + 1)
        lines.append(json.dumps(line_object(leaf, lane, f"line {number}") | show_place(place)))
    adjustments = [
        json.dumps(adjustment_object(item, head, f"adjustment {number}"))
        for number, item in enumerate(invoice.adjustments, 1)
    ]
    header = {
        "format": FORMAT,
        "number": _show_number(head),
        "issued": day_text(head.issued_day, "issued"),
        "relay": invoice.cert.relay_id.hex(),
        "seller": party_object(head.seller, "seller"),
        "business": head.business_id.hex(),
        "buyer": party_object(head.buyer, "buyer"),
        "month": _show_month(head.month),
        "through": day_text(head.through_day, "through"),
        "currency": head.currency,
        "count": head.count,
        "subtotal_micro_usd": head.subtotal_micro_usd,
        "fee_micro_usd": head.fee_micro_usd,
        "adjustments_micro_usd": head.adjustments_micro_usd,
        "total_micro_usd": head.total_micro_usd,
        "lines_hash": head.lines_hash.hex(),
        "adjustments_hash": head.adjustments_hash.hex(),
        "charged_hash": head.charged_hash.hex(),
        "signature": show_base64(head.signature),
        "certificate": show_base64(pack(invoice.cert)),
        "checkpoint": _show_note(standing.checkpoint if standing else None, "checkpoint"),
        "since": _show_note(standing.since if standing else None, "since"),
        "growth": [step.hex() for step in standing.growth] if standing else [],
        "charged": [opener.hex() for opener in invoice.charged],
        "rate_cards": [show_base64(card) for card in invoice.rate_cards],
        "lanes": [show_base64(pack(lane)) for lane in lanes],
    }
    if head.currency != CURRENCY:
        raise InvoiceError("currency", f"is not {CURRENCY}")
    text = json.dumps(header, indent=1, ensure_ascii=False)
    groups = [json.dumps(group_object(group)) for group in invoice.groups]
    parts = (("groups", groups), ("adjustments", adjustments), ("lines", lines))
    rows = "".join(f',\n "{name}": [{_rows(items)}\n ]' for name, items in parts)
    return f"{text[:-2]}{rows}\n}}\n".encode()


def from_json(data: bytes) -> Invoice:
    """Read an invoice file. Only its form is checked here; see
    :func:`~kurir_billing.verify.verify_invoice` for what it says.

    :raises InvoiceError: the first place that is not as it should be
    """
    top = _top(data)
    if (format_ := top.text("format")) != FORMAT:
        raise InvoiceError("format", f"is {format_[:40]!r}, and this reads {FORMAT!r}")
    cert = read_blob(top.base64("certificate"), RelayCert, "certificate")
    if top.hex("relay", 32) != cert.relay_id:
        raise InvoiceError("relay", "is not the one whose certificate is in this file")
    head = _head(top, cert)
    cards = tuple(
        decode_base64(card, f"rate card {number}", "")
        for number, card in enumerate(top.items("rate_cards"), 1)
    )
    lanes = [
        read_blob(decode_base64(lane, f"lane {number}", ""), Lane, f"lane {number}")
        for number, lane in enumerate(top.items("lanes"), 1)
    ]
    checkpoint, since = top.note("checkpoint"), top.note("since")
    growth, charged = top.proof("growth"), top.hashes("charged")
    groups = tuple(
        read_group(Fields(item, f"group {number}"))
        for number, item in enumerate(top.items("groups"), 1)
    )
    adjustments = tuple(
        read_adjustment(Fields(item, f"adjustment {number}"), head, f"adjustment {number}")
        for number, item in enumerate(top.items("adjustments"), 1)
    )
    leaves, places = _lines(top.items("lines"), lanes)
    top.finish()
    if checkpoint is None and (leaves or adjustments or since or growth):
        raise InvoiceError("checkpoint", "is missing, and the rest of the file needs it")
    standing = None
    if checkpoint is not None:
        standing = Standing(checkpoint, places, since, growth)
    return Invoice(cert, head, leaves, cards, standing, adjustments, charged, groups)


def _top(data: bytes) -> Fields:
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=Pairs)
    except UnicodeDecodeError as error:
        raise InvoiceError("file", "is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        where = f"file, text line {error.lineno}"
        raise InvoiceError(where, f"is not JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise InvoiceError("file", "is not JSON that an invoice could be") from error
    return Fields(value, None)


def _head(top: Fields, cert: RelayCert) -> InvoiceHead:
    if (currency := top.text("currency")) != CURRENCY:
        raise InvoiceError("currency", f"is {currency[:40]!r}, and this reads {CURRENCY!r}")
    number, business_id, month = top.text("number"), top.hex("business", 32), top.month("month")
    revision = number.rpartition("-")[2]
    head = InvoiceHead(
        business_id,
        month,
        int(revision) if _REVISION.fullmatch(revision) else 0,
        top.day("issued"),
        top.day("through"),
        currency,
        read_party(top.value("seller"), "seller"),
        read_party(top.value("buyer"), "buyer"),
        top.integer("count"),
        top.integer("subtotal_micro_usd"),
        top.integer("fee_micro_usd"),
        top.integer("adjustments_micro_usd"),
        top.integer("total_micro_usd"),
        top.hex("lines_hash", 32),
        top.hex("adjustments_hash", 32),
        top.hex("charged_hash", 32),
        top.base64("signature", 64),
    )
    if head.revision == 0 or head.number != number:
        raise InvoiceError(
            _at_odds(head, number, cert), f"does not fit with number {number[:40]!r}"
        )
    return head


def _at_odds(head: InvoiceHead, number: str, cert: RelayCert) -> str:
    """Which of them was changed where number, month and business do not fit together."""
    try:
        head.verify(cert.operator_pk, cert.relay_id)
    except WireError:
        if head.revision == 0:
            return "number"
        return "business" if number.startswith(show_month(head.month)) else "month"
    return "number"


def _lines(
    rows: list[object], lanes: list[Lane]
) -> tuple[tuple[Leaf, ...], tuple[PlaceInLedger, ...]]:
    leaves: list[Leaf] = []
    places: list[PlaceInLedger] = []
    used: set[int] = set()
    for number, item in enumerate(rows, 1):
        leaf, lane, place = read_leaf(Fields(item, f"line {number}"), lanes)
        if lane > len(used) + 1:
            raise InvoiceError(f"line {number}", "lane: lanes are numbered in order of first use")
        used.add(lane)
        leaves.append(leaf)
        places.append(place)
    if len(used) != len(lanes):
        raise InvoiceError(f"lane {len(used) + 1}", "no line uses it")
    if len(set(lanes)) != len(lanes):
        raise InvoiceError("lanes", "the same lane stands there twice")
    return tuple(leaves), tuple(places)


def _show_note(note: bytes | None, where: str) -> str | None:
    try:
        return None if note is None else note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvoiceError(where, "is not text") from error


def _rows(items: list[str]) -> str:
    return ",".join(f"\n  {item}" for item in items)


def _show_number(head: InvoiceHead) -> str:
    if _REVISION.fullmatch(str(head.revision)) is None:
        raise InvoiceError("number", f"there is no revision {head.revision}")
    return head.number


def _show_month(month: int) -> str:
    text = show_month(month)
    if MONTH.fullmatch(text) is None:
        raise InvoiceError("month", f"{month} is not a month")
    return text
