"""The suite about the relay itself, mailboxes, envelopes and the cards left with them."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise

import pytest
from msgspec.structs import replace

from kurir_server.limits import MAX_NUMBER
from kurir_server.rows import Aged, Mailbox, Rows, StoredCharge, Taken, Waiting
from tests.store.harness import (
    BYTES,
    LARGEST,
    NUMBERS,
    Stage,
    box_id,
    covers,
    envelope_id,
    gate,
    hash_of,
)

HOUR = 400_000


class AboutMailboxes:
    @covers("minute", "set_minute")
    def test_the_last_minute(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.minute()) == 0
        for minute in (30_000_000, LARGEST, 7):
            stage.run(lambda rows, minute=minute: rows.set_minute(minute))  # type: ignore[misc]
            assert stage.run(lambda rows: rows.minute()) == minute

    @covers("sure_minute", "set_sure_minute")
    def test_what_was_sure_of_it(self, stage: Stage) -> None:
        stage.run(lambda rows: rows.set_minute(9))
        assert stage.run(lambda rows: rows.sure_minute()) == 9
        for minute in (30_000_000, LARGEST, 7):
            stage.run(lambda rows, minute=minute: rows.set_sure_minute(minute))  # type: ignore[misc]
            assert stage.run(lambda rows: (rows.minute(), rows.sure_minute())) == (9, minute)

    @covers("add_mailbox", "mailbox", "mailbox_at")
    def test_a_new_mailbox(self, stage: Stage) -> None:
        stage.run(lambda rows: rows.add_mailbox(box_id(1), b"r" * 32, gate(1), 480_000))
        found = stage.run(lambda rows: rows.mailbox(box_id(1)))
        assert found is not None
        assert 0 <= found.row <= LARGEST
        expected = Mailbox(found.row, box_id(1), b"r" * 32, gate(1), 1, 0, 0, 0, 0, 480_000, 0)
        assert found == expected
        assert stage.run(lambda rows: rows.mailbox_at(found.row)) == expected
        assert stage.run(lambda rows: rows.mailbox(box_id(2))) is None
        assert stage.run(lambda rows: rows.mailbox_at(found.row ^ 1)) is None

    @covers("add_mailbox")
    def test_a_mailbox_is_there_once(self, stage: Stage) -> None:
        row = stage.mailbox(1)
        stage.refused(lambda rows: rows.add_mailbox(box_id(1), b"o" * 32, gate(2), 9))
        found = stage.run(lambda rows: rows.mailbox(box_id(1)))
        assert found is not None
        assert (found.row, found.read_pk) == (row, b"k" * 32)

    @covers("add_mailbox")
    def test_rows_say_nothing_of_their_order(self, stage: Stage) -> None:
        rows = [stage.mailbox(number) for number in range(40)]
        assert len(set(rows)) == 40
        rising = sum(a < b for a, b in pairwise(rows))
        assert 5 < rising < 34, "neither rising nor falling"
        assert max(rows) > 2**31

    @covers("put_counters", "mailbox_at")
    def test_counters_are_written_back_and_nothing_else_is(self, stage: Stage) -> None:
        row, other = stage.mailbox(1), stage.mailbox(2)
        before = stage.run(lambda rows: rows.mailbox_at(other))
        found = stage.run(lambda rows: rows.mailbox_at(row))
        assert found is not None
        for number in NUMBERS:
            changed = replace(
                found,
                next_n=number,
                depth=number,
                size=number,
                debt=number,
                handed_n=number,
            )
            asked = replace(changed, refused=7, keep_until=1, gate=gate(9), read_pk=b"x" * 32)
            stage.run(lambda rows, asked=asked: rows.put_counters(asked))  # type: ignore[misc]
            assert stage.run(lambda rows: rows.mailbox_at(row)) == changed
        assert stage.run(lambda rows: rows.mailbox_at(other)) == before

    @covers("mailbox")
    def test_a_record_is_a_copy(self, stage: Stage) -> None:
        stage.mailbox(1)

        def work(rows: Rows) -> Mailbox | None:
            found = rows.mailbox(box_id(1))
            assert found is not None
            found.depth = 99
            return rows.mailbox(box_id(1))

        again = stage.run(work)
        assert again is not None
        assert again.depth == 0

    @covers("keep_mailbox", "mailboxes_after")
    def test_mailboxes_in_pages(self, stage: Stage) -> None:
        rows_of = {stage.mailbox(number, 1_000 + number): 1_000 + number for number in range(7)}
        kept = min(rows_of)
        stage.run(lambda rows: rows.keep_mailbox(kept, 5_000))
        rows_of[kept] = 5_000
        seen: list[tuple[int, int]] = []
        after = -1
        while True:
            page = stage.run(lambda rows, after=after: rows.mailboxes_after(after, 3))  # type: ignore[misc]
            seen += page
            if len(page) < 3:
                break
            after = page[-1][0]
        assert seen == sorted(rows_of.items())
        assert stage.run(lambda rows: rows.mailboxes_after(seen[-1][0], 3)) == []

    @covers("set_refused", "mailbox_at")
    def test_what_a_mailbox_takes_no_more(self, stage: Stage) -> None:
        row, other = stage.mailbox(1), stage.mailbox(2)
        before = stage.run(lambda rows: rows.mailbox_at(row))
        assert before is not None
        for categories in (5, 255, 0):
            stage.run(lambda rows, c=categories: rows.set_refused(row, c))  # type: ignore[misc]
            found = stage.run(lambda rows: rows.mailbox_at(row))
            assert found == replace(before, refused=categories)
        stage.run(lambda rows: rows.set_refused(row, 3))
        left = stage.run(lambda rows: rows.mailbox_at(other))
        assert left is not None
        assert left.refused == 0

    @covers("put_counters", "keep_mailbox", "set_refused", "delete_mailbox", "put_card")
    def test_what_is_not_there_is_left_alone(self, stage: Stage) -> None:
        def work(rows: Rows) -> None:
            rows.keep_mailbox(5, 6)
            rows.put_counters(Mailbox(5, box_id(5), b"", gate(5), 9, 9, 9, 9, 9, 9, 9))
            rows.set_refused(5, 6)
            rows.delete_mailbox(5)
            rows.put_card(5, b"card", 9)

        stage.run(work)
        assert stage.run(lambda rows: rows.mailbox_at(5)) is None
        assert stage.run(lambda rows: rows.mailboxes_after(-1, 9)) == []

    @covers("delete_mailbox", "waiting", "card", "charge", "envelopes_after")
    def test_deleting_takes_all_that_is_in_it(self, stage: Stage) -> None:
        gone, kept = stage.mailbox(1), stage.mailbox(2)
        for row, first in ((gone, 1), (kept, 11)):
            stage.envelope(row, first, charge=stage.charge(first))
            stage.envelope(row, first + 1)
            stage.run(lambda rows, row=row: rows.put_card(row, b"card", HOUR + 1))  # type: ignore[misc]
        stage.run(lambda rows: rows.delete_mailbox(gone))
        assert stage.run(lambda rows: rows.mailbox_at(gone)) is None
        assert stage.run(lambda rows: rows.mailbox(box_id(1))) is None
        assert stage.run(lambda rows: list(rows.waiting(gone, 0, 0))) == []
        assert stage.run(lambda rows: rows.card(gone, HOUR)) is None
        assert stage.run(lambda rows: rows.charge(hash_of(1))) == StoredCharge(480_000, None, None)
        left = stage.run(lambda rows: rows.charge(hash_of(11)))
        assert left is not None
        assert left.body == b"charge 11"
        assert stage.run(lambda rows: [aged.n for aged in rows.envelopes_after(-1, 0, 9)]) == [
            11,
            12,
        ]
        assert stage.run(lambda rows: rows.card(kept, HOUR)) == b"card"
        assert stage.mailbox(1) != kept, "the id is free again"

    # Envelopes

    @covers("add_envelope", "envelope_body", "waiting")
    def test_an_envelope_comes_back_as_it_was(self, stage: Stage) -> None:
        row = stage.mailbox()
        for n, body in enumerate(BYTES, 1):
            name = stage.envelope(row, n, body=body)
            assert stage.run(lambda rows, name=name: rows.envelope_body(row, name)) == body  # type: ignore[misc]
        expected = [Waiting(n, envelope_id(n), body, None) for n, body in enumerate(BYTES, 1)]
        assert stage.run(lambda rows: list(rows.waiting(row, 0, 0))) == expected
        assert stage.run(lambda rows: rows.envelope_body(row, envelope_id(99))) is None

    @covers("add_envelope")
    def test_an_id_is_in_a_mailbox_once(self, stage: Stage) -> None:
        row, other = stage.mailbox(1), stage.mailbox(2)
        name = stage.envelope(row, 1, body=b"first")
        add = stage.run(lambda rows: rows.add_envelope(row, 2, name, HOUR, None, b"second"))
        assert add is False
        assert stage.run(lambda rows: rows.envelope_body(row, name)) == b"first"
        assert stage.run(lambda rows: rows.count_waiting(row, 0)) == 1
        assert stage.run(lambda rows: rows.add_envelope(other, 1, name, HOUR, None, b"third"))
        stage.run(lambda rows: rows.take_envelope(row, name))
        assert stage.run(lambda rows: rows.add_envelope(row, 2, name, HOUR, None, b"fourth"))

    @covers("add_envelope")
    def test_a_number_is_in_a_mailbox_once(self, stage: Stage) -> None:
        row = stage.mailbox()
        name = stage.envelope(row, 1, body=b"first")
        stage.refused(lambda rows: rows.add_envelope(row, 1, envelope_id(2), HOUR, None, b"second"))
        assert stage.run(lambda rows: rows.envelope_body(row, name)) == b"first"

    @covers("add_envelope")
    def test_numbers_end_and_no_mailbox_reaches_into_another(self, stage: Stage) -> None:
        row, other = stage.mailbox(1), stage.mailbox(2)
        last = stage.envelope(row, MAX_NUMBER, body=b"last")
        for n in (0, MAX_NUMBER + 1, 2**40):
            stage.refused(
                lambda rows, n=n: rows.add_envelope(row, n, envelope_id(9), HOUR, None, b"far")  # type: ignore[misc]
            )
        for n in (MAX_NUMBER - 1, MAX_NUMBER, 2**40):
            found = stage.run(lambda rows, n=n: list(rows.waiting(row, n, 0)))  # type: ignore[misc]
            assert [waits.envelope_id for waits in found] == ([last] if n < MAX_NUMBER else [])
        for beside in (row - 1, row + 1, other):
            assert stage.run(lambda rows, b=beside: list(rows.waiting(b, 0, 0))) == []  # type: ignore[misc]
            stage.run(lambda rows, b=beside: rows.delete_mailbox(b))  # type: ignore[misc]
        assert stage.run(lambda rows: rows.count_waiting(row, 0)) == 1

    @covers("renumber", "waiting")
    def test_counting_anew(self, stage: Stage) -> None:
        row, other = stage.mailbox(1), stage.mailbox(2)
        stage.envelope(other, 5)
        numbers = (1, 3, 70_000, MAX_NUMBER)
        for n in numbers:
            stage.envelope(row, n, charge=stage.charge(n), body=b"%d" % n)
        before = stage.run(lambda rows: rows.mailbox_at(row))
        assert stage.run(lambda rows: rows.renumber(row, 3)) == (4, 2)
        found = stage.run(lambda rows: list(rows.waiting(row, 0, 0)))
        assert found == [
            Waiting(place, envelope_id(n), b"%d" % n, b"charge %d" % n)
            for place, n in enumerate(numbers, 1)
        ]
        assert stage.run(lambda rows: rows.mailbox_at(row)) == before
        assert stage.run(lambda rows: [waits.n for waits in rows.waiting(other, 0, 0)]) == [5]
        assert stage.run(lambda rows: rows.take_envelope(row, envelope_id(3))) == Taken(
            2, 1, hash_of(3)
        )
        assert stage.run(lambda rows: rows.renumber(row, 1)) == (3, 1)
        assert stage.run(lambda rows: rows.renumber(row ^ 1, 1)) == (0, 0)

    @covers("waiting", "count_waiting")
    def test_what_waits_is_after_a_number_unexpired_and_in_order(self, stage: Stage) -> None:
        row, other = stage.mailbox(1), stage.mailbox(2)
        for n in (5, 300, 2, 70_000, 1):
            stage.envelope(row, n, hour=HOUR + n)
        stage.envelope(other, 3)

        def numbers(after: int, hour: int) -> list[int]:
            return stage.run(lambda rows: [w.n for w in rows.waiting(row, after, hour)])

        assert numbers(0, 0) == [1, 2, 5, 300, 70_000]
        assert numbers(2, 0) == [5, 300, 70_000]
        assert numbers(0, HOUR + 1) == [2, 5, 300, 70_000], "gone at its hour"
        assert numbers(0, HOUR + 5) == [300, 70_000]
        assert numbers(70_000, 0) == []
        assert stage.run(lambda rows: rows.count_waiting(row, HOUR + 5)) == 2
        assert stage.run(lambda rows: rows.count_waiting(row, 0)) == 5

    @covers("waiting", "close_charge")
    def test_what_waits_has_its_charge_while_there_is_one(self, stage: Stage) -> None:
        row = stage.mailbox()
        one, two = stage.charge(1), stage.charge(2)
        stage.envelope(row, 1, charge=one)
        stage.envelope(row, 2, charge=two)
        stage.envelope(row, 3, charge=hash_of(3))
        stage.envelope(row, 4)
        stage.run(lambda rows: rows.close_charge(two))
        found = stage.run(lambda rows: [(w.charge, w.whole) for w in rows.waiting(row, 0, 0)])
        assert found == [(b"charge 1", True), (None, False), (None, False), (None, True)]

    @covers("waiting")
    def test_bodies_are_read_when_they_are_wanted(self, stage: Stage) -> None:
        row = stage.mailbox()
        for n in range(1, 201):
            stage.envelope(row, n, body=n.to_bytes(2, "big") * 32_768)
        stage.reopen()

        def work(rows: Rows) -> bytes:
            tracemalloc.start()
            first = next(iter(rows.waiting(row, 0, 0)))
            return first.body

        try:
            body = stage.run(work)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert body == (1).to_bytes(2, "big") * 32_768
        assert peak < 4 * 2**20, "of 12.5 MiB"

    @covers("waiting", "count_handed", "put_counters")
    def test_reading_meanwhile_and_writing_after_an_early_end(self, stage: Stage) -> None:
        row = stage.mailbox()
        for n in range(1, 10):
            stage.envelope(row, n, charge=stage.charge(n))

        def work(rows: Rows) -> list[int]:
            seen = []
            for envelope in rows.waiting(row, 0, 0):
                assert rows.count_handed(row, envelope.n) == envelope.n
                assert rows.mailbox_at(row) is not None
                seen.append(envelope.n)
                if envelope.n == 4:
                    break
            found = rows.mailbox_at(row)
            assert found is not None
            rows.put_counters(replace(found, handed_n=4))
            assert rows.take_envelope(row, envelope_id(1)) is not None
            return seen

        assert stage.run(work) == [1, 2, 3, 4]
        found = stage.run(lambda rows: rows.mailbox_at(row))
        assert found is not None
        assert found.handed_n == 4
        assert stage.run(lambda rows: rows.count_waiting(row, 0)) == 8

    @covers("take_envelope")
    def test_taking_one_away(self, stage: Stage) -> None:
        row, other = stage.mailbox(1), stage.mailbox(2)
        one = stage.envelope(row, 7, charge=hash_of(7), body=b"x" * 300)
        two = stage.envelope(row, 8, body=b"")
        assert stage.run(lambda rows: rows.take_envelope(other, one)) is None
        assert stage.run(lambda rows: rows.take_envelope(row, one)) == Taken(7, 300, hash_of(7))
        assert stage.run(lambda rows: rows.take_envelope(row, one)) is None
        assert stage.run(lambda rows: rows.take_envelope(row, two)) == Taken(8, 0, None)

    @covers("count_handed")
    def test_metered_ones_up_to_a_number(self, stage: Stage) -> None:
        row, other = stage.mailbox(1), stage.mailbox(2)
        for n in range(1, 9):
            stage.envelope(row, n, charge=hash_of(n) if n % 2 else None)
        stage.envelope(other, 1, charge=hash_of(1))
        counts = [
            stage.run(lambda rows, n=n: rows.count_handed(row, n))  # type: ignore[misc]
            for n in range(9)
        ]
        assert counts == [0, 1, 1, 2, 2, 3, 3, 4, 4]

    @covers("envelopes_after")
    @pytest.mark.parametrize("limit", [1, 2, 3, 100])
    def test_envelopes_of_all_mailboxes_in_pages(self, stage: Stage, limit: int) -> None:
        expected = []
        for number in range(3):
            row = stage.mailbox(number)
            for n in (1, 2, 40):
                stage.envelope(row, n, hour=HOUR + n)
                expected.append(Aged(row, n, HOUR + n, envelope_id(n)))
        expected.sort(key=lambda aged: (aged.row, aged.n))
        seen: list[Aged] = []
        at = (-1, 0)
        while True:
            page = stage.run(lambda rows, at=at: rows.envelopes_after(*at, limit))  # type: ignore[misc]
            assert len(page) <= limit
            seen += page
            if len(page) < limit:
                break
            at = (page[-1].row, page[-1].n)
        assert seen == expected

    @covers("put_card", "card")
    def test_one_card_a_mailbox_to_the_hour(self, stage: Stage) -> None:
        row, other = stage.mailbox(1), stage.mailbox(2)
        assert stage.run(lambda rows: rows.card(row, 0)) is None
        stage.run(lambda rows: rows.put_card(row, b"first", HOUR))
        stage.run(lambda rows: rows.put_card(row, bytes(16_384), HOUR + 5))
        assert stage.run(lambda rows: rows.card(row, HOUR + 4)) == bytes(16_384)
        assert stage.run(lambda rows: rows.card(row, HOUR + 5)) is None
        assert stage.run(lambda rows: rows.card(other, 0)) is None
