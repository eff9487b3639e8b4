"""Keys that one owns. What others see of them are the types of :mod:`kurir_wire.prekeys`.

A stored key is a version byte (1) and fixed-width fields; public halves are computed, not stored,
so that they cannot disagree with the secret ones.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
from nacl import bindings

from kurir_crypto.curve import (
    CurveSecret,
    OwnCurvePublic,
    PeerCurvePublic,
    agree,
    check_x25519_public,
    generate_x25519,
    public_x25519,
)
from kurir_crypto.errors import DamagedStateError, InvalidKeyError
from kurir_crypto.hidden import Hidden
from kurir_crypto.reader import read_state
from kurir_wire.ids import u8, u32
from kurir_wire.prekeys import (
    PREKEY_LAST_RESORT,
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    EcPreKey,
    IdentityPublic,
    KemPreKey,
    ec_prekey_message,
    identity_binding,
    kem_prekey_message,
)

__all__ = [
    "IdentityKeyPair",
    "OwnEcPreKey",
    "OwnKemPreKey",
    "SigningKeyPair",
    "check_x25519_public",
]

SEED_BYTES: Final = 32
KEM_SEED_BYTES: Final = 64
"""FIPS 203: the seeds d and z."""
SIGNATURE_BYTES: Final = 64
_VERSION: Final = 1
_IDENTITY_BYTES: Final = 1 + SEED_BYTES + 32
_EC_BYTES: Final = 1 + 1 + 4 + 32 + SIGNATURE_BYTES
_KEM_BYTES: Final = 1 + 1 + 4 + KEM_SEED_BYTES + SIGNATURE_BYTES


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SigningKeyPair(Hidden):
    """An Ed25519 key (RFC 8032): a mailbox's read key, a business's root, a lane.

    ``public`` is 32 bytes. Make one with :meth:`generate` or :meth:`from_seed`.
    """

    public: bytes
    _expanded: bytes

    @classmethod
    def generate(cls) -> SigningKeyPair:
        """A fresh key."""
        return cls.from_seed(os.urandom(SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKeyPair:
        """The key of a 32-byte seed.

        :raises ValueError: another length
        """
        if len(seed) != SEED_BYTES:
            raise ValueError(f"an Ed25519 seed has {SEED_BYTES} bytes")
        public, expanded = bindings.crypto_sign_seed_keypair(seed)
        return cls(public, expanded)

    def sign(self, message: bytes) -> bytes:
        """64 bytes. ``message`` starts with its domain (:mod:`kurir_wire.signing`)."""
        return bindings.crypto_sign(message, self._expanded)[:SIGNATURE_BYTES]

    def seed(self) -> bytes:
        """The 32 secret bytes to store."""
        return self._expanded[:SEED_BYTES]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class IdentityKeyPair(Hidden):
    """Who one is: an Ed25519 key that signs and an X25519 key that agrees, the first signing the
    second. ``public`` is what others see."""

    public: IdentityPublic
    _signing: SigningKeyPair
    _secret: CurveSecret

    @classmethod
    def generate(cls) -> IdentityKeyPair:
        """A fresh identity."""
        return cls._of(SigningKeyPair.generate(), generate_x25519()[0])

    @classmethod
    def _of(cls, signing: SigningKeyPair, secret: CurveSecret) -> IdentityKeyPair:
        dh_pk = public_x25519(secret)
        binding = signing.sign(identity_binding(dh_pk))  # Ed25519 is deterministic: always the same
        return cls(IdentityPublic(signing.public, dh_pk, binding), signing, secret)

    def sign(self, message: bytes) -> bytes:
        """64 bytes, by the Ed25519 key. ``message`` starts with its domain."""
        return self._signing.sign(message)

    def agree(self, public: PeerCurvePublic) -> bytes:
        """X25519 with a peer's public key: 32 bytes.

        :raises InvalidKeyError: the result is all zero
        """
        return agree(self._secret, public)

    def to_bytes(self) -> bytes:
        """65 secret bytes: version, Ed25519 seed, X25519 secret."""
        return u8(_VERSION) + self._signing.seed() + self._secret

    @classmethod
    def from_bytes(cls, data: bytes) -> IdentityKeyPair:
        """:raises DamagedStateError: not what :meth:`to_bytes` gives"""
        reader = read_state(data, _VERSION, _IDENTITY_BYTES)
        signing = SigningKeyPair.from_seed(reader.take(SEED_BYTES))
        return cls._of(signing, CurveSecret(reader.take(32)))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class OwnEcPreKey(Hidden):
    """An X25519 prekey of one's own, signed by one's identity (PQXDH, section 3.2)."""

    public: EcPreKey
    secret: CurveSecret

    @classmethod
    def generate(cls, identity: IdentityKeyPair, kind: int, key_id: int) -> OwnEcPreKey:
        """:param kind: PREKEY_SIGNED or PREKEY_ONE_TIME
        :param key_id: 32 bits, not used before for this kind
        :raises ValueError: another kind"""
        if kind not in (PREKEY_SIGNED, PREKEY_ONE_TIME):
            raise ValueError("an X25519 prekey is signed (0) or one-time (1)")
        secret, public = generate_x25519()
        signature = identity.sign(ec_prekey_message(kind, key_id, public))
        return cls(EcPreKey(kind, key_id, public, signature), secret)

    @property
    def own_public(self) -> OwnCurvePublic:
        """The public half, 32 bytes."""
        return OwnCurvePublic(self.public.public)

    def to_bytes(self) -> bytes:
        """102 secret bytes: version, kind, id (4), secret (32), signature (64)."""
        own = self.public
        return u8(_VERSION) + u8(own.kind) + u32(own.key_id) + self.secret + own.signature

    @classmethod
    def from_bytes(cls, data: bytes) -> OwnEcPreKey:
        """:raises DamagedStateError: not what :meth:`to_bytes` gives"""
        reader = read_state(data, _VERSION, _EC_BYTES)
        kind, key_id = reader.number(1), reader.number(4)
        secret = CurveSecret(reader.take(32))
        if kind not in (PREKEY_SIGNED, PREKEY_ONE_TIME):
            raise DamagedStateError
        public = public_x25519(secret)
        return cls(EcPreKey(kind, key_id, public, reader.take(SIGNATURE_BYTES)), secret)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class OwnKemPreKey(Hidden):
    """An ML-KEM-1024 prekey of one's own, signed by one's identity (FIPS 203; PQXDH, 3.2)."""

    public: KemPreKey
    _seed: bytes
    _key: MLKEM1024PrivateKey

    @classmethod
    def generate(cls, identity: IdentityKeyPair, kind: int, key_id: int) -> OwnKemPreKey:
        """:param kind: PREKEY_ONE_TIME or PREKEY_LAST_RESORT
        :param key_id: 32 bits, not used before for this kind
        :raises ValueError: another kind"""
        if kind not in (PREKEY_ONE_TIME, PREKEY_LAST_RESORT):
            raise ValueError("a KEM prekey is one-time (1) or last-resort (2)")
        key = MLKEM1024PrivateKey.generate()
        public = key.public_key().public_bytes_raw()
        signature = identity.sign(kem_prekey_message(kind, key_id, public))
        return cls(KemPreKey(kind, key_id, public, signature), key.private_bytes_raw(), key)

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """The 32-byte shared secret; for a ciphertext made for another key, a useless one.

        :raises InvalidKeyError: not 1,568 bytes
        """
        try:
            return self._key.decapsulate(ciphertext)
        except ValueError as error:
            raise InvalidKeyError("an ML-KEM-1024 ciphertext has the wrong length") from error

    def to_bytes(self) -> bytes:
        """134 secret bytes: version, kind, id (4), seeds d and z (64), signature (64)."""
        own = self.public
        return u8(_VERSION) + u8(own.kind) + u32(own.key_id) + self._seed + own.signature

    @classmethod
    def from_bytes(cls, data: bytes) -> OwnKemPreKey:
        """:raises DamagedStateError: not what :meth:`to_bytes` gives"""
        reader = read_state(data, _VERSION, _KEM_BYTES)
        kind, key_id, seed = reader.number(1), reader.number(4), reader.take(KEM_SEED_BYTES)
        if kind not in (PREKEY_ONE_TIME, PREKEY_LAST_RESORT):
            raise DamagedStateError
        key = MLKEM1024PrivateKey.from_seed_bytes(seed)
        public = KemPreKey(
            kind, key_id, key.public_key().public_bytes_raw(), reader.take(SIGNATURE_BYTES)
        )
        return cls(public, seed, key)
