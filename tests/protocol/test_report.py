"""Reports: what a franking tag commits to, and every way to forge a report or its ruling."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kurir_billing.adjust import (
    Adjust,
    adjust_message,
    check_adjust,
    check_ruling,
    delta_for,
    open_adjust,
    packed_adjust,
)
from kurir_billing.charge import Line, lock_of
from kurir_billing.errors import EvidenceError
from kurir_billing.kinds import Category, Class
from kurir_billing.leaf import Leaf
from kurir_billing.report import (
    ADJUST_DAYS,
    Complaint,
    Report,
    Said,
    check_report,
    frank_tag,
    open_complaint,
    open_report,
    packed_report,
    place_hash,
)
from kurir_client.content import TEXT, Content, franked_bytes
from kurir_wire.codec import pack
from kurir_wire.errors import MalformedError
from kurir_wire.ids import BusinessId, EnvelopeId, Hash, MailboxId, RelayId
from kurir_wire.limits import BUCKETS, MAX_REPORT_REASON
from tests.protocol.make import TestBusiness, TestRelay, b16, b32, public, sign
from tests.protocol.reported import CARD, labelled, make_reported, resigned

RELAY, OTHER_RELAY = TestRelay(), TestRelay("other relay")
SHOP, RIVAL = TestBusiness(), TestBusiness("rival")
GOOD = make_reported(RELAY, SHOP)
OPERATOR = public(RELAY.operator)
KF = bytes(range(32))
R, B, PLACE = RelayId(b"r" * 32), BusinessId(b"b" * 32), Hash(b"p" * 32)
P = b"Your bus leaves at 9"


# The tag


def test_the_tag_and_the_place_follow_the_document() -> None:
    place = hashlib.sha256(b"kurir/place/1\0" + b"m" * 32 + b"e" * 16).digest()
    assert place_hash(MailboxId(b"m" * 32), EnvelopeId(b"e" * 16)) == place
    message = b"kurir/frank/1\0" + R + B + PLACE + b"\x02" + P
    assert frank_tag(KF, R, B, PLACE, 2, P) == hmac.new(KF, message, hashlib.sha256).digest()


@pytest.mark.parametrize("which", range(6))
def test_everything_changes_the_tag(which: int) -> None:
    fields: list[Any] = [KF, R, B, PLACE, 2, P]
    before = frank_tag(*fields)
    old = fields[which]
    fields[which] = 3 if isinstance(old, int) else old[:-1] + b"?"
    assert frank_tag(*fields) != before


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("change", [b"", b"x"])
def test_fields_of_the_tag_have_fixed_widths(which: int, change: bytes) -> None:
    fields: list[Any] = [KF, R, B, PLACE, 2, P]
    fields[which] = fields[which] + change if change else fields[which][:-1]
    with pytest.raises(ValueError, match="32 bytes has"):
        frank_tag(*fields)


@pytest.mark.parametrize("category", [-1, 256])
def test_a_category_is_one_byte(category: int) -> None:
    with pytest.raises(ValueError, match="one byte"):
        frank_tag(KF, R, B, PLACE, category, P)
    for fits in (0, 255):
        frank_tag(KF, R, B, PLACE, fits, P)


# Proof


def test_an_honest_report_shows_the_message_and_no_place() -> None:
    said = check_report(GOOD.report, GOOD.leaf, RELAY.id)
    assert said.text == "50% off all seats to Jakarta!"
    assert open_report(packed_report(GOOD.report)) == GOOD.report
    assert b32("reported mailbox") not in packed_report(GOOD.report)
    assert b16("reported envelope") not in packed_report(GOOD.report)
    assert "off" not in repr((GOOD.report, Complaint(GOOD.report, 3, "an ad"), said))


@given(st.data())
def test_no_change_of_a_report_is_proved(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(Report.__struct_fields__))
    old = getattr(GOOD.report, name)
    if isinstance(old, int):
        changed: Any = data.draw(st.integers(0, 255).filter(lambda value: value != old))
    elif name == "content":
        changed = data.draw(st.binary(min_size=1, max_size=200).filter(lambda value: value != old))
    else:
        at, bit = data.draw(st.integers(0, len(old) - 1)), data.draw(st.integers(0, 7))
        changed = old[:at] + bytes([old[at] ^ 1 << bit]) + old[at + 1 :]
    with pytest.raises(EvidenceError):
        check_report(replace(GOOD.report, **{name: changed}), GOOD.leaf, RELAY.id)


@given(
    st.sampled_from(["private_hash", "lock", "frank", "secret", "signature"]), st.integers(0, 31)
)
def test_no_change_of_a_leaf_is_proved(name: str, at: int) -> None:
    old = getattr(GOOD.leaf, name)
    changed = old[:at] + bytes([old[at] ^ 1]) + old[at + 1 :]
    with pytest.raises(EvidenceError):
        check_report(GOOD.report, replace(GOOD.leaf, **{name: changed}), RELAY.id)


def content(**changes: Any) -> bytes:
    values: dict[str, Any] = {
        "kind": TEXT,
        "inner_id": b16("i"),
        "seq": 1,
        "sent_at": 5,
        "text": "buy!",
    }
    return franked_bytes(Content(**(values | {"category": int(Category.UTILITY)} | changes)))


FORGED: dict[str, tuple[dict[str, Any], str]] = {
    "another text": ({"content": content(text="spam")}, "never sent this message"),
    "another key": ({"kf": b32("any")}, "never sent this message"),
    "another place": ({"place": b32("elsewhere")}, "never sent this message"),
    "another label": ({"category": int(Category.SERVICE)}, "another category than"),
    "another business": ({"business_id": RIVAL.id}, "another business"),
    "another charge": ({"lock": b32("other lock")}, "another message"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_report_is_named(what: str) -> None:
    changes, why = FORGED[what]
    with pytest.raises(EvidenceError, match=why):
        check_report(replace(GOOD.report, **changes), GOOD.leaf, RELAY.id)


def test_a_report_does_not_fit_another_charge_nor_another_relay() -> None:
    other = make_reported(RELAY, SHOP, "another", text="See you at 9")
    with pytest.raises(EvidenceError, match="another message"):
        check_report(GOOD.report, other.leaf, RELAY.id)
    # Even a business that signed two charges with one lock: the tag is of one of them.
    twin = resigned(other.leaf, RELAY, SHOP, lock=GOOD.leaf.lock, secret=GOOD.leaf.secret)
    with pytest.raises(EvidenceError, match="the tag it signed is another"):
        check_report(GOOD.report, twin, RELAY.id)
    stolen = make_reported(RELAY, RIVAL)
    with pytest.raises(EvidenceError, match="another business"):
        check_report(GOOD.report, stolen.leaf, RELAY.id)
    with pytest.raises(EvidenceError, match="never signed this line"):
        check_report(GOOD.report, GOOD.leaf, OTHER_RELAY.id)


def test_an_operator_cannot_make_up_a_leaf() -> None:
    """A tag of its own under the business's signature does not verify."""
    made_up = make_reported(RELAY, SHOP, text="BUY BUY BUY")
    forged = replace(GOOD.leaf, frank=made_up.leaf.frank)
    with pytest.raises(EvidenceError, match="never signed this line"):
        check_report(made_up.report, forged, RELAY.id)


def test_a_charge_that_nobody_opened_proves_nothing() -> None:
    with pytest.raises(EvidenceError, match="settled without the secret"):
        check_report(GOOD.report, replace(GOOD.leaf, secret=b32("guess")), RELAY.id)
    assert lock_of(GOOD.leaf.secret) == GOOD.leaf.lock


def test_a_message_without_a_category_cannot_be_reported() -> None:
    none = make_reported(RELAY, SHOP, line=labelled(Category.NONE, tariff="reply-2018"))
    with pytest.raises(EvidenceError, match="names no category"):
        check_report(none.report, none.leaf, RELAY.id)


@pytest.mark.parametrize("inside", [content(category=1), content(category=None), b"\x90", b"\xff"])
def test_a_business_cannot_sign_its_way_out(inside: bytes) -> None:
    """It franked something that its customer's client would not have settled."""
    tag = frank_tag(
        GOOD.report.kf, RELAY.id, SHOP.id, Hash(GOOD.report.place), GOOD.report.category, inside
    )
    leaf = resigned(GOOD.leaf, RELAY, SHOP, frank=tag)
    with pytest.raises(EvidenceError, match=r"inside than outside|not a message"):
        check_report(replace(GOOD.report, content=inside), leaf, RELAY.id)


def test_what_is_judged_is_what_clients_write() -> None:
    assert Content.__struct_fields__[: len(Said.__struct_fields__)] == Said.__struct_fields__
    assert Content.__struct_fields__[-1] == "settle_key"


@given(st.binary(max_size=300))
def test_noise_is_no_report(data: bytes) -> None:
    for reader in (open_report, open_complaint, open_adjust):
        with pytest.raises(MalformedError):
            reader(data)


def test_bounds_of_a_complaint() -> None:
    longest = replace(GOOD.report, content=bytes(BUCKETS[-1]))
    made = Complaint(longest, 3, "€" * MAX_REPORT_REASON)
    assert open_complaint(packed_report(made)) == made
    for wrong in (
        Complaint(replace(longest, content=bytes(BUCKETS[-1] + 1))),
        Complaint(GOOD.report, 3, "x" * (MAX_REPORT_REASON + 1)),
        Complaint(GOOD.report, 256),
    ):
        with pytest.raises(MalformedError):
            open_complaint(packed_report(wrong))


# Adjustments


def check(adjust: Adjust, leaf: Leaf = GOOD.leaf, report: Report = GOOD.report) -> None:
    check_adjust(adjust, leaf, report, OPERATOR, RELAY.id, CARD)


def test_an_honest_adjustment_holds() -> None:
    adjust = GOOD.adjust()
    assert adjust.delta_micro_usd == CARD.rates("ID").marketing
    check(adjust)
    assert open_adjust(packed_adjust(adjust)) == adjust
    for day in (0, ADJUST_DAYS):
        check(GOOD.adjust(day=GOOD.leaf.settled_day + day))


@given(st.data())
def test_no_change_of_an_adjustment_holds(data: st.DataObject) -> None:
    good = GOOD.adjust()
    name = data.draw(st.sampled_from(Adjust.__struct_fields__))
    old = getattr(good, name)
    if isinstance(old, int):
        changed: Any = data.draw(st.integers(0, 255).filter(lambda value: value != old))
    else:
        at = data.draw(st.integers(0, len(old) - 1))
        changed = old[:at] + bytes([old[at] ^ 1]) + old[at + 1 :]
    with pytest.raises(EvidenceError, match="no adjustment of the operator's"):
        check(replace(good, **{name: changed}))


RULED: dict[str, tuple[dict[str, Any], str]] = {
    "another charge": ({"leaf": b32("leaf")}, "of another charge"),
    "another business": ({"business_id": RIVAL.id}, "of another charge"),
    "before it settled": ({"day": GOOD.leaf.settled_day - 1}, "days after the charge settled"),
    "too late": (
        {"day": GOOD.leaf.settled_day + ADJUST_DAYS + 1},
        f"not of the {ADJUST_DAYS} days",
    ),
    "more than is due": ({"delta_micro_usd": 10**9}, "adds 1000000000 where the rate card says"),
    "less than is due": ({"delta_micro_usd": 1}, "adds 1 where"),
    "another category": ({"category": int(Category.AUTHENTICATION)}, "where the rate card says"),
    "the same category": ({"category": int(Category.UTILITY)}, "the category that the charge has"),
    "no category": ({"category": 0}, "or none"),
    "an unknown category": ({"category": 200}, "no adjustment"),
    "another report": ({"report": b32("report")}, "rests on another report"),
}


@pytest.mark.parametrize("what", RULED)
def test_what_an_operator_may_not_sign(what: str) -> None:
    changes, why = RULED[what]
    adjust = GOOD.adjust(**changes)
    with pytest.raises(EvidenceError, match=why):
        check(adjust)


def test_an_adjustment_of_another_operator() -> None:
    signature = sign(OTHER_RELAY.operator, adjust_message(RELAY.id, GOOD.adjust()))
    with pytest.raises(EvidenceError, match="no adjustment of the operator's"):
        check(replace(GOOD.adjust(), signature=signature))


def test_an_adjustment_needs_the_report_that_it_names() -> None:
    forged = replace(GOOD.report, content=content(text="spam"))
    adjust = GOOD.adjust(report=forged.hash)
    check_ruling(adjust, GOOD.leaf, OPERATOR, RELAY.id, CARD)
    with pytest.raises(EvidenceError, match="never sent this message"):
        check(adjust, report=forged)


RATES = CARD.rates("ID")
OUT = Class.OUT_OF_WINDOW


@pytest.mark.parametrize(
    ("line", "category", "due"),
    [
        (labelled(), Category.MARKETING, RATES.marketing),
        (labelled(), Category.AUTHENTICATION, RATES.authentication),
        (
            labelled(klass=OUT, price=RATES.utility),
            Category.MARKETING,
            RATES.marketing - RATES.utility,
        ),
        (labelled(Category.SERVICE), Category.MARKETING, RATES.marketing),
        (labelled(tariff="message-2026", price=RATES.utility), Category.MARKETING, None),
    ],
)
def test_what_a_true_category_adds(line: Line, category: Category, due: int | None) -> None:
    reported = make_reported(RELAY, SHOP, line=line)
    expected = RATES.marketing - RATES.utility if due is None else due
    assert delta_for(reported.leaf, category, CARD) == expected
    check(reported.adjust(category), reported.leaf, reported.report)


@pytest.mark.parametrize(
    ("line", "category", "why"),
    [
        (labelled(), Category.SERVICE, "nothing to re-rate: as service it costs no more"),
        (labelled(Category.MARKETING, price=RATES.marketing), Category.UTILITY, "nothing to re"),
        (labelled(klass=Class.ENTRY), Category.MARKETING, "nothing to re-rate"),
        (labelled(klass=OUT, price=RATES.utility), Category.SERVICE, "has no class"),
        (labelled(Category.NONE, tariff="reply-2018"), Category.MARKETING, "no categories"),
        (labelled(tariff="reply-2018"), Category.MARKETING, "no categories to correct"),
        (labelled(tariff="unheard-of"), Category.MARKETING, "there is no tariff"),
    ],
)
def test_where_nothing_is_to_be_re_rated(line: Line, category: Category, why: str) -> None:
    leaf = make_reported(RELAY, SHOP, line=line).leaf
    with pytest.raises(EvidenceError, match=why):
        delta_for(leaf, category, CARD)


def test_packed_forms_are_canonical() -> None:
    """A report has one name, however the sender spelt it."""
    longer = pack(GOOD.report).replace(b"\xc4\x20" + SHOP.id, b"\xc5\x00\x20" + SHOP.id)
    assert longer != pack(GOOD.report)
    assert open_report(longer).hash == GOOD.report.hash
