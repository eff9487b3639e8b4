"""ML-KEM (FIPS 203): ML-KEM-1024 for handshakes, ML-KEM-768 for the ratchet.

As with curve keys, a peer's encapsulation key gets its type by being checked. A decapsulation key
is its 64-byte seed (d ‖ z); decapsulation of a wrong ciphertext gives a wrong secret, not an error
(implicit rejection, section 6.3), and the message's tag then fails.
"""

from __future__ import annotations

import os
from typing import Final, NewType

from cryptography.hazmat.primitives.asymmetric.mlkem import (
    MLKEM768PrivateKey,
    MLKEM768PublicKey,
    MLKEM1024PublicKey,
)

from kurir_crypto.errors import InvalidKeyError

KemSeed = NewType("KemSeed", bytes)
"""64 secret bytes: d and z."""
PeerKem768 = NewType("PeerKem768", bytes)
"""An encapsulation key of 1,184 bytes that came from elsewhere and was checked."""

SEED_BYTES: Final = 64
PUBLIC_768_BYTES: Final = 1_184
CIPHERTEXT_768_BYTES: Final = 1_088
CIPHERTEXT_1024_BYTES: Final = 1_568


def generate_768() -> tuple[KemSeed, bytes]:
    """A fresh seed, and the encapsulation key of 1,184 bytes."""
    seed = KemSeed(os.urandom(SEED_BYTES))
    return seed, MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw()


def check_768_public(public: bytes) -> PeerKem768:
    """A peer's key, fit for use.

    :raises InvalidKeyError: wrong length, or a coefficient not below the modulus (section 7.2)
    """
    try:
        MLKEM768PublicKey.from_public_bytes(public)
    except ValueError as error:
        raise InvalidKeyError("an ML-KEM-768 key is not valid") from error
    return PeerKem768(public)


def encapsulate_768(public: PeerKem768) -> tuple[bytes, bytes]:
    """A fresh (shared secret of 32 bytes, ciphertext of 1,088)."""
    return MLKEM768PublicKey.from_public_bytes(public).encapsulate()


def decapsulate_768(seed: KemSeed, ciphertext: bytes) -> bytes:
    """The shared secret, 32 bytes, of a ciphertext of 1,088 bytes."""
    return MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(ciphertext)


def encapsulate_1024(public: bytes) -> tuple[bytes, bytes]:
    """A fresh (shared secret of 32 bytes, ciphertext of 1,568).

    :raises InvalidKeyError: wrong length, or a coefficient not below the modulus (section 7.2)
    """
    try:
        return MLKEM1024PublicKey.from_public_bytes(public).encapsulate()
    except ValueError as error:
        raise InvalidKeyError("an ML-KEM-1024 key is not valid") from error
