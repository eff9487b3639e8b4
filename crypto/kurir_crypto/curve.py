"""X25519 (RFC 7748), with types that tell one's own keys from those of others.

A peer's key gets its type from :func:`check_x25519_public` alone, so an unchecked key, or one of
one's own, cannot be passed where a peer's is meant: mypy refuses it.
"""

from __future__ import annotations

import os
from typing import Final, NewType

from nacl import bindings
from nacl import exceptions as nacl_exceptions

from kurir_crypto.errors import InvalidKeyError
from kurir_crypto.kdf import same

CurveSecret = NewType("CurveSecret", bytes)
"""32 secret bytes."""
OwnCurvePublic = NewType("OwnCurvePublic", bytes)
"""The 32-byte public key of one's own secret."""
PeerCurvePublic = NewType("PeerCurvePublic", bytes)
"""32 bytes that came from elsewhere and were checked."""

KEY_BYTES: Final = 32
_P: Final = 2**255 - 19

_SMALL_ORDER: Final = frozenset(
    value.to_bytes(KEY_BYTES, "little")
    for value in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        _P - 1,
    )
)
"""All canonical points whose order divides 8, on the curve and on its twist."""
_NOTHING: Final = bytes(KEY_BYTES)


def check_x25519_public(public: bytes) -> PeerCurvePublic:
    """Refuse a point that no honest key generation gives.

    Libraries mask the top bit and reduce modulo p, so one point would have several encodings: a
    way around comparisons of keys. Small-order points make the shared secret known to everyone.

    :param public: as received
    :raises InvalidKeyError: not 32 bytes, not canonical, all zero, or of small order
    """
    if len(public) != KEY_BYTES:
        raise InvalidKeyError(f"an X25519 key has {KEY_BYTES} bytes, not {len(public)}")
    if int.from_bytes(public, "little") >= _P:
        raise InvalidKeyError("an X25519 key is not in canonical form")
    if public in _SMALL_ORDER:
        raise InvalidKeyError("an X25519 key has small order")
    return PeerCurvePublic(public)


def generate_x25519() -> tuple[CurveSecret, OwnCurvePublic]:
    """A fresh key, 32 bytes each."""
    secret = CurveSecret(os.urandom(KEY_BYTES))
    return secret, public_x25519(secret)


def public_x25519(secret: CurveSecret) -> OwnCurvePublic:
    """The public key of a 32-byte secret."""
    return OwnCurvePublic(bindings.crypto_scalarmult_base(secret))


def agree(secret: CurveSecret, public: PeerCurvePublic) -> bytes:
    """The 32-byte shared secret of one's own secret and a peer's checked public key.

    :raises InvalidKeyError: it is all zero (RFC 7748, section 6.1)
    """
    try:
        shared = bindings.crypto_scalarmult(secret, public)
    except nacl_exceptions.CryptoError as error:  # how libsodium reports an all-zero result
        raise InvalidKeyError("an X25519 key has small order") from error
    if same(shared, _NOTHING):
        raise InvalidKeyError("an X25519 key has small order")
    return shared
