"""SQL for reports that wait for the operator, and for the adjustments that came of some."""

from __future__ import annotations

from kurir_server.ledger_rows import StoredAdjust, StoredReport
from kurir_server.store.database import Database
from kurir_wire.ids import BusinessId, Hash

_REPORT = "SELECT id, day, sealed FROM reports "
_ADJUST = "SELECT business, day, hash, leaf_hash, adjust, leaf, copy FROM adjustments "


class ReportRows:
    """The part of :class:`~kurir_server.rows.Rows` about reports and adjustments."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def reports_held(self) -> tuple[int, int]:
        found = self._db.execute(
            "SELECT count(*), coalesce(sum(length(sealed)), 0) FROM reports"
        ).fetchone()
        return int(found[0]), int(found[1])

    def report(self, report_id: bytes) -> StoredReport | None:
        found = self._db.execute(_REPORT + "WHERE id = ?", (report_id,)).fetchone()
        return StoredReport(*found) if found else None

    def reports(self) -> list[StoredReport]:
        return [StoredReport(*found) for found in self._db.execute(_REPORT + "ORDER BY day, id")]

    def add_report(self, report: StoredReport) -> None:
        self._db.execute(
            "INSERT OR IGNORE INTO reports VALUES (?, ?, ?)", (report.id, report.day, report.sealed)
        )

    def drop_report(self, report_id: bytes) -> None:
        self._db.execute("DELETE FROM reports WHERE id = ?", (report_id,))

    def adjust_of_leaf(self, leaf_hash: Hash) -> StoredAdjust | None:
        found = self._db.execute(_ADJUST + "WHERE leaf_hash = ?", (leaf_hash,)).fetchone()
        return StoredAdjust(*found) if found else None

    def adjust_named(self, business_id: BusinessId, day: int, name: Hash) -> StoredAdjust | None:
        found = self._db.execute(
            _ADJUST + "WHERE business = ? AND day = ? AND hash = ?", (business_id, day, name)
        ).fetchone()
        return StoredAdjust(*found) if found else None

    def adjusts_of_days(
        self, business_id: BusinessId, first_day: int, last_day: int
    ) -> list[StoredAdjust]:
        found = self._db.execute(
            _ADJUST + "WHERE business = ? AND day BETWEEN ? AND ? ORDER BY hash",
            (business_id, first_day, last_day),
        )
        return [StoredAdjust(*values) for values in found]

    def add_adjust(self, adjust: StoredAdjust) -> None:
        self._db.execute(
            "INSERT INTO adjustments VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                adjust.business_id,
                adjust.day,
                adjust.hash,
                adjust.leaf_hash,
                adjust.adjust,
                adjust.leaf,
                adjust.copy,
            ),
        )
