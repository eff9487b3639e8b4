"""Two people for tests: keys, prekeys, and a store of serialised sessions that obeys the rules."""

from __future__ import annotations

from dataclasses import dataclass, field

from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.message import accept, choose_session, decrypt, encrypt, inspect
from kurir_crypto.sealing import Binding
from kurir_crypto.session import Session, next_start
from kurir_wire.ids import EnvelopeId, MailboxId
from kurir_wire.prekeys import (
    PREKEY_LAST_RESORT,
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    PreKeyBundle,
)

BINDING = Binding(MailboxId(b"m" * 32), EnvelopeId(b"e" * 16))
NOW = 29_900_000
"""A unix minute in 2026."""


@dataclass
class Party:
    """One device. Sessions are kept as bytes, so that every step also stores and restores."""

    identity: IdentityKeyPair = field(default_factory=IdentityKeyPair.generate)
    signed: dict[int, OwnEcPreKey] = field(default_factory=dict)
    one_time: dict[int, OwnEcPreKey] = field(default_factory=dict)
    kem: dict[tuple[int, int], OwnKemPreKey] = field(default_factory=dict)
    sessions: dict[bytes, bytes] = field(default_factory=dict)
    handed_out: int = 0

    def __post_init__(self) -> None:
        self.signed[1] = OwnEcPreKey.generate(self.identity, PREKEY_SIGNED, 1)
        self.kem[PREKEY_LAST_RESORT, 1] = OwnKemPreKey.generate(
            self.identity, PREKEY_LAST_RESORT, 1
        )

    def stock(self, count: int) -> None:
        """Make one-time prekeys of both kinds, with ids from 1."""
        for key_id in range(1, count + 1):
            self.one_time[key_id] = OwnEcPreKey.generate(self.identity, PREKEY_ONE_TIME, key_id)
            self.kem[PREKEY_ONE_TIME, key_id] = OwnKemPreKey.generate(
                self.identity, PREKEY_ONE_TIME, key_id
            )

    def signed_prekey(self, key_id: int) -> OwnEcPreKey | None:
        return self.signed.get(key_id)

    def one_time_prekey(self, key_id: int) -> OwnEcPreKey | None:
        return self.one_time.get(key_id)

    def kem_prekey(self, kind: int, key_id: int) -> OwnKemPreKey | None:
        return self.kem.get((kind, key_id))

    def bundle(self) -> PreKeyBundle:
        """What a relay would hand out: the next one-time keys, or the last-resort key alone."""
        self.handed_out += 1
        one_time = self.one_time.get(self.handed_out)
        kem = self.kem.get((PREKEY_ONE_TIME, self.handed_out), self.kem[PREKEY_LAST_RESORT, 1])
        return PreKeyBundle(
            self.identity.public,
            self.signed[1].public,
            kem.public,
            None if one_time is None else one_time.public,
        )

    def all_sessions(self) -> list[Session]:
        return [Session.from_bytes(data) for data in self.sessions.values()]

    def store(self, session: Session) -> None:
        self.sessions[session.id] = session.to_bytes()

    def start(self, bundle: PreKeyBundle, now: int = NOW) -> Session:
        session = Session.initiate(self.identity, bundle, next_start(self.all_sessions(), now))
        self.store(session)
        return session

    def send(self, content: bytes, binding: bytes = BINDING) -> bytes:
        """Encrypt on the chosen session; UnknownSessionError where none was started."""
        [session], message = encrypt([choose_session(self.all_sessions())], content, binding)
        self.store(session)
        return message

    def receive(self, message: bytes, binding: bytes = BINDING) -> bytes:
        """Open by a known session, else as a first message. Nothing is stored if it raises."""
        for entry in inspect(message):
            data = self.sessions.get(entry.session_id)
            if data is not None:
                session, content = decrypt(Session.from_bytes(data), message, binding)
                self.store(session)
                return content
        accepted = accept(
            self.identity, self, message, binding, known_sessions=self.sessions.keys()
        )
        self.store(accepted.session)
        if accepted.used_one_time_ec is not None:
            del self.one_time[accepted.used_one_time_ec]
        if accepted.used_one_time_kem is not None:
            del self.kem[PREKEY_ONE_TIME, accepted.used_one_time_kem]
        return accepted.content

    def snapshot(self) -> tuple[dict[bytes, bytes], list[int], list[tuple[int, int]]]:
        """All stored state, to compare byte by byte."""
        return dict(self.sessions), sorted(self.one_time), sorted(self.kem)


def talking() -> tuple[Party, Party]:
    """Two parties with one session that both have confirmed."""
    alice, bob = Party(), Party()
    alice.start(bob.bundle())
    bob.receive(alice.send(b"hello"))
    alice.receive(bob.send(b"hello yourself"))
    return alice, bob


def only(party: Party) -> Session:
    """The one session that a party has."""
    [session] = party.all_sessions()
    return session


__all__ = ["BINDING", "NOW", "Party", "only", "talking"]
