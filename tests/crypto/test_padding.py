"""Padding and the choice of a bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir_crypto.errors import MalformedMessageError, MessageTooLongError
from kurir_crypto.message import encrypt
from kurir_crypto.padding import PIECE_BYTES, bucket_for, max_content, pad, unpad
from kurir_crypto.sealing import (
    EnvelopeKeyPair,
    MailboxKey,
    open_with,
    seal_symmetric,
    seal_to_address,
)
from kurir_crypto.session import Session
from kurir_crypto.sparse import ANSWER_BYTES, ASK_BYTES
from kurir_wire.limits import ADDRESS_BUCKETS, BUCKETS
from tests.crypto.parties import BINDING, Party, only, talking


@given(message=st.binary(max_size=99))
def test_padding_comes_off(message: bytes) -> None:
    padded = pad(message, 100)
    assert len(padded) == 100
    assert unpad(padded) == message


@pytest.mark.parametrize("message", [b"\x80", b"\0\0", b"\x80\0", b"", b"x\x80\0\0"])
def test_messages_that_look_like_padding(message: bytes) -> None:
    assert unpad(pad(message, len(message) + 1)) == message
    assert unpad(pad(message, 64)) == message


@pytest.mark.parametrize("padded", [b"", bytes(10), b"x", b"x\0\0", b"\x81", b"\x80x", b"\x80X\0"])
def test_what_is_not_padding_is_malformed(padded: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        unpad(padded)


def test_too_long_says_by_how_much() -> None:
    assert pad(b"x" * 9, 10) == b"x" * 9 + b"\x80"
    with pytest.raises(MessageTooLongError, match="10 bytes do not fit where 9"):
        pad(b"x" * 10, 10)


# (address, handshake, content that just fits each bucket): the figures of docs/protocol.md.
FIGURES = [
    (False, False, [656, 2_704, 14_992, 64_144]),
    (False, True, [94, 2_142, 14_430, 63_582]),
    (True, False, [1_046, 13_334, 62_486]),
    (True, True, [1_046, 13_334, 62_486]),
]


@pytest.mark.parametrize(("address", "handshake", "fits"), FIGURES)
def test_the_figures(address: bool, handshake: bool, fits: list[int]) -> None:
    buckets = ADDRESS_BUCKETS if address else BUCKETS
    for bucket, most in zip(buckets, fits, strict=True):
        assert bucket_for(most, address=address, handshake=handshake) == bucket
        if bucket != buckets[-1]:
            assert bucket_for(most + 1, address=address, handshake=handshake) > bucket
    assert max_content(address=address, handshake=handshake) == fits[-1]
    assert bucket_for(0, address=address, handshake=handshake) == buckets[0]
    with pytest.raises(MessageTooLongError, match=f"{fits[-1] + 7} bytes, 7 more"):
        bucket_for(fits[-1] + 7, address=address, handshake=handshake)


def speakers() -> dict[str, Session]:
    """Confirmed sessions whose next message carries no ratchet key, an ask, or an answer."""
    alice, bob = talking()
    asks, answers = only(bob), only(alice)
    message = alice.send(b"")
    bob.receive(message)
    nothing = only(bob)
    found = {"nothing": nothing, "ask": asks, "answer": answers}
    for name, session in found.items():
        _, headers, _ = session.send(bytes(32))
        carried = {"ask": headers.sparse.ask, "answer": headers.sparse.answer}
        assert [key for key, value in carried.items() if value] == [name] * (name != "nothing")
    return found


SPEAKERS = speakers()
AROUND = [0, *(most + step for _, _, fits in FIGURES for most in fits for step in (-1, 0, 1))]


def sealed(session: Session, length: int, address: bool, bucket: int) -> bytes:
    _, message = encrypt([session], b"x" * length, BINDING)
    if address:
        return seal_to_address(ENVELOPE_KEY.public, BINDING, message, bucket)
    return seal_symmetric(MAILBOX_KEY, 1, BINDING, message, bucket)


ENVELOPE_KEY = EnvelopeKeyPair.generate()
MAILBOX_KEY = MailboxKey.generate(1)


@pytest.mark.parametrize("name", SPEAKERS)
@pytest.mark.parametrize("address", [False, True])
@pytest.mark.parametrize("content", sorted(set(AROUND)))
def test_a_text_fits_its_bucket_with_and_without_ratchet_keys(
    content: int, address: bool, name: str
) -> None:
    """The bucket is a function of the length alone, and what is sent always fits it."""
    if content > max_content(address=address, handshake=False):
        with pytest.raises(MessageTooLongError):
            bucket_for(content, address=address, handshake=False)
        return
    bucket = bucket_for(content, address=address, handshake=False)
    assert len(sealed(SPEAKERS[name], content, address, bucket)) == bucket


@pytest.mark.parametrize("pieces", [None, 1, 3, 8])
@pytest.mark.parametrize("devices", [1, 4, 8])
@pytest.mark.parametrize("handshake", [False, True])
@pytest.mark.parametrize("address", [False, True])
def test_the_longest_content_fits_and_no_longer_one(
    address: bool, handshake: bool, devices: int, pieces: int | None
) -> None:
    def bucket(content: int) -> int:
        return bucket_for(
            content, address=address, handshake=handshake, devices=devices, pieces=pieces
        )

    most = max_content(address=address, handshake=handshake, devices=devices, pieces=pieces)
    assert bucket(most) == BUCKETS[-1]
    with pytest.raises(MessageTooLongError, match="1 more than fit"):
        bucket(most + 1)


def test_the_reserve_is_no_longer_than_what_it_is_for() -> None:
    """The longest text of a bucket, with an ask, fills it to the last byte."""
    assert PIECE_BYTES == ASK_BYTES > ANSWER_BYTES
    for bucket in BUCKETS:
        most = max(n for n in AROUND if _bucket_or_more(n) == bucket)
        assert len(sealed(SPEAKERS["ask"], most, False, bucket)) == bucket
        with pytest.raises(MessageTooLongError):
            sealed(SPEAKERS["ask"], most + 1, False, bucket)


def _bucket_or_more(content: int) -> int:
    try:
        return bucket_for(content, address=False, handshake=False)
    except MessageTooLongError:
        return BUCKETS[-1] + 1


@pytest.mark.parametrize("name", SPEAKERS)
@pytest.mark.parametrize("content", [0, 656, 2_704])
def test_what_was_sealed_comes_back(content: int, name: str) -> None:
    _, message = encrypt([SPEAKERS[name]], b"x" * content, BINDING)
    bucket = bucket_for(content, address=False, handshake=False)
    body = seal_symmetric(MAILBOX_KEY, 1, BINDING, message, bucket)
    assert open_with(MAILBOX_KEY, 1, BINDING, body) == message


@pytest.mark.parametrize("address", [False, True])
@pytest.mark.parametrize("spare", [0, 1])
def test_a_first_message_fits_its_bucket(address: bool, spare: int) -> None:
    alice, bob = Party(), Party()
    alice.start(bob.bundle())
    content = 1_046 if address else 2_142
    message = alice.send(b"x" * (content - spare))
    bucket = bucket_for(content - spare, address=address, handshake=True)
    assert bucket == 4_096
    if address:
        body = seal_to_address(EnvelopeKeyPair.generate().public, BINDING, message, bucket)
    else:
        body = seal_symmetric(MailboxKey.generate(1), 1, BINDING, message, bucket)
    assert len(body) == bucket


def test_a_first_contact_to_an_address_looks_like_any_other() -> None:
    for content in range(0, 62_487, 497):
        first = bucket_for(content, address=True, handshake=True)
        assert bucket_for(content, address=True, handshake=False) == first


@pytest.mark.parametrize("devices", range(1, 9))
@pytest.mark.parametrize("handshake", [False, True])
def test_messages_to_several_devices_fit(devices: int, handshake: bool) -> None:
    alice = Party()
    others = [Party() for _ in range(devices)]
    for other in others:
        alice.start(other.bundle())
    if not handshake:
        for other in others:
            session = next(s for s in alice.all_sessions() if s.peer == other.identity.public)
            [session], message = encrypt([session], b"", BINDING)
            alice.store(session)
            other.receive(message)
            alice.receive(other.send(b""))
    most = max_content(address=False, handshake=handshake, devices=devices)
    _, message = encrypt(alice.all_sessions(), b"x" * most, BINDING)
    seal_symmetric(MailboxKey.generate(1), 1, BINDING, message, BUCKETS[-1])
    # The number of devices shows in the bucket only by its class of 1, 4 or 8.
    slots = {1: 1, 2: 4, 3: 4, 4: 4}.get(devices, 8)
    assert most == max_content(address=False, handshake=handshake, devices=slots)
    assert only(others[0]) if not handshake else not others[0].sessions


@pytest.mark.parametrize("devices", [0, 9])
def test_other_numbers_of_devices_are_misuse(devices: int) -> None:
    with pytest.raises(ValueError, match="devices"):
        bucket_for(1, address=False, handshake=False, devices=devices)
