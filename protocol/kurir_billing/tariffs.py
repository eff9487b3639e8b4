"""Tariffs: small pure functions that turn facts into class and price.

To add a tariff, write its function here and name it in :data:`TARIFFS`; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kurir_billing.errors import BillingError
from kurir_billing.kinds import Category, Class
from kurir_billing.ratecard import RateCard


@dataclass(frozen=True, slots=True)
class Facts:
    """What the price of a message may depend on: nothing of its content, nothing of who reads it.

    ``window_open``: the business showed a valid grant whose window contains the acceptance.
    """

    market: str
    category: Category
    window_open: bool


@dataclass(frozen=True, slots=True)
class Price:
    """The class of a message and its list price in micro-USD."""

    klass: Class
    micro_usd: int


Tariff = Callable[[Facts, RateCard], Price]


def reply_2018(facts: Facts, card: RateCard) -> Price:
    """Answers within 24 hours are free; each later message costs the market's utility rate."""
    if facts.window_open:
        return Price(Class.IN_WINDOW, 0)
    return Price(Class.OUT_OF_WINDOW, card.rates(facts.market).utility)


TARIFFS: Final[dict[str, Tariff]] = {"reply-2018": reply_2018}
DEFAULT_TARIFF: Final = "reply-2018"
ASKS_CATEGORY: Final[frozenset[str]] = frozenset()
"""Tariffs whose lines name a category; under all others it is ``Category.NONE``, so that the relay
learns no more than the price needs."""


def price(tariff: str, facts: Facts, card: RateCard) -> Price:
    """Price a message.

    :raises BillingError: there is no such tariff
    """
    rule = TARIFFS.get(tariff)
    if rule is None:
        raise BillingError(f"there is no tariff {tariff!r}; known are {', '.join(TARIFFS)}")
    return rule(facts, card)


def price_of_class(
    tariff: str, market: str, category: Category, klass: Class, card: RateCard
) -> int:
    """The list price of a class under a tariff: what an auditor recomputes from a line alone.

    :raises BillingError: there is no such tariff, or the tariff has no such class
    """
    expected = price(tariff, Facts(market, category, klass is Class.IN_WINDOW), card)
    if expected.klass is not klass:
        raise BillingError(f"the tariff {tariff} has no class {klass.name.lower()}")
    return expected.micro_usd
