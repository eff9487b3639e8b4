"""A session: the ratcheting state between two devices, from a handshake on. An immutable value.

Whoever stores sessions keeps these rules (docs/protocol.md, "Sessions"):

- store what :func:`~kurir_crypto.message.encrypt` returns before its bytes leave the device, else a
  crash lets one key encrypt two messages;
- store what decrypt returns together with the content, or keep the old one: rejected input gives no
  new value at all;
- keep older sessions for receiving; for sending take :func:`~kurir_crypto.message.choose_session`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from kurir_crypto import handshake as pqxdh
from kurir_crypto.curve import PeerCurvePublic
from kurir_crypto.errors import CryptoError, DamagedStateError, StartedLaterError
from kurir_crypto.handshake import HANDSHAKE_BYTES, SESSION_ID_BYTES, Handshake, PreKeyStore
from kurir_crypto.hidden import SecretState
from kurir_crypto.kdf import hkdf
from kurir_crypto.keys import IdentityKeyPair
from kurir_crypto.ratchet import DoubleRatchet, RatchetHeader
from kurir_crypto.sparse import SparseHeader, SparseRatchet
from kurir_crypto.suite import CURRENT_SUITE, check_suite
from kurir_wire.ids import domain, u8
from kurir_wire.prekeys import U8, U32, Bytes16, Bytes32, IdentityPublic, PreKeyBundle

MAX_STARTED: Final = 0xFFFF_FFFF
"""The last unix minute that fits, in the year 10136."""
MAX_SESSIONS: Final = 40
"""Sessions kept with one device: the one in use, and older ones for what is still under way."""
_ENTRY_KEY: Final = domain("entry-key")

HandshakeBytes = Annotated[bytes, Meta(min_length=HANDSHAKE_BYTES, max_length=HANDSHAKE_BYTES)]


class Headers(NamedTuple):
    """What a message says of both ratchets."""

    curve: RatchetHeader
    sparse: SparseHeader


class Session(SecretState, frozen=True, eq=False):
    """One device's end of a session, as it is stored: msgpack of this array. Secret.

    :ivar id: 16 random bytes, chosen by the initiator, authenticated
    :ivar peer: whom it is with; whether that is the right person is the safety number's business
    :ivar started: unix minute, given by the initiator, authenticated
    :ivar initiated: this side sent the handshake
    :ivar confirmed: a message was received; until then each message repeats the handshake
    :ivar associated: 32 bytes that bind every message to identities, KEM key, suite, id and start
    :ivar handshake: the 1,746 bytes to repeat, or None
    """

    suite: U8
    id: Bytes16
    peer: IdentityPublic
    started: U32
    initiated: bool
    confirmed: bool
    associated: Bytes32
    handshake: HandshakeBytes | None
    ratchet: DoubleRatchet
    sparse: SparseRatchet

    @classmethod
    def initiate(cls, own: IdentityKeyPair, bundle: PreKeyBundle, started: int) -> Session:
        """Start a session with the owner of ``bundle``.

        :param started: unix minute; take it from :func:`next_start`
        :raises UntrustedKeyError: a signature in the bundle fails
        :raises InvalidKeyError: a key in it is one that no honest party makes
        :raises ValueError: ``started`` does not fit 32 bits
        """
        if not 0 <= started <= MAX_STARTED:
            raise ValueError("the start is a unix minute")
        session_id = os.urandom(SESSION_ID_BYTES)
        header, agreed = pqxdh.initiate(own, bundle, CURRENT_SUITE, session_id, started)
        signed = PeerCurvePublic(bundle.signed.public)  # checked by the handshake
        return cls(
            suite=CURRENT_SUITE,
            id=session_id,
            peer=bundle.identity,
            started=started,
            initiated=True,
            confirmed=False,
            associated=agreed.associated,
            handshake=header.to_bytes(),
            ratchet=DoubleRatchet.start_initiator(agreed.secret, signed),
            sparse=SparseRatchet.start(agreed.secret, initiator=True),
        )

    @classmethod
    def respond(
        cls,
        own: IdentityKeyPair,
        prekeys: PreKeyStore,
        header: Handshake,
        suite: int,
        session_id: bytes,
    ) -> Session:
        """The responder's end, before its first message opened: only
        :func:`~kurir_crypto.message.accept` has a use for it.

        :raises MissingPreKeyError: a prekey that the handshake names is not held
        :raises UntrustedKeyError: the initiator's identity is not signed by itself
        :raises InvalidKeyError: a key in the handshake is one that no honest party makes
        """
        signed, agreed = pqxdh.respond(own, prekeys, header, suite, session_id)
        return cls(
            suite=suite,
            id=session_id,
            peer=header.initiator,
            started=header.started,
            initiated=False,
            confirmed=False,
            associated=agreed.associated,
            handshake=None,
            ratchet=DoubleRatchet.start_responder(agreed.secret, signed.secret, signed.own_public),
            sparse=SparseRatchet.start(agreed.secret, initiator=False),
        )

    @property
    def must_carry(self) -> bool:
        """Whether the next message has to carry an answer of the post-quantum ratchet."""
        return self.sparse.must_attach

    @property
    def would_carry(self) -> bool:
        """Whether the next message carries an ask or answer, if there is room."""
        return self.sparse.would_attach(turned=self.ratchet.turn_is_due)

    def send(self, payload: bytes, *, room: bool = True) -> tuple[Session, Headers, bytes]:
        """The state after one more message, the message's headers, and its 32-byte key.

        :param payload: 32 bytes that commit to what the key will encrypt. They go into the key, so
            that a state which was set back by accident gives no key a second time
        :param room: the message has room for a key or ciphertext of the post-quantum ratchet
        """
        turned = self.ratchet.turn_is_due
        ratchet, curve, curve_key = self.ratchet.send()
        state, sparse, sparse_key = self.sparse.send(turned=turned, room=room)
        key = self._mixed(curve_key, sparse_key, payload)
        return replace(self, ratchet=ratchet, sparse=state), Headers(curve, sparse), key

    def receive(self, headers: Headers, payload: bytes) -> tuple[Session, bytes]:
        """The state after a received message, and the message's 32-byte key. The state counts only
        once the tag was verified. Errors as in :meth:`.ratchet.DoubleRatchet.receive` and
        :meth:`.sparse.SparseRatchet.receive`."""
        ratchet, curve_key = self.ratchet.receive(headers.curve)
        sparse, sparse_key = self.sparse.receive(headers.sparse)
        key = self._mixed(curve_key, sparse_key, payload)
        after = replace(self, ratchet=ratchet, sparse=sparse, confirmed=True, handshake=None)
        return after, key

    def _mixed(self, curve_key: bytes, sparse_key: bytes, payload: bytes) -> bytes:
        """KDF_HYBRID (Double Ratchet, revision 4, Triple Ratchet): secret while either is."""
        return hkdf(curve_key, _ENTRY_KEY + u8(self.suite) + payload, salt=sparse_key)

    def to_bytes(self) -> bytes:
        """For storing; secret. At most 240 KB, 1 to 5 KB in an orderly conversation."""
        return _encoder.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> Session:
        """:raises DamagedStateError: not what :meth:`to_bytes` gives"""
        try:
            session = _decoder.decode(data)
            check_suite(session.suite)
        except (msgspec.MsgspecError, UnicodeError, CryptoError) as error:
            raise DamagedStateError from error
        return session


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Session)


def next_start(sessions: Iterable[Session], now_minute: int) -> int:
    """The start to give a new session so that it wins over all known ones with that peer, even one
    of this very minute or one started by a device whose clock runs ahead.

    :param now_minute: unix time // 60
    """
    latest = max((session.started for session in sessions), default=-1)
    return min(max(now_minute, latest + 1), MAX_STARTED)


def check_start(handshake: Handshake, latest_start: int) -> None:
    """A session that starts far in the future would win over every later one.

    :raises StartedLaterError: it starts after unix minute ``latest_start``
    """
    if handshake.started > latest_start:
        raise StartedLaterError(
            f"this session claims to start {handshake.started - latest_start} minutes in the future"
        )


def surplus(sessions: Iterable[Session]) -> list[Session]:
    """Of all sessions with one device those to delete: the ones that started first, beyond
    MAX_SESSIONS. Remember their ids for as long as a prekey lives, else a replayed first message
    could make one of them anew."""
    newest_first = sorted(sessions, key=lambda session: (session.started, session.id), reverse=True)
    return newest_first[MAX_SESSIONS:]
