"""The part of :class:`kurir_server.rows.Rows` about the ledger, and about reports and
the adjustments that stand in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from kurir_wire.ids import BusinessId, Hash


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """The ledger when a day was closed: how many leaves it had then, and the signed note."""

    size: int
    day: int
    note: bytes


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A sealed report, and the day on which it came."""

    id: bytes
    day: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class StoredAdjust:
    """A re-rated charge: the packed adjustment and leaf with what finds them, and ``copy``: the
    report, sealed to the business (empty: its card had no usable key)."""

    business_id: BusinessId
    day: int
    hash: Hash
    leaf_hash: Hash
    adjust: bytes
    leaf: bytes
    copy: bytes


class LedgerRows(Protocol):
    """What :class:`kurir_server.rows.Rows` says holds for these methods too."""

    # The ledger

    def add_pending(self, day: int, entry: Hash) -> None:
        """A leaf that comes into the tree when its day is over."""

    def oldest_pending_day(self) -> int | None: ...

    def count_pending(self) -> int:
        """Leaves that are not in the tree."""

    def pending(self, day: int) -> list[Hash]:
        """The leaves of a day that are not in the tree, in ascending order."""

    def drop_pending(self, day: int) -> None:
        """They are in the tree now."""

    def tile(self, level: int, n: int) -> bytes | None:
        """See :mod:`kurir_server.tiles`."""

    def put_tile(self, level: int, n: int, hashes: bytes) -> None:
        """In the place of what was there."""

    def newest_checkpoint(self) -> StoredCheckpoint | None:
        """The one of the largest size."""

    def checkpoints(self) -> list[StoredCheckpoint]:
        """All, oldest first: by size."""

    def spans(self, day: int) -> list[tuple[int, int]]:
        """Which leaves of the tree are of a day: for each checkpoint of that day, in order, the
        size of the one before it and its own."""

    def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None: ...

    # Reports and adjustments

    def reports_held(self) -> tuple[int, int]:
        """How many wait, and their bytes."""

    def report(self, report_id: bytes) -> StoredReport | None: ...

    def reports(self) -> list[StoredReport]:
        """All, by day."""

    def add_report(self, report: StoredReport) -> None:
        """One of this id that is there stays as it is."""

    def drop_report(self, report_id: bytes) -> None: ...

    def adjust_of_leaf(self, leaf_hash: Hash) -> StoredAdjust | None: ...

    def adjust_named(self, business_id: BusinessId, day: int, name: Hash) -> StoredAdjust | None:
        """By the hash of the adjustment."""

    def adjusts_of_days(
        self, business_id: BusinessId, first_day: int, last_day: int
    ) -> list[StoredAdjust]:
        """Those of the days from first to last, both included, in order of their hash."""

    def add_adjust(self, adjust: StoredAdjust) -> None: ...
