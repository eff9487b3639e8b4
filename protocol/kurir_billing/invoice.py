"""Invoices: a month of a business's settled charges with all that they rest on, and the records
that they are held against. The checks are in :mod:`kurir_billing.verify`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from kurir_billing.adjusted import Adjustment
from kurir_billing.charge import Line
from kurir_billing.errors import InvoiceError, RateCardError
from kurir_billing.head import InvoiceHead
from kurir_billing.leaf import Leaf
from kurir_billing.ratecard import RateCard, open_rate_card
from kurir_billing.standing import Standing
from kurir_billing.summary import Group, groups_of
from kurir_billing.total import Item, items_due
from kurir_wire.ids import BusinessId, Hash, RelayId
from kurir_wire.relaycert import RelayCert


@dataclass(frozen=True, slots=True)
class Invoice:
    """An invoice with all that it rests on.

    ``leaves`` stand by settled day, then charge hash; ``adjustments`` by day, then hash;
    ``rate_cards``, as signed by the operator, in the order in which lines and then adjustments
    first name them. ``charged``: conversations of the lines that were due in earlier months, by
    opener, ascending. ``groups`` repeat the lines for readers. ``standing`` is missing only where
    the ledger is empty.
    """

    cert: RelayCert
    head: InvoiceHead
    leaves: tuple[Leaf, ...]
    rate_cards: tuple[bytes, ...]
    standing: Standing | None = None
    adjustments: tuple[Adjustment, ...] = ()
    charged: tuple[Hash, ...] = ()
    groups: tuple[Group, ...] = ()

    @property
    def card_names(self) -> tuple[Hash, ...]:
        """The rate cards that the invoice needs, in the order in which they stand in it."""
        adjusted = [adjustment.leaf for adjustment in self.adjustments]
        named = (Hash(leaf.line.rate_card) for leaf in (*self.leaves, *adjusted))
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, slots=True)
class Records:
    """What somebody can hold an invoice against: all that a business kept itself, or less.

    ``signed``: every line the business signed, by charge hash. ``settled``: what the relay's daily
    lists reported; best as a mapping of charge hash to day, all months together, which also shows a
    charge that moved to another day or stands in two months; a plain collection holds the charges
    of the invoice's month, up to its last day. ``legal_name`` as in the badge. ``checkpoints``: the
    states of the ledger that were accepted, size to root. ``adjusted``: the day of each adjustment
    that the relay reported, by leaf hash, all months together. ``heads``: signed heads that were
    seen before, by number. ``None`` stands for records that are not at hand: what needs them is
    left out, and :func:`kurir_billing.verify.coverage` says so.
    """

    relay_id: RelayId
    business_id: BusinessId
    signed: Mapping[Hash, Line] | None = None
    settled: Mapping[Hash, int] | Collection[Hash] | None = None
    legal_name: str | None = None
    checkpoints: Mapping[int, Hash] = field(default_factory=dict)
    adjusted: Mapping[Hash, int] | None = None
    heads: Mapping[str, InvoiceHead] = field(default_factory=dict)


def open_cards(invoice: Invoice) -> dict[Hash, RateCard]:
    """Its rate cards, by hash, in the order in which they stand in it.

    :raises InvoiceError: one that the operator did not sign, or one twice
    """
    cards: dict[Hash, RateCard] = {}
    for number, data in enumerate(invoice.rate_cards, 1):
        try:
            card, name = open_rate_card(data, invoice.cert.operator_pk, invoice.cert.relay_id)
        except RateCardError as error:
            raise InvoiceError(f"rate card {number}", str(error)) from error
        if name in cards:
            raise InvoiceError(f"rate card {number}", "the same rate card stands there twice")
        cards[name] = card
    return cards


def billed(invoice: Invoice) -> list[Item]:
    """Its lines as they are billed, in order.

    :raises InvoiceError: a rate card in it is none
    """
    relay_id, cards = invoice.cert.relay_id, open_cards(invoice)
    return items_due(invoice.leaves, relay_id, invoice.head.month, cards, invoice.charged)


def with_groups(invoice: Invoice) -> Invoice:
    """The invoice with the groups that follow from its lines.

    :raises InvoiceError: a rate card in it is none
    """
    return replace(invoice, groups=groups_of(billed(invoice)))
