"""Sealing: bound to its place, exactly a bucket, forward by weeks."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from hypothesis import given
from hypothesis import strategies as st

from kurir_crypto.errors import AuthenticationError, MessageTooLongError, WeekError
from kurir_crypto.sealing import (
    MAX_WEEKS_AHEAD,
    WEEKS_KEPT,
    Binding,
    EnvelopeKeyPair,
    MailboxKey,
    open_at_address,
    open_with,
    seal_symmetric,
    seal_to_address,
    week_of,
)
from kurir_wire.ids import WEEK, EnvelopeId, Hash, MailboxId
from kurir_wire.limits import ADDRESS_BUCKETS, BUCKETS, MAX_LIFE_HOURS
from tests.crypto.parties import BINDING

WEEK_NOW = 2_967
KEY = MailboxKey.generate(WEEK_NOW)
ENVELOPE_KEY = EnvelopeKeyPair.generate()

MAILBOX, ENVELOPE, LABEL = MailboxId(b"m" * 32), EnvelopeId(b"e" * 16), Hash(b"l" * 32)
PLACE = Binding(MAILBOX, ENVELOPE, LABEL)
OTHER_PLACES = {
    "mailbox": Binding(MailboxId(b"M" * 32), ENVELOPE, LABEL),
    "envelope": Binding(MAILBOX, EnvelopeId(b"E" * 16), LABEL),
    "label": Binding(MAILBOX, ENVELOPE, Hash(b"L" * 32)),
    "no label": Binding(MAILBOX, ENVELOPE),
}


@pytest.mark.parametrize("bucket", BUCKETS)
@given(message=st.binary(max_size=2_007))
def test_mailbox_bodies_fill_the_bucket_and_open(bucket: int, message: bytes) -> None:
    body = seal_symmetric(KEY, WEEK_NOW, PLACE, message, bucket)
    assert len(body) == bucket
    assert open_with(KEY, WEEK_NOW, PLACE, body) == message


@pytest.mark.parametrize("bucket", ADDRESS_BUCKETS)
@given(message=st.binary(max_size=2_959))
def test_address_bodies_fill_the_bucket_and_open(bucket: int, message: bytes) -> None:
    body = seal_to_address(ENVELOPE_KEY.public, PLACE, message, bucket)
    assert len(body) == bucket
    assert open_at_address(ENVELOPE_KEY, PLACE, body) == message


def test_the_longest_message_fits_and_no_longer_one() -> None:
    assert len(seal_symmetric(KEY, WEEK_NOW, PLACE, b"x" * 2_007, 2_048)) == 2_048
    with pytest.raises(MessageTooLongError, match="2008 bytes do not fit where 2007"):
        seal_symmetric(KEY, WEEK_NOW, PLACE, b"x" * 2_008, 2_048)
    assert len(seal_to_address(ENVELOPE_KEY.public, PLACE, b"x" * 2_959, 4_096)) == 4_096
    with pytest.raises(MessageTooLongError):
        seal_to_address(ENVELOPE_KEY.public, PLACE, b"x" * 2_960, 4_096)


@pytest.mark.parametrize("place", OTHER_PLACES.values(), ids=OTHER_PLACES.keys())
def test_bodies_open_only_in_their_place(place: Binding) -> None:
    symmetric = seal_symmetric(KEY, WEEK_NOW, PLACE, b"x", 2_048)
    with pytest.raises(AuthenticationError):
        open_with(KEY, WEEK_NOW, place, symmetric)
    hpke = seal_to_address(ENVELOPE_KEY.public, PLACE, b"x", 4_096)
    with pytest.raises(AuthenticationError):
        open_at_address(ENVELOPE_KEY, place, hpke)


def test_bodies_open_only_with_their_key() -> None:
    symmetric = seal_symmetric(KEY, WEEK_NOW, PLACE, b"x", 2_048)
    with pytest.raises(AuthenticationError):
        open_with(MailboxKey.generate(WEEK_NOW), WEEK_NOW, PLACE, symmetric)
    hpke = seal_to_address(ENVELOPE_KEY.public, PLACE, b"x", 4_096)
    with pytest.raises(AuthenticationError):
        open_at_address(EnvelopeKeyPair.generate(), PLACE, hpke)


@pytest.mark.parametrize("at", [0, 23, 24, 1_000, 2_031, 2_032, 2_047])
def test_no_byte_of_a_mailbox_body_can_change(at: int) -> None:
    body = bytearray(seal_symmetric(KEY, WEEK_NOW, PLACE, b"x", 2_048))
    body[at] ^= 1
    with pytest.raises(AuthenticationError):
        open_with(KEY, WEEK_NOW, PLACE, bytes(body))


@pytest.mark.parametrize("at", [0, 1_087, 1_088, 1_119, 1_120, 3_000, 4_095])
def test_no_byte_of_an_address_body_can_change(at: int) -> None:
    body = bytearray(seal_to_address(ENVELOPE_KEY.public, PLACE, b"x", 4_096))
    body[at] ^= 1
    with pytest.raises(AuthenticationError):
        open_at_address(ENVELOPE_KEY, PLACE, bytes(body))


@given(st.binary(max_size=200))
def test_arbitrary_bodies_raise_nothing_else(body: bytes) -> None:
    with pytest.raises(AuthenticationError):
        open_with(KEY, WEEK_NOW, PLACE, body)
    with pytest.raises(AuthenticationError):
        open_at_address(ENVELOPE_KEY, PLACE, body)


def test_mailbox_bodies_have_nothing_in_common() -> None:
    """Any fixed byte or bit would show in 64 bodies of one empty message: each of 16,384 bits is
    set in some and clear in others, but for a chance below 2 to the -48."""
    ones, zeros = 0, 0
    for _ in range(64):
        value = int.from_bytes(seal_symmetric(KEY, WEEK_NOW, PLACE, b"", 2_048), "big")
        ones |= value
        zeros |= ~value & ((1 << 16_384) - 1)
    assert ones == zeros == (1 << 16_384) - 1


def test_address_bodies_are_plain_hpke() -> None:
    """Another implementation of RFC 9180 opens them: the layout is the standard's."""
    data = ENVELOPE_KEY.to_bytes()
    key = MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(data[1:65]),
        X25519PrivateKey.from_private_bytes(data[65:]),
    )
    body = seal_to_address(ENVELOPE_KEY.public, PLACE, b"hello", 4_096)
    suite = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
    padded = suite.decrypt(body, key, b"kurir/sealed-address/1\0\x01" + PLACE)
    assert padded == b"hello\x80" + bytes(4_096 - 1_136 - 6)


def test_envelope_keys_come_back() -> None:
    again = EnvelopeKeyPair.from_bytes(ENVELOPE_KEY.to_bytes())
    assert again.to_bytes() == ENVELOPE_KEY.to_bytes()
    assert again.public == ENVELOPE_KEY.public
    assert len(again.public) == 1_216
    body = seal_to_address(again.public, PLACE, b"x", 4_096)
    assert open_at_address(ENVELOPE_KEY, PLACE, body) == b"x"
    assert open_at_address(again, PLACE, body) == b"x"


def test_mailbox_keys_come_back() -> None:
    again = MailboxKey.from_bytes(KEY.to_bytes())
    assert again.to_bytes() == KEY.to_bytes()
    assert again.week == WEEK_NOW
    body = seal_symmetric(again, WEEK_NOW, PLACE, b"x", 2_048)
    assert open_with(KEY, WEEK_NOW, PLACE, body) == b"x"


def test_keys_go_forward_and_never_back() -> None:
    later = KEY.at(WEEK_NOW + 3)
    assert later.week == WEEK_NOW + 3
    assert later.to_bytes() == KEY.at(WEEK_NOW + 1).at(WEEK_NOW + 3).to_bytes()
    assert KEY.at(WEEK_NOW).to_bytes() == KEY.to_bytes()
    assert later.to_bytes()[5:] != KEY.to_bytes()[5:]
    with pytest.raises(WeekError, match=f"week {WEEK_NOW + 2}"):
        later.at(WEEK_NOW + 2)
    with pytest.raises(WeekError):
        seal_symmetric(later, WEEK_NOW, PLACE, b"x", 2_048)
    body = seal_symmetric(KEY, WEEK_NOW, PLACE, b"x", 2_048)
    with pytest.raises(AuthenticationError):
        open_with(later, WEEK_NOW + 3, PLACE, body)


def test_keys_do_not_go_forward_for_ever() -> None:
    with pytest.raises(AuthenticationError):
        open_with(KEY, WEEK_NOW + MAX_WEEKS_AHEAD - 1, PLACE, bytes(2_048))
    with pytest.raises(WeekError):
        open_with(KEY, WEEK_NOW + MAX_WEEKS_AHEAD, PLACE, bytes(2_048))
    KEY.at(WEEK_NOW + MAX_WEEKS_AHEAD)
    for far in (WEEK_NOW + MAX_WEEKS_AHEAD + 1, 2**31, 2**80):
        with pytest.raises(WeekError):
            KEY.at(far)
        with pytest.raises(WeekError):
            KEY.forget(far + WEEKS_KEPT)
        with pytest.raises(WeekError):
            open_with(KEY, far, PLACE, bytes(2_048))


@pytest.mark.parametrize("sealed", range(-WEEKS_KEPT, 2))
def test_a_reader_opens_every_week_that_can_still_come(sealed: int) -> None:
    kept = KEY.at(WEEK_NOW).forget(WEEK_NOW)
    now = WEEK_NOW + WEEKS_KEPT
    body = seal_symmetric(KEY, now + sealed, PLACE, b"x", 2_048)
    assert open_with(kept, now, PLACE, body) == b"x"
    assert open_with(kept.forget(now), now, PLACE, body) == b"x"


def test_a_body_of_the_week_after_next_does_not_open_yet() -> None:
    body = seal_symmetric(KEY, WEEK_NOW + 2, PLACE, b"x", 2_048)
    with pytest.raises(AuthenticationError):
        open_with(KEY, WEEK_NOW, PLACE, body)
    assert open_with(KEY, WEEK_NOW + 1, PLACE, body) == b"x"


def test_a_clock_behind_the_key_is_no_obstacle() -> None:
    body = seal_symmetric(KEY, WEEK_NOW, PLACE, b"x", 2_048)
    assert open_with(KEY, WEEK_NOW - 10, PLACE, body) == b"x"


def test_forgetting_keeps_five_weeks_and_no_more() -> None:
    assert KEY.forget(WEEK_NOW).week == WEEK_NOW
    assert KEY.forget(WEEK_NOW + WEEKS_KEPT).week == WEEK_NOW
    assert KEY.forget(WEEK_NOW + WEEKS_KEPT + 1).week == WEEK_NOW + 1
    assert KEY.forget(0).week == WEEK_NOW
    # The longest life, begun in the last second of a week, ends within five weeks of it.
    assert week_of(WEEK * 10 - 1 + MAX_LIFE_HOURS * 3_600) - 9 <= WEEKS_KEPT


def test_weeks() -> None:
    assert [week_of(now) for now in (0, 604_799, 604_800)] == [0, 0, 1]


def test_the_week_is_bound() -> None:
    """A key does not open what another week's label was put on."""
    mislabelled = MailboxKey.from_bytes(b"\x01" + bytes(4) + KEY.to_bytes()[5:])
    body = mislabelled.seal(PLACE, b"x", 2_048)
    with pytest.raises(AuthenticationError):
        KEY.open(PLACE, body)


@pytest.mark.parametrize("lengths", [(31, 16, 32), (32, 15, 32), (32, 16, 31), (32, 17, 32)])
def test_bindings_have_fixed_widths(lengths: tuple[int, int, int]) -> None:
    mailbox, envelope, label = (bytes(length) for length in lengths)
    with pytest.raises(ValueError, match="binding"):
        Binding(MailboxId(mailbox), EnvelopeId(envelope), Hash(label))


def test_a_binding_is_its_bytes() -> None:
    assert PLACE == b"kurir/binding/1\0" + MAILBOX + ENVELOPE + LABEL
    assert b"kurir/binding/1\0" + MAILBOX + ENVELOPE + bytes(32) == BINDING


def test_the_last_week_that_fits() -> None:
    last = MailboxKey.generate(2**32 - 1)
    assert MailboxKey.from_bytes(last.to_bytes()).week == 2**32 - 1


@pytest.mark.parametrize(("week", "key"), [(0, bytes(31)), (-1, bytes(32)), (2**32, bytes(32))])
def test_mailbox_keys_of_wrong_form_are_misuse(week: int, key: bytes) -> None:
    with pytest.raises(ValueError, match="mailbox key"):
        MailboxKey(week, key)
