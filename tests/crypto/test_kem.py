"""ML-KEM keys: agreement, implicit rejection, and keys that no honest party makes."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey

from kurir_crypto.errors import InvalidKeyError
from kurir_crypto.kem import (
    CIPHERTEXT_768_BYTES,
    CIPHERTEXT_1024_BYTES,
    PUBLIC_768_BYTES,
    SEED_BYTES,
    check_768_public,
    decapsulate_768,
    encapsulate_768,
    encapsulate_1024,
    generate_768,
)
from kurir_crypto.keys import OwnKemPreKey
from kurir_wire.prekeys import KEM_PUBLIC_BYTES, PREKEY_ONE_TIME
from tests.crypto.parties import Party

Q = 3_329
"""The modulus, FIPS 203, section 2.4."""
KEYS_768 = 384 * 3
"""Bytes of an encapsulation key before its seed: 768 coefficients of twelve bits."""


def test_both_get_the_same_secret() -> None:
    seed, public = generate_768()
    shared, ciphertext = encapsulate_768(check_768_public(public))
    assert decapsulate_768(seed, ciphertext) == shared
    sizes = (len(seed), len(public), len(ciphertext), len(shared))
    assert sizes == (SEED_BYTES, PUBLIC_768_BYTES, CIPHERTEXT_768_BYTES, 32)
    assert sizes == (64, 1_184, 1_088, 32)


def test_keys_and_encapsulations_are_fresh() -> None:
    seeds, publics = zip(*(generate_768() for _ in range(5)), strict=True)
    assert len({*seeds, *publics}) == 10
    public = check_768_public(publics[0])
    secrets, ciphertexts = zip(*(encapsulate_768(public) for _ in range(5)), strict=True)
    assert len({*secrets, *ciphertexts}) == 10


def test_the_seed_is_all_of_the_key() -> None:
    """d and z, FIPS 203, algorithm 16: the key that is asked with comes from it alone."""
    seed, public = generate_768()
    again = MLKEM768PrivateKey.from_seed_bytes(seed)
    assert again.public_key().public_bytes_raw() == public
    assert again.private_bytes_raw() == seed


def test_another_ciphertext_gives_another_secret_and_always_the_same() -> None:
    """Implicit rejection, FIPS 203, section 6.3: no error that would tell an attacker something."""
    seed, public = generate_768()
    shared, ciphertext = encapsulate_768(check_768_public(public))
    wrong = ciphertext[:-1] + bytes([ciphertext[-1] ^ 1])
    rejected = {decapsulate_768(seed, wrong) for _ in range(3)}
    assert len(rejected) == 1
    assert shared not in rejected
    assert len(rejected.pop()) == 32
    other_seed, _ = generate_768()
    assert decapsulate_768(other_seed, ciphertext) != shared


def out_of_range(public: bytes, value: int) -> bytes:
    """The first coefficient replaced: twelve bits, little-endian."""
    return bytes([value & 0xFF, (public[1] & 0xF0) | value >> 8]) + public[2:]


@pytest.mark.parametrize("value", [Q, Q + 1, 0xFFF])
def test_a_coefficient_that_is_not_reduced_is_refused(value: int) -> None:
    _, public = generate_768()
    assert check_768_public(out_of_range(public, Q - 1))
    with pytest.raises(InvalidKeyError, match="ML-KEM-768"):
        check_768_public(out_of_range(public, value))


@pytest.mark.parametrize("length", [0, 1, KEYS_768, 1_183, 1_185, KEM_PUBLIC_BYTES])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(InvalidKeyError):
        check_768_public(bytes(length))


def test_ml_kem_1024_refuses_what_is_no_key() -> None:
    _, public = generate_768()
    for bad in (b"", public, bytes(1_567), bytes(1_569), b"\xff" * KEM_PUBLIC_BYTES):
        with pytest.raises(InvalidKeyError, match="ML-KEM-1024"):
            encapsulate_1024(bad)


def test_ml_kem_1024_agrees_with_a_prekey() -> None:
    key = OwnKemPreKey.generate(Party().identity, PREKEY_ONE_TIME, 1)
    shared, ciphertext = encapsulate_1024(key.public.public)
    assert (len(shared), len(ciphertext)) == (32, CIPHERTEXT_1024_BYTES)
    assert key.decapsulate(ciphertext) == shared
