"""What the time deletes and replaces: keys that open old envelopes go, and a wrong clock takes
nothing along that is still needed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kurir_client import addresses, sessions, upkeep
from kurir_client.content import Destination
from kurir_client.messenger import Messenger
from kurir_client.profile import Profile
from kurir_client.schema import Invite, Role
from kurir_crypto.errors import CryptoError
from kurir_crypto.sealing import WEEKS_KEPT, Binding, MailboxKey, open_with, week_of
from kurir_wire.codec import pack, unpack
from kurir_wire.entries import Delivery
from kurir_wire.ids import DAY, HOUR, MINUTE, WEEK, EnvelopeId, MailboxId
from kurir_wire.limits import CLOCK_SKEW
from tests.client.copies import NAMES, Copies, chosen
from tests.client.fake_link import FakeLink
from tests.client.pair import START, Pair, prekeys


def opens(key: MailboxKey, now: int, envelope: Delivery) -> bool:
    binding = Binding(MailboxId(envelope.mailbox_id), EnvelopeId(envelope.envelope_id))
    try:
        open_with(key, week_of(now), binding, envelope.body)
    except CryptoError:
        return False
    return True


def their_key(profile: Profile) -> MailboxKey:
    (contact,) = profile.store.contacts()
    return addresses.destination(contact).mailbox_key


def own_weeks(profile: Profile) -> list[int]:
    boxes = profile.store.mailboxes("new", "live", "closing")
    return [MailboxKey.from_bytes(item.seal).week for item in boxes]


def meet(profile: Profile, pair: Pair, relay_now: int) -> Messenger:
    """A connection begins."""
    link: Any = FakeLink(pair, lambda _: None)
    link.relay_now = relay_now
    talk = Messenger(profile)
    talk._meet(link)
    talk._link = link
    return talk


def about_clock(profile: Profile) -> list[str]:
    return [item.text for item in profile.store.unread() if "clock is" in item.text]


# old envelopes


def test_stored_keys_open_only_the_envelopes_of_the_last_weeks(copies: Copies) -> None:
    copies.talk("hi")
    taken: list[Delivery] = []
    for _ in range(30):
        copies.clock.now += WEEK
        copies.say("bob", "a secret")
        copies.say("alice", "another")
        for name in NAMES:
            copies.send(name)
        taken += copies.on_the_way["alice"]
        copies.settle()
        for name in NAMES:
            upkeep.forget(copies.profile(name))
    now = copies.clock.now
    assert [opens(their_key(copies.bob), now, item) for item in taken] == [False] * 29 + [True]
    boxes = copies.alice.store.mailboxes("new", "live", "closing")
    keys = [MailboxKey.from_bytes(item.seal) for item in boxes]
    opened = [any(opens(key, now, item) for key in keys) for item in taken]
    assert opened == [False] * (29 - WEEKS_KEPT) + [True] * (WEEKS_KEPT + 1)


def test_keys_go_forward_when_a_message_is_sent(copies: Copies) -> None:
    copies.clock.now += WEEK
    copies.say("bob", "hello")
    copies.send("bob")
    assert their_key(copies.bob).week == week_of(copies.clock.now)


def test_keys_go_forward_where_nothing_is_sent_or_received(copies: Copies) -> None:
    copies.clock.now += 20 * WEEK
    week = week_of(copies.clock.now)
    meet(copies.alice, copies, copies.clock.now)
    assert set(own_weeks(copies.alice)) == {week - WEEKS_KEPT}
    assert their_key(copies.alice).week == week


async def test_a_long_connection_forgets_each_day(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = meet(copies.alice, copies, copies.clock.now)
    copies.clock.now += 20 * WEEK

    async def stop(_: Messenger) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(Messenger, "caught_up", stop)
    with pytest.raises(asyncio.CancelledError):
        await talk._stay(lambda _: None, lambda: None)
    assert set(own_weeks(copies.alice)) == {week_of(copies.clock.now) - WEEKS_KEPT}


def test_where_to_answer_is_told_with_the_key_of_this_week(copies: Copies) -> None:
    copies.clock.now += 3 * WEEK
    now = copies.clock.now
    with copies.alice.store.transaction():
        to_bob = copies.contact("alice")
        copies.alice.store.set_contact(to_bob.id, introduced=False)
    intro = addresses.introduction(copies.alice, copies.contact("alice"), now)
    assert intro is not None
    assert intro.address.week == week_of(now)
    before = copies.contact("bob").address
    copies.talk("hello")
    there = unpack(copies.contact("bob").address or b"", Destination)
    assert there == unpack(before or b"", Destination).forward(week_of(now))


def test_a_key_that_went_too_far_is_told_again(copies: Copies) -> None:
    """As by a clock that was ahead, at a relay whose clock was ahead as well."""
    ahead = unpack(copies.contact("bob").address or b"", Destination).forward(week_of(START) + 9)
    with copies.bob.store.transaction():
        copies.bob.store.set_contact(copies.contact("bob").id, address=pack(ahead))
    with copies.alice.store.transaction():
        copies.alice.store.set_contact(copies.contact("alice").id, introduced=False)
    copies.say("alice", "hello")
    copies.settle()
    assert their_key(copies.bob).week == week_of(START)
    copies.talk("and again")


def test_the_secret_of_a_used_invite_is_forgotten(pair: Pair) -> None:
    pair.befriend()
    store = pair.alice.store
    (box,) = [item for item in store.mailboxes("new") if item.role is Role.INVITE]
    with store.transaction():
        store.add_invite(Invite(box.id, bytes(range(32)), "Bob", START, True, False, 7))
        store.set_invite(box.id)
        kept = store.invite(box.id)
        assert kept is not None
        assert kept.secret == bytes(range(32))
        store.set_invite(box.id, used=True)
    used = store.invite(box.id)
    assert used is not None
    assert (used.used, used.secret) == (True, b"")


# wrong clocks


@pytest.mark.parametrize("wrong", [CLOCK_SKEW + 1, -CLOCK_SKEW - 1])
def test_a_wrong_clock_is_told_once_per_connection(pair: Pair, wrong: int) -> None:
    word = "5 minutes ahead of" if wrong > 0 else "5 minutes behind"
    meet(pair.alice, pair, pair.clock.now - wrong)
    (note,) = about_clock(pair.alice)
    assert note.startswith(f"this computer's clock is {word} the relay's; set it right")


def test_a_clock_that_is_nearly_right_is_not_mentioned(pair: Pair) -> None:
    for wrong in (CLOCK_SKEW, -CLOCK_SKEW):
        meet(pair.alice, pair, pair.clock.now - wrong)
        assert pair.alice.clock() == pair.clock.now
    assert about_clock(pair.alice) == []


def stored(profile: Profile) -> dict[str, Any]:
    tables = ("seen", "heard", "former_session", "prekey", "envelope_key", "session", "mailbox")
    return {name: sorted(profile.store._all(f"SELECT * FROM {name}")) for name in tables}


def test_a_clock_that_is_months_ahead_deletes_nothing(copies: Copies) -> None:
    copies.talk("hello")
    with copies.alice.store.transaction():
        prekeys(copies.alice)
        copies.alice.store.delete_session(bytes(16), START // DAY)
    before, key = stored(copies.alice), their_key(copies.alice)
    assert all(before[name] for name in ("seen", "heard", "former_session", "prekey", "session"))
    copies.clock.now = START + 200 * DAY
    talk = meet(copies.alice, copies, START)
    assert copies.alice.clock() == START
    assert stored(copies.alice) == before
    assert their_key(copies.alice).to_bytes() == key.to_bytes()
    copies.clock.now = START
    meet(copies.alice, copies, START)
    assert copies.alice.clock() == START
    assert talk.profile.ahead == 0
    copies.talk("all is well")


def test_a_business_with_a_clock_ahead_keeps_its_keys(pair: Pair) -> None:
    pair.open_shop()
    before = stored(pair.bob)
    pair.clock.now += 200 * DAY
    meet(pair.bob, pair, START)
    assert stored(pair.bob) == before


async def test_a_clock_that_jumps_during_a_connection_deletes_nothing(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies.talk("hello")
    talk = meet(copies.alice, copies, START)
    beacon = copies.relay.beacon(START)

    async def fresh_beacon(_: FakeLink, now: int) -> Any:
        return beacon

    monkeypatch.setattr(FakeLink, "fresh_beacon", fresh_beacon)
    before = stored(copies.alice)
    copies.clock.now += 200 * DAY
    await talk._keep_up()
    assert stored(copies.alice) == before
    assert abs(copies.alice.clock() - START) <= MINUTE
    copies.clock.now = START
    await talk.flush()
    assert copies.alice.clock() == START


def test_a_session_is_started_by_the_relays_clock(copies: Copies) -> None:
    copies.talk("hello")
    copies.clock.now = START + 5 * DAY
    meet(copies.alice, copies, START)
    with copies.alice.store.transaction():
        bundle = prekeys(copies.bob)
        started = sessions.start(
            copies.alice.store,
            copies.alice.identity,
            copies.contact("alice").id,
            bundle,
            copies.alice.clock(),
        ).started
    assert started * MINUTE < START + HOUR


@pytest.mark.parametrize("ahead", [3 * HOUR, 5 * DAY])
def test_a_session_from_the_future_is_replaced_and_nothing_is_lost(
    copies: Copies, ahead: int
) -> None:
    copies.talk("hello")
    start_ahead(copies, ahead)
    copies.say("alice", "from the future")
    copies.settle()
    assert "from the future" in copies.texts("bob")
    assert chosen(copies, "alice") == chosen(copies, "bob")
    (note,) = [note for note in copies.notes("bob") if "could not be read" in note]
    assert "clock was ahead" in note
    copies.talk("all is well")
    assert copies.texts("bob").count("from the future") == 1


def test_both_have_a_session_from_the_future_and_heal(copies: Copies) -> None:
    """Both clocks were ahead; then both were set right, and one home was set back."""
    old = copies.copy("alice")
    copies.clock.now += 5 * DAY
    start_ahead(copies, 0)
    copies.talk("from the future")
    copies.clock.now -= 5 * DAY
    copies.put_back("alice", old)
    for number in range(6):
        copies.say("alice", f"a{number}")
        copies.say("bob", f"b{number}")
        copies.settle()
        copies.clock.now += HOUR
    assert set(copies.texts("bob")) >= {f"a{number}" for number in range(6)}
    assert set(copies.texts("alice")) >= {f"b{number}" for number in range(6)}
    assert chosen(copies, "alice") == chosen(copies, "bob")


def start_ahead(copies: Copies, ahead: int) -> None:
    """Alice starts a session whose time is so many seconds ahead."""
    with copies.bob.store.transaction():
        bundle = prekeys(copies.bob)
    store = copies.alice.store
    with store.transaction():
        contact = copies.contact("alice").id
        sessions.start(store, copies.alice.identity, contact, bundle, copies.clock.now + ahead)
