"""Adjustments as an invoice lists them: what each one rests on, and what it may come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kurir_billing.adjust import Adjust
from kurir_billing.charge import Line
from kurir_billing.errors import EvidenceError
from kurir_billing.kinds import Category, Class
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import PlaceInLedger
from kurir_billing.ratecard import RateCard
from kurir_billing.tariffs import price_of_class
from kurir_wire.errors import WireError
from kurir_wire.ids import Hash, RelayId, digest


@dataclass(frozen=True, slots=True)
class Adjustment:
    """The operator's entry, the leaf that it re-rates, the report that proves it, and where the
    entry stands in the ledger."""

    adjust: Adjust
    leaf: Leaf
    report: bytes
    place: PlaceInLedger


def report_hash(report: bytes) -> Hash:
    """The name by which an adjustment refers to its report."""
    return digest("report-hash", report)


def delta_of(line: Line, category: int, card: RateCard) -> int:
    """What more is due for a line that was of another category: the difference of list prices.

    What quotas and tiers took off the line is not taken back.

    :raises BillingError: no such category, or it costs no more
    """
    try:
        found, klass = Category(category), Class(line.klass)
    except ValueError as error:
        raise EvidenceError("there is no such category") from error
    price = price_of_class(line.tariff, line.market, found, klass, card).micro_usd
    if price <= line.list_price:
        raise EvidenceError(f"as {found.name.lower()} the line would cost no more")
    return price - line.list_price


def check_adjustment(
    adjustment: Adjustment,
    operator_pk: bytes,
    relay_id: RelayId,
    business_id: bytes,
    cards: Mapping[Hash, RateCard],
    *,
    needs_report: bool = True,
) -> None:
    """Everything about an adjustment that can be checked without records and without the ledger;
    its leaf's own evidence is checked as a line's.

    :param needs_report: without, one may be left out: it shows what a customer reported
    :raises BillingError: the first thing that does not hold
    """
    adjust, leaf = adjustment.adjust, adjustment.leaf
    if adjust.business_id != business_id:
        raise EvidenceError("is for another business")
    try:
        adjust.verify(operator_pk, relay_id)
    except WireError as error:
        raise EvidenceError(str(error)) from error
    if leaf.hash(relay_id) != adjust.leaf:
        raise EvidenceError("the line with it is not the one that it names")
    if leaf.settled_day > adjust.day:
        raise EvidenceError("was decided before its line settled")
    if not adjustment.report and needs_report:
        raise EvidenceError("comes without the report that it names")
    if adjustment.report and report_hash(adjustment.report) != adjust.report:
        raise EvidenceError("comes with another report than the one that it names")
    card = cards.get(Hash(leaf.line.rate_card))
    if card is None:
        raise EvidenceError("its line was priced by a rate card that is not here")
    due = delta_of(leaf.line, adjust.category, card)
    if adjust.delta_micro_usd != due:
        raise EvidenceError(
            f"adds {adjust.delta_micro_usd} where the rate card's difference is {due}"
        )
