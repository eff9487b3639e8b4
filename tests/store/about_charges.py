"""The suite about charges, leaves, and what carries its own end."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from kurir_server.ledger_rows import StoredReport
from kurir_server.rows import Rows, StoredCharge, StoredTicket, Swept
from kurir_wire.ids import NO_HASH
from tests.store.harness import BYTES, NUMBERS, Stage, covers, hash_of, shop

DAY = 20_000


class AboutCharges:
    @covers("add_charge", "charge", "close_charge")
    def test_a_charge_until_it_is_closed(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.charge(hash_of(1))) is None
        for number, value in enumerate(NUMBERS):
            body = BYTES[number % len(BYTES)]
            stage.run(
                lambda rows, n=number, v=value, b=body: rows.add_charge(  # type: ignore[misc]
                    hash_of(n), v, hash_of(99), b, v
                )
            )
            found = stage.run(lambda rows, n=number: rows.charge(hash_of(n)))  # type: ignore[misc]
            assert found == StoredCharge(value, hash_of(99), body)
        stage.run(lambda rows: rows.close_charge(hash_of(1)))
        assert stage.run(lambda rows: rows.charge(hash_of(1))) == StoredCharge(1, None, None)
        stage.run(lambda rows: rows.close_charge(hash_of(1)))
        stage.run(lambda rows: rows.close_charge(hash_of(77)))
        assert stage.run(lambda rows: rows.charge(hash_of(77))) is None
        stage.refused(lambda rows: rows.add_charge(hash_of(1), 2, hash_of(3), b"new", 4))

    @covers("is_used", "use")
    def test_used_tags(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.is_used(b"tag")) is False
        stage.run(lambda rows: rows.use(b"tag", DAY))
        assert stage.run(lambda rows: rows.is_used(b"tag")) is True
        assert stage.run(lambda rows: rows.is_used(b"tag\0")) is False
        stage.refused(lambda rows: rows.use(b"tag", DAY))

    @covers("lane_seq", "set_lane_seq")
    def test_the_last_number_of_a_lane(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.lane_seq(b"lane")) is None
        for number in NUMBERS:
            stage.run(lambda rows, n=number: rows.set_lane_seq(b"lane", n, DAY))  # type: ignore[misc]
            assert stage.run(lambda rows: rows.lane_seq(b"lane")) == number
        assert stage.run(lambda rows: rows.lane_seq(b"lame")) is None

    @covers("mark", "put_mark")
    def test_a_mark_is_what_was_put_last(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.mark(b"tag")) is None
        for hour, sealed in enumerate(BYTES):
            stage.run(lambda rows, h=hour, s=sealed: rows.put_mark(b"tag", h, s))  # type: ignore[misc]
            assert stage.run(lambda rows: rows.mark(b"tag")) == sealed
        assert stage.run(lambda rows: rows.mark(b"tag\0")) is None

    @covers("add_start", "is_started", "starts")
    def test_starts_count_until_they_end(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.starts(shop(1), 0)) == (0, 0)
        for business, tag, end in ((1, b"a", 12), (1, b"b", 10), (2, b"c", 11), (1, b"d", 12)):
            stage.run(lambda rows, b=business, t=tag, e=end: rows.add_start(shop(b), t, e))  # type: ignore[misc]
        counts = [stage.run(lambda rows, h=hour: rows.starts(shop(1), h)) for hour in range(9, 13)]  # type: ignore[misc]
        assert counts == [(3, 10), (2, 12), (2, 12), (0, 0)]
        assert stage.run(lambda rows: rows.starts(shop(2), 10)) == (1, 11)
        assert stage.run(lambda rows: rows.is_started(b"b", 9)) is True
        assert stage.run(lambda rows: rows.is_started(b"b", 10)) is False
        assert stage.run(lambda rows: rows.is_started(b"x", 0)) is False
        stage.run(lambda rows: rows.add_start(shop(1), b"b", 30))
        assert stage.run(lambda rows: rows.is_started(b"b", 29)) is True
        assert stage.run(lambda rows: rows.starts(shop(1), 0)) == (3, 12)

    @covers("add_leaf", "leaf")
    def test_leaves_are_of_one_business_and_day(self, stage: Stage) -> None:
        stage.run(lambda rows: rows.add_leaf(shop(1), DAY, hash_of(1), b"leaf"))
        assert stage.run(lambda rows: rows.leaf(shop(1), DAY, hash_of(1))) == b"leaf"
        assert stage.run(lambda rows: rows.leaf(shop(2), DAY, hash_of(1))) is None
        assert stage.run(lambda rows: rows.leaf(shop(1), DAY + 1, hash_of(1))) is None
        assert stage.run(lambda rows: rows.leaf(shop(1), DAY, hash_of(2))) is None
        stage.refused(lambda rows: rows.add_leaf(shop(1), DAY, hash_of(1), b"other"))
        stage.run(lambda rows: rows.add_leaf(shop(1), DAY + 1, hash_of(1), b"other"))

    @covers("leaves")
    def test_a_day_of_leaves_in_pages_in_order_of_their_hash(self, stage: Stage) -> None:
        hashes = [hash_of(n) for n in (9, 300, 2, 70_000)] + [type(NO_HASH)(b"\xff" * 32)]
        for name in hashes:
            stage.run(lambda rows, name=name: rows.add_leaf(shop(1), DAY, name, bytes(name)))  # type: ignore[misc]
        stage.run(lambda rows: rows.add_leaf(shop(1), DAY + 1, hash_of(1), b"another day"))
        stage.run(lambda rows: rows.add_leaf(shop(2), DAY, hash_of(1), b"another shop"))
        seen: list[bytes] = []
        after = NO_HASH
        while page := stage.run(lambda rows, a=after: rows.leaves(shop(1), DAY, a, 2)):  # type: ignore[misc]
            assert len(page) <= 2
            seen += page
            after = type(NO_HASH)(page[-1])
        assert seen == sorted(hashes)

    @covers("leaves_of_days")
    def test_leaves_of_some_days(self, stage: Stage) -> None:
        for day in range(DAY, DAY + 5):
            for number in range(3):
                stage.run(
                    lambda rows, d=day, n=number: rows.add_leaf(  # type: ignore[misc]
                        shop(1), d, hash_of(n), b"%d %d" % (d, n)
                    )
                )
        stage.run(lambda rows: rows.add_leaf(shop(2), DAY + 1, hash_of(1), b"another shop"))
        found = stage.run(lambda rows: list(rows.leaves_of_days(shop(1), DAY + 1, DAY + 3)))
        assert sorted(found) == [
            b"%d %d" % (day, n) for day in range(DAY + 1, DAY + 4) for n in range(3)
        ]
        assert stage.run(lambda rows: list(rows.leaves_of_days(shop(1), DAY + 5, DAY + 9))) == []
        assert stage.run(lambda rows: list(rows.leaves_of_days(shop(1), DAY + 1, DAY))) == []

    @covers("leaves_of_days")
    def test_leaves_are_read_when_they_are_wanted(self, stage: Stage) -> None:
        def fill(rows: Rows) -> None:
            for number in range(200):
                rows.add_leaf(shop(1), DAY, hash_of(number), number.to_bytes(2, "big") * 32_768)

        stage.run(fill)
        stage.reopen()

        def work(rows: Rows) -> int:
            tracemalloc.start()
            return sum(len(leaf) for leaf in rows.leaves_of_days(shop(1), 0, DAY))

        try:
            total = stage.run(work)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert total == 200 * 65_536
        assert peak < 4 * 2**20, "of 12.5 MiB"

    # Housekeeping

    @covers("sweep")
    @pytest.mark.parametrize("kind", Swept)
    def test_a_sweep_in_pages_removes_what_has_ended(self, stage: Stage, kind: Swept) -> None:
        add, is_there = THINGS[kind]

        def fill(rows: Rows) -> None:
            for number in range(7):
                add(rows, number, 100 + number)

        stage.run(fill)
        seen = 0
        after: bytes | int | None = None
        while True:
            after = stage.run(lambda rows, a=after: rows.sweep(kind, a, 2, 103))  # type: ignore[misc]
            seen += 1
            if after is None:
                break
        assert seen == 4
        left = stage.run(lambda rows: [n for n in range(7) if is_there(rows, n)])
        assert left == [4, 5, 6], "what ends at the end goes, what ends later stays"

    @covers("sweep")
    @pytest.mark.parametrize("kind", Swept)
    def test_a_sweep_sees_what_its_transaction_wrote(self, stage: Stage, kind: Swept) -> None:
        add, is_there = THINGS[kind]

        def work(rows: Rows) -> list[int]:
            for number in range(4):
                add(rows, number, 100 + number)
            assert rows.sweep(kind, None, 9, 101) is None
            return [n for n in range(4) if is_there(rows, n)]

        assert stage.run(work) == [2, 3]

    @covers("sweep")
    @pytest.mark.parametrize("kind", Swept)
    def test_a_sweep_looks_at_so_many_and_no_more(self, stage: Stage, kind: Swept) -> None:
        add, is_there = THINGS[kind]

        def fill(rows: Rows) -> None:
            for number in range(6):
                add(rows, number, 5)

        stage.run(fill)
        assert stage.run(lambda rows: rows.sweep(kind, None, 4, 5)) == KEYS[kind](3)
        left = stage.run(lambda rows: [n for n in range(6) if is_there(rows, n)])
        assert left == [4, 5]
        assert stage.run(lambda rows: rows.sweep(kind, KEYS[kind](4), 4, 5)) is None
        left = stage.run(lambda rows: [n for n in range(6) if is_there(rows, n)])
        assert left == [4], "only what comes after the key"
        assert stage.run(lambda rows: rows.sweep(kind, None, 1, 4)) == KEYS[kind](4)
        assert stage.run(lambda rows: rows.sweep(kind, KEYS[kind](4), 1, 4)) is None


Adds = Callable[[Rows, int, int], None]
Asks = Callable[[Rows, int], bool]

THINGS: dict[Swept, tuple[Adds, Asks]] = {
    Swept.CARDS: (
        lambda rows, n, end: rows.put_card(n, b"card", end),
        lambda rows, n: rows.card(n, 0) is not None,
    ),
    Swept.CHARGES: (
        lambda rows, n, end: rows.add_charge(hash_of(n), 1, hash_of(2), b"charge", end),
        lambda rows, n: rows.charge(hash_of(n)) is not None,
    ),
    Swept.USED: (
        lambda rows, n, end: rows.use(hash_of(n), end),
        lambda rows, n: rows.is_used(hash_of(n)),
    ),
    Swept.LANES: (
        lambda rows, n, end: rows.set_lane_seq(hash_of(n), 7, end),
        lambda rows, n: rows.lane_seq(hash_of(n)) is not None,
    ),
    Swept.MARKS: (
        lambda rows, n, end: rows.put_mark(hash_of(n), end, b"sealed"),
        lambda rows, n: rows.mark(hash_of(n)) is not None,
    ),
    Swept.STARTS: (
        lambda rows, n, end: rows.add_start(shop(1), hash_of(n), end),
        lambda rows, n: rows.is_started(hash_of(n), 0),
    ),
    Swept.TICKETS: (
        lambda rows, n, end: rows.add_ticket(shop(1), StoredTicket(hash_of(n), end, b"signature")),
        lambda rows, n: hash_of(n) in [ticket.entry_id for ticket in rows.tickets(shop(1), 0)],
    ),
    Swept.REPORTS: (
        lambda rows, n, end: rows.add_report(StoredReport(hash_of(n), end, b"sealed")),
        lambda rows, n: rows.report(hash_of(n)) is not None,
    ),
}
"""How to add one of each with an end, and how to ask for it. Every member of Swept is here."""
KEYS: dict[Swept, Callable[[int], Any]] = dict.fromkeys(Swept, hash_of) | {
    Swept.CARDS: lambda number: number
}
"""The key of the one with a number."""
