"""What cannot be read, though it was written by whom it should be, leads to fresh keys; and how a
business and its customer fare."""

from __future__ import annotations

import os

import pytest

from kurir_client import engine, healing, inbox, outbox, sessions
from kurir_client.content import HELLO, Content
from kurir_client.schema import Kind
from kurir_crypto import skipped
from kurir_crypto.restart import OneUseKeys
from kurir_crypto.sealing import Binding
from kurir_wire.entries import Delivery
from kurir_wire.ids import HOUR, EnvelopeId
from tests.client.copies import NAMES, Copies, chosen, other, set_back
from tests.client.pair import Pair


@pytest.mark.parametrize("name", NAMES)
def test_a_home_set_back_with_its_mark_is_noticed_by_the_peer(copies: Copies, name: str) -> None:
    set_back(copies, name, with_mark=True)
    assert not any("restored from a copy" in note for note in copies.notes(name))
    copies.say(name, "are you there?")
    copies.settle()
    assert copies.texts(other(name))[-1] == "are you there?"
    copies.talk("all is well")
    assert any("could not be read" in note for note in copies.notes(other(name)))
    assert any("asked for fresh keys" in note for note in copies.notes(name))


def test_prekeys_that_were_set_back_are_not_waited_for(copies: Copies) -> None:
    """Asking uses up no key of a session, so that the mark does not notice it."""
    copies.talk("hello")
    old = copies.copy("alice")
    with copies.alice.store.transaction():
        healing.ask(copies.alice.store, copies.contact("alice"), copies.clock.now)
    copies.send("alice")
    copies.take_all("bob")
    copies.put_back("alice", old)
    assert not any("restored from a copy" in note for note in copies.notes("alice"))
    copies.say("bob", "are you there?")
    copies.settle()
    assert copies.texts("alice")[-1] == "are you there?"
    copies.talk("all is well")


def test_more_lost_messages_than_are_bridged(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skipped, "MAX_JUMP", 3)
    copies.talk("hello")
    for number in range(6):
        copies.say("bob", f"number {number}")
    copies.send("bob")
    copies.on_the_way["alice"] = copies.on_the_way["alice"][-1:]
    copies.settle()
    assert copies.texts("alice") == ["hello of bob", *(f"number {number}" for number in range(6))]


def test_garbage_of_a_contact_asks_once_an_hour_and_is_told_once(copies: Copies) -> None:
    copies.talk("hello")
    route = outbox._to_person(copies.contact("alice"))
    asked = 0
    for _ in range(10):
        envelope_id = EnvelopeId(os.urandom(16))
        binding = Binding(route.mailbox_id, envelope_id)
        with copies.alice.store.transaction():
            session = sessions.to_send_on(
                copies.alice.store, copies.contact("alice").id, copies.clock.now
            )
        assert session is not None
        _, data, bucket = engine.encrypt(
            session, Content(HELLO, bytes(16), 1, 1), binding, address=False
        )
        data = data[:-1] + bytes([data[-1] ^ 1])
        body = engine.seal_body(route.key, copies.clock.now, binding, data, bucket)
        delivery = Delivery(route.mailbox_id, envelope_id, body)
        inbox.receive(copies.bob, delivery, copies.clock.now)
        asked += copies.send("bob")
        copies.clock.now += 1_200
    assert asked == 4
    assert sum("could not be read" in note for note in copies.notes("bob")) == 1


def test_noise_that_anybody_can_send_asks_for_nothing(copies: Copies) -> None:
    mailbox = copies.contact("bob").own_mailbox
    assert mailbox is not None
    for _ in range(3):
        noise = Delivery(mailbox, os.urandom(16), os.urandom(2_048))
        inbox.receive(copies.bob, noise, copies.clock.now)
    assert copies.send("bob") == 0
    assert sum("could not be read" in note for note in copies.notes("bob")) == 1


def test_a_damaged_session_is_said_once_and_replaced(copies: Copies) -> None:
    copies.talk("hello")
    with copies.alice.store.transaction():
        copies.alice.store._run("UPDATE session SET state = ?", b"damaged")
    for number in range(2):
        copies.say("alice", f"number {number}")
        assert copies.prepare(copies.alice) == []
    assert sum("damaged" in note for note in copies.notes("alice")) == 1
    copies.settle()
    assert copies.texts("bob")[-2:] == ["number 0", "number 1"]
    copies.talk("all is well")


def test_a_damaged_session_of_a_reader_is_replaced(copies: Copies) -> None:
    copies.talk("hello")
    with copies.alice.store.transaction():
        copies.alice.store._run("UPDATE session SET state = ?", b"damaged")
    copies.say("bob", "are you there?")
    copies.settle()
    assert copies.texts("alice")[-1] == "are you there?"
    copies.talk("all is well")


# with a business


def test_a_restored_business_signs_nothing_anew_that_it_signed(pair: Pair) -> None:
    _, siti = pair.open_shop()
    with pair.bob.store.transaction():
        outbox.queue(pair.bob.store, siti.id, 1, "signed", pair.clock.now)
    (first,) = pair.prepare(pair.bob)
    with pair.bob.store.transaction():
        outbox.queue(pair.bob.store, siti.id, 1, "waits", pair.clock.now)
    pair.bob.mark.file.unlink()
    pair.bob = pair.reopen(pair.bob)
    (again,) = pair.prepare(pair.bob)
    assert again.submission == first.submission
    assert again.submission.charge is not None
    assert pair.bob.store.queued() == 2


def test_what_a_business_sends_that_does_not_open_asks_for_its_card(pair: Pair) -> None:
    to_shop, siti = pair.open_shop()
    with pair.bob.store.transaction():
        outbox.queue(pair.bob.store, siti.id, 1, "welcome", pair.clock.now)
    (ready,) = pair.prepare(pair.bob)
    with pair.alice.store.transaction():
        session_id = pair.alice.store.live_sessions(to_shop.id)[0][0]
        pair.alice.store.delete_session(session_id, 0)
    assert pair.deliver(ready, pair.alice).secret is None
    after = pair.alice.store.contact(to_shop.id)
    assert (after.kind, after.wants_session) == (Kind.BUSINESS, True)
    assert "could not be read" in pair.alice.store.unread()[-1].text
    assert not pair.alice.store.asks_for_session(to_shop.id)


def test_what_devices_agree_opens_no_window(pair: Pair) -> None:
    to_shop, siti = pair.open_shop()
    opened = siti.permit
    pair.clock.now += HOUR
    with pair.alice.store.transaction():
        outbox.queue(pair.alice.store, to_shop.id, HELLO, "", pair.clock.now)
    pair.carry(pair.alice, pair.bob)
    assert pair.bob.store.contact(siti.id).permit == opened


def test_one_without_keys_does_not_hide_another(copies: Copies) -> None:
    set_back(copies)
    store = copies.alice.store
    to_bob = copies.contact("alice")
    with store.transaction():
        carol = store.add_contact("Carol", Kind.PERSON, address=to_bob.address)
        bundle = OneUseKeys.generate(copies.bob.identity, 1).bundle(copies.bob.identity.public)
        sessions.start(store, copies.alice.identity, carol.id, bundle, copies.clock.now)
        for number in range(outbox.BATCH * 4 + 1):
            outbox.queue(store, to_bob.id, 1, f"number {number}", copies.clock.now)
        outbox.queue(store, carol.id, 1, "hello", copies.clock.now)
    assert [item.row.contact for item in copies.prepare(copies.alice)] == [carol.id]


def test_a_peer_who_prefers_a_session_of_the_copy_is_asked_for_another(copies: Copies) -> None:
    """All can be read, so nobody would notice: but each session would go one way for ever."""
    copies.talk("hello")
    with copies.alice.store.transaction():
        healing.ask(copies.alice.store, copies.contact("alice"), copies.clock.now)
    copies.settle()
    preferred = chosen(copies, "bob")
    assert preferred is not None
    assert chosen(copies, "alice") == preferred
    with copies.alice.store.transaction():
        copies.alice.store.archive_session(preferred)
    copies.clock.now += HOUR
    assert chosen(copies, "alice") not in (None, preferred)
    copies.say("bob", "do you read me?")
    copies.settle()
    assert copies.texts("alice")[-1] == "do you read me?"
    assert chosen(copies, "alice") == chosen(copies, "bob") != preferred
    copies.talk("all is well")
