"""Questions: requests that change nothing of the connection and have a reply of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from kurir_server import reports
from kurir_server.pace import Deed
from kurir_server.rows import Moment, Rows
from kurir_server.services import Services
from kurir_wire import codes
from kurir_wire.entries import Result
from kurir_wire.frames import (
    BeaconIs,
    CardIs,
    GetAdjustments,
    GetBeacon,
    GetBusiness,
    GetCard,
    GetCheckpoint,
    GetConsistency,
    GetInvoice,
    GetRateCard,
    GetSettlements,
    GetTerms,
    Push,
    SendReport,
)
from kurir_wire.ids import MINUTE, BusinessId, Hash, MailboxId

NOT_PROVED: Final = Result(codes.NOT_AUTHORISED, "this connection has not proved to be a business")

OfBusiness: TypeAlias = GetSettlements | GetInvoice | GetTerms | GetAdjustments
"""Only the business itself may ask."""
Question: TypeAlias = (
    OfBusiness
    | GetBeacon
    | GetCard
    | GetBusiness
    | GetRateCard
    | GetCheckpoint
    | GetConsistency
    | SendReport
)
DEEDS: Final[dict[type[Question], Deed]] = {
    GetBeacon: Deed.ASK,
    GetRateCard: Deed.ASK,
    GetCard: Deed.FETCH_CARD,
    GetBusiness: Deed.LOOK_UP,
    GetCheckpoint: Deed.LEDGER,
    GetConsistency: Deed.LEDGER,
    GetTerms: Deed.LEDGER,
    SendReport: Deed.REPORT,
}
"""The pace of what anybody may ask. The others are about a business's own leaves, and only it asks
for them, page by page."""

Work: TypeAlias = Callable[[Rows, Moment], Push | Result]
"""Runs in the store; a result stands for an error."""


def answer(services: Services, question: Question, business_id: BusinessId | None) -> Work | Result:
    """What to do for a question.

    :param business_id: whom this connection has proved to be
    """
    registry, ledger, n = services.registry, services.ledger, question.n
    match question:
        case GetBeacon():
            # Work for the store, so that the minute is on disk before its beacon goes out.
            keys = services.keys
            return lambda rows, moment: BeaconIs(n, keys.beacon(moment.now // MINUTE))
        case GetCard():
            return lambda rows, moment: _card(services, rows, moment, question)
        case GetBusiness():
            wanted = BusinessId(question.business_id)
            return lambda rows, moment: registry.get_business(rows, moment, n, wanted)
        case GetRateCard():
            name = None if question.card_hash is None else Hash(question.card_hash)
            return lambda rows, moment: registry.rate_card(rows, moment, n, name)
        case GetCheckpoint():
            return lambda rows, moment: ledger.checkpoint(rows, moment, n)
        case GetConsistency():
            return lambda rows, moment: ledger.consistency(rows, question)
        case SendReport():
            return lambda rows, moment: reports.take(rows, moment, question)
        case _:
            return _of_business(services, question, business_id) if business_id else NOT_PROVED


def _of_business(services: Services, question: OfBusiness, business_id: BusinessId) -> Work:
    registry = services.registry

    def work(rows: Rows, moment: Moment) -> Push | Result:
        # Whatever is said of a day that is over can be proved from now on.
        services.ledger.close_days(rows, moment)
        match question:
            case GetSettlements():
                return registry.settlements(rows, moment, business_id, question)
            case GetInvoice(n, month):
                return registry.invoice(rows, moment, business_id, n, month)
            case GetTerms(n):
                return registry.terms(rows, moment, business_id, n)
            case GetAdjustments():
                return reports.adjustments(rows, moment, business_id, question)

    return work


def _card(services: Services, rows: Rows, moment: Moment, question: GetCard) -> Push | Result:
    mailbox_id = MailboxId(question.mailbox_id)
    card = services.mailboxes.get_card(rows, moment, mailbox_id, question.token)
    return card if isinstance(card, Result) else CardIs(question.n, card)
