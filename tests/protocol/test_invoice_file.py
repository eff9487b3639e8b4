"""The file form: nothing is lost, everything has one spelling, and every edit is found."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from kurir_billing.adjust import Adjust
from kurir_billing.adjusted import Adjustment
from kurir_billing.charge import Line
from kurir_billing.dates import MAX_DAY
from kurir_billing.errors import InvoiceError
from kurir_billing.head import InvoiceHead
from kurir_billing.invoice import Invoice, Records
from kurir_billing.invoice_file import from_json, to_json
from kurir_billing.kinds import Category, Class
from kurir_billing.lane import Lane
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import PlaceInLedger
from kurir_billing.party import Party
from kurir_billing.report import Report
from kurir_billing.standing import Standing
from kurir_billing.summary import Group
from kurir_billing.total import Why
from kurir_billing.verify import verify_invoice
from kurir_wire.codec import pack
from kurir_wire.ids import Hash
from kurir_wire.relaycert import RelayCert
from tests.protocol.anything import any_of
from tests.protocol.make import (
    TestBusiness,
    TestRelay,
    b32,
    make_invoice,
    make_leaves,
    make_line,
    make_records,
)

RELAY = TestRelay()
BUSINESS = TestBusiness()
LEAVES = make_leaves(RELAY, BUSINESS)
INVOICE = make_invoice(RELAY, BUSINESS, LEAVES)
RECORDS = make_records(RELAY, BUSINESS, LEAVES)
KEPT = replace(RECORDS, heads={INVOICE.head.number: INVOICE.head})
"""Of a business that saw the invoice before."""
FILE = to_json(INVOICE)
assert INVOICE.standing is not None
STANDING = INVOICE.standing
VALUE = json.loads(FILE)

ascii_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=8)
days = st.integers(0, MAX_DAY)


@st.composite
def lines(draw: st.DrawFn) -> Line:
    return structs.replace(
        draw(any_of(Line)),
        market=draw(ascii_text),
        tariff=draw(ascii_text),
        category=int(draw(st.sampled_from(Category))),
        klass=int(draw(st.sampled_from(Class))),
    )


@st.composite
def invoices(draw: st.DrawFn) -> Invoice:
    """Any invoice that has a file form, honest or not."""
    lanes = draw(st.lists(any_of(Lane), min_size=1, max_size=3))
    leaves = draw(
        st.lists(
            st.builds(
                lambda leaf, line, day, lane: structs.replace(
                    leaf, line=line, settled_day=day, lane=lane
                ),
                any_of(Leaf),
                lines(),
                days,
                st.sampled_from(lanes),
            ),
            max_size=4,
        )
    )
    month = draw(st.integers(0, 9_999)) * 100 + draw(st.integers(1, 12))
    head = structs.replace(
        draw(any_of(InvoiceHead)),
        month=month,
        revision=draw(st.integers(1, 999_999_999)),
        issued_day=draw(days),
        through_day=draw(days),
        currency="USD",
        seller=draw(parties),
        buyer=draw(parties),
    )
    adjustments = draw(st.lists(adjustments_of(head.business_id), max_size=2))
    cards = draw(st.lists(st.binary(min_size=1, max_size=99), max_size=2))
    return Invoice(
        draw(any_of(RelayCert)),
        head,
        tuple(leaves),
        tuple(cards),
        draw(standings(len(leaves)) if leaves or adjustments else st.none() | standings(0)),
        tuple(adjustments),
        tuple(draw(st.lists(st.binary(min_size=32, max_size=32).map(Hash), max_size=2))),
        tuple(draw(st.lists(groups, max_size=2))),
    )


names = st.sampled_from(["PT Metro Bus", 'A "quoted" \\ name', "مطعم", "👩\u200d💻", "<b>&"])
some = st.lists(names, max_size=6)
parties = st.builds(Party, names | st.just(""), some, names | st.just(""), some)
numbers = st.integers(0, 2**63 - 1)
groups = st.builds(
    Group,
    ascii_text,
    ascii_text,
    st.sampled_from(Category),
    st.sampled_from(Class),
    st.sampled_from(Why),
    numbers,
    st.integers(0, 10**9),
    st.integers(0, 10**9),
)


@st.composite
def adjustments_of(draw: st.DrawFn, business_id: bytes) -> Adjustment:
    adjust = structs.replace(
        draw(any_of(Adjust)),
        business_id=business_id,
        day=draw(days),
        category=int(draw(st.sampled_from(Category))),
    )
    place = draw(st.builds(PlaceInLedger, numbers, proofs))
    return Adjustment(adjust, draw(any_of(Leaf)), draw(st.none() | any_of(Report)), place)


proofs = st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple)
notes = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).map(str.encode)


@st.composite
def standings(draw: st.DrawFn, lines: int) -> Standing:
    place = st.builds(PlaceInLedger, st.integers(0, 2**63 - 1), proofs)
    places = draw(st.lists(place, min_size=lines, max_size=lines))
    return Standing(draw(notes), tuple(places), draw(st.none() | notes), draw(proofs))


@settings(deadline=None)
@given(invoices())
def test_round_trip(invoice: Invoice) -> None:
    data = to_json(invoice)
    again = from_json(data)
    assert again == invoice
    assert to_json(again) == data


def test_an_honest_file() -> None:
    verify_invoice(from_json(FILE), RECORDS)


def test_what_a_person_sees() -> None:
    header = {name: VALUE[name] for name in VALUE if name not in ("groups", "lines")}
    assert VALUE["groups"][0] == {
        "market": "DE",
        "tariff": "reply-2018",
        "category": "none",
        "class": "out_of_window",
        "why": "list",
        "list_price_micro_usd": 55_000,
        "unit_price_micro_usd": 55_000,
        "count": 2,
        "amount_micro_usd": 110_000,
    }
    assert header == {
        "format": "kurir-invoice/3",
        "number": f"2026-01-{BUSINESS.id.hex()[:8]}-1",
        "issued": "2026-01-18",
        "relay": RELAY.id.hex(),
        "seller": {
            "legal_name": "Kurir Relay Ltd",
            "address": ["1 Harbour Street", "Tanjung Priok"],
            "tax_id": "01.234.567.8",
            "notes": ["IBAN XX00 1234"],
        },
        "business": BUSINESS.id.hex(),
        "buyer": {
            "legal_name": "PT Metro Bus",
            "address": ["Jalan Terminal 2", "Jakarta"],
            "tax_id": "09.876.543.2",
            "notes": [],
        },
        "month": "2026-01",
        "through": "2026-01-17",
        "currency": "USD",
        "count": 5,
        "subtotal_micro_usd": 160_000,
        "fee_micro_usd": 0,
        "adjustments_micro_usd": 0,
        "total_micro_usd": 160_000,
        "lines_hash": INVOICE.head.lines_hash.hex(),
        "adjustments_hash": INVOICE.head.adjustments_hash.hex(),
        "charged_hash": INVOICE.head.charged_hash.hex(),
        "signature": base64.b64encode(INVOICE.head.signature).decode(),
        "certificate": base64.b64encode(pack(INVOICE.cert)).decode(),
        "checkpoint": STANDING.checkpoint.decode(),
        "since": (STANDING.since or b"").decode(),
        "growth": [step.hex() for step in STANDING.growth],
        "charged": [],
        "rate_cards": [base64.b64encode(INVOICE.rate_cards[0]).decode()],
        "lanes": [base64.b64encode(pack(LEAVES[0].lane)).decode()],
        "adjustments": [],
    }
    assert VALUE["lines"][1] == {
        "day": "2026-01-13",
        "market": "DE",
        "tariff": "reply-2018",
        "category": "none",
        "class": "out_of_window",
        "list_price_micro_usd": 55_000,
        "rate_card": make_line().rate_card.hex(),
        "opener": None,
        "private": LEAVES[1].private_hash.hex(),
        "lock": LEAVES[1].lock.hex(),
        "frank": LEAVES[1].frank.hex(),
        "secret": LEAVES[1].secret.hex(),
        "lane": 1,
        "listed": None,
        "signature": base64.b64encode(LEAVES[1].signature).decode(),
        "index": STANDING.places[1].index,
        "proof": [step.hex() for step in STANDING.places[1].proof],
    }
    arabic = to_json(named("مطعم")).decode()
    assert '\n  "legal_name": "مطعم",\n' in arabic
    rows = [row for row in FILE.decode().splitlines() if row.startswith("  {")]
    assert len(rows) == 3 + 5
    assert FILE.endswith(b"\n}\n")


def named(name: str) -> Invoice:
    buyer = structs.replace(INVOICE.head.buyer, legal_name=name)
    return replace(INVOICE, head=structs.replace(INVOICE.head, buyer=buyer))


def fault(data: bytes, records: Records = RECORDS) -> InvoiceError:
    """What reading and verifying say of a file."""
    with pytest.raises(InvoiceError) as caught:
        verify_invoice(from_json(data), records)
    return caught.value


# Where each part of the file is, by its text line: a header field, or "line N".
def places() -> list[tuple[int, int, set[str]]]:
    found, start = [], 0
    counts = {"groups": 0, "lines": 0}
    aliases = {
        "rate_cards": {"rate card 1"},
        "lanes": {"lane 1", "line 1", "lanes"},
        # The relay's own key is part of its certificate.
        "certificate": {"certificate", "relay"},
    }
    inside = ""
    for row in FILE.decode().splitlines(keepends=True):
        end = start + len(row.encode())  # a note has a dash that is more than a byte
        if row.startswith(' "'):
            inside = row.split('"')[1]
        expected = aliases.get(inside, {inside, inside.removesuffix("_micro_usd")})
        if row.startswith("  {"):
            counts[inside] += 1
            expected = {f"{inside.removesuffix('s')} {counts[inside]}"}
        found.append((start, end, expected))
        start = end
    return found


PLACES = places()


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_one_changed_letter_is_found_where_it_stands(data: st.DataObject) -> None:
    start, end, expected = data.draw(st.sampled_from(PLACES))
    values = [n for n in range(start, end) if FILE[n : n + 1].isalnum()]
    if not values:
        return
    place = data.draw(st.sampled_from(values))
    letter = data.draw(st.sampled_from(b"0123456789abcdefABCDEFxyzXYZ"))
    if letter == FILE[place]:
        return
    found = fault(FILE[:place] + bytes([letter]) + FILE[place + 1 :], KEPT)
    text_line = FILE[:place].count(b"\n") + 1
    # A changed name shows as a missing or a second field ("lines" becomes "lanes"), a broken number
    # or null as a line of the text.
    if found.where not in expected and found.where != f"file, text line {text_line}":
        assert found.what.endswith(("is missing", "stands there twice"))


@settings(deadline=None)
@given(st.data())
def test_one_changed_digit_of_money_is_named(data: st.DataObject) -> None:
    number = data.draw(st.integers(1, 5))
    value = json.loads(FILE)
    row = value["lines"][number - 1]
    digits = list(str(row["list_price_micro_usd"]))
    place = data.draw(st.integers(0, len(digits) - 1))
    digits[place] = data.draw(st.sampled_from("0123456789"))
    price = int("".join(digits))
    if price == row["list_price_micro_usd"]:
        return
    was, row["list_price_micro_usd"] = row["list_price_micro_usd"], price
    found = fault(json.dumps(value).encode())
    assert found.where == f"line {number}"
    assert found.what == f"list_price says {price} where you signed {was}"


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(FILE)
    change(value)
    return json.dumps(value).encode()


EDITS: list[tuple[str, Callable[[dict[str, Any]], object]]] = [
    ("format", lambda v: v.update(format="kurir-invoice/2")),
    ("format", lambda v: v.update(format=1)),
    ("relay", lambda v: v.update(relay=b32("x").hex())),
    ("relay", lambda v: v.update(relay=v["relay"].upper())),
    ("relay", lambda v: v.update(relay=v["relay"][:2] + " " + v["relay"][2:])),
    ("relay", lambda v: v.update(relay=v["relay"][:-2])),
    ("business", lambda v: v.update(business=b32("x").hex())),
    ("business", lambda v: v.update(business=v["business"][:-1] + "0")),
    ("number", lambda v: v.update(number=v["number"][:-1] + "2")),
    ("number", lambda v: v.update(number=v["number"][:-1] + "0")),
    ("number", lambda v: v.update(number=v["number"][:-1] + "02")),
    ("number", lambda v: v.update(number="2026-02" + v["number"][7:])),
    ("number", lambda v: v.update(number=v["number"][:8] + "x" + v["number"][9:])),
    ("number", lambda v: v.update(number=1)),
    ("issued", lambda v: v.update(issued="2026-01-19")),
    ("issued", lambda v: v.update(issued="2026-01-17")),
    ("buyer", lambda v: v["buyer"].update(legal_name="PT Metro Buss")),
    ("buyer", lambda v: v["buyer"].update(legal_name="\x1b[2J")),
    ("buyer", lambda v: v["buyer"].update(legal_name="x" * 65)),
    ("buyer", lambda v: v["buyer"].update(legal_name="\ud800")),
    ("buyer", lambda v: v["buyer"].update(legal_name="")),
    ("buyer", lambda v: v["buyer"].update(legal_name=None)),
    ("buyer", lambda v: v["buyer"].update(paid=True)),
    ("buyer", lambda v: v["buyer"].pop("notes")),
    ("buyer", lambda v: v["buyer"].update(address="Jakarta")),
    ("buyer", lambda v: v["buyer"].update(address=[1])),
    ("buyer", lambda v: v["buyer"].update(address=[""])),
    ("buyer", lambda v: v["buyer"].update(address=["x"] * 7)),
    ("buyer", lambda v: v.update(buyer=None)),
    ("seller", lambda v: v["seller"].update(tax_id="a\u202eb")),
    ("seller", lambda v: v["seller"].update(tax_id=1)),
    ("signature", lambda v: v["seller"].update(legal_name="Another Ltd")),
    ("signature", lambda v: v["seller"]["notes"].append("pay to somebody else")),
    ("signature", lambda v: v["buyer"].update(tax_id=None)),
    ("subtotal", lambda v: v.update(subtotal_micro_usd=160_001)),
    ("fee", lambda v: v.update(fee_micro_usd=1)),
    ("adjustments", lambda v: v.update(adjustments_micro_usd=1)),
    ("adjustments_hash", lambda v: v.update(adjustments_hash=b32("x").hex())),
    ("charged_hash", lambda v: v.update(charged_hash=b32("x").hex())),
    ("charged", lambda v: v.update(charged=[b32("x").hex()])),
    ("charged", lambda v: v.update(charged=[1])),
    ("group 1", lambda v: v["groups"].pop(0)),
    ("group 3", lambda v: v["groups"].pop()),
    ("group 4", lambda v: v["groups"].append(v["groups"][0])),
    ("group 1", lambda v: v["groups"].reverse()),
    ("group 2", lambda v: v["groups"][1].update(count=0, amount_micro_usd=0)),
    ("group 2", lambda v: v["groups"][1].update(amount_micro_usd=1)),
    ("group 2", lambda v: v["groups"][1].update(why="gift")),
    ("group 2", lambda v: v["groups"][1].update(why="tier")),
    ("adjustments", lambda v: v.update(adjustments=None)),
    ("adjustment 1", lambda v: v.update(adjustments=[{}])),
    ("month", lambda v: v.update(month="2026-02")),
    ("month", lambda v: v.update(month="2026-13")),
    ("month", lambda v: v.update(month="2026-00")),
    ("month", lambda v: v.update(month="2026-1")),
    ("month", lambda v: v.update(month="202601")),
    ("month", lambda v: v.update(month="٢026-01")),
    ("month", lambda v: v.update(month="2026-01\n")),
    ("month", lambda v: v.update(month=202601)),
    ("through", lambda v: v.update(through="2026-01-18")),
    ("through", lambda v: v.update(through="2026-01-16")),
    ("through", lambda v: v.update(through="2026-01-32")),
    ("through", lambda v: v.update(through="20260117")),
    ("through", lambda v: v.update(through="2026-W03-6")),
    ("through", lambda v: v.update(through="1969-12-31")),
    ("through", lambda v: v.update(through="")),
    ("currency", lambda v: v.update(currency="EUR")),
    ("count", lambda v: v.update(count=4)),
    ("count", lambda v: v.update(count=5.0)),
    ("count", lambda v: v.update(count="5")),
    ("count", lambda v: v.update(count=True)),
    ("count", lambda v: v.update(count=-5)),
    ("count", lambda v: v.update(count=2**63)),
    ("total", lambda v: v.update(total_micro_usd=160_001)),
    ("total_micro_usd", lambda v: v.update(total_micro_usd=2**63)),
    ("total_micro_usd", lambda v: v.update(total_micro_usd=float("nan"))),
    ("lines_hash", lambda v: v.update(lines_hash=b32("x").hex())),
    ("signature", lambda v: v.update(signature="A" * 86 + "==")),
    ("signature", lambda v: v.update(signature="AAAA")),
    ("signature", lambda v: v.update(signature=v["signature"].rstrip("="))),
    ("signature", lambda v: v.update(signature=v["signature"] + "\n")),
    ("certificate", lambda v: v.update(certificate="AAAA")),
    ("certificate", lambda v: v.update(certificate=1)),
    ("checkpoint", lambda v: v.update(checkpoint=None)),
    ("checkpoint", lambda v: v.update(checkpoint="")),
    ("checkpoint", lambda v: v.update(checkpoint="x" * 2_049)),
    ("checkpoint", lambda v: v.update(checkpoint="\ud800")),
    ("checkpoint", lambda v: v.update(checkpoint=v["checkpoint"] + "\n")),
    ("line 1", lambda v: v.update(checkpoint=v["since"])),
    ("since", lambda v: v.update(since=7)),
    ("since", lambda v: v.update(since=v["since"].replace("\n2\n", "\n3\n"))),
    ("growth", lambda v: v.update(since=None)),
    ("growth", lambda v: v.update(since=v["checkpoint"])),
    ("growth", lambda v: v.update(growth=None)),
    ("growth", lambda v: v.update(growth=[1])),
    ("growth", lambda v: v.update(growth=v["growth"][1:])),
    ("growth", lambda v: v.update(growth=[v["growth"][0].upper(), *v["growth"][1:]])),
    ("growth", lambda v: v.update(growth=v["growth"] * 64)),
    ("line 2", lambda v: v["lines"][1].update(index=v["lines"][0]["index"])),
    ("line 2", lambda v: v["lines"][1].update(index=-1)),
    ("line 2", lambda v: v["lines"][1].update(index=1.0)),
    ("line 2", lambda v: v["lines"][1].update(proof=v["lines"][0]["proof"])),
    ("line 2", lambda v: v["lines"][1].update(proof=[])),
    ("line 2", lambda v: v["lines"][1].update(proof="00" * 32)),
    ("line 2", lambda v: v["lines"][1]["proof"].append("00" * 32)),
    ("line 2", lambda v: v["lines"][1].pop("proof")),
    ("rate_cards", lambda v: v.update(rate_cards={})),
    ("rate card 1", lambda v: v.update(rate_cards=["AAAA"])),
    ("rate card 1", lambda v: v.update(rate_cards=[None])),
    ("rate card 2", lambda v: v["rate_cards"].append("AA==")),
    ("line 1", lambda v: v.update(rate_cards=[])),
    ("line 1", lambda v: v.update(lanes=[])),
    ("lanes", lambda v: v.update(lanes=None)),
    ("lane 1", lambda v: v.update(lanes=["AAAA"])),
    ("lane 2", lambda v: v["lanes"].append(v["lanes"][0])),
    ("lines", lambda v: v["lines"].pop()),
    ("lines", lambda v: v.update(lines={})),
    ("lines", lambda v: v.pop("lines")),
    ("line 6", lambda v: v["lines"].append(v["lines"][0])),
    ("line 6", lambda v: v["lines"].append(1)),
    ("line 6", lambda v: v["lines"].append({})),
    ("note", lambda v: v.update(note="paid")),
    ("line 2", lambda v: v["lines"][1].update(note="paid")),
    ("line 2", lambda v: v["lines"][1].update(day="2026-01-14")),
    ("line 2", lambda v: v["lines"][1].update(day="2026-02-13")),
    ("line 2", lambda v: v["lines"][1].update(day="9999-12-31")),
    ("line 2", lambda v: v["lines"][1].update(day=20_466)),
    ("line 2", lambda v: v["lines"][1].update(market="ID")),
    ("line 2", lambda v: v["lines"][1].update(market="")),
    ("line 2", lambda v: v["lines"][1].update(market="TOOLONG99")),
    ("line 2", lambda v: v["lines"][1].update(tariff="reply-2019")),
    ("line 2", lambda v: v["lines"][1].update(category="utility")),
    ("line 2", lambda v: v["lines"][1].update(category="NONE")),
    ("line 2", lambda v: v["lines"][1].update(category=0)),
    ("line 2", lambda v: v["lines"][1].update({"class": "in_window"})),
    ("line 2", lambda v: v["lines"][1].update({"class": "free"})),
    ("line 2", lambda v: v["lines"][1].update(list_price_micro_usd=55_001)),
    ("line 2", lambda v: v["lines"][1].update(list_price_micro_usd="55000")),
    ("line 2", lambda v: v["lines"][1].update(list_price_micro_usd=False)),
    ("line 2", lambda v: v["lines"][1].update(rate_card=b32("x").hex())),
    ("line 2", lambda v: v["lines"][1].update(opener=b32("x").hex())),
    ("line 2", lambda v: v["lines"][1].update(opener="00" * 32)),
    ("line 2", lambda v: v["lines"][1].update(opener="")),
    ("line 2", lambda v: v["lines"][1].update(opener=0)),
    ("line 2", lambda v: v["lines"][1].update(private=b32("x").hex())),
    ("line 2", lambda v: v["lines"][1].update(lock=b32("x").hex())),
    ("line 2", lambda v: v["lines"][1].update(secret=b32("x").hex())),
    ("line 2", lambda v: v["lines"][1].update(lane=0)),
    ("line 2", lambda v: v["lines"][1].update(lane=2)),
    ("line 2", lambda v: v["lines"][1].update(lane=True)),
    ("line 2", lambda v: v["lines"][1].update(signature="A" * 86 + "==")),
    ("line 2", lambda v: v["lines"][1].pop("opener")),
]


@pytest.mark.parametrize(("where", "change"), EDITS)
def test_edits(where: str, change: Callable[[dict[str, Any]], object]) -> None:
    assert fault(edited(change)).where == where


def in_line(**fields: object) -> bytes:
    return edited(lambda value: value["lines"][1].update(fields))


@pytest.mark.parametrize(
    ("data", "where", "what"),
    [
        (b"[]", "file", "is not a JSON object"),
        (edited(lambda v: v.update({"x" * 40: 1})), "x" * 40, "is not a field of an invoice"),
        (edited(lambda v: v.update({"x" * 41: 1})), "x" * 40, "is not a field of an invoice"),
        (edited(lambda v: v.update({"\x1b[2J": 1})), r"'\x1b[2J'", "is not a field of an invoice"),
        (
            edited(lambda v: v.update({"\x07" * 41: 1})),
            "'" + r"\x07" * 40 + "'",
            "is not a field of an invoice",
        ),
        (
            edited(lambda v: v.update({"x" * 40 + "\x07": 1})),
            "x" * 40,
            "is not a field of an invoice",
        ),
        (
            edited(lambda v: v.update(certificate="A" * 2_732)),
            "certificate",
            "cannot be read: 2049 bytes where at most 2048 are allowed",
        ),
        (
            edited(lambda v: v.update(certificate="A" * 2_731 + "=")),
            "certificate",
            "cannot be read: not valid msgpack, or longer than a list may be",
        ),
        (in_line(note=1), "line 2", "note: is not a field of an invoice"),
        (in_line(market="Ä"), "line 2", "a market is 1 to 8 printable ASCII characters"),
        (in_line(opener="x"), "line 2", "opener: is not 32 bytes in lower-case hex"),
        (in_line(opener=0), "line 2", "opener: is neither a hash in hex nor null"),
        (in_line(opener="00" * 32), "line 2", "opener: is neither a hash in hex nor null"),
        (in_line(signature="AAAA"), "line 2", "signature: is not 64 bytes in base64"),
        (in_line(signature="?"), "line 2", "signature: is not base64"),
        (in_line(signature=1), "line 2", "signature: is not base64"),
        (
            in_line(**{"class": "free"}),
            "line 2",
            "class: is none of in_window, out_of_window, entry",
        ),
        (edited(lambda v: v.update(signature="AAAA")), "signature", "is not 64 bytes in base64"),
        (edited(lambda v: v.update(signature="?")), "signature", "is not base64"),
        (edited(lambda v: v.update(lanes=["?"])), "lane 1", "is not base64"),
    ],
)
def test_what_is_wrong_is_told(data: bytes, where: str, what: str) -> None:
    found = fault(data)
    assert (found.where, found.what) == (where, what)


def test_base64_has_one_spelling() -> None:
    # The last letter before the padding has four bits that decoders ignore.
    signature = VALUE["lines"][1]["signature"]
    assert signature.endswith("==")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    other = signature[:-3] + letters[letters.index(signature[-3]) ^ 1] + "=="
    assert base64.b64decode(other, validate=True) == base64.b64decode(signature)
    for spelling in (
        other,
        signature[:40] + "\n" + signature[40:],
        signature[:40] + "-" + signature[40:],
    ):
        found = fault(in_line(signature=spelling))
        assert (found.where, found.what) == ("line 2", "signature: is not base64")


@pytest.mark.parametrize("length", [1, 64])
def test_names_at_the_limits(length: int) -> None:
    invoice = named("x" * length)
    assert from_json(to_json(invoice)) == invoice


def test_the_largest_numbers() -> None:
    head = structs.replace(INVOICE.head, count=2**63 - 1, total_micro_usd=2**63 - 1)
    invoice = replace(INVOICE, head=structs.replace(head, through_day=MAX_DAY, month=999912))
    assert from_json(to_json(invoice)) == invoice
    first = replace(INVOICE, head=structs.replace(head, through_day=0, month=197001))
    assert from_json(to_json(first)) == first


@pytest.mark.parametrize("name", [*VALUE])
def test_a_missing_field(name: str) -> None:
    found = fault(edited(lambda value: value.pop(name)))
    assert (found.where, found.what) == (name, "is missing")


@pytest.mark.parametrize("name", [*VALUE["lines"][0]])
def test_a_missing_field_of_a_line(name: str) -> None:
    found = fault(edited(lambda value: value["lines"][2].pop(name)))
    assert (found.where, found.what) == ("line 3", f"{name}: is missing")


def test_a_repeated_field() -> None:
    # Most readers keep the last and show the first to nobody.
    top = FILE.replace(b' "total_micro_usd": 160000', b' "count": 1, "total_micro_usd": 160000')
    found = fault(top)
    assert (found.where, found.what) == ("count", "stands there twice")
    twice = FILE.replace(b'"market": "DE"', b'"market": "ID", "market": "DE"', 2)
    assert fault(twice).where == "group 1"
    found = fault(FILE.replace(b'"lane": 1', b'"lane": 1, "lane": 1', 1))
    assert (found.where, found.what) == ("line 1", "lane: stands there twice")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"1",
        b"\xff",
        b"\xef\xbb\xbf" + FILE,
        FILE.decode().encode("utf-16"),
        FILE[:-3],
        FILE + b"x",
        b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"count":' + b"9" * 10_000 + b"}",
    ],
    ids=lambda data: repr(data[:12]),
)
def test_not_a_file(data: bytes) -> None:
    found = fault(data)
    assert found.where.startswith("file") or found.where == "format"


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_any_value_anywhere(data: st.DataObject) -> None:
    value = json.loads(FILE)
    anything = st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=80)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
        ),
        max_leaves=5,
    )
    place = data.draw(st.sampled_from([value, value["lines"][0]]))
    name = data.draw(st.sampled_from([*place]))
    was = place[name]
    place[name] = data.draw(anything)
    if place[name] == was:
        return
    with pytest.raises(InvoiceError):
        verify_invoice(from_json(json.dumps(value).encode()), RECORDS)


@given(st.one_of(st.binary(max_size=50), st.text(max_size=50).map(str.encode)))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(InvoiceError):
        from_json(data)


def test_a_certificate_in_another_spelling() -> None:
    packed = pack(INVOICE.cert)
    assert packed[:3] == b"\x99\xc4\x20"
    longer = base64.b64encode(b"\x98\xc5\x00\x20" + packed[3:]).decode()
    assert fault(edited(lambda value: value.update(certificate=longer))).where == "certificate"


def with_lines(*leaves: Leaf) -> Invoice:
    """Other lines at the places of the first ones."""
    standing = replace(STANDING, places=STANDING.places[: len(leaves)])
    return replace(INVOICE, leaves=leaves, standing=standing)


@pytest.mark.parametrize(
    ("where", "invoice"),
    [
        ("lines", replace(INVOICE, standing=None)),
        ("lines", replace(INVOICE, standing=replace(STANDING, places=()))),
        ("checkpoint", replace(INVOICE, standing=replace(STANDING, checkpoint=b"\xff"))),
        ("buyer", named("\ud800")),
        ("buyer", named("a\nb")),
        ("month", replace(INVOICE, head=structs.replace(INVOICE.head, month=202613))),
        ("month", replace(INVOICE, head=structs.replace(INVOICE.head, month=2**32 - 1))),
        ("through", replace(INVOICE, head=structs.replace(INVOICE.head, through_day=2**32 - 1))),
        ("line 1", with_lines(structs.replace(LEAVES[0], settled_day=2**32 - 1))),
        (
            "line 1",
            with_lines(structs.replace(LEAVES[0], line=make_line("OTHER", price=1))),
        ),
    ],
)
def test_what_has_no_file_form(where: str, invoice: Invoice) -> None:
    if where == "line 1" and invoice.leaves[0].settled_day == LEAVES[0].settled_day:
        line = structs.replace(LEAVES[0].line, category=77)
        invoice = replace(invoice, leaves=(structs.replace(LEAVES[0], line=line),))
    with pytest.raises(InvoiceError) as caught:
        to_json(invoice)
    assert caught.value.where == where


def test_lanes_are_listed_once_in_order_of_use() -> None:
    other = structs.replace(LEAVES[1], lane=BUSINESS.lane(not_after=1))
    value = json.loads(to_json(with_lines(LEAVES[0], other, LEAVES[2])))
    assert [row["lane"] for row in value["lines"]] == [1, 2, 1]
    assert len(value["lanes"]) == 2
    value["lanes"].reverse()
    for row in value["lines"]:
        row["lane"] = 3 - row["lane"]
    with pytest.raises(InvoiceError) as caught:
        from_json(json.dumps(value).encode())
    assert caught.value.where == "line 1"
    for row in value["lines"]:
        row["lane"] = 3 - row["lane"]
    value["lanes"][1] = value["lanes"][0]
    with pytest.raises(InvoiceError) as caught:
        from_json(json.dumps(value).encode())
    assert caught.value.where == "lanes"
