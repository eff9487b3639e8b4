"""Passes are learned and named; quotes are signed only if they follow; many charges under one
signature; what the relay does not want yet waits."""

from __future__ import annotations

import msgspec
import pytest

from kurir_billing.kinds import Category, Class, PassKind, RefusalCode
from kurir_billing.passes import pass_message
from kurir_billing.ratecard import (
    bundled,
    canonical,
    rate_card_hash,
    rate_card_message,
    signed_rate_card,
)
from kurir_client import evidence, outbox
from kurir_client.addresses import destination
from kurir_client.errors import RelayError
from kurir_client.offers import offer
from kurir_client.outbox import Ready
from kurir_client.pause import PACE, Pause
from kurir_client.schema import Contact, Status
from kurir_crypto.keys import SigningKeyPair
from kurir_wire import codes
from kurir_wire.codec import pack
from kurir_wire.ids import DAY, HOUR, NO_HASH, BusinessId, MailboxId, digest
from kurir_wire.limits import CLOCK_SKEW
from tests.client.pair import Pair
from tests.client.verdicts import (
    RATE_ID,
    answer,
    hashed,
    many,
    pass_of,
    receipt,
    refusal,
    say,
    status,
)

MARKETING = 41_100
CONVERSATION = PassKind.CONVERSATION


def one(pair: Pair, siti: Contact, text: str, max_price: int = 0) -> tuple[bytes, Ready]:
    inner_id = say(pair, pair.bob, siti, text, max_price)
    return inner_id, pair.prepare(pair.bob)[-1]


def opened(pair: Pair, siti: Contact) -> Ready:
    """A conversation that was paid."""
    _, ready = one(pair, siti, "first", RATE_ID)
    answer(pair, ready, receipt(pair, ready, pass_of(pair, ready, CONVERSATION)))
    return ready


def told(pair: Pair) -> str:
    return pair.bob.store.unread()[-1].text


def test_a_conversation_is_paid_once(pair: Pair) -> None:
    _, siti = pair.open_shop("conversation-2022")
    first = opened(pair, siti)
    _, opener = hashed(pair, first)
    due = offer(pair.bob.store, siti, pair.clock.now)
    assert (due.price_micro_usd, due.list_price_micro_usd) == (0, RATE_ID)
    assert due.conversation_until == pair.clock.now + DAY
    inner_id, second = one(pair, siti, "second")  # no price was accepted, and none is due
    charge, _ = hashed(pair, second)
    assert (charge.line.opener, charge.line.klass) == (opener, Class.IN_WINDOW)
    assert charge.pass_hash != NO_HASH
    assert charge.grant is None  # what is paid needs no other evidence
    answer(pair, second, receipt(pair, second))
    sent = pair.bob.store.message_sent(inner_id)
    assert sent is not None
    assert (sent.status, sent.price) == (Status.STORED, 0)


def test_a_conversation_ends_to_the_second(pair: Pair) -> None:
    _, siti = pair.open_shop("conversation-2022")
    opened(pair, siti)
    start = pair.clock.now
    for at, price in ((DAY - 1, 0), (DAY, MARKETING)):
        pair.clock.now = start + at
        assert offer(pair.bob.store, siti, pair.clock.now).price_micro_usd == price


def test_what_follows_an_opener_waits_for_its_pass(pair: Pair) -> None:
    _, siti = pair.open_shop("conversation-2022")
    say(pair, pair.bob, siti, "first", RATE_ID)
    say(pair, pair.bob, siti, "second")
    (first,) = pair.prepare(pair.bob)
    (again,) = pair.prepare(pair.bob)  # also if its answer is lost
    assert again.submission == first.submission
    answer(pair, first, receipt(pair, first, pass_of(pair, first, CONVERSATION)))
    (second,) = pair.prepare(pair.bob)
    assert hashed(pair, second)[0].line.opener == hashed(pair, first)[1]


def test_the_slower_of_two_agents_pays_nothing_and_is_not_asked(pair: Pair) -> None:
    """Both answered at once; the relay refuses the second and shows the pass of the first."""
    _, siti = pair.open_shop("conversation-2022")
    _, ours = one(pair, siti, "first", RATE_ID)
    signed, opener = hashed(pair, ours)
    held = pass_of(pair, ours, CONVERSATION)
    answer(pair, ours, receipt(pair, ours))  # its pass did not come with the receipt
    inner_id, slower = one(pair, siti, "me too", RATE_ID)
    with pair.bob.store.transaction():
        pair.bob.store._run("UPDATE outbox SET max_price = 0")
    quote = msgspec.structs.replace(signed.line, opener=opener)
    answer(pair, slower, refusal(pair, slower, RefusalCode.BAD_PARAMETER, quote, held))
    assert status(pair.bob, inner_id) is Status.QUEUED
    (again,) = pair.prepare(pair.bob)
    charge, _ = hashed(pair, again)
    assert (charge.line, charge.pass_hash) == (quote, held.hash)


def test_a_conversation_that_somebody_else_opened_may_cost(pair: Pair) -> None:
    """A relay could invent the opener: then this message would be the one that is paid."""
    _, siti = pair.open_shop("conversation-2022")
    for max_price, expected in ((0, Status.FAILED), (RATE_ID, Status.QUEUED)):
        inner_id, ready = one(pair, siti, "hello", RATE_ID)
        with pair.bob.store.transaction():
            pair.bob.store._run("UPDATE outbox SET max_price = ?", max_price)
        signed, _ = hashed(pair, ready)
        held = pass_of(pair, ready, CONVERSATION, opener=digest("invented"))
        quote = msgspec.structs.replace(signed.line, opener=held.opener)
        answer(pair, ready, refusal(pair, ready, RefusalCode.BAD_PARAMETER, quote, held))
        assert status(pair.bob, inner_id) is expected
        with pair.bob.store.transaction():
            pair.bob.store.drop_passes(siti.id)


def test_a_covered_line_never_costs_more_than_what_was_accepted(pair: Pair) -> None:
    """The pass says that our own opener was of the dearer class."""
    _, siti = pair.open_shop("conversation-2022")
    _, ours = one(pair, siti, "first", RATE_ID)
    answer(pair, ours, receipt(pair, ours, pass_of(pair, ours, CONVERSATION, Class.OUT_OF_WINDOW)))
    due = offer(pair.bob.store, siti, pair.clock.now)
    assert due.price_micro_usd == MARKETING - RATE_ID


@pytest.mark.parametrize("wrong", ["signature", "mailbox"])
def test_a_pass_that_is_not_the_relays_is_refused(pair: Pair, wrong: str) -> None:
    _, siti = pair.open_shop("conversation-2022")
    _, ready = one(pair, siti, "first", RATE_ID)
    earned = pass_of(pair, ready, CONVERSATION)
    if wrong == "signature":
        earned = msgspec.structs.replace(earned, until=earned.until + 1)
    else:
        charge, _ = hashed(pair, ready)
        signed = pass_message(pair.relay.id, charge.business_id, MailboxId(bytes(32)), earned)
        earned = msgspec.structs.replace(earned, signature=pair.relay.receipt.sign(signed))
    with pytest.raises(RelayError, match="receipt is not in order"):
        answer(pair, ready, receipt(pair, ready, earned))
    assert pair.bob.store.passes(siti.id) == []


ANSWERS_OF_NOBODY = [
    ("receipt", "signature", "receipt is not in order"),
    ("receipt", "charge", "receipt is for another charge"),
    ("refusal", "signature", "refusal is not in order"),
    ("refusal", "business", "refusal is not in order"),
    ("refusal", "charge", "refused another charge"),
]


@pytest.mark.parametrize(("kind", "wrong", "words"), ANSWERS_OF_NOBODY)
def test_an_answer_that_is_not_the_relays_to_this_charge_changes_nothing(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, kind: str, wrong: str, words: str
) -> None:
    _, siti = pair.open_shop()
    _, other = one(pair, siti, "first")
    inner_id, ready = one(pair, siti, "second")
    about = other if wrong == "charge" else ready
    if wrong == "signature":
        monkeypatch.setattr(pair.relay, "receipt", SigningKeyPair.generate())
    if kind == "receipt":
        result = receipt(pair, about)
    else:
        to = BusinessId(bytes(32)) if wrong == "business" else None
        code = RefusalCode.OUTSIDE_WINDOW
        result = refusal(pair, about, code, RATE_ID, business_id=to)
    tables = ("outbox", "charge", "pass", "message", "meta")
    before = {name: pair.bob.store._all(f"SELECT * FROM {name}") for name in tables}
    with pytest.raises(RelayError, match=words):
        answer(pair, ready, result)
    assert {name: pair.bob.store._all(f"SELECT * FROM {name}") for name in tables} == before
    assert status(pair.bob, inner_id) is Status.QUEUED


def test_a_customer_with_a_new_mailbox_has_no_passes(pair: Pair) -> None:
    _, siti = pair.open_shop("conversation-2022")
    opened(pair, siti)
    with pair.bob.store.transaction():
        evidence.forget(pair.bob.store, siti.id)
    assert pair.bob.store.passes(siti.id) == []
    assert pair.bob.store.contact(siti.id).permit is None


def test_a_quote_by_another_tariff_is_not_signed(pair: Pair) -> None:
    _, siti = pair.open_shop("message-2025")
    inner_id, ready = one(pair, siti, "hello", 10 * RATE_ID)
    answer(pair, ready, refusal(pair, ready, RefusalCode.OUTSIDE_WINDOW, RATE_ID))
    assert pair.bob.store.get("terms_wanted")  # the operator may have changed them just now
    assert pair.prepare(pair.bob) == []
    assert status(pair.bob, inner_id) is Status.FAILED
    assert "quotes by the tariff reply-2018, but your terms say message-2025" in told(pair)


def test_nothing_is_signed_by_a_card_that_is_not_in_force_yet(pair: Pair) -> None:
    """Our clock may be five minutes behind the relay's, as elsewhere."""
    _, siti = pair.open_shop()
    since = pair.clock.now + HOUR
    body = canonical(msgspec.structs.replace(bundled(), version=2, effective_from=since))
    signature = pair.relay.operator.sign(rate_card_message(pair.relay.id, body))
    with pair.bob.store.transaction():
        pair.bob.store.put("rate_card", signed_rate_card(body, signature))
    pair.clock.now = since - CLOCK_SKEW - 1
    inner_id = say(pair, pair.bob, siti, "hello")
    assert pair.prepare(pair.bob) == []
    assert status(pair.bob, inner_id) is Status.FAILED
    assert "version 2 of its rate card, which is in force only from 2026-09-21" in told(pair)
    pair.clock.now += 1
    _, ready = one(pair, siti, "hello")
    assert hashed(pair, ready)[0].line.rate_card == rate_card_hash(body)


@pytest.mark.parametrize("category", [Category.MARKETING, Category.NONE])
def test_a_quote_of_another_category_is_not_signed(pair: Pair, category: Category) -> None:
    _, siti = pair.open_shop("message-2025")
    inner_id, ready = one(pair, siti, "hello", 10 * RATE_ID)
    line = hashed(pair, ready)[0].line
    quote = msgspec.structs.replace(line, category=category, list_price=MARKETING)
    answer(pair, ready, refusal(pair, ready, RefusalCode.BAD_PARAMETER, quote))
    assert pair.prepare(pair.bob) == []
    assert status(pair.bob, inner_id) is Status.FAILED


def test_a_window_that_opened_just_now_is_open_for_the_relay_too(pair: Pair) -> None:
    """Else every answer in the first minutes could be quoted as one outside of the window."""
    _, siti = pair.open_shop("message-2026")
    inner_id = say(pair, pair.bob, siti, "parcel", 10 * RATE_ID, Category.UTILITY)
    (ready,) = pair.prepare(pair.bob)
    line = hashed(pair, ready)[0].line
    quote = msgspec.structs.replace(line, klass=Class.OUT_OF_WINDOW)
    answer(pair, ready, refusal(pair, ready, RefusalCode.OUTSIDE_WINDOW, quote))
    pair.prepare(pair.bob)
    # Under this tariff the price is the same, but the class counts as a conversation started.
    assert status(pair.bob, inner_id) is Status.FAILED


def test_an_own_line_that_is_quoted_back_is_signed_anew_with_a_higher_number(pair: Pair) -> None:
    """Others of this lane went before it while it waited."""
    _, siti = pair.open_shop()
    inner_id, ready = one(pair, siti, "hello")
    charge, _ = hashed(pair, ready)
    refused = refusal(pair, ready, RefusalCode.BAD_PARAMETER, charge.line)
    assert answer(pair, ready, refused) == Pause(PACE, codes.RATE)
    assert status(pair.bob, inner_id) is Status.QUEUED
    (again,) = pair.prepare(pair.bob)
    assert hashed(pair, again)[0].lane_seq > charge.lane_seq


def test_too_fast_says_what_is_left(pair: Pair) -> None:
    _, siti = pair.open_shop()
    _, ready = one(pair, siti, "hello")
    refused = refusal(pair, ready, RefusalCode.RATE_LIMIT, None, retry_after=2, left=0)
    pause = answer(pair, ready, refused)
    assert pause is not None
    assert pause.seconds == 2
    assert pause.why == "too many messages at once (130429, 0 left now)"


def test_what_has_to_wait_for_hours_is_put_off_and_told_and_holds_up_nobody(pair: Pair) -> None:
    _, siti = pair.open_shop()
    first, second = many(pair, siti, 2)
    pair.clock.now += 2 * DAY
    inner_id, ready = one(pair, first, "news", RATE_ID)
    refused = refusal(pair, ready, RefusalCode.RATE_LIMIT, None, retry_after=3 * HOUR, left=0)
    assert answer(pair, ready, refused) is None
    assert status(pair.bob, inner_id) is Status.QUEUED
    assert "waits 180 minutes: too many messages at once (130429, 0 left now)" in told(pair)
    later = say(pair, pair.bob, first, "more news", RATE_ID)
    say(pair, pair.bob, second, "news", RATE_ID)
    assert [item.row.contact for item in pair.prepare(pair.bob)] == [second.id]
    assert pair.bob.store.next_due(pair.clock.now) == pair.clock.now + 3 * HOUR
    pair.clock.now += 3 * HOUR
    waiting = [item.row.inner_id for item in pair.prepare(pair.bob)]
    assert waiting[:2] == [inner_id, later]


def test_who_has_no_start_left_is_told_what_the_terms_say(pair: Pair) -> None:
    _, siti = pair.open_shop()
    with pair.bob.store.transaction():
        pair.bob.store.put("terms", pair.agree("reply-2018", starts=250))
    for wait, words in ((0, "too many messages at once"), (2 * DAY, "write to 250 customers")):
        pair.clock.now += wait
        _, ready = one(pair, siti, "news", RATE_ID)
        answer(pair, ready, refusal(pair, ready, RefusalCode.RATE_LIMIT, None, retry_after=HOUR))
        assert words in told(pair)
        with pair.bob.store.transaction():
            pair.bob.store.drop_outgoing(ready.row.n)


def test_a_customer_who_writes_meanwhile_is_answered_at_once(pair: Pair) -> None:
    shop, siti = pair.open_shop()
    pair.clock.now += 2 * DAY
    _, ready = one(pair, siti, "news", RATE_ID)
    answer(pair, ready, refusal(pair, ready, RefusalCode.RATE_LIMIT, None, retry_after=3 * HOUR))
    assert pair.prepare(pair.bob) == []
    with pair.alice.store.transaction():
        outbox.queue(pair.alice.store, shop.id, 1, "hello?", pair.clock.now)
    pair.carry(pair.alice, pair.bob)
    (again,) = pair.prepare(pair.bob)
    charge, _ = hashed(pair, again)
    assert (charge.line.list_price, charge.grant is None) == (0, False)


def test_clocks_that_differ_do_not_shut_what_has_just_begun(pair: Pair) -> None:
    """Ours is behind the relay's, whose beacon and second stand in grant and pass."""
    _, siti = pair.open_shop("conversation-2022")
    opened(pair, siti)
    now = pair.clock.now - 200
    due = offer(pair.bob.store, siti, now)
    assert (due.price_micro_usd, due.window is None) == (0, False)


def test_a_grant_of_the_future_is_not_shown(pair: Pair) -> None:
    """The relay would not know its beacon."""
    _, siti = pair.open_shop()
    pair.clock.now -= HOUR
    assert offer(pair.bob.store, siti, pair.clock.now).price_micro_usd == RATE_ID


def test_a_pass_of_an_opener_that_was_refused_covers_nothing_for_free(pair: Pair) -> None:
    _, siti = pair.open_shop("conversation-2022")
    _, ours = one(pair, siti, "first", RATE_ID)
    answer(pair, ours, refusal(pair, ours, RefusalCode.UNDELIVERABLE, None))
    with pair.bob.store.transaction():
        pair.bob.store.put_pass(siti.id, CONVERSATION, pack(pass_of(pair, ours, CONVERSATION)))
    assert offer(pair.bob.store, siti, pair.clock.now).price_micro_usd == RATE_ID


def test_a_pass_that_ended_just_now_may_still_hold_for_the_relay(pair: Pair) -> None:
    """Its clock is a little behind; then the message is covered."""
    _, siti = pair.open_shop("conversation-2022")
    first = opened(pair, siti)
    quote = msgspec.structs.replace(hashed(pair, first)[0].line, opener=hashed(pair, first)[1])
    for late, expected in ((100, Status.QUEUED), (400, Status.FAILED)):
        pair.clock.now = first.row.made_at + DAY + late
        inner_id, ready = one(pair, siti, "hello", MARKETING)
        answer(pair, ready, refusal(pair, ready, RefusalCode.BAD_PARAMETER, quote))
        pair.prepare(pair.bob)
        assert status(pair.bob, inner_id) is expected
        with pair.bob.store.transaction():
            pair.bob.store._run("DELETE FROM outbox")


def test_a_pass_that_ended_is_no_reason_to_pay_more(pair: Pair) -> None:
    """Opened by somebody else, out of the window; since then the customer wrote."""
    shop, siti = pair.open_shop("conversation-2022")
    _, ready = one(pair, siti, "first", RATE_ID)
    other = digest("invented")
    held = pass_of(pair, ready, CONVERSATION, Class.OUT_OF_WINDOW, other)
    with pair.bob.store.transaction():
        pair.bob.store._run("DELETE FROM outbox")
        pair.bob.store.put_pass(siti.id, CONVERSATION, pack(held))
    pair.clock.now += DAY + 100
    with pair.alice.store.transaction():
        outbox.queue(pair.alice.store, shop.id, 1, "hello?", pair.clock.now)
    pair.carry(pair.alice, pair.bob)
    inner_id, ready = one(pair, siti, "hello", MARKETING)
    line = hashed(pair, ready)[0].line
    assert (line.list_price, line.opener) == (RATE_ID, NO_HASH)
    quote = msgspec.structs.replace(
        line, klass=Class.OUT_OF_WINDOW, list_price=MARKETING, opener=other
    )
    answer(pair, ready, refusal(pair, ready, RefusalCode.BAD_PARAMETER, quote))
    assert pair.prepare(pair.bob) == []
    assert status(pair.bob, inner_id) is Status.FAILED


def test_after_one_quote_no_other_price_is_followed(pair: Pair) -> None:
    _, siti = pair.open_shop()
    pair.clock.now += DAY - 100
    inner_id, ready = one(pair, siti, "welcome", 10 * RATE_ID)
    answer(pair, ready, refusal(pair, ready, RefusalCode.OUTSIDE_WINDOW, RATE_ID))
    (again,) = pair.prepare(pair.bob)
    answer(pair, again, refusal(pair, again, RefusalCode.BAD_PARAMETER, 2 * RATE_ID))
    assert status(pair.bob, inner_id) is Status.FAILED  # at once, not when it is next priced


def test_an_older_pass_never_replaces_a_newer_one(pair: Pair) -> None:
    _, siti = pair.open_shop("conversation-2022")
    _, ready = one(pair, siti, "first", RATE_ID)
    older = pass_of(pair, ready, CONVERSATION)
    pair.clock.now += 60
    newer = pass_of(pair, ready, CONVERSATION)
    charge, _ = hashed(pair, ready)
    with pair.bob.store.transaction():
        for learned in (newer, older):
            evidence.learn_pass(
                pair.bob.store,
                siti,
                learned,
                MailboxId(ready.submission.mailbox_id),
                pair.relay.receipt.public,
                pair.relay.id,
                charge.business_id,
            )
    (kept,) = pair.bob.store.passes(siti.id)
    assert kept.body == pack(newer)


def test_a_pass_for_a_mailbox_that_the_customer_left_is_not_kept(pair: Pair) -> None:
    _, siti = pair.open_shop("conversation-2022")
    _, ready = one(pair, siti, "first", RATE_ID)
    there = msgspec.structs.replace(destination(siti), mailbox_id=bytes(32))
    with pair.bob.store.transaction():
        pair.bob.store.set_contact(siti.id, address=pack(there))
    answer(pair, ready, receipt(pair, ready, pass_of(pair, ready, CONVERSATION)))
    assert pair.bob.store.passes(siti.id) == []
