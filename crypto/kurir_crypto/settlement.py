"""What only the reader of a paid message can say: the settlement secret.

It comes from ``kf``, 32 random bytes that the business puts into the message. The charge carries
the hash of the secret, so neither relay nor business can settle for a customer who did not open the
message. The franking tag comes from ``kf`` too: :func:`kurir_billing.report.frank_tag`, as whoever
judges a report recomputes it.
"""

from __future__ import annotations

import os
from typing import Final

from kurir_crypto.kdf import hmac_sha256
from kurir_wire.ids import EnvelopeId, domain

KF_BYTES: Final = 32


def generate_kf() -> bytes:
    """A fresh key for one message: 32 bytes."""
    return os.urandom(KF_BYTES)


def settlement_secret(kf: bytes, envelope_id: EnvelopeId) -> bytes:
    """HMAC-SHA256(kf, "kurir/settle/1\\0" ‖ envelope id): 32 bytes, returned with the
    acknowledgement.

    :param kf: 32 bytes
    :param envelope_id: 16 bytes
    :raises ValueError: a wrong length
    """
    _check(kf, 32)
    _check(envelope_id, 16)
    return hmac_sha256(kf, domain("settle") + envelope_id)


def _check(value: bytes, length: int) -> None:
    # A field of another width would move the ones after it.
    if len(value) != length:
        raise ValueError(f"a field of {length} bytes has {len(value)}")
