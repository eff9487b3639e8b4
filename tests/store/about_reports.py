"""The suite about reports that wait for the operator, and adjustments."""

from __future__ import annotations

from dataclasses import replace

from kurir_server.ledger_rows import StoredAdjust, StoredReport
from tests.store.harness import BYTES, NUMBERS, Stage, covers, hash_of, shop

DAY = 20_000


def adjust(business: int, day: int, name: int, leaf: int) -> StoredAdjust:
    body = b"%d %d %d" % (business, day, name)
    return StoredAdjust(
        shop(business), day, hash_of(name), hash_of(leaf), b"adjust " + body, b"leaf", b"copy"
    )


class AboutReports:
    @covers("add_report", "report", "reports", "reports_held", "drop_report")
    def test_reports_until_they_are_dropped(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.reports_held()) == (0, 0)
        every = [
            StoredReport(hash_of(n), day, BYTES[n]) for n, day in ((3, 9), (1, 7), (2, 8), (4, 7))
        ]
        for one in every:
            stage.run(lambda rows, one=one: rows.add_report(one))  # type: ignore[misc]
        found = stage.run(lambda rows: rows.reports())
        assert [report.day for report in found] == [7, 7, 8, 9]
        assert sorted(found, key=lambda report: report.id) == sorted(every, key=lambda r: r.id)
        held = sum(len(report.sealed) for report in every)
        assert stage.run(lambda rows: rows.reports_held()) == (4, held)
        stage.run(lambda rows: rows.add_report(replace(every[0], day=1, sealed=b"another")))
        assert stage.run(lambda rows: rows.report(hash_of(3))) == every[0]
        assert stage.run(lambda rows: rows.report(hash_of(9))) is None
        for name in (3, 9):
            stage.run(lambda rows, n=name: rows.drop_report(hash_of(n)))  # type: ignore[misc]
        assert stage.run(lambda rows: rows.report(hash_of(3))) is None
        left = held - len(every[0].sealed)
        assert stage.run(lambda rows: rows.reports_held()) == (3, left)

    @covers("add_adjust", "adjust_of_leaf", "adjust_named", "adjusts_of_days")
    def test_adjustments_of_one_business_and_some_days(self, stage: Stage) -> None:
        places = (
            (1, 0, 9, 1),
            (1, 1, 300, 2),
            (1, 1, 2, 3),
            (1, 2, 5, 4),
            (1, 3, 1, 5),
            (2, 1, 9, 6),
        )
        every = [adjust(b, DAY + d, name, leaf) for b, d, name, leaf in places]
        for one in every:
            stage.run(lambda rows, one=one: rows.add_adjust(one))  # type: ignore[misc]
        found = stage.run(lambda rows: rows.adjusts_of_days(shop(1), DAY + 1, DAY + 2))
        assert found == [every[2], every[3], every[1]], "in order of their hash"
        assert stage.run(lambda rows: rows.adjusts_of_days(shop(1), DAY + 1, DAY)) == []
        assert stage.run(lambda rows: rows.adjusts_of_days(shop(3), 0, DAY + 9)) == []
        assert stage.run(lambda rows: rows.adjust_of_leaf(hash_of(6))) == every[5]
        assert stage.run(lambda rows: rows.adjust_of_leaf(hash_of(7))) is None
        assert stage.run(lambda rows: rows.adjust_named(shop(1), DAY, hash_of(9))) == every[0]
        assert stage.run(lambda rows: rows.adjust_named(shop(2), DAY, hash_of(9))) is None
        assert stage.run(lambda rows: rows.adjust_named(shop(1), DAY, hash_of(2))) is None
        assert stage.run(lambda rows: rows.adjust_named(shop(1), DAY + 1, hash_of(9))) is None

    @covers("add_adjust")
    def test_a_leaf_is_adjusted_once(self, stage: Stage) -> None:
        one = adjust(1, DAY, 1, 1)
        stage.run(lambda rows: rows.add_adjust(one))
        stage.refused(lambda rows: rows.add_adjust(replace(one, hash=hash_of(2))))
        stage.refused(lambda rows: rows.add_adjust(replace(one, leaf_hash=hash_of(2))))
        stage.refused(lambda rows: rows.add_adjust(adjust(2, DAY + 1, 5, 1)))
        stage.run(lambda rows: rows.add_adjust(replace(one, day=DAY + 1, leaf_hash=hash_of(2))))
        assert stage.run(lambda rows: rows.adjust_of_leaf(hash_of(1))) == one

    @covers("add_adjust", "add_report")
    def test_numbers_and_bytes_come_back_as_they_were(self, stage: Stage) -> None:
        for index, (number, body) in enumerate(zip(NUMBERS, [*BYTES, b"x"], strict=True)):
            report = StoredReport(hash_of(index), number, body)
            stage.run(lambda rows, report=report: rows.add_report(report))  # type: ignore[misc]
            assert stage.run(lambda rows, i=index: rows.report(hash_of(i))) == report  # type: ignore[misc]
            one = StoredAdjust(
                shop(1), number, hash_of(index), hash_of(index), body, body[:9], body[:2]
            )
            stage.run(lambda rows, one=one: rows.add_adjust(one))  # type: ignore[misc]
            assert stage.run(lambda rows, i=index: rows.adjust_of_leaf(hash_of(i))) == one  # type: ignore[misc]
