"""The price before sending, under each tariff and category; what is refused, and what helps."""

from __future__ import annotations

import pytest

from kurir_billing.kinds import Category, Class
from kurir_client import outbox
from kurir_client.errors import RefusedError, UsageError
from kurir_client.offers import NOT_ACCEPTED, category_named, offer, refused
from kurir_client.schema import Contact, Status
from kurir_wire.cards import TIER_PLATFORM, TIER_SMALL
from kurir_wire.ids import DAY
from tests.client.pair import START, Pair
from tests.client.verdicts import hashed, receipt, say, status

UTILITY, MARKETING = 25_000, 41_100  # Indonesia
SERVICE = Category.SERVICE


def price(pair: Pair, siti: Contact, category: Category = Category.NONE) -> int | None:
    return offer(pair.bob.store, siti, pair.clock.now, category).price_micro_usd


@pytest.mark.parametrize(
    ("tariff", "category", "inside", "outside"),
    [
        ("flat", "service", 0, 0),
        ("reply-2018", "marketing", 0, UTILITY),
        ("conversation-2022", "marketing", UTILITY, MARKETING),
        ("message-2025", "service", 0, None),
        ("message-2025", "utility", 0, UTILITY),
        ("message-2025", "marketing", MARKETING, MARKETING),
        ("message-2025", "authentication", UTILITY, UTILITY),
        ("message-2026", "service", UTILITY, None),
        ("message-2026", "utility", UTILITY, UTILITY),
        ("message-2026", "marketing", MARKETING, MARKETING),
    ],
)
def test_the_price_inside_the_window_and_at_its_end(
    pair: Pair, tariff: str, category: str, inside: int, outside: int | None
) -> None:
    _, siti = pair.open_shop(tariff)
    closes = pair.clock.now // 60 * 60 + DAY
    wanted = category_named(category)
    pair.clock.now = closes - 1
    assert price(pair, siti, wanted) == inside
    pair.clock.now = closes
    assert price(pair, siti, wanted) == outside


def test_what_is_free_to_say_is_said_where_the_tariff_asks_and_nowhere_else(pair: Pair) -> None:
    _, siti = pair.open_shop("message-2025")
    for tariff, wanted, expected in (
        ("message-2025", Category.NONE, SERVICE),
        ("message-2025", Category.UTILITY, Category.UTILITY),
        ("reply-2018", Category.MARKETING, Category.NONE),
        ("flat", Category.UTILITY, Category.NONE),
    ):
        with pair.bob.store.transaction():
            pair.bob.store.put("terms", pair.agree(tariff))
        say(pair, pair.bob, siti, "hello", category=wanted)
        (ready,) = pair.prepare(pair.bob)
        charge, _ = hashed(pair, ready)
        assert (charge.line.category, charge.label().category) == (expected, expected)
        pair.deliver(ready, pair.alice)
        assert pair.alice.store.unread()[-1].category == expected
        with pair.bob.store.transaction():
            pair.bob.store.drop_outgoing(ready.row.n)


def test_a_flat_fee_shows_the_relay_no_evidence(pair: Pair) -> None:
    """It need not know whether the customer has written."""
    _, siti = pair.open_shop("flat")
    say(pair, pair.bob, siti, "hello")
    (ready,) = pair.prepare(pair.bob)
    charge, _ = hashed(pair, ready)
    assert (charge.grant, charge.line.klass, charge.line.list_price) == (None, Class.IN_WINDOW, 0)


@pytest.mark.parametrize(
    ("tariff", "tier", "left"),
    [
        ("flat", TIER_PLATFORM, None),
        ("flat", TIER_SMALL, 250),
        ("reply-2018", TIER_PLATFORM, 250),
    ],
)
def test_starts_are_left_where_they_are_counted(
    pair: Pair, tariff: str, tier: int, left: int | None
) -> None:
    _, siti = pair.open_shop(tariff)
    with pair.bob.store.transaction():
        pair.bob.store.put("terms", pair.agree(tariff, tier, starts=250))
        pair.bob.store.put("starts_left", b"250")
    assert offer(pair.bob.store, siti, pair.clock.now).starts_left == left


@pytest.mark.parametrize("tariff", ["flat", "reply-2018"])
def test_a_small_shop_answers_and_starts_nothing(pair: Pair, tariff: str) -> None:
    _, siti = pair.open_shop(tariff)
    with pair.bob.store.transaction():
        pair.bob.store.put("terms", pair.agree(tariff, TIER_SMALL))
    say(pair, pair.bob, siti, "hello")
    (ready,) = pair.prepare(pair.bob)
    assert hashed(pair, ready)[0].grant is not None
    pair.clock.now += DAY
    due = offer(pair.bob.store, siti, pair.clock.now)
    assert (due.price_micro_usd, due.otherwise) == (None, None)
    error = refused(due, "Siti")
    assert (error.code, error.hint) == (131_047, "wait until Siti writes again")


def test_a_shut_window_says_what_goes_instead(pair: Pair) -> None:
    _, siti = pair.open_shop("message-2025")
    pair.clock.now += DAY
    error = refused(offer(pair.bob.store, siti, pair.clock.now), "Siti")
    assert error.code == 131_047
    assert error.what == (
        "more than 24 hours since the customer last wrote (131047); a service message has to wait"
    )
    assert error.hint == (
        "wait until Siti writes again, or send it as --category utility --max-price 25000, "
        "which would cost 25000 micro-USD"
    )
    inner_id = say(pair, pair.bob, siti, "are you there?", UTILITY)
    assert pair.prepare(pair.bob) == []
    assert status(pair.bob, inner_id) is Status.FAILED
    assert error.hint.replace("Siti", siti.name) in pair.bob.store.unread()[-1].text
    say(pair, pair.bob, siti, "your parcel is here", UTILITY, Category.UTILITY)
    (ready,) = pair.prepare(pair.bob)
    assert hashed(pair, ready)[0].line.list_price == UTILITY


def test_nothing_that_costs_goes_without_its_price_also_in_the_window(pair: Pair) -> None:
    _, siti = pair.open_shop("message-2026")
    due = offer(pair.bob.store, siti, pair.clock.now, Category.MARKETING)
    error = refused(due, "Siti")
    assert (error.code, error.quote_micro_usd) == (NOT_ACCEPTED, MARKETING)
    assert error.what == "this marketing message would cost 41100 micro-USD"
    for max_price in (0, MARKETING - 1):
        inner_id = say(pair, pair.bob, siti, "an ad", max_price, Category.MARKETING)
        assert pair.prepare(pair.bob) == []
        assert status(pair.bob, inner_id) is Status.FAILED
    assert pair.bob.store.charges() == []


def test_what_the_month_may_take_off_is_said(pair: Pair) -> None:
    _, siti = pair.open_shop("message-2026")
    now = pair.clock.now
    said = offer(pair.bob.store, siti, now, SERVICE).may_lower
    assert said == "the first 1,000 service messages of a month are free"
    assert offer(pair.bob.store, siti, now, Category.UTILITY).may_lower == ""
    with pair.bob.store.transaction():
        pair.bob.store.put("terms", pair.agree("conversation-2022"))
    said = offer(pair.bob.store, siti, now).may_lower
    assert said == "the first 1,000 conversations of a month are free"


def test_what_was_sent_keeps_category_and_price(pair: Pair) -> None:
    _, siti = pair.open_shop("message-2025")
    inner_id = say(pair, pair.bob, siti, "an ad", MARKETING, Category.MARKETING)
    (ready,) = pair.prepare(pair.bob)
    pair.clock.now += 1
    outbox.answered(pair.bob, ready, receipt(pair, ready), pair.relay.cert)
    sent = pair.bob.store.message_sent(inner_id)
    assert sent is not None
    assert (sent.category, sent.price) == (Category.MARKETING, MARKETING)


def test_an_unknown_category_is_a_mistake_of_usage() -> None:
    with pytest.raises(UsageError, match="there is no category 'news'"):
        category_named("news")
    assert category_named(None) is Category.NONE
    assert category_named("Utility") is Category.UTILITY


def test_an_unapproved_business_has_no_price(pair: Pair) -> None:
    _, siti = pair.open_shop()
    with pair.bob.store.transaction():
        pair.bob.store._run("DELETE FROM meta WHERE key = 'terms'")
    with pytest.raises(RefusedError):
        offer(pair.bob.store, siti, START)
