"""Signatures: only libsodium's strict check, on whole keys and whole signatures."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from kurir_wire.errors import SignatureError
from kurir_wire.signing import message_to_sign, verify
from tests.protocol.make import SMALL_ORDER_KEYS, key, public, sign

KEY = key("signer")
MESSAGE = message_to_sign("test", b"message")
GOOD = sign(KEY, MESSAGE)
ORDER = 2**252 + 27742317777372353535851937790883648493


def test_a_good_signature() -> None:
    verify(public(KEY), MESSAGE, GOOD, "it")
    verify(public(KEY), b"", sign(KEY, b""), "it")


@given(st.integers(0, 511))
def test_any_flipped_bit_of_the_signature(bit: int) -> None:
    bad = bytearray(GOOD)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        verify(public(KEY), MESSAGE, bytes(bad), "it")


@given(st.integers(0, 8 * len(MESSAGE) - 1))
def test_any_flipped_bit_of_the_message(bit: int) -> None:
    bad = bytearray(MESSAGE)
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        verify(public(KEY), bytes(bad), GOOD, "it")


@given(st.integers(0, 255))
def test_any_flipped_bit_of_the_key(bit: int) -> None:
    bad = bytearray(public(KEY))
    bad[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SignatureError):
        verify(bytes(bad), MESSAGE, GOOD, "it")


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_key_length(length: int) -> None:
    with pytest.raises(SignatureError):
        verify((public(KEY) * 2)[:length], MESSAGE, GOOD, "it")


@pytest.mark.parametrize("length", [0, 63, 65, 128])
def test_signature_length(length: int) -> None:
    with pytest.raises(SignatureError):
        verify(public(KEY), MESSAGE, (GOOD * 2)[:length], "it")


def test_a_part_of_the_message_does_not_pass_for_signature() -> None:
    # crypto_sign_open takes signature and message in one piece.
    with pytest.raises(SignatureError):
        verify(public(KEY), MESSAGE[1:], GOOD + MESSAGE[:1], "it")


@pytest.mark.parametrize("small", SMALL_ORDER_KEYS, ids=lambda data: data.hex()[:8])
def test_small_order_keys(small: bytes) -> None:
    # With such a key, R = key or identity and s = 0 satisfy the equation for many messages.
    identity = b"\1" + bytes(31)
    for r in (identity, small):
        for n in range(16):
            with pytest.raises(SignatureError):
                verify(small, MESSAGE + bytes([n]), r + bytes(32), "it")


def test_the_trap_is_real() -> None:
    # The other library accepts what is refused above; if this fails, the note in signing.py is old.
    Ed25519PublicKey.from_public_bytes(SMALL_ORDER_KEYS[0]).verify(
        SMALL_ORDER_KEYS[0] + bytes(32), b"anything"
    )


def test_a_second_spelling_of_s() -> None:
    s = int.from_bytes(GOOD[32:], "little") + ORDER
    with pytest.raises(SignatureError):
        verify(public(KEY), MESSAGE, GOOD[:32] + s.to_bytes(32, "little"), "it")


def test_what_is_named() -> None:
    with pytest.raises(SignatureError, match="the noun"):
        verify(public(KEY), MESSAGE, bytes(64), "the noun")
    with pytest.raises(SignatureError, match="the noun"):
        verify(b"", MESSAGE, bytes(64), "the noun")


def test_domains_end_with_zero_so_none_is_a_prefix_of_another() -> None:
    assert message_to_sign("a", b"x") == b"kurir/a/1\0x"
    assert not message_to_sign("ab").startswith(message_to_sign("a"))
