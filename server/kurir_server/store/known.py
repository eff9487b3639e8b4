"""What need not be read again: mailboxes, lanes, businesses and rate cards as the last transaction
left them.

Most requests are for a mailbox that another one was for a moment ago, and a lane signs many
charges. Counters are changed here and written once, at the end of the transaction. Nothing of it
outlives a transaction that failed, or a commit of somebody else: SQLite's ``data_version`` tells of
one by another connection, the count of changes of one past this.
"""

from __future__ import annotations

from typing import Any, Final

from kurir_server.rows import Business, Mailbox, StoredRateCard
from kurir_wire.ids import BusinessId, MailboxId

MOST: Final = 8_192
"""Mailboxes remembered from one transaction to the next; about 5 MiB."""
MOST_BUSINESSES: Final = 1_024
"""Businesses remembered likewise; about 3 MiB."""
MOST_LANES: Final = 8_192
"""Lanes remembered likewise; about 1 MiB."""
_COUNTERS: Final = slice(4, 9)
_KEEP_UNTIL: Final = 9
_REFUSED: Final = 10


class Known:
    """What is known. ``businesses``, and all ``rate_cards`` by version (``None``: not read yet):
    whoever writes one takes it out. ``lanes``: the last number of each; ``numbered``: number and
    last day of those that are to be written."""

    def __init__(self) -> None:
        self.businesses: dict[BusinessId, Business] = {}
        self.rate_cards: list[StoredRateCard] | None = None
        self.lanes: dict[bytes, int] = {}
        self.numbered: dict[bytes, tuple[int, int]] = {}
        self._values: dict[int, list[Any]] = {}
        self._row_of: dict[MailboxId, int] = {}
        self._counted: set[int] = set()
        self._state: object = None

    def begin(self, state: object) -> None:
        """A transaction begins. ``state`` differs if anybody else has written."""
        is_full = (
            len(self._values) > MOST
            or len(self.businesses) > MOST_BUSINESSES
            or len(self.lanes) > MOST_LANES
        )
        if state != self._state or is_full:
            self._forget()
        self._state = None  # until it is on disk

    def end(self, state: object) -> None:
        """It is on disk."""
        self._state = state

    def named(self, mailbox_id: MailboxId) -> Mailbox | None:
        """A copy."""
        row = self._row_of.get(mailbox_id)
        return None if row is None else Mailbox(*self._values[row])

    def at(self, row: int) -> Mailbox | None:
        """A copy."""
        values = self._values.get(row)
        return None if values is None else Mailbox(*values)

    def add(self, values: tuple[Any, ...]) -> Mailbox:
        """One that was read; its fields as the record has them."""
        mailbox = Mailbox(*values)
        self._values[mailbox.row] = list(values)
        self._row_of[mailbox.id] = mailbox.row
        return mailbox

    def count(self, mailbox: Mailbox) -> bool:
        """Counters that are to be written.

        :returns: whether the mailbox is known; else nothing is noted
        """
        values = self._values.get(mailbox.row)
        if values is None:
            return False
        values[_COUNTERS] = counters_of(mailbox)
        self._counted.add(mailbox.row)
        return True

    def take_counted(self) -> list[Mailbox]:
        """Those whose counters are to be written."""
        counted = [Mailbox(*self._values[row]) for row in self._counted]
        self._counted.clear()
        return counted

    def keep(self, row: int, keep_until: int) -> None:
        """It was written so."""
        if row in self._values:
            self._values[row][_KEEP_UNTIL] = keep_until

    def refuse(self, row: int, categories: int) -> None:
        """It was written so."""
        if row in self._values:
            self._values[row][_REFUSED] = categories

    def drop(self, row: int) -> None:
        """It was deleted."""
        values = self._values.pop(row, None)
        if values is not None:
            del self._row_of[values[1]]
        self._counted.discard(row)

    def _forget(self) -> None:
        self.businesses.clear()
        self.rate_cards = None
        self.lanes.clear()
        self.numbered.clear()
        self._values.clear()
        self._row_of.clear()
        self._counted.clear()


def counters_of(mailbox: Mailbox) -> tuple[int, ...]:
    """In the order of the record."""
    return mailbox.next_n, mailbox.depth, mailbox.size, mailbox.debt, mailbox.handed_n
