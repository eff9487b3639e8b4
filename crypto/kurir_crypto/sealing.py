"""The outer layer: hides a message from the relay, headers and all, and ties it to its envelope.

Into a mailbox it is symmetric, under a key that writer and reader share and hash forward weekly; to
an address it is HPKE (RFC 9180) to the envelope key of the card. Either way the body fills its
bucket exactly and opens only in the envelope it was made for: mailbox, envelope id and label are
bound into it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from kurir_crypto.aead import xchacha_decrypt, xchacha_encrypt
from kurir_crypto.curve import CurveSecret, check_x25519_public, generate_x25519
from kurir_crypto.errors import AuthenticationError, InvalidKeyError, WeekError
from kurir_crypto.hidden import Hidden
from kurir_crypto.kdf import hkdf
from kurir_crypto.padding import ADDRESS_SEAL_BYTES, MAILBOX_SEAL_BYTES, pad, unpad
from kurir_crypto.reader import read_state
from kurir_wire.ids import (
    NO_HASH,
    WEEK,
    EnvelopeId,
    Hash,
    MailboxId,
    RelayId,
    domain,
    u8,
    u32,
)
from kurir_wire.limits import REPORT_SIZES

KEM_PUBLIC_BYTES: Final = 1_184
ENVELOPE_PUBLIC_BYTES: Final = KEM_PUBLIC_BYTES + 32
"""1,216: ML-KEM-768 encapsulation key, then X25519 public key."""
WEEKS_KEPT: Final = 5
"""An envelope lives 30 days, so it can come from this week or one of the five before."""
MAX_WEEKS_AHEAD: Final = 5_200
"""Weeks that a key is hashed forward at once: a century, and a bound on work for a wild number."""

_VERSION: Final = 1
_SEALING: Final = 1
"""Sealing has a version of its own: the relay's bodies and the sessions change independently."""
_KEM_SEED_BYTES: Final = 64


class Binding(bytes):
    """Where a body belongs: 96 bytes, bound into sealing and into each entry.

    The label's hash is 32 zero bytes where there is no label (an envelope that nobody pays for).
    """

    __slots__ = ()

    def __new__(
        cls, mailbox_id: MailboxId, envelope_id: EnvelopeId, label_hash: Hash = NO_HASH
    ) -> Binding:
        """:raises ValueError: not 32, 16 and 32 bytes"""
        if (len(mailbox_id), len(envelope_id), len(label_hash)) != (32, 16, 32):
            raise ValueError("a binding has ids of 32 and 16 bytes and a hash of 32")
        return super().__new__(cls, domain("binding") + mailbox_id + envelope_id + label_hash)


def week_of(now: int) -> int:
    """The week of a unix time in seconds."""
    return now // WEEK


@dataclass(frozen=True, slots=True, eq=False)
class MailboxKey(Hidden):
    """A mailbox's sealing key as of one week. It goes forward, never back: whoever steals it cannot
    open what was sealed in weeks before.

    ``week`` is unix time // 604,800; the key has 32 bytes.
    """

    week: int
    _key: bytes

    def __post_init__(self) -> None:
        if len(self._key) != 32 or not 0 <= self.week <= 0xFFFF_FFFF:
            raise ValueError("a mailbox key has 32 bytes and a week")

    def __repr__(self) -> str:
        return f"<MailboxKey of week {self.week}>"

    @classmethod
    def generate(cls, week: int) -> MailboxKey:
        """A fresh key."""
        return cls(week, os.urandom(32))

    def at(self, week: int) -> MailboxKey:
        """The key of that week.

        :raises WeekError: an earlier week, or more than MAX_WEEKS_AHEAD later
        """
        if not 0 <= week - self.week <= MAX_WEEKS_AHEAD:
            raise WeekError(f"a mailbox key of week {self.week} cannot give that of week {week}")
        key = self._key
        for later in range(self.week + 1, week + 1):
            key = hkdf(key, domain("mailbox-week") + u32(later))
        return MailboxKey(week, key)

    def forget(self, now_week: int) -> MailboxKey:
        """The key to keep from now on: of the oldest week from which an envelope may still come.

        :raises WeekError: the clock is more than MAX_WEEKS_AHEAD ahead
        """
        return self.at(max(self.week, now_week - WEEKS_KEPT))

    def seal(self, binding: bytes, message: bytes, bucket: int) -> bytes:
        """Seal under this very week's key: exactly ``bucket`` bytes, see :func:`seal_symmetric`."""
        padded = pad(message, bucket - MAILBOX_SEAL_BYTES)
        return xchacha_encrypt(self._sealing_key(), padded, self._associated(binding))

    def open(self, binding: bytes, body: bytes) -> bytes:
        """Open a body of this very week; :func:`open_with` finds the week.

        :raises AuthenticationError: it does not open
        """
        return unpad(xchacha_decrypt(self._sealing_key(), body, self._associated(binding)))

    def _sealing_key(self) -> bytes:
        # Not the week's key itself: one key, one use.
        return hkdf(self._key, domain("mailbox-seal") + u8(_SEALING))

    def _associated(self, binding: bytes) -> bytes:
        return domain("sealed-mailbox") + u8(_SEALING) + u32(self.week) + binding

    def to_bytes(self) -> bytes:
        """37 secret bytes: version, week (4), key."""
        return u8(_VERSION) + u32(self.week) + self._key

    @classmethod
    def from_bytes(cls, data: bytes) -> MailboxKey:
        """:raises DamagedStateError: not what :meth:`to_bytes` gives"""
        reader = read_state(data, _VERSION, 1 + 4 + 32)
        return cls(reader.number(4), reader.take(32))


def seal_symmetric(
    key: MailboxKey, week: int, binding: bytes, message: bytes, bucket: int
) -> bytes:
    """A body for a mailbox: nonce (24) ‖ XChaCha20-Poly1305 of the padded message. Without the key
    it cannot be told from random bytes.

    :param week: the writer's current week, or the key's if the clock is behind it
    :return: exactly ``bucket`` bytes
    :raises WeekError: a week before the key's
    :raises MessageTooLongError: the message does not fit
    """
    return key.at(week).seal(binding, message, bucket)


def open_with(key: MailboxKey, now_week: int, binding: bytes, body: bytes) -> bytes:
    """Open a body of any week from the key's to the next one (a writer's clock may run ahead),
    newest first.

    :return: the message, without padding
    :raises AuthenticationError: no week's key opens it in this place
    :raises MalformedMessageError: it opens, and its writer did not pad it
    :raises WeekError: the clock is more than MAX_WEEKS_AHEAD ahead of the key
    """
    newest = max(now_week + 1, key.week)
    if newest - key.week > MAX_WEEKS_AHEAD:
        raise WeekError("the clock is far ahead of the mailbox key")
    keys = [key]
    while keys[-1].week < newest:
        keys.append(keys[-1].at(keys[-1].week + 1))
    for candidate in reversed(keys):
        try:
            return candidate.open(binding, body)
        except AuthenticationError:
            continue
    raise AuthenticationError


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class EnvelopeKeyPair(Hidden):
    """An address's envelope key: HPKE MLKEM768-X25519 with HKDF-SHA256 and AES-256-GCM.

    ``public``: 1,216 bytes, ML-KEM-768 key (1,184) then X25519 key (32), for the card.
    """

    public: bytes
    _kem_seed: bytes
    _x25519_secret: CurveSecret
    _key: MLKEM768X25519PrivateKey

    @classmethod
    def generate(cls) -> EnvelopeKeyPair:
        """A fresh key."""
        return cls._of(os.urandom(_KEM_SEED_BYTES), generate_x25519()[0])

    @classmethod
    def _of(cls, kem_seed: bytes, x25519_secret: CurveSecret) -> EnvelopeKeyPair:
        kem = MLKEM768PrivateKey.from_seed_bytes(kem_seed)
        curve = X25519PrivateKey.from_private_bytes(x25519_secret)
        public = kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        return cls(public, kem_seed, x25519_secret, MLKEM768X25519PrivateKey(kem, curve))

    def decrypt(self, info: bytes, body: bytes) -> bytes:
        """HPKE's single-shot opening in base mode (RFC 9180, section 6.1), empty associated data.

        :raises AuthenticationError: it does not open
        """
        try:
            return _hpke().decrypt(body, self._key, info)
        except (InvalidTag, ValueError) as error:
            raise AuthenticationError from error

    def to_bytes(self) -> bytes:
        """97 secret bytes: version, ML-KEM seeds d and z (64), X25519 secret (32)."""
        return u8(_VERSION) + self._kem_seed + self._x25519_secret

    @classmethod
    def from_bytes(cls, data: bytes) -> EnvelopeKeyPair:
        """:raises DamagedStateError: not what :meth:`to_bytes` gives"""
        reader = read_state(data, _VERSION, 1 + _KEM_SEED_BYTES + 32)
        return cls._of(reader.take(_KEM_SEED_BYTES), CurveSecret(reader.take(32)))


def seal_to_address(public: bytes, binding: bytes, message: bytes, bucket: int) -> bytes:
    """A body for an address. Unlike a mailbox's, it shows that it is HPKE; so does the address.

    :param public: the card's envelope key, 1,216 bytes
    :return: exactly ``bucket`` bytes: encapsulation (1,120) ‖ ciphertext ‖ tag (16)
    :raises InvalidKeyError: a key that no honest party makes
    :raises MessageTooLongError: the message does not fit
    """
    return _seal(public, _info(binding), message, bucket)


def open_at_address(own: EnvelopeKeyPair, binding: bytes, body: bytes) -> bytes:
    """Open a body that :func:`seal_to_address` made.

    :raises AuthenticationError: it does not open with this key and binding
    :raises MalformedMessageError: it opens, and its writer did not pad it
    """
    return unpad(own.decrypt(_info(binding), body))


def seal_report(public: bytes, relay_id: RelayId, complaint: bytes) -> bytes:
    """A report for the operator, who alone can open it.

    :param public: ``report_pk`` of the relay's certificate, 1,216 bytes
    :return: one of ``REPORT_SIZES`` bytes
    :raises InvalidKeyError: a key that no honest relay has
    :raises MessageTooLongError: more than any report has
    """
    room = len(complaint) + 1 + ADDRESS_SEAL_BYTES
    size = next((size for size in REPORT_SIZES if size >= room), REPORT_SIZES[-1])
    return _seal(public, domain("sealed-report") + u8(_SEALING) + relay_id, complaint, size)


def open_copy(own: EnvelopeKeyPair, relay_id: RelayId, adjust: Hash, sealed: bytes) -> bytes:
    """The report that the operator sealed to a business, with the adjustment of this hash.

    :raises AuthenticationError: it does not open with this key, or is of another adjustment
    :raises MalformedMessageError: it opens, and was not padded
    """
    return unpad(own.decrypt(domain("sealed-copy") + u8(_SEALING) + relay_id + adjust, sealed))


def _seal(public: bytes, info: bytes, message: bytes, size: int) -> bytes:
    if len(public) != ENVELOPE_PUBLIC_BYTES:
        raise InvalidKeyError(f"an envelope key has {ENVELOPE_PUBLIC_BYTES} bytes")
    check_x25519_public(public[KEM_PUBLIC_BYTES:])
    try:
        recipient = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:KEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(public[KEM_PUBLIC_BYTES:]),
        )
    except ValueError as error:
        raise InvalidKeyError("the envelope key is not valid") from error
    return _hpke().encrypt(pad(message, size - ADDRESS_SEAL_BYTES), recipient, info)


def _hpke() -> Suite:
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _info(binding: bytes) -> bytes:
    # RFC 9180, section 8.1: single-shot users may put what they would authenticate into info.
    return domain("sealed-address") + u8(_SEALING) + binding
