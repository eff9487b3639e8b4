"""Tariffs: small pure functions that turn facts into class and price.

To add a tariff, write its function here and name it in :data:`TARIFFS`; nothing else changes. What
is due only at the end of a month (free quotas, volume tiers) is in :mod:`kurir_billing.quotas`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kurir_billing.errors import BillingError
from kurir_billing.kinds import Category, Class, PassKind, RefusalCode
from kurir_billing.ratecard import RateCard


@dataclass(frozen=True, slots=True)
class Facts:
    """What the price of a message may depend on: nothing of its content, nothing of who reads it.

    ``window_open``: the business showed a valid grant whose window contains the acceptance.
    ``entry_granted``: such a grant of kind entry that no message was an answer to yet.
    ``entry_open``: it showed an entry pass that holds.
    ``conversation``: it showed a conversation pass that holds; the class of the opening message.
    """

    market: str
    category: Category
    window_open: bool
    entry_granted: bool = False
    entry_open: bool = False
    conversation: Class | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """The class of a message and its list price in micro-USD.

    ``free``: by the rule, whatever the rate is.
    ``opens``: the pass that its acceptance earns.
    ``covered``: it belongs to the conversation of the pass shown, and its charge names the opener.
    The list price is then the conversation's, due once: on the first of its messages that settles.
    """

    klass: Class
    micro_usd: int
    free: bool = False
    opens: PassKind | None = None
    covered: bool = False


Rule = Callable[[Facts, RateCard], Price | RefusalCode]


@dataclass(frozen=True, slots=True)
class Quota:
    """The first ``count`` charges of a category in a business's month are free."""

    count: int
    category: Category


@dataclass(frozen=True, slots=True)
class Tariff:
    """A rule and what it needs.

    ``asks_category``: lines name a category; otherwise it is ``Category.NONE``, so that the relay
    learns no more than the price needs.
    ``passes``: the kinds of pass that the relay makes for it.
    ``flat_fee``: messages are covered by a monthly fee, the rate card's ``flat_monthly_micro_usd``
    (nothing if it has none).
    """

    name: str
    rule: Rule
    asks_category: bool = False
    passes: frozenset[PassKind] = frozenset()
    quota: Quota | None = None
    flat_fee: bool = False


def flat(facts: Facts, card: RateCard) -> Price:
    """No message costs anything, and no fact is asked for."""
    return Price(Class.IN_WINDOW, 0, free=True)


def reply_2018(facts: Facts, card: RateCard) -> Price:
    """Answers within 24 hours are free; each later message costs the market's utility rate."""
    if facts.window_open:
        return Price(Class.IN_WINDOW, 0, free=True)
    return Price(Class.OUT_OF_WINDOW, card.rates(facts.market).utility)


def conversation_2022(facts: Facts, card: RateCard) -> Price:
    """24 hours cost once: the utility rate if opened inside the customer's window, else the
    marketing rate."""
    covered = facts.conversation is not None
    klass = facts.conversation if facts.conversation is not None else _window_class(facts)
    rates = card.rates(facts.market)
    rate = rates.utility if klass is Class.IN_WINDOW else rates.marketing
    return Price(klass, rate, opens=None if covered else PassKind.CONVERSATION, covered=covered)


def message_2025(facts: Facts, card: RateCard) -> Price | RefusalCode:
    """Each message by its category; service, and utility inside the window, are free."""
    return _by_message(facts, card, free=frozenset({Category.SERVICE, Category.UTILITY}))


def message_2026(facts: Facts, card: RateCard) -> Price | RefusalCode:
    """Each message by its category; service costs the utility rate once the quota is used up."""
    return _by_message(facts, card, free=frozenset())


def _by_message(facts: Facts, card: RateCard, free: frozenset[Category]) -> Price | RefusalCode:
    """:param free: categories that cost nothing inside the window"""
    if facts.category is Category.SERVICE and not facts.window_open:
        return RefusalCode.OUTSIDE_WINDOW
    if facts.entry_open:
        return Price(Class.ENTRY, 0, free=True)
    if facts.entry_granted:
        return Price(Class.ENTRY, 0, free=True, opens=PassKind.ENTRY)
    klass = _window_class(facts)
    if facts.window_open and facts.category in free:
        return Price(klass, 0, free=True)
    return Price(klass, card.rates(facts.market).of(facts.category))


def _window_class(facts: Facts) -> Class:
    return Class.IN_WINDOW if facts.window_open else Class.OUT_OF_WINDOW


_ENTRY: Final = frozenset({PassKind.ENTRY})
TARIFFS: Final[dict[str, Tariff]] = {
    tariff.name: tariff
    for tariff in (
        Tariff("flat", flat, flat_fee=True),
        Tariff("reply-2018", reply_2018),
        Tariff(
            "conversation-2022",
            conversation_2022,
            passes=frozenset({PassKind.CONVERSATION}),
            quota=Quota(1_000, Category.NONE),
        ),
        Tariff("message-2025", message_2025, asks_category=True, passes=_ENTRY),
        Tariff(
            "message-2026",
            message_2026,
            asks_category=True,
            passes=_ENTRY,
            quota=Quota(1_000, Category.SERVICE),
        ),
    )
}
DEFAULT_TARIFF: Final = "reply-2018"


def tariff_named(name: str) -> Tariff:
    """:raises BillingError: there is no such tariff"""
    tariff = TARIFFS.get(name)
    if tariff is None:
        raise BillingError(f"there is no tariff {name!r}; known are {', '.join(TARIFFS)}")
    return tariff


def price(tariff: str, facts: Facts, card: RateCard) -> Price | RefusalCode:
    """Price a message, or say why it cannot be sent.

    :raises BillingError: there is no such tariff
    """
    known = tariff_named(tariff)
    if known.asks_category and facts.category is Category.NONE:
        return RefusalCode.BAD_PARAMETER
    return known.rule(facts, card)


def price_of_class(
    tariff: str, market: str, category: Category, klass: Class, card: RateCard
) -> Price:
    """The price of a class under a tariff: what an auditor recomputes from a line alone.

    :raises BillingError: there is no such tariff, or it has no such class for the category
    """
    inside, entry = klass is not Class.OUT_OF_WINDOW, klass is Class.ENTRY
    found = price(tariff, Facts(market, category, inside, entry_open=entry), card)
    if isinstance(found, RefusalCode) or found.klass is not klass:
        names = f"{klass.name.lower()} for the category {category.name.lower()}"
        raise BillingError(f"the tariff {tariff} has no class {names}")
    return found
