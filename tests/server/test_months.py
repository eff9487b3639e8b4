"""What a month comes to: conversations that run over its end, and two rate cards."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from msgspec import structs

from kurir_billing.charge import Line
from kurir_billing.head import InvoiceHead, open_head
from kurir_billing.kinds import Class
from kurir_billing.leaf import Leaf, open_leaf
from kurir_billing.ratecard import RateCard, bundled, canonical, rate_card_hash
from kurir_billing.tariffs import TARIFFS
from kurir_server.rows import StoredRateCard
from kurir_wire.frames import InvoiceIs
from kurir_wire.ids import DAY, HOUR
from tests.server.customers import Customer, customer, pass_of
from tests.server.helpers import Shop, Signed
from tests.server.rig import Rig

TARIFF = "conversation-2022"
MARKETING = 41_100
FEBRUARY = int(datetime(2027, 2, 1, tzinfo=UTC).timestamp())
MARCH = FEBRUARY + 28 * DAY


@pytest.fixture(autouse=True)
def no_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations cost from the first on, so that a few show what is due."""
    monkeypatch.setitem(TARIFFS, TARIFF, replace(TARIFFS[TARIFF], quota=None))


def head(rig: Rig, shop: Shop, month: int) -> InvoiceHead:
    reply = rig.run(lambda rows: rig.registry.invoice(rows, rig.moment, shop.id, 1, month))
    assert isinstance(reply, InvoiceIs)
    return open_head(reply.head)


def total(rig: Rig, shop: Shop, month: int) -> tuple[int, int]:
    found = head(rig, shop, month)
    return found.count, found.total_micro_usd


def leaves(rig: Rig, shop: Shop) -> list[Leaf]:
    found = rig.run(lambda rows: list(rows.leaves_of_days(shop.id, 0, 2**31)))
    return [open_leaf(leaf) for leaf in found]


def at(rig: Rig, now: int) -> None:
    """Go on; a rig never goes back."""
    assert now >= rig.now
    rig.now = now


def conversation(rig: Rig, shop: Shop, start: int) -> tuple[Customer, Signed, Signed]:
    """One that a business starts, with an opener and a last message."""
    at(rig, start)
    ani = customer(rig, shop, TARIFF)
    opener, receipt = ani.sent()
    pass_of(receipt)
    at(rig, start + DAY - 1)
    last, _ = ani.sent()
    assert last.charge.line.opener == opener.hash
    return ani, opener, last


@pytest.mark.parametrize("second_last", [True, False])
def test_a_conversation_is_due_in_the_month_in_which_it_first_settles(
    rig: Rig, second_last: bool
) -> None:
    shop = rig.shop(tariff=TARIFF)
    ani, opener, last = conversation(rig, shop, FEBRUARY - 2 * DAY)
    first, second = (opener, last) if second_last else (last, opener)
    at(rig, FEBRUARY - 1)
    ani.settled(first)
    at(rig, FEBRUARY)
    ani.settled(second)
    at(rig, FEBRUARY + DAY)
    assert total(rig, shop, 202701) == (1, MARKETING)
    assert total(rig, shop, 202702) == (1, 0), "covered by what January was charged"


def test_the_longest_that_a_conversation_can_reach_into_a_later_month(rig: Rig) -> None:
    """The opener settles at once, the last message as its 30 days are over; a whole month between
    them."""
    shop = rig.shop(tariff=TARIFF)
    start = MARCH + DAY - 1 - 31 * DAY
    at(rig, start)
    ani = customer(rig, shop, TARIFF)
    opener, receipt = ani.sent()
    ani.settled(opener)
    at(rig, start + DAY - 1)
    last, _ = ani.sent(held=receipt.earned)
    at(rig, (start + DAY - 1) // HOUR * HOUR + 30 * DAY - 1)
    result = rig.ack(ani.box, last.submission.envelope_id, last.secret)
    assert result is None
    assert leaves(rig, shop)[-1].settled_day - leaves(rig, shop)[0].settled_day == 31
    at(rig, MARCH + 2 * DAY)
    assert total(rig, shop, 202701) == (1, MARKETING)
    assert total(rig, shop, 202702) == (0, 0)
    assert total(rig, shop, 202703) == (1, 0)


def test_the_month_is_that_of_settlement(rig: Rig) -> None:
    shop = rig.shop(tariff=TARIFF)
    ani, opener, _ = conversation(rig, shop, FEBRUARY - DAY)
    at(rig, FEBRUARY)
    ani.settled(opener)
    at(rig, FEBRUARY + DAY)
    assert total(rig, shop, 202701) == (0, 0)
    assert total(rig, shop, 202702) == (1, MARKETING)


def new_card(rig: Rig, since: int) -> tuple[RateCard, bytes]:
    card = bundled()
    dearer = structs.replace(card.markets["ID"], marketing=50_000, utility=30_000)
    later = structs.replace(
        card,
        version=card.version + 1,
        effective_from=since,
        markets=card.markets | {"ID": dearer},
    )
    body = canonical(later)
    stored = StoredRateCard(later.version, rate_card_hash(body), since, rig.keys.rate_card(body))
    rig.run(lambda rows: rows.add_rate_card(stored))
    return later, stored.hash


def test_a_month_of_two_rate_cards(rig: Rig) -> None:
    shop = rig.shop()
    since = rig.now + DAY
    _, name = new_card(rig, since)
    signed: list[tuple[Customer, Signed]] = []
    for now, price in ((since - 1, 25_000), (since, 30_000)):
        at(rig, now)
        ani = customer(rig, shop, "reply-2018")
        one, _ = ani.sent()
        line = one.charge.line
        assert line.list_price == price
        assert (line.rate_card == name) == (now >= since)
        signed.append((ani, one))
    at(rig, since + DAY)
    for ani, one in signed:
        ani.settled(one)
    at(rig, since + 2 * DAY)
    assert total(rig, shop, 202701) == (2, 55_000)


@pytest.mark.parametrize(("first", "due"), [(0, MARKETING), (1, 50_000)])
def test_a_conversation_over_two_rate_cards(rig: Rig, first: int, due: int) -> None:
    """Each of its lines has the price of the card at its own acceptance, which anybody can check by
    the line alone; due is the line that settles first, and the business signed either."""
    shop = rig.shop(tariff=TARIFF)
    since = rig.now + DAY // 2
    _, name = new_card(rig, since)
    ani, opener, last = conversation(rig, shop, rig.now)
    lines: list[Line] = [opener.charge.line, last.charge.line]
    assert [line.list_price for line in lines] == [MARKETING, 50_000]
    assert lines[1].rate_card == name
    assert {line.klass for line in lines} == {Class.OUT_OF_WINDOW}
    both = (opener, last)
    ani.settled(both[first])
    at(rig, (rig.now // DAY + 1) * DAY)
    ani.settled(both[1 - first])
    at(rig, rig.now + DAY)
    assert total(rig, shop, 202701) == (2, due)
