"""Clocks that leap by three days, ahead and back: nothing is lost, and nothing ends early."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kurir_billing.kinds import Class, RefusalCode
from kurir_client.clock import system_clock
from kurir_client.messenger import Messenger
from kurir_client.profile import Profile
from kurir_wire.ids import DAY, HOUR
from tests.e2e.world import PASSPHRASE, Person, Relay, meet
from tests.server.customers import customer
from tests.server.helpers import Box, receipt_of
from tests.server.process import RelayProcess
from tests.server.rig import Rig
from tests.server.test_ledger import settle

LEAP = 3 * DAY
WALL = """
import os, time
real, file = time.time, os.environ["KURIR_TEST_WALL"]
def leapt():
    with open(file) as offset:
        return real() + int(offset.read() or 0)
time.time = leapt
"""


def test_what_ends_does_not_end_by_a_leap(rig: Rig) -> None:
    letters, unused = rig.personal(), rig.personal()
    letter = letters.write()
    assert rig.submit(letter) == [None]
    shop = rig.shop()
    paid, opening = rig.customer(shop)
    signed = rig.charge(shop, paid, opening, shop.line(is_open=False))
    receipt_of(rig.submit(signed.submission)[0])
    row = rig.row(letters)
    rig.run(lambda rows: rig.mailboxes.put_card(rows, rig.moment, row, b"card"))
    rig.now += 12 * HOUR
    rig.now, rig.doubt = rig.now + 40 * DAY, 40 * DAY
    assert rig.tidy() == []
    assert [d.envelope_id for d in rig.waiting(letters)] == [letter.envelope_id]
    token = letters.token or b""
    card = rig.run(lambda rows: rig.mailboxes.get_card(rows, rig.moment, letters.id, token))
    assert card == b"card"
    (delivery,) = rig.waiting(paid)
    assert rig.ack(paid, delivery.envelope_id, signed.secret) is None
    assert rig.count("leaves") == 1, "it settled in time"
    # A mailbox whose maker's clock is right can be made, and one of the relay's hour too.
    rig.make(type(letters).personal(rig.keys.relay_id, rig.now))
    rig.make(type(letters).personal(rig.keys.relay_id, rig.now - rig.doubt))
    # When it is certain that the time has come, all goes.
    rig.doubt = 0
    assert rig.row(unused) in rig.tidy()
    assert rig.count("cards") == rig.count("envelopes") == 0


def test_bills_go_by_relay_time_in_doubt_too(rig: Rig) -> None:
    """Prices, days and what is erased for privacy follow the one time that all are told."""
    ani = customer(rig, rig.shop(), "reply-2018")
    settle(rig, ani.shop)
    grant = ani.grant()
    rig.now, rig.doubt = rig.now + LEAP, LEAP
    rig.tidy()
    assert rig.count("checkpoints") == 1, "the day before is over"
    refusal = ani.refused(ani.line(Class.IN_WINDOW, 0), grant)
    assert refusal.code == RefusalCode.OUTSIDE_WINDOW
    signed = ani.sign(ani.line(Class.OUT_OF_WINDOW, 25_000), grant)
    assert ani.received(signed).accepted_at == rig.now
    (leaf,) = settle(rig, rig.shop())
    assert leaf.settled_day == rig.now // DAY


def machine(folder: Path) -> tuple[tuple[str, ...], Path]:
    """What stands before a command to run it on a machine whose clock can be set, and the file
    that says by how many seconds."""
    patch, wall = folder / "patch", folder / "wall"
    patch.mkdir()
    (patch / "sitecustomize.py").write_text(WALL)
    wall.write_text("0")
    path = f"PYTHONPATH={patch}:{os.environ.get('PYTHONPATH', '')}"
    return ("env", f"KURIR_TEST_WALL={wall}", path), wall


async def test_a_restart_does_not_believe_a_leap(tmp_path: Path) -> None:
    prefix, wall = machine(tmp_path)
    relay = RelayProcess(tmp_path).init()
    relay.prefix = (*prefix, sys.executable, "-m", "kurir_server.cli")
    relay.start()
    try:
        async with relay.client() as writer:
            box = Box.personal(writer.relay_id, writer.now)
            assert await writer.create(box) == ["ok"]
            letter = box.write()  # it lives for a day
            assert await writer.submit(letter) == [None]
        for leap in (LEAP, LEAP, 0):
            wall.write_text(str(leap))
            async with relay.client() as client:
                await client.beacon()
            relay.kill()
            relay.start()
            async with relay.client() as reader:
                assert await reader.open(box) == ["ok"]
                (delivery,) = await reader.take(1)
                assert delivery.envelope_id == letter.envelope_id
    finally:
        relay.kill()
    said = [json.loads(line) for line in relay.log.read_text().splitlines()]
    leaps = [event["seconds"] for event in said if event["event"] == "clock-ahead"]
    assert leaps, "the operator is told"
    assert all(LEAP - 60 <= seconds <= LEAP + 60 for seconds in leaps), leaps


@contextmanager
def leaping(folder: Path) -> Iterator[tuple[Relay, Path]]:
    """A relay on such a machine."""
    prefix, wall = machine(folder)
    relay = Relay(folder / "relay", has_demo_clock=False)
    relay.init()
    relay.prefix = prefix
    relay.start()
    try:
        yield relay, wall
    finally:
        relay.kill()
    assert "Traceback" not in relay.log.read_text()


class Talker:
    """A person in this process, whose computer's clock can be set."""

    def __init__(self, person: Person) -> None:
        self.leap = 0
        self.profile = Profile.open(person.home, PASSPHRASE, lambda: system_clock() + self.leap)
        self.messenger = Messenger(self.profile)

    async def send(self, to: str, text: str) -> None:
        """By a connection that reads nothing, so that what waits goes on waiting."""
        self.messenger.queue_text(self.messenger.contact(to), text)
        async with self.messenger.online(reading=False):
            await self.messenger.flush()
        assert self.profile.store.queued() == 0

    async def read(self) -> list[str]:
        async with self.messenger.online():
            await self.messenger.caught_up()
        texts = []
        for message in self.messenger.unread():
            if message.direction == "in":
                texts.append(message.text)
            self.messenger.shown(message)
        return texts


async def test_the_relays_clock_leaps_and_comes_back(tmp_path: Path) -> None:
    with leaping(tmp_path) as (relay, wall):
        alice, bob = met(tmp_path, relay)
        for leap in (LEAP, 0, -LEAP, 0, LEAP):
            await alice.send("Bob", f"before {leap}")
            wall.write_text(str(leap))
            await asyncio.sleep(2.2)  # a look at the clock, and a round of housekeeping
            await alice.send("Bob", f"after {leap}")
            assert await bob.read() == [f"before {leap}", f"after {leap}"]
            await bob.send("Alice", f"answer {leap}")
            assert await alice.read() == [f"answer {leap}"]
        # A restart while it is wrong, and another after it was set right.
        await alice.send("Bob", "waits")
        for leap in (LEAP, 0):
            wall.write_text(str(leap))
            relay.kill()
            await asyncio.to_thread(relay.start)
        assert await bob.read() == ["waits"]
        # New people meet while relay time stands still.
        carol = Person(tmp_path / "carol", relay)
        await asyncio.to_thread(carol.init, "Carol")
        async with alice.messenger.online():
            link = await alice.messenger.invite("Carol")
        await asyncio.to_thread(carol.run, "add", str(link))
        await asyncio.to_thread(carol.run, "send", "Alice", "here I am")
        assert await alice.read() == ["here I am"]


@pytest.mark.parametrize("leap", [LEAP, -LEAP])
async def test_a_persons_clock_leaps_and_comes_back(tmp_path: Path, leap: int) -> None:
    with leaping(tmp_path) as (relay, _):
        alice, bob = met(tmp_path, relay)
        for turn in range(2):
            for there in (leap, 0):
                await alice.send("Bob", f"before {turn} {there}")
                bob.leap = there
                assert await bob.read() == [f"before {turn} {there}"]
                await bob.send("Alice", f"answer {turn} {there}")
                assert await alice.read() == [f"answer {turn} {there}"]
                alice.leap = there
                await alice.send("Bob", f"after {turn} {there}")
                assert await bob.read() == [f"after {turn} {there}"]


def met(folder: Path, relay: Relay) -> tuple[Talker, Talker]:
    alice, bob = Person(folder / "alice", relay), Person(folder / "bob", relay)
    alice.init("Alice", "--relay", relay.address)
    bob.init("Bob")
    meet(alice, bob)
    return Talker(alice), Talker(bob)
