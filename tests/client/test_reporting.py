"""What a customer keeps and shows of a labelled message; what a business believes of a ruling."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from msgspec.structs import replace

from kurir_billing.adjust import Adjust, adjust_message, delta_for, packed_adjust
from kurir_billing.adjusted import Ruling
from kurir_billing.charge import Charge
from kurir_billing.errors import InvoiceError
from kurir_billing.kinds import Category
from kurir_billing.leaf import Leaf, packed_leaf
from kurir_billing.ratecard import bundled, canonical, rate_card_hash
from kurir_billing.report import REPORT_DAYS, Report, check_report, open_report, packed_report
from kurir_client import adjustments, inbox, outbox, reporting, upkeep
from kurir_client.content import TEXT
from kurir_client.errors import RelayError, UsageError
from kurir_crypto.sealing import EnvelopeKeyPair
from kurir_server.report_key import seal_copy
from kurir_server.reports import FULL
from kurir_wire.entries import Adjusted, Delivery
from kurir_wire.frames import AdjustmentsAre, Error, SendReport
from kurir_wire.ids import DAY, Hash
from kurir_wire.limits import MAX_REPORT_REASON, REPORT_SIZES
from tests.client.fake_link import FakeLink, results
from tests.client.older import to_version_2
from tests.client.pair import Pair
from tests.client.verdicts import hashed, say, settled

CARD = bundled()
CARDS = {rate_card_hash(canonical(CARD)): CARD}
MONTH = 202609


@dataclass
class Sent:
    """A message of the shop that its customer opened."""

    charge: Charge
    leaf: Leaf
    delivery: Delivery


def send(pair: Pair, text: str, category: Category = Category.UTILITY) -> Sent:
    """Bob's shop writes to Alice, and her device settles."""
    (contact,) = pair.bob.store.contacts()
    say(pair, pair.bob, contact, text, category=category)
    (ready,) = pair.prepare(pair.bob)
    leaf = settled(pair, ready)
    with pair.bob.store.transaction():
        pair.bob.store.drop_outgoing(ready.row.n)
    return Sent(hashed(pair, ready)[0], leaf, pair.delivery(ready))


@pytest.fixture
def shop(pair: Pair) -> Pair:
    """Bob's shop has a tariff that asks what its messages are, and says utility."""
    pair.open_shop("message-2025")
    return pair


def chosen(pair: Pair, which: str = reporting.LAST) -> reporting.Choice:
    (contact,) = pair.alice.store.contacts()
    return reporting.choose(pair.alice, contact, which)


# The customer


def test_what_came_can_be_proved_against_the_ledger(shop: Pair) -> None:
    one, two = send(shop, "Your bus leaves at 9"), send(shop, "50% off!")
    last = chosen(shop)
    assert (last.message.text, last.report.category) == ("50% off!", Category.UTILITY)
    for sent, text in ((one, "Your bus leaves at 9"), (two, "50% off!")):
        found = next(
            choice
            for choice in (chosen(shop, str(m.n)) for m in shop.alice.store.reportable_of(1))
            if choice.report.lock == sent.leaf.lock
        )
        assert check_report(found.report, sent.leaf, shop.relay.id).text == text
        packed = packed_report(found.report)
        assert sent.delivery.mailbox_id not in packed
        assert sent.delivery.envelope_id not in packed


def test_a_second_delivery_adds_nothing(shop: Pair) -> None:
    sent = send(shop, "50% off!")
    before = shop.alice.store.reportable_of(1)
    inbox.receive(shop.alice, sent.delivery, shop.clock.now)
    assert shop.alice.store.reportable_of(1) == before


def test_it_survives_a_crash_and_goes_after_sixty_days(shop: Pair) -> None:
    send(shop, "50% off!")
    shop.alice = shop.reopen(shop.alice)
    shop.clock.now += REPORT_DAYS * DAY
    upkeep.forget(shop.alice)
    assert chosen(shop).message.text == "50% off!"
    shop.clock.now += DAY
    upkeep.forget(shop.alice)
    with pytest.raises(UsageError, match="nothing that can be reported"):
        chosen(shop)
    assert [m.text for m in shop.alice.store.history(1, 9) if m.direction == "in"] == ["50% off!"]


def test_what_no_category_is_named_for_cannot_be_reported(pair: Pair) -> None:
    pair.open_shop()
    send(pair, "under a tariff without categories", Category.NONE)
    with pytest.raises(UsageError, match="nothing that can be reported"):
        chosen(pair)
    (message,) = [m for m in pair.alice.store.history(1, 9) if m.direction == "in"]
    with pytest.raises(UsageError, match="cannot be reported") as caught:
        chosen(pair, str(message.n))
    assert "paid for it under a category" in caught.value.hint


def test_people_cannot_be_reported(pair: Pair) -> None:
    bob, _ = pair.befriend()
    with pair.bob.store.transaction():
        outbox.queue(pair.bob.store, 1, TEXT, "between us", pair.clock.now)
    pair.carry(pair.bob, pair.alice)
    for which in (reporting.LAST, "1"):
        with pytest.raises(UsageError, match="what people write cannot be reported") as caught:
            reporting.choose(pair.alice, bob, which)
        assert "on purpose" in caught.value.hint
    assert pair.alice.store.reportable_of(bob.id) == []


@pytest.mark.parametrize("which", ["0", "999", "-1", "one", "", "1.5", "\u00b2", "9" * 30])
def test_what_is_no_message(shop: Pair, which: str) -> None:
    send(shop, "50% off!")
    with pytest.raises(UsageError):
        chosen(shop, which)


def test_what_we_wrote_ourselves(shop: Pair) -> None:
    (mine,) = [m for m in shop.alice.store.history(1, 9) if m.direction == "out"]
    with pytest.raises(UsageError, match="cannot be reported"):
        chosen(shop, str(mine.n))


def test_what_a_complaint_may_say(shop: Pair) -> None:
    send(shop, "50% off!")
    choice = chosen(shop)
    with pytest.raises(UsageError, match="is labelled utility"):
        reporting.complaint(choice, Category.UTILITY, "")
    with pytest.raises(UsageError, match=f"at most {MAX_REPORT_REASON}"):
        reporting.complaint(choice, Category.MARKETING, "x" * (MAX_REPORT_REASON + 1))
    made = reporting.complaint(choice, Category.NONE, "x" * MAX_REPORT_REASON)
    assert (made.report, made.wanted) == (choice.report, Category.NONE)


async def test_only_the_operator_can_open_what_is_left(shop: Pair) -> None:
    send(shop, "50% off!")
    made = reporting.complaint(chosen(shop), Category.MARKETING, "an ad")
    link = FakeLink(shop, lambda request: results(None))
    await reporting.leave(link, made)  # type: ignore[arg-type]
    await reporting.leave(link, made)  # type: ignore[arg-type]
    one, two = link.of(SendReport)
    assert one.sealed != two.sealed
    assert len(one.sealed) == REPORT_SIZES[0]
    info = b"kurir/sealed-report/1\0" + b"\1" + shop.relay.id
    opened = shop.relay.report.decrypt(info, one.sealed)
    assert opened.rstrip(b"\0")[:-1] == packed_report(made)
    full = FakeLink(shop, lambda request: Error(1, FULL))
    with pytest.raises(RelayError, match="as many reports wait") as caught:
        await reporting.leave(full, made)  # type: ignore[arg-type]
    assert caught.value.retry_after == DAY


def test_what_was_reported_is_not_reported_again(shop: Pair) -> None:
    send(shop, "50% off!")
    choice = chosen(shop)
    with shop.alice.store.transaction():
        shop.alice.store.mark_reported(choice.message.n, shop.clock.now // DAY)
    with pytest.raises(UsageError, match="reported already"):
        chosen(shop)


# The business


def ruled(pair: Pair, sent: Sent, **changes: Any) -> Ruling:
    """What the operator makes of an ad, whatever is changed in it."""
    report = chosen(pair).report
    honest = Adjust(
        sent.charge.business_id,
        sent.leaf.hash(pair.relay.id),
        sent.leaf.settled_day + 1,
        Category.MARKETING,
        delta_for(sent.leaf, Category.MARKETING, CARD),
        report.hash,
        bytes(64),
    )
    adjust = replace(honest, **changes)
    signature = pair.relay.operator.sign(adjust_message(pair.relay.id, adjust))
    return Ruling(replace(adjust, signature=signature), sent.leaf, report)


def verify(pair: Pair, *rulings: Ruling) -> None:
    adjustments.verify(pair.bob, pair.relay.cert, CARDS, rulings)


def faults(pair: Pair, *rulings: Ruling) -> str:
    with pytest.raises(InvoiceError) as caught:
        verify(pair, *rulings)
    return str(caught.value)


def test_a_business_believes_what_it_can_prove(shop: Pair) -> None:
    sent = send(shop, "50% off!")
    good = ruled(shop, sent)
    verify(shop, good)
    assert adjustments.text_of(good, shop.bob) == "50% off!"


def test_and_nothing_else(shop: Pair) -> None:
    sent = send(shop, "50% off!")
    good = ruled(shop, sent)
    assert good.report is not None
    assert "adjustment 2: the same charge is re-rated twice" in faults(shop, good, good)
    more = ruled(shop, sent, delta_micro_usd=10**6)
    assert "adjustment 2: the adjustment adds 1000000" in faults(shop, good, more)
    silent = Ruling(good.adjust, good.leaf, None)
    assert "without a report that opens" in faults(shop, silent)
    assert adjustments.text_of(silent, shop.bob) is None
    words = replace(good.report, content=good.report.content.replace(b"50%", b"99%"))
    lie = Ruling(ruled(shop, sent, report=words.hash).adjust, good.leaf, words)
    assert "never sent this message" in faults(shop, lie)
    assert adjustments.text_of(lie, shop.bob) is None
    other = Ruling(good.adjust, good.leaf, words)
    assert "rests on another report" in faults(shop, other)
    unsigned = Ruling(replace(good.adjust, signature=bytes(64)), good.leaf, good.report)
    assert "no adjustment of the operator's" in faults(shop, unsigned)
    with pytest.raises(InvoiceError, match="rate card is not here"):
        adjustments.verify(shop.bob, shop.relay.cert, {}, (good,))
    later = replace(CARD, effective_from=(sent.leaf.settled_day + 1) * DAY)
    with pytest.raises(InvoiceError, match="before the rate card that priced it"):
        adjustments.verify(shop.bob, shop.relay.cert, dict.fromkeys(CARDS, later), (good,))


def test_records_of_our_own_come_first(shop: Pair) -> None:
    sent = send(shop, "50% off!")
    good, name = ruled(shop, sent), sent.leaf.charge_hash(shop.relay.id)
    with shop.bob.store.transaction():
        assert shop.bob.store.set_settled(name, sent.leaf.settled_day)
    verify(shop, good)
    with shop.bob.store.transaction():
        shop.bob.store.set_settled(name, sent.leaf.settled_day + 1)
    assert "settled on another day" in faults(shop, good)
    shop.bob.store._run("DELETE FROM charge")
    assert "never signed" in faults(shop, good)


def pages(pair: Pair, *items: Sequence[Adjusted]) -> FakeLink:
    """A relay that answers with these pages in turn."""
    left = list(items)

    def answer(request: Any) -> AdjustmentsAre:
        page = left.pop(0)
        return AdjustmentsAre(1, list(page), bool(left))

    return FakeLink(pair, answer)


def sealed(pair: Pair, ruling: Ruling, key: EnvelopeKeyPair | None = None) -> Adjusted:
    own = key or EnvelopeKeyPair.from_bytes(pair.bob.store.envelope_keys()[0])
    assert ruling.report is not None
    name = ruling.adjust.hash(pair.relay.id)
    copy = seal_copy(own.public, pair.relay.id, name, ruling.report)
    return Adjusted(packed_adjust(ruling.adjust), packed_leaf(ruling.leaf), copy)


async def test_fetching_opens_and_keeps_the_reports(shop: Pair) -> None:
    first = ruled(shop, send(shop, "50% off!"))
    second = ruled(shop, send(shop, "60% off!"))
    link = pages(shop, [sealed(shop, first)], [sealed(shop, second)])
    found = await adjustments.fetch(shop.bob, link, MONTH)  # type: ignore[arg-type]
    assert found == (first, second)
    verify(shop, *found)
    assert [request.after for request in link.asked] == [  # type: ignore[union-attr]
        bytes(32),
        first.adjust.hash(shop.relay.id),
    ]
    # Keys go after a while; what was opened stays, also if the relay then sends nothing that opens.
    shop.bob = shop.reopen(shop.bob)
    stranger = EnvelopeKeyPair.generate()
    again = pages(shop, [sealed(shop, first, stranger)])
    (kept,) = await adjustments.fetch(shop.bob, again, MONTH)  # type: ignore[arg-type]
    assert kept == first


async def test_a_report_that_does_not_open_may_come_later(shop: Pair) -> None:
    ruling = ruled(shop, send(shop, "50% off!"))
    closed = sealed(shop, ruling, EnvelopeKeyPair.generate())
    empty = Adjusted(closed.adjust, closed.leaf, b"")
    for shut in (closed, empty):
        (found,) = await adjustments.fetch(shop.bob, pages(shop, [shut]), MONTH)  # type: ignore[arg-type]
        assert found == Ruling(ruling.adjust, ruling.leaf, None)
    (found,) = await adjustments.fetch(shop.bob, pages(shop, [sealed(shop, ruling)]), MONTH)  # type: ignore[arg-type]
    assert found == ruling


async def test_a_report_of_another_adjustment_does_not_open(shop: Pair) -> None:
    """The relay puts copies into each other's places."""
    first = ruled(shop, send(shop, "50% off!"))
    second = ruled(shop, send(shop, "60% off!"))
    one, two = sealed(shop, first), sealed(shop, second)
    swapped = Adjusted(one.adjust, one.leaf, two.report)
    (found,) = await adjustments.fetch(shop.bob, pages(shop, [swapped]), MONTH)  # type: ignore[arg-type]
    assert found.report is None


@pytest.mark.parametrize("part", ["adjust", "leaf"])
async def test_a_relay_that_sends_noise(shop: Pair, part: str) -> None:
    good = sealed(shop, ruled(shop, send(shop, "50% off!")))
    for noise in (b"", b"\x90", secrets.token_bytes(60)):
        link = pages(shop, [replace(good, **{part: noise})])
        with pytest.raises(RelayError, match="sends no adjustments"):
            await adjustments.fetch(shop.bob, link, MONTH)  # type: ignore[arg-type]


# The database


def test_a_home_of_version_2_keeps_reports_from_now_on(shop: Pair) -> None:
    with shop.alice.store.transaction():
        to_version_2(shop.alice.store)
    shop.alice = shop.reopen(shop.alice)
    with pytest.raises(UsageError, match="nothing that can be reported"):
        chosen(shop)
    sent = send(shop, "50% off!")
    check_report(chosen(shop).report, sent.leaf, shop.relay.id)


def test_rows_hide_what_they_hold(shop: Pair) -> None:
    send(shop, "50% off!")
    choice = chosen(shop)
    kept = shop.alice.store.reportable(choice.message.n)
    assert kept is not None
    assert isinstance(open_report(kept.report), Report)
    assert "off" not in repr((choice, kept))
    assert Hash(choice.report.kf).hex() not in repr((choice, kept))
