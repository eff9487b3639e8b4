"""Two to four devices and an adversary who is the network: :mod:`tests.crypto.network`."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import ExitStack
from unittest import mock

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from kurir_crypto.errors import ReplayError
from kurir_crypto.session import MAX_SESSIONS
from kurir_crypto.skipped import MAX_SKIPPED
from tests.crypto.network.adversary import Adversary
from tests.crypto.network.parcel import Crash, Parcel

STEPS = 50
PICK = st.integers(0, 999)
"""Of a list whatever it names, modulo its length."""
WHERE = st.one_of(st.integers(0, 130), st.integers(0, 20_000))
"""A byte, often one of the first entry's head."""


def flip(at: int, bit: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[at % len(data)] ^= 1 << bit
        return bytes(changed)

    return change


def cut(keep: int) -> Callable[[bytes], bytes]:
    return lambda data: data[: keep % len(data)]


class Network(RuleBasedStateMachine):
    """What is shown was sent by that sender and is shown once; what is refused leaves no trace;
    what a device has not lost the keys of opens; in the end all talk."""

    @initialize(stocks=st.lists(st.integers(0, 2), min_size=2, max_size=4), seed=st.integers(0, 99))
    def begin(self, stocks: list[int], seed: int) -> None:
        # Who wins where two start at once depends on random ids: a failure has to come again.
        self.patches = ExitStack()
        self.chance = chance = random.Random(seed)
        for name in ("os.urandom", "random._urandom"):
            self.patches.enter_context(mock.patch(name, chance.randbytes))
        self.world = Adversary(stocks)
        self.size = len(stocks)

    def pair(self, pick: int) -> tuple[int, int]:
        who = pick % self.size
        return who, (who + 1 + pick // self.size % (self.size - 1)) % self.size

    def parcel(self, pick: int, *, done: bool = False) -> Parcel:
        """One under way, or one that is done; if there is none, one is sent."""
        parcels = self.world.done if done else self.world.under_way
        if not parcels:
            who, peer = self.pair(pick)
            [parcel] = self.world.send(who, [peer])
            if done:
                self.world.deliver(parcel)
            return parcel
        return parcels[pick % len(parcels)]

    # devices

    @rule(
        pick=PICK,
        count=st.integers(1, 3),
        length=st.sampled_from((0, 95, 657, 1_047, 2_143)),
        address=st.booleans(),
    )
    def send(self, pick: int, count: int, length: int, address: bool) -> None:
        who, peer = self.pair(pick)
        for _ in range(count):
            self.world.send(who, [peer], length=length, address=address)

    @rule(pick=PICK, crowd=st.booleans())
    def send_to_all(self, pick: int, crowd: bool) -> None:
        who = pick % self.size
        others = [peer for peer in range(self.size) if peer != who]
        self.world.send(who, others, crowd=crowd)

    @rule(pick=PICK, crash=st.sampled_from(Crash))
    def crash_while_sending(self, pick: int, crash: Crash) -> None:
        who, peer = self.pair(pick)
        self.world.send(who, [peer], crash=crash)

    @rule(pick=PICK, messages=st.integers(2, 16), late=st.integers(0, 2**16 - 1))
    def chat(self, pick: int, messages: int, late: int) -> None:
        who, peer = self.pair(pick)
        self.world.chat(who, peer, messages, late & late // 3)

    @rule(pick=PICK, both=st.booleans())
    def start(self, pick: int, both: bool) -> None:
        who, peer = self.pair(pick)
        self.world.start(who, peer)
        if both:
            self.world.start(peer, who)
            self.world.send(peer, [who])
        self.world.send(who, [peer])

    @rule(pick=PICK)
    def ask_to_restart(self, pick: int) -> None:
        self.world.ask_to_restart(*self.pair(pick))

    @rule(pick=PICK)
    def back_up(self, pick: int) -> None:
        self.world.back_up(pick % self.size)

    @rule(pick=PICK)
    def restore(self, pick: int) -> None:
        self.world.restore(pick % self.size)

    @rule(pick=PICK)
    def reinstall(self, pick: int) -> None:
        self.world.reinstall(pick % self.size)

    @rule(minutes=st.sampled_from((1, 3, 11_000)))
    def wait(self, minutes: int) -> None:
        self.world.now += minutes

    # the network

    @rule(picks=st.lists(PICK, min_size=1, max_size=12))
    def deliver(self, picks: list[int]) -> None:
        for pick in picks:
            self.world.deliver(self.parcel(pick))

    @rule(pick=PICK)
    def crash_while_receiving(self, pick: int) -> None:
        self.world.deliver(self.parcel(pick), crash=True)

    @rule(pick=PICK)
    def drop(self, pick: int) -> None:
        self.world.under_way.remove(self.parcel(pick))

    @rule(pick=PICK)
    def duplicate(self, pick: int) -> None:
        self.world.under_way.append(self.parcel(pick))

    @rule(picks=st.lists(PICK, min_size=1, max_size=4))
    def replay(self, picks: list[int]) -> None:
        for pick in picks:
            self.world.replay(self.parcel(pick, done=True))

    @rule(pick=PICK, at=WHERE, bit=st.integers(0, 7), outside=st.booleans())
    def alter(self, pick: int, at: int, bit: int, outside: bool) -> None:
        change = self.world.alter_outside if outside else self.world.alter_inside
        change(self.parcel(pick), flip(at, bit))

    @rule(pick=PICK, at=WHERE, bit=st.integers(0, 7))
    def alter_a_copy(self, pick: int, at: int, bit: int) -> None:
        self.world.alter_inside(self.parcel(pick, done=True), flip(at, bit))

    @rule(pick=PICK, keep=WHERE, outside=st.booleans())
    def truncate(self, pick: int, keep: int, outside: bool) -> None:
        change = self.world.alter_outside if outside else self.world.alter_inside
        change(self.parcel(pick), cut(keep))

    @rule(pick=PICK, who=PICK)
    def misdeliver(self, pick: int, who: int) -> None:
        parcel = self.parcel(pick, done=pick % 2 == 0)
        self.world.misdeliver(parcel, who % self.size)

    @rule(pick=PICK)
    def misplace(self, pick: int) -> None:
        self.world.misplace(self.parcel(pick))

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        with self.patches:
            self.end()

    def end(self) -> None:
        self.world.settle(self.chance)
        for one in range(self.size):
            for two in range(one + 1, self.size):
                self.world.converge(one, two)
        self.world.heal(0, 1)
        for what, times in self.world.seen.items():
            if times:
                event(what)


TestNetwork = Network.TestCase
# As many examples as the profile says: 100, or 2,000 with --hypothesis-profile=long.
TestNetwork.settings = settings(stateful_step_count=STEPS, deadline=None)


def test_a_script_goes_where_it_is_interesting() -> None:
    """What the machine may or may not reach by chance is reached here."""
    world = Adversary([0, 1, 0])
    world.start(0, 1)
    world.start(1, 0)
    world.send(0, [1])
    world.send(1, [0])
    for parcel in list(world.under_way):
        world.deliver(parcel)
    world.chat(0, 1, 50)
    kept: list[Parcel] = []
    for turn in range(24):  # two messages, of which one comes after the other has answered
        who, peer = turn % 2, 1 - turn % 2
        first, late = world.send(who, [peer]) + world.send(who, [peer])
        world.deliver(first)
        world.chat(peer, who, 1)
        if turn % 3:
            world.deliver(late)
        else:
            kept.append(late)
    assert world.seen["late, former chain"]
    for parcel in kept:  # from several epochs ago
        world.deliver(parcel)
    lost, last = world.send(0, [1]) + world.send(0, [1])
    world.deliver(last)
    world.deliver(lost)
    for parcel in list(world.done):
        world.replay(parcel)
        world.alter_inside(parcel, flip(60, 0))
    for crash in Crash:
        for parcel in world.send(0, [1], crash=crash):
            world.deliver(parcel, crash=True)
            world.deliver(parcel)
    world.send(2, [0, 1], crowd=True)
    for parcel in list(world.under_way):
        world.misdeliver(parcel, 2)
        world.misplace(parcel)
        world.deliver(parcel)
    world.back_up(0)
    world.chat(0, 1, 4)
    world.restore(0)
    world.chat(0, 1, 1)
    request = world.ask_to_restart(0, 1)
    for change in (flip(1, 0), flip(900, 3), flip(-1, 7), cut(2_029)):
        world.alter_inside(request, change)
    world.misdeliver(request, 2)
    world.misplace(request)
    world.deliver(request)
    world.replay(request)
    world.reinstall(1)
    world.settle(random.Random(0))
    for one, two in ((0, 1), (0, 2), (1, 2)):
        world.converge(one, two)
    world.heal(0, 1)
    assert {what for what, times in world.seen.items() if times} >= {
        "answer",
        "ask",
        "both start",
        "epoch 3",
        "healed",
        "installed anew",
        "last resort",
        "late, former chain",
        "late, key kept",
        "refused",
        "replay",
        "restart asked",
        "restarted",
        "restored",
        "skipped key",
    }


def test_sessions_are_bounded_and_a_deleted_one_does_not_come_back() -> None:
    """All begin under the last-resort key, which does not go away."""
    world = Adversary([0, 0])
    first: list[Parcel] = []
    for _ in range(MAX_SESSIONS + 3):
        world.now += 1
        world.start(0, 1)
        first += world.send(0, [1])
        world.deliver(first[-1])
    held = {who: world.devices[who].sessions_with(world.public[1 - who]) for who in (0, 1)}
    assert len(held[0]) == len(held[1]) == MAX_SESSIONS
    for parcel in first:
        world.replay(parcel)
    assert world.seen["replay"] == MAX_SESSIONS
    assert len(world.devices[1].sessions) == MAX_SESSIONS
    world.converge(0, 1)


def test_skipped_keys_are_bounded() -> None:
    world = Adversary([0, 0])
    world.chat(0, 1, 3)
    parcels = [parcel for _ in range(MAX_SKIPPED + 5) for parcel in world.send(0, [1])]
    world.deliver(parcels[-1])
    [session] = world.devices[1].sessions_with(world.public[0])
    assert len(session.ratchet.skipped) == MAX_SKIPPED
    for parcel in parcels[4:8]:
        world.deliver(parcel)
    for parcel in parcels[:4]:
        world.refuse(parcel, ReplayError)
    world.under_way.clear()
    world.converge(0, 1)


def test_a_session_from_a_backup_does_not_stay_in_use() -> None:
    """One that started later than all others, or in the same minute, and whose first message was
    late: the peer prefers it, so one side would send on this and the other on that for ever."""
    for seed in range(8):
        world = Adversary([0, 0])
        [late] = world.send(0, [1])
        world.back_up(0)
        world.restore(0)
        [parcel] = world.send(1, [0])
        world.deliver(parcel)
        world.deliver(late)
        world.settle(random.Random(seed))
        world.converge(0, 1)
        world.heal(0, 1)
