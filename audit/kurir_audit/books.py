"""What every business owes by the ledger alone: the months of all of them, billed by the functions
that relay and business use. No mailbox is in any of it, and no report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from kurir_billing.adjust import Adjust
from kurir_billing.adjusted import delta_of
from kurir_billing.dates import month_of_day
from kurir_billing.errors import EvidenceError, LedgerError
from kurir_billing.leaf import Leaf
from kurir_billing.ratecard import RateCard
from kurir_billing.summary import Group, groups_of
from kurir_billing.total import Sums, items_due, opener_of, sums_due
from kurir_wire.errors import WireError
from kurir_wire.ids import Hash, RelayId


@dataclass(slots=True)
class Month:
    """What a business's month holds. ``charged``: conversations that were due before it."""

    leaves: list[Leaf] = field(default_factory=list)
    adjusts: list[Adjust] = field(default_factory=list)
    charged: frozenset[Hash] = frozenset()


@dataclass(frozen=True, slots=True)
class Bill:
    """What it comes to."""

    count: int
    sums: Sums
    groups: tuple[Group, ...]


Name = tuple[bytes, int]
"""Business, and month (year * 100 + month)."""


class Books:
    """Takes the entries of a ledger in order, and bills a month when a later one begins.

    :param wanted: months to keep whole
    """

    def __init__(self, wanted: Collection[Name] = ()) -> None:
        self.bills: dict[Name, Bill] = {}
        self.kept: dict[Name, Month] = {}
        self._wanted = frozenset(wanted)
        self._cards: dict[Hash, RateCard] = {}
        self._running: defaultdict[Name, Month] = defaultdict(Month)
        self._openers: defaultdict[bytes, set[Hash]] = defaultdict(set)
        self._categorised: dict[Hash, Leaf] = {}
        self._adjusted: dict[Hash, int] = {}
        self._early: list[tuple[Adjust, int]] = []

    @property
    def cards(self) -> Mapping[Hash, RateCard]:
        """Those seen so far."""
        return self._cards

    def add_card(self, name: Hash, card: RateCard) -> None:
        """A rate card that the operator signed."""
        self._cards[name] = card

    def add_leaf(self, leaf: Leaf, relay_id: RelayId) -> None:
        """A leaf that was checked."""
        business, month = leaf.lane.business_id, month_of_day(leaf.settled_day)
        self._running[business, month].leaves.append(leaf)
        if leaf.line.category:
            self._categorised[leaf.hash(relay_id)] = leaf

    def add_adjust(self, adjust: Adjust, relay_id: RelayId, operator_pk: bytes, index: int) -> None:
        """Check and take an adjustment. One of a charge of the same day may stand before it, as
        hashes have it, and is checked when the day is over.

        :param index: its place in the tree
        :raises BillingError: it does not follow from a leaf, or is there twice
        """
        try:
            adjust.verify(operator_pk, relay_id)
        except WireError as error:
            raise EvidenceError(str(error)) from error
        leaf = self._categorised.get(Hash(adjust.leaf))
        if leaf is None:
            self._early.append((adjust, index))
        else:
            self._take(adjust, leaf, index)

    def end_day(self) -> None:
        """:raises LedgerError: a charge that was adjusted is not in the ledger"""
        for adjust, index in self._early:
            leaf = self._categorised.get(Hash(adjust.leaf))
            if leaf is None:
                raise LedgerError(f"entry {index} adjusts a charge that has no category here")
            self._take(adjust, leaf, index)
        self._early.clear()

    def _take(self, adjust: Adjust, leaf: Leaf, index: int) -> None:
        name = Hash(adjust.leaf)
        if leaf.settled_day > adjust.day:
            raise LedgerError("was decided before its charge settled")
        if leaf.lane.business_id != adjust.business_id:
            raise LedgerError("adjusts a charge of another business")
        if name in self._adjusted:
            raise LedgerError(f"the same charge was adjusted by entry {self._adjusted[name]}")
        due = delta_of(leaf.line, adjust.category, self._cards[Hash(leaf.line.rate_card)])
        if adjust.delta_micro_usd != due:
            raise EvidenceError(
                f"adds {adjust.delta_micro_usd} where the rate card's difference is {due}"
            )
        self._adjusted[name] = index
        self._running[adjust.business_id, month_of_day(adjust.day)].adjusts.append(adjust)

    def close(self, month: int | None, relay_id: RelayId) -> None:
        """Bill what is before a month; all, if ``None``."""
        over = [name for name in self._running if month is None or name[1] < month]
        for name in sorted(over, key=lambda name: name[1]):
            held = self._running.pop(name)
            held.charged = frozenset(self._openers[name[0]])
            self._openers[name[0]].update(_openers(held.leaves, relay_id))
            self.bills[name] = bill(held, name[1], relay_id, self._cards)
            if name in self._wanted:
                self.kept[name] = held


def bill(held: Month, month: int, relay_id: RelayId, cards: Mapping[Hash, RateCard]) -> Bill:
    """What a month comes to."""
    items = items_due(held.leaves, relay_id, month, cards, held.charged)
    sums = sums_due(held.leaves, relay_id, month, cards, held.charged, held.adjusts)
    return Bill(len(items), sums, groups_of(items))


def _openers(leaves: Iterable[Leaf], relay_id: RelayId) -> set[Hash]:
    found = {opener_of(leaf.line, leaf.charge_hash(relay_id)) for leaf in leaves}
    return {opener for opener in found if opener is not None}
