"""The three totals: the relay's signed heads, each business's own records, the auditor's reading of
the exported ledger. None of them sees the others' figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.million.business import Business
from bench.million.life import Clock, Lived, Progress
from bench.million.plan import END_DAY, MONTHS
from kurir_audit.ledger import examine
from kurir_billing.adjust import Adjust
from kurir_billing.adjusted import Adjustment
from kurir_billing.charge import Line
from kurir_billing.dates import first_day, month_of_day
from kurir_billing.head import InvoiceHead, open_head
from kurir_billing.invoice import Invoice, Records, with_groups
from kurir_billing.kinds import Category, Class
from kurir_billing.leaf import Leaf, open_leaf
from kurir_billing.ledger import PlaceInLedger, open_checkpoint
from kurir_billing.quotas import Settled, amounts_due
from kurir_billing.ratecard import RateCard
from kurir_billing.standing import Standing
from kurir_billing.tariffs import TARIFFS, price_of_class
from kurir_billing.total import carried_over, has_fee, opener_of
from kurir_billing.verify import charged_before, verify_invoice
from kurir_server.export import export_ledger
from kurir_server.rows import Moment
from kurir_wire.frames import (
    CheckpointIs,
    GetInclusion,
    GetSettlements,
    InclusionIs,
    InvoiceIs,
    SettlementsAre,
)
from kurir_wire.ids import DAY, NO_HASH, Hash

PAGE: Final = 256
Totals = dict[tuple[bytes, int], int]
"""Micro-USD by business and month."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A business's month of which not all three say the same."""

    business: bytes
    month: int
    relay: int
    business_says: int
    auditor: int

    def __str__(self) -> str:
        return (
            f"business {self.business.hex()[:8]}, {self.month}: relay {self.relay}, business "
            f"{self.business_says}, auditor {self.auditor} micro-USD"
        )


def compare(relay: Totals, business: Totals, auditor: Totals) -> list[Difference]:
    """Where they differ; a month that somebody does not have counts as nothing due."""
    found = []
    for name in sorted({*relay, *business, *auditor}):
        sums = tuple(totals.get(name, 0) for totals in (relay, business, auditor))
        if len(set(sums)) > 1:
            found.append(Difference(*name, *sums))
    return found


def now() -> Moment:
    """When the invoices are made: both months are over."""
    return Moment(END_DAY * DAY + 60, END_DAY * DAY)


def relay_says(lived: Lived, progress: Progress) -> tuple[Totals, dict[tuple[bytes, int], bytes]]:
    """The heads that the relay's registry signs, as bytes too."""
    totals: Totals = {}
    heads: dict[tuple[bytes, int], bytes] = {}
    clock = Clock(lived.seconds)
    for place, one in enumerate(lived.businesses, 1):
        for month in MONTHS:
            reply = lived.store.transact(
                lambda rows: lived.registry.invoice(rows, now(), one.id, 1, month)  # noqa: B023
            )
            assert isinstance(reply, InvoiceIs), reply
            head = open_head(reply.head)
            head.verify(lived.keys.cert.operator_pk, lived.keys.relay_id)
            totals[one.id, month] = head.total_micro_usd
            heads[one.id, month] = reply.head
        progress("the relay's invoices", place / len(lived.businesses))
    clock.book("relay: invoices")
    return totals, heads


def businesses_say(
    lived: Lived, heads: Mapping[tuple[bytes, int], bytes], progress: Progress
) -> tuple[Totals, Counter[str]]:
    """What each business works out from its own lines and the daily lists; and it verifies the
    invoices that it got, with the place of every line in the ledger.

    :returns: also how many lines there were, by why they cost what they cost
    :raises InvoiceError: an invoice is not in order
    """
    totals: Totals = {}
    whys: Counter[str] = Counter()
    for place, one in enumerate(lived.businesses, 1):
        leaves: list[Leaf] = []
        clock = Clock(lived.seconds)
        for month in MONTHS:
            leaves = list(_settlements(lived, one, month))
            clock.book("relay: hands out lists and proofs")
            leaves.sort(key=lambda leaf: (leaf.settled_day, leaf.charge_hash(one.relay_id)))
            one.settled.update(
                (leaf.charge_hash(one.relay_id), leaf.settled_day) for leaf in leaves
            )
            totals[one.id, month] = own_total(one, month, lived.cards)
            clock.book("business: adds up")
            invoice = _invoice(lived, one, open_head(heads[one.id, month]), leaves, clock)
            verify_invoice(invoice, _records(one))
            for group in invoice.groups:
                whys[group.why] += group.count
            clock.book("business: verifies")
        progress("businesses verify", place / len(lived.businesses))
    return totals, whys


def own_total(one: Business, month: int, cards: Mapping[Hash, RateCard]) -> int:
    """A month from records alone: lines signed here, days of the lists, adjustments reported."""
    due = sorted((day, name) for name, day in one.settled.items() if month_of_day(day) == month)
    lines = [one.signed[name] for _, name in due]
    settled = [
        _settled(line, name, month, cards) for line, (_, name) in zip(lines, due, strict=True)
    ]
    before = charged_before(one.settled, one.signed, month)
    fees = [
        cards[Hash(line.rate_card)].flat_monthly_micro_usd or 0 for line in lines if has_fee(line)
    ]
    return (
        sum(amount for _, amount in amounts_due(settled, before))
        + min(fees, default=0)
        + sum(adjust.delta_micro_usd for adjust, _ in one.rulings if _is_of(adjust, month))
    )


def _is_of(adjust: Adjust, month: int) -> bool:
    return month_of_day(adjust.day) == month


def _settled(line: Line, name: Hash, month: int, cards: Mapping[Hash, RateCard]) -> Settled:
    category, klass, card = Category(line.category), Class(line.klass), cards[Hash(line.rate_card)]
    price = price_of_class(line.tariff, line.market, category, klass, card)
    assert price.micro_usd == line.list_price
    opener = opener_of(line, name)
    return Settled(TARIFFS[line.tariff], line.market, category, price, month, card, opener)


def _settlements(lived: Lived, one: Business, month: int) -> Iterator[Leaf]:
    """The daily lists of a month, page by page."""
    day = first_day(month)
    assert day is not None
    while month_of_day(day) == month:
        after = bytes(NO_HASH)
        while True:
            request = GetSettlements(1, day, after)
            reply = lived.store.read(
                lambda rows: lived.registry.settlements(rows, now(), one.id, request)  # noqa: B023
            )
            assert isinstance(reply, SettlementsAre), reply
            page = [open_leaf(data) for data in reply.leaves]
            yield from page
            if not reply.more:
                break
            after = page[-1].charge_hash(one.relay_id)
        day += 1


def _invoice(
    lived: Lived, one: Business, head: InvoiceHead, leaves: list[Leaf], clock: Clock
) -> Invoice:
    """As ``kurir business invoice`` puts it together."""
    relay_id = one.relay_id
    rulings = sorted(
        ((adjust, report) for adjust, report in one.rulings if _is_of(adjust, head.month)),
        key=lambda ruling: (ruling[0].day, ruling[0].hash(relay_id)),
    )
    by_hash: dict[bytes, Leaf] = {}
    for adjust, _ in rulings:
        stored = lived.store.read(lambda rows: rows.adjust_of_leaf(Hash(adjust.leaf)))  # noqa: B023
        assert stored is not None
        by_hash[adjust.leaf] = open_leaf(stored.leaf)
    named = [Hash(leaf.line.rate_card) for leaf in (*leaves, *by_hash.values())]
    cards = []
    for name in dict.fromkeys(named):
        card = lived.store.read(lambda rows: rows.rate_card(name))  # noqa: B023
        assert card is not None
        cards.append(card.card)
    clock.book("business: verifies")
    newest = lived.store.transact(lambda rows: lived.ledger.checkpoint(rows, now(), 1))
    assert isinstance(newest, CheckpointIs), newest
    size = open_checkpoint(newest.note, lived.keys.cert.checkpoint_pk, relay_id).size
    entries = [(leaf.settled_day, leaf.charge_hash(relay_id)) for leaf in leaves]
    places = _places(lived, one, size, entries)
    ruled = _places(
        lived, one, size, [(adjust.day, adjust.hash(relay_id)) for adjust, _ in rulings]
    )
    clock.book("relay: hands out lists and proofs")
    charged = charged_before(one.settled, one.signed, head.month)
    invoice = Invoice(
        lived.keys.cert,
        head,
        tuple(leaves),
        tuple(cards),
        Standing(newest.note, tuple(places)),
        tuple(
            Adjustment(adjust, by_hash[adjust.leaf], report, place)
            for (adjust, report), place in zip(rulings, ruled, strict=True)
        ),
        charged=carried_over(leaves, relay_id, charged),
    )
    return with_groups(invoice)


def _places(
    lived: Lived, one: Business, size: int, entries: list[tuple[int, Hash]]
) -> list[PlaceInLedger]:
    """The proofs of one day at a time."""
    found: list[PlaceInLedger] = []
    days: dict[int, list[bytes]] = {}
    for day, name in entries:
        days.setdefault(day, []).append(name)
    for day, names in days.items():
        for first in range(0, len(names), PAGE):
            request = GetInclusion(1, size, day, names[first : first + PAGE])
            reply = lived.store.transact(
                lambda rows: lived.ledger.inclusion(rows, now(), one.id, request)  # noqa: B023
            )
            assert isinstance(reply, InclusionIs), reply
            found += (PlaceInLedger(place.index, tuple(place.proof)) for place in reply.places)
    return found


def _records(one: Business) -> Records:
    adjusted = {Hash(adjust.leaf): adjust.day for adjust, _ in one.rulings}
    return Records(one.relay_id, one.id, one.signed, one.settled, adjusted=adjusted)


def export(lived: Lived, target: Path) -> None:
    """The ledger as a file."""
    clock = Clock(lived.seconds)
    export_ledger(lived.db, lived.keys.cert, target)
    clock.book("relay: exports")


def auditor_says(lived: Lived, file: Path) -> tuple[Totals, str | None]:
    """What the exported ledger comes to, recomputed by whoever has only that.

    :returns: also the first thing that is wrong with it
    """
    clock = Clock(lived.seconds)
    account = examine(file)
    clock.book("auditor")
    totals = {name: bill.sums.total for name, bill in account.bills.items()}
    return totals, account.fault
