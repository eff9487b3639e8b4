"""The ledger of settled charges and adjustments: closing days, and what others may ask about it.

A leaf waits in ``pending`` from the transaction in which it settles, an adjustment from that in
which the operator decides. When its day is over, all that
wait for that day come into the tree in one transaction, with the checkpoint that says so.

Nothing comes to a day that was closed: relay time never falls while a relay runs, closing a day
puts a minute of a later day on disk in its own transaction, and a relay starts no earlier than
that minute. Were it to happen all the same, the leaf would wait, and come with the next closing.
"""

from __future__ import annotations

from bisect import bisect_left

from kurir_billing.leaf import open_leaf
from kurir_billing.ledger import entry_hash
from kurir_server.keys import RelayKeys
from kurir_server.ledger_rows import StoredCheckpoint
from kurir_server.rows import Moment, Rows
from kurir_server.tiles import FullTiles, Tiles
from kurir_wire import codes
from kurir_wire.entries import Place, Result
from kurir_wire.frames import CheckpointIs, ConsistencyIs, GetConsistency, GetInclusion, InclusionIs
from kurir_wire.ids import DAY, BusinessId, Hash
from kurir_wire.merkle import consistency_proof, inclusion_proofs, leaf_hash, root


class Ledger:
    """The rules about the ledger of one relay."""

    def __init__(self, keys: RelayKeys) -> None:
        self._keys = keys
        self._full = FullTiles()

    def close_day(self, rows: Rows, moment: Moment) -> bool:
        """Take the oldest day that is over and still waits into the tree.

        :returns: whether there was one
        """
        day = rows.oldest_pending_day()
        if day is None or day >= moment.now // DAY:
            return False
        size = _size(rows)
        added = rows.pending(day)
        tiles = Tiles(rows, self._full)
        tiles.extend(size, added)
        size += len(added)
        note = self._keys.checkpoint(size, root(size, tiles.node))
        rows.add_checkpoint(StoredCheckpoint(size, day, note))
        rows.drop_pending(day)
        return True

    def checkpoint(self, rows: Rows, moment: Moment, n: int) -> CheckpointIs | Result:
        """The newest one, with all days that are over in it."""
        self.close_days(rows, moment)
        newest = rows.newest_checkpoint()
        if newest is None:
            return Result(codes.NOT_FOUND, "the ledger is empty")
        return CheckpointIs(n, newest.note)

    def inclusion(
        self, rows: Rows, moment: Moment, business_id: BusinessId, request: GetInclusion
    ) -> InclusionIs | Result:
        """Where charges and adjustments of this business stand, and the proofs."""
        self.close_days(rows, moment)
        if request.size > _size(rows):
            return Result(codes.NOT_FOUND, "the ledger has not come to this size")
        spans = [span for span in rows.spans(request.day) if span[0] < request.size]
        tiles = Tiles(rows, self._full)
        indexes: list[int] = []
        for charge in request.charges:
            entry = self._entry(rows, business_id, request.day, Hash(charge))
            if entry is None:
                return Result(codes.NOT_FOUND, "no such charge of this business on this day")
            index = _find(tiles, spans, entry)
            if index is None or index >= request.size:
                return Result(codes.NOT_FOUND, "the ledger of this size does not hold this day")
            indexes.append(index)
        proofs = inclusion_proofs(indexes, request.size, tiles.node)
        return InclusionIs(
            request.n,
            [Place(index, [*proof]) for index, proof in zip(indexes, proofs, strict=True)],
        )

    def _entry(self, rows: Rows, business_id: BusinessId, day: int, name: Hash) -> Hash | None:
        """The hash in the tree of a charge or an adjustment."""
        leaf = rows.leaf(business_id, day, name)
        if leaf is not None:
            return entry_hash(open_leaf(leaf), self._keys.relay_id)
        stored = rows.adjust_named(business_id, day, name)
        return None if stored is None else leaf_hash(stored.hash)

    def consistency(self, rows: Rows, request: GetConsistency) -> ConsistencyIs | Result:
        """That the ledger only grew between two sizes."""
        if not 0 < request.old <= request.new <= _size(rows):
            return Result(codes.NOT_FOUND, "the ledger never had these sizes")
        proof = consistency_proof(request.old, request.new, Tiles(rows, self._full).node)
        return ConsistencyIs(request.n, list(proof))

    def close_days(self, rows: Rows, moment: Moment) -> None:
        """A day that is over is in the tree before anything is said, though housekeeping may come
        a minute later."""
        while self.close_day(rows, moment):
            pass


def _size(rows: Rows) -> int:
    newest = rows.newest_checkpoint()
    return newest.size if newest else 0


def _find(tiles: Tiles, spans: list[tuple[int, int]], entry: Hash) -> int | None:
    """A leaf of a day, whose leaves stand in ascending order."""
    for first, end in spans:
        index = bisect_left(range(end), entry, first, end, key=tiles.leaf)
        if index < end and tiles.leaf(index) == entry:
            return index
    return None
