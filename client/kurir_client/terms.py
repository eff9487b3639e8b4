"""What a message to a customer would cost now, and the line that a business signs for it."""

from __future__ import annotations

from dataclasses import dataclass

from kurir_billing.charge import Line
from kurir_billing.grant import Grant
from kurir_billing.kinds import REFUSAL_TEXT, Category, Class, RefusalCode
from kurir_billing.ratecard import RateCard, parse, rate_card_hash
from kurir_billing.tariffs import DEFAULT_TARIFF, Facts, price
from kurir_client.errors import PeerError, RefusedError
from kurir_client.schema import Contact
from kurir_client.store import Store
from kurir_wire.cards import Signed
from kurir_wire.codec import unpack
from kurir_wire.ids import NO_HASH, Hash
from kurir_wire.limits import CLOCK_SKEW


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

    :param quote: a line that the relay quoted and whose price the business accepts; it is signed
        only if it follows from the rate card and the evidence at hand
    :raises PeerError: the customer's market is not known
    :raises RefusedError: the relay quoted what is not due
    """
    if contact.market is None:
        raise PeerError(f"{contact.name} is not a customer")
    grant = unpack(contact.permit, Grant) if contact.permit else None
    if quote is not None:
        _check_quote(store, contact.market, grant, quote, now)
        return quote, grant if quote.klass == Class.IN_WINDOW else None
    if grant is not None and not grant.is_open(now):
        grant = None
    tariff = (store.get("tariff") or DEFAULT_TARIFF.encode()).decode()
    return _line(store, contact.market, tariff, window_open=grant is not None), grant


def _line(store: Store, market: str, tariff: str, *, window_open: bool) -> Line:
    card, card_hash = current_rate_card(store)
    due = price(tariff, Facts(market, Category.NONE, window_open), card)
    if isinstance(due, RefusalCode):
        raise RefusedError(REFUSAL_TEXT[due], "wait until the customer writes again", due)
    return Line(market, tariff, card_hash, Category.NONE, due.klass, due.micro_usd, NO_HASH)


def _check_quote(store: Store, market: str, grant: Grant | None, quote: Line, now: int) -> None:
    """A business that signed whatever it is quoted could be overcharged without proof.

    :raises RefusedError: another line is due
    """
    window_open = quote.klass == Class.IN_WINDOW
    if quote != _line(store, market, quote.tariff, window_open=window_open):
        raise RefusedError(
            "the relay quoted a price that does not follow from its rate card",
            "keep its signed refusal, and take it up with the operator",
            RefusalCode.BAD_PARAMETER,
        )
    # Two clocks may differ by a little at the window's end; by more, the relay is wrong or lies.
    if not window_open and grant is not None and grant.is_open(now + CLOCK_SKEW):
        raise RefusedError(
            "the relay wants to charge for an answer whose window is open",
            "keep its signed refusal and compare the clocks; then take it up with the operator",
            RefusalCode.BAD_PARAMETER,
        )


def has_prices(store: Store) -> bool:
    """Whether a rate card is at hand; each connection of a business takes the one in force."""
    return store.get("rate_card") is not None


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
