"""Rate cards: prices as a signed, versioned file.

The body is JSON in one canonical spelling (sorted keys, no spaces), so that the hash of a card is
the same wherever it was made. Prices are integer micro-USD per message.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from kurir_billing.errors import RateCardError
from kurir_billing.kinds import Category
from kurir_wire.cards import Signed
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import WireError
from kurir_wire.ids import Hash, RelayId, digest
from kurir_wire.limits import MAX_CARD
from kurir_wire.prekeys import U63
from kurir_wire.signing import message_to_sign, verify

OTHER: Final = "OTHER"
"""The market of everybody whose own market has no price."""

_MAX_SHOWN: Final = 200
"""Characters that an error repeats."""

MicroUsd = Annotated[int, Meta(ge=0, le=1_000_000_000)]
MonthlyMicroUsd = Annotated[int, Meta(ge=0, le=1_000_000_000_000)]
MarketCode = Annotated[str, Meta(pattern=r"^[A-Z0-9]{2,8}\Z")]
CountryCode = Annotated[str, Meta(pattern=r"^[A-Z]{2}\Z")]


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """A volume tier: every message beyond the first ``above`` of a month costs ``micro_usd``."""

    above: Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
    micro_usd: MicroUsd


class Rates(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Prices of one market, micro-USD per message; with volume tiers, if there are any."""

    countries: list[CountryCode]
    marketing: MicroUsd
    utility: MicroUsd
    authentication: MicroUsd
    utility_steps: list[Step] = []
    authentication_steps: list[Step] = []

    def of(self, category: Category) -> int:
        """The price of a category."""
        match category:
            case Category.MARKETING:
                return self.marketing
            case Category.AUTHENTICATION:
                return self.authentication
            case _:
                return self.utility

    def steps(self, category: Category) -> list[Step]:
        """The volume tiers of a category."""
        match category:
            case Category.UTILITY:
                return self.utility_steps
            case Category.AUTHENTICATION:
                return self.authentication_steps
            case _:
                return []


class RateCard(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One version of the prices, in force from ``effective_from`` (seconds) on.

    ``flat_monthly_micro_usd``: the fee of the tariff ``flat``, if the card has one.
    """

    version: Annotated[int, Meta(ge=1, le=0xFFFF_FFFF)]
    currency: str
    effective_from: U63
    markets: dict[MarketCode, Rates]
    flat_monthly_micro_usd: MonthlyMicroUsd | None = None

    def rates(self, market: str) -> Rates:
        """The prices of a market; an unknown one is priced as ``OTHER``."""
        return self.markets[self.priced_as(market)]

    def priced_as(self, market: str) -> str:
        """The market itself, or ``OTHER`` if it is unknown."""
        return market if market in self.markets else OTHER

    def market_of(self, country: str) -> str:
        """The market to which a two-letter country code belongs."""
        wanted = country.upper()
        for name, rates in self.markets.items():
            if wanted == name or wanted in rates.countries:
                return name
        return OTHER


def parse(body: bytes) -> RateCard:
    """Decode the JSON body of a card.

    :raises RateCardError: not a rate card, not canonical, or without a price for ``OTHER``
    """
    try:
        card = msgspec.json.decode(body, type=RateCard)
    except (msgspec.MsgspecError, UnicodeError) as error:
        # The text may quote a field's name, and a card comes from elsewhere.
        text = str(error)
        shown = text if text.isprintable() and len(text) <= _MAX_SHOWN else "an unknown field"
        raise RateCardError(f"not a rate card: {shown}") from error
    if card.currency != "USD":
        raise RateCardError(f"the currency is USD, not {card.currency[:8]!r}")
    if OTHER not in card.markets:
        raise RateCardError(f"there is no price for the market {OTHER}")
    countries = [country for rates in card.markets.values() for country in rates.countries]
    if len(countries) != len(set(countries)):
        raise RateCardError("a country stands in two markets")
    for name, rates in card.markets.items():
        for category in (Category.UTILITY, Category.AUTHENTICATION):
            _check_steps(name, rates.of(category), rates.steps(category))
    if canonical(card) != body:
        raise RateCardError("the card is not in canonical JSON (sorted keys, no spaces)")
    return card


def _check_steps(market: str, list_price: int, steps: list[Step]) -> None:
    """A business signs the list price: no tier may ask for more.

    :raises RateCardError: tiers out of order, or dearer than what comes before
    """
    above, price = 0, list_price
    for step in steps:
        if step.above <= above or step.micro_usd > price:
            raise RateCardError(f"in {market}, volume tiers rise in volume and fall in price")
        above, price = step.above, step.micro_usd


def canonical(card: RateCard) -> bytes:
    """The one spelling of a card."""
    return json.dumps(
        msgspec.to_builtins(card), sort_keys=True, separators=(",", ":"), ensure_ascii=True
    ).encode("ascii")


def rate_card_hash(body: bytes) -> Hash:
    """The name that a charge gives to the card it was priced by."""
    return digest("rate-card-hash", body)


def rate_card_message(relay_id: RelayId, body: bytes) -> bytes:
    """What the operator signs."""
    return message_to_sign("rate-card", relay_id, rate_card_hash(body))


def open_rate_card(data: bytes, operator_pk: bytes, relay_id: RelayId) -> tuple[RateCard, Hash]:
    """Check and decode a rate card as the relay sends it.

    :returns: the card and its hash
    :raises RateCardError: not a card, or not signed by this relay's operator
    """
    try:
        signed = unpack(data, Signed, limit=MAX_CARD)
        verify(
            operator_pk, rate_card_message(relay_id, signed.body), signed.signature, "the rate card"
        )
    except WireError as error:
        raise RateCardError(str(error)) from error
    return parse(signed.body), rate_card_hash(signed.body)


def signed_rate_card(body: bytes, signature: bytes) -> bytes:
    """The form in which a card travels."""
    return pack(Signed(body, signature))


def bundled() -> RateCard:
    """The public list card of January 2026 that comes with kurir."""
    text = resources.files("kurir_billing").joinpath("ratecard-2026-01.json").read_bytes()
    return msgspec.json.decode(text, type=RateCard)
