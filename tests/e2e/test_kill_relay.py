"""Kill -9 the relay while messages are in flight: nothing is lost, nothing shown twice."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from kurir_client.clock import demo_clock
from kurir_client.messenger import Messenger
from kurir_client.profile import Profile
from tests.e2e.world import PASSPHRASE, Person, Relay, meet

MESSAGES = 500


async def test_500_messages_in_flight_survive_kill_9(
    relay: Relay, alice: Person, bob: Person
) -> None:
    meet(alice, bob)
    sender = Messenger(unlocked(alice))
    reader = Messenger(unlocked(bob))
    shown: list[str] = []

    async def show() -> None:
        for message in reader.unread():
            shown.append(message.text)
            reader.shown(message)

    reader.on_change = show
    to_bob = sender.contact("Bob")
    for number in range(MESSAGES):
        sender.queue_text(to_bob, f"number {number}")
    jobs = [asyncio.create_task(one.follow(lambda _: None)) for one in (sender, reader)]
    try:
        for part in (50, 150, 300):
            await until(lambda part=part: len(shown) >= part, jobs)
            relay.kill()
            assert len(shown) < MESSAGES, "the relay was killed too late to prove anything"
            await asyncio.to_thread(relay.start)
        await until(lambda: len(shown) >= MESSAGES, jobs)
        await until(lambda: sender.profile.store.queued() == 0, jobs)
    finally:
        for job in jobs:
            job.cancel()
        await asyncio.gather(*jobs, return_exceptions=True)
        sender.profile.close()
        reader.profile.close()
    assert shown == [f"number {number}" for number in range(MESSAGES)]


def unlocked(person: Person) -> Profile:
    return Profile.open(person.home, PASSPHRASE, demo_clock(Path(person.relay.clock)))


async def until(condition: object, jobs: list[asyncio.Task[None]], limit: float = 60.0) -> None:
    async with asyncio.timeout(limit):
        while not condition():  # type: ignore[operator]
            for job in jobs:
                if job.done():
                    job.result()
            with contextlib.suppress(TimeoutError):
                await asyncio.sleep(0.01)
