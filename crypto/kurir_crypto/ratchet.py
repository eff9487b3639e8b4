"""The Double Ratchet as an immutable value: sending or receiving gives a new one.

Source: Signal, "The Double Ratchet Algorithm", revision 4, sections 2 and 3 (without header
encryption: the sealing layer hides headers). As section 6 allows, a new ratchet key is made when
it is first needed for sending, not when the peer's arrives; receiving thus uses no randomness.

A ratchet gives one 32-byte message key per message and knows nothing of what it encrypts. The
post-quantum ratchet (:mod:`.sparse`) stands beside it; :mod:`.session` mixes the two keys.
"""

from __future__ import annotations

from typing import Annotated, Final, NamedTuple

from msgspec import Meta, field
from msgspec.structs import replace

from kurir_crypto.curve import (
    CurveSecret,
    OwnCurvePublic,
    PeerCurvePublic,
    agree,
    check_x25519_public,
    generate_x25519,
)
from kurir_crypto.errors import AuthenticationError, ReplayError
from kurir_crypto.hidden import SecretState
from kurir_crypto.kdf import chain_step, hkdf
from kurir_crypto.skipped import Skipped, check_jump, skip, without
from kurir_wire.ids import domain, u32
from kurir_wire.prekeys import U32, Bytes32

MAX_PAST_CHAINS: Final = 64
"""Former ratchet keys of the peer that are remembered, so that a replay is called a replay."""

_PAST_BYTES: Final = 8
"""A prefix is enough: a peer who searches for a collision loses a message of its own."""
_ROOT: Final = domain("ratchet-root")

Past = Annotated[
    list[Annotated[bytes, Meta(min_length=_PAST_BYTES, max_length=_PAST_BYTES)]],
    Meta(max_length=MAX_PAST_CHAINS),
]


class RatchetHeader(NamedTuple):
    """Goes with every message, authenticated: the sender's ratchet key, the length of its previous
    sending chain, the message's number in this one (section 3.1)."""

    public: bytes
    previous: int
    number: int


class DoubleRatchet(SecretState, frozen=True, eq=False):
    """One side's state (section 3.2), as it is stored. Secret.

    Chains are None before the first message in that direction; ``send_chain`` is also None between
    the peer's new ratchet key and one's own next.
    """

    root: Bytes32
    own_secret: Bytes32
    own_public: Bytes32
    peer_public: Bytes32 | None = None
    send_chain: Bytes32 | None = None
    receive_chain: Bytes32 | None = None
    sent: U32 = 0
    received: U32 = 0
    previous: U32 = 0
    past: Past = field(default_factory=list)
    skipped: Skipped = field(default_factory=dict)

    @classmethod
    def start_initiator(cls, secret: bytes, peer_public: PeerCurvePublic) -> DoubleRatchet:
        """:param secret: the handshake's, 32 bytes
        :param peer_public: the responder's signed prekey"""
        own_secret, own_public = generate_x25519()
        root, chain = _root_step(_first_root(secret), own_secret, peer_public)
        return cls(root, own_secret, own_public, peer_public, chain)

    @classmethod
    def start_responder(
        cls, secret: bytes, own_secret: CurveSecret, own_public: OwnCurvePublic
    ) -> DoubleRatchet:
        """:param secret: the handshake's, 32 bytes
        :param own_secret: of the signed prekey that the initiator used"""
        return cls(_first_root(secret), own_secret, own_public)

    def send(self) -> tuple[DoubleRatchet, RatchetHeader, bytes]:
        """The next message's header and key (32 bytes), and the state after it.

        :raises InvalidKeyError: the peer's ratchet key gives an all-zero secret
        """
        state = self._turned() if self.turn_is_due else self
        if state.send_chain is None:
            raise ValueError("a responder receives before it sends")
        header = RatchetHeader(state.own_public, state.previous, state.sent)
        chain, key = chain_step(state.send_chain)
        return replace(state, send_chain=chain, sent=state.sent + 1), header, key

    @property
    def turn_is_due(self) -> bool:
        """Whether the next message sent begins a new chain."""
        return self.send_chain is None and self.peer_public is not None

    def _turned(self) -> DoubleRatchet:
        """The sending half of a Diffie-Hellman ratchet step."""
        own_secret, own_public = generate_x25519()
        # Stored keys of the peer were checked when they came.
        peer = PeerCurvePublic(self.peer_public or b"")
        root, chain = _root_step(self.root, own_secret, peer)
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
        if self.skipped:
            name = header.public + u32(header.number)
            key = self.skipped.get(name)
            if key is not None:
                return replace(self, skipped=without(self.skipped, name)), key
        if header.public == self.peer_public:  # public values: no secret is compared here
            if header.number < self.received:
                raise ReplayError
            return self._forward(header.number)
        if header.public[:_PAST_BYTES] in self.past:
            raise ReplayError
        public = check_x25519_public(header.public)
        # Both chains count: the end of the old one and the beginning of the new one.
        left_over = 0 if self.receive_chain is None else header.previous - self.received
        check_jump(max(0, left_over) + header.number)
        state = self._skip_to(header.previous)
        root, chain = _root_step(state.root, CurveSecret(state.own_secret), public)
        return replace(
            state,
            root=root,
            peer_public=public,
            send_chain=None,
            receive_chain=chain,
            received=0,
            past=state._past_with_current(),
        )._forward(header.number)

    def _forward(self, number: int) -> tuple[DoubleRatchet, bytes]:
        """Step the receiving chain past ``number``."""
        check_jump(number - self.received)
        state = self._skip_to(number)
        if state.receive_chain is None:
            # A signed prekey is the responder's first ratchet key, and it never sends under it.
            raise AuthenticationError
        chain, key = chain_step(state.receive_chain)
        return replace(state, receive_chain=chain, received=number + 1), key

    def _skip_to(self, number: int) -> DoubleRatchet:
        """Store the keys of all messages of the receiving chain before ``number``."""
        if self.receive_chain is None or self.peer_public is None or number <= self.received:
            return self
        chain, skipped = skip(
            self.receive_chain, self.peer_public, self.received, number, self.skipped
        )
        return replace(self, receive_chain=chain, received=number, skipped=skipped)

    def _past_with_current(self) -> list[bytes]:
        if self.peer_public is None:
            return self.past
        return [*self.past, self.peer_public[:_PAST_BYTES]][-MAX_PAST_CHAINS:]


def _first_root(secret: bytes) -> bytes:
    """The Diffie-Hellman ratchet's share of the handshake's secret; the other ratchet's label gives
    it its own."""
    return hkdf(secret, domain("ratchet-ec"))


def _root_step(root: bytes, own: CurveSecret, peer: PeerCurvePublic) -> tuple[bytes, bytes]:
    """KDF_RK: the next root and a new chain (section 5.2)."""
    both = hkdf(agree(own, peer), _ROOT, 64, salt=root)
    return both[:32], both[32:]
