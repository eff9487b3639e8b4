"""Rate cards and tariffs, against numbers typed in here from the facts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir_billing.errors import BillingError, RateCardError
from kurir_billing.kinds import REFUSAL_TEXT, Category, Class, RefusalCode
from kurir_billing.ratecard import (
    RateCard,
    bundled,
    canonical,
    open_rate_card,
    parse,
    rate_card_hash,
    rate_card_message,
    signed_rate_card,
)
from kurir_billing.tariffs import DEFAULT_TARIFF, TARIFFS, Facts, Price, price, price_of_class
from tests.protocol.make import TestRelay, public, sign

# The public list card of January 2026, micro-USD: marketing; utility and authentication.
TABLE = {
    "ID": (41_100, 25_000),
    "IN": (11_800, 1_400),
    "BR": (62_500, 6_800),
    "DE": (136_500, 55_000),
    "US": (25_000, 3_400),
    "GB": (52_900, 22_000),
    "MY": (86_000, 14_000),
    "MX": (30_500, 8_500),
    "NG": (51_600, 6_700),
    "OTHER": (60_400, 7_700),
}
CARD = bundled()
BODY = canonical(CARD)
RELAY = TestRelay()


def test_the_bundled_card_is_the_table() -> None:
    assert set(CARD.markets) == set(TABLE)
    for market, (marketing, utility) in TABLE.items():
        rates = CARD.rates(market)
        assert rates.of(Category.MARKETING) == marketing
        for category in (Category.UTILITY, Category.AUTHENTICATION, Category.SERVICE):
            assert rates.of(category) == utility
        assert rates.of(Category.NONE) == utility
    assert CARD.currency == "USD"
    assert CARD.effective_from == 1_767_225_600  # 2026-01-01T00:00:00Z
    assert parse(BODY) == CARD


def test_each_category_has_its_own_price() -> None:
    rates = parse(changed(marketing=3, utility=2, authentication=1)).rates("ID")
    found = [rates.of(category) for category in Category]
    assert found == [2, 2, 2, 3, 1]


@pytest.mark.parametrize("market", ["FR", "", "other", "id", "ZZZZZZZZ"])
def test_an_unknown_market_is_priced_as_other(market: str) -> None:
    assert CARD.rates(market) == CARD.rates("OTHER")


@pytest.mark.parametrize(
    ("country", "market"),
    [("ID", "ID"), ("id", "ID"), ("CA", "US"), ("US", "US"), ("FR", "OTHER"), ("", "OTHER")],
)
def test_markets_of_countries(country: str, market: str) -> None:
    assert CARD.market_of(country) == market


def test_a_market_may_list_no_country() -> None:
    card = parse(changed(countries=[]))
    assert card.market_of("id") == "ID"


def test_one_spelling() -> None:
    value = json.loads(BODY)
    assert b" " not in BODY
    for text in (
        json.dumps(value, sort_keys=True),
        json.dumps(dict(reversed(list(value.items()))), separators=(",", ":")),
        BODY.decode() + "\n",
        BODY.decode().replace('"version":1', '"version":1,"version":1'),
        BODY.decode().replace('"version":1', '"version":1.0'),
        BODY.decode().replace('"USD"', '"\\u0055SD"'),
    ):
        with pytest.raises(RateCardError):
            parse(text.encode())


def changed(**fields: object) -> bytes:
    """The card with other fields; those of a price go to Indonesia."""
    value = json.loads(BODY)
    for name, field in fields.items():
        place = value if name in value else value["markets"]["ID"]
        place[name] = field
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        changed(currency="EUR"),
        changed(version=0),
        changed(version=True),
        changed(version="1"),
        changed(version=2**32),
        changed(version=10**30),
        changed(effective_from=-1),
        changed(effective_from=2**63),
        changed(markets={}),
        changed(markets={"ID": json.loads(BODY)["markets"]["ID"]}),
        changed(utility=-1),
        changed(utility=1.5),
        changed(utility=True),
        changed(utility=1_000_000_001),
        changed(utility=None),
        changed(countries=["id"]),
        changed(countries=["ID\n"]),
        changed(countries=["ID", "ID"]),
        changed(countries=["US"]),
        changed(extra=1),
        BODY.replace(b'"ID":', b'"ID\\n":', 1),
        BODY.replace(b'"ID":', b'"id":', 1),
        BODY.replace(b'"ID":', b'"TOOLONG99":', 1),
    ],
    ids=lambda body: body[:40].decode("ascii", "replace"),
)
def test_not_a_rate_card(body: bytes) -> None:
    with pytest.raises(RateCardError):
        parse(body)


def test_an_error_repeats_no_more_than_a_terminal_can_show() -> None:
    # A card comes from elsewhere: what it calls its fields is not for the screen.
    def error(**fields: object) -> str:
        with pytest.raises(RateCardError) as caught:
            parse(changed(**fields))
        return str(caught.value).removeprefix("not a rate card: ")

    shown = error(note=1)
    assert "`note`" in shown
    room = 200 - len(shown) + len("note")
    assert error(**{"x" * room: 1}) == shown.replace("note", "x" * room)
    assert error(**{"x" * (room + 1): 1}) == "an unknown field"
    assert error(**{"\x1b[2J": 1}) == "an unknown field"
    assert error(currency="X" * 9) == "the currency is USD, not 'XXXXXXXX'"


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for read in (parse, lambda body: open_rate_card(body, public(RELAY.operator), RELAY.id)):
        with pytest.raises(RateCardError):
            read(data)


def test_a_signed_card() -> None:
    data, name = RELAY.rate_card()
    assert open_rate_card(data, public(RELAY.operator), RELAY.id) == (CARD, name)
    assert name == rate_card_hash(BODY)
    with pytest.raises(RateCardError):
        open_rate_card(data, public(RELAY.root), RELAY.id)
    with pytest.raises(RateCardError):
        open_rate_card(data, public(RELAY.operator), TestRelay("other relay").id)
    dearer = BODY.replace(b"25000", b"25001", 1)
    assert dearer != BODY
    assert rate_card_hash(dearer) != name
    signature = sign(RELAY.operator, rate_card_message(RELAY.id, BODY))
    with pytest.raises(RateCardError):
        open_rate_card(signed_rate_card(dearer, signature), public(RELAY.operator), RELAY.id)


def test_a_card_that_is_too_long_is_not_looked_at() -> None:
    for size, match in ((16_385, "at most 16384"), (16_384, "^(?!.*at most)")):
        with pytest.raises(RateCardError, match=match):
            open_rate_card(bytes(size), public(RELAY.operator), RELAY.id)


def test_a_card_signed_in_another_spelling() -> None:
    body = BODY + b"\n"
    signature = sign(RELAY.operator, rate_card_message(RELAY.id, body))
    with pytest.raises(RateCardError, match="canonical"):
        open_rate_card(signed_rate_card(body, signature), public(RELAY.operator), RELAY.id)


# Tariffs


@pytest.mark.parametrize("market", [*TABLE, "FR"])
@pytest.mark.parametrize("category", Category)
def test_reply_2018(market: str, category: Category) -> None:
    _, utility = TABLE.get(market, TABLE["OTHER"])
    inside = price("reply-2018", Facts(market, category, True), CARD)
    outside = price("reply-2018", Facts(market, category, False), CARD)
    assert inside == Price(Class.IN_WINDOW, 0, free=True)
    assert outside == Price(Class.OUT_OF_WINDOW, utility)


def test_what_a_tariff_does_not_have() -> None:
    with pytest.raises(BillingError, match="reply-2018"):
        price("reply-2019", Facts("ID", Category.NONE, True), CARD)
    with pytest.raises(BillingError, match="entry"):
        price_of_class("reply-2018", "ID", Category.NONE, Class.ENTRY, CARD)
    with pytest.raises(BillingError):
        price_of_class("reply-2019", "ID", Category.NONE, Class.IN_WINDOW, CARD)
    assert DEFAULT_TARIFF in TARIFFS


def test_numbers_on_the_wire() -> None:
    assert {c.name: int(c) for c in Category} == {
        "NONE": 0,
        "SERVICE": 1,
        "UTILITY": 2,
        "MARKETING": 3,
        "AUTHENTICATION": 4,
    }
    assert {c.name: int(c) for c in Class} == {"IN_WINDOW": 0, "OUT_OF_WINDOW": 1, "ENTRY": 2}
    codes = {c.name: int(c) for c in RefusalCode}
    assert codes["OUTSIDE_WINDOW"] == 131_047
    assert codes["UNDELIVERABLE"] == 131_026
    assert codes["RATE_LIMIT"] == 130_429
    assert codes["PAIR_RATE"] == 131_056
    assert set(REFUSAL_TEXT) == set(RefusalCode)


def test_the_type_of_the_bundled_card() -> None:
    assert isinstance(bundled(), RateCard)
