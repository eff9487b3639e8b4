"""One device that keeps the rules of sessions (docs/protocol.md, "Sessions"), all of it as bytes.

What is not encoded by :meth:`Device.encode` does not survive a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Struct, field

from kurir_crypto import restart
from kurir_crypto.errors import (
    AuthenticationError,
    CryptoError,
    InvalidKeyError,
    MalformedMessageError,
    MissingPreKeyError,
    ReplayError,
    SkippedTooFarError,
    StartedLaterError,
    UnknownSessionError,
    UntrustedKeyError,
)
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.message import accept, choose_session, decrypt, encrypt, inspect
from kurir_crypto.session import MAX_SESSIONS, Session, next_start, surplus
from kurir_crypto.skipped import MAX_SKIPPED
from kurir_wire.prekeys import (
    PREKEY_LAST_RESORT,
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    IdentityPublic,
    PreKeyBundle,
)

SKEW: Final = 120
"""Minutes that a session may start in the future. Ample: each of several sessions that are started
in one minute begins a minute later than the one before."""

T = TypeVar("T")

# What the docstrings name. Subclasses count as well.
OF_INSPECT: Final = (MalformedMessageError,)
OF_DECRYPT: Final = (
    UnknownSessionError,
    ReplayError,
    AuthenticationError,
    SkippedTooFarError,
    InvalidKeyError,
    MalformedMessageError,
)
OF_ACCEPT: Final = (
    UnknownSessionError,
    ReplayError,
    MissingPreKeyError,
    AuthenticationError,
    StartedLaterError,
    SkippedTooFarError,
    InvalidKeyError,
    MalformedMessageError,
)
OF_REQUEST: Final = (MalformedMessageError, UntrustedKeyError)


def documented(errors: tuple[type[CryptoError], ...], call: Callable[[], T]) -> T:
    """Call, and insist that what is raised is one of ``errors``."""
    try:
        return call()
    except errors:
        raise
    except Exception as error:
        raise AssertionError(f"{type(error).__name__} is not documented here") from error


class Device(Struct):
    """
    :ivar known: ids of all sessions held or deleted
    :ivar void: ids of sessions that came from a backup: nothing is sent on them
    :ivar one_use: signed prekeys of restart requests, by the one-time key beside them
    :ivar answered: bindings of restart requests
    :ivar shown: what the person saw: sender and content
    :ivar outbox: envelope ids and bodies that are stored and have not left
    """

    identity: bytes
    signed: dict[int, bytes] = field(default_factory=dict)
    one_time: dict[int, bytes] = field(default_factory=dict)
    kem_one_time: dict[int, bytes] = field(default_factory=dict)
    last_resort: dict[int, bytes] = field(default_factory=dict)
    sessions: dict[bytes, bytes] = field(default_factory=dict)
    known: list[bytes] = field(default_factory=list)
    void: list[bytes] = field(default_factory=list)
    one_use: dict[int, int] = field(default_factory=dict)
    answered: list[bytes] = field(default_factory=list)
    shown: list[tuple[bytes, bytes]] = field(default_factory=list)
    outbox: dict[bytes, bytes] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Everything, in one form."""
        return _encoder.encode(self)

    @classmethod
    def decode(cls, stored: bytes) -> Device:
        """The device as it was stored."""
        return _decoder.decode(stored)

    @property
    def own(self) -> IdentityKeyPair:
        return IdentityKeyPair.from_bytes(self.identity)

    # prekeys

    def stock(self, first_id: int, count: int) -> list[PreKeyBundle]:
        """Make a signed and a last-resort prekey and so many one-time ones. :return: what the relay
        hands out: one bundle for each one-time prekey, then the last for everybody"""
        own = self.own
        signed = OwnEcPreKey.generate(own, PREKEY_SIGNED, first_id)
        last = OwnKemPreKey.generate(own, PREKEY_LAST_RESORT, first_id)
        self.signed[first_id] = signed.to_bytes()
        self.last_resort[first_id] = last.to_bytes()
        bundles = []
        for key_id in range(first_id + 1, first_id + 1 + count):
            one_time = OwnEcPreKey.generate(own, PREKEY_ONE_TIME, key_id)
            kem = OwnKemPreKey.generate(own, PREKEY_ONE_TIME, key_id)
            self.one_time[key_id] = one_time.to_bytes()
            self.kem_one_time[key_id] = kem.to_bytes()
            bundles.append(PreKeyBundle(own.public, signed.public, kem.public, one_time.public))
        return [*bundles, PreKeyBundle(own.public, signed.public, last.public)]

    def signed_prekey(self, key_id: int) -> OwnEcPreKey | None:
        return _ec(self.signed.get(key_id))

    def one_time_prekey(self, key_id: int) -> OwnEcPreKey | None:
        return _ec(self.one_time.get(key_id))

    def kem_prekey(self, kind: int, key_id: int) -> OwnKemPreKey | None:
        held = self.kem_one_time if kind == PREKEY_ONE_TIME else self.last_resort
        data = held.get(key_id)
        return None if data is None else OwnKemPreKey.from_bytes(data)

    # sessions

    def sessions_with(self, peer: IdentityPublic) -> list[Session]:
        """All that are held, those from a backup too."""
        held = (Session.from_bytes(data) for data in self.sessions.values())
        return [session for session in held if session.peer == peer]

    def chosen(self, peer: IdentityPublic) -> Session:
        """The session to send on. :raises UnknownSessionError: there is none"""
        return choose_session(s for s in self.sessions_with(peer) if s.id not in self.void)

    def keep(self, session: Session) -> None:
        """Store a session; the oldest beyond the bound goes."""
        data = session.to_bytes()
        assert Session.from_bytes(data).to_bytes() == data
        assert len(session.ratchet.skipped) <= MAX_SKIPPED
        assert len(session.sparse.skipped) <= MAX_SKIPPED
        is_new = session.id not in self.known
        self.sessions[session.id] = data
        if is_new:
            self.known.append(session.id)
            for old in surplus(self.sessions_with(session.peer)):
                del self.sessions[old.id]
            assert len(self.sessions_with(session.peer)) <= MAX_SESSIONS

    def start(self, bundle: PreKeyBundle, now: int) -> Session:
        """:param now: unix minute"""
        started = next_start(self.sessions_with(bundle.identity), now)
        session = Session.initiate(self.own, bundle, started)
        self.keep(session)
        return session

    # messages

    def encrypt(self, sessions: Sequence[Session], content: bytes, binding: bytes) -> bytes:
        """A message; the states after it are kept."""
        after, message = encrypt(sessions, content, binding)
        for session in after:
            self.keep(session)
        return message

    def open(self, message: bytes, binding: bytes, now: int) -> bytes:
        """Open a message and show it. :return: the content; nothing changes if it raises"""
        entries = documented(OF_INSPECT, lambda: inspect(message))
        held = [e.session_id for e in entries if e.session_id in self.sessions]
        if held:
            before = Session.from_bytes(self.sessions[held[0]])
            try:
                session, content = documented(OF_DECRYPT, lambda: decrypt(before, message, binding))
            finally:
                assert before.to_bytes() == self.sessions[held[0]], "the value itself has changed"
        else:
            accepted = documented(
                OF_ACCEPT,
                lambda: accept(
                    self.own,
                    self,
                    message,
                    binding,
                    known_sessions=self.known,
                    latest_start=now + SKEW,
                ),
            )
            session, content = accepted.session, accepted.content
            [header] = [e.handshake for e in entries if e.session_id == session.id]
            assert header is not None
            used = header.kem_id if header.kem_kind == PREKEY_ONE_TIME else None
            assert accepted.used_one_time_ec == header.one_time_id
            assert accepted.used_one_time_kem == used
            self._spend(header.one_time_id, used)
        self.keep(session)
        self.shown.append((session.peer.sign_pk, content))
        return content

    def _spend(self, one_time: int | None, kem: int | None) -> None:
        if kem is not None:
            del self.kem_one_time[kem]
        if one_time is not None:
            del self.one_time[one_time]
            if one_time in self.one_use:
                del self.signed[self.one_use.pop(one_time)]

    # restarts

    def ask_to_restart(self, binding: bytes, first_id: int) -> bytes:
        """A restart request; its keys are kept."""
        own = self.own
        keys = restart.OneUseKeys.generate(own, first_id)
        self.signed[first_id] = keys.signed.to_bytes()
        self.one_time[first_id + 1] = keys.one_time.to_bytes()
        self.kem_one_time[first_id + 2] = keys.kem.to_bytes()
        self.one_use[first_id + 1] = first_id
        return restart.request(own, keys, binding)

    def restart(self, peer: IdentityPublic, data: bytes, binding: bytes, now: int) -> Session:
        """Start the session that ``peer`` asks for. :raises ReplayError: it was started"""
        bundle = documented(OF_REQUEST, lambda: restart.open_request(peer, data, binding))
        if binding in self.answered:
            raise ReplayError
        self.answered.append(binding)
        return self.start(bundle, now)

    def came_from_a_backup(self) -> None:
        """Send on none of these sessions; what was waiting to leave may have left long ago."""
        self.void = list(self.sessions)
        self.outbox.clear()


def _ec(data: bytes | None) -> OwnEcPreKey | None:
    return None if data is None else OwnEcPreKey.from_bytes(data)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Device)
