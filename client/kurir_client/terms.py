"""What a message to a customer would cost now, and the line that a business signs for it."""

from __future__ import annotations

from dataclasses import dataclass

from kurir_billing.charge import Line
from kurir_billing.grant import Grant
from kurir_billing.kinds import REFUSAL_TEXT, Category, RefusalCode
from kurir_billing.ratecard import RateCard, parse, rate_card_hash
from kurir_billing.tariffs import DEFAULT_TARIFF, Facts, price
from kurir_client.errors import PeerError, RefusedError
from kurir_client.schema import Contact
from kurir_client.store import Store
from kurir_wire.cards import Signed
from kurir_wire.codec import unpack
from kurir_wire.ids import NO_HASH, Hash


@dataclass(frozen=True, slots=True)
class Offer:
    """``closes_at``: second at which the free window shuts; None if it is shut."""

    price_micro_usd: int
    closes_at: int | None


def offer(store: Store, contact: Contact, now: int) -> Offer:
    """What a message sent now would cost, and until when an answer is free."""
    line, grant = charge_terms(store, contact, None, now)
    return Offer(line.list_price, grant.closes_at if grant else None)


def charge_terms(
    store: Store, contact: Contact, quote: Line | None, now: int
) -> tuple[Line, Grant | None]:
    """The line to sign, and the grant to show with it.

    :param quote: a line that the relay quoted and the business accepts, which settles the matter
    :raises PeerError: the customer's market is not known
    """
    if contact.market is None:
        raise PeerError(f"{contact.name} is not a customer")
    grant = unpack(contact.permit, Grant) if contact.permit else None
    if grant is not None and not grant.is_open(now):
        grant = None
    if quote is not None:
        return quote, grant
    card, card_hash = current_rate_card(store)
    tariff = (store.get("tariff") or DEFAULT_TARIFF.encode()).decode()
    facts = Facts(contact.market, Category.NONE, grant is not None)
    due = price(tariff, facts, card)
    line = Line(
        contact.market,
        tariff,
        card_hash,
        facts.category,
        due.klass,
        due.micro_usd,
        NO_HASH,
    )
    return line, grant


def current_rate_card(store: Store) -> tuple[RateCard, Hash]:
    """The rate card that the relay last sent, checked then."""
    body = unpack(store.need("rate_card"), Signed).body
    return parse(body), rate_card_hash(body)


def refused(due: Offer) -> RefusedError:
    """The refusal to send without paying, with what it would cost."""
    code = RefusalCode.OUTSIDE_WINDOW
    return RefusedError(
        f"{REFUSAL_TEXT[code]}: this message would cost {due.price_micro_usd} micro-USD",
        f"accept the price to send it all the same: --max-price {due.price_micro_usd}",
        code,
        due.price_micro_usd,
    )
