"""The sparse post-quantum ratchet: ML-KEM-768 keys now and then, one message key for every message.

Source: Signal, "The Double Ratchet Algorithm", revision 4, section 5 (the sparse post-quantum
ratchet within the Triple Ratchet). Here a key or ciphertext travels whole, in room that the padding
always keeps, so no message is longer for it.

Epochs number the shared secrets. Epoch 0 comes from the handshake. For each later one side *asks*
with an encapsulation key, repeated until the other side *answers* with a ciphertext, repeated until
it is heard in the new epoch; they take turns in asking. The answerer sends in the new epoch at
once, the asker from when it has the answer. An epoch has one chain for each direction.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from msgspec import Meta, field
from msgspec.structs import replace

from kurir_crypto.errors import AuthenticationError, ReplayError
from kurir_crypto.hidden import SecretState
from kurir_crypto.kdf import chain_step, hkdf
from kurir_crypto.kem import (
    CIPHERTEXT_768_BYTES,
    PUBLIC_768_BYTES,
    SEED_BYTES,
    KemSeed,
    PeerKem768,
    check_768_public,
    decapsulate_768,
    encapsulate_768,
    generate_768,
)
from kurir_crypto.skipped import Skipped, check_jump, skip, without
from kurir_wire.ids import digest, domain, u32
from kurir_wire.prekeys import U32, Bytes32

TURNS: Final = 5
"""Of one's own ratchet keys, from one epoch to asking for the next: what an epoch costs is spread
over some ten messages of a conversation. The first epoch is asked for at the first answer, for the
handshake's KEM key may have been a last-resort one."""
ASK_BYTES: Final = PUBLIC_768_BYTES
ANSWER_BYTES: Final = CIPHERTEXT_768_BYTES

_ROOT: Final = domain("ratchet-pq-root")

Seed = Annotated[bytes, Meta(min_length=SEED_BYTES, max_length=SEED_BYTES)]
Public = Annotated[bytes, Meta(min_length=ASK_BYTES, max_length=ASK_BYTES)]
Ciphertext = Annotated[bytes, Meta(min_length=ANSWER_BYTES, max_length=ANSWER_BYTES)]


class SparseHeader(NamedTuple):
    """Goes with every message, authenticated: epoch, length of the sender's chain in the epoch
    before, number in this one; and at most one of ``ask`` (an encapsulation key for the next epoch)
    and ``answer`` (the ciphertext that gave this epoch)."""

    epoch: int
    previous: int
    number: int
    ask: bytes | None = None
    answer: bytes | None = None


class Asking(SecretState, frozen=True, eq=False):
    """What one has asked with, until the answer comes."""

    seed: Seed
    public: Public


class Former(SecretState, frozen=True, eq=False):
    """The receiving chain of the epoch before, until the peer is heard in the present one."""

    chain: Bytes32
    received: U32


class SparseRatchet(SecretState, frozen=True, eq=False):
    """One side's state, as it is stored. Secret.

    :ivar turns: ratchet keys of one's own since the epoch began
    :ivar asked: what the peer has asked with, until one has sent the answer
    :ivar answer: the ciphertext that gave this epoch, until the peer is heard in it
    :ivar waited: messages since the last one that had room: whose turn it is among several sessions
    """

    initiator: bool
    root: Bytes32
    send_chain: Bytes32
    receive_chain: Bytes32
    epoch: U32 = 0
    sent: U32 = 0
    received: U32 = 0
    previous: U32 = 0
    turns: U32 = TURNS - 1
    former: Former | None = None
    asking: Asking | None = None
    asked: Public | None = None
    answer: Ciphertext | None = None
    skipped: Skipped = field(default_factory=dict)
    waited: U32 = 0

    @classmethod
    def start(cls, secret: bytes, *, initiator: bool) -> SparseRatchet:
        """:param secret: the handshake's, 32 bytes"""
        return cls(initiator, *_epoch_keys(hkdf(secret, domain("ratchet-pq"), 96), initiator))

    # sending

    @property
    def must_attach(self) -> bool:
        """Whether the next message has to carry an answer: the peer could not open it without."""
        return self.answer is not None

    def would_attach(self, *, turned: bool) -> bool:
        """Whether the next message has something to carry, if there is room."""
        return (
            self.answer is not None
            or self.asked is not None
            or self.asking is not None
            or self._may_ask(self.turns + turned)
        )

    def send(self, *, turned: bool, room: bool) -> tuple[SparseRatchet, SparseHeader, bytes]:
        """The next message's header and key (32 bytes), and the state after it.

        :param turned: this message brings a new ratchet key of the other ratchet
        :param room: the message has room for a key or a ciphertext
        :raises ValueError: no room, although :attr:`must_attach`
        """
        state = replace(self, turns=self.turns + 1) if turned else self
        if room and state.asked is not None:
            state = state._answered(PeerKem768(state.asked))
        elif room and state.asking is None and state._may_ask(state.turns):
            state = replace(state, asking=Asking(*generate_768()))
        if state.answer is not None and not room:
            raise ValueError("this message must carry an answer and has no room for it")
        ask = None
        if room and state.answer is None and state.asking is not None:
            ask = state.asking.public
        header = SparseHeader(state.epoch, state.previous, state.sent, ask, state.answer)
        chain, key = chain_step(state.send_chain)
        waited = 0 if room else state.waited + 1
        return replace(state, send_chain=chain, sent=state.sent + 1, waited=waited), header, key

    def _asks_for(self, epoch: int) -> bool:
        """The responder asks for odd epochs, the initiator for even ones."""
        return self.initiator == (epoch % 2 == 0)

    def _may_ask(self, turns: int) -> bool:
        return self.answer is None and turns >= TURNS and self._asks_for(self.epoch + 1)

    def _answered(self, asked: PeerKem768) -> SparseRatchet:
        shared, ciphertext = encapsulate_768(asked)
        return replace(self._entered(shared, asked, ciphertext), answer=ciphertext)

    def _entered(self, shared: bytes, ask: bytes, answer: bytes) -> SparseRatchet:
        """The next epoch. Of the present one only the receiving chain is kept."""
        epoch = self.epoch + 1
        info = _ROOT + u32(epoch) + digest("ratchet-pq-kem", ask, answer)
        root, send_chain, receive_chain = _epoch_keys(
            hkdf(shared, info, 96, salt=self.root), self.initiator
        )
        return replace(
            self,
            root=root,
            send_chain=send_chain,
            receive_chain=receive_chain,
            epoch=epoch,
            sent=0,
            received=0,
            previous=self.sent,
            turns=0,
            former=Former(self.receive_chain, self.received),
            asking=None,
            asked=None,
        )

    # receiving

    def receive(self, header: SparseHeader) -> tuple[SparseRatchet, bytes]:
        """The key (32 bytes) of a received message, and the state after it. Keep that state only
        once the message's tag was verified.

        :raises ReplayError: a message of that number was opened, or its key is forgotten
        :raises AuthenticationError: an epoch or a key that cannot come at this point
        :raises SkippedTooFarError: more than MAX_JUMP messages would be leapt over
        :raises InvalidKeyError: the encapsulation key in it
        """
        name = u32(header.epoch) + u32(header.number)
        key = self.skipped.get(name)
        if key is not None:
            return replace(self, skipped=without(self.skipped, name)), key
        if header.epoch == self.epoch:
            return self._heard(header)
        if header.epoch == self.epoch + 1:
            if self.asking is None or header.answer is None:
                raise AuthenticationError
            shared = decapsulate_768(KemSeed(self.asking.seed), header.answer)
            return self._entered(shared, self.asking.public, header.answer)._heard(header)
        if header.epoch > self.epoch:
            raise AuthenticationError
        if self.former is None or header.epoch < self.epoch - 1:
            raise ReplayError
        return self._heard_late(header.number)

    def _heard(self, header: SparseHeader) -> tuple[SparseRatchet, bytes]:
        """A message of the present epoch."""
        if header.number < self.received:
            raise ReplayError
        left_over = max(0, header.previous - self.former.received) if self.former else 0
        check_jump(left_over + header.number - self.received)
        state = self._closed(header.previous) if self.former else self
        if header.ask is not None:
            if self._asks_for(self.epoch + 1):
                raise AuthenticationError  # it is not the peer's turn
            if state.asked is None:
                state = replace(state, asked=check_768_public(header.ask))
        chain, skipped = state.receive_chain, state.skipped
        if header.number > state.received:
            chain, skipped = skip(chain, u32(state.epoch), state.received, header.number, skipped)
        chain, key = chain_step(chain)
        state = replace(
            state, receive_chain=chain, received=header.number + 1, skipped=skipped, answer=None
        )
        return state, key

    def _closed(self, previous: int) -> SparseRatchet:
        """The peer is in this epoch now, after so many messages in the one before."""
        former = self.former
        if former is None:
            return self
        _, skipped = skip(
            former.chain, u32(self.epoch - 1), former.received, previous, self.skipped
        )
        return replace(self, former=None, skipped=skipped)

    def _heard_late(self, number: int) -> tuple[SparseRatchet, bytes]:
        """A message of the epoch before, whose sender has not read the answer yet."""
        former = self.former
        if former is None or number < former.received:
            raise ReplayError
        check_jump(number - former.received)
        chain, skipped = skip(
            former.chain, u32(self.epoch - 1), former.received, number, self.skipped
        )
        chain, key = chain_step(chain)
        return replace(self, former=Former(chain, number + 1), skipped=skipped), key


def _epoch_keys(keys: bytes, initiator: bool) -> tuple[bytes, bytes, bytes]:
    """Root, sending chain and receiving chain of 96 bytes: root, initiator's, responder's chain."""
    root, first, second = keys[:32], keys[32:64], keys[64:]
    return (root, first, second) if initiator else (root, second, first)
