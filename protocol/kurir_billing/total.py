"""What the leaves of a month come to: the total of an invoice, and why each line costs what it
does.

Relay, business and auditor call the same functions, so that one signs what another recomputes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kurir_billing.adjust import Adjust
from kurir_billing.charge import Line
from kurir_billing.errors import BillingError
from kurir_billing.kinds import Category, Class, PassKind
from kurir_billing.leaf import Leaf
from kurir_billing.quotas import Due, Settled, amounts_due
from kurir_billing.ratecard import RateCard
from kurir_billing.tariffs import TARIFFS, price_of_class
from kurir_billing.windows import PASS_LENGTH, SETTLE_WITHIN
from kurir_wire.ids import DAY, NO_HASH, Hash, RelayId

DAYS_BEFORE: Final = (SETTLE_WITHIN + PASS_LENGTH[PassKind.CONVERSATION]) // DAY + 1
"""Days before a month in which a conversation that settles in it can have been due already: the
opener settles at acceptance, the last message a day later and 30 days on; one more for the hour."""


class Why(StrEnum):
    """Why a line costs what it costs."""

    LIST = "list"
    """The card's price."""
    TIER = "tier"
    """The price of a volume tier, below the card's."""
    WINDOW = "window"
    """Free by the tariff: an answer inside the customer's window."""
    QUOTA = "quota"
    """Within the month's free quota."""
    ENTRY = "entry"
    """Inside an entry window."""
    CONVERSATION = "conversation"
    """Covered by a conversation for which another line stands."""
    FLAT = "flat"
    """Covered by the monthly fee."""


@dataclass(frozen=True, slots=True)
class Item:
    """A line as it is billed. ``name``: the charge's hash."""

    name: Hash
    leaf: Leaf
    why: Why
    micro_usd: int


@dataclass(frozen=True, slots=True)
class Sums:
    """What stands at the foot of an invoice, in micro-USD."""

    subtotal: int
    fee: int
    adjustments: int

    @property
    def total(self) -> int:
        """What is to be paid."""
        return self.subtotal + self.fee + self.adjustments


def items_due(
    leaves: Iterable[Leaf],
    relay_id: RelayId,
    month: int,
    cards: Mapping[Hash, RateCard],
    charged: Collection[Hash] = (),
) -> list[Item]:
    """What each leaf of one business, settled in one month, costs; in order of settlement.

    That order is of days, and within a day of charge hashes: nobody keeps the hour, and the relay
    cannot choose a hash that the business signed. A line whose price does not follow from its card
    counts with what was signed; the check of the lines names it.

    :param charged: conversations that were due in earlier months, by opener
    """
    named = [(leaf.settled_day, leaf.charge_hash(relay_id), leaf) for leaf in leaves]
    named.sort(key=lambda entry: entry[:2])
    settled = [_settled(leaf.line, name, month, cards) for _, name, leaf in named]
    dues = amounts_due((message for message in settled if message), charged)
    items: list[Item] = []
    for (_, name, leaf), message in zip(named, settled, strict=True):
        if message is None:
            items.append(Item(name, leaf, Why.LIST, leaf.line.list_price))
        else:
            due, micro_usd = next(dues)
            items.append(Item(name, leaf, _why(message, due, micro_usd), micro_usd))
    return items


def sums_due(
    items: Collection[Item], cards: Mapping[Hash, RateCard], adjusts: Iterable[Adjust] = ()
) -> Sums:
    """What stands at the foot of an invoice over these items and adjustments."""
    return Sums(
        sum(item.micro_usd for item in items),
        fee_due((item.leaf for item in items), cards),
        sum(adjust.delta_micro_usd for adjust in adjusts),
    )


def fee_due(leaves: Iterable[Leaf], cards: Mapping[Hash, RateCard]) -> int:
    """The monthly fee: due whole, once, in a month in which a message under a tariff with a fee
    settled; the lowest that one of those messages' cards names.

    So it rests on what the business signed, and no card installed later raises it.
    """
    fees = {
        cards[Hash(leaf.line.rate_card)].flat_monthly_micro_usd or 0
        for leaf in leaves
        if has_fee(leaf.line) and leaf.line.rate_card in cards
    }
    return min(fees, default=0)


def has_fee(line: Line) -> bool:
    """Whether a line's tariff has a monthly fee."""
    tariff = TARIFFS.get(line.tariff)
    return tariff is not None and tariff.flat_fee


def carried_over(
    leaves: Iterable[Leaf], relay_id: RelayId, charged: Collection[Hash]
) -> tuple[Hash, ...]:
    """Those conversations of earlier months to which one of these leaves belongs, ascending."""
    known = frozenset(charged)
    openers = {opener_of(leaf.line, leaf.charge_hash(relay_id)) for leaf in leaves}
    return tuple(sorted(opener for opener in openers if opener in known))


def openers(leaves: Iterable[Leaf], relay_id: RelayId) -> Iterator[Hash]:
    """The conversations to which settled charges belong, by opener."""
    for leaf in leaves:
        if _has_conversations(leaf.line):
            opener = opener_of(leaf.line, leaf.charge_hash(relay_id))
            if opener is not None:
                yield opener


def opener_of(line: Line, name: Hash) -> Hash | None:
    """The charge that opened the conversation to which a charge belongs, under tariffs that have
    conversations."""
    if not _has_conversations(line):
        return None
    return name if line.opener == NO_HASH else Hash(line.opener)


def _has_conversations(line: Line) -> bool:
    tariff = TARIFFS.get(line.tariff)
    return tariff is not None and PassKind.CONVERSATION in tariff.passes


def in_order(items: Sequence[tuple[int, Hash]]) -> int | None:
    """The first place (from 0) that does not come after the one before; ``None`` if all do."""
    for place in range(1, len(items)):
        if items[place] <= items[place - 1]:
            return place
    return None


def _settled(line: Line, name: Hash, month: int, cards: Mapping[Hash, RateCard]) -> Settled | None:
    try:
        category, klass = Category(line.category), Class(line.klass)
        card = cards[Hash(line.rate_card)]
        price = price_of_class(line.tariff, line.market, category, klass, card)
    except (KeyError, ValueError, BillingError):
        return None
    tariff = TARIFFS[line.tariff]
    return Settled(tariff, line.market, category, price, month, card, opener_of(line, name))


def _why(message: Settled, due: Due, micro_usd: int) -> Why:
    match due:
        case Due.REGULAR:
            return Why.LIST if micro_usd == message.price.micro_usd else Why.TIER
        case Due.FREE_CUSTOMER_SERVICE:
            return Why.WINDOW if message.price.free else Why.QUOTA
        case Due.FREE_ENTRY_POINT:
            return Why.ENTRY
        case Due.COVERED:
            return Why.FLAT if message.tariff.flat_fee else Why.CONVERSATION
