"""Restart requests: what they start, what they are bound to, and what refuses them."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir_crypto.errors import (
    CryptoError,
    MalformedMessageError,
    MissingPreKeyError,
    UnknownSuiteError,
    UntrustedKeyError,
)
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.message import choose_session
from kurir_crypto.padding import bucket_for
from kurir_crypto.restart import REQUEST_BYTES, OneUseKeys, is_request, open_request, request
from kurir_crypto.sealing import Binding, EnvelopeKeyPair, MailboxKey, seal_symmetric
from kurir_crypto.sealing import seal_to_address as seal_hpke
from kurir_wire.ids import EnvelopeId, MailboxId
from kurir_wire.prekeys import PREKEY_ONE_TIME, PREKEY_SIGNED, PreKeyBundle
from tests.crypto.parties import BINDING, NOW, Party, talking

FIRST_ID = 500
OTHER_PLACE = Binding(MailboxId(b"m" * 32), EnvelopeId(b"f" * 16))


def ask(party: Party, first_id: int = FIRST_ID) -> bytes:
    """Store one-use keys, then ask with them."""
    keys = OneUseKeys.generate(party.identity, first_id)
    party.signed[keys.signed.public.key_id] = keys.signed
    party.one_time[keys.one_time.public.key_id] = keys.one_time
    party.kem[PREKEY_ONE_TIME, keys.kem.public.key_id] = keys.kem
    return request(party.identity, keys, BINDING)


OWNER = Party()
REQUEST = ask(OWNER)
PEER = OWNER.identity.public


def test_a_lost_device_gets_a_new_session() -> None:
    alice, bob = talking()
    alice.sessions.clear()
    lost = bob.send(b"she cannot open this")
    with pytest.raises(CryptoError):
        alice.receive(lost)
    asked = ask(alice)
    fresh = bob.start(open_request(alice.identity.public, asked, BINDING))
    assert choose_session(bob.all_sessions()).id == fresh.id
    assert alice.receive(bob.send(b"once more")) == b"once more"
    assert bob.receive(alice.send(b"thank you")) == b"thank you"
    for turn in range(12):
        assert alice.receive(bob.send(bytes([turn]))) == bytes([turn])
        assert bob.receive(alice.send(bytes([turn]))) == bytes([turn])


def test_the_keys_serve_one_handshake() -> None:
    alice, bob = talking()
    asked = ask(alice)
    bob.start(open_request(alice.identity.public, asked, BINDING))
    alice.receive(bob.send(b"first"))
    # The one-time keys are gone; the signed one is for the device to delete now.
    assert (FIRST_ID + 1) not in alice.one_time
    assert (PREKEY_ONE_TIME, FIRST_ID + 2) not in alice.kem
    bob.start(open_request(alice.identity.public, asked, BINDING), NOW + 5)
    before = alice.snapshot()
    with pytest.raises(MissingPreKeyError):
        alice.receive(bob.send(b"second, from the same request"))
    assert alice.snapshot() == before


def test_each_request_has_keys_of_its_own() -> None:
    one, other = (OneUseKeys.generate(OWNER.identity, FIRST_ID) for _ in range(2))
    assert one.signed.secret != other.signed.secret
    assert one.signed.secret != one.one_time.secret
    ids = (one.signed.public.key_id, one.one_time.public.key_id, one.kem.public.key_id)
    assert ids == (FIRST_ID, FIRST_ID + 1, FIRST_ID + 2)
    kinds = (one.signed.public.kind, one.one_time.public.kind, one.kem.public.kind)
    assert kinds == (PREKEY_SIGNED, PREKEY_ONE_TIME, PREKEY_ONE_TIME)


def test_what_is_opened_is_what_was_asked_with() -> None:
    keys = OneUseKeys.generate(OWNER.identity, FIRST_ID)
    bundle = open_request(PEER, request(OWNER.identity, keys, BINDING), BINDING)
    assert bundle == keys.bundle(PEER)
    assert bundle == PreKeyBundle(PEER, keys.signed.public, keys.kem.public, keys.one_time.public)


def test_its_length_and_its_bucket() -> None:
    """It takes the place of a message, so it fits where the shortest one does."""
    assert len(REQUEST) == REQUEST_BYTES == 2_030
    assert len(seal_symmetric(MailboxKey.generate(1), 1, BINDING, REQUEST, 4_096)) == 4_096
    bucket = bucket_for(0, address=True, handshake=False)
    assert len(seal_hpke(EnvelopeKeyPair.generate().public, BINDING, REQUEST, bucket)) == bucket


def test_a_request_is_told_from_a_message() -> None:
    alice, bob = talking()
    assert is_request(REQUEST)
    for message in (alice.send(b""), bob.send(b"x" * 3_000), b"", b"\1", b"\2"):
        assert not is_request(message)
    with pytest.raises(UnknownSuiteError):
        alice.receive(REQUEST)
    with pytest.raises(MalformedMessageError):
        open_request(PEER, alice.send(b""), BINDING)


def test_no_bit_can_change() -> None:
    open_request(PEER, REQUEST, BINDING)
    for bit in range(len(REQUEST) * 8):
        data = bytearray(REQUEST)
        data[bit // 8] ^= 1 << bit % 8
        expected = MalformedMessageError if bit < 16 else UntrustedKeyError
        with pytest.raises(expected):
            open_request(PEER, bytes(data), BINDING)


def test_no_length_can_change() -> None:
    for end in range(len(REQUEST)):
        with pytest.raises(MalformedMessageError):
            open_request(PEER, REQUEST[:end], BINDING)
    with pytest.raises(MalformedMessageError):
        open_request(PEER, REQUEST + b"\0", BINDING)


@pytest.mark.parametrize("suite", [0, 1, 3, 255])
def test_other_suites_are_unknown(suite: int) -> None:
    with pytest.raises(UnknownSuiteError, match=f"suite {suite}"):
        open_request(PEER, b"\0" + bytes([suite]) + REQUEST[2:], BINDING)


@pytest.mark.parametrize("place", [b"", OTHER_PLACE])
def test_it_counts_only_where_it_belongs(place: bytes) -> None:
    with pytest.raises(UntrustedKeyError):
        open_request(PEER, REQUEST, place)


def test_it_counts_only_from_the_peer() -> None:
    stranger = Party()
    with pytest.raises(UntrustedKeyError):
        open_request(stranger.identity.public, REQUEST, BINDING)
    # A stranger's own request, true in itself, is not the peer's either.
    asked = ask(stranger)
    open_request(stranger.identity.public, asked, BINDING)
    with pytest.raises(UntrustedKeyError):
        open_request(PEER, asked, BINDING)


def test_half_an_identity_is_another_one() -> None:
    """The two identity keys belong together: one of them alone proves nothing."""
    stranger = IdentityKeyPair.generate().public
    for field in ("sign_pk", "dh_pk", "binding"):
        mixed = msgspec.structs.replace(PEER, **{field: getattr(stranger, field)})
        with pytest.raises(UntrustedKeyError):
            open_request(mixed, REQUEST, BINDING)


@pytest.mark.parametrize("which", ["signed", "one_time", "kem"])
def test_prekeys_of_another_are_not_taken_under_the_peers_name(which: str) -> None:
    """Even if the peer signed the whole: each prekey is signed too, for its kind and id."""
    keys = OneUseKeys.generate(OWNER.identity, FIRST_ID)
    foreign = OneUseKeys.generate(IdentityKeyPair.generate(), FIRST_ID)
    mixed = replace(keys, **{which: getattr(foreign, which)})
    with pytest.raises(UntrustedKeyError):
        open_request(PEER, request(OWNER.identity, mixed, BINDING), BINDING)


def test_prekeys_do_not_change_places() -> None:
    """A one-time prekey is not a signed one, nor a last-resort KEM key a one-time one."""
    identity = OWNER.identity
    keys = OneUseKeys.generate(identity, FIRST_ID)
    for wrong in (
        replace(keys, signed=OwnEcPreKey.generate(identity, PREKEY_ONE_TIME, FIRST_ID)),
        replace(keys, one_time=OwnEcPreKey.generate(identity, PREKEY_SIGNED, FIRST_ID)),
        replace(keys, kem=OwnKemPreKey.generate(identity, 2, FIRST_ID)),
    ):
        with pytest.raises(UntrustedKeyError):
            open_request(PEER, request(identity, wrong, BINDING), BINDING)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    filled = (b"\0\2" + data).ljust(REQUEST_BYTES, b"\7")
    for candidate in (data, b"\0" + data, b"\0\2" + data, filled):
        with pytest.raises((MalformedMessageError, UntrustedKeyError)):
            open_request(PEER, candidate, BINDING)


def test_a_session_from_a_request_wins_over_all_that_are_known() -> None:
    alice, bob = talking()
    known = {session.id for session in bob.all_sessions()}
    fresh = bob.start(open_request(alice.identity.public, ask(alice), BINDING), NOW - 100)
    assert fresh.id not in known
    assert choose_session(bob.all_sessions()).id == fresh.id
