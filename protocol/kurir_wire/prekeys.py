"""Identity keys and prekeys as others see them: what a PQXDH handshake starts from.

Source: Signal, "The PQXDH Key Agreement Protocol", revision 3, sections 2.3 and 3.2. Differences:
one identity is two keys, Ed25519 for signatures and X25519 for agreement, the first signing the
second; every prekey of both kinds is signed.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from kurir_wire.errors import MalformedError
from kurir_wire.ids import u8, u32
from kurir_wire.signing import message_to_sign, verify

Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, Meta(min_length=64, max_length=64)]
U8 = Annotated[int, Meta(ge=0, le=0xFF)]
U16 = Annotated[int, Meta(ge=0, le=0xFFFF)]
U32 = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
U63 = Annotated[int, Meta(ge=0, le=0x7FFF_FFFF_FFFF_FFFF)]

KEM_PUBLIC_BYTES: Final = 1_568
"""ML-KEM-1024 encapsulation key (FIPS 203, table 3)."""
KemPublic = Annotated[bytes, Meta(min_length=KEM_PUBLIC_BYTES, max_length=KEM_PUBLIC_BYTES)]

PREKEY_SIGNED: Final = 0
PREKEY_ONE_TIME: Final = 1
PREKEY_LAST_RESORT: Final = 2


class IdentityPublic(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The two identity keys of a person or business, the first signing the second."""

    sign_pk: Bytes32
    dh_pk: Bytes32
    binding: Bytes64

    def verify(self) -> None:
        """:raises SignatureError: the signing key does not vouch for the agreement key"""
        verify(self.sign_pk, identity_binding(self.dh_pk), self.binding, "the identity")


def identity_binding(dh_pk: bytes) -> bytes:
    """What the Ed25519 identity key signs."""
    return message_to_sign("identity", dh_pk)


class EcPreKey(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An X25519 prekey: ``kind`` is PREKEY_SIGNED (the rotating one) or PREKEY_ONE_TIME."""

    kind: U8
    key_id: U32
    public: Bytes32
    signature: Bytes64

    def verify(self, signer: bytes) -> None:
        """:raises SignatureError: not signed by ``signer``, the owner's Ed25519 identity key
        :raises MalformedError: a kind that an X25519 prekey cannot have"""
        if self.kind not in (PREKEY_SIGNED, PREKEY_ONE_TIME):
            raise MalformedError("the prekey has an unknown kind")
        signed = ec_prekey_message(self.kind, self.key_id, self.public)
        verify(signer, signed, self.signature, "the prekey")


def ec_prekey_message(kind: int, key_id: int, public: bytes) -> bytes:
    """What the owner of an X25519 prekey signs."""
    return message_to_sign("prekey-ec", u8(kind), u32(key_id), public)


class KemPreKey(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An ML-KEM-1024 prekey: ``kind`` is PREKEY_ONE_TIME or PREKEY_LAST_RESORT."""

    kind: U8
    key_id: U32
    public: KemPublic
    signature: Bytes64

    def verify(self, signer: bytes) -> None:
        """:raises SignatureError: not signed by ``signer``, the owner's Ed25519 identity key
        :raises MalformedError: a kind that a KEM prekey cannot have"""
        if self.kind not in (PREKEY_ONE_TIME, PREKEY_LAST_RESORT):
            raise MalformedError("the KEM prekey has an unknown kind")
        signed = kem_prekey_message(self.kind, self.key_id, self.public)
        verify(signer, signed, self.signature, "the KEM prekey")


def kem_prekey_message(kind: int, key_id: int, public: bytes) -> bytes:
    """What the owner of a KEM prekey signs."""
    return message_to_sign("prekey-kem", u8(kind), u32(key_id), public)


class PreKeyBundle(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All that a stranger needs for a first message: identity, signed prekey, KEM prekey, and a
    one-time X25519 prekey if there was one left."""

    identity: IdentityPublic
    signed: EcPreKey
    kem: KemPreKey
    one_time: EcPreKey | None = None

    def verify(self) -> None:
        """:raises SignatureError: any of the signatures fails
        :raises MalformedError: a prekey stands in the place of another kind"""
        self.identity.verify()
        if self.signed.kind != PREKEY_SIGNED:
            raise MalformedError("the signed prekey has the wrong kind")
        self.signed.verify(self.identity.sign_pk)
        self.kem.verify(self.identity.sign_pk)
        if self.one_time is not None:
            if self.one_time.kind != PREKEY_ONE_TIME:
                raise MalformedError("the one-time prekey has the wrong kind")
            self.one_time.verify(self.identity.sign_pk)
