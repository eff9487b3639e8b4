"""Ed25519 signatures over domain-separated structures. Verification only: signing needs a secret.

libsodium refuses small-order and non-canonical public keys, under which a signature would be valid
for anything; other libraries accept them, so every check in the project goes through here
(RFC 8032, section 5.1.7, and the libsodium documentation of ``crypto_sign_verify_detached``).
"""

from __future__ import annotations

from typing import Final

from nacl import bindings, exceptions

from kurir_wire.errors import SignatureError
from kurir_wire.ids import domain

SIGNATURE_BYTES: Final = 64
PUBLIC_KEY_BYTES: Final = 32


def message_to_sign(name: str, *fields: bytes) -> bytes:
    """The bytes that a signature called ``name`` covers."""
    return domain(name) + b"".join(fields)


def verify(public_key: bytes, message: bytes, signature: bytes, what: str) -> None:
    """Check one signature.

    :param public_key: 32 bytes, Ed25519
    :param signature: 64 bytes
    :param what: a noun for the error, such as "the relay's certificate"
    :raises SignatureError: it does not match
    """
    if len(public_key) != PUBLIC_KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise SignatureError(f"{what}: the key or the signature has the wrong length")
    try:
        bindings.crypto_sign_open(signature + message, public_key)
    except (exceptions.BadSignatureError, exceptions.CryptoError) as error:
        raise SignatureError(f"{what}: the signature does not match") from error
