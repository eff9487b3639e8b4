"""An invoice in groups, as its page and its bookkeeper need it: nothing here is signed, all of it
follows from the lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kurir_billing.kinds import Category, Class
from kurir_billing.tariffs import TARIFFS, Quota
from kurir_billing.total import Item, Why, opener_of


@dataclass(frozen=True, slots=True)
class Group:
    """Lines that cost the same for the same reason. ``unit``: micro-USD of each."""

    market: str
    tariff: str
    category: Category
    klass: Class
    why: Why
    list_price: int
    unit: int
    count: int

    @property
    def amount(self) -> int:
        """Micro-USD of all."""
        return self.unit * self.count


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """How much of a month's free quota was used."""

    tariff: str
    quota: Quota
    used: int


@dataclass(frozen=True, slots=True)
class Saved:
    """How many lines came to less than their list price for one reason, and by how much."""

    why: Why
    count: int
    micro_usd: int


_ORDER = {why: place for place, why in enumerate(Why)}


def groups_of(items: Iterable[Item]) -> tuple[Group, ...]:
    """All lines, by market, tariff, category, class, reason, and price, dearest first.

    :param items: of lines that have their form
    """
    counts = Counter(
        (
            item.leaf.line.market,
            item.leaf.line.tariff,
            Category(item.leaf.line.category),
            Class(item.leaf.line.klass),
            _ORDER[item.why],
            -item.leaf.line.list_price,
            -item.micro_usd,
        )
        for item in items
    )
    whys = list(Why)
    return tuple(
        Group(market, tariff, category, klass, whys[why], -listed, -unit, count)
        for (market, tariff, category, klass, why, listed, unit), count in sorted(counts.items())
    )


def quotas_of(items: Sequence[Item]) -> tuple[QuotaUse, ...]:
    """The free quotas of the tariffs that the lines have."""
    found = []
    for name in sorted({item.leaf.line.tariff for item in items}):
        tariff = TARIFFS.get(name)
        if tariff is None or tariff.quota is None:
            continue
        used = sum(item.leaf.line.tariff == name and item.why is Why.QUOTA for item in items)
        found.append(QuotaUse(name, tariff.quota, used))
    return tuple(found)


def conversations_of(items: Iterable[Item]) -> int:
    """Conversations that began in this month, free ones too."""
    return sum(
        opener_of(item.leaf.line, item.name) is not None and item.why is not Why.CONVERSATION
        for item in items
    )


def saved_of(items: Iterable[Item]) -> tuple[Saved, ...]:
    """What was taken off list prices, by reason."""
    counts: Counter[Why] = Counter()
    amounts: Counter[Why] = Counter()
    for item in items:
        if item.why is not Why.LIST:
            counts[item.why] += 1
            amounts[item.why] += item.leaf.line.list_price - item.micro_usd
    return tuple(Saved(why, counts[why], amounts[why]) for why in Why if counts[why])
