"""The operator's box: what the relay takes into it, how much, how long; and what it hands out."""

from __future__ import annotations

import pytest

from kurir_billing.adjust import open_adjust
from kurir_server import reports as reports_module
from kurir_server.ledger_rows import StoredAdjust
from kurir_server.limits import (
    MAX_REPORT_BYTES,
    MAX_REPORTS,
    PAGE_ADJUSTMENTS,
    REPORT_NETWORK_RATE,
    REPORT_RATE,
)
from kurir_server.rows import Rows
from kurir_wire import codes
from kurir_wire.codec import pack
from kurir_wire.entries import Result
from kurir_wire.frames import AdjustmentsAre, Error, GetAdjustments, Results, SendReport
from kurir_wire.ids import DAY, NO_HASH, BusinessId, Hash
from kurir_wire.limits import MAX_FRAME, REPORT_SIZES
from tests.protocol.make import TestBusiness, TestRelay
from tests.protocol.reported import make_reported
from tests.server.helpers import body
from tests.server.rig import START, Rig, Talk

TODAY = START // DAY
MONTH = 202701


def leave(rig: Rig, data: bytes, talk: Talk | None = None) -> Result | None:
    """:returns: nothing, or why not"""
    (reply,) = (talk or rig.connection(data[:8])).send(SendReport(5, data))
    if isinstance(reply, Error):
        assert reply.n == 5
        return reply.result
    assert reply == Results(5, [None])
    return None


def code(result: Result | None) -> str:
    return "ok" if result is None else result.code


def test_anybody_may_leave_a_report(rig: Rig) -> None:
    for size in REPORT_SIZES:
        assert leave(rig, body(size)) is None
    stored = rig.run(lambda rows: rows.reports())
    assert sorted(len(report.sealed) for report in stored) == list(REPORT_SIZES)
    assert {report.day for report in stored} == {TODAY}
    assert [report.id for report in stored] == sorted(report.id for report in stored)


@pytest.mark.parametrize("size", [0, 1, 4_095, 4_097, 65_536])
def test_of_no_other_length(rig: Rig, size: int) -> None:
    assert code(leave(rig, body(size))) == codes.MALFORMED
    assert rig.count("reports") == 0


def test_a_repeated_frame_is_no_second_report(rig: Rig) -> None:
    data = body(4_096)
    assert leave(rig, data) is None
    rig.now += DAY
    assert leave(rig, data) is None
    assert [report.day for report in rig.run(lambda rows: rows.reports())] == [TODAY]


def test_a_box_that_is_full(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_REPORTS * REPORT_SIZES[0] < MAX_REPORT_BYTES
    first = body(4_096)
    monkeypatch.setattr(reports_module, "MAX_REPORTS", 2)
    assert leave(rig, first) is None
    assert leave(rig, body(16_384)) is None
    refused = leave(rig, body(4_096))
    assert refused is not None
    assert (refused.code, refused.retry_after) == (codes.FULL, DAY)
    assert leave(rig, first) is None, "it is there already"
    monkeypatch.setattr(reports_module, "MAX_REPORTS", 100)
    monkeypatch.setattr(reports_module, "MAX_REPORT_BYTES", 4_096 + 16_384 + 4_096)
    assert code(leave(rig, body(16_384))) == codes.FULL
    assert leave(rig, body(4_096)) is None
    assert code(leave(rig, body(4_096))) == codes.FULL


def test_the_pace_of_a_connection_and_of_a_network(rig: Rig) -> None:
    talk = rig.connection(b"one")
    for _ in range(REPORT_RATE.burst):
        assert leave(rig, body(4_096), talk) is None
    slow = leave(rig, body(4_096), talk)
    assert slow is not None
    assert (slow.code, slow.retry_after) == (codes.RATE, 500)
    rig.tick += 500
    assert leave(rig, body(4_096), talk) is None
    taken = 0
    while code(leave(rig, body(4_096), rig.connection(b"many"))) == "ok":
        taken += 1
    assert taken == REPORT_NETWORK_RATE.burst
    assert leave(rig, body(4_096), rig.connection(b"another")) is None


def test_nothing_is_taken_while_the_disk_fails(rig: Rig) -> None:
    talk = rig.connection()
    talk.is_failing = True
    assert code(leave(rig, body(4_096), talk)) == codes.UNAVAILABLE


def test_a_report_waits_for_ninety_days(rig: Rig) -> None:
    leave(rig, body(4_096))
    rig.now += 89 * DAY
    rig.tidy()
    assert rig.count("reports") == 1
    rig.now += DAY
    rig.tidy()
    assert rig.count("reports") == 0


# Adjustments


def store(rig: Rig, business_id: BusinessId, day: int, name: str, copy: bytes = b"") -> Hash:
    made = make_reported(TestRelay(), TestBusiness(), name, day=day)
    adjust = made.adjust()
    found = adjust.hash(rig.keys.relay_id)

    def work(rows: Rows) -> None:
        rows.add_adjust(
            StoredAdjust(
                business_id,
                day,
                found,
                made.leaf.hash(rig.keys.relay_id),
                pack(adjust),
                pack(made.leaf),
                copy,
            )
        )

    rig.run(work)
    return found


def names(rig: Rig, reply: object) -> list[Hash]:
    assert isinstance(reply, AdjustmentsAre), reply
    return [open_adjust(item.adjust).hash(rig.keys.relay_id) for item in reply.adjustments]


def test_a_business_fetches_its_own_of_past_days(rig: Rig) -> None:
    shop, rival = rig.shop(), rig.shop()
    mine = {store(rig, shop.id, day, f"a{day}") for day in (TODAY - 10, TODAY - 1)}
    for other in (TODAY, TODAY - 20, TODAY + 30):  # not over; of another month; to come
        store(rig, shop.id, other, f"b{other}")
    store(rig, rival.id, TODAY - 1, "of another")
    talk = rig.proved(shop)
    (reply,) = talk.send(GetAdjustments(2, MONTH, NO_HASH))
    assert names(rig, reply) == sorted(mine)
    rig.now += DAY
    (reply,) = talk.send(GetAdjustments(3, MONTH, NO_HASH))
    assert len(names(rig, reply)) == 3
    for nonsense in (0, 202713, 202700, 190001, 9_999_99):
        (refused,) = talk.send(GetAdjustments(4, nonsense, NO_HASH))
        assert isinstance(refused, Error)
        assert refused.result.code == codes.NOT_FOUND
    (refused,) = rig.connection().send(GetAdjustments(5, MONTH, NO_HASH))
    assert isinstance(refused, Error)
    assert refused.result.code == codes.NOT_AUTHORISED


def test_a_long_list_comes_in_pages_that_fit_a_frame(rig: Rig) -> None:
    shop = rig.shop()
    count = 2 * PAGE_ADJUSTMENTS + 1
    all_of_them = [
        store(rig, shop.id, TODAY - 1, str(number), body(REPORT_SIZES[-1]))
        for number in range(count)
    ]
    talk, found, after, pages = rig.proved(shop), [], Hash(NO_HASH), 0
    while True:
        (reply,) = talk.send(GetAdjustments(2, MONTH, after))
        assert len(pack(reply)) < MAX_FRAME
        found += names(rig, reply)
        after, pages = found[-1], pages + 1
        assert isinstance(reply, AdjustmentsAre)
        if not reply.more:
            break
    assert (found, pages) == (sorted(all_of_them), 3)
