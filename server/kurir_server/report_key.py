"""The operator's key for reports: what opens them, and what seals a business's copy.

A report holds the text of a message, so it is sealed like the messages themselves: HPKE with
ML-KEM-768 and X25519 together, that nobody who records it today reads it later. The running relay
does not load the private half; only ``kurir-relay report`` does. The client's half of this is
``kurir_crypto.sealing``, which the relay must not import. Source: docs/protocol.md, "Reports and
adjustments".
"""

from __future__ import annotations

from dataclasses import dataclass, field
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

from kurir_billing.report import Complaint, Report, open_complaint, packed_report
from kurir_wire.errors import MalformedError
from kurir_wire.ids import Hash, RelayId, domain, u8
from kurir_wire.limits import REPORT_SIZES

SECRET_BYTES: Final = 96
"""ML-KEM-768 seeds d and z (64), X25519 secret (32)."""
_KEM_SEED_BYTES: Final = 64
_KEM_PUBLIC_BYTES: Final = 1_184
_SEAL_BYTES: Final = 1_088 + 32 + 16
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class ReportKey:
    """``public``: 1,216 bytes, ML-KEM-768 key (1,184) then X25519 key (32), for the certificate."""

    public: bytes
    _key: MLKEM768X25519PrivateKey = field(repr=False, compare=False)

    @classmethod
    def from_bytes(cls, secret: bytes) -> ReportKey:
        """:param secret: 96 bytes"""
        kem = MLKEM768PrivateKey.from_seed_bytes(secret[:_KEM_SEED_BYTES])
        curve = X25519PrivateKey.from_private_bytes(secret[_KEM_SEED_BYTES:])
        public = kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        return cls(public, MLKEM768X25519PrivateKey(kem, curve))

    def open(self, sealed: bytes, relay_id: RelayId) -> Complaint:
        """Open what a customer sealed.

        :raises MalformedError: not sealed to this key at this relay, or something else is in it
        """
        try:
            padded = _hpke().decrypt(sealed, self._key, _info("sealed-report", relay_id))
        except (InvalidTag, ValueError) as error:
            raise MalformedError("it does not open with the key for reports") from error
        data = padded.rstrip(b"\0")
        if not data.endswith(b"\x80"):
            raise MalformedError("it opens, and is not padded as a report is")
        return open_complaint(data[:-1])


def seal_copy(envelope_pk: bytes, relay_id: RelayId, adjust: Hash, report: Report) -> bytes:
    """The report for the business that it is about, bound to the adjustment that rests on it.

    :param envelope_pk: from the business's card
    :returns: one of ``REPORT_SIZES`` bytes; none if the card's key is not usable, which is the
        business's own doing
    """
    try:
        recipient = MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(envelope_pk[:_KEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(envelope_pk[_KEM_PUBLIC_BYTES:]),
        )
        data = packed_report(report) + b"\x80"
        size = next(size for size in REPORT_SIZES if size >= len(data) + _SEAL_BYTES)
        padded = data.ljust(size - _SEAL_BYTES, b"\0")
        return _hpke().encrypt(padded, recipient, _info("sealed-copy", relay_id) + adjust)
    except ValueError:
        return b""


def _hpke() -> Suite:
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def _info(name: str, relay_id: RelayId) -> bytes:
    return domain(name) + u8(_VERSION) + relay_id
