"""A disk that fails under a running relay: nothing is accepted, nobody is told otherwise, and when
it works again all goes on, without a restart."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kurir_client import messenger
from kurir_client.clock import demo_clock
from kurir_client.messenger import Messenger
from kurir_client.profile import Profile
from kurir_wire.entries import Ack, Result
from tests.e2e.world import PASSPHRASE, Person, Relay, meet
from tests.faults.disk import built, preloaded
from tests.server.helpers import Box
from tests.server.process import RelayProcess

FAILURES = {
    "full": str(errno.ENOSPC),
    "read-only": str(errno.EROFS),
    "broken": str(errno.EIO),
    "cannot sync": f"{errno.EIO}s",
}


def events(log: Path) -> list[str]:
    found = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    return [event for event in found if event not in ("demo-clock", "stopping", "stopped")]


def codes_of(results: list[Result | None]) -> set[str]:
    return {result.code if result else "ok" for result in results}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_disk_that_fails_and_works_again(tmp_path: Path, failure: str) -> None:
    fail, clock = tmp_path / "fail", tmp_path / "clock"
    fail.touch()
    clock.write_text("0")
    relay = RelayProcess(tmp_path, "--demo-clock", str(clock)).init()
    relay.prefix = (
        *preloaded(built(tmp_path), relay.db, fail=fail),
        *(sys.executable, "-m", "kurir_server.cli"),
    )
    relay.start()
    try:
        async with relay.client() as writer, relay.client() as reader:
            box = Box.personal(writer.relay_id, writer.now)
            assert await reader.create(box) == ["ok"]
            assert await reader.open(box) == ["ok"]
            before = [box.write() for _ in range(3)]
            assert await writer.submit(*before) == [None] * 3
            await reader.take(3)
            refused = [box.write(65_536), box.write()]
            for _ in range(3):
                fail.write_text(FAILURES[failure])
                assert codes_of(await writer.submit(*refused)) == {"unavailable"}
                assert codes_of(
                    await reader.ack(*(Ack(box.id, entry.envelope_id) for entry in before))
                ) == {"unavailable"}
                await reader.nothing(0.1)
            fail.write_text("")
            assert await writer.submit(*refused) == [None] * 2
            assert [d.envelope_id for d in await reader.take(2)] == [
                entry.envelope_id for entry in refused
            ]
            clock.write_text("60")
            acks = [Ack(box.id, entry.envelope_id) for entry in before]
            assert await reader.ack(*acks) == [None] * 3
            assert await writer.submit(box.write()) == [None]
            await reader.take(1)
        relay.kill()
        relay.start()
        async with relay.client() as reader:
            await reader.open(box)
            left = await reader.take(3)
            assert [d.body for d in left[:2]] == [entry.body for entry in refused]
    finally:
        relay.kill()
    assert events(relay.log) == [
        *("started", "ready", "disk-failed", "disk-recovered"),
        *("started", "ready"),
    ]


async def test_a_relay_that_starts_on_a_disk_that_fails(tmp_path: Path) -> None:
    """It says so and ends; on the same files it starts when the disk works."""
    fail = tmp_path / "fail"
    relay = RelayProcess(tmp_path).init()
    library = built(tmp_path)
    relay.prefix = (
        *preloaded(library, relay.db, fail=fail),
        *(sys.executable, "-m", "kurir_server.cli"),
    )
    fail.write_text(FAILURES["read-only"])
    try:
        relay.start()
    except AssertionError:
        assert relay.process is not None
        assert relay.process.wait() == 4
        assert "error: " in relay.log.read_text()
        fail.write_text("")
        relay.start()
    else:
        async with relay.client() as client:
            box = Box.personal(client.relay_id, client.now)
            assert await client.create(box) == ["unavailable"]
        fail.write_text("")
    async with relay.client() as client:
        assert await client.create(Box.personal(client.relay_id, client.now)) == ["ok"]
    assert relay.stop() == 0
    assert "Traceback" not in relay.log.read_text()


async def test_people_are_told_and_need_do_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail = tmp_path / "fail"
    fail.touch()
    relay = Relay(tmp_path / "relay")
    relay.init()
    relay.prefix = tuple(preloaded(built(tmp_path), relay.db, fail=fail))
    relay.start()
    alice, bob = Person(tmp_path / "alice", relay), Person(tmp_path / "bob", relay)
    try:
        alice.init("Alice", "--relay", relay.address)
        bob.init("Bob")
        meet(alice, bob)
        monkeypatch.setattr(messenger, "BACKOFF", (0.1, 1.0))
        profile = Profile.open(alice.home, PASSPHRASE, demo_clock(relay.clock))
        follower, said = Messenger(profile), list[str]()
        following = asyncio.create_task(follower.follow(said.append))
        try:
            await until(lambda: said == ["online"])
            fail.write_text(FAILURES["full"])
            follower.queue_text(follower.contact("Bob"), "first")
            await until(lambda: len(said) > 1)
            assert said[1] == "the relay cannot write to its disk at present; trying again"
            sent = await asyncio.to_thread(bob.run, "send", "Alice", "hello")
            assert sent[0]["status"] == "queued"
            follower.queue_text(follower.contact("Bob"), "second")
            await asyncio.sleep(0.5)
            assert profile.store.queued() == 2
            fail.write_text("")
            await until(lambda: profile.store.queued() == 0)
            await until(lambda: said[-1] == "online")
            assert len(said) == 3, said
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            profile.close()
        assert await asyncio.to_thread(bob.texts) == ["first", "second"]
        assert await asyncio.to_thread(alice.texts) == ["hello"]
    finally:
        relay.kill()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
