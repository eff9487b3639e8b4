"""What shows that a message is free or paid already: passes and tickets of a business, and the link
by which a customer came.
"""

from __future__ import annotations

from kurir_client.database import Database
from kurir_client.schema import CameBy, HeldPass
from kurir_wire.ids import DAY

_KEPT_AFTER_END = 2 * DAY
"""Seconds that a ticket is of use after its end: who came before has a day to be answered."""


class EvidenceRows(Database):
    """The tables ``pass``, ``ticket`` and ``entry``."""

    def put_pass(self, contact: int, kind: int, body: bytes) -> None:
        """The newest pass of a kind for a customer."""
        self._run("INSERT OR REPLACE INTO pass VALUES (?, ?, ?)", contact, kind, body)

    def passes(self, contact: int) -> list[HeldPass]:
        """One of each kind at most; it may have ended."""
        return self._rows(HeldPass, "WHERE contact = ? ORDER BY kind", contact)

    def drop_passes(self, contact: int) -> None:
        """They were for a mailbox that is not written to any more."""
        self._run("DELETE FROM pass WHERE contact = ?", contact)

    def put_ticket(self, name: bytes, body: bytes, not_after: int) -> None:
        """An entry ticket of this business, by the hash that grants name."""
        self._run("INSERT OR REPLACE INTO ticket VALUES (?, ?, ?)", name, body, not_after)

    def ticket(self, name: bytes) -> bytes | None:
        """One of them, packed."""
        row = self._maybe("SELECT body FROM ticket WHERE hash = ?", name)
        return None if row is None else bytes(row[0])

    def drop_tickets(self, now: int) -> None:
        """Forget those that ended long ago."""
        self._run("DELETE FROM ticket WHERE not_after < ?", now - _KEPT_AFTER_END)

    def came_by(self, contact: int) -> CameBy | None:
        """The entry link by which we came to a business, if it was one."""
        return next(iter(self._rows(CameBy, "WHERE contact = ?", contact)), None)

    def set_came_by(self, came: CameBy) -> None:
        """Note it, or which message told of it."""
        self._run(
            "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?)",
            *(came.contact, came.ticket, came.not_after, came.seq),
        )
