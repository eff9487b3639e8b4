"""Which charges the relay takes: every check, to the second, with time as an argument."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kurir_billing.charge import Charge, Line, packed
from kurir_billing.grant import grant_message
from kurir_billing.kinds import Category, Class, GrantKind, RefusalCode
from kurir_billing.lane import Lane, lane_message
from kurir_wire import codes
from kurir_wire.entries import Result, Submission
from kurir_wire.gates import OPEN_GATE
from kurir_wire.ids import DAY, HOUR, MINUTE, RelayId
from tests.server.helpers import CARD_HASH, Box, Key, Shop, Signed, receipt_of, refusal_of
from tests.server.rig import START, Rig


def refused(rig: Rig, signed: Signed, code: RefusalCode) -> Line | None:
    """The charge is refused with this code; the quoted line."""
    (result,) = rig.submit(signed.submission)
    assert result is not None
    assert result.code == codes.REFUSED, result
    refusal = refusal_of(result)
    assert refusal.code == code, result.detail
    assert refusal.charge == signed.hash
    refusal.verify(rig.keys.cert.receipt_pk, rig.keys.relay_id, signed.charge.business_id)
    assert rig.count("charges") == rig.count("envelopes") == rig.count("used_envelopes") == 0
    return refusal.quote.line if refusal.quote else None


def changed(signed: Signed, **changes: object) -> Submission:
    """The same submission with another, no longer validly signed charge."""
    charge = msgspec.structs.replace(signed.charge, **changes)
    return msgspec.structs.replace(signed.submission, charge=packed(charge))


def test_free_inside_the_window_and_charged_exactly_from_its_end(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    grant = box.grant(shop.id, rig.beacon)
    assert grant.opens_at == START
    free, late = shop.line(is_open=True), shop.line(is_open=False)

    rig.now = START + DAY - 1
    signed = rig.charge(shop, box, opening, free, grant)
    receipt = receipt_of(rig.submit(signed.submission)[0])
    receipt.verify(rig.keys.cert.receipt_pk)
    assert (receipt.charge, receipt.accepted_at, receipt.earned) == (
        signed.hash,
        rig.now,
        None,
    )
    wrong = rig.charge(shop, box, opening, late, grant)
    (result,) = rig.submit(wrong.submission)
    assert refusal_of(result).code == RefusalCode.BAD_PARAMETER
    quote = refusal_of(result).quote
    assert quote is not None
    assert quote.line == free

    rig.now = START + DAY
    shut = rig.charge(shop, box, opening, free, grant)
    (result,) = rig.submit(shut.submission)
    assert refusal_of(result).code == RefusalCode.OUTSIDE_WINDOW
    quote = refusal_of(result).quote
    assert quote is not None
    assert quote.line == late
    paid = rig.charge(shop, box, opening, quote.line, grant)
    assert receipt_of(rig.submit(paid.submission)[0]).accepted_at == START + DAY


def test_without_a_grant_the_price_of_the_market_is_due(rig: Rig) -> None:
    shop = rig.shop()
    for market, price in (("ID", 25_000), ("DE", 55_000), ("XX", 7_700)):
        box, opening = rig.customer(shop, market)
        free = shop.line(is_open=True, market=market)
        quote = (
            refused(rig, rig.charge(shop, box, opening, free), RefusalCode.OUTSIDE_WINDOW)
            if rig.count("charges") == 0
            else shop.line(is_open=False, market=market, price=price)
        )
        assert quote is not None
        assert (quote.klass, quote.list_price) == (Class.OUT_OF_WINDOW, price)
        accepted = rig.submit(rig.charge(shop, box, opening, quote).submission)
        receipt_of(accepted[0])


@pytest.mark.parametrize(
    "change",
    [
        {"list_price": 24_999},
        {"list_price": 25_001},
        {"tariff": "flat"},
        {"rate_card": bytes(32)},
        {"category": Category.UTILITY},
        {"klass": Class.ENTRY},
        {"opener": bytes(31) + b"1"},
    ],
)
def test_a_line_that_differs_in_any_fact_is_refused_with_the_right_one(
    rig: Rig, change: dict[str, Any]
) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    right = shop.line(is_open=False)
    signed = rig.charge(shop, box, opening, shop.line(is_open=False, **change))
    assert refused(rig, signed, RefusalCode.BAD_PARAMETER) == right


def test_another_market_than_the_gates_finds_no_mailbox(rig: Rig) -> None:
    shop, other = rig.shop(), rig.shop()
    box, opening = rig.customer(shop)
    line = shop.line(is_open=False)
    gone = Box(rig.keys.relay_id, box.gate, box.born_hour)
    attempts = [
        rig.charge(shop, box, opening, shop.line(is_open=False, market="XX", price=7_700)),
        rig.charge(shop, box, bytes(32), line),
        rig.charge(other, box, opening, line),
        rig.charge(shop, gone, opening, line),
        rig.charge(shop, shop.address, opening, line),
    ]
    for signed in attempts:
        (result,) = rig.submit(signed.submission)
        assert result is not None
        assert result.code == codes.NO_MAILBOX
        assert refusal_of(result).code == RefusalCode.UNDELIVERABLE
    plain = msgspec.structs.replace(attempts[0].submission, charge=None)
    (result,) = rig.submit(plain)
    assert result is not None
    assert result.code == codes.NO_MAILBOX
    assert rig.count("envelopes") == 0


def test_evidence_that_does_not_verify(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    line = shop.line(is_open=False)
    signed = rig.charge(shop, box, opening, line)
    thief = Key()
    until = rig.now + DAY
    forged = Lane(
        shop.root.public,
        thief.public,
        until,
        thief.sign(lane_message(shop.id, thief.public, until)),
    )
    bodies = msgspec.structs.replace(signed.submission, body=bytes(2_048))
    lives = msgspec.structs.replace(signed.submission, life=25)
    for submission in (
        changed(signed, signature=bytes(64)),
        changed(signed, lane=forged),
        changed(signed, lane_seq=99),
        changed(signed, frank=bytes(32)),
        bodies,
        lives,
    ):
        (result,) = rig.submit(submission)
        assert refusal_of(result).code == RefusalCode.BAD_PARAMETER
    shop.lane = shop.enrol(rig.now)
    assert refused(rig, rig.charge(shop, box, opening, line), RefusalCode.BAD_PARAMETER) is None


def test_beacons_must_be_ours_and_of_the_last_day(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    line = shop.line(is_open=False)
    old = rig.charge(shop, box, opening, line)
    alien = shop.sign(box, opening, line, msgspec.structs.replace(rig.beacon, nonce=bytes(16)))
    refused(rig, alien, RefusalCode.BAD_PARAMETER)
    future = shop.sign(box, opening, line, rig.keys.beacon(rig.now // MINUTE + 1))
    refused(rig, future, RefusalCode.BAD_PARAMETER)
    rig.now = START + DAY + 1
    refused(rig, old, RefusalCode.BAD_PARAMETER)
    rig.now = START + DAY
    receipt_of(rig.submit(old.submission)[0])


def test_grants_are_of_this_mailbox_and_business_and_on_real_beacons(rig: Rig) -> None:
    shop, rival = rig.shop(), rig.shop()
    box, opening = rig.customer(shop)
    other, _ = rig.customer(shop)
    free = shop.line(is_open=True)
    invented = msgspec.structs.replace(rig.beacon, nonce=bytes(16))
    for grant in (
        other.grant(shop.id, rig.beacon),
        box.grant(rival.id, rig.beacon),
        box.grant(shop.id, invented),
        msgspec.structs.replace(box.grant(shop.id, rig.beacon), signature=bytes(64)),
        msgspec.structs.replace(box.grant(shop.id, rig.beacon), kind=1),
        msgspec.structs.replace(box.grant(shop.id, rig.beacon), ticket=bytes(31) + b"1"),
    ):
        signed = rig.charge(shop, box, opening, free, grant)
        assert refused(rig, signed, RefusalCode.BAD_PARAMETER) is None
    good = box.grant(shop.id, rig.beacon)
    for _ in range(2):  # the second time from the cache
        receipt_of(rig.submit(rig.charge(shop, box, opening, free, good).submission)[0])
    # A grant that was checked for one mailbox proves nothing for another.
    moved = rig.charge(shop, other, opening, free, good)
    (result,) = rig.submit(moved.submission)
    assert result is not None
    assert result.code == codes.NO_MAILBOX


def test_a_grant_for_another_relay(rig: Rig) -> None:
    """The same keys, business and beacon elsewhere: nothing of it counts here."""
    shop = rig.shop()
    box, opening = rig.customer(shop)
    message = grant_message(
        RelayId(bytes(32)), shop.id, box.id, GrantKind.SERVICE, rig.beacon.minute, rig.beacon.nonce
    )
    here = box.grant(shop.id, rig.beacon)
    moved = msgspec.structs.replace(here, signature=box.key.sign(message))
    free = shop.line(is_open=True)
    signed = rig.charge(shop, box, opening, free, moved)
    assert refused(rig, signed, RefusalCode.BAD_PARAMETER) is None


def test_under_the_flat_fee_nothing_is_shown_and_nothing_is_due(rig: Rig) -> None:
    shop = rig.shop(tariff="flat")
    box, opening = rig.customer(shop)
    line = shop.line(is_open=True, tariff="flat")
    receipt_of(rig.submit(rig.charge(shop, box, opening, line).submission)[0])


def test_what_a_tariff_does_not_sell_is_refused_without_a_quote(rig: Rig) -> None:
    shop = rig.shop(tariff="message-2025")
    box, opening = rig.customer(shop)
    for category, code in (
        (Category.SERVICE, RefusalCode.OUTSIDE_WINDOW),
        (Category.NONE, RefusalCode.BAD_PARAMETER),
    ):
        line = shop.line(is_open=False, tariff="message-2025", category=category)
        assert refused(rig, rig.charge(shop, box, opening, line), code) is None


def test_the_category_is_part_of_the_line_where_the_tariff_asks_for_it(rig: Rig) -> None:
    shop = rig.shop(tariff="message-2025")
    box, opening = rig.customer(shop)
    line = shop.line(
        is_open=False, price=41_100, tariff="message-2025", category=Category.MARKETING
    )
    cheaper = msgspec.structs.replace(line, category=Category.UTILITY)
    quote = refused(rig, rig.charge(shop, box, opening, cheaper), RefusalCode.BAD_PARAMETER)
    assert quote is not None
    assert (quote.category, quote.list_price) == (Category.UTILITY, 25_000)
    receipt_of(rig.submit(rig.charge(shop, box, opening, line).submission)[0])


def test_only_approved_businesses(rig: Rig) -> None:
    shop = rig.shop(tier=None)
    box, opening = rig.customer(shop)
    line = shop.line(is_open=False)
    refused(rig, rig.charge(shop, box, opening, line), RefusalCode.NOT_APPROVED)
    unknown = Shop(rig.keys.relay_id, rig.now)
    box, opening = rig.customer(unknown)
    refused(rig, rig.charge(unknown, box, opening, line), RefusalCode.NOT_APPROVED)


def test_small_businesses_answer_only_and_pay_nothing(rig: Rig) -> None:
    shop = rig.shop("small")
    box, opening = rig.customer(shop)
    late = rig.charge(shop, box, opening, shop.line(is_open=False))
    assert refused(rig, late, RefusalCode.OUTSIDE_WINDOW) is None
    grant = box.grant(shop.id, rig.beacon)
    for _ in range(10):
        free = rig.charge(shop, box, opening, shop.line(is_open=True), grant)
        receipt_of(rig.submit(free.submission)[0])
    (result,) = rig.submit(
        rig.charge(shop, box, opening, shop.line(is_open=True), grant).submission
    )
    assert refusal_of(result).code == RefusalCode.RATE_LIMIT
    rig.tick += 1
    free = rig.charge(shop, box, opening, shop.line(is_open=True), grant)
    receipt_of(rig.submit(free.submission)[0])


def test_pace_to_one_customer(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    line = shop.line(is_open=False)
    for _ in range(45):
        receipt_of(rig.submit(rig.charge(shop, box, opening, line).submission)[0])
    (result,) = rig.submit(rig.charge(shop, box, opening, line).submission)
    assert result is not None
    assert refusal_of(result).code == RefusalCode.PAIR_RATE
    assert (result.retry_after, result.left) == (6, 0)
    other, key = rig.customer(shop)
    receipt_of(rig.submit(rig.charge(shop, other, key, line).submission)[0])
    rig.tick += 6
    receipt_of(rig.submit(rig.charge(shop, box, opening, line).submission)[0])


def test_a_retry_gets_the_stored_receipt(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    signed = rig.charge(shop, box, opening, shop.line(is_open=False))
    rig.now += 17
    (first,) = rig.submit(signed.submission)
    rig.now += 100
    assert rig.submit(signed.submission) == [first]
    assert rig.submit(signed.submission, signed.submission) == [first, first]
    assert rig.count("envelopes") == rig.count("charges") == 1

    # Acknowledged, settled: still one line, still the receipt.
    assert rig.ack(box, signed.submission.envelope_id, signed.secret) is None
    assert rig.submit(signed.submission) == [first]
    assert rig.count("envelopes") == 0

    # A relay remembers seconds while it runs; then the receipt names the start of the hour.
    rig.restart()
    receipt = receipt_of(rig.submit(signed.submission)[0])
    receipt.verify(rig.keys.cert.receipt_pk)
    assert receipt.accepted_at == START // HOUR * HOUR

    # Even when the customer has deleted the mailbox.
    row = rig.row(box)
    rig.run(lambda rows: rig.mailboxes.delete(rows, [row]))
    assert receipt_of(rig.submit(signed.submission)[0]) == receipt


def test_the_same_envelope_id_with_another_charge_is_a_conflict(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    line = shop.line(is_open=False)
    first = rig.charge(shop, box, opening, line)
    receipt_of(rig.submit(first.submission)[0])
    envelope_id = first.submission.envelope_id
    again = shop.sign(box, opening, line, rig.beacon, envelope_id=envelope_id)
    for _ in range(2):
        (result,) = rig.submit(again.submission)
        assert result is not None
        assert result.code == codes.CONFLICT
        rig.ack(box, envelope_id, first.secret)  # billed once, also when it is gone


def test_a_lane_never_counts_back(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    line = shop.line(is_open=False)

    def with_seq(seq: int) -> Result | None:
        return rig.submit(shop.sign(box, opening, line, rig.beacon, seq=seq).submission)[0]

    receipt_of(with_seq(5))
    for seq in (5, 4, 0):
        result = with_seq(seq)
        assert refusal_of(result).code == RefusalCode.BAD_PARAMETER
        quote = refusal_of(result).quote
        assert quote is not None
        assert quote.line == line, "the line is right: sign anew"
    rig.restart()
    assert refusal_of(with_seq(5)).code == RefusalCode.BAD_PARAMETER
    receipt_of(with_seq(2**62))


def test_a_refused_charge_takes_neither_number_nor_pace(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    for _ in range(60):
        (result,) = rig.submit(rig.charge(shop, box, opening, shop.line(is_open=True)).submission)
        assert refusal_of(result).code == RefusalCode.OUTSIDE_WINDOW
    line = shop.line(is_open=False)
    receipt_of(rig.submit(shop.sign(box, opening, line, rig.beacon, seq=1).submission)[0])


def test_prices_are_those_in_force(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    stored = rig.run(lambda rows: rows.rate_cards())
    assert [card.hash for card in stored] == [CARD_HASH]
    new = msgspec.structs.replace
    from kurir_billing.ratecard import bundled, canonical, rate_card_hash
    from kurir_server.rows import StoredRateCard

    card = bundled()
    dearer = new(card.markets["ID"], utility=30_000)
    later = new(
        card,
        version=card.version + 1,
        effective_from=START + DAY,
        markets=card.markets | {"ID": dearer},
    )
    body = canonical(later)
    name = rate_card_hash(body)
    rig.run(
        lambda rows: rows.add_rate_card(
            StoredRateCard(later.version, name, START + DAY, rig.keys.rate_card(body))
        )
    )
    rig.now = START + DAY - 1
    old = shop.line(is_open=False)
    receipt_of(rig.submit(rig.charge(shop, box, opening, old).submission)[0])
    rig.now = START + DAY
    (result,) = rig.submit(rig.charge(shop, box, opening, old).submission)
    quote = refusal_of(result).quote
    assert quote is not None
    assert (quote.line.rate_card, quote.line.list_price) == (name, 30_000)
    receipt_of(rig.submit(rig.charge(shop, box, opening, quote.line).submission)[0])


def test_garbage_in_the_place_of_a_charge(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    signed = rig.charge(shop, box, opening, shop.line(is_open=False))
    submission = signed.submission
    charge = submission.charge
    assert charge is not None
    for data in (b"\0", charge[:-1], charge + b"\0", b"\xff" * 100):
        (result,) = rig.submit(msgspec.structs.replace(submission, charge=data))
        assert result is not None
        assert result.code == codes.MALFORMED
    both = msgspec.structs.replace(submission, token=bytes(32))
    (result,) = rig.submit(both)
    assert result is not None
    assert result.code == codes.MALFORMED


def test_nothing_secret_in_a_repr(rig: Rig) -> None:
    secret = rig.keys.prf.hex()
    text = repr(rig.keys)
    assert rig.keys.prf.hex() not in text
    assert repr(rig.keys.prf) not in text
    assert "_secret" not in text
    assert secret
    assert isinstance(OPEN_GATE, bytes)
    assert Charge.__name__ == "Charge"
