"""Padding and the choice of a bucket."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir_crypto.errors import MalformedMessageError, MessageTooLongError
from kurir_crypto.message import encrypt
from kurir_crypto.padding import RATCHET_RESERVE, bucket_for, max_content, pad, unpad
from kurir_crypto.sealing import (
    EnvelopeKeyPair,
    MailboxKey,
    open_with,
    seal_symmetric,
    seal_to_address,
)
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


@pytest.mark.parametrize("padded", [b"", bytes(10), b"x", b"x\0\0", b"\x81", b"\x80x"])
def test_what_is_not_padding_is_malformed(padded: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        unpad(padded)


def test_too_long_says_by_how_much() -> None:
    assert pad(b"x" * 9, 10) == b"x" * 9 + b"\x80"
    with pytest.raises(MessageTooLongError, match="10 bytes do not fit where 9"):
        pad(b"x" * 10, 10)


# (address, handshake, content that just fits each bucket): the figures of docs/protocol.md.
FIGURES = [
    (False, False, [652, 2_700, 14_988, 64_140]),
    (False, True, [106, 2_154, 14_442, 63_594]),
    (True, False, [1_058, 13_346, 62_498]),
    (True, True, [1_058, 13_346, 62_498]),
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


@pytest.mark.parametrize("extra", [0, RATCHET_RESERVE])
@pytest.mark.parametrize("content", [0, 652, 653, 2_700, 64_140])
def test_the_reserve_is_there(content: int, extra: int) -> None:
    """A message and 1,200 bytes of ratchet material fit the bucket that was chosen without."""
    alice, _ = talking()
    message = alice.send(b"x" * content) + bytes(extra)
    bucket = bucket_for(content, address=False, handshake=False)
    key = MailboxKey.generate(1)
    body = seal_symmetric(key, 1, BINDING, message, bucket)
    assert len(body) == bucket
    assert open_with(key, 1, BINDING, body) == message
    assert RATCHET_RESERVE >= 1_184 + 12


@pytest.mark.parametrize("address", [False, True])
@pytest.mark.parametrize("spare", [0, 1])
def test_a_first_message_fits_its_bucket(address: bool, spare: int) -> None:
    alice, bob = Party(), Party()
    alice.start(bob.bundle())
    content = 1_058 if address else 2_154
    message = alice.send(b"x" * (content - spare))
    bucket = bucket_for(content - spare, address=address, handshake=True)
    assert bucket == 4_096
    if address:
        body = seal_to_address(EnvelopeKeyPair.generate().public, BINDING, message, bucket)
    else:
        body = seal_symmetric(MailboxKey.generate(1), 1, BINDING, message, bucket)
    assert len(body) == bucket


def test_a_first_contact_to_an_address_looks_like_any_other() -> None:
    for content in range(0, 62_499, 497):
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
