"""What settled messages come to at the end of a month: conversations once, quotas, volume tiers.

All of it depends on the order of settlement, so it is worked out when the invoice is made, never at
acceptance. It only lowers what the business signed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kurir_billing.kinds import Category, Class
from kurir_billing.ratecard import RateCard, Step
from kurir_billing.tariffs import Price, Tariff


class Due(StrEnum):
    """Why a settled message costs what it costs."""

    REGULAR = "regular"
    FREE_CUSTOMER_SERVICE = "free_customer_service"
    FREE_ENTRY_POINT = "free_entry_point"
    COVERED = "covered"


@dataclass(frozen=True, slots=True)
class Settled:
    """A settled message. ``month``: of its settlement (year * 100 + month, UTC). ``card``: the one
    that priced it. ``conversation``: its opener, under a tariff with conversations."""

    tariff: Tariff
    market: str
    category: Category
    price: Price
    month: int
    card: RateCard
    conversation: Hashable = None


def amounts_due(
    settled: Iterable[Settled], charged: Collection[Hashable] = ()
) -> Iterator[tuple[Due, int]]:
    """What each message is, and what it costs in micro-USD.

    :param settled: one business's, in order of settlement
    :param charged: conversations that were due in months before the first of these
    """
    conversations = set(charged)
    free: Counter[tuple[str, int]] = Counter()
    volume: Counter[tuple[str, Category, int]] = Counter()
    for message in settled:
        due = _due_before_quota(message, conversations)
        if due is not Due.REGULAR:
            yield due, 0
            continue
        if message.conversation is not None:
            conversations.add(message.conversation)
        if _is_in_quota(message, free):
            yield Due.FREE_CUSTOMER_SERVICE, 0
            continue
        market = message.card.priced_as(message.market)
        before = (market, message.category, message.month)
        steps = message.card.rates(market).steps(message.category)
        yield Due.REGULAR, marginal(message.price.micro_usd, steps, volume[before])
        volume[before] += 1


def marginal(list_price: int, steps: Sequence[Step], before: int) -> int:
    """The price of a message after ``before`` others of its market, category and month."""
    price = list_price
    for step in steps:
        if before >= step.above:
            price = step.micro_usd
    return price


def _due_before_quota(message: Settled, conversations: Collection[Hashable]) -> Due:
    if message.tariff.flat_fee or message.conversation in conversations:
        return Due.COVERED
    if message.price.klass is Class.ENTRY:
        return Due.FREE_ENTRY_POINT
    return Due.FREE_CUSTOMER_SERVICE if message.price.free else Due.REGULAR


def _is_in_quota(message: Settled, free: Counter[tuple[str, int]]) -> bool:
    """Whether one more fits into the month's free quota; if so, it is counted."""
    quota = message.tariff.quota
    if quota is None or message.category is not quota.category:
        return False
    key = (message.tariff.name, message.month)
    if free[key] >= quota.count:
        return False
    free[key] += 1
    return True
