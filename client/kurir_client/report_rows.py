"""The rows about reports: what a customer needs to make one, and what came of those about us."""

from __future__ import annotations

from kurir_billing.report import REPORT_DAYS
from kurir_client.database import Database
from kurir_client.schema import Message, OwnAdjust, Reportable


class ReportRows(Database):
    """Messages that could be reported, and adjustments."""

    def keep_reportable(self, message: int, report: bytes, day: int) -> None:
        """A message that came with a label has what shows it to the operator."""
        self._insert(Reportable(message, report, day, None))

    def reportable(self, message: int) -> Reportable | None:
        """What shows one message."""
        return next(iter(self._rows(Reportable, "WHERE message = ?", message)), None)

    def reportable_of(self, contact: int) -> list[Message]:
        """The messages of a contact that can be reported, oldest first."""
        where = "WHERE contact = ? AND n IN (SELECT message FROM reportable) ORDER BY n"
        return self._rows(Message, where, contact)

    def message_of(self, contact: int, n: int) -> Message | None:
        """One message of the history with a contact."""
        return next(iter(self._rows(Message, "WHERE contact = ? AND n = ?", contact, n)), None)

    def mark_reported(self, message: int, day: int) -> None:
        """The operator's box has it."""
        self._run("UPDATE reportable SET reported_on = ? WHERE message = ?", day, message)

    def forget_reportable(self, day: int) -> None:
        """Erase what is too old to be reported."""
        self._run("DELETE FROM reportable WHERE day < ?", day - REPORT_DAYS)

    def keep_adjustment(self, adjustment: OwnAdjust) -> None:
        """A charge of ours was re-rated; in place of what was kept of it before."""
        self._run("DELETE FROM adjustment WHERE hash = ?", adjustment.hash)
        self._insert(adjustment)

    def adjustment(self, name: bytes) -> OwnAdjust | None:
        """By its hash."""
        return next(iter(self._rows(OwnAdjust, "WHERE hash = ?", name)), None)

    def adjustments(self) -> list[OwnAdjust]:
        """All that were kept."""
        return self._rows(OwnAdjust, "")
