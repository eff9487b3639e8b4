"""vodozemac: Olm (a Triple Diffie-Hellman and the Double Ratchet) in Rust, by its Python package.

A server hands out one one-time key, signed by its owner as Matrix has it; that signature is checked
and the one on the identity key is not.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Final, NamedTuple

from vodozemac import (
    Account,
    AnyOlmMessage,
    Curve25519PublicKey,
    Ed25519PublicKey,
    Ed25519Signature,
    Session,
)

from bench.crypto_library import Library

_PICKLE_KEY: Final = os.urandom(32)


class Offered(NamedTuple):
    """What a server hands out."""

    signing: Ed25519PublicKey
    identity: Curve25519PublicKey
    one_time: Curve25519PublicKey
    signature: Ed25519Signature


class Person:
    """An account, and its signed one-time keys as a server has them."""

    def __init__(self) -> None:
        self.account = Account()
        self.published: list[tuple[Curve25519PublicKey, Ed25519Signature]] = []

    def add(self, count: int) -> None:
        """Make and sign one-time keys."""
        self.account.generate_one_time_keys(count)
        for key in self.account.one_time_keys.values():
            self.published.append((key, self.account.sign(key.to_bytes())))
        self.account.mark_keys_as_published()


class Vodozemac(Library[Person, Session]):
    """Olm, with the settings that the package has."""

    name = "vodozemac"
    version = version("vodozemac")
    stock = 50

    def person(self, prekeys: int) -> Person:
        """See :class:`.Library`."""
        made = Person()
        made.add(prekeys)
        return made

    def refill(self, person: Person) -> None:
        """See :class:`.Library`."""
        person.add(1)

    def offer(self, person: Person) -> Offered:
        """See :class:`.Library`."""
        account = person.account
        return Offered(account.ed25519_key, account.curve25519_key, *person.published.pop(0))

    def start(self, own: Person, offered: object, plaintext: bytes) -> tuple[Session, bytes]:
        """See :class:`.Library`."""
        assert isinstance(offered, Offered)
        offered.signing.verify_signature(offered.one_time.to_bytes(), offered.signature)
        session = own.account.create_outbound_session(offered.identity, offered.one_time)
        return self.encrypt(session, plaintext)

    def accept(self, own: Person, sender: Person, first: bytes) -> tuple[Session, bytes]:
        """See :class:`.Library`."""
        message = AnyOlmMessage.from_parts(first[0], first[1:]).to_pre_key()
        if message is None:
            raise ValueError("not a first message")
        return own.account.create_inbound_session(sender.account.curve25519_key, message)

    def encrypt(self, session: Session, plaintext: bytes) -> tuple[Session, bytes]:
        """See :class:`.Library`. One byte says which kind of message follows."""
        kind, data = session.encrypt(plaintext).to_parts()
        return session, bytes((kind,)) + data

    def decrypt(self, session: Session, data: bytes) -> tuple[Session, bytes]:
        """See :class:`.Library`."""
        return session, session.decrypt(AnyOlmMessage.from_parts(data[0], data[1:]))

    def dump(self, session: Session) -> bytes:
        """See :class:`.Library`. The package stores sessions under a key only."""
        return session.pickle(_PICKLE_KEY).encode()

    def load(self, state: bytes) -> Session:
        """See :class:`.Library`."""
        return Session.from_pickle(state.decode(), _PICKLE_KEY)
