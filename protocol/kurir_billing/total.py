"""What the leaves of a month come to: the total of an invoice.

Relay and business call the same function, so that the one signs what the other recomputes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

from kurir_billing.charge import Line
from kurir_billing.errors import BillingError
from kurir_billing.kinds import Category, Class, PassKind
from kurir_billing.leaf import Leaf
from kurir_billing.quotas import Settled, amounts_due
from kurir_billing.ratecard import RateCard
from kurir_billing.tariffs import TARIFFS, price_of_class
from kurir_billing.windows import PASS_LENGTH, SETTLE_WITHIN
from kurir_wire.ids import DAY, NO_HASH, Hash, RelayId

DAYS_BEFORE: Final = (SETTLE_WITHIN + PASS_LENGTH[PassKind.CONVERSATION]) // DAY + 1
"""Days before a month in which a conversation that settles in it can have been due already: the
opener settles at acceptance, the last message a day later and 30 days on; one more for the hour."""


def total_due(
    leaves: Iterable[Leaf],
    relay_id: RelayId,
    month: int,
    cards: Mapping[Hash, RateCard],
    charged: Collection[Hash] = (),
) -> int:
    """What the leaves of one business, settled in one month, come to, in micro-USD.

    The order of settlement is that of days, and within a day of charge hashes: nobody keeps the
    hour, and the relay cannot choose a hash that the business signed. A line whose price
    does not follow from its card counts with what was signed; the check of the lines names it.

    :param charged: conversations that were due in earlier months, by opener
    """
    total = 0
    settled: list[tuple[int, Hash, Settled]] = []
    for leaf in leaves:
        line, name = leaf.line, leaf.charge_hash(relay_id)
        try:
            category, klass = Category(line.category), Class(line.klass)
            card = cards[Hash(line.rate_card)]
            due = price_of_class(line.tariff, line.market, category, klass, card)
        except (KeyError, ValueError, BillingError):
            total += line.list_price
            continue
        opener = opener_of(line, name)
        message = Settled(TARIFFS[line.tariff], line.market, category, due, month, card, opener)
        settled.append((leaf.settled_day, name, message))
    settled.sort(key=lambda entry: entry[:2])
    return total + sum(due for _, due in amounts_due((entry[2] for entry in settled), charged))


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
