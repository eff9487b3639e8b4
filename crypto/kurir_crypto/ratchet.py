"""The Double Ratchet as an immutable value: sending or receiving gives a new one.

Source: Signal, "The Double Ratchet Algorithm", revision 4, sections 2 and 3 (without header
encryption: the sealing layer hides headers). As section 6 allows, a new ratchet key is made when
it is first needed for sending, not when the peer's arrives; receiving thus uses no randomness.

A ratchet gives one 32-byte message key per message and knows nothing of what it encrypts. The
post-quantum ratchet will stand beside it and its key will be mixed in by :mod:`.message`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from kurir_crypto.curve import agree, check_x25519_public, generate_x25519
from kurir_crypto.errors import (
    AuthenticationError,
    DamagedStateError,
    ReplayError,
    SkippedTooFarError,
)
from kurir_crypto.hidden import Hidden
from kurir_crypto.kdf import hkdf, hmac_sha256
from kurir_crypto.reader import Reader
from kurir_crypto.skipped import KeyName, SkippedKeys
from kurir_wire.ids import domain, u32
from kurir_wire.prekeys import U32, Bytes32

MAX_JUMP: Final = 25_000
"""Messages that one message may leap over: 30 ms of hashing; more is a broken session."""
MAX_PAST_CHAINS: Final = 64
"""Former ratchet keys of the peer that are remembered, so that a replay is called a replay."""
HEADER_BYTES: Final = 32 + 4 + 4

_PAST_BYTES: Final = 8
"""A prefix is enough: a peer who searches for a collision loses a message of its own."""
_NONE_SKIPPED: Final = SkippedKeys()
_MESSAGE_KEY: Final = b"\x01"
_NEXT_CHAIN: Final = b"\x02"


@dataclass(frozen=True, slots=True)
class RatchetHeader:
    """Goes with every message, authenticated: the sender's ratchet key, the length of its previous
    sending chain, the message's number in this one (section 3.1)."""

    public: bytes
    previous: int
    number: int

    def to_bytes(self) -> bytes:
        """40 bytes."""
        return self.public + u32(self.previous) + u32(self.number)

    @classmethod
    def read(cls, reader: Reader) -> RatchetHeader:
        """The next 40 bytes. The key is checked when it is used."""
        return cls(reader.take(32), reader.number(4), reader.number(4))


class RatchetState(Struct, frozen=True, eq=False, array_like=True, forbid_unknown_fields=True):
    """A ratchet as it is stored. Secret."""

    root: Bytes32
    own_secret: Bytes32
    own_public: Bytes32
    peer_public: Bytes32 | None
    send_chain: Bytes32 | None
    receive_chain: Bytes32 | None
    sent: U32
    received: U32
    previous: U32
    past: Annotated[bytes, Meta(max_length=MAX_PAST_CHAINS * _PAST_BYTES)]
    skipped: bytes

    def __repr__(self) -> str:
        return "<RatchetState>"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DoubleRatchet(Hidden):
    """One side's state (section 3.2). Chains are None before the first message in that direction;
    ``send_chain`` is also None between the peer's new ratchet key and one's own next."""

    root: bytes
    own_secret: bytes
    own_public: bytes
    peer_public: bytes | None = None
    send_chain: bytes | None = None
    receive_chain: bytes | None = None
    sent: int = 0
    received: int = 0
    previous: int = 0
    past: bytes = b""
    skipped: SkippedKeys = _NONE_SKIPPED

    @classmethod
    def start_initiator(cls, secret: bytes, peer_public: bytes) -> DoubleRatchet:
        """:param secret: the handshake's, 32 bytes
        :param peer_public: the responder's signed prekey, checked"""
        own_secret, own_public = generate_x25519()
        root, chain = _root_step(_first_root(secret), agree(own_secret, peer_public))
        return cls(root, own_secret, own_public, peer_public, chain)

    @classmethod
    def start_responder(cls, secret: bytes, own_secret: bytes, own_public: bytes) -> DoubleRatchet:
        """:param secret: the handshake's, 32 bytes
        :param own_secret: of the signed prekey that the initiator used"""
        return cls(_first_root(secret), own_secret, own_public)

    def send(self) -> tuple[DoubleRatchet, RatchetHeader, bytes]:
        """The next message's header and key (32 bytes), and the state after it.

        :raises InvalidKeyError: the peer's ratchet key gives an all-zero secret
        """
        state = self._turned()
        if state.send_chain is None:
            raise ValueError("a responder receives before it sends")
        header = RatchetHeader(state.own_public, state.previous, state.sent)
        chain, key = _chain_step(state.send_chain)
        return replace(state, send_chain=chain, sent=state.sent + 1), header, key

    def _turned(self) -> DoubleRatchet:
        """The sending half of a Diffie-Hellman ratchet step, if one is due."""
        if self.send_chain is not None or self.peer_public is None:
            return self
        own_secret, own_public = generate_x25519()
        root, chain = _root_step(self.root, agree(own_secret, self.peer_public))
        return replace(
            self,
            root=root,
            own_secret=own_secret,
            own_public=own_public,
            send_chain=chain,
            previous=self.sent,
            sent=0,
        )

    def receive(self, header: RatchetHeader) -> tuple[DoubleRatchet, bytes]:
        """The key (32 bytes) of a received message, and the state after it. Keep that state only
        once the message's tag was verified.

        :raises ReplayError: a message of that number was opened, or its key is forgotten
        :raises SkippedTooFarError: more than MAX_JUMP messages would be leapt over
        :raises InvalidKeyError: the ratchet key in the header
        """
        key = self.skipped.get(header.public, header.number)
        if key is not None:
            return replace(self, skipped=self.skipped.without(header.public, header.number)), key
        if header.public == self.peer_public:  # public values: no secret is compared here
            if header.number < self.received:
                raise ReplayError
            return self._forward(header.number)
        if self._is_past(header.public):
            raise ReplayError
        check_x25519_public(header.public)
        # Both chains count: the end of the old one and the beginning of the new one.
        left_over = 0 if self.receive_chain is None else header.previous - self.received
        _check_jump(max(0, left_over) + header.number)
        state = self._skip_to(header.previous)
        root, chain = _root_step(state.root, agree(state.own_secret, header.public))
        return replace(
            state,
            root=root,
            peer_public=header.public,
            send_chain=None,
            receive_chain=chain,
            received=0,
            past=state._past_with_current(),
        )._forward(header.number)

    def _forward(self, number: int) -> tuple[DoubleRatchet, bytes]:
        """Step the receiving chain past ``number``."""
        _check_jump(number - self.received)
        state = self._skip_to(number)
        if state.receive_chain is None:
            # A signed prekey is the responder's first ratchet key, and it never sends under it.
            raise AuthenticationError
        chain, key = _chain_step(state.receive_chain)
        return replace(state, receive_chain=chain, received=number + 1), key

    def _skip_to(self, number: int) -> DoubleRatchet:
        """Store the keys of all messages of the receiving chain before ``number``."""
        chain, peer = self.receive_chain, self.peer_public
        if chain is None or peer is None or number <= self.received:
            return self
        new: list[tuple[KeyName, bytes]] = []
        for skipped in range(self.received, number):
            chain, key = _chain_step(chain)
            new.append(((peer, skipped), key))
        return replace(self, receive_chain=chain, received=number, skipped=self.skipped.adding(new))

    def _is_past(self, public: bytes) -> bool:
        prefix = public[:_PAST_BYTES]
        return any(
            self.past[at : at + _PAST_BYTES] == prefix
            for at in range(0, len(self.past), _PAST_BYTES)
        )

    def _past_with_current(self) -> bytes:
        if self.peer_public is None:
            return self.past
        return (self.past + self.peer_public[:_PAST_BYTES])[-MAX_PAST_CHAINS * _PAST_BYTES :]

    def to_state(self) -> RatchetState:
        """For storing."""
        return RatchetState(
            self.root,
            self.own_secret,
            self.own_public,
            self.peer_public,
            self.send_chain,
            self.receive_chain,
            self.sent,
            self.received,
            self.previous,
            self.past,
            self.skipped.to_bytes(),
        )

    @classmethod
    def from_state(cls, state: RatchetState) -> DoubleRatchet:
        """:raises DamagedStateError: not what :meth:`to_state` gives"""
        fields = msgspec.structs.asdict(state)
        if len(state.past) % _PAST_BYTES:
            raise DamagedStateError
        return cls(**fields | {"skipped": SkippedKeys.from_bytes(state.skipped)})


def _check_jump(count: int) -> None:
    if count > MAX_JUMP:
        raise SkippedTooFarError(
            f"{count} messages are missing before this one, where at most {MAX_JUMP} are bridged"
        )


def _first_root(secret: bytes) -> bytes:
    """The Diffie-Hellman ratchet's share of the handshake's secret; another label gives another
    ratchet its own."""
    return hkdf(secret, domain("ratchet-ec"))


def _root_step(root: bytes, shared: bytes) -> tuple[bytes, bytes]:
    """KDF_RK: the next root and a new chain (section 5.2)."""
    both = hkdf(shared, domain("ratchet-root"), 64, salt=root)
    return both[:32], both[32:]


def _chain_step(chain: bytes) -> tuple[bytes, bytes]:
    """KDF_CK: the next chain and a message key (section 5.2)."""
    return hmac_sha256(chain, _NEXT_CHAIN), hmac_sha256(chain, _MESSAGE_KEY)
