"""What an invite's secret opens, and what it keeps apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir_crypto.errors import AuthenticationError, MessageTooLongError
from kurir_crypto.invite import CARD_STEP, MAX_CARD_CONTENT, InviteSecret
from kurir_crypto.sealing import open_with, seal_symmetric
from kurir_wire.limits import MAX_CARD
from tests.crypto.parties import BINDING

SECRET = InviteSecret(b"s" * 32)


def test_both_ends_of_a_link_derive_the_same() -> None:
    other = InviteSecret(SECRET.value)
    assert other.token() == SECRET.token()
    assert len(SECRET.token()) == 32
    body = seal_symmetric(SECRET.mailbox_key(9), 9, BINDING, b"x", 2_048)
    assert open_with(other.mailbox_key(9), 9, BINDING, body) == b"x"


def test_every_derivation_is_its_own() -> None:
    derived = [
        SECRET.value,
        SECRET.token(),
        SECRET.mailbox_key(9).to_bytes()[5:],
        SECRET.mailbox_key(10).to_bytes()[5:],
        SECRET.mailbox_key(9).at(10).to_bytes()[5:],
        SECRET._card_key(),
    ]
    assert len(set(derived)) == len(derived)
    assert InviteSecret.generate().token() != InviteSecret.generate().token()


@given(card=st.binary(max_size=6_000))
def test_cards_come_back_and_fill_steps(card: bytes) -> None:
    blob = SECRET.seal_card(card)
    assert len(blob) % CARD_STEP == 0
    assert SECRET.open_card(blob) == card


@pytest.mark.parametrize(
    ("length", "blob"),
    [(0, 4_096), (4_055, 4_096), (4_056, 8_192), (8_151, 8_192), (MAX_CARD_CONTENT, MAX_CARD)],
)
def test_blob_lengths(length: int, blob: int) -> None:
    assert len(SECRET.seal_card(b"x" * length)) == blob


def test_a_card_has_a_limit() -> None:
    with pytest.raises(MessageTooLongError, match="16343 bytes, this one 16344"):
        SECRET.seal_card(bytes(MAX_CARD_CONTENT + 1))


def test_cards_open_with_their_secret_only_and_unchanged() -> None:
    blob = SECRET.seal_card(b"card")
    with pytest.raises(AuthenticationError):
        InviteSecret.generate().open_card(blob)
    for bad in (b"", blob[:20], blob[:-1], blob + b"\0", bytes([blob[0] ^ 1]) + blob[1:]):
        with pytest.raises(AuthenticationError):
            SECRET.open_card(bad)
    assert SECRET.seal_card(b"card") != blob


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_secret_of_another_length_is_misuse(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        InviteSecret(bytes(length))
