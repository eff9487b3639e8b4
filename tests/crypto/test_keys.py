"""Own keys: what they sign verifies, what they store comes back, damage is named."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir_crypto.errors import DamagedStateError, InvalidKeyError
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey, SigningKeyPair
from kurir_crypto.sealing import EnvelopeKeyPair, MailboxKey
from kurir_crypto.session import Session
from kurir_wire.errors import SignatureError
from kurir_wire.prekeys import PREKEY_LAST_RESORT, PREKEY_ONE_TIME, PREKEY_SIGNED
from kurir_wire.signing import message_to_sign, verify
from tests.crypto.parties import NOW, Party

IDENTITY = IdentityKeyPair.generate()


def test_signing_key_comes_back_from_its_seed() -> None:
    key = SigningKeyPair.generate()
    again = SigningKeyPair.from_seed(key.seed())
    assert again.public == key.public
    assert again.sign(b"m") == key.sign(b"m")
    assert len(key.seed()) == 32
    assert SigningKeyPair.generate().public != key.public


def test_signing_key_is_rfc_8032() -> None:
    # Section 7.1, test 1.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = SigningKeyPair.from_seed(seed)
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.sign(b"").hex().startswith("e5564300c360ac729086e2cc806e828a")


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_misuse(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKeyPair.from_seed(bytes(length))


def test_signatures_verify_and_bind_the_message() -> None:
    message = message_to_sign("test", b"1")
    key = SigningKeyPair.generate()
    verify(key.public, message, key.sign(message), "it")
    with pytest.raises(SignatureError):
        verify(key.public, message_to_sign("test", b"2"), key.sign(message), "it")


def test_identity_vouches_for_itself_and_comes_back() -> None:
    IDENTITY.public.verify()
    again = IdentityKeyPair.from_bytes(IDENTITY.to_bytes())
    assert again.public == IDENTITY.public
    assert again.to_bytes() == IDENTITY.to_bytes()
    verify(IDENTITY.public.sign_pk, b"m", again.sign(b"m"), "it")


@pytest.mark.parametrize("kind", [PREKEY_SIGNED, PREKEY_ONE_TIME])
def test_ec_prekeys(kind: int) -> None:
    own = OwnEcPreKey.generate(IDENTITY, kind, 0xFFFF_FFFF)
    own.public.verify(IDENTITY.public.sign_pk)
    again = OwnEcPreKey.from_bytes(own.to_bytes())
    assert again.public == own.public
    assert again.secret == own.secret
    assert again.to_bytes() == own.to_bytes()
    assert (own.public.kind, own.public.key_id) == (kind, 0xFFFF_FFFF)


@pytest.mark.parametrize("kind", [PREKEY_ONE_TIME, PREKEY_LAST_RESORT])
def test_kem_prekeys(kind: int) -> None:
    own = OwnKemPreKey.generate(IDENTITY, kind, 7)
    own.public.verify(IDENTITY.public.sign_pk)
    again = OwnKemPreKey.from_bytes(own.to_bytes())
    assert again.public == own.public
    assert again.to_bytes() == own.to_bytes()
    assert again.decapsulate(bytes(1_568)) == own.decapsulate(bytes(1_568))
    with pytest.raises(InvalidKeyError):
        own.decapsulate(b"short")


def test_prekeys_of_wrong_kinds_are_misuse() -> None:
    with pytest.raises(ValueError, match="prekey"):
        OwnEcPreKey.generate(IDENTITY, PREKEY_LAST_RESORT, 1)
    with pytest.raises(ValueError, match="prekey"):
        OwnKemPreKey.generate(IDENTITY, PREKEY_SIGNED, 1)


def a_session() -> Session:
    return Session.initiate(IDENTITY, Party().bundle(), NOW)


STORED: list[tuple[bytes, Callable[[bytes], object]]] = [
    (IDENTITY.to_bytes(), IdentityKeyPair.from_bytes),
    (OwnEcPreKey.generate(IDENTITY, 0, 1).to_bytes(), OwnEcPreKey.from_bytes),
    (OwnKemPreKey.generate(IDENTITY, 1, 1).to_bytes(), OwnKemPreKey.from_bytes),
    (MailboxKey.generate(2_900).to_bytes(), MailboxKey.from_bytes),
    (EnvelopeKeyPair.generate().to_bytes(), EnvelopeKeyPair.from_bytes),
    (a_session().to_bytes(), Session.from_bytes),
]
NAMES = ["identity", "ec", "kem", "mailbox", "envelope", "session"]


@pytest.mark.parametrize(("data", "load"), STORED, ids=NAMES)
def test_damaged_state_is_named(data: bytes, load: Callable[[bytes], object]) -> None:
    load(data)
    for bad in (b"", data[:-1], data + b"\0", b"\xfe" + data[1:], data[1:]):
        with pytest.raises(DamagedStateError):
            load(bad)


@pytest.mark.parametrize("load", [load for _, load in STORED], ids=NAMES)
@given(data=st.binary(max_size=200))
def test_arbitrary_state_raises_nothing_else(load: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(DamagedStateError):
        load(data)


@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_flipped_session_state_raises_nothing_else(at: int, bit: int) -> None:
    data = bytearray(STORED[-1][0])
    data[at % len(data)] ^= 1 << bit
    with contextlib.suppress(DamagedStateError):
        Session.from_bytes(bytes(data))


@pytest.mark.parametrize(("data", "load"), [STORED[1], STORED[2]], ids=["ec", "kem"])
def test_stored_prekeys_have_a_kind_of_their_own(
    data: bytes, load: Callable[[bytes], object]
) -> None:
    other = {0: 2, 1: 0}[data[1]]
    with pytest.raises(DamagedStateError):
        load(data[:1] + bytes([other]) + data[2:])
