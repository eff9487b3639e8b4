"""Cards, badges, the relay's certificate, beacons, gates: honest ones pass, nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kurir_wire.beacons import Beacon
from kurir_wire.cards import (
    Badge,
    BusinessCard,
    PersonCard,
    badge_message,
    business_card_message,
    card_hash,
    check_name,
    check_times,
    open_business_card,
    open_person_card,
    person_card_message,
    signed_card,
)
from kurir_wire.codec import pack
from kurir_wire.errors import ExpiredError, MalformedError, SignatureError, TooLargeError
from kurir_wire.gates import MARKET_BYTES, OPEN_GATE, opens, padded, payer_gate, token_gate
from kurir_wire.ids import DAY, MINUTE, BusinessId, Hash
from kurir_wire.limits import CARD_LIFE, CLOCK_SKEW, MAX_CARD
from kurir_wire.prekeys import (
    KEM_PUBLIC_BYTES,
    PREKEY_LAST_RESORT,
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    EcPreKey,
    KemPreKey,
    PreKeyBundle,
)
from tests.protocol.make import (
    NOW,
    SMALL_ORDER_KEYS,
    TestBusiness,
    TestRelay,
    b32,
    key,
    make_business_card,
    make_ec,
    make_kem,
    make_person_card,
    public,
    sign,
    signed_business_card,
    signed_person_card,
)

RELAY, OTHER_RELAY = TestRelay(), TestRelay("other relay")
BUSINESS, OTHER = TestBusiness(), TestBusiness("other business")
OWNER = key("business identity")
PERSON = key("person")
CARD = make_business_card(RELAY, BUSINESS)


def open_changed(**fields: Any) -> BusinessCard:
    """A card with other fields, correctly signed."""
    return open_business_card(signed_business_card(replace(CARD, **fields), BUSINESS.root), NOW)


def test_a_business_card() -> None:
    data = signed_business_card(CARD, BUSINESS.root)
    card = open_business_card(data, NOW)
    assert card == CARD
    assert card.business_id == BUSINESS.id
    assert card.address_id == b32("address")
    assert len(data) < 4_096
    assert card_hash(data) != card_hash(data + b"\0")


@given(st.data())
def test_any_changed_byte_of_a_card(data: st.DataObject) -> None:
    good = bytearray(signed_business_card(CARD, BUSINESS.root))
    # The two KEM keys are most of the bytes, so draw from the ends as well.
    places = st.one_of(st.integers(0, 400), st.integers(0, len(good) - 1))
    place = data.draw(places)
    good[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises((MalformedError, SignatureError)):
        open_business_card(bytes(good), NOW)


def test_a_card_signed_by_another() -> None:
    with pytest.raises(SignatureError):
        open_business_card(signed_business_card(CARD, OTHER.root), NOW)


def test_a_persons_signature_is_no_business_signature() -> None:
    body = pack(CARD)
    with pytest.raises(SignatureError):
        open_business_card(signed_card(body, sign(BUSINESS.root, person_card_message(body))), NOW)
    card = make_person_card(PERSON)
    body = pack(card)
    with pytest.raises(SignatureError):
        open_person_card(signed_card(body, sign(PERSON, business_card_message(body))), NOW)


@pytest.mark.parametrize("small", SMALL_ORDER_KEYS, ids=lambda data: data.hex()[:8])
def test_a_card_under_a_small_order_key(small: bytes) -> None:
    body = pack(replace(CARD, root_pk=small))
    with pytest.raises(SignatureError):
        open_business_card(signed_card(body, small + bytes(32)), NOW)


def test_times_of_a_business_card() -> None:
    data = signed_business_card(CARD, BUSINESS.root)
    open_business_card(data, CARD.issued - CLOCK_SKEW)
    with pytest.raises(ExpiredError, match="future"):
        open_business_card(data, CARD.issued - CLOCK_SKEW - 1)
    open_business_card(data, CARD.expires - 1)
    with pytest.raises(ExpiredError, match="has expired"):
        open_business_card(data, CARD.expires)


def test_life_of_a_card() -> None:
    open_changed(issued=NOW, expires=NOW + CARD_LIFE)
    with pytest.raises(ExpiredError, match="longer"):
        open_changed(issued=NOW, expires=NOW + CARD_LIFE + 1)


def test_times_alone() -> None:
    check_times(NOW, NOW + 1, NOW, "it")
    with pytest.raises(ExpiredError):
        check_times(NOW, NOW, NOW, "it")
    with pytest.raises(ExpiredError):
        check_times(0, 2**63 - 1, NOW, "it")


@pytest.mark.parametrize(
    "fields",
    [
        {"signed_prekey": make_ec(OWNER, PREKEY_ONE_TIME)},
        {"signed_prekey": make_ec(OWNER, PREKEY_LAST_RESORT)},
        {"last_resort": make_kem(OWNER, PREKEY_ONE_TIME)},
        {"last_resort": make_kem(OWNER, PREKEY_SIGNED)},
        {"last_resort": make_kem(OWNER, 77)},
    ],
)
def test_prekeys_of_the_wrong_kind(fields: dict[str, Any]) -> None:
    with pytest.raises(MalformedError):
        open_changed(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"signed_prekey": make_ec(key("somebody"))},
        {"last_resort": make_kem(key("somebody"))},
        {"signed_prekey": replace(CARD.signed_prekey, key_id=8)},
        {"signed_prekey": replace(CARD.signed_prekey, public=b32("x"))},
        {"last_resort": replace(CARD.last_resort, key_id=8)},
        {"last_resort": replace(CARD.last_resort, public=bytes(KEM_PUBLIC_BYTES))},
        {"identity": replace(CARD.identity, dh_pk=b32("x"))},
        {"identity": replace(CARD.identity, binding=bytes(64))},
        {"identity": replace(CARD.identity, sign_pk=public(key("somebody")))},
    ],
)
def test_prekeys_that_the_identity_did_not_sign(fields: dict[str, Any]) -> None:
    with pytest.raises(SignatureError):
        open_changed(**fields)


def test_a_signature_of_one_kind_of_prekey_is_none_of_another() -> None:
    one_time = make_ec(OWNER, PREKEY_ONE_TIME)
    with pytest.raises(SignatureError):
        replace(one_time, kind=PREKEY_SIGNED).verify(public(OWNER))
    kem = make_kem(OWNER, PREKEY_ONE_TIME)
    with pytest.raises(SignatureError):
        replace(kem, kind=PREKEY_LAST_RESORT).verify(public(OWNER))


@pytest.mark.parametrize("kind", [2, 3, 255])
def test_kinds_that_an_x25519_prekey_cannot_have(kind: int) -> None:
    with pytest.raises(MalformedError):
        make_ec(OWNER, kind).verify(public(OWNER))


@pytest.mark.parametrize("kind", [0, 3, 255])
def test_kinds_that_a_kem_prekey_cannot_have(kind: int) -> None:
    with pytest.raises(MalformedError):
        make_kem(OWNER, kind).verify(public(OWNER))


@pytest.mark.parametrize(
    ("one_time", "kem"),
    [
        (None, None),
        (make_ec(OWNER, PREKEY_ONE_TIME), None),
        (None, make_kem(OWNER, PREKEY_ONE_TIME)),
        (make_ec(OWNER, PREKEY_ONE_TIME), make_kem(OWNER, PREKEY_ONE_TIME)),
    ],
)
def test_bundles(one_time: EcPreKey | None, kem: KemPreKey | None) -> None:
    bundle = CARD.bundle(one_time, kem)
    bundle.verify()
    assert bundle.one_time == one_time
    assert bundle.kem == (kem or CARD.last_resort)
    assert (bundle.identity, bundle.signed) == (CARD.identity, CARD.signed_prekey)


def test_a_bundle_with_a_false_one_time_key() -> None:
    with pytest.raises(MalformedError):
        CARD.bundle(make_ec(OWNER, PREKEY_SIGNED)).verify()
    with pytest.raises(SignatureError):
        CARD.bundle(make_ec(key("somebody"), PREKEY_ONE_TIME)).verify()
    with pytest.raises(SignatureError):
        CARD.bundle(None, make_kem(key("somebody"), PREKEY_ONE_TIME)).verify()


def test_a_persons_card() -> None:
    card = make_person_card(PERSON)
    data = signed_person_card(card, PERSON)
    assert open_person_card(data, NOW) == card
    with pytest.raises(SignatureError):
        open_person_card(signed_person_card(card, key("somebody")), NOW)
    with pytest.raises(ExpiredError):
        open_person_card(data, card.expires)
    with pytest.raises(ExpiredError):
        open_person_card(data, card.issued - CLOCK_SKEW - 1)
    with pytest.raises(ExpiredError):
        open_person_card(
            signed_person_card(replace(card, expires=card.issued + CARD_LIFE + 1), PERSON), NOW
        )


def test_a_persons_card_with_false_prekeys() -> None:
    card = make_person_card(PERSON)
    for bundle in (
        replace(card.bundle, signed=make_ec(PERSON, PREKEY_ONE_TIME)),
        replace(card.bundle, one_time=make_ec(PERSON, PREKEY_SIGNED)),
        replace(card.bundle, kem=make_kem(PERSON, PREKEY_SIGNED)),
    ):
        with pytest.raises(MalformedError):
            open_person_card(signed_person_card(replace(card, bundle=bundle), PERSON), NOW)
    foreign = replace(card.bundle, signed=make_ec(OWNER))
    with pytest.raises(SignatureError):
        open_person_card(signed_person_card(replace(card, bundle=foreign), PERSON), NOW)


def test_cards_are_not_taken_for_one_another() -> None:
    with pytest.raises(MalformedError):
        open_person_card(signed_business_card(CARD, BUSINESS.root), NOW)
    with pytest.raises(MalformedError):
        open_business_card(signed_person_card(make_person_card(PERSON), PERSON), NOW)


def test_size_of_a_card() -> None:
    with pytest.raises(TooLargeError):
        open_business_card(bytes(MAX_CARD + 1), NOW)


def test_additional_fields_are_refused() -> None:
    body = pack(CARD)
    assert body[0] == 0x9C
    longer = b"\x9d" + body[1:] + b"\xc0"
    with pytest.raises(MalformedError):
        open_business_card(
            signed_card(longer, sign(BUSINESS.root, business_card_message(longer))), NOW
        )


def test_lost_sessions_are_of_the_past() -> None:
    latest = (CARD.issued + CLOCK_SKEW) // MINUTE
    for minute in (0, 1, latest):
        assert open_changed(sessions_from=minute).sessions_from == minute
    for minute in (latest + 1, 0xFFFF_FFFF):
        with pytest.raises(MalformedError):
            open_changed(sessions_from=minute)


def test_a_card_that_does_not_speak_of_sessions_has_lost_none() -> None:
    body = pack(CARD)
    shorter = b"\x9b" + body[1:-1]
    signature = sign(BUSINESS.root, business_card_message(shorter))
    assert open_business_card(signed_card(shorter, signature), NOW) == CARD


@pytest.mark.parametrize(
    "name",
    ["", " ", "\t", "a\x1b[2J", "a\nb", "a\u202eb", "a\u2066b", "\u200ea", "a\u2028b", "x" * 65],
)
def test_names_that_deceive(name: str) -> None:
    with pytest.raises(MalformedError):
        open_changed(name=name)
    if len(name) <= 64:
        with pytest.raises(MalformedError):
            check_name(name, "it")
        person: PersonCard = replace(make_person_card(PERSON), name=name)
        with pytest.raises(MalformedError):
            open_person_card(signed_person_card(person, PERSON), NOW)
        with pytest.raises(MalformedError):
            make_badge(legal_name=name).verify(public(RELAY.operator), RELAY.id, BUSINESS.id)


@pytest.mark.parametrize(
    "name", ["Sari", "Warung Bu Sari 24/7", "مطعم", "नमस्ते\u200d", "👩\u200d💻", "陳"]
)
def test_names_of_the_world(name: str) -> None:
    assert open_changed(name=name).name == name


# Badges


def make_badge(tier: int = 2, legal_name: str = "PT Metro Bus", not_after: int = NOW + 9) -> Badge:
    message = badge_message(RELAY.id, BUSINESS.id, tier, legal_name, not_after)
    return Badge(tier, legal_name, not_after, sign(RELAY.operator, message))


def test_a_badge() -> None:
    badge = make_badge()
    operator = public(RELAY.operator)
    badge.verify(operator, RELAY.id, BUSINESS.id)
    badge.verify(operator, RELAY.id, BUSINESS.id, badge.not_after - 1)
    with pytest.raises(ExpiredError):
        badge.verify(operator, RELAY.id, BUSINESS.id, badge.not_after)
    for changed in (
        replace(badge, tier=1),
        replace(badge, legal_name="PT Metro Buss"),
        replace(badge, not_after=badge.not_after + 1),
    ):
        with pytest.raises(SignatureError):
            changed.verify(operator, RELAY.id, BUSINESS.id)
    with pytest.raises(SignatureError):
        badge.verify(operator, RELAY.id, OTHER.id)
    with pytest.raises(SignatureError):
        badge.verify(operator, OTHER_RELAY.id, BUSINESS.id)
    with pytest.raises(SignatureError):
        badge.verify(public(RELAY.receipt_key), RELAY.id, BUSINESS.id)


# The relay's certificate


def test_a_certificate() -> None:
    cert = RELAY.cert(NOW, NOW + DAY)
    assert cert.relay_id == RELAY.id
    cert.verify(NOW)
    cert.verify(NOW - CLOCK_SKEW)
    cert.verify(NOW + DAY + CLOCK_SKEW - 1)
    with pytest.raises(ExpiredError, match="not valid yet"):
        cert.verify(NOW - CLOCK_SKEW - 1)
    with pytest.raises(ExpiredError, match="has expired"):
        cert.verify(NOW + DAY + CLOCK_SKEW)


@pytest.mark.parametrize(
    "fields",
    [
        {"root_pk": public(OTHER_RELAY.root)},
        {"beacon_pk": b32("x")},
        {"receipt_pk": b32("x")},
        {"operator_pk": b32("x")},
        {"checkpoint_pk": b32("x")},
        {"not_before": NOW - 1},
        {"not_after": NOW + DAY + 1},
        {"signature": bytes(64)},
        {"beacon_pk": public(RELAY.receipt_key), "receipt_pk": public(RELAY.beacon_key)},
    ],
)
def test_a_changed_certificate(fields: dict[str, Any]) -> None:
    with pytest.raises(SignatureError):
        replace(RELAY.cert(NOW, NOW + DAY), **fields).verify(NOW)


# Beacons


def test_a_beacon() -> None:
    beacon = RELAY.beacon(NOW // 60)
    assert beacon.time == NOW // 60 * 60
    operator = public(RELAY.beacon_key)
    beacon.verify(operator, RELAY.id)
    bad: list[tuple[Beacon, bytes, Any]] = [
        (replace(beacon, minute=beacon.minute + 1), operator, RELAY.id),
        (replace(beacon, nonce=bytes(16)), operator, RELAY.id),
        (replace(beacon, signature=bytes(64)), operator, RELAY.id),
        (beacon, public(RELAY.receipt_key), RELAY.id),
        (beacon, operator, OTHER_RELAY.id),
    ]
    for changed, signer, relay_id in bad:
        with pytest.raises(SignatureError):
            changed.verify(signer, relay_id)


# Gates


def test_gates_differ_in_every_part() -> None:
    opening = b32("opening")
    gates = {
        OPEN_GATE,
        token_gate(opening),
        payer_gate(BUSINESS.id, "ID", opening),
        payer_gate(OTHER.id, "ID", opening),
        payer_gate(BUSINESS.id, "IN", opening),
        payer_gate(BUSINESS.id, "ID", b32("other opening")),
    }
    assert len(gates) == 6
    for gate in gates:
        assert [other for other in gates if opens(gate, other)] == [gate]
    assert not opens(OPEN_GATE, Hash(OPEN_GATE[:-1]))


@pytest.mark.parametrize("market", ["", "TOOLONG99", "Ä", "A\0", "A\n", "\x7f"])
def test_markets_that_do_not_fit(market: str) -> None:
    with pytest.raises(MalformedError):
        payer_gate(BusinessId(b32("b")), market, b32("o"))


@given(st.text(min_size=1, max_size=9), st.text(min_size=1, max_size=9))
def test_padding_is_unambiguous(one: str, other: str) -> None:
    try:
        first, second = padded(one, MARKET_BYTES, "it"), padded(other, MARKET_BYTES, "it")
    except MalformedError:
        return
    assert len(first) == len(second) == MARKET_BYTES
    assert (first == second) == (one == other)


def test_a_bundle_needs_its_identity() -> None:
    other = make_person_card(PERSON).bundle
    mixed = PreKeyBundle(CARD.identity, other.signed, other.kem)
    with pytest.raises(SignatureError):
        mixed.verify()
