"""Two parties and a network that reorders, drops, duplicates, alters and misdelivers."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from kurir_crypto.errors import CryptoError, ReplayError, UnknownSessionError
from kurir_crypto.message import choose_session
from kurir_crypto.ratchet import MAX_PAST_CHAINS
from kurir_crypto.skipped import MAX_SKIPPED
from tests.crypto.parties import NOW, Party

STEPS = 60
assert STEPS < MAX_PAST_CHAINS  # else an old replay is no longer called a replay


@dataclass(frozen=True)
class Parcel:
    """A message on its way, and what it should show at whose device."""

    to: int
    message: bytes
    content: bytes


WHO = st.integers(0, 1)


class Network(RuleBasedStateMachine):
    """What is shown was sent by the other one and is shown once; rejected bytes change nothing."""

    parcels = Bundle("parcels")
    shown_parcels = Bundle("shown_parcels")

    @initialize(stock=st.integers(0, 3))
    def start(self, stock: int) -> None:
        self.parties = (Party(), Party())
        for party in self.parties:
            party.stock(stock)
        self.shown: set[bytes] = set()
        self.count = 0
        self.now = NOW

    def post(self, who: int) -> Parcel:
        party, peer = self.parties[who], self.parties[1 - who]
        self.count += 1
        content = f"message {self.count} of {who}".encode()
        try:
            message = party.send(content)
        except UnknownSessionError:
            party.start(peer.bundle(), self.now)
            message = party.send(content)
        return Parcel(1 - who, message, content)

    def show(self, parcel: Parcel) -> None:
        assert self.parties[parcel.to].receive(parcel.message) == parcel.content
        assert parcel.content not in self.shown
        self.shown.add(parcel.content)

    def refused(self, who: int, message: bytes) -> CryptoError:
        party = self.parties[who]
        before = party.snapshot()
        try:
            party.receive(message)
        except CryptoError as error:
            assert party.snapshot() == before
            return error
        raise AssertionError("it opened")

    @rule(target=parcels, who=WHO)
    def send(self, who: int) -> Parcel:
        return self.post(who)

    @rule(target=shown_parcels, parcel=consumes(parcels))
    def deliver(self, parcel: Parcel) -> Parcel:
        self.show(parcel)
        return parcel

    @rule(parcel=consumes(parcels))
    def drop(self, parcel: Parcel) -> None:
        pass

    @rule(parcel=shown_parcels)
    def replay(self, parcel: Parcel) -> None:
        assert isinstance(self.refused(parcel.to, parcel.message), ReplayError)

    @rule(parcel=parcels)
    def misdeliver(self, parcel: Parcel) -> None:
        self.refused(1 - parcel.to, parcel.message)

    @rule(parcel=parcels, at=st.integers(0, 20_000), bit=st.integers(0, 7))
    def alter(self, parcel: Parcel, at: int, bit: int) -> None:
        data = bytearray(parcel.message)
        data[at % len(data)] ^= 1 << bit
        self.refused(parcel.to, bytes(data))

    @rule(parcel=shown_parcels, at=st.integers(0, 20_000), bit=st.integers(0, 7))
    def alter_shown(self, parcel: Parcel, at: int, bit: int) -> None:
        data = bytearray(parcel.message)
        data[at % len(data)] ^= 1 << bit
        self.refused(parcel.to, bytes(data))

    @rule(parcel=parcels, keep=st.integers(0, 2_000))
    def cut(self, parcel: Parcel, keep: int) -> None:
        self.refused(parcel.to, parcel.message[: min(keep, len(parcel.message) - 1)])

    @rule(who=WHO, minutes=st.integers(0, 3))
    def start_again(self, who: int, minutes: int) -> None:
        self.now += minutes
        self.parties[who].start(self.parties[1 - who].bundle(), self.now)

    @invariant()
    def skipped_keys_are_bounded(self) -> None:
        for party in getattr(self, "parties", ()):
            for session in party.all_sessions():
                assert len(session.ratchet.skipped) <= MAX_SKIPPED

    def teardown(self) -> None:
        if not hasattr(self, "parties"):
            return
        # Quiet: whatever happened before, four turns bring both to one session.
        for turn in range(8):
            self.show(self.post(turn % 2))
        chosen = [choose_session(party.all_sessions()) for party in self.parties]
        assert chosen[0].id == chosen[1].id
        assert all(session.confirmed for session in chosen)


TestNetwork = Network.TestCase
TestNetwork.settings = settings(max_examples=100, stateful_step_count=STEPS, deadline=None)
