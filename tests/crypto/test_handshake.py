"""PQXDH: prekeys of both kinds, running out, signatures, and what the result is bound to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import msgspec
import pytest

from kurir_crypto.errors import (
    AuthenticationError,
    CryptoError,
    MalformedMessageError,
    MissingPreKeyError,
    ReplayError,
    StartedLaterError,
    UnknownSessionError,
    UntrustedKeyError,
)
from kurir_crypto.handshake import HANDSHAKE_BYTES, Handshake
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.layout import Layout, parse
from kurir_crypto.message import accept, encrypt, inspect
from kurir_crypto.session import Session
from kurir_wire.prekeys import PREKEY_LAST_RESORT, PREKEY_ONE_TIME, PreKeyBundle
from tests.crypto.parties import BINDING, NOW, Party, only, talking


def forge(message: bytes, change: Callable[[Handshake], Handshake]) -> bytes:
    """The message with another handshake in its one entry."""
    layout: Layout = parse(message)
    [entry] = layout.entries
    assert entry.handshake is not None
    head = entry.head._replace(handshake=change(entry.handshake).to_bytes())
    return layout._replace(entries=(entry._replace(head=head),)).to_bytes()


def test_a_first_message_opens_and_names_what_it_used() -> None:
    alice, bob = Party(), Party()
    bob.stock(2)
    session = Session.initiate(alice.identity, bob.bundle(), NOW)
    [session], message = encrypt([session], b"hello", BINDING)
    accepted = accept(bob.identity, bob, message, BINDING)
    assert accepted.content == b"hello"
    assert (accepted.used_one_time_ec, accepted.used_one_time_kem) == (1, 1)
    assert accepted.session.id == session.id
    assert accepted.session.started == session.started == NOW
    assert accepted.session.peer == alice.identity.public
    assert session.peer == bob.identity.public
    assert (session.initiated, session.confirmed) == (True, False)
    assert (accepted.session.initiated, accepted.session.confirmed) == (False, True)


def test_no_one_time_prekeys_left_is_no_obstacle() -> None:
    alice, bob = Party(), Party()
    bob.stock(1)
    first, second = bob.bundle(), bob.bundle()
    assert second.one_time is None
    assert second.kem.kind == PREKEY_LAST_RESORT
    alice.start(first)
    assert bob.receive(alice.send(b"one")) == b"one"
    carol = Party()
    session = Session.initiate(carol.identity, second, NOW)
    _, message = encrypt([session], b"two", BINDING)
    accepted = accept(bob.identity, bob, message, BINDING)
    assert accepted.content == b"two"
    assert (accepted.used_one_time_ec, accepted.used_one_time_kem) == (None, None)


@pytest.mark.parametrize("keep", ["one_time", "kem"])
def test_one_kind_of_one_time_prekey_alone_will_do(keep: str) -> None:
    alice, bob = Party(), Party()
    bob.stock(1)
    if keep == "one_time":
        del bob.kem[PREKEY_ONE_TIME, 1]
    else:
        bob.one_time.clear()
    alice.start(bob.bundle())
    assert bob.receive(alice.send(b"x")) == b"x"
    assert not bob.one_time
    assert list(bob.kem) == [(PREKEY_LAST_RESORT, 1)]


@pytest.mark.parametrize("gone", ["signed", "one_time", "kem"])
def test_a_prekey_that_is_gone_is_named(gone: str) -> None:
    alice, bob = Party(), Party()
    bob.stock(1)
    alice.start(bob.bundle())
    message = alice.send(b"x")
    getattr(bob, gone).clear()
    before = bob.snapshot()
    with pytest.raises(MissingPreKeyError):
        bob.receive(message)
    assert bob.snapshot() == before


def test_a_replayed_first_message_makes_no_second_session() -> None:
    alice, bob = Party(), Party()
    alice.start(bob.bundle())  # no one-time key: nothing but the session's id tells
    message = alice.send(b"x")
    bob.receive(message)
    before = bob.snapshot()
    with pytest.raises(ReplayError):
        bob.receive(message)
    with pytest.raises(ReplayError):
        accept(bob.identity, bob, message, BINDING, known_sessions={only(bob).id})
    assert bob.snapshot() == before


def test_the_handshake_is_repeated_until_the_first_answer() -> None:
    alice, bob = Party(), Party()
    bob.stock(1)
    alice.start(bob.bundle())
    lost, second, third = alice.send(b"1"), alice.send(b"2"), alice.send(b"3")
    for message in (lost, second, third):
        [entry] = inspect(message)
        assert entry.handshake is not None
        assert entry.handshake.initiator == alice.identity.public
        assert entry.handshake.started == NOW
        assert (entry.handshake.signed_id, entry.handshake.one_time_id) == (1, 1)
        assert (entry.handshake.kem_kind, entry.handshake.kem_id) == (PREKEY_ONE_TIME, 1)
    assert bob.receive(second) == b"2"
    assert bob.receive(third) == b"3"
    answer = bob.send(b"4")
    assert inspect(answer)[0].handshake is None
    assert alice.receive(answer) == b"4"
    assert only(alice).confirmed
    assert only(alice).handshake is None
    assert inspect(alice.send(b"5"))[0].handshake is None
    assert bob.receive(lost) == b"1"


def test_a_first_message_opens_for_nobody_else() -> None:
    alice, bob, eve = Party(), Party(), Party()
    alice.start(bob.bundle())
    with pytest.raises(AuthenticationError):
        eve.receive(alice.send(b"x"))
    # Nor for another identity that holds the same prekeys: both identities are bound.
    bob.identity = IdentityKeyPair.generate()
    with pytest.raises(AuthenticationError):
        bob.receive(alice.send(b"x"))


def other_identity(handshake: Handshake) -> Handshake:
    return dataclasses.replace(handshake, initiator=IdentityKeyPair.generate().public)


CHANGES: dict[str, Callable[[Handshake], Handshake]] = {
    "started": lambda h: dataclasses.replace(h, started=h.started + 1),
    "ephemeral": lambda h: dataclasses.replace(h, ephemeral=(9).to_bytes(32, "little")),
    "ciphertext": lambda h: dataclasses.replace(h, ciphertext=bytes(1_568)),
    "initiator": other_identity,
    "no one-time key": lambda h: dataclasses.replace(h, one_time_id=None),
    "other one-time key": lambda h: dataclasses.replace(h, one_time_id=2),
    "other KEM key": lambda h: dataclasses.replace(h, kem_id=2),
    "last-resort KEM key": lambda h: dataclasses.replace(h, kem_kind=PREKEY_LAST_RESORT),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_changed_handshake_does_not_open(change: Callable[[Handshake], Handshake]) -> None:
    alice, bob = Party(), Party()
    bob.stock(2)
    alice.start(bob.bundle())
    message = alice.send(b"x")
    before = bob.snapshot()
    with pytest.raises(AuthenticationError):
        bob.receive(forge(message, change))
    assert bob.snapshot() == before
    assert bob.receive(message) == b"x"


def test_the_session_id_is_bound() -> None:
    alice, bob = Party(), Party()
    alice.start(bob.bundle())
    layout = parse(alice.send(b"x"))
    [entry] = layout.entries
    head = entry.head._replace(session_id=bytes(16))
    forged = layout._replace(entries=(entry._replace(head=head),))
    with pytest.raises(AuthenticationError):
        bob.receive(forged.to_bytes())


def test_the_initiator_must_vouch_for_its_keys() -> None:
    alice, bob = Party(), Party()
    alice.start(bob.bundle())

    def mix(handshake: Handshake) -> Handshake:
        other = IdentityKeyPair.generate().public
        mixed = msgspec.structs.replace(handshake.initiator, sign_pk=other.sign_pk)
        return dataclasses.replace(handshake, initiator=mixed)

    with pytest.raises(UntrustedKeyError):
        bob.receive(forge(alice.send(b"x"), mix))


def resigned(bundle: PreKeyBundle) -> list[PreKeyBundle]:
    """The bundle with one part that somebody else signed, or in the place of another."""
    eve = IdentityKeyPair.generate()
    replace = msgspec.structs.replace
    one_time = OwnEcPreKey.generate(eve, 1, 1).public
    return [
        replace(bundle, identity=eve.public),
        replace(bundle, identity=replace(bundle.identity, dh_pk=eve.public.dh_pk)),
        replace(bundle, signed=OwnEcPreKey.generate(eve, 0, 1).public),
        replace(bundle, kem=OwnKemPreKey.generate(eve, 2, 1).public),
        replace(bundle, one_time=one_time),
        replace(bundle, signed=replace(bundle.signed, key_id=2)),
        replace(bundle, kem=replace(bundle.kem, key_id=2)),
        replace(bundle, signed=bundle.one_time),
        replace(bundle, one_time=bundle.signed),
    ]


@pytest.mark.parametrize("which", range(9))
def test_bundles_that_are_not_signed_throughout_are_refused(which: int) -> None:
    bob = Party()
    bob.stock(1)
    with pytest.raises(UntrustedKeyError):
        Session.initiate(IdentityKeyPair.generate(), resigned(bob.bundle())[which], NOW)


def test_a_session_from_the_future_is_refused() -> None:
    alice, bob = Party(), Party()
    alice.start(bob.bundle(), NOW + 6)
    message = alice.send(b"x")
    with pytest.raises(StartedLaterError, match="1 minutes"):
        accept(bob.identity, bob, message, BINDING, latest_start=NOW + 5)
    accepted = accept(bob.identity, bob, message, BINDING, latest_start=NOW + 6)
    assert accepted.session.started == NOW + 6


@pytest.mark.parametrize("started", [-1, 2**32])
def test_a_start_that_does_not_fit_is_misuse(started: int) -> None:
    with pytest.raises(ValueError, match="minute"):
        Session.initiate(IdentityKeyPair.generate(), Party().bundle(), started)


def test_a_message_without_handshake_starts_nothing() -> None:
    alice, _ = talking()
    stranger = Party()
    with pytest.raises(UnknownSessionError):
        stranger.receive(alice.send(b"x"))
    assert not stranger.sessions


def test_handshake_bytes_come_back_and_have_one_encoding() -> None:
    bob = Party()
    bob.stock(1)
    data = b""
    for bundle in (bob.bundle(), bob.bundle()):
        session = Session.initiate(IdentityKeyPair.generate(), bundle, NOW)
        assert session.handshake is not None
        data = session.handshake
        assert len(data) == HANDSHAKE_BYTES
        assert Handshake.from_bytes(data).to_bytes() == data
        for bad in (b"", data[:-1], data + b"\0"):
            with pytest.raises(MalformedMessageError):
                Handshake.from_bytes(bad)
    at = 128 + 32 + 8  # the flag of the one-time prekey
    for flag in (b"\x02", b"\xff"):
        with pytest.raises(MalformedMessageError):
            Handshake.from_bytes(data[:at] + flag + data[at + 1 :])
    with pytest.raises(MalformedMessageError):
        Handshake.from_bytes(data[:at] + b"\0\0\0\0\1" + data[at + 5 :])
    with pytest.raises(MalformedMessageError):
        Handshake.from_bytes(data[: at + 5] + b"\0" + data[at + 6 :])


@pytest.mark.parametrize("bit", range(0, 1_906 * 8, 211))
def test_no_bit_of_a_first_message_can_change(bit: int) -> None:
    _, bob = FIRST
    data = bytearray(FIRST_MESSAGE)
    data[bit // 8] ^= 1 << bit % 8
    before = bob.snapshot()
    with pytest.raises(CryptoError):
        bob.receive(bytes(data))
    assert bob.snapshot() == before


FIRST = (Party(), Party())
FIRST[0].start(FIRST[1].bundle())
FIRST_MESSAGE = FIRST[0].send(b"hello")
