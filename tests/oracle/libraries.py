"""Another author's Double Ratchet and X3DH, set to our key derivations.

The packages DoubleRatchet and X3DH on PyPI (Tim Henkes, MIT) are test dependencies only. They were
written from Signal's specifications by somebody else, so where they agree with us, both readings of
the specifications are the same one.

What the agreement covers:

- the Double Ratchet: the order of root steps, what PN and N say, which keys are stored for messages
  that have not come and which are forgotten, in any order of arrival;
- the handshake: DH1 to DH4 from the right pairs of keys, their order, the prefix, the derivation.

What it does not: the post-quantum ratchet, how its key is mixed in, and ML-KEM itself, whose secret
is handed to X3DH here to be appended to its input; signatures (ours are not XEdDSA); messages,
entries, sealing. HKDF, HMAC, and the labels below are written out here, from docs/protocol.md and
RFC 5869, so that an error in :mod:`kurir_crypto.kdf` is not on both sides.

The packages' methods are coroutines that never wait, so :func:`finished` runs them without a loop.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from unittest import mock

import doubleratchet
import x3dh
import x3dh.base_state
import x3dh.crypto_provider_cryptography
from doubleratchet.recommended.diffie_hellman_ratchet_curve25519 import DiffieHellmanRatchet
from x3dh.crypto_provider import HashFunction
from x3dh.models import BaseStateModel, IdentityKeyPairModel, SignedPreKeyPairModel
from x3dh.types import SecretType

T = TypeVar("T")


def finished(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("it waits for something")


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(secret: bytes, info: bytes, length: int, salt: bytes = bytes(32)) -> bytes:
    """RFC 5869, section 2."""
    pseudorandom, block, output = mac(salt, secret), b"", b""
    while len(output) < length:
        block = mac(pseudorandom, block + info + bytes([len(output) // 32 + 1]))
        output += block
    return output[:length]


class RootKdf(doubleratchet.KDF):
    """KDF_RK."""

    @staticmethod
    async def derive(key: bytes, data: bytes, length: int) -> bytes:
        return hkdf(data, b"kurir/ratchet-root/1\0", length, salt=key)


class ChainKdf(doubleratchet.KDF):
    """KDF_CK: next chain key, then message key."""

    @staticmethod
    async def derive(key: bytes, data: bytes, length: int) -> bytes:
        assert length == 64
        return mac(key, b"\x02") + mac(key, b"\x01")


class Reveal(doubleratchet.AEAD):
    """Not encryption: the ciphertext is the message key, and opens where the same key comes out."""

    @staticmethod
    async def encrypt(plaintext: bytes, key: bytes, associated_data: bytes) -> bytes:
        return key

    @staticmethod
    async def decrypt(ciphertext: bytes, key: bytes, associated_data: bytes) -> bytes:
        if ciphertext != key:
            raise doubleratchet.AuthenticationFailedException
        return key


class Ratchet(doubleratchet.DoubleRatchet):
    """Their Double Ratchet. :data:`SETTINGS` is what it is made with."""

    @staticmethod
    def _build_associated_data(associated_data: bytes, header: doubleratchet.Header) -> bytes:
        return associated_data


STORED_KEYS = 2_000
"""Ours stores so many keys as well. Theirs leaps over no more, ours over 25,000."""
SETTINGS: dict[str, Any] = {
    "diffie_hellman_ratchet_class": DiffieHellmanRatchet,
    "root_chain_kdf": RootKdf,
    "message_chain_kdf": ChainKdf,
    "message_chain_constant": b"",
    "dos_protection_threshold": STORED_KEYS,
    "max_num_skipped_message_keys": STORED_KEYS,
    "aead": Reveal,
}


def first_root(secret: bytes) -> bytes:
    """The Double Ratchet's share of the handshake's secret."""
    return hkdf(secret, b"kurir/ratchet-ec/1\0", 32)


class Agreement(x3dh.BaseState):
    """Their X3DH."""

    @staticmethod
    def _encode_public_key(key_format: x3dh.IdentityKeyFormat, pub: bytes) -> bytes:
        return pub

    @classmethod
    def of(
        cls, identity: bytes, signed: bytes, signature: bytes, one_time: bytes | None, info: bytes
    ) -> Agreement:
        """
        :param identity: X25519 secret, as are ``signed`` and ``one_time``
        :param signature: XEdDSA, over the signed prekey
        :param info: of the derivation
        """
        model = BaseStateModel(
            identity_key=IdentityKeyPairModel(secret=identity, secret_type=SecretType.PRIV),
            signed_pre_key=SignedPreKeyPairModel(priv=signed, sig=signature, timestamp=0),
            old_signed_pre_key=None,
            pre_keys=frozenset() if one_time is None else frozenset({one_time}),
        )
        return cls.from_model(model, x3dh.IdentityKeyFormat.CURVE_25519, HashFunction.SHA_256, info)


@contextmanager
def kem_secret(shared: bytes) -> Iterator[None]:
    """Within it X3DH derives from F ‖ DH1 ‖ DH2 ‖ DH3 [‖ DH4] ‖ ``shared``: PQXDH, section 2.2."""

    class Hybrid(x3dh.crypto_provider_cryptography.CryptoProviderImpl):
        @staticmethod
        async def hkdf_derive(
            hash_function: HashFunction, length: int, salt: bytes, info: bytes, key_material: bytes
        ) -> bytes:
            assert (hash_function, salt) == (HashFunction.SHA_256, bytes(32))
            return hkdf(key_material + shared, info, length, salt)

    with mock.patch.object(x3dh.base_state, "CryptoProviderImpl", Hybrid):
        yield
