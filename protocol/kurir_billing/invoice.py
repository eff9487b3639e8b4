"""Invoices: a month of a business's settled charges, and their verification.

The relay signs a short head (count, total, hash over the lines); the lines are leaves. Both go into
one JSON file. Verification recomputes everything from the file and from the business's own records,
and names the first difference.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from kurir_billing.charge import Line
from kurir_billing.errors import BillingError, EvidenceError, InvoiceError, RateCardError
from kurir_billing.kinds import Category, Class
from kurir_billing.leaf import Leaf
from kurir_billing.ratecard import RateCard, open_rate_card
from kurir_billing.tariffs import price_of_class
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import SignatureError, WireError
from kurir_wire.ids import DAY, BusinessId, Hash, RelayId, digest, u32, u64
from kurir_wire.prekeys import U32, U63, Bytes32, Bytes64
from kurir_wire.relaycert import RelayCert
from kurir_wire.signing import message_to_sign, verify

NO_LINES: Final = digest("invoice-lines")


class InvoiceHead(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the relay signs. ``month`` is year * 100 + month; ``through_day`` the last day counted:
    settlements of the running day follow when it is over."""

    business_id: Bytes32
    month: U32
    through_day: U32
    count: U63
    total_micro_usd: U63
    lines_hash: Bytes32
    signature: Bytes64

    def verify(self, operator_pk: bytes, relay_id: RelayId) -> None:
        """:raises SignatureError: not made by this relay's operator"""
        verify(operator_pk, invoice_message(relay_id, self), self.signature, "the invoice")


def invoice_message(relay_id: RelayId, head: InvoiceHead) -> bytes:
    """What the operator key signs."""
    return message_to_sign(
        "invoice",
        relay_id,
        head.business_id,
        u32(head.month),
        u32(head.through_day),
        u64(head.count),
        u64(head.total_micro_usd),
        head.lines_hash,
    )


def lines_hash(leaf_hashes: Iterable[Hash]) -> Hash:
    """One hash over all lines, whatever their order."""
    return digest("invoice-lines", *sorted(leaf_hashes))


def month_of_day(day: int) -> int:
    """The month (year * 100 + month, UTC) to which a day (unix time // 86400) belongs."""
    when = time.gmtime(day * DAY)
    return when.tm_year * 100 + when.tm_mon


def head_for(
    business_id: BusinessId, month: int, through_day: int, leaves: Iterable[Leaf], relay_id: RelayId
) -> InvoiceHead:
    """The head of an invoice, still unsigned (64 zero bytes stand for the signature)."""
    hashes: list[Hash] = []
    total = 0
    for leaf in leaves:
        hashes.append(leaf.hash(relay_id))
        total += leaf.line.list_price
    return InvoiceHead(
        business_id, month, through_day, len(hashes), total, lines_hash(hashes), bytes(64)
    )


def open_head(data: bytes) -> InvoiceHead:
    """:raises MalformedError: not an invoice head"""
    return unpack(data, InvoiceHead, limit=2_048)


def packed_head(head: InvoiceHead) -> bytes:
    """The transmitted form."""
    return pack(head)


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice with all that it rests on. ``rate_cards`` are as signed by the operator."""

    cert: RelayCert
    legal_name: str
    head: InvoiceHead
    leaves: tuple[Leaf, ...]
    rate_cards: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Records:
    """What a business kept itself: the relay it trusts, every line it signed by charge hash, and
    the charges that the relay's daily lists reported as settled in this month."""

    relay_id: RelayId
    business_id: BusinessId
    signed: Mapping[Hash, Line]
    settled: Collection[Hash]


def verify_invoice(invoice: Invoice, records: Records) -> None:
    """Recompute an invoice to the micro-unit.

    Lines come first, so that a changed digit is named where it stands and not only as a broken sum.

    :raises InvoiceError: the first difference, with the place where it is
    """
    relay_id = records.relay_id
    _check_parties(invoice, records)
    cards = _open_cards(invoice, relay_id)
    seen: dict[Hash, int] = {}
    for number, leaf in enumerate(invoice.leaves, 1):
        where = f"line {number}"
        try:
            name = _check_line(leaf, invoice.head, cards, records)
        except (BillingError, WireError) as error:
            raise InvoiceError(where, str(error)) from error
        if name in seen:
            raise InvoiceError(where, f"the same charge stands in line {seen[name]} already")
        seen[name] = number
    head = invoice.head
    for name in sorted(records.settled):
        if name not in seen:
            raise InvoiceError(
                "lines", f"charge {name.hex()[:16]} was settled in this month and is missing here"
            )
    if head.count != len(invoice.leaves):
        raise InvoiceError(
            "count", f"says {head.count} where there are {len(invoice.leaves)} lines"
        )
    total = sum(leaf.line.list_price for leaf in invoice.leaves)
    if head.total_micro_usd != total:
        raise InvoiceError(
            "total", f"says {head.total_micro_usd} where the lines add up to {total}"
        )
    if head.lines_hash != lines_hash(leaf.hash(relay_id) for leaf in invoice.leaves):
        raise InvoiceError("lines", "are not those that the relay signed")
    try:
        head.verify(invoice.cert.operator_pk, relay_id)
    except SignatureError as error:
        raise InvoiceError("signature", str(error)) from error


def _check_parties(invoice: Invoice, records: Records) -> None:
    if invoice.cert.relay_id != records.relay_id:
        raise InvoiceError("relay", "this invoice is of another relay than your records")
    if invoice.head.business_id != records.business_id:
        raise InvoiceError("business", "this invoice is for another business")
    try:
        # Working keys may have changed since; what counts is that the root vouched for them.
        invoice.cert.verify(invoice.cert.not_before)
    except WireError as error:
        raise InvoiceError("certificate", str(error)) from error


def _open_cards(invoice: Invoice, relay_id: RelayId) -> dict[Hash, RateCard]:
    cards: dict[Hash, RateCard] = {}
    for number, data in enumerate(invoice.rate_cards, 1):
        try:
            card, name = open_rate_card(data, invoice.cert.operator_pk, relay_id)
        except RateCardError as error:
            raise InvoiceError(f"rate card {number}", str(error)) from error
        cards[name] = card
    return cards


def _check_line(
    leaf: Leaf, head: InvoiceHead, cards: Mapping[Hash, RateCard], records: Records
) -> Hash:
    """:returns: the charge's hash"""
    line = leaf.line
    if leaf.lane.business_id != records.business_id:
        raise EvidenceError("is for another business")
    name = leaf.charge_hash(records.relay_id)
    signed = records.signed.get(name)
    if signed is None:
        raise EvidenceError(_nearest(line, leaf, records))
    leaf.check_signature(records.relay_id)
    leaf.check_settlement()
    if month_of_day(leaf.settled_day) != head.month or leaf.settled_day > head.through_day:
        raise EvidenceError("was settled on a day that this invoice does not cover")
    card = cards.get(Hash(line.rate_card))
    if card is None:
        raise EvidenceError("was priced by a rate card that is not in this file")
    due = price_of_class(line.tariff, line.market, Category(line.category), Class(line.klass), card)
    if line.list_price != due:
        raise EvidenceError(f"the price is {line.list_price} where the rate card says {due}")
    return name


def _nearest(line: Line, leaf: Leaf, records: Records) -> str:
    """Say more than "unknown" where a signed line differs from this one in one fact only."""
    for other in records.signed.values():
        for fact in ("list_price", "klass", "category", "market", "tariff", "rate_card"):
            changed = Line(**{**_facts(other), fact: getattr(line, fact)})
            if changed == line and other != line:
                twin = Leaf(
                    other,
                    leaf.settled_day,
                    leaf.private_hash,
                    leaf.lock,
                    leaf.secret,
                    leaf.lane,
                    leaf.signature,
                )
                if twin.charge_hash(records.relay_id) in records.signed:
                    shown, was = getattr(line, fact), getattr(other, fact)
                    return f"{fact} says {_show(shown)} where you signed {_show(was)}"
    return "you never signed this charge"


def _facts(line: Line) -> dict[str, object]:
    return {name: getattr(line, name) for name in line.__struct_fields__}


def _show(value: object) -> str:
    return value.hex()[:16] if isinstance(value, bytes) else str(value)
