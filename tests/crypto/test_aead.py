"""The two ciphers: round trips, and nothing but AuthenticationError for what does not open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir_crypto.aead import gcm_decrypt, gcm_encrypt, xchacha_decrypt, xchacha_encrypt
from kurir_crypto.errors import AuthenticationError

KEY = b"k" * 32


@given(plaintext=st.binary(max_size=100), associated=st.binary(max_size=20))
def test_round_trips(plaintext: bytes, associated: bytes) -> None:
    sealed = xchacha_encrypt(KEY, plaintext, associated)
    assert len(sealed) == len(plaintext) + 40
    assert xchacha_decrypt(KEY, sealed, associated) == plaintext
    once = gcm_encrypt(KEY, plaintext, associated)
    assert len(once) == len(plaintext) + 16
    assert gcm_decrypt(KEY, once, associated) == plaintext


def test_nothing_is_something_to_encrypt() -> None:
    assert xchacha_decrypt(KEY, xchacha_encrypt(KEY, b"", b""), b"") == b""
    assert gcm_decrypt(KEY, gcm_encrypt(KEY, b"", b""), b"") == b""


def test_nonces_are_fresh() -> None:
    assert len({xchacha_encrypt(KEY, b"", b"")[:24] for _ in range(20)}) == 20


@pytest.mark.parametrize("length", [*range(42), 100])
def test_what_is_cut_or_made_up_does_not_open(length: int) -> None:
    with pytest.raises(AuthenticationError):
        xchacha_decrypt(KEY, bytes(length), b"")
    with pytest.raises(AuthenticationError):
        gcm_decrypt(KEY, bytes(length), b"")


def test_key_and_associated_data_count() -> None:
    sealed, once = xchacha_encrypt(KEY, b"x", b"a"), gcm_encrypt(KEY, b"x", b"a")
    for key, associated in ((b"K" * 32, b"a"), (KEY, b"b"), (KEY, b"")):
        with pytest.raises(AuthenticationError):
            xchacha_decrypt(key, sealed, associated)
        with pytest.raises(AuthenticationError):
            gcm_decrypt(key, once, associated)


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33, 44, 64])
def test_gcm_takes_keys_of_32_bytes_alone_where_it_opens(length: int) -> None:
    """OpenSSL would take 16 and 24 bytes for AES-128 and AES-192."""
    once = gcm_encrypt(KEY, b"x", b"")
    with pytest.raises(AuthenticationError):
        gcm_decrypt(bytes(length), once, b"")
