"""Networks that fail: nothing is lost, nothing is shown twice, order is kept, and the client says
what it does."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kurir_client import link, messenger
from kurir_client.clock import demo_clock
from kurir_client.errors import OfflineError
from kurir_client.messenger import Messenger
from kurir_client.profile import Profile, parse_relay
from tests.e2e.world import PASSPHRASE, Person, Relay, meet
from tests.faults.proxy import Fault, Kind, Proxy, schedule

MESSAGES = 40
FAULTS = 4
ALL = tuple(kind for kind in Kind if kind is not Kind.NONE)


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Person, Person]]:
    """Alice and Bob, who use one relay."""
    folder = tmp_path_factory.mktemp("met")
    relay = Relay(folder / "relay")
    relay.init()
    relay.start()
    alice, bob = Person(folder / "alice", relay), Person(folder / "bob", relay)
    alice.init("Alice", "--relay", relay.address)
    bob.init("Bob")
    meet(alice, bob)
    yield alice, bob
    assert relay.stop() == 0
    log = relay.log.read_text()
    assert "Traceback" not in log
    assert "internal-error" not in log


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same waits, shorter."""
    monkeypatch.setattr(link, "PING", 1.0)
    monkeypatch.setattr(link, "REPLY_TIMEOUT", 5.0)
    monkeypatch.setattr(link, "CONNECT_TIMEOUT", 2.0)
    monkeypatch.setattr(link, "CLOSE_TIMEOUT", 0.2)
    monkeypatch.setattr(messenger, "BACKOFF", (0.05, 0.4))
    monkeypatch.setattr(messenger, "IDLE_LIMIT", 2.0)


@dataclass
class Talker:
    """A person behind a proxy, with what was shown and said."""

    profile: Profile
    messenger: Messenger
    proxy: Proxy
    shown: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    async def show(self) -> None:
        for message in self.messenger.unread():
            self.shown.append(message.text)
            self.messenger.shown(message)


@contextlib.asynccontextmanager
async def behind(person: Person, proxy: Proxy) -> AsyncIterator[Talker]:
    async with proxy.running():
        profile = unlocked(person)
        with profile.store.transaction():
            profile.store.put("relay", parse_relay(proxy.address).url.encode())
        talker = Talker(profile, Messenger(profile), proxy)
        talker.messenger.on_change = talker.show
        following = asyncio.create_task(talker.messenger.follow(talker.said.append))
        try:
            yield talker
            assert not following.done(), following.result()
        finally:
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
            profile.close()


def unlocked(person: Person) -> Profile:
    return Profile.open(person.home, PASSPHRASE, demo_clock(Path(person.relay.clock)))


async def until(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    try:
        async with asyncio.timeout(90):
            while not condition():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(what()) from None


async def talk(alice: Talker, bob: Talker) -> None:
    """Both write, a few at a time, while the network fails."""
    expected: dict[str, list[str]] = {"Alice": [], "Bob": []}
    for number in range(MESSAGES):
        for talker, to, name in ((alice, "Bob", "Alice"), (bob, "Alice", "Bob")):
            text = f"{name} {number} " + "x" * (number * 97 % 3_000)
            expected[name].append(text)
            talker.messenger.queue_text(talker.messenger.contact(to), text)
        await asyncio.sleep(0.02)
    await until(
        lambda: len(alice.shown) >= MESSAGES and len(bob.shown) >= MESSAGES,
        lambda: (len(alice.shown), len(bob.shown), alice.said, bob.said),
    )
    await until(
        lambda: alice.profile.store.queued() == bob.profile.store.queued() == 0,
        lambda: (alice.said, bob.said),
    )
    assert alice.shown == expected["Bob"]
    assert bob.shown == expected["Alice"]


def check_said(talker: Talker) -> None:
    """Each time one line with a reason and when it goes on; in the end it is online."""
    form = re.compile(r"online|reconnecting in \d+ s: \S.*")
    assert all(form.fullmatch(line) for line in talker.said), talker.said
    assert talker.said[-1] == "online"


@pytest.mark.parametrize("kind", ALL)
async def test_each_fault(met: tuple[Person, Person], kind: Kind) -> None:
    alice, bob = met
    ways = [schedule(seed, (kind,), FAULTS) for seed in (1, 2)]
    proxies = [Proxy(alice.relay.address, way) for way in ways]
    async with behind(alice, proxies[0]) as one, behind(bob, proxies[1]) as other:
        await talk(one, other)
        check_said(one)
        check_said(other)
    if kind is not Kind.DELAY:
        assert len([*proxies[0].met, *proxies[1].met]) > FAULTS // 2, "the proxy did something"
        assert len(one.said) + len(other.said) > 2


@pytest.mark.parametrize("seed", range(3))
async def test_all_faults_at_once(met: tuple[Person, Person], seed: int) -> None:
    alice, bob = met
    proxies = [
        Proxy(alice.relay.address, schedule(100 * seed + n, ALL, 2 * FAULTS)) for n in (1, 2)
    ]
    async with behind(alice, proxies[0]) as one, behind(bob, proxies[1]) as other:
        await talk(one, other)


async def test_the_same_profile_connects_several_times(
    met: tuple[Person, Person],
) -> None:
    """A follower and, again and again, others that send from the same home; and connections that
    the relay believes to be open still."""
    alice, bob = met
    half = [Fault(Kind.HALF_OPEN, after, to_relay=False) for after in (9_000, 15_000, 30_000)]
    calm = Fault(Kind.NONE, 0, to_relay=True)

    def way() -> Iterator[Fault]:
        yield from half
        while True:
            yield calm

    async with (
        behind(alice, Proxy(alice.relay.address, way())) as one,
        behind(bob, Proxy(alice.relay.address, way())) as other,
    ):

        async def send_too() -> None:
            second = unlocked(alice)
            try:
                for _ in range(10):
                    sender = Messenger(second)
                    with contextlib.suppress(OfflineError):
                        async with sender.online(reading=False):
                            await sender.flush()
                    await asyncio.sleep(0.05)
            finally:
                second.close()

        await asyncio.gather(talk(one, other), send_too(), send_too())
