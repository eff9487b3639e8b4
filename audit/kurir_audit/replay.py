"""What a list of events would have cost under a tariff, by the functions that a relay prices with.

Only the memory is here: who wrote when, what is open. Source: docs/billing.md, "Replay".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from msgspec import Struct

from kurir_audit.card_files import Cards
from kurir_audit.events import AnyEvent, Blocked, Delivered, Name, Sent, Unblocked, Wrote
from kurir_billing.dates import month_of_day
from kurir_billing.kinds import Category, Class, PassKind, RefusalCode
from kurir_billing.quotas import Due, Settled, amounts_due
from kurir_billing.ratecard import RateCard
from kurir_billing.tariffs import Facts, Price, Tariff, price
from kurir_billing.windows import PASS_LENGTH, SETTLE_WITHIN, WINDOW, is_open
from kurir_wire.ids import DAY


class Billed(Struct, frozen=True, gc=False):
    """A settled message and its price. ``type`` and ``category`` as in the output."""

    id: Name
    type: Due
    category: str | None
    cc: str
    micro_usd: int


class Refused(Struct, frozen=True, gc=False):
    """A message that the relay would not have taken."""

    id: Name
    refused: int


class Chat(Struct, gc=False):
    """What is remembered of one customer and one business. Times in seconds, ``None`` for never.

    ``met``: the customer's first message. ``blocked``: the newest block.
    """

    met: int | None = None
    wrote: int | None = None
    entry_granted: int | None = None
    entry_since: int | None = None
    conversation_since: int | None = None
    conversation_class: Class | None = None
    opener: Name | None = None
    blocked: int | None = None
    is_blocked: bool = False


class Accepted(Struct, gc=False):
    """A message that was taken. ``at``: when it settled, once it has."""

    sent: Sent
    market: str
    category: Category
    price: Price
    card: RateCard
    opener: Name | None
    at: int = 0


def replay(events: Iterable[AnyEvent], tariff: Tariff, cards: Cards) -> list[Billed | Refused]:
    """Price all events, in order of time.

    :returns: settled and refused messages, in order of id
    """
    outcomes: list[Billed | Refused] = []
    waiting: dict[Name, Accepted] = {}
    settled: defaultdict[Name, list[Accepted]] = defaultdict(list)
    chats: defaultdict[tuple[Name, Name], Chat] = defaultdict(Chat)
    for event in events:
        match event:
            case Wrote():
                _note_grant(chats[event.biz, event.usr], event)
            case Unblocked():
                chats[event.biz, event.usr].is_blocked = False
            case Blocked():
                chat = chats[event.biz, event.usr]
                chat.is_blocked, chat.blocked = True, event.t
            case Sent():
                taken = _accept(chats[event.biz, event.usr], event, tariff, cards)
                if isinstance(taken, RefusalCode):
                    outcomes.append(Refused(event.id, int(taken)))
                else:
                    waiting[event.id] = taken
            case Delivered():
                message = waiting.pop(event.id, None)
                if message is not None and _settles(message.sent, event.t, chats):
                    message.at = event.t
                    settled[message.sent.biz].append(message)
    for messages in settled.values():
        outcomes.extend(_bill(messages, tariff))
    outcomes.sort(key=lambda outcome: _order(outcome.id))
    return outcomes


def _note_grant(chat: Chat, event: Wrote) -> None:
    """A client names the ticket in its first message or never."""
    if chat.met is None:
        chat.met = event.t
    if event.ref and event.t == chat.met:
        chat.entry_granted = event.t
    chat.wrote = event.t


def _settles(sent: Sent, now: int, chats: Mapping[tuple[Name, Name], Chat]) -> bool:
    """Whether a message is still there to be settled: a block takes along all that waits."""
    blocked = chats[sent.biz, sent.usr].blocked
    return now - sent.t <= SETTLE_WITHIN and (blocked is None or blocked < sent.t)


def _accept(chat: Chat, event: Sent, tariff: Tariff, cards: Cards) -> Accepted | RefusalCode:
    """Price a message as it is accepted, and keep the pass that it earns."""
    if chat.is_blocked:
        return RefusalCode.UNDELIVERABLE
    now = event.t
    card, market_of = cards.at(now)
    market, category = market_of(event.cc), _category(event, tariff)
    in_conversation = is_open(chat.conversation_since, PASS_LENGTH[PassKind.CONVERSATION], now)
    facts = Facts(
        market,
        category,
        window_open=is_open(chat.wrote, WINDOW, now),
        entry_granted=is_open(chat.entry_granted, WINDOW, now),
        entry_open=is_open(chat.entry_since, PASS_LENGTH[PassKind.ENTRY], now),
        conversation=chat.conversation_class if in_conversation else None,
    )
    due = price(tariff.name, facts, card)
    if isinstance(due, RefusalCode):
        return due
    match due.opens:
        case PassKind.ENTRY:
            chat.entry_since = now
        case PassKind.CONVERSATION:
            chat.conversation_since, chat.conversation_class = now, due.klass
            chat.opener = event.id
    return Accepted(event, market, category, due, card, chat.opener)


def _bill(messages: list[Accepted], tariff: Tariff) -> Iterator[Billed]:
    """One business's messages, in order of settlement."""
    messages.sort(key=lambda message: (message.at, _order(message.sent.id)))
    month = cache(month_of_day)
    settled = (
        Settled(
            tariff,
            message.market,
            message.category,
            message.price,
            month(message.at // DAY),
            message.card,
            message.opener,
        )
        for message in messages
    )
    for message, (due, micro_usd) in zip(messages, amounts_due(settled), strict=True):
        sent = message.sent
        yield Billed(sent.id, due, sent.cls, sent.cc, micro_usd)


def _category(event: Sent, tariff: Tariff) -> Category:
    """As the relay would know it."""
    if not tariff.asks_category or event.cls is None:
        return Category.NONE
    return Category[event.cls.upper()]


def _order(name: Name) -> tuple[bool, Name]:
    """Numbers by size, then texts by their characters."""
    return isinstance(name, str), name


def total(outcomes: Sequence[Billed | Refused]) -> int:
    """What all of it costs, in micro-USD."""
    return sum(outcome.micro_usd for outcome in outcomes if isinstance(outcome, Billed))
