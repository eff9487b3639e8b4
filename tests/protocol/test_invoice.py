"""Verification of invoices: an honest one passes; every difference is found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgpack import packb
from msgspec import structs

from kurir_billing.charge import charge_message, lock_of
from kurir_billing.dates import month_of_day, show_day
from kurir_billing.errors import InvoiceError
from kurir_billing.head import (
    InvoiceHead,
    head_for,
    invoice_message,
    lines_hash,
    open_head,
    packed_head,
)
from kurir_billing.invoice import Invoice, Records
from kurir_billing.kinds import Class
from kurir_billing.leaf import Leaf
from kurir_billing.party import Party
from kurir_billing.ratecard import (
    RateCard,
    bundled,
    canonical,
    rate_card_hash,
    rate_card_message,
    signed_rate_card,
)
from kurir_billing.tariffs import TARIFFS, Facts, Price, Tariff
from kurir_billing.verify import verify_invoice
from kurir_wire.errors import MalformedError, SignatureError, TooLargeError
from kurir_wire.ids import DAY, NO_HASH
from tests.protocol.make import (
    BUYER,
    NOW,
    SELLER,
    TODAY,
    TestBusiness,
    TestRelay,
    b32,
    hash_of,
    in_file_order,
    key,
    make_invoice,
    make_leaf,
    make_leaves,
    make_line,
    make_records,
    public,
    sign,
)

RELAY, OTHER_RELAY = TestRelay(), TestRelay("other relay")
BUSINESS, OTHER = TestBusiness(), TestBusiness("other business")
LEAVES = make_leaves(RELAY, BUSINESS)
INVOICE = make_invoice(RELAY, BUSINESS, LEAVES)
RECORDS = make_records(RELAY, BUSINESS, LEAVES)
SIGNED, SETTLED = RECORDS.signed or {}, list(RECORDS.settled or ())
PLAIN_RECORDS = make_records(RELAY, BUSINESS, LEAVES, days=False)


def fault(invoice: Invoice, records: Records = RECORDS) -> InvoiceError:
    with pytest.raises(InvoiceError) as caught:
        verify_invoice(invoice, records)
    assert str(caught.value) == f"{caught.value.where}: {caught.value.what}"
    return caught.value


def with_leaf(number: int, **fields: Any) -> list[Leaf]:
    """The lines with one changed; the number counts from 1."""
    leaves = list(LEAVES)
    leaves[number - 1] = structs.replace(leaves[number - 1], **fields)
    return leaves


def with_line(number: int, **fields: Any) -> list[Leaf]:
    return with_leaf(number, line=structs.replace(LEAVES[number - 1].line, **fields))


def file_with(leaves: list[Leaf]) -> Invoice:
    """Somebody edited the file: the head stays as the relay signed it."""
    return replace(INVOICE, leaves=tuple(leaves))


def relay_with(leaves: list[Leaf], **fields: Any) -> Invoice:
    """The relay itself lists and signs these lines."""
    return make_invoice(RELAY, BUSINESS, leaves, **fields)


BOTH: list[Callable[[list[Leaf]], Invoice]] = [file_with, relay_with]
both = pytest.mark.parametrize("by", BOTH, ids=["edited", "relay"])


@pytest.mark.parametrize("records", [RECORDS, PLAIN_RECORDS])
def test_an_honest_invoice(records: Records) -> None:
    verify_invoice(INVOICE, records)
    assert INVOICE.head.count == 5
    assert INVOICE.head.total_micro_usd == 2 * 25_000 + 2 * 55_000
    verify_invoice(INVOICE, replace(records, legal_name=None))


def test_an_empty_invoice() -> None:
    empty = relay_with([])
    verify_invoice(empty, make_records(RELAY, BUSINESS, []))
    assert fault(empty).where == "lines"


def test_signed_but_never_opened_costs_nothing() -> None:
    # The business signed a sixth charge, and nobody settled it.
    extra = make_leaf(RELAY, BUSINESS, "f")
    signed = {**SIGNED, extra.charge_hash(RELAY.id): extra.line}
    verify_invoice(INVOICE, replace(RECORDS, signed=signed))


@both
@pytest.mark.parametrize("number", [1, 3, 5])
@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("list_price", 25_001),
        ("list_price", 2**63 - 1),
        ("market", "MX"),
        ("tariff", "reply-2019"),
        ("category", 1),
        ("klass", Class.ENTRY),
        ("rate_card", b32("x")),
        ("opener", b32("x")),
    ],
)
def test_a_changed_fact(
    by: Callable[[list[Leaf]], Invoice], number: int, fact: str, value: Any
) -> None:
    if by is relay_with and value == 2**63 - 1:
        value = 25_002
    found = fault(by(with_line(number, **{fact: value})))
    assert found.where == f"line {number}"
    assert found.what.startswith(f"{fact} says ")
    assert "where you signed" in found.what


def test_the_first_of_two_changed_lines_is_named() -> None:
    leaves = with_line(2, list_price=1)
    leaves[3] = structs.replace(leaves[3], line=structs.replace(leaves[3].line, list_price=1))
    assert fault(file_with(leaves)).where == "line 2"


def test_what_was_signed_is_told() -> None:
    found = fault(file_with(with_line(2, list_price=55_500)))
    assert found.what == "list_price says 55500 where you signed 55000"
    found = fault(file_with(with_line(2, list_price=1, market="MX")))
    assert found.what == "market says MX where you signed DE"


@both
@pytest.mark.parametrize(
    "fields",
    [
        {"private_hash": b32("x")},
        {"lock": b32("x")},
        {"lane": BUSINESS.lane(key("other lane"))},
        {"lane": OTHER.lane()},
    ],
)
def test_a_changed_commitment(by: Callable[[list[Leaf]], Invoice], fields: dict[str, Any]) -> None:
    found = fault(by(with_leaf(4, **fields)))
    assert found.where == "line 4"


@both
def test_a_changed_lane_certificate(by: Callable[[list[Leaf]], Invoice]) -> None:
    # Neither the charge nor the leaf's hash covers these two fields; their own signature does.
    lane = LEAVES[0].lane
    for changed in (
        structs.replace(lane, not_after=lane.not_after + 1),
        structs.replace(lane, signature=bytes(64)),
    ):
        found = fault(by(with_leaf(2, lane=changed)))
        assert (found.where, "lane" in found.what) == ("line 2", True)


@both
def test_a_changed_signature(by: Callable[[list[Leaf]], Invoice]) -> None:
    found = fault(by(with_leaf(4, signature=LEAVES[0].signature)))
    assert (found.where, found.what) == ("line 4", "the business never signed this line")


@both
def test_settled_without_the_secret(by: Callable[[list[Leaf]], Invoice]) -> None:
    found = fault(by(with_leaf(3, secret=b32("invented"))))
    assert found.where == "line 3"
    assert "secret" in found.what


@both
@pytest.mark.parametrize("records", [RECORDS, PLAIN_RECORDS])
def test_a_dropped_line(by: Callable[[list[Leaf]], Invoice], records: Records) -> None:
    for number in range(5):
        found = fault(by(LEAVES[:number] + LEAVES[number + 1 :]), records)
        assert found.where == "lines"
        assert LEAVES[number].charge_hash(RELAY.id).hex()[:16] in found.what


def test_a_dropped_line_that_the_daily_lists_kept_from_the_business() -> None:
    records = make_records(RELAY, BUSINESS, LEAVES[:4])
    assert fault(file_with(LEAVES[:4]), records).where == "count"


@both
def test_an_added_line(by: Callable[[list[Leaf]], Invoice]) -> None:
    extra = make_leaf(RELAY, BUSINESS, "f")
    found = fault(by([*LEAVES[:2], extra, *LEAVES[2:]]))
    assert (found.where, found.what) == ("line 3", "you never signed this charge")


@both
@pytest.mark.parametrize("records", [RECORDS, PLAIN_RECORDS])
def test_an_added_line_that_was_signed_but_never_reported(
    by: Callable[[list[Leaf]], Invoice], records: Records
) -> None:
    # Such as a charge that stood in the invoice of an earlier month.
    extra = make_leaf(RELAY, BUSINESS, "f")
    signed = {**SIGNED, extra.charge_hash(RELAY.id): extra.line}
    found = fault(by([*LEAVES, extra]), replace(records, signed=signed))
    assert found.where == "line 6"
    assert "never reported" in found.what


@both
def test_a_charge_that_was_billed_in_another_month(by: Callable[[list[Leaf]], Invoice]) -> None:
    before = make_leaf(RELAY, BUSINESS, "f", day=TODAY - 30)
    records = make_records(RELAY, BUSINESS, [before, *LEAVES])
    verify_invoice(INVOICE, records)
    again = structs.replace(before, settled_day=TODAY - 1)
    found = fault(by([*LEAVES, again]), records)
    assert found.where == "line 6"
    assert found.what == "was settled on 2026-01-14 where the daily list of 2025-12-16 has it"


@both
def test_a_line_twice(by: Callable[[list[Leaf]], Invoice]) -> None:
    found = fault(by([*LEAVES, LEAVES[1]]))
    assert found.where == "line 6"
    assert "line 2" in found.what
    # Another day does not make it another charge.
    moved = structs.replace(LEAVES[1], settled_day=TODAY)
    assert fault(by([*LEAVES, moved]), PLAIN_RECORDS).where == "line 6"


@both
def test_a_line_of_another_business(by: Callable[[list[Leaf]], Invoice]) -> None:
    found = fault(by([*LEAVES[:1], make_leaf(RELAY, OTHER, "o"), *LEAVES[1:]]))
    assert (found.where, found.what) == ("line 2", "is for another business")


@both
def test_a_line_of_another_relay(by: Callable[[list[Leaf]], Invoice]) -> None:
    found = fault(by([*LEAVES, make_leaf(OTHER_RELAY, BUSINESS, "o")]))
    assert found.where == "line 6"


@both
def test_a_changed_day(by: Callable[[list[Leaf]], Invoice]) -> None:
    found = fault(by(with_leaf(4, settled_day=TODAY - 1)))
    assert found.where == "line 4"
    assert show_day(TODAY) in found.what


def test_a_changed_day_where_only_hashes_are_known() -> None:
    # The place cannot be known without days; that something is wrong can.
    assert fault(file_with(with_leaf(4, settled_day=TODAY - 1)), PLAIN_RECORDS).where == "lines"


@pytest.mark.parametrize("records", [RECORDS, PLAIN_RECORDS])
@pytest.mark.parametrize(
    "day", [TODAY + 3, TODAY + 16, TODAY + 17, TODAY - 14, TODAY - 15, 0, 2**32 - 1]
)
def test_a_day_that_the_invoice_does_not_cover(day: int, records: Records) -> None:
    leaves = with_leaf(2, settled_day=day)
    if day == TODAY - 14:  # 1 January: covered, but not reported on that day
        found = fault(relay_with(leaves), RECORDS)
    else:
        found = fault(relay_with(leaves), records)
    assert found.where == "line 2"


def test_days_at_the_edges_of_the_invoice() -> None:
    first = TODAY - 14
    edges = [
        make_leaf(RELAY, BUSINESS, "first", day=first),
        make_leaf(RELAY, BUSINESS, "last", day=first + 30),
    ]
    records = make_records(RELAY, BUSINESS, edges)
    verify_invoice(relay_with(edges, through=first + 30), records)
    found = fault(relay_with(edges, through=first + 29), records)
    assert (found.where, "does not cover" in found.what) == ("line 2", True)
    outside = [
        make_leaf(RELAY, BUSINESS, "early", day=first - 1),
        make_leaf(RELAY, BUSINESS, "late", day=first + 31),
    ]
    for leaf in outside:
        records = make_records(RELAY, BUSINESS, [leaf])
        found = fault(relay_with([leaf], through=first + 40), records)
        assert found.where == "line 1"
    # What was settled outside belongs to other invoices and is not missed in this one.
    records = make_records(RELAY, BUSINESS, [*edges, *outside])
    verify_invoice(relay_with(edges, through=first + 30), records)
    verify_invoice(relay_with(edges[:1], through=first + 29), records)
    assert fault(relay_with(edges[:1], through=first + 30), records).where == "lines"


@both
def test_the_month_of_another_invoice(by: Callable[[list[Leaf]], Invoice]) -> None:
    found = fault(make_invoice(RELAY, BUSINESS, LEAVES, month=202602, through=TODAY + 20))
    assert found.where == "line 1"
    edited = replace(INVOICE, head=structs.replace(INVOICE.head, month=202602))
    found = fault(edited)
    assert (found.where, found.what) == ("month", "says 202602 where the relay signed 202601")


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("count", {"count": 4}),
        ("count", {"count": 6}),
        ("total", {"total_micro_usd": 160_001}),
        ("total", {"total_micro_usd": 159_999}),
        ("total", {"total_micro_usd": 2**63 - 1}),
        ("lines_hash", {"lines_hash": b32("x")}),
        ("month", {"month": 202701}),
        ("month", {"month": 202611}),
        ("through", {"through_day": TODAY + 1}),
        ("through", {"through_day": TODAY + 12}),
        ("through", {"through_day": TODAY - 1}),
        ("signature", {"signature": bytes(64)}),
        ("signature", {"month": 202602, "total_micro_usd": 160_000, "signature": bytes(64)}),
        ("business", {"business_id": b32("x")}),
    ],
)
@pytest.mark.parametrize("records", [RECORDS, PLAIN_RECORDS])
def test_an_edited_head(where: str, fields: dict[str, Any], records: Records) -> None:
    head: InvoiceHead = structs.replace(INVOICE.head, **fields)
    found = fault(replace(INVOICE, head=head), records)
    if len(fields) == 1:
        assert found.where == where
    else:  # two edits: either may be named
        assert found.where in (where, *fields, "line 1")


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("count", {"count": 4}),
        ("count", {"count": 6}),
        ("total", {"total_micro_usd": 160_001}),
        ("total", {"total_micro_usd": 159_999}),
    ],
)
def test_a_head_that_the_relay_signed_wrongly(where: str, fields: dict[str, Any]) -> None:
    assert fault(relay_with(LEAVES, **fields)).where == where


def test_a_wrong_lines_hash_that_the_relay_signed() -> None:
    head = structs.replace(INVOICE.head, lines_hash=b32("x"))
    signature = sign(RELAY.operator, invoice_message(RELAY.id, head))
    found = fault(replace(INVOICE, head=structs.replace(head, signature=signature)))
    assert (found.where, found.what) == ("lines", "are not those that the relay signed")


@pytest.mark.parametrize("signer", [RELAY.receipt_key, RELAY.root, OTHER_RELAY.operator])
def test_a_head_signed_by_the_wrong_key(signer: Any) -> None:
    assert fault(relay_with(LEAVES, signer=signer)).where == "signature"


def test_a_changed_signature_of_the_head_is_named_last() -> None:
    # A line that is at fault says more than a signature that holds for nothing.
    broken = replace(INVOICE, head=structs.replace(INVOICE.head, signature=bytes(64)))
    found = fault(broken)
    assert (found.where, found.what) == ("signature", "the invoice: the signature does not match")
    unreported = replace(RECORDS, settled=SETTLED[1:])
    assert fault(broken, unreported).where == "line 1"


def test_an_edited_span_of_an_empty_invoice() -> None:
    # On the first of a month nothing is settled yet: the last day counted is in the month before.
    empty = relay_with([], through=TODAY - 15)
    records = make_records(RELAY, BUSINESS, [])
    verify_invoice(empty, records)
    for day in (TODAY, 0, 2**32 - 1):
        head = structs.replace(empty.head, through_day=day)
        assert fault(replace(empty, head=head), records).where == "through"
    for month in (202600, 202613, 2**32 - 1, 0):
        head = structs.replace(empty.head, month=month)
        assert fault(replace(empty, head=head), records).where in ("month", "signature")


def test_hashes_are_shown_in_hex() -> None:
    other = b32("x")
    head = structs.replace(INVOICE.head, lines_hash=other)
    found = fault(replace(INVOICE, head=head))
    assert found.where == "lines_hash"
    true = INVOICE.head.lines_hash.hex()
    assert found.what == f"says {other.hex()} where the relay signed {true}"
    found = fault(file_with(with_line(2, rate_card=other)))
    assert (
        found.what == f"rate_card says {other.hex()} where you signed {make_line().rate_card.hex()}"
    )


def test_another_legal_name() -> None:
    """The operator certified one, and bills another: edited, and signed."""
    other = structs.replace(BUYER, legal_name="PT Metro Bas")
    edited = replace(INVOICE, head=structs.replace(INVOICE.head, buyer=other))
    for invoice in (edited, relay_with(LEAVES, buyer=other)):
        found = fault(invoice)
        assert found.where == "buyer"
        assert found.what == (
            "legal_name says 'PT Metro Bas' where the operator certified 'PT Metro Bus'"
        )


def test_swapped_certificates() -> None:
    assert fault(replace(INVOICE, cert=OTHER_RELAY.cert())).where == "relay"
    cert = RELAY.cert()
    swapped = structs.replace(cert, operator_pk=public(OTHER_RELAY.operator))
    assert fault(replace(INVOICE, cert=swapped)).where == "certificate"
    assert fault(replace(INVOICE, cert=structs.replace(cert, signature=bytes(64)))).where == (
        "certificate"
    )
    # An older certificate of the same relay is as good as the root key that made it.
    verify_invoice(replace(INVOICE, cert=RELAY.cert(1, NOW - 300 * DAY)), RECORDS)
    never = RELAY.cert(NOW, NOW - DAY)
    assert fault(replace(INVOICE, cert=never)).where == "certificate"


def test_records_of_another() -> None:
    assert fault(INVOICE, replace(RECORDS, relay_id=OTHER_RELAY.id)).where == "relay"
    assert fault(INVOICE, replace(RECORDS, business_id=OTHER.id)).where == "business"


# Rate cards


def test_a_tariff_that_asks_for_the_category(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_category(facts: Facts, card: RateCard) -> Price:
        return Price(Class.OUT_OF_WINDOW, card.rates(facts.market).of(facts.category))

    tariff = Tariff("by-category", by_category, asks_category=True)
    monkeypatch.setitem(TARIFFS, tariff.name, tariff)
    line = structs.replace(make_line(price=41_100), tariff="by-category", category=3)
    leaves = [make_leaf(RELAY, BUSINESS, "marketing", line)]
    verify_invoice(relay_with(leaves), make_records(RELAY, BUSINESS, leaves))
    wrong = [make_leaf(RELAY, BUSINESS, "m", structs.replace(line, list_price=25_000))]
    assert fault(relay_with(wrong), make_records(RELAY, BUSINESS, wrong)).where == "line 1"


def test_rate_cards() -> None:
    data, _ = RELAY.rate_card()
    found = fault(replace(INVOICE, rate_cards=()))
    assert (found.where, "rate card" in found.what) == ("line 1", True)
    damaged = bytearray(data)
    damaged[100] ^= 1
    assert fault(replace(INVOICE, rate_cards=(data, bytes(damaged)))).where == "rate card 2"
    assert fault(replace(INVOICE, rate_cards=(b"",))).where == "rate card 1"
    foreign, _ = OTHER_RELAY.rate_card()
    assert fault(replace(INVOICE, rate_cards=(foreign,))).where == "rate card 1"
    found = fault(replace(INVOICE, rate_cards=(data, data)))
    assert (found.where, found.what) == ("rate card 2", "the same rate card stands there twice")


@pytest.mark.parametrize(("price", "klass"), [(24_999, 1), (25_001, 1), (0, 1), (1, 0), (5, 2)])
def test_a_rate_that_is_not_the_cards_although_both_signed(price: int, klass: int) -> None:
    leaf = make_leaf(RELAY, BUSINESS, "wrong", make_line(klass=Class(klass), price=price))
    leaves = [*LEAVES, leaf]
    found = fault(relay_with(leaves), make_records(RELAY, BUSINESS, leaves))
    assert found.where == "line 6"
    if klass != Class.ENTRY:
        assert "rate card says" in found.what


def test_each_line_by_its_own_card() -> None:
    body = canonical(bundled()).replace(b'"utility":25000', b'"utility":26000')
    signature = sign(RELAY.operator, rate_card_message(RELAY.id, body))
    newer = signed_rate_card(body, signature), rate_card_hash(body)
    leaf = make_leaf(
        RELAY, BUSINESS, "dear", make_line(price=26_000, rate_card=rate_card_hash(body))
    )
    leaves = in_file_order(RELAY, [*LEAVES, leaf])
    records = make_records(RELAY, BUSINESS, leaves)
    assert fault(relay_with(leaves), records).where == f"line {leaves.index(leaf) + 1}"
    cards = [RELAY.rate_card(), newer]
    verify_invoice(relay_with(leaves, cards=cards), records)
    found = fault(relay_with(leaves, cards=cards[::-1]), records)
    assert (found.where, "order of first use" in found.what) == ("rate card 1", True)
    extra = replace(INVOICE, rate_cards=(INVOICE.rate_cards[0], newer[0]))
    found = fault(extra)
    assert (found.where, found.what) == ("rate card 2", "no line uses it")


@pytest.mark.parametrize("fields", [{"category": 9}, {"klass": 9}, {"market": "Ä"}])
def test_lines_without_meaning_are_an_invoice_error(fields: dict[str, Any]) -> None:
    assert fault(file_with(with_line(2, **fields))).where == "line 2"


def test_a_line_without_meaning_that_the_business_signed() -> None:
    # Its own fault, yet no traceback.
    leaf = make_leaf(RELAY, BUSINESS, "odd", structs.replace(make_line(), category=9))
    assert fault(relay_with([leaf]), make_records(RELAY, BUSINESS, [leaf])).where == "line 1"


def test_a_forged_line_with_the_right_hash_in_the_records() -> None:
    # Records may hold the hash; the signature is checked all the same.
    leaf = structs.replace(make_leaf(RELAY, BUSINESS, "f"), signature=bytes(64))
    assert fault(relay_with([leaf]), make_records(RELAY, BUSINESS, [leaf])).where == "line 1"
    line_hash = leaf.line.hash(RELAY.id, BUSINESS.id)
    lock = lock_of(b32("s"))
    message = charge_message(line_hash, leaf.private_hash, lock, leaf.frank, leaf.lane.lane_pk)
    forged = structs.replace(leaf, lock=lock, signature=sign(key("forger"), message))
    assert fault(relay_with([forged]), make_records(RELAY, BUSINESS, [forged])).where == "line 1"


# The head alone


def test_the_head() -> None:
    head = INVOICE.head
    assert open_head(packed_head(head)) == head
    head.verify(public(RELAY.operator), RELAY.id)
    with pytest.raises(SignatureError):
        head.verify(public(RELAY.operator), OTHER_RELAY.id)
    other: dict[type, Any] = {bytes: b32("x"), int: 77, str: "EUR", Party: Party("Other Ltd")}
    for name in head.__struct_fields__[:-1]:
        changed = structs.replace(head, **{name: other[type(getattr(head, name))]})
        with pytest.raises(SignatureError):
            changed.verify(public(RELAY.operator), RELAY.id)
    with pytest.raises(MalformedError):
        open_head(b"")
    with pytest.raises(TooLargeError):
        open_head(bytes(8_193))
    with pytest.raises(MalformedError) as caught:
        open_head(bytes(8_192))
    assert not isinstance(caught.value, TooLargeError)
    with pytest.raises(MalformedError):
        open_head(packed_head(structs.replace(head, buyer=Party("a\nb"))))
    empty = head_for(BUSINESS.id, 202601, TODAY, [], RELAY.id, {})
    assert (empty.signature, empty.issued_day) == (bytes(64), TODAY + 1)
    assert empty.number == f"2026-01-{BUSINESS.id.hex()[:8]}-1"


def test_layout_of_the_head() -> None:
    hashes = (b32("l"), b32("a"), b32("c"))
    head = InvoiceHead(
        b32("b"), 1, 2, 3, 4, "USD", SELLER, BUYER, 5, 6, 7, 8, 9, *hashes, bytes(64)
    )
    expected = b"kurir/invoice/1\0" + RELAY.id + b32("b")
    expected += b"".join(number.to_bytes(4, "big") for number in (1, 2, 3, 4)) + b"USD"
    for party in (SELLER, BUYER):
        fields = [party.legal_name, party.address, party.tax_id, party.notes]
        expected += sha256(b"kurir/invoice-party/1\0" + packb(fields)).digest()
    expected += b"".join(number.to_bytes(8, "big") for number in (5, 6, 7, 8, 9))
    assert invoice_message(RELAY.id, head) == expected + b"".join(hashes)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=6, unique=True), st.randoms())
def test_lines_hash(names: list[Any], random: Any) -> None:
    one = lines_hash(names)
    random.shuffle(names)
    assert lines_hash(names) == one
    assert lines_hash([*names, hash_of("x")]) != one
    if names:
        assert lines_hash(names[1:]) != one
        assert lines_hash([*names, names[0]]) != one


@pytest.mark.parametrize(
    ("day", "month"),
    [(0, 197001), (30, 197001), (31, 197002), (20_453, 202512), (20_454, 202601), (20_512, 202602)],
)
def test_months(day: int, month: int) -> None:
    assert month_of_day(day) == month


def test_days() -> None:
    assert show_day(0) == "1970-01-01"
    assert show_day(20_454) == "2026-01-01"
    assert show_day(2**32 - 1) == "day 4294967295"
    assert month_of_day(2**32 - 1) > 209912


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_months_charges(data: st.DataObject) -> None:
    markets = st.sampled_from(["ID", "DE", "OTHER", "FR"])
    facts = data.draw(
        st.lists(st.tuples(markets, st.booleans(), st.integers(TODAY - 14, TODAY + 16)), max_size=6)
    )
    leaves, total = [], 0
    for number, (market, free, day) in enumerate(facts):
        line = make_line(market, Class.IN_WINDOW if free else Class.OUT_OF_WINDOW)
        leaves.append(make_leaf(RELAY, BUSINESS, str(number), line, day))
        utility = {"ID": 25_000, "DE": 55_000}.get(market, 7_700)
        total += 0 if free else utility
    invoice = relay_with(in_file_order(RELAY, leaves), through=TODAY + 16)
    verify_invoice(invoice, make_records(RELAY, BUSINESS, leaves))
    assert invoice.head.total_micro_usd == total


def test_no_opener_in_this_tariff() -> None:
    assert all(leaf.line.opener == NO_HASH for leaf in LEAVES)
