"""Authenticated encryption: AES-256-GCM where a key is used once, XChaCha20-Poly1305 where nonces
are random (192 bits of them, so that they do not repeat). Whatever is wrong is one error.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings
from nacl import exceptions as nacl_exceptions

from kurir_crypto.errors import AuthenticationError

TAG_BYTES: Final = 16
_NONCE: Final = bytes(12)
XCHACHA_NONCE_BYTES: Final = 24
XCHACHA_BYTES: Final = XCHACHA_NONCE_BYTES + TAG_BYTES
"""40: what :func:`xchacha_encrypt` adds."""


def gcm_encrypt(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """AES-256-GCM (NIST SP 800-38D) under a key of 32 bytes that is used once: the nonce is zero.

    :return: ciphertext and 16 bytes of tag
    """
    return AESGCM(key).encrypt(_NONCE, plaintext, associated)


def gcm_decrypt(key: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    """The inverse of :func:`gcm_encrypt`.

    :raises AuthenticationError: the tag does not match, or there is none
    """
    try:
        return AESGCM(key).decrypt(_NONCE, ciphertext, associated)
    except (InvalidTag, ValueError) as error:
        raise AuthenticationError from error


def xchacha_encrypt(key: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) under a 32-byte key and a random nonce.

    :return: nonce (24) ‖ ciphertext ‖ tag (16)
    """
    nonce = os.urandom(XCHACHA_NONCE_BYTES)
    return nonce + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        plaintext, associated, nonce, key
    )


def xchacha_decrypt(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The inverse of :func:`xchacha_encrypt`.

    :raises AuthenticationError: the tag does not match, or there is none
    """
    if len(sealed) < XCHACHA_BYTES:  # libsodium's binding would fail in an undocumented way
        raise AuthenticationError
    nonce, ciphertext = sealed[:XCHACHA_NONCE_BYTES], sealed[XCHACHA_NONCE_BYTES:]
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(
            ciphertext, associated, nonce, key
        )
    except nacl_exceptions.CryptoError as error:
        raise AuthenticationError from error
