"""Who reads which mailbox at present, in memory only. The newest connection reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kurir_server.limits import (
    CREATE_RATE,
    DIRECTORY_NETWORK_RATE,
    MAX_BUCKETS,
    REPORT_NETWORK_RATE,
)
from kurir_server.rates import Buckets
from kurir_server.relay import Arrival

if TYPE_CHECKING:
    from kurir_server.connection import Connection


class Hub:
    """Passes what was committed to the connections that it concerns.

    ``touched`` are those that may have something to send; ``create_rate``, ``directory_rate`` and
    ``report_rate`` are shared by the connections of one network.
    """

    def __init__(self) -> None:
        self._readers: dict[int, Connection] = {}
        self.touched: set[Connection] = set()
        self.create_rate: Buckets[bytes] = Buckets(CREATE_RATE, MAX_BUCKETS)
        self.directory_rate: Buckets[bytes] = Buckets(DIRECTORY_NETWORK_RATE, MAX_BUCKETS)
        self.report_rate: Buckets[bytes] = Buckets(REPORT_NETWORK_RATE, MAX_BUCKETS)

    def reads(self, row: int, reader: Connection) -> None:
        """From now on ``reader`` gets what arrives; a former reader gets no more."""
        former = self._readers.get(row)
        if former is not None and former is not reader:
            former.deliveries.close(row)
        self._readers[row] = reader

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

    def forget(self, reader: Connection) -> None:
        """A connection closed."""
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
