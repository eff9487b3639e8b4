"""What only the reader of a paid message can say: the settlement secret and the franking tag.

Both come from ``kf``, 32 random bytes that the business puts into the message. The charge carries
the hash of the settlement secret, so neither relay nor business can settle for a customer who did
not open the message; the tag commits the business to category and content, so that a customer can
report one message and no other (Grubbs, Lu, Ristenpart, "Message Franking via Committing
Authenticated Encryption", 2017, for why an AEAD's own tag will not do).
"""

from __future__ import annotations

import os
from typing import Final

from kurir_crypto.kdf import hmac_sha256
from kurir_wire.ids import BusinessId, EnvelopeId, MailboxId, RelayId, domain, u8

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


def frank_tag(
    kf: bytes,
    relay_id: RelayId,
    business_id: BusinessId,
    mailbox_id: MailboxId,
    envelope_id: EnvelopeId,
    category: int,
    content: bytes,
) -> bytes:
    """HMAC-SHA256(kf, "kurir/frank/1\\0" ‖ relay ‖ business ‖ mailbox ‖ envelope ‖ category ‖
    content): 32 bytes, part of the label.

    :param category: one byte
    :param content: the canonical content without ``kf``
    :raises ValueError: a wrong length
    """
    _check(kf, 32)
    for identifier in (relay_id, business_id, mailbox_id):
        _check(identifier, 32)
    _check(envelope_id, 16)
    if not 0 <= category <= 0xFF:
        raise ValueError("a category is one byte")
    return hmac_sha256(
        kf,
        domain("frank")
        + relay_id
        + business_id
        + mailbox_id
        + envelope_id
        + u8(category)
        + content,
    )


def _check(value: bytes, length: int) -> None:
    # A field of another width would move the ones after it.
    if len(value) != length:
        raise ValueError(f"a field of {length} bytes has {len(value)}")
