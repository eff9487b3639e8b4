"""Keys of a business over weeks: replaced, kept, deleted, and restored from a copy."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kurir_billing.lane import open_lane
from kurir_client import business, business_keys, meeting, sessions
from kurir_client.errors import OfflineError, ProfileError, RelayError
from kurir_client.outbox import Ready, queue
from kurir_client.prekeys import KEEP_DAYS, SIGNED_FOR_ONE_USE
from kurir_client.restored import SESSIONS_FROM
from kurir_client.schema import Contact, Status
from kurir_client.store import Store
from kurir_crypto.session import Session
from kurir_wire import frames
from kurir_wire.cards import BusinessCard, open_business_card
from kurir_wire.ids import DAY, HOUR, MINUTE
from kurir_wire.limits import CARD_LIFE
from kurir_wire.links import BusinessLink, InviteLink, RelayAddress, pin_of
from kurir_wire.prekeys import PREKEY_LAST_RESORT, PREKEY_ONE_TIME, PREKEY_SIGNED
from tests.client.older import to_version_1
from tests.client.pair import Pair
from tests.client.rig_link import RigLink, meet_relay
from tests.server.rig import START, Rig, rig_in

RELAY = RelayAddress("localhost", 7474, tls=False)
LAST_SECOND = START - START % DAY + DAY - 1
"""Just before midnight: as much as can be lost by counting whole days."""


class World:
    """A shop (Bob) and its customer (Alice) at a relay."""

    def __init__(self, pair: Pair, rig: Rig) -> None:
        self.pair, self.rig, self.clock = pair, rig, pair.clock
        self.clock.now = LAST_SECOND
        meet_relay(rig, pair.alice, pair.bob)

    @property
    def shop(self) -> Store:
        return self.pair.bob.store

    @property
    def customer(self) -> Store:
        return self.pair.alice.store

    def link(self) -> Any:
        return RigLink(self.rig, self.clock)

    async def register(self) -> None:
        await business.register(self.pair.bob, self.link(), "PT Metro Bus")
        self.rig.approve_id(business.own_id(self.pair.bob), "platform", "reply-2018")

    def is_due(self) -> bool:
        """Whether there are keys to replace, or a card to leave."""
        shop = self.pair.bob
        return business_keys.are_due(shop, self.clock.now) or business.needs_card(shop)

    async def connect(self) -> Any:
        """What the shop does when it comes online, before it reads."""
        with self.shop.transaction():
            self.shop.drop_retired_keys(self.clock.now // DAY)
        link = self.link()
        await business.keep_fresh(self.pair.bob, link)
        return link

    async def add(self) -> Contact:
        own = business.own_id(self.pair.bob)
        link = BusinessLink(RELAY, own, pin_of(self.rig.keys.relay_id))
        return await meeting.add_business(self.pair.alice, self.link(), link, None, None)

    async def renew(self) -> Any:
        link = self.link()
        await meeting.renew_cards(self.pair.alice, link)
        return link

    def write(self, text: str) -> None:
        (contact,) = self.customer.contacts()
        with self.customer.transaction():
            queue(self.customer, contact.id, 1, text, self.clock.now)

    def send(self) -> list[Ready]:
        """Encrypted, and on its way."""
        ready = self.pair.prepare(self.pair.alice)
        with self.customer.transaction():
            for item in ready:
                self.customer.drop_outgoing(item.row.n)
                self.customer.set_message(item.row.inner_id, Status.STORED)
        return ready

    def arrive(self, ready: list[Ready]) -> None:
        for item in ready:
            self.pair.deliver(item, self.pair.bob)

    async def answer(self, text: str) -> None:
        """The shop answers its customer."""
        await self.connect()  # for the rate card
        (contact,) = self.shop.contacts()
        with self.shop.transaction():
            queue(self.shop, contact.id, 1, text, self.clock.now)
        (ready,) = self.pair.prepare(self.pair.bob)
        self.pair.deliver(ready, self.pair.alice)
        with self.shop.transaction():
            self.shop.drop_outgoing(ready.row.n)

    def shown(self, store: Store, direction: str = "in") -> list[str]:
        return [item.text for item in store.unread() if item.direction == direction]

    def served(self) -> BusinessCard:
        """The card that the relay hands out."""
        stored = self.rig.run(lambda rows: rows.business(business.own_id(self.pair.bob)))
        assert stored is not None
        return open_business_card(stored.card, self.clock.now)

    def stock(self) -> set[int]:
        query = "SELECT key_id FROM prekeys"
        return {row[0] for row in self.rig.store.connection.execute(query)}

    def held(self, *, retired: bool = False) -> set[tuple[Any, ...]]:
        """Kinds and ids of the shop's keys, present or retired."""
        null = "IS NOT NULL" if retired else "IS NULL"
        rows = self.shop._all(f"SELECT family, kind, key_id FROM prekey WHERE retired_on {null}")
        keys = self.shop._all(f"SELECT 'envelope', 0, n FROM envelope_key WHERE retired_on {null}")
        return set(rows + keys)

    def restore_shop(self) -> None:
        """The home notices when it is opened that it was set back."""
        with self.shop.transaction():
            self.shop.put(SESSIONS_FROM, str(self.clock.now // MINUTE).encode())
            self.shop.archive_sessions()
            self.shop.want_sessions()

    def start_of_session(self) -> int:
        (contact,) = self.customer.contacts()
        states = self.customer.sessions(contact.id, to_send_on=True)
        return max(Session.from_bytes(state).started for state in states)


@pytest.fixture
def world(pair: Pair, tmp_path: Path) -> Iterator[World]:
    with rig_in(tmp_path) as rig:
        yield World(pair, rig)


def names_held_keys(world: World) -> bool:
    """Whether the shop holds what the relay's card names and what the relay hands out."""
    card, held = world.served(), world.held() | world.held(retired=True)
    named = {
        ("ec", PREKEY_SIGNED, card.signed_prekey.key_id),
        ("kem", PREKEY_LAST_RESORT, card.last_resort.key_id),
    }
    stock = {("ec", PREKEY_ONE_TIME, key_id) for key_id in world.stock()}
    return named | stock <= held


async def test_a_business_replaces_its_keys_every_seven_days(world: World) -> None:
    await world.register()
    first, before, stock = world.served(), world.held(), world.stock()
    assert len(stock) == business.PREKEY_STOCK
    world.clock.now += 7 * DAY - LAST_SECOND % DAY - 1
    link = await world.connect()
    assert (link.of(frames.Register), world.served()) == ([], first)
    world.clock.now += 1
    assert world.is_due()
    await world.connect()
    assert not world.is_due()
    second = world.served()
    for name in ("envelope_pk", "signed_prekey", "last_resort"):
        assert getattr(first, name) != getattr(second, name)
    assert (first.identity, first.address) == (second.identity, second.address)
    assert (second.issued, second.expires - second.issued) == (world.clock.now, CARD_LIFE)
    assert world.held(retired=True) == before
    assert world.held().isdisjoint(before)
    assert world.stock().isdisjoint(stock)
    assert len(world.stock()) == business.PREKEY_STOCK
    assert names_held_keys(world)


async def test_a_clock_that_was_set_back_does_not_stop_the_rotation(world: World) -> None:
    await world.register()
    with world.shop.transaction():
        world.shop._run("UPDATE envelope_key SET made_on = ?", world.clock.now // DAY + 400)
    assert world.is_due()
    await world.connect()
    assert not world.is_due()


async def test_replaced_keys_are_deleted_after_sixty_one_days(world: World) -> None:
    await world.register()
    first = world.held()
    world.clock.now += 7 * DAY
    await world.connect()
    midnight = world.clock.now + 1
    world.clock.now = midnight + KEEP_DAYS * DAY - 1
    assert KEEP_DAYS == 61
    await world.connect()
    assert first <= world.held(retired=True)
    world.clock.now += 1
    await world.connect()
    assert world.held(retired=True).isdisjoint(first)


@pytest.mark.parametrize("with_stock", [True, False])
@pytest.mark.parametrize("days", [0, 7, 30, 59, 60])
async def test_a_message_under_an_old_card_opens_as_long_as_it_can_arrive(
    world: World, days: int, with_stock: bool
) -> None:
    """The latest card that names a generation, fetched at once; the message leaves when that card
    ends or before, and waits at the relay for as long as it may."""
    await world.register()
    world.clock.now += 6 * DAY
    world.pair.bob.store.put("name", b"Metro Bus & Friends")
    await world.connect()
    if not with_stock:
        world.rig.run(lambda rows: rows.drop_prekeys(business.own_id(world.pair.bob)))
    issued = world.clock.now
    await world.add()
    world.write("hello")
    sent_at = issued + min(days, 30) * DAY - (1 if days >= 30 else 0)
    ready: list[Ready] = []
    for now in [*range(issued, issued + days * DAY, DAY), issued + days * DAY + HOUR]:
        if now >= sent_at and not ready:
            world.clock.now = sent_at
            ready = world.send()
        world.clock.now = now
        await world.connect()
    ready = ready or world.send()
    world.arrive(ready)
    assert world.shown(world.shop) == ["hello"]


async def test_without_one_time_prekeys_the_last_resort_serves(world: World) -> None:
    await world.register()
    world.rig.run(lambda rows: rows.drop_prekeys(business.own_id(world.pair.bob)))
    present = world.held()
    await world.add()
    world.write("hello")
    world.arrive(world.send())
    assert world.shown(world.shop) == ["hello"]
    assert world.held() == present, "nothing that others may still use is deleted"


async def test_a_used_one_time_prekey_is_deleted_and_replaced(world: World) -> None:
    await world.register()
    stock = world.stock()
    await world.add()
    (used,) = stock - world.stock()
    present = world.held()
    world.write("hello")
    world.arrive(world.send())
    gone = {("ec", PREKEY_ONE_TIME, used), ("kem", PREKEY_ONE_TIME, used)}
    assert present - world.held() == gone
    await world.connect()
    assert len(world.stock()) == business.PREKEY_STOCK


async def test_a_replayed_first_message_under_the_last_resort_makes_no_second_session(
    world: World,
) -> None:
    await world.register()
    world.rig.run(lambda rows: rows.drop_prekeys(business.own_id(world.pair.bob)))
    await world.add()
    world.write("hello")
    ready = world.send()
    world.arrive(ready)
    (customer,) = world.shop.contacts()
    (state,) = world.shop.sessions(customer.id)
    world.clock.now += 50 * DAY
    with world.shop.transaction():
        world.shop.forget_before(world.clock.now // DAY)
    world.arrive(ready)
    assert world.shop.sessions(customer.id) == [state]
    with world.shop.transaction():
        world.shop.delete_session(Session.from_bytes(state).id, world.clock.now // DAY)
        world.shop._run("DELETE FROM seen")
    world.arrive(ready)
    assert world.shop.sessions(customer.id) == []
    assert world.shown(world.shop) == ["hello"]
    assert len(world.shop.contacts()) == 1


async def test_a_session_that_a_clock_ahead_started_is_replaced_by_the_next_card(
    world: World,
) -> None:
    await world.register()
    await world.add()
    world.write("hello")
    world.arrive(world.send())
    customer, now = world.pair.alice, world.clock.now
    (contact,) = customer.store.contacts()
    with customer.store.transaction():
        bundle = world.served().bundle()
        sessions.start(customer.store, customer.identity, contact.id, bundle, now + 5 * DAY)
    world.write("from the future")
    world.arrive(world.send())
    assert "from the future" not in world.shown(world.shop)
    world.clock.now += DAY
    await world.connect()
    world.write("from today")
    await world.renew()
    world.arrive(world.send())
    assert sorted(world.shown(world.shop)) == ["from the future", "from today", "hello"]
    (note,) = world.shown(world.customer, "note")
    assert "could not use keys that were agreed while the clock here was ahead" in note
    assert world.start_of_session() * MINUTE <= world.clock.now


STEPS = (frames.Register, frames.Prove, frames.PutPreKeys, frames.GetRateCard)


@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("when", ["breaks_before", "breaks_after"])
async def test_a_connection_that_breaks_while_keys_are_replaced_harms_nothing(
    world: World, step: type[Any], when: str, restored: bool
) -> None:
    await world.register()
    await world.add()
    world.clock.now += 7 * DAY
    if restored:
        world.restore_shop()
    for _ in range(2):
        link = world.link()
        setattr(link, when, step)
        with pytest.raises(OfflineError):
            await business.keep_fresh(world.pair.bob, link)
        world.pair.bob = world.pair.reopen(world.pair.bob)
        assert names_held_keys(world)
        world.clock.now += 1
    world.write("hello")
    world.arrive(world.send())
    assert world.shown(world.shop) == ["hello"], "under the card of before"
    await world.connect()
    assert names_held_keys(world)
    assert len(world.stock()) == business.PREKEY_STOCK
    assert {("ec", PREKEY_ONE_TIME, key_id) for key_id in world.stock()} <= world.held()
    assert not world.is_due()
    link = await world.connect()
    assert link.of(frames.Register) == []


async def test_a_disk_that_fails_in_between_changes_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.register()
    card, present = world.served(), world.held()
    world.clock.now += 7 * DAY

    def fail(*_: object) -> None:
        raise ProfileError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "add_envelope_key", fail)
        with pytest.raises(ProfileError):
            await world.connect()
    assert (world.served(), world.held()) == (card, present)
    assert world.is_due()
    await world.connect()
    assert names_held_keys(world)
    assert world.served().version > card.version


@pytest.mark.parametrize(("there", "sent"), [(0, 50), (43, 7), (50, 0), (90, 0)])
async def test_prekeys_are_refilled_by_what_the_relay_has_left(
    world: World, there: int, sent: int
) -> None:
    await world.register()
    own = business.own_id(world.pair.bob)
    world.rig.run(lambda rows: rows.drop_prekeys(own))
    if there:
        with world.shop.transaction():
            ec, kem = business_keys.one_time_prekeys(world.pair.bob, there)
        put = frames.PutPreKeys
        await (await world_proved(world)).one(lambda n: put(n, ec, kem))
    link = await world.connect()
    full = [item for item in link.of(frames.PutPreKeys) if item.ec]
    assert [(len(item.ec), len(item.kem)) for item in full] == ([(sent, sent)] if sent else [])
    assert len(world.stock()) == there + sent


async def world_proved(world: World) -> Any:
    link = world.link()
    await business.prove(world.pair.bob, link)
    return link


async def test_a_lane_is_certified_again_before_it_ends(world: World) -> None:
    await world.register()
    before = world.shop.need("lane")
    world.clock.now += business_keys.LANE_LIFE - business_keys.RENEW_LANE_BEFORE
    await world.connect()
    assert world.shop.need("lane") == before
    world.clock.now += 1
    assert world.is_due()
    await world.connect()
    world.clock.now += business_keys.LANE_LIFE - 1
    lane = open_lane(world.shop.need("lane"), world.clock.now)
    assert lane.lane_pk == open_lane(before, START).lane_pk


async def test_a_new_name_is_on_the_card_at_the_next_connection(world: World) -> None:
    await world.register()
    world.shop.put("name", b"Metro Bus")
    await world.connect()
    assert world.served().name == "Metro Bus"


# Restored from a copy


async def test_a_restored_business_has_other_keys_and_a_lane_of_its_own(world: World) -> None:
    await world.register()
    copy = world.shop._all("SELECT key, value FROM meta")
    lane, keys = world.shop.need("lane"), world.held()
    for _ in range(3):
        world.clock.now += 7 * DAY
        await world.connect()
    later, later_keys = world.served(), world.held()
    with world.shop.transaction():
        for key, value in copy:
            world.shop.put(key, value)
    world.clock.now += MINUTE
    world.restore_shop()
    restored_in = world.clock.now // MINUTE
    assert world.is_due()
    link = await world.connect()
    assert link.of(frames.GetBusiness) == [], "the version follows the clock"
    card = world.served()
    assert card.version > later.version
    assert card.sessions_from == restored_in + 1, "of the same minute nobody can tell"
    assert world.held().isdisjoint(keys | later_keys)
    assert {("ec", PREKEY_ONE_TIME, key_id) for key_id in world.stock()} <= world.held()
    renewed = open_lane(world.shop.need("lane"), world.clock.now)
    assert renewed.lane_pk != open_lane(lane, START).lane_pk
    assert not world.is_due()
    await world.connect()
    assert world.served() == card
    assert open_lane(world.shop.need("lane"), world.clock.now) == renewed


async def test_a_clock_that_ran_ahead_when_it_was_restored_blocks_nothing(world: World) -> None:
    await world.register()
    world.clock.now += 1_000 * DAY
    world.restore_shop()
    world.clock.now -= 1_000 * DAY
    await world.connect()
    assert world.served().sessions_from == world.clock.now // MINUTE + 1
    assert not world.is_due()


async def test_two_copies_of_a_home_never_name_two_keys_by_one_id(world: World) -> None:
    await world.register()
    own = business.own_id(world.pair.bob)
    world.rig.run(lambda rows: rows.drop_prekeys(own))
    world.shop._db.execute("SAVEPOINT copy")
    first, _ = business_keys.one_time_prekeys(world.pair.bob, 20)
    world.shop._db.execute("ROLLBACK TO copy")
    second, _ = business_keys.one_time_prekeys(world.pair.bob, 20)
    world.shop._db.execute("RELEASE copy")
    ids = [{prekey.key_id for prekey in batch} for batch in (first, second)]
    assert ids[0].isdisjoint(ids[1])


async def test_a_version_that_the_relay_has_already_is_passed_over(world: World) -> None:
    """Restored in the very minute in which the last card was left."""
    await world.register()
    store = world.shop
    before = store.need("card_version")
    for name in (b"Two", b"Three"):
        store.put("name", name)
        await world.connect()
    last = world.served()
    store.put("card_version", before)
    store.put("name", b"Four")
    await world.connect()
    assert (world.served().name, world.served().version) == ("Four", last.version + 1)


async def test_a_clock_that_is_wrong_is_told_and_changes_no_version_at_the_relay(
    world: World,
) -> None:
    await world.register()
    card = world.served()
    link = world.link()
    link.clock_of_relay = -HOUR
    world.shop.put("name", b"Two")
    with pytest.raises(RelayError, match="dated in the future") as caught:
        await business.keep_fresh(world.pair.bob, link)
    assert "compare the clocks" in caught.value.hint
    assert world.served() == card


@pytest.mark.parametrize("clock_is_behind", [0, 4 * MINUTE])
async def test_customers_start_afresh_what_a_restored_business_has_lost(
    world: World, clock_is_behind: int
) -> None:
    await world.register()
    await world.add()
    world.write("hello")
    world.arrive(world.send())
    await world.answer("welcome")
    assert world.shown(world.customer) == ["welcome"]
    world.clock.now += 2 * DAY
    world.restore_shop()
    await world.connect()
    world.write("lost")
    world.send()  # sealed for a session that is gone, and never opened there
    world.write("again")
    (waits,) = world.pair.prepare(world.pair.alice)
    sessions_from = world.served().sessions_from
    world.clock.now -= clock_is_behind
    await world.renew()
    assert world.start_of_session() >= sessions_from
    # "hello" is two days old, and does not come again.
    ready, missed = world.send()
    assert ready.submission != waits.submission, "it is encrypted anew"
    world.clock.now += clock_is_behind
    world.arrive([ready, missed])
    assert world.shown(world.shop) == ["hello", "again", "lost"]
    (customer,) = world.shop.contacts()
    assert not customer.wants_session
    assert [
        Session.from_bytes(one).started for _, one in world.shop.live_sessions(customer.id)
    ] == [world.start_of_session()]
    (note,) = world.shown(world.customer, "note")
    assert "Metro Bus" not in note
    assert "Bob was restored from a copy" in note
    assert "in the past day goes out again" in note
    # That is all: no further session, no further word.
    started = world.start_of_session()
    world.clock.now += DAY
    world.write("later")
    assert len((await world.renew()).of(frames.GetBusiness)) == 1
    assert world.start_of_session() == started
    world.arrive(world.send())
    assert world.shown(world.shop)[-1] == "later"
    assert world.shown(world.customer, "note") == [note]


async def test_charged_bytes_stay_as_they_were_signed(world: World) -> None:
    await world.register()
    contact = await world.add()
    world.write("free")
    world.write("charged")
    wired = [item.row for item in world.pair.prepare(world.pair.alice)]
    with world.customer.transaction():
        row = wired[1]
        world.customer.wire_outgoing(row.n, row.wire, row.wired_at, bytes(32))
        world.customer.set_contact(contact.id, wants_session=True)
    await world.renew()
    now = world.customer.outgoing(10, world.pair.clock.now)
    assert [item.wire is None for item in now] == [True, False]


# Customers look for cards


async def asked(world: World) -> int:
    return len((await world.renew()).of(frames.GetBusiness))


async def test_a_card_is_looked_for_once_a_day_and_only_if_something_waits(world: World) -> None:
    await world.register()
    await world.add()
    world.clock.now += 20 * DAY
    assert await asked(world) == 0, "the relay need not know who our businesses are"
    world.write("hello")
    assert await asked(world) == 1
    world.clock.now += DAY - 1
    assert await asked(world) == 0
    world.clock.now += 1
    assert await asked(world) == 1
    assert await asked(world) == 0


async def test_a_wanted_session_is_started_at_once_and_then_at_most_once_an_hour(
    world: World,
) -> None:
    await world.register()
    contact = await world.add()
    world.write("hello")
    world.arrive(world.send())

    def want() -> None:
        with world.customer.transaction():
            world.customer.set_contact(contact.id, wants_session=True)

    started = world.start_of_session()
    want()
    assert await asked(world) == 1
    assert not world.customer.contact(contact.id).wants_session
    assert world.start_of_session() > started
    world.arrive(world.send())  # a hello goes by itself, for they cannot write to us before
    assert len(world.shop.sessions(world.shop.contacts()[0].id)) == 2
    assert world.shown(world.customer, "note") == []
    want()
    world.clock.now += HOUR - 1
    assert await asked(world) == 0
    world.clock.now += 1
    assert await asked(world) == 1


async def test_a_business_that_is_not_there_is_asked_for_once_an_hour(world: World) -> None:
    await world.register()
    contact = await world.add()
    world.clock.now += CARD_LIFE - 1
    with world.customer.transaction():
        world.customer.set_contact(contact.id, wants_session=True)
    world.clock.now += 1  # the card has expired, and the relay hands it out no more
    assert [await asked(world) for _ in range(3)] == [1, 0, 0]
    world.clock.now += HOUR
    assert await asked(world) == 1
    assert world.customer.contact(contact.id).wants_session
    world.write("hello")
    assert [await asked(world) for _ in range(3)] == [1, 1, 1], "it cannot go before"


async def test_a_look_that_the_network_cuts_off_does_not_count(world: World) -> None:
    await world.register()
    await world.add()
    world.clock.now += 2 * DAY
    world.write("hello")
    link = world.link()
    link.breaks_before = frames.GetBusiness
    with pytest.raises(OfflineError):
        await meeting.renew_cards(world.pair.alice, link)
    assert await asked(world) == 1


async def test_a_session_that_was_answered_outlives_the_keys_that_it_began_with(
    world: World,
) -> None:
    await world.register()
    await world.add()
    world.write("hello")
    world.arrive(world.send())
    await world.answer("welcome")
    started = world.start_of_session()
    for _ in range(12):
        world.clock.now += 8 * DAY
        await world.connect()
        world.write("again")
        await world.renew()
        world.arrive(world.send())
    assert world.start_of_session() == started
    assert world.shown(world.shop) == ["hello"] + ["again"] * 12


async def test_a_session_that_was_never_answered_follows_the_keys_of_the_card(
    world: World,
) -> None:
    await world.register()
    await world.add()
    started = world.start_of_session()
    world.clock.now += 8 * DAY
    await world.connect()
    world.write("hello")
    await world.renew()
    assert world.start_of_session() > started
    world.clock.now += 8 * DAY - HOUR
    world.write("still there?")
    world.arrive(world.send())
    assert world.shown(world.shop) == ["hello", "still there?"]
    # After months of silence on both sides the keys of the first card are gone.
    world.clock.now += 100 * DAY
    await world.connect()
    world.write("anybody?")
    await world.renew()
    world.arrive(world.send())
    assert world.shown(world.shop)[-1] == "anybody?"


# Prekeys for one use


async def invited(world: World) -> InviteLink:
    world.pair.bob.set_relay(RELAY.url)
    return await meeting.make_invite(world.pair.bob, world.link(), "")


def one_use(store: Store) -> list[tuple[str, int]]:
    """Families and kinds of the prekeys for one use."""
    rows = store._all("SELECT family, kind FROM prekey WHERE retired_on IS NOT NULL")
    return sorted((row[0], row[1]) for row in rows)


ALL_THREE = [("ec", PREKEY_ONE_TIME), ("ec", SIGNED_FOR_ONE_USE), ("kem", PREKEY_ONE_TIME)]


async def test_all_three_prekeys_of_an_invite_are_deleted_when_it_is_used(world: World) -> None:
    await world.register()  # a business may invite people too, and keeps its own prekeys
    present = world.held()
    made = await invited(world)
    await invited(world)
    assert one_use(world.shop) == sorted(ALL_THREE * 2)
    await meeting.accept_invite(world.pair.alice, world.link(), made, None)
    world.pair.carry(world.pair.alice, world.pair.bob)
    assert world.shown(world.shop, "note") == ["Alice accepted your invite"]
    assert one_use(world.shop) == ALL_THREE, "those of the other invite"
    assert world.held() == present


async def test_prekeys_of_an_invite_that_nobody_used_are_deleted_in_time(world: World) -> None:
    await invited(world)
    world.clock.now += KEEP_DAYS * DAY
    with world.shop.transaction():
        world.shop.drop_retired_keys(world.clock.now // DAY)
    assert one_use(world.shop) == ALL_THREE
    world.clock.now += 1  # midnight
    with world.shop.transaction():
        world.shop.drop_retired_keys(world.clock.now // DAY)
    assert one_use(world.shop) == []


async def test_a_handshake_that_names_a_businesss_keys_never_deletes_its_signed_one(
    world: World,
) -> None:
    await world.register()
    (signed,) = [key_id for family, kind, key_id in world.held() if (family, kind) == ("ec", 0)]
    with world.shop.transaction():
        world.shop.drop_used(signed + 1, None)
    assert ("ec", PREKEY_SIGNED, signed) in world.held()


# Homes of version 1


def downgrade(store: Store) -> None:
    """As version 1 stored it."""
    with store.transaction():
        store.put("envelope_key", store.envelope_keys()[0])
        to_version_1(store)


async def test_a_business_of_version_1_reads_what_comes_and_replaces_its_keys(
    world: World,
) -> None:
    world.clock.now = int(time.time())  # the database's own clock dates the migration
    await world.register()
    await world.add()
    world.write("hello")
    ready = world.send()
    first, keys = world.served(), world.held()
    downgrade(world.shop)
    world.pair.bob = world.pair.reopen(world.pair.bob)
    assert world.is_due()
    await world.connect()
    assert world.served().signed_prekey != first.signed_prekey
    world.arrive(ready)
    assert world.shown(world.shop) == ["hello"]
    world.clock.now += (KEEP_DAYS + 2) * DAY
    await world.connect()
    assert keys.isdisjoint(world.held() | world.held(retired=True))
