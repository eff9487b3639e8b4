"""PQXDH: two parties, one of them away, agree on a secret and on who they are.

Source: Signal, "The PQXDH Key Agreement Protocol", revision 3. Ours: X25519, ML-KEM-1024 and
HKDF-SHA256; an identity is two keys (Ed25519 and X25519, the first signing the second); the
associated data covers both keys of both identities, the KEM key (section 4.12 asks for it), the
suite, the session's id and its start, and goes into the derivation too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from kurir_crypto.curve import agree, check_x25519_public, generate_x25519
from kurir_crypto.errors import (
    MalformedMessageError,
    MissingPreKeyError,
    UntrustedKeyError,
)
from kurir_crypto.hidden import Hidden
from kurir_crypto.kdf import hkdf
from kurir_crypto.kem import CIPHERTEXT_1024_BYTES, encapsulate_1024
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.reader import Reader
from kurir_wire.errors import WireError
from kurir_wire.ids import Hash, digest, domain, u8, u32
from kurir_wire.prekeys import (
    PREKEY_LAST_RESORT,
    PREKEY_ONE_TIME,
    IdentityPublic,
    PreKeyBundle,
)

SESSION_ID_BYTES: Final = 16
HANDSHAKE_BYTES: Final = 32 + 32 + 64 + 32 + 4 + 4 + 1 + 4 + 1 + 4 + CIPHERTEXT_1024_BYTES
"""1,746: what an initiator repeats in each message until the first answer."""

_CURVE_PREFIX: Final = b"\xff" * 32
"""F of PQXDH, section 2.2: no X25519 key begins the input, so it never meets a signature's."""


class PreKeyStore(Protocol):
    """Where the responder's own prekeys are looked up, by the ids in a handshake.

    A method returns None for a key that is not held (any more). The caller deletes the one-time
    keys that :class:`~kurir_crypto.message.Accepted` names, in the same transaction that stores the
    session.
    """

    def signed_prekey(self, key_id: int) -> OwnEcPreKey | None:
        """A rotating X25519 prekey, current or previous."""

    def one_time_prekey(self, key_id: int) -> OwnEcPreKey | None:
        """A one-time X25519 prekey."""

    def kem_prekey(self, kind: int, key_id: int) -> OwnKemPreKey | None:
        """A KEM prekey; ``kind`` is PREKEY_ONE_TIME or PREKEY_LAST_RESORT. Ids count per kind."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """The header of a first message (PQXDH, section 3.3). Public, but for the sealing around it.

    ``started`` is a unix minute; ``one_time_id`` is None where no one-time X25519 key was left.
    """

    initiator: IdentityPublic
    ephemeral: bytes
    started: int
    signed_id: int
    one_time_id: int | None
    kem_kind: int
    kem_id: int
    ciphertext: bytes

    def to_bytes(self) -> bytes:
        """1,746 bytes."""
        one_time = bytes(5) if self.one_time_id is None else u8(1) + u32(self.one_time_id)
        return b"".join(
            (
                self.initiator.sign_pk,
                self.initiator.dh_pk,
                self.initiator.binding,
                self.ephemeral,
                u32(self.started),
                u32(self.signed_id),
                one_time,
                u8(self.kem_kind),
                u32(self.kem_id),
                self.ciphertext,
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Handshake:
        """:raises MalformedMessageError: not what :meth:`to_bytes` gives"""
        reader = Reader(data)
        initiator = IdentityPublic(reader.take(32), reader.take(32), reader.take(64))
        ephemeral = reader.take(32)
        started, signed_id = reader.number(4), reader.number(4)
        has_one_time, one_time_id = reader.number(1), reader.number(4)
        kem_kind, kem_id = reader.number(1), reader.number(4)
        ciphertext = reader.take(CIPHERTEXT_1024_BYTES)
        reader.end()
        # One value, one encoding: an absent id is zero.
        if has_one_time > 1 or (not has_one_time and one_time_id):
            raise MalformedMessageError("the handshake's one-time prekey is not well formed")
        if kem_kind not in (PREKEY_ONE_TIME, PREKEY_LAST_RESORT):
            raise MalformedMessageError("the handshake names an unknown kind of KEM prekey")
        return cls(
            initiator,
            ephemeral,
            started,
            signed_id,
            one_time_id if has_one_time else None,
            kem_kind,
            kem_id,
            ciphertext,
        )


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Agreed(Hidden):
    """What a handshake gives both sides: the secret, and what every message is bound to."""

    secret: bytes
    associated: Hash


def initiate(
    own: IdentityKeyPair, bundle: PreKeyBundle, suite: int, session_id: bytes, started: int
) -> tuple[Handshake, Agreed]:
    """The initiator's side (section 3.3).

    :param started: unix minute, 32 bits
    :raises UntrustedKeyError: a signature in the bundle fails
    :raises InvalidKeyError: a key in the bundle is one that no honest party makes
    """
    try:
        bundle.verify()
    except WireError as error:
        raise UntrustedKeyError from error
    identity = check_x25519_public(bundle.identity.dh_pk)
    signed = check_x25519_public(bundle.signed.public)
    one_time = None if bundle.one_time is None else check_x25519_public(bundle.one_time.public)

    ephemeral_secret, ephemeral = generate_x25519()
    shared, ciphertext = encapsulate_1024(bundle.kem.public)
    parts = [
        own.agree(signed),
        agree(ephemeral_secret, identity),
        agree(ephemeral_secret, signed),
    ]
    if one_time is not None:
        parts.append(agree(ephemeral_secret, one_time))

    handshake = Handshake(
        own.public,
        ephemeral,
        started,
        bundle.signed.key_id,
        None if bundle.one_time is None else bundle.one_time.key_id,
        bundle.kem.kind,
        bundle.kem.key_id,
        ciphertext,
    )
    associated = _associated(
        suite, session_id, started, own.public, bundle.identity, bundle.kem.public
    )
    return handshake, Agreed(_derive(suite, parts, shared, associated), associated)


def respond(
    own: IdentityKeyPair,
    prekeys: PreKeyStore,
    handshake: Handshake,
    suite: int,
    session_id: bytes,
) -> tuple[OwnEcPreKey, Agreed]:
    """The responder's side (section 3.4). The result counts only once a message opened with it.

    :return: the signed prekey that was used, the first ratchet key; and what was agreed
    :raises UntrustedKeyError: the initiator's signing key does not vouch for its agreement key
    :raises InvalidKeyError: a key in the handshake is one that no honest party makes
    :raises MissingPreKeyError: a prekey that it names is not held
    """
    try:
        handshake.initiator.verify()
    except WireError as error:
        raise UntrustedKeyError from error
    identity = check_x25519_public(handshake.initiator.dh_pk)
    ephemeral = check_x25519_public(handshake.ephemeral)

    signed = prekeys.signed_prekey(handshake.signed_id)
    if signed is None:
        raise MissingPreKeyError(f"signed prekey {handshake.signed_id} is not held here")
    kem = prekeys.kem_prekey(handshake.kem_kind, handshake.kem_id)
    if kem is None:
        raise MissingPreKeyError(f"KEM prekey {handshake.kem_id} was used or deleted")
    one_time = None
    if handshake.one_time_id is not None:
        one_time = prekeys.one_time_prekey(handshake.one_time_id)
        if one_time is None:
            raise MissingPreKeyError(f"one-time prekey {handshake.one_time_id} was used or deleted")

    parts = [
        agree(signed.secret, identity),
        own.agree(ephemeral),
        agree(signed.secret, ephemeral),
    ]
    if one_time is not None:
        parts.append(agree(one_time.secret, ephemeral))
    shared = kem.decapsulate(handshake.ciphertext)
    associated = _associated(
        suite, session_id, handshake.started, handshake.initiator, own.public, kem.public.public
    )
    return signed, Agreed(_derive(suite, parts, shared, associated), associated)


def _associated(
    suite: int,
    session_id: bytes,
    started: int,
    initiator: IdentityPublic,
    responder: IdentityPublic,
    kem_public: bytes,
) -> Hash:
    return digest(
        "session",
        u8(suite),
        session_id,
        u32(started),
        initiator.sign_pk,
        initiator.dh_pk,
        responder.sign_pk,
        responder.dh_pk,
        kem_public,
    )


def _derive(suite: int, parts: list[bytes], shared: bytes, associated: Hash) -> bytes:
    """SK = KDF(DH1 ‖ DH2 ‖ DH3 [‖ DH4] ‖ SS), section 2.2."""
    secret = _CURVE_PREFIX + b"".join(parts) + shared
    return hkdf(secret, domain("pqxdh") + u8(suite) + associated)
