"""What goes out is durable before it leaves, resent byte for byte, priced before it is signed."""

from __future__ import annotations

import pytest

from kurir_billing.kinds import Class, RefusalCode
from kurir_client import outbox
from kurir_client.cli import sending
from kurir_client.cli.output import Output
from kurir_client.errors import RefusedError
from kurir_client.messenger import Messenger
from kurir_client.pause import PACE, Pause
from kurir_client.schema import Kind, Status
from kurir_wire import codes
from kurir_wire.entries import Result
from kurir_wire.ids import DAY
from tests.client.pair import Pair
from tests.client.verdicts import RATE_ID, hashed, receipt, refusal, say, status


def test_a_crash_before_the_answer_resends_the_same_bytes(pair: Pair) -> None:
    to_bob, _ = pair.befriend()
    say(pair, pair.alice, to_bob, "hello")
    (first,) = pair.prepare(pair.alice)
    pair.alice = pair.reopen(pair.alice)
    (second,) = pair.prepare(pair.alice)
    assert second.submission == first.submission
    assert pair.alice.store.queued() == 1
    outbox.answered(pair.alice, second, None, pair.relay.cert)
    assert pair.alice.store.queued() == 0


def test_two_messages_never_use_one_key(pair: Pair) -> None:
    to_bob, _ = pair.befriend()
    for number in range(5):
        say(pair, pair.alice, to_bob, f"number {number}")
    ready = pair.prepare(pair.alice)
    assert len({item.submission.body for item in ready}) == 5
    for item in reversed(ready):
        pair.deliver(item, pair.bob)
    shown = [item.text for item in pair.bob.store.unread() if item.direction == "in"]
    assert sorted(shown) == [f"number {number}" for number in range(5)]


def test_nothing_goes_to_a_contact_whose_key_changed(pair: Pair) -> None:
    to_bob, _ = pair.befriend()
    say(pair, pair.alice, to_bob, "hello")
    with pair.alice.store.transaction():
        pair.alice.store.set_contact(to_bob.id, state="changed")
    assert pair.prepare(pair.alice) == []
    assert pair.alice.store.queued() == 1


def test_a_full_mailbox_waits_and_a_vanished_one_is_told(pair: Pair) -> None:
    to_bob, _ = pair.befriend()
    inner_id = say(pair, pair.alice, to_bob, "hello")
    (ready,) = pair.prepare(pair.alice)
    full = Result(codes.FULL, "the mailbox is full", retry_after=9)
    assert outbox.answered(pair.alice, ready, full, pair.relay.cert) == Pause(9, codes.FULL)
    assert status(pair.alice, inner_id) is Status.QUEUED
    gone = Result(codes.NO_MAILBOX, "there is no such mailbox")
    outbox.answered(pair.alice, ready, gone, pair.relay.cert)
    assert status(pair.alice, inner_id) is Status.FAILED
    notes = [item.text for item in pair.alice.store.unread() if item.direction == "note"]
    assert "a message to Bob was not sent: there is no such mailbox" in notes


def test_an_answer_in_the_window_is_signed_free_with_its_grant(pair: Pair) -> None:
    _, siti = pair.open_shop()
    say(pair, pair.bob, siti, "welcome")
    (ready,) = pair.prepare(pair.bob)
    charge, _ = hashed(pair, ready)
    assert (charge.line.klass, charge.line.list_price) == (Class.IN_WINDOW, 0)
    assert charge.grant is not None
    assert ready.submission.token is None


def test_the_window_is_open_for_a_day_from_the_beacon_and_not_a_second_more(pair: Pair) -> None:
    pair.clock.now += 37  # within a minute: the window counts from the minute's beacon
    _, siti = pair.open_shop()
    opened = pair.clock.now // 60 * 60
    for now, price in ((opened + DAY - 1, 0), (opened + DAY, RATE_ID)):
        pair.clock.now = now
        say(pair, pair.bob, siti, "news", RATE_ID)
        ready = pair.prepare(pair.bob)[-1]
        charge, _ = hashed(pair, ready)
        assert charge.line.list_price == price
        assert (charge.grant is None) == (price > 0)


def test_nothing_that_costs_is_signed_without_acceptance(pair: Pair) -> None:
    _, siti = pair.open_shop()
    pair.clock.now += 2 * DAY
    inner_id = say(pair, pair.bob, siti, "news", RATE_ID - 1)
    assert pair.prepare(pair.bob) == []
    assert status(pair.bob, inner_id) is Status.FAILED
    assert pair.bob.store.charges() == []


def test_a_receipt_settles_the_outbox_and_keeps_the_price(pair: Pair) -> None:
    _, siti = pair.open_shop()
    pair.clock.now += 2 * DAY
    inner_id = say(pair, pair.bob, siti, "news", RATE_ID)
    (ready,) = pair.prepare(pair.bob)
    outbox.answered(pair.bob, ready, receipt(pair, ready), pair.relay.cert)
    sent = pair.bob.store.message_sent(inner_id)
    assert sent is not None
    assert (sent.status, sent.price) == (Status.STORED, RATE_ID)
    assert [row.state for row in pair.bob.store.charges()] == ["accepted"]


def test_a_charge_is_never_signed_anew_without_a_refusal(pair: Pair) -> None:
    _, siti = pair.open_shop()
    say(pair, pair.bob, siti, "welcome")
    (first,) = pair.prepare(pair.bob)
    pair.clock.now += 2 * 3_600
    (second,) = pair.prepare(pair.bob)
    assert second.submission == first.submission
    assert len(pair.bob.store.charges()) == 1


def test_a_quote_is_taken_if_it_was_accepted_and_told_if_not(pair: Pair) -> None:
    _, siti = pair.open_shop()
    pair.clock.now += DAY - 100  # our clock is a little behind the relay's
    for max_price, expected in ((RATE_ID, Status.QUEUED), (0, Status.FAILED)):
        inner_id = say(pair, pair.bob, siti, "welcome", max_price)
        ready = pair.prepare(pair.bob)[-1]
        answer = refusal(pair, ready, RefusalCode.OUTSIDE_WINDOW, RATE_ID)
        outbox.answered(pair.bob, ready, answer, pair.relay.cert)
        assert status(pair.bob, inner_id) is expected
    (again,) = pair.prepare(pair.bob)
    charge, _ = hashed(pair, again)
    assert (charge.line.list_price, charge.grant) == (RATE_ID, None)
    # A second refusal of the very line that the relay quoted is final.
    answer = refusal(pair, again, RefusalCode.OUTSIDE_WINDOW, RATE_ID)
    outbox.answered(pair.bob, again, answer, pair.relay.cert)
    assert pair.prepare(pair.bob) == []


@pytest.mark.parametrize(
    ("behind", "price", "words"),
    [(3_600, RATE_ID, "whose window is open"), (100, RATE_ID + 1, "does not follow")],
)
def test_a_quote_that_is_not_due_is_never_signed(
    pair: Pair, behind: int, price: int, words: str
) -> None:
    """Else a relay could refuse free answers, quote the paid price, and nobody could prove it."""
    _, siti = pair.open_shop()
    pair.clock.now += DAY - behind
    inner_id = say(pair, pair.bob, siti, "welcome", 2 * RATE_ID)
    (ready,) = pair.prepare(pair.bob)
    answer = refusal(pair, ready, RefusalCode.OUTSIDE_WINDOW, price)
    outbox.answered(pair.bob, ready, answer, pair.relay.cert)
    assert pair.prepare(pair.bob) == []
    assert status(pair.bob, inner_id) is Status.FAILED
    assert words in pair.bob.store.unread()[-1].text


def write_again(pair: Pair) -> None:
    """The customer, to whom the shop is the first contact."""
    (shop,) = pair.alice.store.contacts()
    say(pair, pair.alice, shop, "still there?")
    pair.carry(pair.alice, pair.bob)


@pytest.mark.parametrize("when", ["before the refusal", "after it", "after the quote was signed"])
def test_a_quote_is_void_when_the_customer_has_written_since(pair: Pair, when: str) -> None:
    """What was refused rested on a window that had ended; now there is another one, and the answer
    is free. A bot that was away for long meets this with all that it has queued."""
    _, siti = pair.open_shop()
    inner_id = say(pair, pair.bob, siti, "welcome", RATE_ID)
    (ready,) = pair.prepare(pair.bob)
    assert hashed(pair, ready)[0].line.list_price == 0
    pair.clock.now += DAY
    if when == "before the refusal":
        write_again(pair)
    answer = refusal(pair, ready, RefusalCode.OUTSIDE_WINDOW, RATE_ID)
    outbox.answered(pair.bob, ready, answer, pair.relay.cert)
    if when == "after it":
        write_again(pair)
    (again,) = pair.prepare(pair.bob)
    charge, _ = hashed(pair, again)
    if when == "after the quote was signed":
        # What is signed may be at the relay already.
        write_again(pair)
        assert pair.prepare(pair.bob) == [again]
        assert charge.line.list_price == RATE_ID
        return
    assert charge.line.list_price == 0
    assert charge.grant is not None
    assert status(pair.bob, inner_id) is Status.QUEUED
    # It is no way to make us sign again and again.
    answer = refusal(pair, again, RefusalCode.OUTSIDE_WINDOW, RATE_ID)
    outbox.answered(pair.bob, again, answer, pair.relay.cert)
    assert pair.prepare(pair.bob) == []
    assert "whose window is open" in pair.bob.store.unread()[-1].text


def test_the_same_reply_is_not_said_twice(pair: Pair) -> None:
    """A bot that was killed after it replied handles the message again."""
    _, siti = pair.open_shop()
    for _ in range(2):
        with pair.bob.store.transaction():
            outbox.queue(pair.bob.store, siti.id, 1, "ticket", pair.clock.now, 0, bytes(16))
    (ready,) = pair.prepare(pair.bob)
    outbox.answered(pair.bob, ready, receipt(pair, ready), pair.relay.cert)
    with pair.bob.store.transaction():
        outbox.queue(pair.bob.store, siti.id, 1, "ticket", pair.clock.now, 0, bytes(16))
    assert pair.prepare(pair.bob) == []


def test_too_fast_is_signed_anew_later(pair: Pair) -> None:
    _, siti = pair.open_shop()
    inner_id = say(pair, pair.bob, siti, "welcome")
    (ready,) = pair.prepare(pair.bob)
    answer = refusal(pair, ready, RefusalCode.PAIR_RATE, None)
    pause = outbox.answered(pair.bob, ready, answer, pair.relay.cert)
    assert pause == Pause(PACE, codes.RATE, RefusalCode.PAIR_RATE)
    assert status(pair.bob, inner_id) is Status.QUEUED
    (again,) = pair.prepare(pair.bob)
    assert again.submission.charge != ready.submission.charge


def test_what_is_given_up_does_not_hold_back_what_follows(pair: Pair) -> None:
    _, siti = pair.open_shop()
    pair.clock.now += 2 * DAY
    say(pair, pair.bob, siti, "too dear", RATE_ID - 1)
    second = say(pair, pair.bob, siti, "news", RATE_ID)
    (ready,) = pair.prepare(pair.bob)
    assert ready.row.inner_id == second


def test_a_long_queue_to_one_contact_does_not_hide_another(pair: Pair) -> None:
    to_bob, _ = pair.befriend()
    store = pair.alice.store
    with store.transaction():
        other = store.add_contact("Carol", Kind.PERSON, address=to_bob.address)
        state = store.sessions(to_bob.id)[0]
        store.put_session(bytes(16), other.id, state)
    for number in range(outbox.BATCH * 4):
        say(pair, pair.alice, to_bob, f"number {number}")
    behind = say(pair, pair.alice, other, "hello")
    assert {item.row.contact for item in pair.prepare(pair.alice)} == {to_bob.id}
    beacon = pair.relay.beacon(pair.clock.now)
    (ready,) = outbox.prepare(pair.alice, beacon, pair.clock.now, [to_bob.id])
    assert ready.row.inner_id == behind
    with store.transaction():
        store.set_contact(to_bob.id, state="changed")
    (ready,) = pair.prepare(pair.alice)
    assert ready.row.inner_id == behind


def test_a_refusal_by_the_relay_ends_the_command_as_one(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, siti = pair.open_shop()
    inner_id = say(pair, pair.bob, siti, "welcome")
    (ready,) = pair.prepare(pair.bob)

    async def flush(_: Messenger) -> None:
        answer = refusal(pair, ready, RefusalCode.OUTSIDE_WINDOW, RATE_ID)
        outbox.answered(pair.bob, ready, answer, pair.relay.cert)

    monkeypatch.setattr(sending, "flush", flush)
    with pytest.raises(RefusedError) as caught:
        sending.deliver_now(
            Output(as_json=True, ascii_only=False), Messenger(pair.bob), siti, inner_id
        )
    assert (caught.value.code, caught.value.quote_micro_usd) == (131_047, RATE_ID)
