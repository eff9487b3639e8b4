"""Acknowledging, settling and owing: nobody is billed for what was not read, nobody reads on
without settling."""

from __future__ import annotations

import secrets

import pytest

from kurir_billing.head import InvoiceHead, open_head
from kurir_billing.leaf import open_leaf
from kurir_server.limits import MAX_UNSETTLED
from kurir_wire import codes
from kurir_wire.entries import Ack, Result
from kurir_wire.frames import (
    Acks,
    Deliver,
    GetSettlements,
    InvoiceIs,
    Open,
    SettlementsAre,
    Submit,
    decode_push,
)
from kurir_wire.ids import DAY, HOUR, NO_HASH
from tests.server.helpers import Box, Shop, Signed, receipt_of
from tests.server.rig import START, Rig


def send(rig: Rig, shop: Shop, box: Box, opening: bytes, count: int) -> list[Signed]:
    """Accepted charges at list price."""
    signed = [rig.charge(shop, box, opening, shop.line(is_open=False)) for _ in range(count)]
    for one in signed:
        receipt_of(rig.submit(one.submission)[0])
        rig.tick += 6
    return signed


def ids(found: list[Signed]) -> list[bytes]:
    return [signed.submission.envelope_id for signed in found]


def test_the_label_comes_with_the_envelope(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    (signed,) = send(rig, shop, box, opening, 1)
    (delivery,) = rig.waiting(box)
    assert delivery.label == signed.charge.label()
    assert delivery.body == signed.submission.body


def test_a_settled_charge_becomes_a_leaf_that_anyone_can_check(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    (signed,) = send(rig, shop, box, opening, 1)
    rig.fetch(box)
    rig.now += 3 * DAY
    assert rig.ack(box, signed.submission.envelope_id, signed.secret) is None
    (data,) = rig.run(lambda rows: rows.leaves(shop.id, rig.now // DAY, NO_HASH, 10))
    leaf = open_leaf(data)
    leaf.check_signature(rig.keys.relay_id)
    leaf.check_settlement()
    assert leaf.charge_hash(rig.keys.relay_id) == signed.hash
    assert leaf.settled_day == rig.now // DAY
    # What tied the charge to its mailbox is gone.
    kept = rig.run(lambda rows: rows.charge(signed.hash))
    assert kept is not None
    assert (kept.body, kept.private_hash) == (None, None)
    assert rig.waiting(box) == []
    assert rig.ack(box, signed.submission.envelope_id, signed.secret) is None, "idempotent"
    assert rig.count("leaves") == 1


@pytest.mark.parametrize("secret", [None, bytes(32)])
def test_without_the_secret_it_goes_away_unpaid(rig: Rig, secret: bytes | None) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    (signed,) = send(rig, shop, box, opening, 1)
    rig.fetch(box)
    result = rig.ack(box, signed.submission.envelope_id, secret)
    assert result == Result(codes.OK, "removed without settling", left=MAX_UNSETTLED - 1)
    assert rig.count("leaves") == 0
    # The secret comes too late now.
    assert rig.ack(box, signed.submission.envelope_id, signed.secret) is None
    assert rig.count("leaves") == 0


def test_a_client_that_never_acknowledges_gets_eight(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    signed = send(rig, shop, box, opening, 20)
    for _ in range(3):  # coming back shows the same eight
        batch = rig.fetch(box)
        assert [d.envelope_id for d in batch.deliveries] == ids(signed[:8])
        assert batch.blocked
    rig.ack(box, ids(signed)[0], signed[0].secret)
    batch = rig.fetch(box)
    assert [d.envelope_id for d in batch.deliveries] == ids(signed[1:9])


def test_whoever_is_there_gets_it_from_the_transaction_that_takes_it(rig: Rig) -> None:
    """Its number as handed over is on disk with it, so the debt rule holds as for one that is
    read later."""
    shop = rig.shop()
    box, opening = rig.customer(shop)
    signed = [rig.charge(shop, box, opening, shop.line(is_open=False)) for _ in range(10)]
    arrivals = rig.submitted(*(one.submission for one in signed), is_read=True).arrivals
    assert [arrival.delivery is not None for arrival in arrivals] == [True] * 8 + [False] * 2
    delivery = arrivals[0].delivery
    assert delivery is not None
    assert (delivery.body, delivery.label) == (signed[0].submission.body, signed[0].charge.label())
    rig.restart()
    batch = rig.fetch(box)
    assert [d.envelope_id for d in batch.deliveries] == ids(signed[:8])
    assert batch.blocked
    # What was handed over and not settled is owed for at its end.
    rig.now += 25 * HOUR
    rig.tidy()
    last = rig.charge(shop, box, opening, shop.line(is_open=False))
    (arrival,) = rig.submitted(last.submission, is_read=True).arrivals
    assert arrival.delivery is None
    assert rig.fetch(box).blocked


def test_nothing_overtakes_what_was_not_handed_over(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    send(rig, shop, box, opening, 1)
    later = rig.charge(shop, box, opening, shop.line(is_open=False))
    (arrival,) = rig.submitted(later.submission, is_read=True).arrivals
    assert arrival.delivery is None
    assert len(rig.waiting(box)) == 2


def test_a_reader_on_the_line_needs_no_read_from_the_store(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    reader = rig.connection()
    reader.send(Open(1, [box.opening(rig.nonce)]))
    signed = [rig.charge(shop, box, opening, shop.line(is_open=False)) for _ in range(9)]
    seen: list[bytes] = []
    for one in signed[:8]:
        rig.connection().send(Submit(1, [one.submission]))
        output = reader.connection.take()
        assert not output.jobs
        (deliver,) = map(decode_push, output.frames)
        assert isinstance(deliver, Deliver)
        seen += [delivery.envelope_id for delivery in deliver.deliveries]
        rig.tick += 6
    assert seen == ids(signed[:8])
    rig.connection().send(Submit(1, [signed[8].submission]))
    assert reader.collect() == [], "eight are unsettled"
    paid = Acks(2, [Ack(box.id, seen[0], signed[0].secret)])
    assert [d for f in reader.send(paid) if isinstance(f, Deliver) for d in f.deliveries] != []


def test_a_client_that_never_settles_gets_eight(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    signed = send(rig, shop, box, opening, 20)
    seen: list[bytes] = []
    for _ in range(20):
        deliveries = rig.waiting(box)
        seen += [d.envelope_id for d in deliveries if d.envelope_id not in seen]
        for delivery in deliveries:
            rig.ack(box, delivery.envelope_id, secrets.token_bytes(32))
    assert seen == ids(signed[:8])
    assert rig.fetch(box).blocked
    assert rig.count("leaves") == 0


def test_waiting_for_the_end_of_an_envelope_is_no_way_round(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    send(rig, shop, box, opening, 8)
    assert len(rig.waiting(box)) == 8
    rig.now += 25 * HOUR  # the life of the test's envelopes is 24 hours
    rig.tidy()
    assert rig.count("envelopes") == 0
    send(rig, shop, box, opening, 1)
    batch = rig.fetch(box)
    assert (batch.deliveries, batch.blocked) == ([], True)


def test_an_envelope_that_was_never_handed_over_owes_nothing(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    send(rig, shop, box, opening, 8)
    rig.now += 25 * HOUR
    assert rig.waiting(box) == [], "expired, though housekeeping has not been there"
    rig.tidy()
    send(rig, shop, box, opening, 1)
    assert len(rig.waiting(box)) == 1


def test_each_settlement_lowers_the_debt(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    signed = send(rig, shop, box, opening, 20)
    rig.fetch(box)
    for one in signed[:4]:
        rig.ack(box, one.submission.envelope_id)
    assert len(rig.waiting(box)) == 4, "four owed, four handed over"
    for one in signed[4:8]:
        rig.ack(box, one.submission.envelope_id, one.secret)
    assert [d.envelope_id for d in rig.waiting(box)] == ids(signed[8:16])


def test_too_late_to_settle(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    (signed,) = send(rig, shop, box, opening, 1)
    rig.fetch(box)
    rig.now += 30 * DAY
    result = rig.ack(box, signed.submission.envelope_id, signed.secret)
    assert result is not None
    assert rig.count("leaves") == 0


def test_a_deleted_mailbox_settles_nothing(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    (signed,) = send(rig, shop, box, opening, 1)
    row = rig.row(box)
    rig.run(lambda rows: rig.mailboxes.delete(rows, [row]))
    kept = rig.run(lambda rows: rows.charge(signed.hash))
    assert kept is not None
    assert kept.body is None
    assert rig.count("mailboxes") == 1, "the address"
    rig.now += 33 * DAY
    rig.tidy()
    assert rig.count("charges") == rig.count("used_envelopes") == 0


def head(rig: Rig, shop: Shop, month: int) -> InvoiceHead | Result:
    reply = rig.run(lambda rows: rig.registry.invoice(rows, rig.moment, shop.id, 1, month))
    return open_head(reply.head) if isinstance(reply, InvoiceIs) else reply


def page(rig: Rig, shop: Shop, day: int, after: bytes = NO_HASH) -> SettlementsAre | Result:
    request = GetSettlements(1, day, after)
    return rig.run(lambda rows: rig.registry.settlements(rows, rig.moment, shop.id, request))


def test_settlements_of_days_that_are_over_in_order_of_their_hash(rig: Rig) -> None:
    shop = rig.shop()
    total = 0
    for _ in range(8):
        box, opening = rig.customer(shop)
        for signed in send(rig, shop, box, opening, 40):
            rig.fetch(box)
            rig.ack(box, signed.submission.envelope_id, signed.secret)
            total += 1
    day = rig.now // DAY
    assert isinstance(page(rig, shop, day), Result)
    assert isinstance(page(rig, shop, day + 1), Result)
    rig.now = (day + 1) * DAY
    names: list[bytes] = []
    after: bytes = NO_HASH
    while True:
        reply = page(rig, shop, day, after)
        assert isinstance(reply, SettlementsAre)
        names += [open_leaf(data).charge_hash(rig.keys.relay_id) for data in reply.leaves]
        if not reply.more:
            break
        after = names[-1]
    assert len(names) == total == 320
    assert names == sorted(set(names))
    assert page(rig, rig.shop(), day) == SettlementsAre(1, [], False)


def test_the_invoice_runs_to_yesterday(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    day = START // DAY  # 2027-01-15
    for when in (day, day + 1):
        rig.now = when * DAY + HOUR
        (signed,) = send(rig, shop, box, opening, 1)
        rig.fetch(box)
        rig.ack(box, signed.submission.envelope_id, signed.secret)
    first = head(rig, shop, 202701)
    assert isinstance(first, InvoiceHead)
    assert (first.through_day, first.count, first.total_micro_usd) == (day, 1, 25_000)
    first.verify(rig.keys.cert.operator_pk, rig.keys.relay_id)
    rig.now += DAY
    second = head(rig, shop, 202701)
    assert isinstance(second, InvoiceHead)
    assert (second.through_day, second.count, second.total_micro_usd) == (day + 1, 2, 50_000)
    rig.now += 60 * DAY
    final = head(rig, shop, 202701)
    assert isinstance(final, InvoiceHead)
    assert (final.through_day, final.count) == (day + 16, 2)
    for month in (0, 13, 202700, 202713, 209912, 4_294_967_295):
        assert isinstance(head(rig, shop, month), Result)
    rig.now = (day + 17) * DAY  # the first of February
    assert isinstance(head(rig, shop, 202702), Result)
