"""Reports as the relay sees them: sealed bytes that it keeps for its operator and cannot open; and
the adjustments that a business fetches. What the operator does is in :mod:`kurir_server.rulings`.
"""

from __future__ import annotations

import calendar
from typing import Final

from kurir_server.ledger_rows import StoredReport
from kurir_server.limits import MAX_REPORT_BYTES, MAX_REPORTS, PAGE_ADJUSTMENTS
from kurir_server.rows import Moment, Rows
from kurir_wire import codes
from kurir_wire.entries import Adjusted, Result
from kurir_wire.frames import AdjustmentsAre, GetAdjustments, Results, SendReport
from kurir_wire.ids import DAY, BusinessId, digest
from kurir_wire.limits import REPORT_SIZES

ID_BYTES: Final = 8
"""Enough to tell apart as many reports as are kept, and to type."""
FULL: Final = Result(
    codes.FULL, "as many reports wait as may; retry when the operator has been there", DAY
)
_YEARS: Final = range(2020, 9_999)


def report_id(sealed: bytes) -> bytes:
    """The name of a report here: follows from its bytes, so that a repeated frame is no second
    report, and they are random, so that the order of names says nothing."""
    return digest("report-id", sealed)[:ID_BYTES]


def take(rows: Rows, moment: Moment, request: SendReport) -> Results | Result:
    """Keep a report for the operator. On disk when the answer goes out."""
    sealed = request.sealed
    if len(sealed) not in REPORT_SIZES:
        return Result(codes.MALFORMED, f"a sealed report has one of the lengths {REPORT_SIZES}")
    stored = StoredReport(report_id(sealed), moment.now // DAY, sealed)
    if rows.report(stored.id) is None:
        count, size = rows.reports_held()
        if count >= MAX_REPORTS or size + len(sealed) > MAX_REPORT_BYTES:
            return FULL
        rows.add_report(stored)
    return Results(request.n, [None])


def adjustments(
    rows: Rows, moment: Moment, business_id: BusinessId, request: GetAdjustments
) -> AdjustmentsAre | Result:
    """What was re-rated on the days of a month that are over, like settlements in order of hash."""
    days = _days_of(request.month)
    if days is None:
        return Result(codes.NOT_FOUND, "a month is written as year * 100 + month")
    last = min(days[-1], moment.now // DAY - 1)
    found = rows.adjusts_of_days(business_id, days[0], last)
    rest = [stored for stored in found if stored.hash > request.after]
    page = [Adjusted(s.adjust, s.leaf, s.copy) for s in rest[:PAGE_ADJUSTMENTS]]
    return AdjustmentsAre(request.n, page, len(rest) > PAGE_ADJUSTMENTS)


def _days_of(month: int) -> range | None:
    year, number = divmod(month, 100)
    if year not in _YEARS or not 1 <= number <= 12:
        return None
    first = calendar.timegm((year, number, 1, 0, 0, 0)) // DAY
    return range(first, first + calendar.monthrange(year, number)[1])
