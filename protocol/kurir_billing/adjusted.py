"""Adjustments with all that they rest on, as a business gets them and an invoice lists them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kurir_billing.adjust import Adjust, check_adjust, check_ruling
from kurir_billing.errors import EvidenceError
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import PlaceInLedger
from kurir_billing.ratecard import RateCard
from kurir_billing.report import Report
from kurir_wire.ids import Hash, RelayId


@dataclass(frozen=True, slots=True)
class Ruling:
    """The operator's entry, the leaf that it re-rates, and the report that proves it, if it is at
    hand."""

    adjust: Adjust
    leaf: Leaf
    report: Report | None


@dataclass(frozen=True, slots=True)
class Adjustment(Ruling):
    """A ruling, and where its entry stands in the ledger."""

    place: PlaceInLedger


def check_adjustment(
    ruling: Ruling,
    operator_pk: bytes,
    relay_id: RelayId,
    business_id: bytes,
    cards: Mapping[Hash, RateCard],
    *,
    needs_report: bool = True,
) -> None:
    """Everything about an adjustment that can be checked without records and without the ledger;
    its leaf's own evidence is checked as a line's.

    :param cards: by hash, checked
    :param needs_report: without, one may be left out: it shows what a customer reported
    :raises EvidenceError: the first thing that does not hold
    """
    adjust, leaf, report = ruling.adjust, ruling.leaf, ruling.report
    if adjust.business_id != business_id:
        raise EvidenceError("is for another business")
    card = cards.get(Hash(leaf.line.rate_card))
    if card is None:
        raise EvidenceError("is of a charge whose rate card is not here")
    if report is not None:
        check_adjust(adjust, leaf, report, operator_pk, relay_id, card)
        return
    check_ruling(adjust, leaf, operator_pk, relay_id, card)
    if needs_report:
        raise EvidenceError(
            "comes without a report that opens; ask the operator for it before you pay"
        )
