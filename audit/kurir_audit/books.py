"""What every business owes by the ledger alone: the months of all of them, billed by the functions
that relay and business use. No mailbox is in any of it, and no report.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from kurir_billing.adjust import Adjust
from kurir_billing.dates import month_of_day
from kurir_billing.leaf import Leaf
from kurir_billing.ratecard import RateCard
from kurir_billing.summary import Group, groups_of
from kurir_billing.total import Sums, items_due, openers, sums_due
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

    @property
    def cards(self) -> Mapping[Hash, RateCard]:
        """Those seen so far."""
        return self._cards

    def add_card(self, name: Hash, card: RateCard) -> None:
        """A rate card that the operator signed."""
        self._cards[name] = card

    def add_leaf(self, leaf: Leaf) -> None:
        """A leaf that was checked."""
        name = leaf.lane.business_id, month_of_day(leaf.settled_day)
        self._running[name].leaves.append(leaf)

    def add_adjust(self, adjust: Adjust) -> None:
        """An adjustment that was checked; it belongs to its own month, not to that of its leaf."""
        self._running[adjust.business_id, month_of_day(adjust.day)].adjusts.append(adjust)

    def close(self, month: int | None, relay_id: RelayId) -> None:
        """Bill what is before a month; all, if ``None``."""
        over = [name for name in self._running if month is None or name[1] < month]
        for name in sorted(over, key=lambda name: name[1]):
            held = self._running.pop(name)
            held.charged = frozenset(self._openers[name[0]])
            self._openers[name[0]].update(openers(held.leaves, relay_id))
            self.bills[name] = bill(held, name[1], relay_id, self._cards)
            if name in self._wanted:
                self.kept[name] = held


def bill(held: Month, month: int, relay_id: RelayId, cards: Mapping[Hash, RateCard]) -> Bill:
    """What a month comes to."""
    items = items_due(held.leaves, relay_id, month, cards, held.charged)
    sums = sums_due(items, cards, held.adjusts)
    return Bill(len(items), sums, groups_of(items))
