"""Each tariff as a table, with numbers typed in here from the facts; then what holds for all."""

from __future__ import annotations

import itertools

import pytest

from kurir_billing.errors import BillingError
from kurir_billing.kinds import Category, Class, PassKind, RefusalCode
from kurir_billing.ratecard import RateCard, bundled
from kurir_billing.tariffs import (
    TARIFFS,
    Facts,
    Price,
    Tariff,
    price,
    price_of_class,
    tariff_named,
)
from kurir_billing.windows import PASS_LENGTH, WINDOW, is_open

CARD = bundled()
# Marketing; utility and authentication; micro-USD.
TABLE = {"ID": (41_100, 25_000), "DE": (136_500, 55_000), "FR": (60_400, 7_700)}
NONE, SERVICE, UTILITY, MARKETING, AUTHENTICATION = Category
INSIDE, OUTSIDE, ENTRY = Class
SHUT = RefusalCode.OUTSIDE_WINDOW
ASKING = ("message-2025", "message-2026")


def short(due: Price | RefusalCode) -> object:
    return due if isinstance(due, RefusalCode) else (due.klass, due.micro_usd, due.free)


ALL_FACTS = [
    Facts(market, category, window, granted, entry, conversation)
    for market, category, window, granted, entry, conversation in itertools.product(
        TABLE, Category, (True, False), (True, False), (True, False), (None, INSIDE, OUTSIDE)
    )
]


def test_flat_asks_nothing_and_costs_nothing() -> None:
    for facts in ALL_FACTS:
        assert price("flat", facts, CARD) == Price(INSIDE, 0, free=True)


def test_reply_2018_knows_the_window_and_the_market_alone() -> None:
    for facts in ALL_FACTS:
        outside = Price(OUTSIDE, TABLE[facts.market][1])
        due = Price(INSIDE, 0, free=True) if facts.window_open else outside
        assert price("reply-2018", facts, CARD) == due


@pytest.mark.parametrize("market", TABLE)
@pytest.mark.parametrize(
    ("window", "conversation", "klass", "column", "opens", "covered"),
    [
        (True, None, INSIDE, 1, PassKind.CONVERSATION, False),
        (False, None, OUTSIDE, 0, PassKind.CONVERSATION, False),
        # The class is the opener's, whatever the window is now.
        (True, INSIDE, INSIDE, 1, None, True),
        (False, INSIDE, INSIDE, 1, None, True),
        (True, OUTSIDE, OUTSIDE, 0, None, True),
        (False, OUTSIDE, OUTSIDE, 0, None, True),
    ],
)
def test_conversation_2022(
    market: str,
    window: bool,
    conversation: Class | None,
    klass: Class,
    column: int,
    opens: PassKind | None,
    covered: bool,
) -> None:
    facts = Facts(market, NONE, window, conversation=conversation)
    due = price("conversation-2022", facts, CARD)
    assert due == Price(klass, TABLE[market][column], opens=opens, covered=covered)


@pytest.mark.parametrize("market", TABLE)
@pytest.mark.parametrize(
    ("tariff", "category", "inside", "outside"),
    [
        # A column of the table, "free", or a refusal.
        ("message-2025", SERVICE, "free", SHUT),
        ("message-2025", UTILITY, "free", 1),
        ("message-2025", MARKETING, 0, 0),
        ("message-2025", AUTHENTICATION, 1, 1),
        ("message-2026", SERVICE, 1, SHUT),
        ("message-2026", UTILITY, 1, 1),
        ("message-2026", MARKETING, 0, 0),
        ("message-2026", AUTHENTICATION, 1, 1),
    ],
)
def test_messages(
    market: str, tariff: str, category: Category, inside: object, outside: object
) -> None:
    for window, klass, cell in ((True, INSIDE, inside), (False, OUTSIDE, outside)):
        found = price(tariff, Facts(market, category, window), CARD)
        if isinstance(cell, RefusalCode):
            assert found is cell
        elif cell == "free":
            assert found == Price(klass, 0, free=True)
        else:
            assert found == Price(klass, TABLE[market][1 if cell else 0])


@pytest.mark.parametrize("tariff", ASKING)
@pytest.mark.parametrize("category", [SERVICE, UTILITY, MARKETING, AUTHENTICATION])
def test_an_entry_window_frees_everything_but_needs_a_window_for_service(
    tariff: str, category: Category
) -> None:
    for window in (True, False):
        first = price(tariff, Facts("ID", category, window, entry_granted=True), CARD)
        later = price(tariff, Facts("ID", category, window, entry_open=True), CARD)
        both = price(tariff, Facts("ID", category, window, True, True), CARD)
        if category is SERVICE and not window:
            assert first is later is both is SHUT
        else:
            assert first == Price(ENTRY, 0, free=True, opens=PassKind.ENTRY)
            assert later == both == Price(ENTRY, 0, free=True)


@pytest.mark.parametrize("tariff", TARIFFS)
def test_a_tariff_that_asks_for_the_category_gets_one(tariff: str) -> None:
    found = price(tariff, Facts("ID", NONE, True), CARD)
    assert (found is RefusalCode.BAD_PARAMETER) == (tariff in ASKING)


def test_what_each_tariff_needs() -> None:
    needs = {name: (known.asks_category, known.passes) for name, known in TARIFFS.items()}
    assert needs == {
        "flat": (False, frozenset()),
        "reply-2018": (False, frozenset()),
        "conversation-2022": (False, {PassKind.CONVERSATION}),
        "message-2025": (True, {PassKind.ENTRY}),
        "message-2026": (True, {PassKind.ENTRY}),
    }


@pytest.mark.parametrize("tariff", TARIFFS)
def test_a_tariff_opens_only_passes_that_it_names(tariff: str) -> None:
    for facts in ALL_FACTS:
        found = price(tariff, facts, CARD)
        if isinstance(found, Price):
            assert found.opens is None or found.opens in TARIFFS[tariff].passes
            assert not found.covered or PassKind.CONVERSATION in TARIFFS[tariff].passes


@pytest.mark.parametrize("tariff", TARIFFS)
def test_the_auditor_gets_the_same_price_from_the_line(tariff: str) -> None:
    for facts in ALL_FACTS:
        found = price(tariff, facts, CARD)
        if isinstance(found, Price):
            again = price_of_class(tariff, facts.market, facts.category, found.klass, CARD)
            assert short(again) == short(found)


@pytest.mark.parametrize(
    ("tariff", "category", "klass"),
    [
        ("flat", NONE, OUTSIDE),
        ("reply-2018", NONE, ENTRY),
        ("conversation-2022", NONE, ENTRY),
        ("message-2025", SERVICE, OUTSIDE),
        ("message-2026", SERVICE, OUTSIDE),
        ("message-2025", NONE, INSIDE),
    ],
)
def test_a_class_that_a_tariff_does_not_have(tariff: str, category: Category, klass: Class) -> None:
    with pytest.raises(BillingError, match=f"{tariff} has no class {klass.name.lower()}"):
        price_of_class(tariff, "ID", category, klass, CARD)


def test_an_unknown_tariff_is_named_with_those_that_are_known() -> None:
    with pytest.raises(BillingError, match=r"'reply-2019'.*flat, reply-2018"):
        tariff_named("reply-2019")


def test_a_new_tariff_is_one_function_and_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_category(facts: Facts, card: RateCard) -> Price:
        return Price(OUTSIDE, card.rates(facts.market).of(facts.category))

    monkeypatch.setitem(TARIFFS, "new", Tariff("new", by_category, asks_category=True))
    for category, due in ((MARKETING, 41_100), (UTILITY, 25_000)):
        assert price("new", Facts("ID", category, False), CARD) == Price(OUTSIDE, due)
        assert price_of_class("new", "ID", category, OUTSIDE, CARD) == Price(OUTSIDE, due)


# Windows


def test_lengths() -> None:
    assert WINDOW == 86_400
    assert PASS_LENGTH == {PassKind.CONVERSATION: 86_400, PassKind.ENTRY: 259_200}
    assert {kind.name: int(kind) for kind in PassKind} == {"CONVERSATION": 0, "ENTRY": 1}


def test_a_window_that_never_opened_is_shut() -> None:
    assert not is_open(None, WINDOW, 0)


@pytest.mark.parametrize("length", [WINDOW, *PASS_LENGTH.values()])
def test_a_window_is_half_open(length: int) -> None:
    opened = 1_767_225_600
    for now, due in ((-1, False), (0, True), (length - 1, True), (length, False)):
        assert is_open(opened, length, opened + now) is due
    assert is_open(0, length, 0)
