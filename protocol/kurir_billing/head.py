"""The head of an invoice: what the relay signs about a business's month.

Everything that an invoice says is in the head or follows from what it hashes. Source:
docs/protocol.md, "Invoice head".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Final

from msgspec import Meta, Struct

from kurir_billing.adjust import Adjust
from kurir_billing.dates import show_month
from kurir_billing.leaf import Leaf
from kurir_billing.party import Party
from kurir_billing.ratecard import RateCard
from kurir_billing.total import carried_over, items_due, sums_due
from kurir_wire.codec import pack, unpack
from kurir_wire.gates import padded
from kurir_wire.ids import BusinessId, Hash, RelayId, digest, u32, u64
from kurir_wire.limits import MAX_HEAD
from kurir_wire.prekeys import U32, U63, Bytes32, Bytes64
from kurir_wire.signing import message_to_sign, verify

CURRENCY: Final = "USD"
_CURRENCY_BYTES: Final = 3
_SHOWN_DIGITS: Final = 8
"""Hex digits of the business's id in the number of an invoice."""


class InvoiceHead(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the relay signs.

    ``month`` is year * 100 + month; days are unix time // 86400. ``through_day``: the last one
    counted; settlements of the running day follow when it is over. ``issued_day``: when the relay
    first signed this ``revision``; a month has a new one whenever anything in it has changed.
    Money is micro-units of ``currency``: the subtotal is the messages, the fee that of a
    tariff with a monthly one, and the total is the sum of the three.
    """

    business_id: Bytes32
    month: U32
    revision: U32
    issued_day: U32
    through_day: U32
    currency: Annotated[str, Meta(min_length=_CURRENCY_BYTES, max_length=_CURRENCY_BYTES)]
    seller: Party
    buyer: Party
    count: U63
    subtotal_micro_usd: U63
    fee_micro_usd: U63
    adjustments_micro_usd: U63
    total_micro_usd: U63
    lines_hash: Bytes32
    adjustments_hash: Bytes32
    charged_hash: Bytes32
    signature: Bytes64

    @property
    def number(self) -> str:
        """The invoice's number: one relay signs it once."""
        business = self.business_id.hex()[:_SHOWN_DIGITS]
        return f"{show_month(self.month)}-{business}-{self.revision}"

    def verify(self, operator_pk: bytes, relay_id: RelayId) -> None:
        """:raises SignatureError: not made by this relay's operator"""
        verify(operator_pk, invoice_message(relay_id, self), self.signature, "the invoice")


def invoice_message(relay_id: RelayId, head: InvoiceHead) -> bytes:
    """What the operator key signs."""
    return message_to_sign(
        "invoice",
        relay_id,
        head.business_id,
        u32(head.month),
        u32(head.revision),
        u32(head.issued_day),
        u32(head.through_day),
        padded(head.currency, _CURRENCY_BYTES, "a currency"),
        head.seller.hash(),
        head.buyer.hash(),
        u64(head.count),
        u64(head.subtotal_micro_usd),
        u64(head.fee_micro_usd),
        u64(head.adjustments_micro_usd),
        u64(head.total_micro_usd),
        head.lines_hash,
        head.adjustments_hash,
        head.charged_hash,
    )


def lines_hash(leaf_hashes: Iterable[Hash]) -> Hash:
    """One hash over all lines."""
    return digest("invoice-lines", *sorted(leaf_hashes))


def adjustments_hash(adjust_hashes: Iterable[Hash]) -> Hash:
    """One hash over all adjustments."""
    return digest("invoice-adjustments", *sorted(adjust_hashes))


def charged_hash(openers: Iterable[Hash]) -> Hash:
    """One hash over the conversations that were due in earlier months."""
    return digest("invoice-charged", *sorted(openers))


def head_for(
    business_id: BusinessId,
    month: int,
    through_day: int,
    leaves: Iterable[Leaf],
    relay_id: RelayId,
    cards: Mapping[Hash, RateCard],
    charged: Collection[Hash] = (),
    *,
    adjusts: Collection[Adjust] = (),
    seller: Party | None = None,
    buyer: Party | None = None,
    issued_day: int | None = None,
    revision: int = 1,
) -> InvoiceHead:
    """The head of an invoice, still unsigned (64 zero bytes stand for the signature).

    :param charged: conversations that were due in earlier months, by opener; those that no leaf
        belongs to make no difference
    :param issued_day: by default the day after the last one counted
    """
    leaves = list(leaves)
    carried = carried_over(leaves, relay_id, charged)
    items = items_due(leaves, relay_id, month, cards, carried)
    sums = sums_due(items, cards, adjusts)
    return InvoiceHead(
        business_id,
        month,
        revision,
        through_day + 1 if issued_day is None else issued_day,
        through_day,
        CURRENCY,
        seller or Party(),
        buyer or Party(),
        len(leaves),
        sums.subtotal,
        sums.fee,
        sums.adjustments,
        sums.total,
        lines_hash(leaf.hash(relay_id) for leaf in leaves),
        adjustments_hash(adjust.hash(relay_id) for adjust in adjusts),
        charged_hash(carried),
        bytes(64),
    )


def open_head(data: bytes) -> InvoiceHead:
    """:raises MalformedError: not an invoice head"""
    head = unpack(data, InvoiceHead, limit=MAX_HEAD)
    head.seller.check("the seller")
    head.buyer.check("the buyer")
    return head


def packed_head(head: InvoiceHead) -> bytes:
    """The transmitted form."""
    return pack(head)
