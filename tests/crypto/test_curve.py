"""Points and KEM keys that no honest party makes are refused, wherever they come from."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl import bindings

from kurir_crypto import curve
from kurir_crypto.curve import CurveSecret, PeerCurvePublic
from kurir_crypto.errors import InvalidKeyError, UntrustedKeyError
from kurir_crypto.keys import IdentityKeyPair, check_x25519_public
from kurir_crypto.layout import parse
from kurir_crypto.message import accept, decrypt
from kurir_crypto.ratchet import RatchetHeader
from kurir_crypto.sealing import EnvelopeKeyPair, seal_to_address
from kurir_crypto.session import Session
from kurir_wire.prekeys import (
    IdentityPublic,
    KemPreKey,
    ec_prekey_message,
    identity_binding,
    kem_prekey_message,
)
from tests.crypto.parties import BINDING, NOW, Party, only, talking

P = 2**255 - 19
SMALL_ORDER = [
    0,
    1,
    P - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]


def encode(value: int) -> bytes:
    return value.to_bytes(32, "little")


BAD_POINTS = [
    *(encode(value) for value in SMALL_ORDER),
    encode(P),
    encode(P + 1),
    encode(P + 9),
    encode(9 | 1 << 255),
    encode(1 << 255),
    b"\xff" * 32,
    b"",
    bytes(31),
    encode(9) + b"\0",
]


@pytest.mark.parametrize("point", BAD_POINTS, ids=lambda point: point.hex()[:12] or "empty")
def test_bad_points_are_refused(point: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        check_x25519_public(point)


@pytest.mark.parametrize("value", [2, 9, P - 2])
def test_good_points_pass(value: int) -> None:
    check_x25519_public(encode(value))


@given(st.binary(min_size=32, max_size=32))
def test_public_keys_of_any_secret_pass(secret: bytes) -> None:
    check_x25519_public(curve.public_x25519(CurveSecret(secret)))


@pytest.mark.parametrize("value", SMALL_ORDER)
def test_agreement_refuses_an_all_zero_secret(value: int) -> None:
    with pytest.raises(InvalidKeyError):
        curve.agree(curve.generate_x25519()[0], PeerCurvePublic(encode(value)))


def test_an_all_zero_secret_is_refused_whatever_the_library_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bindings, "crypto_scalarmult", lambda *_: bytes(32))
    with pytest.raises(InvalidKeyError):
        curve.agree(CurveSecret(bytes(32)), check_x25519_public(encode(9)))


def test_agreement_is_rfc_7748() -> None:
    # Section 6.1.
    alice, bob = (
        CurveSecret(bytes.fromhex(text))
        for text in (
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        )
    )
    shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    for one, other in ((alice, bob), (bob, alice)):
        peer = check_x25519_public(curve.public_x25519(other))
        assert curve.agree(one, peer).hex() == shared


BAD = [encode(1), encode(P + 9), bytes(32), encode(9 | 1 << 255)]


@pytest.mark.parametrize("point", BAD)
@pytest.mark.parametrize("place", ["identity", "signed", "one_time"])
def test_bundles_with_bad_points_are_refused(place: str, point: bytes) -> None:
    """Even when their owner signed them."""
    bob = Party()
    bob.stock(1)
    bundle = bob.bundle()
    if place == "identity":
        identity = IdentityPublic(
            bundle.identity.sign_pk, point, bob.identity.sign(identity_binding(point))
        )
        bundle = msgspec.structs.replace(bundle, identity=identity)
    else:
        old = getattr(bundle, place)
        signature = bob.identity.sign(ec_prekey_message(old.kind, old.key_id, point))
        new = msgspec.structs.replace(old, public=point, signature=signature)
        bundle = msgspec.structs.replace(bundle, **{place: new})
    with pytest.raises(InvalidKeyError) as caught:
        Session.initiate(IdentityKeyPair.generate(), bundle, NOW)
    assert not isinstance(caught.value, UntrustedKeyError)


def test_kem_keys_out_of_range_are_refused() -> None:
    bob = Party()
    bundle = bob.bundle()
    public = b"\xff" * 1_568
    kem = KemPreKey(2, 9, public, bob.identity.sign(kem_prekey_message(2, 9, public)))
    with pytest.raises(InvalidKeyError):
        Session.initiate(IdentityKeyPair.generate(), msgspec.structs.replace(bundle, kem=kem), NOW)


@pytest.mark.parametrize("point", BAD)
@pytest.mark.parametrize("place", ["identity", "ephemeral"])
def test_handshakes_with_bad_points_are_refused(place: str, point: bytes) -> None:
    alice, bob = Party(), Party()
    alice.start(bob.bundle())
    layout = parse(alice.send(b"x"))
    [entry] = layout.entries
    handshake = entry.handshake
    assert handshake is not None
    if place == "ephemeral":
        handshake = dataclasses.replace(handshake, ephemeral=point)
    else:
        signature = alice.identity.sign(identity_binding(point))
        identity = IdentityPublic(handshake.initiator.sign_pk, point, signature)
        handshake = dataclasses.replace(handshake, initiator=identity)
    head = entry.head._replace(handshake=handshake.to_bytes())
    forged = layout._replace(entries=(entry._replace(head=head),))
    with pytest.raises(InvalidKeyError) as caught:
        accept(bob.identity, bob, forged.to_bytes(), BINDING)
    assert not isinstance(caught.value, UntrustedKeyError)


@pytest.mark.parametrize("point", BAD)
def test_ratchet_keys_that_are_bad_points_are_refused(point: bytes) -> None:
    alice, bob = talking()
    layout = parse(alice.send(b"x"))
    [entry] = layout.entries
    headers = entry.head.headers._replace(curve=RatchetHeader(point, 0, 0))
    head = entry.head._replace(headers=headers)
    forged = layout._replace(entries=(entry._replace(head=head),))
    before = bob.snapshot()
    with pytest.raises(InvalidKeyError):
        decrypt(only(bob), forged.to_bytes(), BINDING)
    assert bob.snapshot() == before


@pytest.mark.parametrize("point", BAD)
def test_envelope_keys_with_bad_points_are_refused(point: bytes) -> None:
    public = EnvelopeKeyPair.generate().public
    with pytest.raises(InvalidKeyError):
        seal_to_address(public[:1_184] + point, BINDING, b"", 4_096)


@pytest.mark.parametrize("public", [b"", b"\xff" * 1_216, b"\0" * 1_215])
def test_envelope_keys_of_wrong_form_are_refused(public: bytes) -> None:
    with pytest.raises(InvalidKeyError):
        seal_to_address(public, BINDING, b"", 4_096)


def test_envelope_keys_out_of_range_are_refused() -> None:
    curve_key = EnvelopeKeyPair.generate().public[1_184:]
    with pytest.raises(InvalidKeyError):
        seal_to_address(b"\xff" * 1_184 + curve_key, BINDING, b"", 4_096)
