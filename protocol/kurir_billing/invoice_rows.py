"""The rows of an invoice's file: lines, adjustments, groups, parties, as JSON objects.

Source: docs/protocol.md, "Invoice file".
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from kurir_billing.adjust import Adjust
from kurir_billing.adjusted import Adjustment
from kurir_billing.charge import Line
from kurir_billing.dates import MAX_DAY, show_day
from kurir_billing.errors import InvoiceError
from kurir_billing.fields import Fields, show_base64
from kurir_billing.head import InvoiceHead
from kurir_billing.kinds import Category, Class
from kurir_billing.lane import Lane
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import PlaceInLedger
from kurir_billing.listed import Listed
from kurir_billing.party import Party
from kurir_billing.report import Report, open_report, packed_report
from kurir_billing.summary import Group
from kurir_billing.total import Why
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import MalformedError, WireError
from kurir_wire.ids import NO_HASH
from kurir_wire.relaycert import RelayCert

BlobT = TypeVar("BlobT", RelayCert, Lane, Leaf)


def line_object(leaf: Leaf, lane: int, where: str) -> dict[str, object]:
    line = leaf.line
    try:
        line.check_form()
    except MalformedError as error:
        raise InvoiceError(where, str(error)) from error
    return {
        "day": day_text(leaf.settled_day, where),
        "market": line.market,
        "tariff": line.tariff,
        "category": Category(line.category).name.lower(),
        "class": Class(line.klass).name.lower(),
        "list_price_micro_usd": line.list_price,
        "rate_card": line.rate_card.hex(),
        "opener": None if line.opener == NO_HASH else line.opener.hex(),
        "private": leaf.private_hash.hex(),
        "lock": leaf.lock.hex(),
        "frank": leaf.frank.hex(),
        "secret": leaf.secret.hex(),
        "lane": lane,
        "listed": _show_listed(leaf.listed),
        "signature": show_base64(leaf.signature),
    }


def read_leaf(row: Fields, lanes: list[Lane]) -> tuple[Leaf, int, PlaceInLedger]:
    """:returns: the leaf, the number of its lane, and where it stands in the ledger"""
    line = Line(
        row.text("market"),
        row.text("tariff"),
        row.hex("rate_card", 32),
        int(row.enum("category", Category)),
        int(row.enum("class", Class)),
        row.integer("list_price_micro_usd"),
        row.optional_hash("opener"),
    )
    try:
        line.check_form()
    except MalformedError as error:
        raise row.fault(None, str(error)) from error
    index = row.integer("lane")
    if not 1 <= index <= len(lanes):
        raise row.fault("lane", f"there is no lane {index} in this file")
    leaf = Leaf(
        line,
        row.day("day"),
        row.hex("private", 32),
        row.hex("lock", 32),
        row.hex("frank", 32),
        row.hex("secret", 32),
        lanes[index - 1],
        _listed(row, "listed"),
        row.base64("signature", 64),
    )
    place = PlaceInLedger(row.integer("index"), row.proof("proof"))
    row.finish()
    return leaf, index, place


def adjustment_object(item: Adjustment, head: InvoiceHead, where: str) -> dict[str, object]:
    adjust = item.adjust
    if adjust.business_id != head.business_id:
        raise InvoiceError(where, "is for another business")
    try:
        category = Category(adjust.category).name.lower()
    except ValueError as error:
        raise InvoiceError(where, "has no category that there is") from error
    return {
        "day": day_text(adjust.day, where),
        "category": category,
        "delta_micro_usd": adjust.delta_micro_usd,
        "leaf_hash": adjust.leaf.hex(),
        "leaf": show_base64(pack(item.leaf)),
        "report_hash": adjust.report.hex(),
        "report": show_base64(packed_report(item.report)) if item.report else None,
        "signature": show_base64(adjust.signature),
    } | show_place(item.place)


def read_adjustment(row: Fields, head: InvoiceHead, where: str) -> Adjustment:
    adjust = Adjust(
        head.business_id,
        row.hex("leaf_hash", 32),
        row.day("day"),
        int(row.enum("category", Category)),
        row.integer("delta_micro_usd"),
        row.hex("report_hash", 32),
        row.base64("signature", 64),
    )
    leaf = read_blob(row.base64("leaf"), Leaf, where)
    report = _read_report(row.optional_base64("report"), where)
    place = PlaceInLedger(row.integer("index"), row.proof("proof"))
    row.finish()
    return Adjustment(adjust, leaf, report, place)


def _read_report(data: bytes, where: str) -> Report | None:
    if not data:
        return None
    try:
        report = open_report(data)
    except WireError as error:
        raise InvoiceError(where, f"report: cannot be read: {error}") from error
    if packed_report(report) != data:
        raise InvoiceError(where, "report: is not in its one spelling")
    return report


def group_object(group: Group) -> dict[str, object]:
    return {
        "market": group.market,
        "tariff": group.tariff,
        "category": group.category.name.lower(),
        "class": group.klass.name.lower(),
        "why": group.why.name.lower(),
        "list_price_micro_usd": group.list_price,
        "unit_price_micro_usd": group.unit,
        "count": group.count,
        "amount_micro_usd": group.amount,
    }


def read_group(row: Fields) -> Group:
    group = Group(
        row.text("market"),
        row.text("tariff"),
        row.enum("category", Category),
        row.enum("class", Class),
        row.enum("why", Why),
        row.integer("list_price_micro_usd"),
        row.integer("unit_price_micro_usd"),
        row.integer("count"),
    )
    if row.integer("amount_micro_usd") != group.amount:
        raise row.fault("amount_micro_usd", "is not count times unit price")
    row.finish()
    return group


def party_object(party: Party, where: str) -> dict[str, object]:
    _check_party(party, where)
    return {
        "legal_name": party.legal_name or None,
        "address": party.address,
        "tax_id": party.tax_id or None,
        "notes": party.notes,
    }


def read_party(value: object, where: str) -> Party:
    row = Fields(value, where)
    lines: list[list[str]] = []
    for name in ("address", "notes"):
        items = row.items(name)
        if not all(isinstance(item, str) for item in items):
            raise row.fault(name, "is not a list of lines of text")
        lines.append(items)
    party = Party(row.optional_text("legal_name"), lines[0], row.optional_text("tax_id"), lines[1])
    row.finish()
    _check_party(party, where)
    return party


def _check_party(party: Party, where: str) -> None:
    try:
        party.check(f"the {where}")
    except MalformedError as error:
        raise InvoiceError(where, str(error)) from error


class _ListedRow(msgspec.Struct, forbid_unknown_fields=True):
    index: int
    size: int
    proof: list[str]


def _listed(row: Fields, name: str) -> Listed | None:
    value = row.value(name)
    if value is None:
        return None
    try:
        # Its limits are those of the wire; one spelling, so that the file has one too.
        place = msgspec.convert(dict(value), _ListedRow, strict=True)
        found = Listed(place.index, place.size, [bytes.fromhex(step) for step in place.proof])
        msgspec.convert(msgspec.to_builtins(found, builtin_types=(bytes,)), Listed)
    except (TypeError, ValueError, msgspec.ValidationError):
        found = None
    if found is None or _show_listed(found) != dict(value):
        raise row.fault(name, "is not a place in a list of charges")
    return found


def _show_listed(listed: Listed | None) -> dict[str, object] | None:
    if listed is None:
        return None
    proof = [step.hex() for step in listed.proof]
    return {"index": listed.index, "size": listed.size, "proof": proof}


def show_place(place: PlaceInLedger) -> dict[str, object]:
    return {"index": place.index, "proof": [step.hex() for step in place.proof]}


def read_blob(data: bytes, type_: type[BlobT], where: str) -> BlobT:
    try:
        value = unpack(data, type_, limit=2_048)
    except WireError as error:
        raise InvoiceError(where, f"cannot be read: {error}") from error
    if pack(value) != data:
        raise InvoiceError(where, "is not in its one spelling")
    return value


def day_text(day: int, where: str) -> str:
    if day > MAX_DAY:
        raise InvoiceError(where, f"day {day} has no date")
    return show_day(day)
