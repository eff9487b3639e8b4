"""Verification of invoices: everything recomputed, the first difference named.

Relay, business and a stranger run the same checks; they differ in the records that they hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from msgspec import structs

from kurir_billing.adjusted import check_adjustment
from kurir_billing.charge import Line
from kurir_billing.dates import month_of_day, show_day
from kurir_billing.errors import BillingError, EvidenceError, InvoiceError
from kurir_billing.head import InvoiceHead, adjustments_hash, charged_hash, lines_hash
from kurir_billing.headcheck import check_head, check_kept, head_fault, show_fact
from kurir_billing.invoice import Invoice, Records, open_cards
from kurir_billing.lane import Lane
from kurir_billing.leaf import Leaf
from kurir_billing.listed import KnownLists
from kurir_billing.ratecard import RateCard
from kurir_billing.standing import check_standing
from kurir_billing.summary import groups_of
from kurir_billing.total import carried_over, in_order, items_due, opener_of, sums_due
from kurir_wire.errors import WireError
from kurir_wire.ids import Hash

CHECKED_ALWAYS: Final = (
    "the relay is the one named, and its root key vouches for the keys that signed this",
    "the relay signed number, seller, buyer, dates and amounts",
    "the business's keys signed every line, and no charge stands twice",
    "every message was opened: each line has the secret that only the message held",
    "every price is that of a rate card that was in force; windows, quotas, tiers, conversations "
    "and the fee follow",
    "lines, fee and adjustments add up to the total, to the micro-unit",
    "every line and adjustment is in the ledger that the relay signed",
)


def coverage(records: Records) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What :func:`verify_invoice` checks with these records, and what it cannot."""
    needed = {
        "the business's own records have every line, and every adjustment has its report": (
            records.signed is not None
        ),
        "the daily lists reported each line as settled on its day, and nothing that they "
        "reported is missing": records.settled is not None,
        "conversations that began in earlier months were due there": isinstance(
            records.settled, Mapping
        ),
        "the buyer's name is the certified one": records.legal_name is not None,
        "the ledger has grown from the one seen before": bool(records.checkpoints),
    }
    checked = tuple(what for what, is_at_hand in needed.items() if is_at_hand)
    return CHECKED_ALWAYS + checked, tuple(what for what in needed if what not in checked)


def verify_invoice(invoice: Invoice, records: Records) -> None:
    """Recompute an invoice to the micro-unit.

    Lines come first, so that a changed digit is named where it stands and not only as a broken sum.
    Then the head: if the relay's signature holds, the head is what the relay said, and a line that
    does not fit it is at fault; if not, the field whose recomputed value mends it is named. Last
    comes the ledger: every entry in it, and it the one that the business knows.

    :raises InvoiceError: the first difference, with the place where it is
    """
    _check_parties(invoice, records)
    cards = open_cards(invoice)
    seen = _check_lines(invoice, cards, records)
    _check_adjustments(invoice, cards, records)
    due = _head_due(invoice, cards, records)
    operator_pk = invoice.cert.operator_pk
    fault = head_fault(invoice.head, due, operator_pk, records.relay_id, records.heads)
    if fault is not None and fault.where != "signature":
        raise fault
    _check_settled(invoice.leaves, seen, records)
    _check_days(invoice)
    _check_complete(invoice.head, seen, records)
    _check_charged(invoice, records)
    _check_buyer(invoice, records)
    if fault is None:
        check_kept(invoice.head, records.heads)
    check_head(invoice.head, due)
    if fault is not None:
        raise fault
    _check_form(invoice, cards)
    check_standing(
        invoice.standing, invoice.leaves, invoice.cert, records.checkpoints, invoice.adjustments
    )


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
    for where, party in (("seller", invoice.head.seller), ("buyer", invoice.head.buyer)):
        try:
            party.check(f"the {where}")
        except WireError as error:
            raise InvoiceError(where, str(error)) from error


def _check_lines(
    invoice: Invoice, cards: Mapping[Hash, RateCard], records: Records
) -> dict[Hash, int]:
    """:returns: the line number of each charge"""
    seen: dict[Hash, int] = {}
    lanes: set[Lane] = set()
    lists: KnownLists = set()
    for number, leaf in enumerate(invoice.leaves, 1):
        where = f"line {number}"
        try:
            name = _check_evidence(leaf, cards, records, lanes, lists)
        except (BillingError, WireError) as error:
            raise InvoiceError(where, str(error)) from error
        if name in seen:
            raise InvoiceError(where, f"the same charge stands in line {seen[name]} already")
        seen[name] = number
    return seen


def _check_evidence(
    leaf: Leaf,
    cards: Mapping[Hash, RateCard],
    records: Records,
    lanes: set[Lane],
    lists: KnownLists,
) -> Hash:
    """:param lanes: those checked before; a good one is added
    :param lists: as ``lanes``
    :returns: the charge's hash"""
    line = leaf.line
    if leaf.lane.business_id != records.business_id:
        raise EvidenceError("is for another business")
    line.check_form()
    name = leaf.charge_hash(records.relay_id)
    if records.signed is not None and name not in records.signed:
        raise EvidenceError(_nearest(leaf, records))
    if leaf.lane not in lanes:
        leaf.lane.check_signature()
        lanes.add(leaf.lane)
    leaf.check_charge_signature(records.relay_id, lists)
    leaf.check_settlement()
    card = cards.get(Hash(line.rate_card))
    if card is None:
        raise EvidenceError("was priced by a rate card that is not in this file")
    leaf.check_price(card)
    return name


def _check_adjustments(invoice: Invoice, cards: Mapping[Hash, RateCard], records: Records) -> None:
    head, operator_pk = invoice.head, invoice.cert.operator_pk
    seen: dict[Hash, int] = {}
    for number, item in enumerate(invoice.adjustments, 1):
        adjust, leaf, where = item.adjust, Hash(item.adjust.leaf), f"adjustment {number}"
        try:
            check_adjustment(
                item,
                operator_pk,
                records.relay_id,
                records.business_id,
                cards,
                needs_report=records.signed is not None,
            )
            name = _check_evidence(item.leaf, cards, records, set(), set())
        except (BillingError, WireError) as error:
            raise InvoiceError(where, str(error)) from error
        if leaf in seen:
            raise InvoiceError(where, f"adjustment {seen[leaf]} is of the same line")
        seen[leaf] = number
        if records.settled is not None and name not in records.settled:
            raise InvoiceError(where, "the daily lists never reported its line as settled")
        if month_of_day(adjust.day) != head.month or adjust.day > head.through_day:
            raise InvoiceError(
                where, f"is of {show_day(adjust.day)}, a day that this invoice does not cover"
            )
        if records.adjusted is not None and records.adjusted.get(leaf) != adjust.day:
            before = records.adjusted.get(leaf)
            what = "was never reported" if before is None else f"stands on {show_day(before)} too"
            raise InvoiceError(where, f"the adjustment of this line {what}")
    missing = [
        leaf
        for leaf, day in (records.adjusted or {}).items()
        if leaf not in seen and month_of_day(day) == head.month and day <= head.through_day
    ]
    if missing:
        raise InvoiceError("adjustments", f"that of leaf {min(missing).hex()[:16]} is missing here")


def _head_due(invoice: Invoice, cards: Mapping[Hash, RateCard], records: Records) -> InvoiceHead:
    """The head with everything put right that follows from lines, adjustments and records."""
    relay_id, leaves, month = records.relay_id, invoice.leaves, invoice.head.month
    carried = _carried(invoice, records)
    adjusts = [adjustment.adjust for adjustment in invoice.adjustments]
    items = items_due(leaves, relay_id, month, cards, carried)
    sums = sums_due(items, cards, adjusts)
    return structs.replace(
        invoice.head,
        count=len(leaves),
        subtotal_micro_usd=sums.subtotal,
        fee_micro_usd=sums.fee,
        adjustments_micro_usd=sums.adjustments,
        total_micro_usd=sums.total,
        lines_hash=lines_hash(leaf.hash(relay_id) for leaf in leaves),
        adjustments_hash=adjustments_hash(adjust.hash(relay_id) for adjust in adjusts),
        charged_hash=charged_hash(carried),
    )


def _carried(invoice: Invoice, records: Records) -> tuple[Hash, ...]:
    """The conversations of these lines that were due in earlier months: by the records, as far as
    they go, else by the invoice."""
    settled, signed, before = records.settled, records.signed, invoice.charged
    if isinstance(settled, Mapping) and signed is not None:
        before = charged_before(settled, signed, invoice.head.month)
    return carried_over(invoice.leaves, records.relay_id, before)


def charged_before(
    settled: Mapping[Hash, int], signed: Mapping[Hash, Line], month: int
) -> tuple[Hash, ...]:
    """All conversations that were due before a month, by opener."""
    openers = (
        opener_of(signed[name], name)
        for name, day in settled.items()
        if month_of_day(day) < month and name in signed
    )
    return tuple(opener for opener in openers if opener is not None)


def _check_settled(leaves: Sequence[Leaf], seen: Mapping[Hash, int], records: Records) -> None:
    reported = records.settled
    if reported is None:
        return
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
    due: Collection[Hash] = records.settled or ()
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


def _check_charged(invoice: Invoice, records: Records) -> None:
    due = _carried(invoice, records)
    if invoice.charged == due:
        return
    for opener in sorted({*due, *invoice.charged}):
        if opener not in invoice.charged:
            what = "was due in an earlier month, and is not listed"
        elif opener not in due:
            what = "is listed, and no message of it was due in an earlier month"
        else:
            continue
        raise InvoiceError("charged", f"conversation {opener.hex()[:16]} {what}")
    raise InvoiceError("charged", "conversations stand once, in ascending order")


def _check_buyer(invoice: Invoice, records: Records) -> None:
    """A name may change; what the relay signed while it was the certified one stays."""
    said, head = invoice.head.buyer.legal_name, invoice.head
    before = records.heads.get(head.number)
    certified = before.buyer.legal_name if before else records.legal_name
    if certified is not None and said != certified:
        raise InvoiceError(
            "buyer", f"legal_name says {said!r} where the operator certified {certified!r}"
        )


def _check_form(invoice: Invoice, cards: Mapping[Hash, RateCard]) -> None:
    """One invoice, one file: nothing stands in another order, nothing is there for nothing."""
    relay_id = invoice.cert.relay_id
    days = [(leaf.settled_day, leaf.charge_hash(relay_id)) for leaf in invoice.leaves]
    place = in_order(days)
    if place is not None:
        raise InvoiceError(
            f"line {place + 1}", "is out of order: lines stand by day, then by charge hash"
        )
    adjusts = [(item.adjust.day, item.adjust.hash(relay_id)) for item in invoice.adjustments]
    place = in_order(adjusts)
    if place is not None:
        raise InvoiceError(
            f"adjustment {place + 1}", "is out of order: they stand by day, then by hash"
        )
    needed = invoice.card_names
    for number, name in enumerate(cards, 1):
        if name not in needed:
            raise InvoiceError(f"rate card {number}", "no line uses it")
        if needed[number - 1] != name:
            raise InvoiceError(
                f"rate card {number}", "is out of order: rate cards stand in order of first use"
            )
    items = items_due(invoice.leaves, relay_id, invoice.head.month, cards, invoice.charged)
    groups = groups_of(items)
    if invoice.groups != groups:
        same = (one == two for one, two in zip(invoice.groups, groups, strict=False))
        differing = (n for n, is_same in enumerate(same, 1) if not is_same)
        first = next(differing, min(len(groups), len(invoice.groups)) + 1)
        raise InvoiceError(f"group {first}", "is not what the lines come to")


def _nearest(leaf: Leaf, records: Records) -> str:
    """Say more than "unknown" where the business signed this charge with other facts.

    A business has few distinct lines, however many charges, so that this stays cheap.
    """
    signed = records.signed or {}
    for other in set(signed.values()):
        if structs.replace(leaf, line=other).charge_hash(records.relay_id) in signed:
            for fact in other.__struct_fields__:
                shown, was = getattr(leaf.line, fact), getattr(other, fact)
                if shown != was:
                    return f"{fact} says {show_fact(shown)} where you signed {show_fact(was)}"
    return "you never signed this charge"
