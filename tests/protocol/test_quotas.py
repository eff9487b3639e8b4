"""What a month comes to: conversations, quotas, volume tiers, and the total of an invoice."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from kurir_billing.charge import Line
from kurir_billing.errors import InvoiceError, RateCardError
from kurir_billing.head import head_for
from kurir_billing.kinds import Category, Class
from kurir_billing.leaf import Leaf
from kurir_billing.quotas import Due, Settled, amounts_due, marginal
from kurir_billing.ratecard import RateCard, Step, bundled, canonical, parse, rate_card_hash
from kurir_billing.tariffs import TARIFFS, price_of_class
from kurir_billing.total import Why, opener_of
from kurir_billing.verify import verify_invoice
from kurir_wire.ids import Hash
from tests.protocol.make import (
    TODAY,
    TestBusiness,
    TestRelay,
    in_file_order,
    make_invoice,
    make_leaf,
    make_line,
    make_records,
)

CARD = bundled()
RELAY = TestRelay()
BUSINESS = TestBusiness()
NONE, SERVICE, UTILITY, MARKETING, AUTHENTICATION = Category
INSIDE, OUTSIDE, ENTRY = Class
JANUARY, FEBRUARY = 202601, 202602


def with_steps(**fields: object) -> RateCard:
    """The bundled card with other fields for Indonesia."""
    value = json.loads(canonical(CARD))
    value["markets"]["ID"].update(fields)
    body = json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    return parse(body)


STEPS = with_steps(
    utility_steps=[{"above": 2, "micro_usd": 20_000}, {"above": 4, "micro_usd": 15_000}],
    authentication_steps=[{"above": 1, "micro_usd": 9}],
)


def message(
    tariff: str,
    category: Category = NONE,
    klass: Class = INSIDE,
    *,
    month: int = JANUARY,
    market: str = "ID",
    card: RateCard = CARD,
    conversation: object = None,
) -> Settled:
    due = price_of_class(tariff, market, category, klass, card)
    return Settled(TARIFFS[tariff], market, category, due, month, card, conversation)


def found(*messages: Settled) -> list[tuple[Due, int]]:
    return list(amounts_due(messages))


FREE, CHARGED, COVERED = Due.FREE_CUSTOMER_SERVICE, Due.REGULAR, Due.COVERED


def test_flat_covers_everything() -> None:
    assert found(message("flat")) == [(COVERED, 0)]


def test_a_message_by_its_class() -> None:
    assert found(
        message("reply-2018"),
        message("reply-2018", klass=OUTSIDE),
        message("message-2025", UTILITY, ENTRY),
        message("message-2025", MARKETING, INSIDE),
    ) == [(FREE, 0), (CHARGED, 25_000), (Due.FREE_ENTRY_POINT, 0), (CHARGED, 41_100)]


def test_a_rate_of_zero_is_still_a_charge() -> None:
    card = with_steps(utility=0, authentication=0)
    assert found(message("reply-2018", klass=OUTSIDE, card=card)) == [(CHARGED, 0)]


def test_a_conversation_is_due_once_on_its_first_settled_message() -> None:
    many = [message("conversation-2022", conversation=f"free {n}") for n in range(1_000)]
    late = [message("conversation-2022", klass=OUTSIDE, conversation="x") for _ in range(3)]
    due = found(*many, *many, *late)
    assert due[:1_000] == [(FREE, 0)] * 1_000
    assert due[1_000:2_000] == [(COVERED, 0)] * 1_000
    assert due[2_000:] == [(CHARGED, 41_100), (COVERED, 0), (COVERED, 0)]


def test_conversations_that_were_due_before_are_covered() -> None:
    messages = [message("conversation-2022", conversation=name) for name in ("old", "new")]
    assert list(amounts_due(messages, {"old"})) == [(COVERED, 0), (FREE, 0)]


def test_the_thousandth_conversation_is_free_and_the_next_is_not() -> None:
    january = [message("conversation-2022", conversation=n) for n in range(1_001)]
    february = message("conversation-2022", conversation="february", month=FEBRUARY)
    due = found(*january, february)
    assert due[999:] == [(FREE, 0), (CHARGED, 25_000), (FREE, 0)]


def test_the_thousandth_service_message_is_free_and_the_next_is_not() -> None:
    used = [message("message-2026", SERVICE, market=m) for m in ("ID", "DE") for _ in range(500)]
    due = found(
        *used[:-1],
        message("message-2026", SERVICE, ENTRY),  # costs nothing, so takes nothing from the quota
        message("message-2026", UTILITY),
        used[-1],
        message("message-2026", SERVICE),
        message("message-2026", SERVICE, market="DE"),
        message("message-2026", SERVICE, month=FEBRUARY),
    )
    assert due[998:] == [
        (FREE, 0),
        (Due.FREE_ENTRY_POINT, 0),
        (CHARGED, 25_000),
        (FREE, 0),
        (CHARGED, 25_000),
        (CHARGED, 55_000),
        (FREE, 0),
    ]


# Volume tiers


@pytest.mark.parametrize(
    ("before", "due"), [(0, 9), (1, 9), (2, 7), (3, 7), (4, 5), (5, 5), (1_000_000, 5)]
)
def test_marginal_rates(before: int, due: int) -> None:
    assert marginal(9, [Step(2, 7), Step(4, 5)], before) == due
    assert marginal(9, [], before) == 9


def test_volume_counts_charged_messages_by_market_category_and_month() -> None:
    def one(category: Category, market: str = "ID", month: int = JANUARY) -> Settled:
        return message("message-2026", category, market=market, month=month, card=STEPS)

    due = found(
        one(UTILITY),
        message("message-2025", UTILITY, card=STEPS),  # free: does not count
        one(AUTHENTICATION),
        one(UTILITY, "DE"),
        one(UTILITY),
        one(UTILITY),
        one(AUTHENTICATION),
        one(UTILITY, month=FEBRUARY),
        one(UTILITY),
        one(UTILITY),
        one(MARKETING),
    )
    prices = [25_000, 0, 25_000, 55_000, 25_000, 20_000, 9, 25_000, 20_000, 15_000, 41_100]
    assert [micro_usd for _, micro_usd in due] == prices


def test_unknown_markets_add_up_as_other() -> None:
    value = json.loads(canonical(CARD))
    value["markets"]["OTHER"]["utility_steps"] = [{"above": 1, "micro_usd": 1}]
    card = parse(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
    messages = [message("message-2026", UTILITY, market=m, card=card) for m in ("FR", "XX")]
    assert [due for _, due in found(*messages)] == [7_700, 1]


def test_service_beyond_the_quota_has_no_volume_tiers() -> None:
    messages = [message("message-2026", SERVICE, card=STEPS) for _ in range(1_010)]
    assert {due for _, due in found(*messages)[1_000:]} == {25_000}


def test_the_bundled_card_has_no_tiers_and_its_bytes_have_not_changed() -> None:
    assert not any(r.utility_steps or r.authentication_steps for r in CARD.markets.values())
    assert b"steps" not in canonical(CARD)


@pytest.mark.parametrize(
    "steps",
    [
        [{"above": 0, "micro_usd": 1}],
        [{"above": 2, "micro_usd": 25_001}],
        [{"above": 2, "micro_usd": 9}, {"above": 2, "micro_usd": 8}],
        [{"above": 2, "micro_usd": 8}, {"above": 3, "micro_usd": 9}],
        [{"above": 2, "micro_usd": -1}],
        [{"above": 2}],
        [],  # the one spelling of none is to leave the field away
    ],
)
@pytest.mark.parametrize("field", ["utility_steps", "authentication_steps"])
def test_volume_tiers_rise_and_only_lower_the_price(field: str, steps: Any) -> None:
    with pytest.raises(RateCardError):
        with_steps(**{field: steps})


# The total of an invoice


def leaf(name: str, line: Line, day: int = TODAY) -> Leaf:
    return make_leaf(RELAY, BUSINESS, name, line, day)


def conversation(klass: Class = OUTSIDE, opener: Hash | None = None) -> Line:
    price = 25_000 if klass is INSIDE else 41_100
    line = structs.replace(make_line("ID", klass), tariff="conversation-2022", list_price=price)
    return structs.replace(line, opener=opener) if opener else line


def test_an_invoice_counts_the_quota_by_day_and_not_by_the_order_of_the_lines() -> None:
    # 1,000 free ones settle on the first day, a dear one on the second.
    first = [leaf(str(n), conversation(INSIDE), TODAY - 1) for n in range(1_000)]
    dear = leaf("dear", conversation())
    leaves = [dear, *reversed(first)]
    assert make_invoice(RELAY, BUSINESS, leaves).head.total_micro_usd == 41_100
    invoice = make_invoice(RELAY, BUSINESS, in_file_order(RELAY, leaves))
    verify_invoice(invoice, make_records(RELAY, BUSINESS, leaves))
    assert [(group.why, group.count, group.amount) for group in invoice.groups] == [
        (Why.QUOTA, 1_000, 0),
        (Why.LIST, 1, 41_100),
    ]


def test_an_invoice_charges_a_conversation_once() -> None:
    many = [leaf(str(n), conversation(INSIDE), TODAY - 1) for n in range(1_000)]
    opener = leaf("opener", conversation())
    covered = leaf("covered", conversation(opener=opener.charge_hash(RELAY.id)))
    leaves = in_file_order(RELAY, [*many, covered, opener])
    invoice = make_invoice(RELAY, BUSINESS, leaves)
    assert invoice.head.total_micro_usd == 41_100
    records = make_records(RELAY, BUSINESS, leaves)
    verify_invoice(invoice, records)
    sums: dict[str, Any] = {"subtotal_micro_usd": 82_200, "total_micro_usd": 82_200}
    wrong = make_invoice(RELAY, BUSINESS, leaves, **sums)
    with pytest.raises(InvoiceError, match="subtotal: says 82200 where the lines come to 41100"):
        verify_invoice(wrong, records)


def test_a_conversation_that_was_due_last_month_is_not_due_again() -> None:
    opener = leaf("opener", conversation(), TODAY - 31)
    covered = leaf("covered", conversation(opener=opener.charge_hash(RELAY.id)))
    many = [leaf(str(n), conversation(INSIDE), TODAY - 1) for n in range(1_000)]
    leaves = in_file_order(RELAY, [*many, covered])
    records = make_records(RELAY, BUSINESS, [opener, *leaves])
    invoice = make_invoice(RELAY, BUSINESS, leaves)
    assert invoice.head.total_micro_usd == 41_100
    with pytest.raises(InvoiceError, match=r"charged: .* is not listed"):
        verify_invoice(invoice, records)
    name = opener.charge_hash(RELAY.id)
    with pytest.raises(InvoiceError, match="charged: are not the conversations"):
        verify_invoice(replace(invoice, charged=(name,)), records)
    right = make_invoice(RELAY, BUSINESS, leaves, charged={name, Hash(bytes(32))})
    assert (right.head.total_micro_usd, right.charged) == (0, (name,))
    verify_invoice(right, records)
    fresh = make_records(RELAY, BUSINESS, leaves)
    with pytest.raises(InvoiceError, match=r"charged: .* no message of it was due"):
        verify_invoice(right, fresh)
    verify_invoice(right, replace(fresh, settled=None))  # nothing is known of earlier months


def test_a_line_without_its_card_counts_as_signed() -> None:
    head = head_for(BUSINESS.id, JANUARY, TODAY, [leaf("a", make_line())], RELAY.id, {})
    assert head.total_micro_usd == 25_000
    assert rate_card_hash(canonical(CARD)) == RELAY.rate_card()[1]


def test_within_a_day_the_charge_hash_decides_and_not_the_order_of_the_lines() -> None:
    leaves = [leaf(str(n), conversation(INSIDE if n % 2 else OUTSIDE)) for n in range(1_001)]
    last = max(leaves, key=lambda settled: settled.charge_hash(RELAY.id))
    for lines in (leaves, leaves[::-1], sorted(leaves, key=lambda one: one.line.list_price)):
        assert make_invoice(RELAY, BUSINESS, lines).head.total_micro_usd == last.line.list_price
    twice = make_invoice(RELAY, BUSINESS, [*leaves, leaves[0]])
    with pytest.raises(InvoiceError, match="the same charge"):
        verify_invoice(twice, make_records(RELAY, BUSINESS, leaves))


def test_only_conversations_have_openers() -> None:
    opener = Hash(bytes(31) + b"1")
    named = structs.replace(make_line(), opener=opener)
    assert opener_of(named, Hash(bytes(32))) is None
    assert opener_of(structs.replace(named, tariff="unknown"), Hash(bytes(32))) is None
    assert opener_of(conversation(opener=opener), Hash(bytes(32))) == opener
    assert opener_of(conversation(), Hash(bytes(32))) == bytes(32)
