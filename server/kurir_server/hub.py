"""Who reads which mailbox at present, in memory only. The newest connection reads."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

from kurir_server.limits import FEW_ENVELOPES, MAX_DRAINS
from kurir_server.pace import Networks
from kurir_server.submitting import Arrival

if TYPE_CHECKING:
    from kurir_server.connection import Connection


class Hub:
    """Passes what was committed to the connections that it concerns.

    ``touched`` are those that may have something to send; ``has_room`` is false while the disk has
    room for readers only.
    """

    def __init__(self) -> None:
        self._readers: dict[int, Connection] = {}
        self.touched: set[Connection] = set()
        self.networks = Networks()
        self._draining: set[Connection] = set()
        self._to_drain: dict[Connection, None] = {}
        self.has_room = True

    def reads(self, row: int, reader: Connection) -> None:
        """From now on ``reader`` gets what arrives; a former reader gets no more."""
        former = self._readers.get(row)
        if former is not None and former is not reader:
            former.deliveries.close(row)
        self._readers[row] = reader

    def is_level(self, row: int) -> bool:
        """Whether somebody reads a mailbox and has all that is known to wait. Asked from the
        store's thread: what changes meanwhile makes a read from the store of it, no more."""
        reader = self._readers.get(row)
        return reader is not None and reader.deliveries.is_level(row)

    def arrived(self, arrivals: Iterable[Arrival]) -> None:
        """Envelopes are on disk."""
        for arrival in arrivals:
            reader = self._readers.get(arrival.row)
            if reader is not None:
                reader.deliveries.arrived(arrival)
                self.touched.add(reader)

    def acked(self, row: int, envelope_id: bytes) -> None:
        """An envelope was acknowledged, perhaps by a former reader."""
        reader = self._readers.get(row)
        if reader is not None:
            reader.deliveries.acked(row, envelope_id)
            self.touched.add(reader)

    def gone(self, rows: Iterable[int]) -> None:
        """Mailboxes were deleted."""
        for row in rows:
            reader = self._readers.pop(row, None)
            if reader is not None:
                reader.deliveries.close(row)

    def is_in_line(self, reader: Connection) -> bool:
        """Whether a connection waits for its turn to read from the store."""
        return reader in self._to_drain

    def may_drain(self, reader: Connection) -> bool:
        """Whether a connection may read from the store now; if not, it is touched when it may. Who
        wants only a few envelopes does not wait behind those who want many."""
        if reader.deliveries.behind <= FEW_ENVELOPES:
            self._to_drain.pop(reader, None)
            return True
        if len(self._draining) < MAX_DRAINS:
            self._to_drain.pop(reader, None)
            self._draining.add(reader)
            return True
        self._to_drain[reader] = None
        return False

    def drained(self, reader: Connection) -> None:
        """A connection has read what it wanted, or wants nothing any more; whoever waits for
        longest is next."""
        self._draining.discard(reader)
        self._to_drain.pop(reader, None)
        self.touched.update(islice(self._to_drain, MAX_DRAINS - len(self._draining)))

    def forget(self, reader: Connection) -> None:
        """A connection closed."""
        if reader in self._to_drain:
            self.drained(reader)
        self.touched.discard(reader)
        for row in reader.deliveries.rows:
            if self._readers.get(row) is reader:
                del self._readers[row]

    def read_rows(self) -> list[int]:
        """Mailboxes that somebody reads at present."""
        return list(self._readers)

    def wake_all(self) -> None:
        """After a disk failure: everybody may have something to read."""
        self.touched.update(self._readers.values())
