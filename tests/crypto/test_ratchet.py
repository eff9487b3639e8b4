"""The Double Ratchet through messages: order, loss, bounds, replay, healing."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from kurir_crypto.curve import check_x25519_public, generate_x25519
from kurir_crypto.errors import (
    AuthenticationError,
    DamagedStateError,
    ReplayError,
    SkippedTooFarError,
)
from kurir_crypto.layout import parse
from kurir_crypto.message import decrypt, encrypt, inspect
from kurir_crypto.ratchet import MAX_PAST_CHAINS, DoubleRatchet, RatchetHeader
from kurir_crypto.session import Session
from kurir_crypto.skipped import MAX_JUMP, MAX_SKIPPED
from kurir_crypto.sparse import SparseRatchet
from tests.crypto.parties import BINDING, Party, only, talking


def test_the_bounds() -> None:
    """Part of the protocol: docs/protocol.md states them."""
    assert (MAX_SKIPPED, MAX_JUMP, MAX_PAST_CHAINS) == (2_000, 25_000, 64)


def ratchets() -> tuple[DoubleRatchet, DoubleRatchet]:
    """Two ends after one message each way."""
    alice, bob = talking()
    return only(alice).ratchet, only(bob).ratchet


def test_both_sides_get_the_same_keys_and_never_one_twice() -> None:
    alice, bob = ratchets()
    seen = set()
    for turn in range(20):
        for _ in range(turn % 3 + 1):
            alice, header, key = alice.send()
            bob, same_key = bob.receive(header)
            assert key == same_key
            seen.add(key)
        alice, bob = bob, alice
    assert len(seen) == sum(turn % 3 + 1 for turn in range(20))


def test_the_first_header_counts_from_zero() -> None:
    alice, bob = Party(), Party()
    alice.start(bob.bundle())
    [entry] = inspect(alice.send(b"x"))
    assert entry.head.headers.curve[1:] == (0, 0)
    [entry] = inspect(alice.send(b"x"))
    assert entry.head.headers.curve[1:] == (0, 1)


def test_any_order_within_and_across_turns() -> None:
    generator = random.Random(7)
    alice, bob = talking()
    waiting: list[tuple[bytes, bytes]] = []
    for turn in range(12):
        for number in range(3):
            content = f"{turn}/{number}".encode()
            waiting.append((alice.send(content), content))
        # One opens, so that bob answers under a new ratchet key; the others stay behind.
        message, content = waiting.pop(generator.randrange(len(waiting)))
        assert bob.receive(message) == content
        assert alice.receive(bob.send(b"go on")) == b"go on"
    generator.shuffle(waiting)
    for message, content in waiting:
        assert bob.receive(message) == content
    assert len(only(bob).ratchet.skipped) == 0


def test_a_new_ratchet_key_with_every_turn_and_not_more_often() -> None:
    alice, bob = talking()
    first, second = (inspect(alice.send(b"x"))[0].head.headers.curve for _ in range(2))
    assert first.public == second.public
    assert (first.number, second.number) == (0, 1)
    bob.receive(alice.send(b"x"))
    alice.receive(bob.send(b"y"))
    third = inspect(alice.send(b"x"))[0].head.headers.curve
    assert third.public != first.public
    assert (third.previous, third.number) == (3, 0)


def test_receiving_is_deterministic_and_leaves_the_value_alone() -> None:
    alice, bob = talking()
    message = alice.send(b"x")
    session = only(bob)
    before = session.to_bytes()
    results = {decrypt(session, message, BINDING)[0].to_bytes() for _ in range(3)}
    assert len(results) == 1
    assert session.to_bytes() == before
    assert before not in results


def test_a_replay_is_a_replay_in_old_chains_too() -> None:
    alice, bob = talking()
    messages = []
    for _ in range(MAX_PAST_CHAINS - 1):
        messages.append(alice.send(b"x"))
        bob.receive(messages[-1])
        alice.receive(bob.send(b"y"))
    before = bob.snapshot()
    for message in messages:
        with pytest.raises(ReplayError):
            bob.receive(message)
    assert bob.snapshot() == before


def test_what_is_remembered_of_old_chains_is_bounded() -> None:
    alice, bob = talking()
    oldest = alice.send(b"x")
    bob.receive(oldest)
    sizes = set()
    for turn in range(MAX_PAST_CHAINS + 20):
        alice.receive(bob.send(b"y"))
        bob.receive(alice.send(b"x"))
        if turn >= MAX_PAST_CHAINS:
            sizes.add(len(only(bob).ratchet.past))
    assert sizes == {MAX_PAST_CHAINS}
    before = bob.snapshot()
    with pytest.raises((AuthenticationError, ReplayError)):
        bob.receive(oldest)
    assert bob.snapshot() == before


def test_the_latest_of_old_chains_are_remembered() -> None:
    """By the Double Ratchet alone: in a session the other ratchet would notice too."""
    alice, bob = ratchets()
    headers = []
    for _ in range(MAX_PAST_CHAINS + 20):
        alice, header, _ = alice.send()
        bob, _ = bob.receive(header)
        bob, answer, _ = bob.send()
        alice, _ = alice.receive(answer)
        headers.append(header)
    for header in headers[-MAX_PAST_CHAINS - 1 :]:  # the present chain and the former ones
        with pytest.raises(ReplayError):
            bob.receive(header)
    bob.receive(headers[-MAX_PAST_CHAINS - 2])  # gives a key that opens nothing


def test_skipped_keys_are_bounded_and_the_oldest_goes_first() -> None:
    alice, bob = talking()
    session, messages = only(alice), []
    for number in range(MAX_SKIPPED + 3):
        [session], message = encrypt([session], str(number).encode(), BINDING)
        messages.append(message)
    bob.receive(messages[-1])
    assert len(only(bob).ratchet.skipped) == MAX_SKIPPED
    # Both ratchets keep a key for each message that is missing.
    assert len(only(bob).to_bytes()) < 240_000
    for number in (0, 1):
        with pytest.raises(ReplayError):
            bob.receive(messages[number])
    for number in (2, 3, MAX_SKIPPED + 1):
        assert bob.receive(messages[number]) == str(number).encode()
    assert len(only(bob).ratchet.skipped) == MAX_SKIPPED - 3


def test_eviction_crosses_chains_by_age() -> None:
    alice, bob = talking()
    early = alice.send(b"early")
    bob.receive(alice.send(b"x"))
    alice.receive(bob.send(b"y"))
    session, message = only(alice), b""
    for _ in range(MAX_SKIPPED - 1):
        [session], message = encrypt([session], b"z", BINDING)
    alice.store(session)
    bob.receive(message)
    assert len(only(bob).ratchet.skipped) == MAX_SKIPPED - 1
    kept = Session.from_bytes(only(bob).to_bytes())
    assert decrypt(kept, early, BINDING)[1] == b"early"
    alice.send(b"lost")
    alice.send(b"lost")
    bob.receive(alice.send(b"x"))
    assert len(only(bob).ratchet.skipped) == MAX_SKIPPED
    with pytest.raises(ReplayError):
        bob.receive(early)


def test_a_jump_has_a_limit() -> None:
    alice, bob = ratchets()
    alice, header, _ = alice.send()
    bob, _ = bob.receive(header)
    number = bob.received
    bob.receive(header._replace(number=number + MAX_JUMP))
    with pytest.raises(SkippedTooFarError, match="25001 messages"):
        bob.receive(header._replace(number=number + MAX_JUMP + 1))


def test_a_jump_over_two_chains_has_the_same_limit() -> None:
    alice, bob = ratchets()
    alice, header, _ = alice.send()
    bob, _ = bob.receive(header)
    bob, answer, _ = bob.send()
    alice, _ = alice.receive(answer)
    alice, header, _ = alice.send()
    assert header.previous == bob.received == 1
    bob.receive(header._replace(previous=1 + MAX_JUMP))
    bob.receive(header._replace(previous=1 + 20_000, number=5_000))
    bob.receive(header._replace(previous=0, number=MAX_JUMP))
    for previous, skipped in ((2 + MAX_JUMP, 0), (1 + 20_000, 5_001), (0, MAX_JUMP + 1)):
        with pytest.raises(SkippedTooFarError):
            bob.receive(header._replace(previous=previous, number=skipped))
    with pytest.raises(SkippedTooFarError):
        bob.receive(RatchetHeader(header.public, 0xFFFF_FFFF, 0xFFFF_FFFF))


def test_the_first_chain_has_the_same_limit() -> None:
    alice, bob = Party(), Party()
    alice.start(bob.bundle())
    layout = parse(alice.send(b"x"))
    [entry] = layout.entries
    headers = entry.head.headers
    headers = headers._replace(curve=headers.curve._replace(number=MAX_JUMP + 1))
    head = entry.head._replace(headers=headers)
    forged = layout._replace(entries=(entry._replace(head=head),))
    with pytest.raises(SkippedTooFarError):
        bob.receive(forged.to_bytes())


@pytest.mark.parametrize("number", [0, 5])
def test_messages_under_the_signed_prekey_do_not_exist(number: int) -> None:
    alice, bob = Party(), Party()
    session = alice.start(bob.bundle())
    with pytest.raises(AuthenticationError):
        session.ratchet.receive(RatchetHeader(bob.signed[1].public.public, 0, number))


def test_a_chain_before_the_first_counts_for_nothing() -> None:
    """An answer may claim one; it is the sender's to say, and there are no keys to keep of it."""
    bob_secret, bob_public = generate_x25519()
    alice = DoubleRatchet.start_initiator(b"s" * 32, check_x25519_public(bob_public))
    bob = DoubleRatchet.start_responder(b"s" * 32, bob_secret, bob_public)
    bob, _ = bob.receive(alice.send()[1])
    bob, header, key = bob.send()
    for previous in (0, 5, 2**32 - 1):
        moved, same_key = alice.receive(header._replace(previous=previous))
        assert same_key == key
        assert not moved.skipped
    alice.receive(header._replace(previous=5, number=MAX_JUMP))
    with pytest.raises(SkippedTooFarError):
        alice.receive(header._replace(previous=5, number=MAX_JUMP + 1))


def test_a_responder_cannot_send_first() -> None:
    ratchet = DoubleRatchet.start_responder(bytes(32), *generate_x25519())
    with pytest.raises(ValueError, match="receives before"):
        ratchet.send()


def test_a_stolen_state_opens_nothing_of_before() -> None:
    """Forward secrecy: what was opened cannot be opened again from the state after it."""
    alice, bob = talking()
    message = alice.send(b"secret")
    bob.receive(message)
    thief = only(bob)
    with pytest.raises(ReplayError):
        decrypt(thief, message, BINDING)


def test_a_stolen_state_is_locked_out_after_one_turn_each() -> None:
    alice, bob = talking()
    thief = only(bob)
    assert decrypt(thief, alice.send(b"read by the thief"), BINDING)[1]
    bob.receive(alice.send(b"x"))
    alice.receive(bob.send(b"bob has a new ratchet key"))
    message = alice.send(b"healed")
    with pytest.raises(AuthenticationError):
        decrypt(thief, message, BINDING)
    assert bob.receive(message) == b"healed"


def test_the_two_ratchets_do_not_share_a_first_root() -> None:
    """Of one handshake's secret each takes its own share."""
    secret = b"s" * 32
    double = DoubleRatchet.start_responder(secret, *generate_x25519())
    sparse = SparseRatchet.start(secret, initiator=False)
    taken = [double.root, sparse.root, sparse.send_chain, sparse.receive_chain]
    assert len({*taken, secret}) == 5


def test_the_first_turn_is_the_initiators_with_the_handshake() -> None:
    bob_secret, bob_public = generate_x25519()
    alice = DoubleRatchet.start_initiator(b"s" * 32, check_x25519_public(bob_public))
    bob = DoubleRatchet.start_responder(b"s" * 32, bob_secret, bob_public)
    assert not alice.turn_is_due
    assert not bob.turn_is_due
    alice, header, key = alice.send()
    bob, same_key = bob.receive(header)
    assert key == same_key
    assert bob.turn_is_due
    assert not alice.turn_is_due
    bob, _, _ = bob.send()
    assert not bob.turn_is_due


def damaged(ratchet: DoubleRatchet) -> list[DoubleRatchet]:
    """States that no program stores."""
    many = {n.to_bytes(36, "big"): bytes(32) for n in range(MAX_SKIPPED + 1)}
    return [
        replace(ratchet, past=[b"1234567"]),
        replace(ratchet, past=[bytes(8)] * (MAX_PAST_CHAINS + 1)),
        replace(ratchet, skipped={bytes(37): bytes(32)}),
        replace(ratchet, skipped={bytes(36): bytes(31)}),
        replace(ratchet, skipped=many),
        replace(ratchet, root=bytes(31)),
        replace(ratchet, own_secret=bytes(33)),
        replace(ratchet, peer_public=b""),
        replace(ratchet, sent=-1),
        replace(ratchet, received=2**32),
    ]


def test_stored_ratchets_are_validated() -> None:
    alice, bob = talking()
    alice.send(b"lost")
    bob.receive(alice.send(b"x"))
    session = only(bob)
    [(name, key)] = session.ratchet.skipped.items()
    assert (len(name), len(key)) == (36, 32)
    assert Session.from_bytes(session.to_bytes()).ratchet.skipped == {name: key}
    for ratchet in damaged(session.ratchet):
        with pytest.raises(DamagedStateError):
            Session.from_bytes(replace(session, ratchet=ratchet).to_bytes())
    data = session.to_bytes()
    for wrong in (b"", data[:-1], data + b"\0", b"\x90", b"\xc0", b"\xa1\xff", data[1:]):
        with pytest.raises(DamagedStateError):
            Session.from_bytes(wrong)


def test_a_full_store_comes_back_with_the_oldest_still_first() -> None:
    """The order of eviction survives storing: it is the order of the encoded map."""
    alice, bob = ratchets()
    for _ in range(MAX_SKIPPED):
        alice, _, _ = alice.send()
    alice, header, _ = alice.send()
    bob, _ = bob.receive(header)
    session = replace(only(talking()[0]), ratchet=bob)
    again = Session.from_bytes(session.to_bytes())
    assert list(again.ratchet.skipped) == list(bob.skipped)
    assert len(bob.skipped) == MAX_SKIPPED
