"""Key derivation: HKDF-SHA256 (RFC 5869) and HMAC-SHA256 (RFC 2104).

Every label is ``kurir/NAME/1\\0`` followed by fixed-width fields, so no two derivations meet.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_MESSAGE_KEY: Final = b"\x01"
_NEXT_CHAIN: Final = b"\x02"


def hkdf(secret: bytes, info: bytes, length: int = 32, *, salt: bytes | None = None) -> bytes:
    """``length`` bytes of HKDF-SHA256; no salt means 32 zero bytes (RFC 5869, section 2.2)."""
    return HKDF(SHA256(), length, salt, info).derive(secret)


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """32 bytes."""
    return hmac.digest(key, message, "sha256")


def chain_step(chain: bytes) -> tuple[bytes, bytes]:
    """KDF_CK: the next chain and a message key (Double Ratchet, section 5.2)."""
    return hmac.digest(chain, _NEXT_CHAIN, "sha256"), hmac.digest(chain, _MESSAGE_KEY, "sha256")


def same(one: bytes, other: bytes) -> bool:
    """Compare secrets, or values that depend on them, in constant time."""
    return hmac.compare_digest(one, other)
