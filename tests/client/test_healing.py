"""A home that was set back agrees on fresh keys by itself; nothing is lost, shown twice or taken on
trust on the way."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from kurir_client import engine, healing, inbox, outbox
from kurir_client.cli import sending
from kurir_client.cli.output import Output
from kurir_client.content import RESTART, Destination
from kurir_client.messenger import Messenger
from kurir_client.outbox import Ready
from kurir_client.profile import Profile
from kurir_client.schema import Role, Status
from kurir_crypto.keys import IdentityKeyPair
from kurir_crypto.restart import OneUseKeys
from kurir_crypto.sealing import Binding, MailboxKey
from kurir_wire import codes
from kurir_wire.codec import pack, unpack
from kurir_wire.entries import Delivery, Result, Submission
from kurir_wire.ids import DAY, HOUR, EnvelopeId, MailboxId
from tests.client.copies import NAMES, Copies, chosen, set_back
from tests.client.pair import START


def sessions_of(copies: Copies, name: str) -> list[Any]:
    return copies.profile(name).store._all("SELECT id, state, archived FROM session ORDER BY id")


def prekeys_of(profile: Profile) -> int:
    return len(profile.store._all("SELECT * FROM prekey"))


def request(copies: Copies, name: str = "alice") -> Ready:
    """The request that waits, ready to leave."""
    healing.ask_all(copies.profile(name).store, copies.clock.now)
    (ready,) = copies.prepare(copies.profile(name))
    assert ready.row.kind == RESTART
    return ready


# a restored home


def test_it_sends_on_none_of_its_sessions_and_says_so(copies: Copies) -> None:
    set_back(copies)
    assert chosen(copies, "alice") is None
    copies.say("alice", "are you there?")
    assert [item.row.kind for item in copies.prepare(copies.alice)] == []
    (note,) = [note for note in copies.notes("alice") if "restored" in note]
    assert "fresh keys are being agreed with 1 contact;" in note
    told = [item for item in copies.alice.store.unread() if item.text == note]
    assert [item.contact for item in told] == [None]
    assert copies.alice.store.get("sessions_from") == str(copies.clock.now // 60).encode()


def test_the_command_line_says_what_a_message_waits_for(
    copies: Copies, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    set_back(copies)

    async def flush(_: Messenger) -> None:
        copies.send("alice")

    monkeypatch.setattr(sending, "flush", flush)
    said, talk = copies.say("alice", "are you there?"), Messenger(copies.alice)
    out = Output(as_json=False, ascii_only=True)
    sending.deliver_now(out, talk, copies.contact("alice"), said)
    assert "queued here: fresh keys are being agreed with Bob" in capsys.readouterr().out
    copies.settle()
    sending.deliver_now(out, talk, copies.contact("alice"), said)
    assert capsys.readouterr().out == "v Bob: the relay has it\n"


def test_it_heals_by_itself(copies: Copies) -> None:
    with copies.bob.store.transaction():
        copies.bob.store.set_contact(copies.contact("bob").id, verified_on=copies.clock.now)
    before = {name: copies.contact(name) for name in NAMES}
    set_back(copies)
    copies.say("alice", "are you there?")
    copies.settle()
    assert copies.texts("bob")[-1] == "are you there?"
    assert chosen(copies, "alice") == chosen(copies, "bob") is not None
    copies.talk("all is well")
    for name in NAMES:
        after = copies.contact(name)
        assert not after.wants_session
        for field in ("name", "kind", "sign_pk", "identity", "state", "verified_on", "address"):
            assert getattr(after, field) == getattr(before[name], field)
        assert after.introduced
    assert sum("asked for fresh keys" in note for note in copies.notes("bob")) == 1
    assert not any("asked for fresh keys" in note for note in copies.notes("alice"))


def test_what_came_after_the_copy_comes_again_and_is_shown_once(copies: Copies) -> None:
    set_back(copies)
    assert copies.texts("alice") == []
    copies.settle()
    assert copies.texts("alice") == ["hello of bob", "and again of bob"]
    assert copies.texts("bob") == ["hello of alice", "and again of alice"]


def test_what_is_under_way_both_ways_is_shown_once(copies: Copies) -> None:
    old = copies.copy("alice")
    copies.talk("hello")
    copies.say("alice", "sent before")
    copies.send("alice")
    copies.say("bob", "sent meanwhile")
    copies.send("bob")
    copies.put_back("alice", old)
    copies.say("alice", "sent after")
    copies.settle()
    assert copies.texts("bob") == ["hello of alice", "sent before", "sent after"]
    assert sorted(copies.texts("alice")) == ["hello of bob", "sent meanwhile"]


def test_what_was_wired_when_the_copy_was_made_is_encrypted_anew(copies: Copies) -> None:
    copies.say("alice", "hello")
    (first,) = copies.prepare(copies.alice)
    old = copies.copy("alice")
    copies.talk("meanwhile")
    copies.put_back("alice", old)
    assert [row.wire for row in copies.alice.store.outgoing(9, copies.clock.now)] == []
    copies.settle()
    copies.deliver(first, copies.bob)
    assert copies.texts("bob") == ["hello", "meanwhile of alice"]


def test_both_restored_at_once_converge(copies: Copies) -> None:
    old = {name: copies.copy(name) for name in NAMES}
    copies.talk("hello")
    for name in NAMES:
        copies.put_back(name, old[name])
        copies.say(name, f"{name} is back")
    for name in NAMES:  # both requests are under way before either is read
        assert copies.send(name) == 1
    copies.settle()
    assert chosen(copies, "alice") == chosen(copies, "bob") is not None
    assert copies.texts("bob") == ["alice is back"]
    assert copies.texts("alice") == ["bob is back"]
    copies.talk("all is well")


def test_who_was_asked_need_not_ask(copies: Copies) -> None:
    old = {name: copies.copy(name) for name in NAMES}
    copies.talk("hello")
    for name in NAMES:
        copies.put_back(name, old[name])
    copies.send("bob")
    healing.ask_all(copies.alice.store, copies.clock.now)
    copies.take_all("alice")
    assert not copies.alice.store.asks_for_session(copies.contact("alice").id)
    copies.settle()
    copies.talk("all is well")
    assert len(sessions_of(copies, "alice")) == 2


def test_what_the_peer_had_wired_goes_out_under_the_fresh_keys(copies: Copies) -> None:
    set_back(copies)
    copies.say("bob", "lost on the way to the relay")
    (wired,) = copies.prepare(copies.bob)
    copies.send("alice")
    copies.take_all("bob")
    sent = {item.row.inner_id: item.submission for item in copies.prepare(copies.bob)}
    assert sent[wired.row.inner_id] != wired.submission
    copies.settle()
    assert "lost on the way to the relay" in copies.texts("alice")


def test_restored_twice(copies: Copies) -> None:
    set_back(copies)
    healing_copy = copies.copy("alice")  # asks, and is set back to before it asked
    copies.settle()
    copies.talk("first time")
    copies.put_back("alice", healing_copy)
    copies.settle()
    copies.talk("second time")
    assert copies.texts("bob") == [
        f"{text} of alice" for text in ("hello", "and again", "first time", "second time")
    ]


def test_they_tell_each_other_again_where_to_answer(copies: Copies) -> None:
    """The copy may be of a time when an invite was all that was known of the other."""
    set_back(copies)
    told = copies.contact("alice").address
    by_invite = msgspec.structs.replace(unpack(told or b"", Destination), read_pk=None)
    with copies.alice.store.transaction():
        copies.alice.store.set_contact(copies.contact("alice").id, address=pack(by_invite))
    copies.settle()
    assert copies.contact("alice").address == told
    copies.talk("all is well")


# the request


def test_to_the_relay_it_is_an_envelope_like_any_other(copies: Copies) -> None:
    set_back(copies)
    ready = request(copies)
    copies.say("bob", "x" * 1_000)
    (usual,) = copies.prepare(copies.bob)
    assert len(ready.submission.body) == len(usual.submission.body) == 4_096
    told = {name for name in Submission.__struct_fields__ if getattr(ready.submission, name)}
    assert told == {
        name for name in Submission.__struct_fields__ if getattr(usual.submission, name)
    }
    assert copies.alice.store.queued() == 0


def test_it_goes_before_what_waits(copies: Copies) -> None:
    set_back(copies)
    for number in range(outbox.BATCH * 4 + 1):
        copies.say("alice", f"number {number}")
    assert request(copies).row.n > 1


def test_the_same_bytes_go_out_again_after_a_crash(copies: Copies) -> None:
    set_back(copies)
    first = request(copies)
    copies.alice = copies.reopen(copies.alice)
    assert request(copies).submission == first.submission
    for _ in range(2):
        copies.deliver(first, copies.bob)
    copies.settle()
    copies.talk("all is well")
    assert len(sessions_of(copies, "bob")) == 2


def test_requests_without_end_make_no_flood(copies: Copies) -> None:
    for number in range(50):
        copies.say("alice", f"number {number}")
    copies.settle()

    def ask(times: int) -> int:
        bob, sent = copies.bob, 0
        for _ in range(times):
            with bob.store.transaction():
                submission = outbox._seal_request(bob, copies.contact("bob"), copies.clock.now)
            envelope = Delivery(
                submission.mailbox_id, submission.envelope_id, submission.body, None
            )
            ack = inbox.receive(copies.alice, envelope, copies.clock.now)
            assert ack.envelope_id == submission.envelope_id
            sent += copies.send("alice")
        return sent

    assert ask(45) == healing.ANSWERS * 51
    assert len(sessions_of(copies, "alice")) == 1 + healing.ANSWERS
    copies.clock.now += 2 * HOUR
    assert ask(1) == 51, "one that comes later is answered"
    copies.settle()
    copies.talk("all is well")


def test_while_one_waits_there_is_no_second(copies: Copies) -> None:
    set_back(copies)
    for _ in range(3):
        healing.ask_all(copies.alice.store, copies.clock.now)
        copies.clock.now += 2 * DAY
    assert len(copies.alice.store.waiting_for(copies.contact("alice").id)) == 1


def test_one_that_was_lost_is_repeated_the_next_day_and_not_before(copies: Copies) -> None:
    set_back(copies)
    assert copies.send("alice") == 1
    copies.on_the_way["bob"].clear()
    for _ in range(3):
        assert copies.send("alice") == 0
        copies.clock.now += 8 * HOUR - 1
    copies.clock.now += 3
    assert copies.send("alice") == 1
    copies.settle()
    copies.talk("all is well")


def test_many_that_waited_are_all_answered_at_once(copies: Copies) -> None:
    set_back(copies)
    for _ in range(30):
        assert copies.send("alice") == 1
        copies.clock.now += DAY
    copies.say("bob", "I was away")
    copies.take_all("bob")
    copies.settle()
    assert copies.texts("alice")[-1] == "I was away"
    assert chosen(copies, "alice") == chosen(copies, "bob") is not None
    copies.talk("all is well")


def test_a_clock_that_was_set_back_does_not_keep_it(copies: Copies) -> None:
    set_back(copies)
    copies.clock.now += 1_000 * DAY
    copies.send("alice")
    copies.on_the_way["bob"].clear()
    copies.clock.now -= 1_000 * DAY
    assert copies.send("alice") == 1


def test_its_prekeys_are_gone_when_they_were_used(copies: Copies) -> None:
    set_back(copies)
    before = prekeys_of(copies.alice)
    copies.send("alice")
    assert prekeys_of(copies.alice) == before + 3
    copies.settle()
    assert prekeys_of(copies.alice) == before


def test_within_another_envelope_it_does_not_open(copies: Copies) -> None:
    set_back(copies)
    good = copies.delivery(request(copies))
    before = sessions_of(copies, "bob")
    bad = msgspec.structs.replace(good, envelope_id=os.urandom(16))
    inbox.receive(copies.bob, bad, copies.clock.now)
    assert sessions_of(copies, "bob") == before
    assert outbox.prepare(copies.bob, copies.relay.beacon(copies.clock.now), copies.clock.now) == []


@pytest.mark.parametrize("whose", ["sealed for another place", "another identity"])
def test_whoever_may_write_cannot_ask_in_another_name(copies: Copies, whose: str) -> None:
    """The mailbox's key and token do not make a request: they were in an invite's link once."""
    set_back(copies)
    before = sessions_of(copies, "bob")
    there = unpack(copies.contact("alice").address or b"", Destination)
    route = engine.PersonRoute(
        MailboxId(there.mailbox_id), there.opening, MailboxKey(there.week, there.key)
    )
    if whose == "another identity":
        mallory = IdentityKeyPair.generate()
        made = engine.seal_request(mallory, OneUseKeys.generate(mallory, 1), route, START)
        forged = Delivery(made.mailbox_id, made.envelope_id, made.body)
    else:
        ready = request(copies)
        good = copies.delivery(ready)
        unsealed = engine.unseal(good, route.key, copies.relay.id, None, copies.clock.now)
        envelope_id = os.urandom(16)
        binding = Binding(route.mailbox_id, EnvelopeId(envelope_id))
        body = engine.seal_body(route.key, copies.clock.now, binding, unsealed.data, 4_096)
        forged = Delivery(good.mailbox_id, envelope_id, body)
    inbox.receive(copies.bob, forged, copies.clock.now)
    assert sessions_of(copies, "bob") == before
    assert copies.prepare(copies.bob) == []
    assert "could not be read" in copies.notes("bob")[-1]


@pytest.mark.parametrize("state", ["mistrusted", "changed"])
def test_nobody_who_is_not_trusted_gets_fresh_keys(copies: Copies, state: str) -> None:
    set_back(copies)
    bob = copies.bob.store
    with bob.transaction():
        bob.set_contact(copies.contact("bob").id, state=state)
    before = sessions_of(copies, "bob")
    copies.settle()
    assert sessions_of(copies, "bob") == before
    assert "do not trust" in copies.notes("bob")[-1]
    Messenger(copies.bob).set_verified(copies.contact("bob"), True)
    copies.clock.now += DAY
    copies.settle()
    copies.talk("all is well")


@pytest.mark.parametrize("state", ["mistrusted", "changed"])
def test_nobody_who_is_not_trusted_is_asked(copies: Copies, state: str) -> None:
    set_back(copies)
    with copies.alice.store.transaction():
        copies.alice.store.set_contact(copies.contact("alice").id, state=state)
    assert copies.send("alice") == 0


def test_a_stranger_cannot_ask(copies: Copies) -> None:
    set_back(copies)
    bob = copies.bob.store
    with bob.transaction():
        for mailbox in bob.mailboxes("live", "new"):
            bob.set_mailbox(mailbox.id, contact=None, role=Role.INVITE)
    before = sessions_of(copies, "bob")
    copies.settle()
    assert sessions_of(copies, "bob") == before


def test_if_their_mailbox_is_gone_nothing_waits_for_ever(copies: Copies) -> None:
    set_back(copies)
    said = copies.say("alice", "are you there?")
    gone = Result(codes.NO_MAILBOX, "there is no such mailbox")
    outbox.answered(copies.alice, request(copies), gone, copies.relay.cert)
    sent = copies.alice.store.message_sent(said)
    assert sent is not None
    assert sent.status is Status.FAILED
    assert "meet again by a new invite" in copies.notes("alice")[-1]
    assert copies.alice.store.addressed() == set()


# what goes out again


def test_what_is_sent_again_is_of_the_past_week_and_bounded(copies: Copies) -> None:
    old = copies.copy("alice")
    copies.say("bob", "long ago")
    copies.settle()
    copies.clock.now += healing.SEND_AGAIN + 1
    for number in range(healing.SEND_AGAIN_MOST + 1):
        copies.say("bob", f"number {number}")
    copies.settle()
    failed = copies.say("bob", "failed")
    with copies.bob.store.transaction():
        row = copies.bob.store.waiting_for(copies.contact("bob").id)[0]
        copies.bob.store.drop_outgoing(row.n)
        copies.bob.store.set_message(failed, Status.FAILED)
    copies.say("alice", "moves the mark")
    copies.settle()
    copies.put_back("alice", old)
    copies.settle()
    shown = [f"number {number}" for number in range(1, healing.SEND_AGAIN_MOST + 1)]
    assert copies.texts("alice") == shown


def test_two_requests_at_once_send_it_again_once(copies: Copies) -> None:
    set_back(copies)
    for _ in range(2):
        assert copies.send("alice") == 1
        copies.clock.now += DAY
    copies.take_all("bob")
    assert copies.bob.store.queued() == 2
    copies.settle()
    assert copies.texts("alice") == ["hello of bob", "and again of bob"]


def test_a_reader_who_has_it_does_not_see_it_again(copies: Copies) -> None:
    copies.talk("hello")
    copies.alice.mark.file.unlink()
    copies.alice = copies.reopen(copies.alice)
    copies.settle()
    assert copies.texts("alice") == ["hello of bob"]
    copies.clock.now += healing.SEND_AGAIN - HOUR
    copies.alice.mark.file.unlink()
    copies.alice = copies.reopen(copies.alice)
    with copies.alice.store.transaction():
        copies.alice.store.forget_before(copies.clock.now // DAY)
    copies.settle()
    assert copies.texts("alice") == ["hello of bob"]
