"""Invoices: a month of a business's settled charges, and their verification.

The relay signs a short head (count, total, hash over the lines); the lines are leaves. Both go into
one JSON file. Verification recomputes everything from the file and from the business's own records,
and names the first difference.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from msgspec import Struct, structs

from kurir_billing.charge import Line
from kurir_billing.errors import BillingError, EvidenceError, InvoiceError, RateCardError
from kurir_billing.kinds import Category, Class
from kurir_billing.lane import Lane
from kurir_billing.leaf import Leaf
from kurir_billing.ratecard import RateCard, open_rate_card
from kurir_billing.standing import Standing, check_standing
from kurir_billing.tariffs import price_of_class
from kurir_billing.total import opener_of, total_due
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import SignatureError, WireError
from kurir_wire.ids import DAY, BusinessId, Hash, RelayId, digest, u32, u64
from kurir_wire.prekeys import U32, U63, Bytes32, Bytes64
from kurir_wire.relaycert import RelayCert
from kurir_wire.signing import message_to_sign, verify

EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
MAX_DAY: Final = date.max.toordinal() - EPOCH_ORDINAL
"""The last day that has a date; also keeps the calendar's arithmetic in range."""


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
    business_id: BusinessId,
    month: int,
    through_day: int,
    leaves: Iterable[Leaf],
    relay_id: RelayId,
    cards: Mapping[Hash, RateCard],
    charged: Collection[Hash] = (),
) -> InvoiceHead:
    """The head of an invoice, still unsigned (64 zero bytes stand for the signature).

    :param charged: conversations that were due in earlier months, by opener
    """
    leaves = list(leaves)
    hashes = [leaf.hash(relay_id) for leaf in leaves]
    total = total_due(leaves, relay_id, month, cards, charged)
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
    """An invoice with all that it rests on. ``rate_cards`` are as signed by the operator;
    ``standing`` is missing only where the ledger is empty."""

    cert: RelayCert
    legal_name: str
    head: InvoiceHead
    leaves: tuple[Leaf, ...]
    rate_cards: tuple[bytes, ...]
    standing: Standing | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """What a business kept itself.

    ``signed``: every line it signed, by charge hash. ``settled``: what the relay's daily lists
    reported; best as a mapping of charge hash to day, all months together, which also shows a
    charge that moved to another day or stands in two months; a plain collection holds the charges
    of the invoice's month, up to its last day. ``legal_name`` as in its badge, if at hand.
    ``checkpoints``: the states of the ledger that it accepted, size to root.
    """

    relay_id: RelayId
    business_id: BusinessId
    signed: Mapping[Hash, Line]
    settled: Mapping[Hash, int] | Collection[Hash]
    legal_name: str | None = None
    checkpoints: Mapping[int, Hash] = field(default_factory=dict)


def verify_invoice(invoice: Invoice, records: Records) -> None:
    """Recompute an invoice to the micro-unit.

    Lines come first, so that a changed digit is named where it stands and not only as a broken sum.
    Then the head: if the relay's signature holds, the head is what the relay said, and a line that
    does not fit it is at fault; if not, the field whose recomputed value mends it is named. Last
    comes the ledger: every line in it, and it the one that the business knows.

    :raises InvoiceError: the first difference, with the place where it is
    """
    _check_parties(invoice, records)
    cards = _open_cards(invoice, records.relay_id)
    seen = _check_lines(invoice, cards, records)
    charged = _charged_before(invoice, records)
    total = total_due(invoice.leaves, records.relay_id, invoice.head.month, cards, charged)
    head_fault = _head_fault(invoice, records.relay_id, total)
    if head_fault is not None and head_fault.where != "signature":
        raise head_fault
    _check_settled(invoice.leaves, seen, records)
    _check_days(invoice)
    _check_complete(invoice.head, seen, records)
    _check_sums(invoice, records.relay_id, total)
    if head_fault is not None:
        raise head_fault
    check_standing(invoice.standing, invoice.leaves, invoice.cert, records.checkpoints)


def _check_parties(invoice: Invoice, records: Records) -> None:
    if invoice.cert.relay_id != records.relay_id:
        raise InvoiceError("relay", "this invoice is of another relay than your records")
    if invoice.head.business_id != records.business_id:
        raise InvoiceError("business", "this invoice is for another business")
    if records.legal_name is not None and invoice.legal_name != records.legal_name:
        raise InvoiceError("legal_name", "is not the name in your badge")
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


def _check_lines(
    invoice: Invoice, cards: Mapping[Hash, RateCard], records: Records
) -> dict[Hash, int]:
    """:returns: the line number of each charge"""
    seen: dict[Hash, int] = {}
    lanes: set[Lane] = set()
    for number, leaf in enumerate(invoice.leaves, 1):
        where = f"line {number}"
        try:
            name = _check_evidence(leaf, cards, records, lanes)
        except (BillingError, WireError) as error:
            raise InvoiceError(where, str(error)) from error
        if name in seen:
            raise InvoiceError(where, f"the same charge stands in line {seen[name]} already")
        seen[name] = number
    return seen


def _check_evidence(
    leaf: Leaf, cards: Mapping[Hash, RateCard], records: Records, lanes: set[Lane]
) -> Hash:
    """:param lanes: those checked before; a good one is added
    :returns: the charge's hash"""
    line = leaf.line
    if leaf.lane.business_id != records.business_id:
        raise EvidenceError("is for another business")
    line.check_form()
    name = leaf.charge_hash(records.relay_id)
    if name not in records.signed:
        raise EvidenceError(_nearest(leaf, records))
    if leaf.lane not in lanes:
        leaf.lane.check_signature()
        lanes.add(leaf.lane)
    leaf.check_charge_signature(records.relay_id)
    leaf.check_settlement()
    card = cards.get(Hash(line.rate_card))
    if card is None:
        raise EvidenceError("was priced by a rate card that is not in this file")
    category, klass = Category(line.category), Class(line.klass)
    due = price_of_class(line.tariff, line.market, category, klass, card).micro_usd
    if line.list_price != due:
        raise EvidenceError(f"the price is {line.list_price} where the rate card says {due}")
    return name


def _charged_before(invoice: Invoice, records: Records) -> set[Hash]:
    """The conversations that were due in earlier months, as far as the records go back."""
    if not isinstance(records.settled, Mapping):
        return set()
    openers = (
        opener_of(records.signed[name], name)
        for name, day in records.settled.items()
        if month_of_day(day) < invoice.head.month and name in records.signed
    )
    return {opener for opener in openers if opener is not None}


def _head_fault(invoice: Invoice, relay_id: RelayId, total: int) -> InvoiceError | None:
    """Why the relay's signature does not hold: the one field that was changed, if it is one."""
    head = invoice.head
    try:
        head.verify(invoice.cert.operator_pk, relay_id)
    except SignatureError as error:
        fault = InvoiceError("signature", str(error))
    else:
        return None
    hashes = [leaf.hash(relay_id) for leaf in invoice.leaves]
    months = {month_of_day(leaf.settled_day) for leaf in invoice.leaves}
    candidates: list[tuple[str, str, Iterable[object], Callable[[Any], str]]] = [
        ("count", "count", [len(hashes)], str),
        ("total", "total_micro_usd", [total], str),
        ("lines_hash", "lines_hash", [lines_hash(hashes)], _show),
        ("month", "month", [*months, month_of_day(head.through_day)], str),
        ("through", "through_day", _days_around(head.month), show_day),
    ]
    for where, name, values, show in candidates:
        for value in values:
            try:
                structs.replace(head, **{name: value}).verify(invoice.cert.operator_pk, relay_id)
            except SignatureError:
                continue
            shown = show(getattr(head, name))
            return InvoiceError(where, f"says {shown} where the relay signed {show(value)}")
    return fault


def _days_around(month: int) -> range:
    """The days of a month (year * 100 + month), and the one before it."""
    try:
        first = date(month // 100, month % 100, 1).toordinal() - EPOCH_ORDINAL
    except ValueError:
        return range(0)
    return range(max(0, first - 1), min(first + 31, MAX_DAY + 1))


def _check_settled(leaves: Sequence[Leaf], seen: Mapping[Hash, int], records: Records) -> None:
    reported = records.settled
    if not isinstance(reported, Mapping):
        reported = frozenset(reported)
    for name, number in seen.items():
        where, day = f"line {number}", leaves[number - 1].settled_day
        if name not in reported:
            raise InvoiceError(where, "the daily lists never reported this charge as settled")
        if isinstance(reported, Mapping) and reported[name] != day:
            raise InvoiceError(
                where,
                f"was settled on {show_day(day)} where the daily list of "
                f"{show_day(reported[name])} has it",
            )


def _check_days(invoice: Invoice) -> None:
    for number, leaf in enumerate(invoice.leaves, 1):
        day = leaf.settled_day
        if month_of_day(day) != invoice.head.month or day > invoice.head.through_day:
            raise InvoiceError(
                f"line {number}",
                f"was settled on {show_day(day)}, a day that this invoice does not cover",
            )


def _check_complete(head: InvoiceHead, seen: Mapping[Hash, int], records: Records) -> None:
    due: Collection[Hash] = records.settled
    if isinstance(records.settled, Mapping):
        due = [
            name
            for name, day in records.settled.items()
            if month_of_day(day) == head.month and day <= head.through_day
        ]
    missing = sorted(name for name in due if name not in seen)
    if missing:
        raise InvoiceError(
            "lines", f"charge {missing[0].hex()[:16]} was settled in this month and is missing here"
        )


def _check_sums(invoice: Invoice, relay_id: RelayId, total: int) -> None:
    head = invoice.head
    if head.count != len(invoice.leaves):
        raise InvoiceError(
            "count", f"says {head.count} where there are {len(invoice.leaves)} lines"
        )
    if head.total_micro_usd != total:
        raise InvoiceError(
            "total", f"says {head.total_micro_usd} where the lines add up to {total}"
        )
    if head.lines_hash != lines_hash(leaf.hash(relay_id) for leaf in invoice.leaves):
        raise InvoiceError("lines", "are not those that the relay signed")


def _nearest(leaf: Leaf, records: Records) -> str:
    """Say more than "unknown" where the business signed this charge with other facts.

    A business has few distinct lines, however many charges, so that this stays cheap.
    """
    for other in set(records.signed.values()):
        if structs.replace(leaf, line=other).charge_hash(records.relay_id) in records.signed:
            for fact in other.__struct_fields__:
                shown, was = getattr(leaf.line, fact), getattr(other, fact)
                if shown != was:
                    return f"{fact} says {_show(shown)} where you signed {_show(was)}"
    return "you never signed this charge"


def show_day(day: int) -> str:
    """A day (unix time // 86400) as people write it."""
    return date.fromordinal(day + EPOCH_ORDINAL).isoformat() if day <= MAX_DAY else f"day {day}"


def _show(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
