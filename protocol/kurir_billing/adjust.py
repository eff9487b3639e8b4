"""Adjustments: the operator's signed re-rating of a settled charge, after a report that it upheld.

An entry of the ledger is never edited; this is another entry. Source: docs/protocol.md,
"Reports and adjustments".
"""

from __future__ import annotations

from msgspec import Struct

from kurir_billing.errors import BillingError, EvidenceError
from kurir_billing.kinds import Category, Class
from kurir_billing.leaf import Leaf
from kurir_billing.ratecard import RateCard
from kurir_billing.report import ADJUST_DAYS, Report, check_report
from kurir_billing.tariffs import price_of_class, tariff_named
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import SignatureError
from kurir_wire.ids import Hash, RelayId, digest, u8, u32, u64
from kurir_wire.prekeys import U8, U32, U63, Bytes32, Bytes64
from kurir_wire.signing import message_to_sign, verify


class Adjust(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """ "The charge of this leaf was of ``category``, and ``delta`` micro-USD more are due."

    ``leaf``: the hash of the leaf. ``day`` (unix time // 86400): when the operator decided; the
    adjustment belongs to that day's month. ``report``: the hash of the report that proves it.
    """

    business_id: Bytes32
    leaf: Bytes32
    day: U32
    category: U8
    delta_micro_usd: U63
    report: Bytes32
    signature: Bytes64

    def hash(self, relay_id: RelayId) -> Hash:
        """``H(adjust)``: what stands in the tree."""
        return digest("adjust-hash", relay_id, *_fields(self), self.signature)

    def verify(self, operator_pk: bytes, relay_id: RelayId) -> None:
        """:raises SignatureError: not the operator's"""
        verify(operator_pk, adjust_message(relay_id, self), self.signature, "the adjustment")


def adjust_message(relay_id: RelayId, unsigned: Adjust) -> bytes:
    """What the operator key signs."""
    return message_to_sign("adjust", relay_id, *_fields(unsigned))


def delta_for(leaf: Leaf, category: Category, card: RateCard) -> int:
    """What re-rating a charge adds, in micro-USD: list price against list price, so that it does
    not depend on what else settles in the month (free quotas, volume tiers).

    :param card: the one that priced the charge
    :raises EvidenceError: its tariff has no categories, the category is the one it has, or it would
        not have cost more
    """
    line = leaf.line
    try:
        if line.category == Category.NONE or not tariff_named(line.tariff).asks_category:
            raise EvidenceError(f"the tariff {line.tariff} has no categories to correct")
        if category in (Category.NONE, line.category):
            raise EvidenceError("this is the category that the charge has, or none")
        right = price_of_class(line.tariff, line.market, category, Class(line.klass), card)
    except EvidenceError:
        raise
    except BillingError as error:
        raise EvidenceError(str(error)) from error
    delta = right.micro_usd - line.list_price
    if delta <= 0:
        name = category.name.lower()
        raise EvidenceError(f"there is nothing to re-rate: as {name} it costs no more")
    return delta


def check_ruling(
    adjust: Adjust, leaf: Leaf, operator_pk: bytes, relay_id: RelayId, card: RateCard
) -> None:
    """What can be checked without the report, so by auditors too.

    :param card: the one that priced the charge
    :raises EvidenceError: not the operator's, of another charge, too late, by a card that was
        not in force yet, or of another amount
    """
    try:
        adjust.verify(operator_pk, relay_id)
        category = Category(adjust.category)
    except (SignatureError, ValueError) as error:
        raise EvidenceError(f"this is no adjustment of the operator's: {error}") from error
    if adjust.leaf != leaf.hash(relay_id) or adjust.business_id != leaf.lane.business_id:
        raise EvidenceError("the adjustment is of another charge")
    if not leaf.settled_day <= adjust.day <= leaf.settled_day + ADJUST_DAYS:
        raise EvidenceError(
            f"the adjustment is not of the {ADJUST_DAYS} days after the charge settled"
        )
    leaf.check_card(card)
    due = delta_for(leaf, category, card)
    if adjust.delta_micro_usd != due:
        raise EvidenceError(
            f"the adjustment adds {adjust.delta_micro_usd} where the rate card says {due}"
        )


def check_adjust(
    adjust: Adjust,
    leaf: Leaf,
    report: Report,
    operator_pk: bytes,
    relay_id: RelayId,
    card: RateCard,
) -> None:
    """All that a business checks before it pays for an adjustment.

    :param card: the one that priced the charge
    :raises EvidenceError: the first thing that does not hold
    """
    check_ruling(adjust, leaf, operator_pk, relay_id, card)
    if adjust.report != report.hash:
        raise EvidenceError("the adjustment rests on another report")
    check_report(report, leaf, relay_id)


def open_adjust(data: bytes) -> Adjust:
    """:raises MalformedError: not an adjustment"""
    return unpack(data, Adjust, limit=2_048)


def packed_adjust(adjust: Adjust) -> bytes:
    """The transmitted form."""
    return pack(adjust)


def _fields(of: Adjust) -> tuple[bytes, ...]:
    return (
        of.business_id,
        of.leaf,
        u32(of.day),
        u8(of.category),
        u64(of.delta_micro_usd),
        of.report,
    )
