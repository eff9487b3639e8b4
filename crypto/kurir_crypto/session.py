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
from dataclasses import dataclass, replace
from typing import Annotated, Final

from msgspec import Meta, Struct

from kurir_crypto import handshake as pqxdh
from kurir_crypto.errors import CryptoError, DamagedStateError, StartedLaterError
from kurir_crypto.handshake import HANDSHAKE_BYTES, SESSION_ID_BYTES, Handshake, PreKeyStore
from kurir_crypto.hidden import Hidden
from kurir_crypto.keys import IdentityKeyPair
from kurir_crypto.ratchet import DoubleRatchet, RatchetHeader, RatchetState
from kurir_crypto.suite import CURRENT_SUITE, check_suite
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import WireError
from kurir_wire.prekeys import U8, U32, Bytes16, Bytes32, IdentityPublic, PreKeyBundle

MAX_STARTED: Final = 0xFFFF_FFFF
"""The last unix minute that fits, in the year 10136."""
_MAX_STATE: Final = 262_144
"""Bytes of a stored session: 2,000 skipped keys are 136,000, a pending handshake 1,746."""

HandshakeBytes = Annotated[bytes, Meta(min_length=HANDSHAKE_BYTES, max_length=HANDSHAKE_BYTES)]


class SessionState(Struct, frozen=True, eq=False, array_like=True, forbid_unknown_fields=True):
    """A session as it is stored: msgpack of this array. Secret."""

    suite: U8
    id: Bytes16
    started: U32
    initiated: bool
    confirmed: bool
    peer: IdentityPublic
    associated: Bytes32
    handshake: HandshakeBytes | None
    ratchet: RatchetState

    def __repr__(self) -> str:
        return "<SessionState>"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Session(Hidden):
    """One device's end of a session.

    :ivar id: 16 random bytes, chosen by the initiator, authenticated
    :ivar peer: whom it is with; whether that is the right person is the safety number's business
    :ivar started: unix minute, given by the initiator, authenticated
    :ivar initiated: this side sent the handshake
    :ivar confirmed: a message was received; until then each message repeats the handshake
    :ivar associated: 32 bytes that bind every message to identities, KEM key, suite, id and start
    :ivar handshake: the 1,746 bytes to repeat, or None
    """

    suite: int
    id: bytes
    peer: IdentityPublic
    started: int
    initiated: bool
    confirmed: bool
    associated: bytes
    handshake: bytes | None
    ratchet: DoubleRatchet

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
        return cls(
            suite=CURRENT_SUITE,
            id=session_id,
            peer=bundle.identity,
            started=started,
            initiated=True,
            confirmed=False,
            associated=agreed.associated,
            handshake=header.to_bytes(),
            ratchet=DoubleRatchet.start_initiator(agreed.secret, bundle.signed.public),
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
            ratchet=DoubleRatchet.start_responder(
                agreed.secret, signed.secret, signed.public.public
            ),
        )

    def send(self) -> tuple[Session, RatchetHeader, bytes]:
        """The state after one more message, the message's ratchet header and its 32-byte key."""
        ratchet, header, key = self.ratchet.send()
        return replace(self, ratchet=ratchet), header, key

    def receive(self, header: RatchetHeader) -> tuple[Session, bytes]:
        """The state after a received message and the message's 32-byte key. The state counts only
        once the tag was verified. Errors as in :meth:`.ratchet.DoubleRatchet.receive`."""
        ratchet, key = self.ratchet.receive(header)
        return replace(self, ratchet=ratchet, confirmed=True, handshake=None), key

    def to_bytes(self) -> bytes:
        """For storing; secret. At most 140 KB, 1 to 3 KB in an orderly conversation."""
        return pack(
            SessionState(
                self.suite,
                self.id,
                self.started,
                self.initiated,
                self.confirmed,
                self.peer,
                self.associated,
                self.handshake,
                self.ratchet.to_state(),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Session:
        """:raises DamagedStateError: not what :meth:`to_bytes` gives"""
        try:
            state = unpack(data, SessionState, limit=_MAX_STATE)
            check_suite(state.suite)
            ratchet = DoubleRatchet.from_state(state.ratchet)
        except (WireError, CryptoError) as error:
            raise DamagedStateError from error
        return cls(
            suite=state.suite,
            id=state.id,
            peer=state.peer,
            started=state.started,
            initiated=state.initiated,
            confirmed=state.confirmed,
            associated=state.associated,
            handshake=state.handshake,
            ratchet=ratchet,
        )


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
