"""The passphrase header: wrong passphrases, damage, and parameters out of bounds."""

from __future__ import annotations

import hashlib
import struct
import tracemalloc
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nacl import bindings
from nacl import exceptions as nacl_exceptions
from nacl.pwhash import argon2id
from nacl.secret import Aead

from kurir_crypto.errors import DamagedVaultError, VaultError, WrongPassphraseError
from kurir_crypto.vault import CHEAP_COST, DEFAULT_COST, HEADER_BYTES, Cost, change, create, unlock

HEADER, KEY = create("correct horse", CHEAP_COST)


def test_the_key_comes_back() -> None:
    assert len(KEY) == 32
    assert len(HEADER) == HEADER_BYTES
    assert unlock(HEADER, "correct horse") == KEY
    assert KEY not in HEADER
    assert create("correct horse", CHEAP_COST) != (HEADER, KEY)


@pytest.mark.parametrize("passphrase", ["", "correct hors", "correct horse ", "Correct horse"])
def test_a_wrong_passphrase_says_so(passphrase: str) -> None:
    with pytest.raises(WrongPassphraseError) as caught:
        unlock(HEADER, passphrase)
    assert str(caught.value) == "wrong passphrase"


@settings(max_examples=30)
@example("not UTF-8: \udcff")
@given(st.text(alphabet=st.characters(), max_size=40))
def test_any_text_is_a_passphrase(passphrase: str) -> None:
    header, key = create(passphrase, CHEAP_COST)
    assert unlock(header, passphrase) == key


def test_one_passphrase_typed_in_two_ways_is_one() -> None:
    header, key = create("caf\u00e9", CHEAP_COST)
    assert unlock(header, "cafe\u0301") == key


def test_changing_keeps_the_key() -> None:
    new = change(HEADER, "correct horse", "battery staple")
    assert unlock(new, "battery staple") == KEY
    for header, wrong in ((new, "correct horse"), (HEADER, "battery staple")):
        with pytest.raises(WrongPassphraseError):
            unlock(header, wrong)
    with pytest.raises(WrongPassphraseError):
        change(HEADER, "wrong", "new")
    assert new[14:22] == HEADER[14:22]
    dearer = change(HEADER, "correct horse", "x", Cost(2, 16))
    assert struct.unpack(">II", dearer[14:22]) == (2, 16)
    assert unlock(dearer, "x") == KEY


def test_a_damaged_header_is_not_called_a_wrong_passphrase() -> None:
    for at in range(len(HEADER)):
        bad = bytearray(HEADER)
        bad[at] ^= 1
        with pytest.raises(DamagedVaultError):
            unlock(bytes(bad), "correct horse")
    for cut in (b"", HEADER[:-1], HEADER + b"\0", bytes(HEADER_BYTES)):
        with pytest.raises(DamagedVaultError):
            unlock(cut, "correct horse")


def rewritten(at: int, piece: bytes) -> bytes:
    """The header with other bytes and a check that matches them: malice, not damage."""
    body = bytearray(HEADER[:-16])
    body[at : at + len(piece)] = piece
    return bytes(body) + hashlib.sha256(body).digest()[:16]


def test_other_headers_with_a_check_that_matches_are_refused() -> None:
    for body in (b"Kurir" + HEADER[5:-16], HEADER[:-17], HEADER[:-16] + b"\0", b""):
        with pytest.raises(DamagedVaultError):
            unlock(body + hashlib.sha256(body).digest()[:16], "correct horse")


@pytest.mark.parametrize("at", range(14, HEADER_BYTES - 16, 7))
def test_everything_in_the_header_is_authenticated(at: int) -> None:
    piece = bytes([HEADER[at] ^ 1])
    with pytest.raises((WrongPassphraseError, DamagedVaultError)):
        unlock(rewritten(at, piece), "correct horse")


def test_the_cost_is_authenticated() -> None:
    with pytest.raises(WrongPassphraseError):
        unlock(rewritten(14, struct.pack(">II", 2, 8)), "correct horse")


ABSURD = [(0, 8), (17, 8), (2**32 - 1, 8), (1, 0), (1, 7), (1, 1_048_577), (1, 2**32 - 1)]


@pytest.mark.parametrize(("operations", "memory_kib"), ABSURD)
def test_absurd_costs_are_refused_before_anything_is_taken(
    operations: int, memory_kib: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> bytes:
        raise AssertionError("it was tried")

    monkeypatch.setattr(bindings, "crypto_pwhash_alg", never)
    tracemalloc.start()
    with pytest.raises(DamagedVaultError, match="asks for"):
        unlock(rewritten(14, struct.pack(">II", operations, memory_kib)), "correct horse")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    with pytest.raises(ValueError, match="not"):
        Cost(operations, memory_kib)


def test_the_bounds_themselves_are_allowed() -> None:
    Cost(16, 1_048_576)
    Cost(1, 8)


def test_too_little_memory_is_not_a_wrong_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> bytes:
        raise nacl_exceptions.RuntimeError("Unexpected failure in key derivation")

    monkeypatch.setattr(bindings, "crypto_pwhash_alg", fail)
    with pytest.raises(VaultError, match="memory") as caught:
        unlock(HEADER, "correct horse")
    assert not isinstance(caught.value, WrongPassphraseError)


def test_the_header_is_argon2id_of_so_many_kibibytes() -> None:
    header, key = create("x", Cost(2, 8_192))
    head, wrapped = header[:38], header[38:-16]
    assert head[:22] == b"kurir/vault/1\0" + struct.pack(">II", 2, 8_192)
    stretched = argon2id.kdf(32, b"x", head[22:], opslimit=2, memlimit=8_192 * 1_024)
    assert Aead(stretched).decrypt(wrapped, aad=head) == key


def test_the_default_cost_is_a_serious_one() -> None:
    assert Cost(3, 262_144) == DEFAULT_COST
    header, key = create("x")
    assert unlock(header, "x") == key
