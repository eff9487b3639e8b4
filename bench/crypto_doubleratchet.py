"""X3DH and DoubleRatchet: pure Python over ``cryptography`` and libxeddsa, as OMEMO clients use it.

Set to what its ``recommended`` package offers: X25519, HKDF-SHA256 for the root chain, separate
HMAC-SHA256 for message chains, AES-256-CBC with HMAC-SHA256. Its functions are coroutines that
never wait; they run here without an event loop.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Coroutine
from importlib.metadata import version
from typing import Any, Final, NamedTuple, TypedDict, TypeVar

import doubleratchet
import x3dh
from doubleratchet.recommended import (
    HashFunction,
    aead_aes_hmac,
    diffie_hellman_ratchet_curve25519,
    kdf_hkdf,
    kdf_separate_hmacs,
)

from bench.crypto_library import Library

_HEADER: Final = struct.Struct(">32sII")
_FIRST: Final = struct.Struct(">32s32s32s32s")
_ASSOCIATED_BYTES: Final = 64

R = TypeVar("R")


class Aead(aead_aes_hmac.AEAD):
    """AES-256-CBC and HMAC."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"bench aead"


class RootKdf(kdf_hkdf.KDF):
    """Of the root chain."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"bench root"


class ChainKdf(kdf_separate_hmacs.KDF):
    """Of message chains."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


class Ratchet(doubleratchet.DoubleRatchet):
    """The Double Ratchet with a fixed-width header."""

    @staticmethod
    def _build_associated_data(associated_data: bytes, header: doubleratchet.Header) -> bytes:
        return associated_data + _HEADER.pack(*header)


class Settings(TypedDict):
    """What all four constructors of a ratchet take."""

    diffie_hellman_ratchet_class: type[diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet]
    root_chain_kdf: type[RootKdf]
    message_chain_kdf: type[ChainKdf]
    message_chain_constant: bytes
    dos_protection_threshold: int
    max_num_skipped_message_keys: int
    aead: type[Aead]


_SETTINGS: Final[Settings] = {
    "diffie_hellman_ratchet_class": diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet,
    "root_chain_kdf": RootKdf,
    "message_chain_kdf": ChainKdf,
    "message_chain_constant": b"\x02\x01",
    "dos_protection_threshold": 1_000,
    "max_num_skipped_message_keys": 1_000,
    "aead": Aead,
}


class BareState(x3dh.BaseState):
    """Keys whose upkeep is somebody else's."""

    @staticmethod
    def _encode_public_key(key_format: x3dh.IdentityKeyFormat, pub: bytes) -> bytes:
        return pub


class KeptState(x3dh.State):
    """Keys that replace and publish themselves, 100 one-time prekeys by default: what the package
    advises."""

    @staticmethod
    def _encode_public_key(key_format: x3dh.IdentityKeyFormat, pub: bytes) -> bytes:
        return pub

    def _publish_bundle(self, bundle: x3dh.Bundle) -> None:
        self.published = bundle


class Session(NamedTuple):
    """A ratchet, and the associated data that its user has to keep."""

    ratchet: Ratchet
    associated: bytes


class DoubleRatchet(Library[x3dh.BaseState, Session]):
    """Both packages together."""

    name = "X3DH+DoubleRatchet"
    version = f"{version('X3DH')}+{version('DoubleRatchet')}"
    stock = 100

    def person(self, prekeys: int) -> x3dh.BaseState:
        """See :class:`.Library`."""
        settings: Any = (x3dh.IdentityKeyFormat.ED_25519, x3dh.HashFunction.SHA_256, b"bench x3dh")
        if prekeys == self.stock:
            return KeptState.create(*settings)
        made = BareState.create(*settings)
        made.generate_pre_keys(prekeys)
        return made

    def refill(self, person: x3dh.BaseState) -> None:
        """See :class:`.Library`. It has done so by itself."""

    def offer(self, person: x3dh.BaseState) -> x3dh.Bundle:
        """See :class:`.Library`."""
        bundle = person.published if isinstance(person, KeptState) else person.bundle
        return bundle._replace(pre_keys=frozenset(list(bundle.pre_keys)[:1]))

    def start(
        self, own: x3dh.BaseState, offered: object, plaintext: bytes
    ) -> tuple[Session, bytes]:
        """See :class:`.Library`."""
        assert isinstance(offered, x3dh.Bundle)
        secret, associated, header = _run(own.get_shared_secret_active(offered))
        ratchet, message = _run(
            Ratchet.encrypt_initial_message(
                **_SETTINGS,
                shared_secret=secret,
                recipient_ratchet_pub=offered.signed_pre_key,
                message=plaintext,
                associated_data=associated,
            )
        )
        return Session(ratchet, associated), _FIRST.pack(*header) + _to_bytes(message)

    def accept(
        self, own: x3dh.BaseState, sender: x3dh.BaseState, first: bytes
    ) -> tuple[Session, bytes]:
        """See :class:`.Library`."""
        header = x3dh.Header(*_FIRST.unpack_from(first))
        secret, associated, signed = _run(own.get_shared_secret_passive(header))
        ratchet, plaintext = _run(
            Ratchet.decrypt_initial_message(
                **_SETTINGS,
                shared_secret=secret,
                own_ratchet_priv=signed.priv,
                message=_from_bytes(first[_FIRST.size :]),
                associated_data=associated,
            )
        )
        if isinstance(own, BareState) and header.pre_key is not None:
            own.delete_pre_key(header.pre_key)
        return Session(ratchet, associated), plaintext

    def encrypt(self, session: Session, plaintext: bytes) -> tuple[Session, bytes]:
        """See :class:`.Library`."""
        message = _run(session.ratchet.encrypt_message(plaintext, session.associated))
        return session, _to_bytes(message)

    def decrypt(self, session: Session, data: bytes) -> tuple[Session, bytes]:
        """See :class:`.Library`."""
        message = _from_bytes(data)
        return session, _run(session.ratchet.decrypt_message(message, session.associated))

    def dump(self, session: Session) -> bytes:
        """See :class:`.Library`."""
        return session.associated + json.dumps(session.ratchet.json).encode()

    def load(self, state: bytes) -> Session:
        """See :class:`.Library`."""
        ratchet = Ratchet.from_json(json.loads(state[_ASSOCIATED_BYTES:]), **_SETTINGS)
        return Session(ratchet, state[:_ASSOCIATED_BYTES])


def _to_bytes(message: doubleratchet.EncryptedMessage) -> bytes:
    return _HEADER.pack(*message.header) + message.ciphertext


def _from_bytes(data: bytes) -> doubleratchet.EncryptedMessage:
    header = doubleratchet.Header(*_HEADER.unpack_from(data))
    return doubleratchet.EncryptedMessage(header, data[_HEADER.size :])


def _run(coroutine: Coroutine[Any, Any, R]) -> R:
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: R = done.value
        return result
    raise RuntimeError("a coroutine waits")
