"""Charges: whatever a charge commits to changes its hash; receipts, refusals, lanes, leaves."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kurir_billing.answers import (
    Quote,
    Receipt,
    Refusal,
    open_receipt,
    open_refusal,
    receipt_message,
    refusal_message,
)
from kurir_billing.charge import (
    Charge,
    Line,
    charge_hash,
    charge_message,
    check_charge_signature,
    label_hash,
    lock_of,
    open_charge,
    packed,
)
from kurir_billing.errors import EvidenceError
from kurir_billing.kinds import Category, Class, PassKind, RefusalCode
from kurir_billing.lane import Lane, open_lane
from kurir_billing.leaf import Leaf, open_leaf, packed_leaf
from kurir_billing.listed import Listed
from kurir_billing.passes import Pass, pass_message
from kurir_billing.ratecard import bundled
from kurir_wire.codec import pack
from kurir_wire.entries import Label
from kurir_wire.errors import MalformedError, SignatureError, TooLargeError
from kurir_wire.ids import DAY, NO_HASH, EnvelopeId, Hash, MailboxId, RelayId
from tests.protocol.anything import any_of
from tests.protocol.make import (
    NOW,
    TODAY,
    Envelope,
    TestBusiness,
    TestMailbox,
    TestRelay,
    b16,
    b32,
    hash_of,
    key,
    make_charge,
    make_leaf,
    make_line,
    private_hash,
    public,
    sign,
)

RELAY, OTHER_RELAY = TestRelay(), TestRelay("other relay")
BUSINESS, OTHER = TestBusiness(), TestBusiness("other business")
MAILBOX = TestMailbox(RELAY, BUSINESS)
ENVELOPE = Envelope(MAILBOX)
GRANT = MAILBOX.grant()
CHARGE = make_charge(ENVELOPE, grant=GRANT)

hashes = st.binary(min_size=32, max_size=32)


def name_of(
    charge: Charge,
    relay_id: RelayId = RELAY.id,
    mailbox_id: MailboxId = MAILBOX.id,
    envelope_id: EnvelopeId = ENVELOPE.envelope_id,
    body: bytes = ENVELOPE.body,
    life: int = ENVELOPE.life,
) -> Hash:
    private = charge.private_hash(relay_id, mailbox_id, envelope_id, body, life)
    return charge_hash(*charge.signed_fields(relay_id, private))


NAME = name_of(CHARGE)

LINE_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "market": st.sampled_from(["IN", "I", "IDX", "ID ", "id"]),
    "tariff": st.sampled_from(["reply-2019", "reply-201", "reply-20188"]),
    "rate_card": hashes,
    "category": st.integers(1, 255),
    "klass": st.one_of(st.just(0), st.integers(2, 255)),
    "list_price": st.integers(0, 2**63 - 1),
    "opener": hashes,
}
CHARGE_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "frank": hashes,
    "lock": hashes,
    "private_salt": hashes,
    "fresh_salt": hashes,
    "beacon_minute": st.integers(0, 2**32 - 1),
    "beacon_nonce": st.binary(min_size=16, max_size=16),
    "lane_seq": st.integers(0, 2**63 - 1),
    "pass_hash": hashes,
}
GRANT_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "kind": st.integers(1, 255),
    "minute": st.integers(0, 2**32 - 1),
    "nonce": st.binary(min_size=16, max_size=16),
    "ticket": hashes,
    "signature": st.binary(min_size=64, max_size=64),
}
LANE_FIELDS: dict[str, st.SearchStrategy[Any]] = {"root_pk": hashes, "lane_pk": hashes}
NOT_COMMITTED = {
    # The mailbox's id commits to its gate, and the gate to the opening.
    "opening",
    # These cover the hash, or prove that something does.
    "signature",
    "listed",
    # The ticket is the one that the grant names, the hour the one that the mailbox's id commits to.
    "entry",
}


def test_no_field_is_forgotten_here() -> None:
    assert set(LINE_FIELDS) == set(Line.__struct_fields__)
    assert set(GRANT_FIELDS) == set(type(GRANT).__struct_fields__)
    parts = {"line", "lane", "grant"}
    assert set(CHARGE_FIELDS) | parts | NOT_COMMITTED == set(Charge.__struct_fields__)
    # The rest of a lane is checked by its own signature.
    assert set(LANE_FIELDS) | {"not_after", "signature"} == set(Lane.__struct_fields__)


def expect_other_hash(changed: Charge) -> None:
    assert (name_of(changed) == NAME) == (changed == CHARGE)


@pytest.mark.parametrize("name", LINE_FIELDS)
@given(data=st.data())
def test_the_line_is_committed(name: str, data: st.DataObject) -> None:
    value = data.draw(LINE_FIELDS[name])
    expect_other_hash(replace(CHARGE, line=replace(CHARGE.line, **{name: value})))


@pytest.mark.parametrize("name", CHARGE_FIELDS)
@given(data=st.data())
def test_the_private_part_is_committed(name: str, data: st.DataObject) -> None:
    expect_other_hash(replace(CHARGE, **{name: data.draw(CHARGE_FIELDS[name])}))


@pytest.mark.parametrize("name", GRANT_FIELDS)
@given(data=st.data())
def test_the_grant_is_committed(name: str, data: st.DataObject) -> None:
    changed = replace(GRANT, **{name: data.draw(GRANT_FIELDS[name])})
    expect_other_hash(replace(CHARGE, grant=changed))


@pytest.mark.parametrize("name", LANE_FIELDS)
@given(data=st.data())
def test_the_lane_is_committed(name: str, data: st.DataObject) -> None:
    changed = replace(CHARGE.lane, **{name: data.draw(LANE_FIELDS[name])})
    expect_other_hash(replace(CHARGE, lane=changed))


def test_a_missing_grant_is_committed() -> None:
    expect_other_hash(replace(CHARGE, grant=None))


@given(st.data())
def test_the_envelope_is_committed(data: st.DataObject) -> None:
    other: dict[str, Callable[[], Any]] = {
        "relay_id": lambda: data.draw(hashes),
        "mailbox_id": lambda: data.draw(hashes),
        "envelope_id": lambda: data.draw(st.binary(min_size=16, max_size=16)),
        "life": lambda: data.draw(st.integers(1, 719)),
        "body": lambda: data.draw(st.binary(min_size=1, max_size=9)) + bytes(2_048),
    }
    for field, draw in other.items():
        value = draw()
        assert name_of(CHARGE, **{field: value}) != NAME, field


@pytest.mark.parametrize("size", [2_047, 2_049, 4_096])
def test_the_bucket_is_committed(size: int) -> None:
    assert name_of(CHARGE, body=bytes(size)) != NAME


@pytest.mark.parametrize("place", [0, 1_000, 2_047])
def test_each_byte_of_the_body_is_committed(place: int) -> None:
    body = bytearray(2_048)
    body[place] = 1
    assert name_of(CHARGE, body=bytes(body)) != NAME


def test_layouts() -> None:
    def h(name: str, *parts: bytes) -> bytes:
        return hashlib.sha256(b"kurir/" + name.encode() + b"/1\0" + b"".join(parts)).digest()

    line = replace(CHARGE.line, category=2, opener=b32("opener"))
    line_hash = h(
        "line",
        RELAY.id + BUSINESS.id + b"ID\0\0\0\0\0\0" + b"reply-2018".ljust(24, b"\0"),
        line.rate_card + b"\2\1" + (25_000).to_bytes(8, "big") + b32("opener"),
    )
    assert line.hash(RELAY.id, BUSINESS.id) == line_hash
    label = h(
        "label",
        RELAY.id + BUSINESS.id + MAILBOX.id + ENVELOPE.envelope_id,
        b"\0" + CHARGE.frank + CHARGE.lock,
    )
    assert label_hash(CHARGE.label(), RELAY.id, MAILBOX.id, ENVELOPE.envelope_id) == label
    minute = CHARGE.beacon_minute.to_bytes(4, "big")
    fresh = h(
        "fresh",
        CHARGE.fresh_salt + minute + CHARGE.beacon_nonce + (1).to_bytes(8, "big"),
        h("evidence", GRANT.hash + NO_HASH),
    )
    assert CHARGE.fresh_hash() == fresh
    private = h(
        "priv",
        CHARGE.private_salt + label + h("body", ENVELOPE.body) + (2_048).to_bytes(4, "big"),
        (720).to_bytes(2, "big") + fresh,
    )
    assert private_hash(CHARGE, ENVELOPE) == private
    own_line = CHARGE.line.hash(RELAY.id, BUSINESS.id)
    fields = (own_line, private, CHARGE.lock, CHARGE.frank, CHARGE.lane.lane_pk)
    assert CHARGE.signed_fields(RELAY.id, Hash(private)) == fields
    assert h("charge", *fields) == NAME
    assert hashlib.sha256(charge_message(*fields)).digest() == NAME
    assert lock_of(b32("secret")) == h("lock", b32("secret"))
    assert Quote(line).hash(RELAY.id, BUSINESS.id) == h("quote", line_hash)


def test_what_the_relay_keeps_until_settlement() -> None:
    kept = CHARGE.without_evidence()
    # Enough for the label and the leaf, and nothing that tells when the customer wrote.
    blanked = {
        "opening": NO_HASH,
        "private_salt": NO_HASH,
        "fresh_salt": NO_HASH,
        "beacon_minute": 0,
        "beacon_nonce": bytes(16),
        "lane_seq": 0,
        "grant": None,
    }
    for name in Charge.__struct_fields__:
        assert getattr(kept, name) == blanked.get(name, getattr(CHARGE, name)), name
    assert open_charge(packed(kept)) == kept
    assert kept.label() == CHARGE.label()
    leaf = Leaf.settle(kept, private_hash(CHARGE, ENVELOPE), b32("charge secret"), TODAY)
    leaf.check_signature(RELAY.id)
    leaf.check_settlement()
    assert leaf.charge_hash(RELAY.id) == NAME


def test_a_card_prices_what_settles_from_its_first_day_on() -> None:
    leaf = make_leaf(RELAY, BUSINESS, "a leaf", day=TODAY)
    over = (TODAY + 1) * DAY
    leaf.check_price(replace(bundled(), effective_from=over - 1))
    with pytest.raises(EvidenceError, match="before the rate card that priced it"):
        leaf.check_price(replace(bundled(), effective_from=over))


@pytest.mark.parametrize("field", Label.__struct_fields__)
@given(data=st.data())
def test_the_label_is_committed(field: str, data: st.DataObject) -> None:
    label = CHARGE.label()
    value = data.draw(st.integers(0, 255) if field == "category" else hashes)
    changed = replace(label, **{field: value})
    one = label_hash(label, RELAY.id, MAILBOX.id, ENVELOPE.envelope_id)
    other = label_hash(changed, RELAY.id, MAILBOX.id, ENVELOPE.envelope_id)
    assert (one == other) == (label == changed)


def test_an_honest_charge() -> None:
    opened = open_charge(packed(CHARGE))
    assert opened == CHARGE
    assert opened.business_id == BUSINESS.id
    assert check_charge_signature(opened, RELAY.id, private_hash(opened, ENVELOPE)) == NAME
    assert len(packed(CHARGE)) < 1_000


def test_a_changed_charge_is_not_signed() -> None:
    private = private_hash(CHARGE, ENVELOPE)
    dearer = replace(CHARGE, line=replace(CHARGE.line, list_price=25_001))
    for charge, relay_id, hash_ in (
        (dearer, RELAY.id, private),
        (CHARGE, OTHER_RELAY.id, private),
        (CHARGE, RELAY.id, hash_of("x")),
        (replace(CHARGE, lock=b32("x")), RELAY.id, private),
        (replace(CHARGE, signature=bytes(64)), RELAY.id, private),
        (replace(CHARGE, lane=OTHER.lane(BUSINESS.lane_key)), RELAY.id, private),
        (replace(CHARGE, lane=BUSINESS.lane(key("other lane"))), RELAY.id, private),
    ):
        with pytest.raises(EvidenceError):
            check_charge_signature(charge, relay_id, hash_)


@pytest.mark.parametrize(
    "fields",
    [
        {"category": 5},
        {"category": 255},
        {"klass": 3},
        {"market": "Ä"},
        {"market": "A\0"},
        {"tariff": "\n"},
    ],
)
def test_lines_of_unknown_form(fields: dict[str, Any]) -> None:
    line = replace(CHARGE.line, **fields)
    with pytest.raises(MalformedError):
        open_charge(packed(replace(CHARGE, line=line)))
    with pytest.raises(MalformedError):
        open_leaf(packed_leaf(replace(make_leaf(RELAY, BUSINESS, "a"), line=line)))
    refusal = Refusal(NAME, RefusalCode.OUTSIDE_WINDOW, NOW, Quote(line), None, bytes(64))
    with pytest.raises(MalformedError):
        open_refusal(pack(refusal))


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    readers: list[Callable[[bytes], object]] = [open_charge, open_leaf, open_receipt, open_refusal]
    for read in readers:
        with pytest.raises(MalformedError):
            read(data)
    with pytest.raises(EvidenceError):
        open_lane(data, NOW)


def test_what_is_too_long_is_not_looked_at() -> None:
    readers: list[Callable[[bytes], object]] = [open_charge, open_leaf, open_receipt, open_refusal]
    for read in readers:
        with pytest.raises(TooLargeError, match="2049 bytes where at most 2048"):
            read(bytes(2_049))
        with pytest.raises(MalformedError) as caught:
            read(bytes(2_048))
        assert not isinstance(caught.value, TooLargeError)
    with pytest.raises(EvidenceError, match="2049 bytes where at most 2048"):
        open_lane(bytes(2_049), NOW)
    with pytest.raises(EvidenceError, match=r"not a lane: (?!.*at most)"):
        open_lane(bytes(2_048), NOW)


@given(any_of(Charge))
def test_any_charge(charge: Charge) -> None:
    known = charge.line.category in set(Category) and charge.line.klass in set(Class)
    try:
        assert open_charge(packed(charge)) == charge
        assert known
    except MalformedError:
        pass


# Lanes


def test_a_lane() -> None:
    lane = BUSINESS.lane(not_after=NOW + 10)
    assert lane.business_id == BUSINESS.id
    lane.verify(NOW + 9)
    assert open_lane(packed(lane), NOW + 9) == lane
    with pytest.raises(EvidenceError, match="expired"):
        lane.verify(NOW + 10)
    with pytest.raises(EvidenceError, match="expired"):
        open_lane(packed(lane), NOW + 10)
    lane.check_signature()
    for changed in (
        replace(lane, root_pk=public(OTHER.root)),
        replace(lane, lane_pk=public(OTHER.lane_key)),
        replace(lane, not_after=NOW + 11),
        replace(lane, signature=bytes(64)),
    ):
        with pytest.raises(EvidenceError):
            changed.verify(NOW)
        with pytest.raises(EvidenceError):
            changed.check_signature()


# Passes, receipts and refusals

PASS = Pass(PassKind.CONVERSATION, NAME, Class.IN_WINDOW, NOW, NOW + 86_400, bytes(64))
PASS = replace(
    PASS,
    signature=sign(RELAY.receipt_key, pass_message(RELAY.id, BUSINESS.id, MAILBOX.id, PASS)),
)


def test_a_pass() -> None:
    signer = public(RELAY.receipt_key)
    PASS.verify(signer, RELAY.id, BUSINESS.id, MAILBOX.id)
    assert [PASS.is_open(at) for at in (NOW - 1, NOW, NOW + 86_399, NOW + 86_400)] == [
        False,
        True,
        True,
        False,
    ]
    for changed in (
        replace(PASS, kind=PassKind.ENTRY),
        replace(PASS, opener=b32("x")),
        replace(PASS, klass=Class.OUT_OF_WINDOW),
        replace(PASS, opened_at=NOW + 1),
        replace(PASS, until=NOW + 86_401),
    ):
        assert changed.hash != PASS.hash
        with pytest.raises(SignatureError):
            changed.verify(signer, RELAY.id, BUSINESS.id, MAILBOX.id)
    assert replace(PASS, signature=bytes(64)).hash != PASS.hash
    moved = (
        (OTHER_RELAY.id, BUSINESS.id, MAILBOX.id),
        (RELAY.id, OTHER.id, MAILBOX.id),
        (RELAY.id, BUSINESS.id, MailboxId(b32("other"))),
    )
    for place in moved:
        with pytest.raises(SignatureError):
            PASS.verify(signer, *place)


def test_a_receipt() -> None:
    signer = public(RELAY.receipt_key)
    receipt = Receipt(NAME, NOW, None, sign(RELAY.receipt_key, receipt_message(NAME, NOW, NO_HASH)))
    assert open_receipt(pack(receipt)) == receipt
    receipt.verify(signer)
    for changed in (
        replace(receipt, charge=b32("x")),
        replace(receipt, accepted_at=NOW + 1),
        replace(receipt, earned=PASS),
        replace(receipt, signature=bytes(64)),
    ):
        with pytest.raises(SignatureError):
            changed.verify(signer)
    with pytest.raises(SignatureError):
        receipt.verify(public(RELAY.operator))


def make_refusal(quote: Quote | None) -> Refusal:
    code = RefusalCode.OUTSIDE_WINDOW
    quoted = quote.hash(RELAY.id, BUSINESS.id) if quote else NO_HASH
    message = refusal_message(NAME, code, NOW, quoted)
    return Refusal(NAME, code, NOW, quote, None, sign(RELAY.receipt_key, message))


@pytest.mark.parametrize("quote", [None, Quote(make_line())])
def test_a_refusal(quote: Quote | None) -> None:
    signer = public(RELAY.receipt_key)
    refusal = make_refusal(quote)
    assert open_refusal(pack(refusal)) == refusal
    refusal.verify(signer, RELAY.id, BUSINESS.id)
    for changed in (
        replace(refusal, charge=b32("x")),
        replace(refusal, code=RefusalCode.RATE_LIMIT),
        replace(refusal, now=NOW + 1),
        replace(refusal, held=PASS),
        replace(refusal, quote=None if quote else Quote(make_line())),
        replace(refusal, quote=Quote(make_line(price=25_001))),
    ):
        with pytest.raises(SignatureError):
            changed.verify(signer, RELAY.id, BUSINESS.id)
    if quote:
        with pytest.raises(SignatureError):
            refusal.verify(signer, RELAY.id, OTHER.id)
        with pytest.raises(SignatureError):
            refusal.verify(signer, OTHER_RELAY.id, BUSINESS.id)


def test_an_unknown_code() -> None:
    with pytest.raises(MalformedError):
        open_refusal(pack(replace(make_refusal(None), code=1)))


def test_a_receipt_is_no_refusal() -> None:
    # Same key, fields of the same widths: the domain keeps them apart.
    receipt = receipt_message(NAME, NOW, NO_HASH)
    refusal = refusal_message(NAME, 0, NOW, NO_HASH)
    assert not refusal.startswith(receipt[:14])
    with pytest.raises(MalformedError):
        open_refusal(pack(Receipt(NAME, NOW, None, bytes(64))))
    assert receipt == b"kurir/receipt/1\0" + NAME + NOW.to_bytes(8, "big") + NO_HASH
    expected = b"kurir/refusal/1\0" + NAME + bytes(4) + NOW.to_bytes(8, "big") + 2 * NO_HASH
    assert refusal == expected


# Leaves


def test_settlement() -> None:
    leaf = make_leaf(RELAY, BUSINESS, "a")
    assert open_leaf(packed_leaf(leaf)) == leaf
    leaf.check_signature(RELAY.id)
    leaf.check_settlement()
    envelope = Envelope(MAILBOX, EnvelopeId(b16("a")))
    charge = make_charge(envelope, name="a")
    fields = charge.signed_fields(RELAY.id, private_hash(charge, envelope))
    assert leaf.charge_hash(RELAY.id) == charge_hash(*fields)
    expected = hashlib.sha256(
        b"kurir/leaf/1\0"
        + charge_hash(*fields)
        + TODAY.to_bytes(4, "big")
        + b32("a secret")
        + NO_HASH
        + charge.signature
    ).digest()
    assert leaf.hash(RELAY.id) == expected


@pytest.mark.parametrize("secret", [bytes(32), b32("b secret"), b32("a lock")])
def test_settled_without_the_secret(secret: bytes) -> None:
    with pytest.raises(EvidenceError, match="secret"):
        replace(make_leaf(RELAY, BUSINESS, "a"), secret=secret).check_settlement()


def test_the_lock_is_not_its_own_secret() -> None:
    leaf = make_leaf(RELAY, BUSINESS, "a")
    with pytest.raises(EvidenceError):
        replace(leaf, secret=leaf.lock).check_settlement()


@pytest.mark.parametrize(
    "fields",
    [
        {"line": make_line(price=25_001)},
        {"line": make_line("IN")},
        {"private_hash": b32("x")},
        {"lock": lock_of(b32("b secret"))},
        {"frank": b32("another frank")},
        {"listed": Listed(0, 1, [])},
        {"signature": bytes(64)},
        {"lane": OTHER.lane()},
        {"lane": replace(BUSINESS.lane(), not_after=1)},
        {"lane": replace(BUSINESS.lane(), signature=bytes(64))},
    ],
)
def test_a_line_that_the_business_never_signed(fields: dict[str, Any]) -> None:
    leaf: Leaf = replace(make_leaf(RELAY, BUSINESS, "a"), **fields)
    with pytest.raises(EvidenceError):
        leaf.check_signature(RELAY.id)


def test_a_lane_that_the_business_never_enrolled() -> None:
    # Anybody can sign with a key of his own and name the business's root key beside it.
    forger = key("forger")
    lane = replace(BUSINESS.lane(), lane_pk=public(forger))
    leaf = replace(make_leaf(RELAY, BUSINESS, "a"), lane=lane)
    line_hash = leaf.line.hash(RELAY.id, BUSINESS.id)
    message = charge_message(line_hash, leaf.private_hash, leaf.lock, leaf.frank, lane.lane_pk)
    forged = replace(leaf, signature=sign(forger, message))
    forged.check_charge_signature(RELAY.id)
    with pytest.raises(EvidenceError):
        forged.check_signature(RELAY.id)


def test_a_leaf_does_not_name_the_mailbox() -> None:
    data = packed_leaf(make_leaf(RELAY, BUSINESS, "a"))
    assert bytes(MAILBOX.id) not in data
    assert b16("a") not in data
