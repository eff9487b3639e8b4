"""What arrives is shown once, and nothing that was rejected changes anything."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from kurir_billing.charge import lock_of
from kurir_client import content as contents
from kurir_client import inbox
from kurir_client.errors import ProfileError, RelayError
from kurir_client.outbox import queue
from kurir_client.profile import Profile
from kurir_client.store import Store
from kurir_wire.entries import Label
from tests.client.lies import LIES, lying
from tests.client.pair import Pair

STATE_TABLES = ("contact", "mailbox", "invite", "prekey", "session", "outbox", "heard")


def state(profile: Profile) -> dict[str, list[Any]]:
    """Everything that a rejected envelope must leave as it was."""
    return {table: profile.store._all(f"SELECT * FROM {table}") for table in STATE_TABLES}


def say(profile: Profile, contact: int, text: str, now: int) -> None:
    with profile.store.transaction():
        queue(profile.store, contact, 1, text, now)


def texts(profile: Profile, direction: str = "in") -> list[str]:
    return [item.text for item in profile.store.unread() if item.direction == direction]


def test_friends_talk(pair: Pair) -> None:
    to_bob, to_alice = pair.befriend()
    assert (to_bob.introduced, to_alice.introduced) == (True, True)
    say(pair.alice, to_bob.id, "hello", pair.clock.now)
    say(pair.bob, to_alice.id, "hi", pair.clock.now)
    pair.carry(pair.alice, pair.bob)
    pair.carry(pair.bob, pair.alice)
    assert texts(pair.bob) == ["hello"]
    assert texts(pair.alice) == ["hi"]


def test_a_second_delivery_is_acknowledged_and_not_shown(pair: Pair) -> None:
    to_bob, _ = pair.befriend()
    say(pair.alice, to_bob.id, "once", pair.clock.now)
    (ready,) = pair.prepare(pair.alice)
    first = pair.deliver(ready, pair.bob)
    pair.bob = pair.reopen(pair.bob)
    assert pair.deliver(ready, pair.bob) == first
    assert texts(pair.bob) == ["once"]


def test_the_same_message_under_a_new_envelope_is_not_shown_again(pair: Pair) -> None:
    to_bob, _ = pair.befriend()
    say(pair.alice, to_bob.id, "once", pair.clock.now)
    (first,) = pair.prepare(pair.alice)
    pair.clock.now += 3_601  # the answer was lost for an hour: it is encrypted anew
    (second,) = pair.prepare(pair.alice)
    assert second.submission.envelope_id != first.submission.envelope_id
    pair.deliver(first, pair.bob)
    pair.deliver(second, pair.bob)
    assert texts(pair.bob) == ["once"]


@pytest.mark.parametrize("what", ["flip", "mailbox", "envelope", "label", "noise"])
def test_rejected_input_changes_nothing_and_is_told(pair: Pair, what: str) -> None:
    to_bob, to_alice = pair.befriend()
    say(pair.alice, to_bob.id, "secret", pair.clock.now)
    (ready,) = pair.prepare(pair.alice)
    good = pair.delivery(ready)
    before = state(pair.bob)
    changes: dict[str, dict[str, Any]] = {
        "flip": {"body": good.body[:99] + bytes([good.body[99] ^ 1]) + good.body[100:]},
        "mailbox": {"mailbox_id": to_alice.own_mailbox},
        "envelope": {"envelope_id": os.urandom(16)},
        "label": {"label": Label(bytes(32), 0, bytes(32), bytes(32))},
        "noise": {"body": os.urandom(len(good.body))},
    }
    changed = changes[what]
    bad = msgspec.structs.replace(good, **changed)
    if what == "mailbox":
        # Into another of his own mailboxes: one that was never used for this.
        bad = msgspec.structs.replace(bad, mailbox_id=_another_mailbox(pair))
        before = state(pair.bob)
    ack = inbox.receive(pair.bob, bad, pair.clock.now)
    assert ack.secret is None
    assert state(pair.bob) == before
    assert texts(pair.bob) == []
    assert any("could not be read" in note for note in texts(pair.bob, "note"))
    if what != "envelope" and bad.envelope_id == good.envelope_id and what != "mailbox":
        return  # the id is spent; the sender's retry comes under another one
    pair.deliver(ready, pair.bob)
    assert texts(pair.bob) == ["secret"]


def _another_mailbox(pair: Pair) -> bytes:
    from kurir_client import mailboxes
    from kurir_client.schema import Role
    from kurir_crypto.sealing import MailboxKey, week_of
    from kurir_wire.gates import token_gate

    now = pair.clock.now
    key = MailboxKey.generate(week_of(now))
    made = mailboxes.plan(Role.INVITE, pair.relay.id, token_gate(bytes(32)), bytes(32), key, now)
    with pair.bob.store.transaction():
        pair.bob.store.add_mailbox(made)
    return made.id


def test_a_delivery_into_no_mailbox_of_ours_is_not_acknowledged(pair: Pair) -> None:
    to_bob, _ = pair.befriend()
    say(pair.alice, to_bob.id, "hello", pair.clock.now)
    (ready,) = pair.prepare(pair.alice)
    with pytest.raises(RelayError):
        pair.deliver(ready, pair.alice)


def test_what_cannot_be_stored_is_not_acknowledged_and_comes_again(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    to_bob, _ = pair.befriend()
    say(pair.alice, to_bob.id, "hello", pair.clock.now)
    (ready,) = pair.prepare(pair.alice)

    def full(*_: object) -> None:
        raise ProfileError("the disk is full")

    before = state(pair.bob)
    for step in ("put_session", "add_message", "mark_seen", "first_time"):
        with monkeypatch.context() as broken:
            broken.setattr(Store, step, full)
            with pytest.raises(ProfileError):
                pair.deliver(ready, pair.bob)
        assert state(pair.bob) == before, step
    pair.bob = pair.reopen(pair.bob)
    pair.deliver(ready, pair.bob)
    assert texts(pair.bob) == ["hello"]


def test_a_business_answers_and_the_customer_settles(pair: Pair) -> None:
    _, siti = pair.open_shop()
    assert texts(pair.bob) == ["hello"]
    say(pair.bob, siti.id, "welcome", pair.clock.now)
    (ready,) = pair.prepare(pair.bob)
    label = pair.delivery(ready).label
    assert label is not None
    ack = pair.deliver(ready, pair.alice)
    assert ack.secret is not None
    assert lock_of(ack.secret) == label.lock
    (shown,) = pair.alice.store.unread()
    assert (shown.text, shown.category) == ("welcome", 0)


@pytest.mark.parametrize("part", ["business_id", "category", "frank", "lock"])
def test_a_label_that_the_message_does_not_confirm_is_not_shown_nor_settled(
    pair: Pair, part: str
) -> None:
    _, siti = pair.open_shop()
    say(pair.bob, siti.id, "welcome", pair.clock.now)
    (ready,) = pair.prepare(pair.bob)
    good = pair.delivery(ready)
    wrong: dict[str, object] = {part: 3 if part == "category" else os.urandom(32)}
    assert good.label is not None
    bad = msgspec.structs.replace(
        good,
        label=msgspec.structs.replace(good.label, **wrong),
    )
    before = state(pair.alice)
    assert inbox.receive(pair.alice, bad, pair.clock.now).secret is None
    assert state(pair.alice) == before
    assert texts(pair.alice) == []


@pytest.mark.parametrize("told", LIES)
def test_what_a_business_lied_about_is_not_shown_nor_settled_and_is_told(
    pair: Pair, told: str
) -> None:
    _, siti = pair.open_shop()
    say(pair.bob, siti.id, "welcome", pair.clock.now)
    with lying(told):
        (ready,) = pair.prepare(pair.bob)
    before = state(pair.alice)
    assert pair.deliver(ready, pair.alice).secret is None
    assert state(pair.alice) == before
    assert texts(pair.alice) == []
    assert texts(pair.alice, "note") == [f"a message from Shop could not be read: {told}"]


def test_an_unlabelled_envelope_in_a_paid_mailbox_is_not_shown(pair: Pair) -> None:
    _, siti = pair.open_shop()
    say(pair.bob, siti.id, "welcome", pair.clock.now)
    (ready,) = pair.prepare(pair.bob)
    bare = msgspec.structs.replace(pair.delivery(ready), label=None)
    assert inbox.receive(pair.alice, bare, pair.clock.now).secret is None
    assert texts(pair.alice) == []


@pytest.mark.parametrize("claim", [{"category": 77}, {"category": 2}, {"settle_key": bytes(32)}])
def test_a_person_cannot_claim_that_a_business_pays(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, claim: dict[str, object]
) -> None:
    to_bob, _ = pair.befriend()
    say(pair.alice, to_bob.id, "an offer", pair.clock.now)
    honest = contents.encode
    monkeypatch.setattr(
        contents, "encode", lambda made: honest(msgspec.structs.replace(made, **claim))
    )
    (ready,) = pair.prepare(pair.alice)
    pair.deliver(ready, pair.bob)
    assert texts(pair.bob) == []
