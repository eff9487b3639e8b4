"""The checks of an invoice one by one: adjustments, what the relay signs of dates and names, and
what there is only one form for. Frauds as such are in tests/frauds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from kurir_billing.adjust import delta_for
from kurir_billing.adjusted import check_adjustment
from kurir_billing.errors import BillingError, EvidenceError, InvoiceError
from kurir_billing.invoice import Invoice, Records
from kurir_billing.kinds import Category, Class
from kurir_billing.party import Party
from kurir_billing.ratecard import canonical
from kurir_billing.standing import check_standing
from kurir_billing.total import fee_due
from kurir_billing.verify import coverage, verify_invoice
from kurir_wire.ids import Hash
from tests.frauds.world import (
    BUSINESS,
    CARD,
    CARD_NAME,
    DECEMBER,
    FEE,
    LAST_DAY,
    OTHER,
    RELAY,
    Adjusted,
    adjusted,
    line,
    made,
    signed_card,
    world,
)
from tests.protocol.make import TODAY, b32, hash_of, make_leaf, public
from tests.protocol.reported import make_reported

WORLD = world()
INVOICE, RECORDS = WORLD.honest, WORLD.records
CARDS = {CARD_NAME: CARD}


def fault(invoice: Invoice, records: Records = RECORDS) -> str:
    with pytest.raises(InvoiceError) as caught:
        verify_invoice(invoice, records)
    return str(caught.value)


def again(adjustments: Sequence[Adjusted]) -> tuple[Invoice, Records]:
    """An invoice with these adjustments, all of which the relay reported."""
    reported = {Hash(adjust.leaf): adjust.day for adjust, _, _ in adjustments}
    return WORLD.bill(adjustments=adjustments), replace(RECORDS, adjusted=reported)


# Adjustments


def test_adjustments_may_be_known_or_not() -> None:
    verify_invoice(INVOICE, RECORDS)
    verify_invoice(INVOICE, replace(RECORDS, adjusted=None))


def test_one_line_is_adjusted_once() -> None:
    """Also where nothing tells what was reported."""
    first = WORLD.adjustments[0]
    twice = WORLD.bill(adjustments=[first, adjusted(first[1], day=TODAY + 2)])
    assert (
        fault(twice, replace(RECORDS, adjusted=None))
        == "adjustment 2: adjustment 1 is of the same line"
    )


def test_an_adjusted_line_was_reported_as_settled() -> None:
    _, leaf, _ = WORLD.adjustments[0]
    before = next(entry for entry in WORLD.adjustments if entry[1].settled_day == DECEMBER)
    name = before[1].charge_hash(RELAY.id)
    assert isinstance(RECORDS.settled, dict)
    settled = dict(RECORDS.settled)
    del settled[name]
    found = fault(INVOICE, replace(RECORDS, settled=settled))
    assert "the daily lists never reported its line as settled" in found
    assert leaf in [entry[1] for entry in WORLD.adjustments]


def test_an_adjustment_that_was_reported_is_there() -> None:
    found = fault(WORLD.bill(adjustments=WORLD.adjustments[:1]))
    missing = WORLD.adjustments[1][0].leaf.hex()[:16]
    assert found == f"adjustments: that of leaf {missing} is missing here"
    # Of another month, or of days to come, it is not missed.
    for day in (TODAY - 30, LAST_DAY + 1, TODAY + 40):
        reported = dict(RECORDS.adjusted or {}) | {hash_of("other leaf"): day}
        verify_invoice(INVOICE, replace(RECORDS, adjusted=reported))
    reported = dict(RECORDS.adjusted or {}) | {hash_of("other leaf"): LAST_DAY}
    assert "is missing here" in fault(INVOICE, replace(RECORDS, adjusted=reported))


@pytest.mark.parametrize("day", [DECEMBER + 1, LAST_DAY + 1, TODAY + 40])
def test_an_adjustment_belongs_to_its_month(day: int) -> None:
    late = next(entry[1] for entry in WORLD.adjustments if entry[1].settled_day == DECEMBER)
    found = fault(*again([adjusted(late, day=day)]))
    assert "a day that this invoice does not cover" in found
    verify_invoice(*again([adjusted(late, day=LAST_DAY)]))
    verify_invoice(*again([adjusted(late, day=TODAY - 14)]))


def test_adjustments_that_follow_from_nothing() -> None:
    leaf = made("x", line("message-2026", Category.UTILITY), TODAY)
    place, operator = INVOICE.adjustments[0].place, public(RELAY.operator)

    def refused(entry: Adjusted, what: str, **given: Any) -> None:
        item = replace(
            INVOICE.adjustments[0], adjust=entry[0], leaf=entry[1], report=entry[2], place=place
        )
        with pytest.raises(BillingError, match=what):
            check_adjustment(replace(item, **given), operator, RELAY.id, BUSINESS.id, CARDS)

    refused(adjusted(leaf, business_id=OTHER.id), "for another business")
    refused(adjusted(leaf, signer=RELAY.receipt_key), "signature")
    refused(adjusted(leaf, day=TODAY - 1), "not of the 150 days after")
    refused(adjusted(leaf, delta_micro_usd=1), "adds 1 where the rate card says 16100")
    refused(adjusted(leaf), "of another charge", leaf=WORLD.leaves[0])
    refused(adjusted(leaf), "comes without a report that opens", report=None)
    other = made("y", line("message-2026", Category.UTILITY), TODAY)
    refused(adjusted(leaf), "rests on another report", report=adjusted(other)[2])
    refused(adjusted(leaf, report=adjusted(other)[2].hash), "rests on another report")
    foreign = make_reported(RELAY, BUSINESS, "z", structs.replace(leaf.line, rate_card=b32("none")))
    refused(adjusted(leaf), "whose rate card is not here", leaf=foreign.leaf)


@pytest.mark.parametrize(
    ("tariff", "category", "klass", "to", "delta"),
    [
        ("message-2026", Category.UTILITY, Class.OUT_OF_WINDOW, Category.MARKETING, 16_100),
        ("message-2026", Category.SERVICE, Class.IN_WINDOW, Category.MARKETING, 16_100),
        ("message-2025", Category.UTILITY, Class.IN_WINDOW, Category.MARKETING, 41_100),
        ("message-2026", Category.MARKETING, Class.OUT_OF_WINDOW, Category.UTILITY, None),
        ("message-2026", Category.UTILITY, Class.OUT_OF_WINDOW, Category.UTILITY, None),
        ("message-2026", Category.UTILITY, Class.OUT_OF_WINDOW, Category.AUTHENTICATION, None),
        ("message-2026", Category.UTILITY, Class.OUT_OF_WINDOW, Category.SERVICE, None),
        ("message-2026", Category.UTILITY, Class.ENTRY, Category.MARKETING, None),
        ("reply-2018", Category.NONE, Class.OUT_OF_WINDOW, Category.MARKETING, None),
    ],
)
def test_what_a_correction_adds(
    tariff: str, category: Category, klass: Class, to: Category, delta: int | None
) -> None:
    leaf = make_leaf(RELAY, BUSINESS, "x", line(tariff, category, klass))
    if delta is not None:
        assert delta_for(leaf, to, CARD) == delta
        return
    with pytest.raises(EvidenceError):
        delta_for(leaf, to, CARD)


def test_a_ledger_without_entries_has_no_adjustments() -> None:
    with pytest.raises(InvoiceError, match="checkpoint: is missing"):
        check_standing(None, [], RELAY.cert(), {}, INVOICE.adjustments)


# The head, as the relay signs it


@pytest.mark.parametrize(
    ("where", "fields"),
    [
        ("issued", {"issued_day": LAST_DAY}),
        ("issued", {"issued_day": 0}),
        ("number", {"revision": 0}),
        ("currency", {"currency": "EUR"}),
        ("through", {"through_day": TODAY + 17, "issued_day": TODAY + 50}),
        ("through", {"through_day": TODAY + 99, "issued_day": TODAY + 150}),
    ],
)
def test_a_head_that_cannot_be(where: str, fields: dict[str, Any]) -> None:
    assert fault(WORLD.bill(**fields)).startswith(f"{where}: ")


def test_days_that_a_head_may_have() -> None:
    settled = RECORDS
    verify_invoice(WORLD.bill(issued_day=LAST_DAY + 1), settled)
    verify_invoice(WORLD.bill(issued_day=LAST_DAY + 900), settled)
    verify_invoice(WORLD.bill(through_day=TODAY + 16, issued_day=TODAY + 17), settled)
    assert fault(WORLD.bill(through_day=TODAY + 16, issued_day=TODAY + 16)).startswith("issued: ")


def test_a_name_that_was_certified_when_the_invoice_was_signed() -> None:
    """The business has another name now; what it saw then stays."""
    renamed = replace(RECORDS, legal_name="PT Metro Bus Tbk")
    assert fault(INVOICE, renamed) == (
        "buyer: legal_name says 'PT Metro Bus' where the operator certified 'PT Metro Bus Tbk'"
    )
    verify_invoice(INVOICE, replace(renamed, heads={INVOICE.head.number: INVOICE.head}))
    other = structs.replace(INVOICE.head, revision=2)
    assert fault(INVOICE, replace(renamed, heads={other.number: other})).startswith("buyer: ")


def test_another_invoice_of_the_same_number_is_told_field_by_field() -> None:
    kept = replace(RECORDS, heads={INVOICE.head.number: INVOICE.head})
    verify_invoice(INVOICE, kept)
    later = WORLD.bill(issued_day=LAST_DAY + 5)
    assert fault(later, kept) == (
        "number: the relay signed another invoice of this number before: issued_day says "
        "2026-01-22 where it said 2026-01-18"
    )
    seller = WORLD.bill(seller=Party("Kurir Relay Ltd"))
    assert "seller address says '' where it said '1 Harbour" in fault(seller, kept)
    verify_invoice(WORLD.bill(revision=2, issued_day=LAST_DAY + 5), kept)


# The fee


def test_the_fee_is_the_lowest_that_a_message_was_signed_under() -> None:
    dear = structs.replace(CARD, version=2, flat_monthly_micro_usd=2 * FEE)
    free = structs.replace(CARD, version=3, flat_monthly_micro_usd=None)
    names = [signed_card(canonical(card))[1] for card in (dear, free)]
    cards = {CARD_NAME: CARD, names[0]: dear, names[1]: free}

    def under(*used: Hash, tariff: str = "flat") -> int:
        what = line(tariff, klass=Class.IN_WINDOW)
        leaves = [
            make_leaf(RELAY, BUSINESS, "f", structs.replace(what, rate_card=name)) for name in used
        ]
        return fee_due(leaves, cards)

    assert under() == 0
    assert under(CARD_NAME) == under(CARD_NAME, CARD_NAME) == FEE
    assert under(names[0]) == 2 * FEE
    assert under(names[0], CARD_NAME) == FEE
    assert under(CARD_NAME, names[1]) == 0
    assert under(CARD_NAME, tariff="reply-2018") == 0
    assert under(hash_of("unknown card")) == 0


# What is checked, and what not


def test_a_strangers_checks() -> None:
    stranger = Records(RELAY.id, BUSINESS.id)
    verify_invoice(INVOICE, stranger)
    private = tuple(replace(item, report=None) for item in INVOICE.adjustments)
    verify_invoice(replace(INVOICE, adjustments=private), stranger)
    assert "comes without a report that opens" in fault(replace(INVOICE, adjustments=private))
    checked, not_checked = coverage(stranger)
    assert (len(checked), len(not_checked)) == (7, 5)
    assert coverage(RECORDS)[1] == ()
    assert set(coverage(RECORDS)[0]) == {*checked, *not_checked}
    plain = replace(RECORDS, settled=set(RECORDS.settled or ()))
    assert len(coverage(plain)[1]) == 1
