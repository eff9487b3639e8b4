"""Two ends of a sparse post-quantum ratchet for tests, and a network between them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import msgspec
import pytest

from kurir_crypto.errors import (
    CryptoError,
    ReplayError,
)
from kurir_crypto.sparse import SparseHeader, SparseRatchet

ENCODER = msgspec.msgpack.Encoder()
DECODER = msgspec.msgpack.Decoder(SparseRatchet)


@dataclass(frozen=True)
class Sent:
    """A message: its header, its key, and which turn of its sender it belongs to."""

    header: SparseHeader
    key: bytes
    turn: int


@dataclass
class End:
    """One side. Stored and restored at every step; it turns as the Double Ratchet would: with the
    first message that it sends after one of a new turn of the peer."""

    state: SparseRatchet
    turn: int = 0
    peer_turn: int = 0
    due: bool = False

    def send(self, *, room: bool = True) -> Sent:
        before, must = self.encoded(), self.state.must_attach
        could = self.state.would_attach(turned=self.due)
        after, header, key = self.state.send(turned=self.due, room=room)
        assert self.encoded() == before
        assert header.ask is None or header.answer is None
        assert could or (header.ask is None and header.answer is None)
        assert not must or header.answer is not None
        self.turn += self.due
        self.state, self.due = DECODER.decode(ENCODER.encode(after)), False
        return Sent(header, key, self.turn)

    def receive(self, sent: Sent) -> None:
        before = self.encoded()
        after, key = self.state.receive(sent.header)
        assert self.encoded() == before
        assert key == sent.key
        self.state = DECODER.decode(ENCODER.encode(after))
        if sent.turn > self.peer_turn:
            self.peer_turn, self.due = sent.turn, True

    def refuses(self, header: SparseHeader, error: type[CryptoError]) -> None:
        """It raises just that, and the state stays byte for byte."""
        before = self.encoded()
        with pytest.raises(error) as caught:
            self.state.receive(header)
        assert caught.type is error
        assert self.encoded() == before

    def encoded(self) -> bytes:
        return ENCODER.encode(self.state)


def fresh() -> tuple[End, End]:
    """Initiator and responder before any message."""
    secret = random.randbytes(32)
    alice = SparseRatchet.start(secret, initiator=True)
    bob = SparseRatchet.start(secret, initiator=False)
    return End(alice, peer_turn=-1), End(bob, peer_turn=-1)


def exchange(alice: End, bob: End, rounds: int = 1) -> list[Sent]:
    """Ping-pong, nothing lost."""
    sent = []
    for _ in range(rounds):
        for one, other in ((alice, bob), (bob, alice)):
            sent.append(one.send())
            other.receive(sent[-1])
    return sent


def at_epoch(epoch: int) -> tuple[End, End]:
    """Both sides in that epoch, with nothing of the one before left to come."""
    alice, bob = fresh()
    while not (
        alice.state.epoch == bob.state.epoch == epoch
        and {alice.state.former, bob.state.former, alice.state.answer, bob.state.answer} == {None}
    ):
        exchange(alice, bob)
    return alice, bob


def asked() -> tuple[End, End]:
    """The responder has asked for epoch 1, the initiator has heard it."""
    alice, bob = fresh()
    exchange(alice, bob)
    assert alice.state.asked is not None
    return alice, bob


def answered() -> tuple[End, End, Sent]:
    """The initiator is in epoch 1; its first message there is under way."""
    alice, bob = asked()
    return alice, bob, alice.send()


@dataclass
class Network:
    """Two ends, and what is under way to each: any of it may come next, or never."""

    ends: tuple[End, End] = field(default_factory=fresh)
    waiting: tuple[list[Sent], list[Sent]] = field(default_factory=lambda: ([], []))
    opened: set[bytes] = field(default_factory=set)
    keys: set[bytes] = field(default_factory=set)

    def send(self, sender: int, *, copies: int, room: bool) -> None:
        end = self.ends[sender]
        if not sender or end.peer_turn >= 0:  # a responder receives before it sends
            sent = end.send(room=room or end.state.must_attach)
            assert sent.key not in self.keys
            self.keys.add(sent.key)
            self.waiting[1 - sender].extend([sent] * copies)

    def deliver(self, reader: int, index: int) -> None:
        sent = self.waiting[reader].pop(index)
        if sent.key in self.opened:
            self.ends[reader].refuses(sent.header, ReplayError)
        else:
            self.opened.add(sent.key)
            self.ends[reader].receive(sent)

    def deliver_all(self, generator: random.Random) -> None:
        for reader in (0, 1):
            while self.waiting[reader]:
                self.deliver(reader, generator.randrange(len(self.waiting[reader])))


__all__ = [
    "DECODER",
    "ENCODER",
    "End",
    "Network",
    "Sent",
    "answered",
    "asked",
    "at_epoch",
    "exchange",
    "fresh",
]
