"""The sparse post-quantum ratchet on a bad network: loss, order, duplicates, and its bounds."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kurir_crypto.errors import (
    ReplayError,
    SkippedTooFarError,
)
from kurir_crypto.skipped import MAX_JUMP, MAX_SKIPPED
from kurir_crypto.sparse import TURNS
from tests.crypto.ends import (
    Network,
    answered,
    asked,
    at_epoch,
    exchange,
)

# order, loss, duplicates


@pytest.mark.parametrize("seed", range(6))
def test_every_order_across_an_epoch_change(seed: int) -> None:
    """Three messages of either side in either epoch: any order, each opens exactly once."""
    generator = random.Random(seed)
    for _ in range(40):
        alice, bob = asked()
        bobs = [bob.send() for _ in range(3)]
        early = [alice.send(room=False) for _ in range(3)]  # stays in the epoch
        late = [alice.send() for _ in range(3)]
        assert [sent.header.epoch for sent in early + late] == [0, 0, 0, 1, 1, 1]
        to_bob, to_alice = early + late, bobs
        generator.shuffle(to_bob)
        generator.shuffle(to_alice)
        for sent in to_bob:
            bob.receive(sent)
            bob.refuses(sent.header, ReplayError)
        to_alice += [bob.send() for _ in range(2)]
        generator.shuffle(to_alice)
        for sent in to_alice:
            alice.receive(sent)
            alice.refuses(sent.header, ReplayError)
        for sent in to_bob:
            bob.refuses(sent.header, ReplayError)
        for sent in to_alice:
            alice.refuses(sent.header, ReplayError)
        assert alice.state.skipped == bob.state.skipped == {}
        exchange(alice, bob, 20)


def test_a_late_message_of_the_former_epoch_opens_before_and_after_the_peer_came_along() -> None:
    alice, bob = asked()
    one, two, three = (bob.send() for _ in range(3))
    answer = alice.send()
    alice.receive(two)  # alice is in epoch 1, bob is not
    assert alice.state.former is not None
    bob.receive(answer)
    alice.receive(bob.send())  # closes the former chain at its length of 4
    assert alice.state.former is None
    alice.receive(three)
    alice.receive(one)
    for sent in (one, two, three):
        alice.refuses(sent.header, ReplayError)
    beyond = three.header._replace(number=4)
    alice.refuses(beyond, ReplayError)


def test_two_epochs_later_a_skipped_message_opens_and_no_other() -> None:
    alice, bob = asked()
    lost = bob.send()
    opened = bob.send()
    alice.receive(opened)
    start = alice.state.epoch
    while min(alice.state.epoch, bob.state.epoch) < start + 3:
        exchange(alice, bob)
    alice.refuses(opened.header, ReplayError)
    alice.refuses(lost.header._replace(number=9), ReplayError)
    alice.receive(lost)
    alice.refuses(lost.header, ReplayError)


@pytest.mark.parametrize("seed", range(40))
def test_simulated_networks(seed: int) -> None:
    """Up to 60 % loss, 30 % duplicates and any order, for 300 steps: what arrives opens, once; and
    the epochs go on all the same."""
    generator = random.Random(seed)
    loss, double = generator.uniform(0, 0.6), generator.uniform(0, 0.3)
    network = Network()
    for _ in range(300):
        sender = generator.randrange(2)
        if generator.random() < 0.45:
            copies = 0 if generator.random() < loss else 1 + (generator.random() < double)
            network.send(sender, copies=copies, room=generator.random() < 0.9)
        elif network.waiting[sender]:
            network.deliver(sender, generator.randrange(len(network.waiting[sender])))
    network.deliver_all(generator)
    assert min(end.state.epoch for end in network.ends) >= 2


STEPS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0, 1, 1, 2, None, None]), st.integers(0, 40)),
    max_size=150,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.randoms(use_true_random=False))
def test_any_schedule(steps: list[tuple[int, int | None, int]], generator: random.Random) -> None:
    """Whatever is sent, doubled, dropped and delivered in whatever order: what arrives opens."""
    network = Network()
    for side, copies, choice in steps:
        if copies is not None:
            network.send(side, copies=copies, room=choice % 4 != 0)
        elif network.waiting[side]:
            network.deliver(side, choice % len(network.waiting[side]))
    network.deliver_all(generator)
    exchange(*network.ends, rounds=2 * TURNS + 2)
    assert network.ends[0].state.epoch == network.ends[1].state.epoch >= 1


# bounds


def test_a_jump_has_a_limit() -> None:
    alice, bob = at_epoch(1)
    header = alice.send().header
    bob.state.receive(header._replace(number=header.number + MAX_JUMP))
    for number in (header.number + MAX_JUMP + 1, 0xFFFF_FFFF):
        bob.refuses(header._replace(number=number), SkippedTooFarError)


FINE = [(1 + MAX_JUMP, 0), (1 + 20_000, 5_000), (0, MAX_JUMP), (1, MAX_JUMP)]
TOO_FAR = [(2 + MAX_JUMP, 0), (1 + 20_000, 5_001), (0, MAX_JUMP + 1), (0xFFFF_FFFF, 0xFFFF_FFFF)]


@pytest.mark.parametrize("asker", [True, False])
def test_a_jump_over_two_epochs_has_the_same_limit(asker: bool) -> None:
    """What is missing of the former chain counts too, whichever side entered first."""
    alice, bob, sent = answered()
    reader, header = bob, sent.header
    if not asker:
        bob.receive(sent)
        reader, header = alice, bob.send().header
    assert header[:3] == (1, 1, 0)  # the reader has opened one message of epoch 0
    for previous, number in FINE:
        reader.state.receive(header._replace(previous=previous, number=number))
    for previous, number in TOO_FAR:
        reader.refuses(header._replace(previous=previous, number=number), SkippedTooFarError)


def test_a_jump_in_the_former_epoch_has_the_same_limit() -> None:
    alice, bob, _ = answered()
    late = bob.send().header
    assert (late.epoch, late.number) == (0, 1)
    alice.state.receive(late._replace(number=1 + MAX_JUMP))
    alice.refuses(late._replace(number=2 + MAX_JUMP), SkippedTooFarError)


def test_skipped_keys_are_bounded_and_the_oldest_goes_first() -> None:
    alice, bob = at_epoch(1)
    sent = [alice.send(room=False) for _ in range(MAX_SKIPPED + 3)]
    bob.receive(sent[-1])
    assert len(bob.state.skipped) == MAX_SKIPPED
    for number in (0, 1):
        bob.refuses(sent[number].header, ReplayError)
    for number in (2, 3, MAX_SKIPPED + 1):
        bob.receive(sent[number])
    assert len(bob.state.skipped) == MAX_SKIPPED - 3


def test_eviction_crosses_epochs_by_age() -> None:
    alice, bob = asked()
    former = [alice.send(room=False) for _ in range(MAX_SKIPPED // 2)]
    present = [alice.send() for _ in range(MAX_SKIPPED // 2 + 3)]
    assert (former[-1].header.epoch, present[0].header.epoch) == (0, 1)
    bob.receive(present[-3])  # all before it are missing: just as many as are kept
    assert len(bob.state.skipped) == MAX_SKIPPED
    bob.receive(present[-1])
    assert len(bob.state.skipped) == MAX_SKIPPED
    bob.refuses(former[0].header, ReplayError)
    for sent in (*former[1:], *present[:-3], present[-2]):
        bob.receive(sent)
    assert not bob.state.skipped
