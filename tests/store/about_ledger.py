"""The suite about the ledger: leaves that wait, tiles, checkpoints."""

from __future__ import annotations

from kurir_server.ledger_rows import StoredCheckpoint
from kurir_wire.ids import Hash
from tests.store.harness import BYTES, NUMBERS, Stage, covers, hash_of


def checkpoint(size: int, day: int) -> StoredCheckpoint:
    return StoredCheckpoint(size, day, b"note %d" % size)


class AboutLedger:
    @covers("add_pending", "pending", "oldest_pending_day", "count_pending", "drop_pending")
    def test_leaves_that_wait_for_the_end_of_their_day(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.oldest_pending_day()) is None
        high = Hash(b"\xff" * 32)
        for day, entry in ((12, hash_of(3)), (11, high), (11, hash_of(900)), (11, hash_of(2))):
            stage.run(lambda rows, d=day, e=entry: rows.add_pending(d, e))  # type: ignore[misc]
        assert stage.run(lambda rows: rows.oldest_pending_day()) == 11
        assert stage.run(lambda rows: rows.pending(11)) == [hash_of(2), hash_of(900), high]
        assert stage.run(lambda rows: rows.pending(10)) == []
        assert stage.run(lambda rows: rows.count_pending()) == 4
        stage.refused(lambda rows: rows.add_pending(11, hash_of(2)))
        stage.run(lambda rows: rows.add_pending(12, hash_of(2)))
        stage.run(lambda rows: rows.drop_pending(11))
        assert stage.run(lambda rows: rows.pending(11)) == []
        assert stage.run(lambda rows: rows.pending(12)) == [hash_of(2), hash_of(3)]
        assert stage.run(lambda rows: rows.oldest_pending_day()) == 12
        assert stage.run(lambda rows: rows.count_pending()) == 2
        stage.run(lambda rows: rows.drop_pending(12))
        stage.run(lambda rows: rows.drop_pending(12))
        assert stage.run(lambda rows: rows.count_pending()) == 0
        assert stage.run(lambda rows: rows.oldest_pending_day()) is None

    @covers("tile", "put_tile")
    def test_tiles_take_the_place_of_older_ones(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.tile(0, 0)) is None
        places = [(level, n) for level in (0, 1, 7) for n in (0, 1, *NUMBERS[2:])]
        for level, n in places:
            stage.run(lambda rows, a=level, b=n: rows.put_tile(a, b, b"%d %d" % (a, b)))  # type: ignore[misc]
        for level, n in places:
            found = stage.run(lambda rows, a=level, b=n: rows.tile(a, b))  # type: ignore[misc]
            assert found == b"%d %d" % (level, n)
        for body in BYTES:
            stage.run(lambda rows, body=body: rows.put_tile(1, 1, body))  # type: ignore[misc]
            assert stage.run(lambda rows: rows.tile(1, 1)) == body
        assert stage.run(lambda rows: rows.tile(1, 0)) == b"1 0"

    @covers("add_checkpoint", "checkpoints", "newest_checkpoint", "spans")
    def test_checkpoints_and_the_leaves_between_them(self, stage: Stage) -> None:
        assert stage.run(lambda rows: rows.newest_checkpoint()) is None
        assert stage.run(lambda rows: rows.spans(5)) == []
        every = [checkpoint(3, 5), checkpoint(10, 7), checkpoint(400, 7), checkpoint(70_000, 8)]
        for one in (every[2], every[0], every[3], every[1]):
            stage.run(lambda rows, one=one: rows.add_checkpoint(one))  # type: ignore[misc]
        assert stage.run(lambda rows: rows.newest_checkpoint()) == every[-1]
        assert stage.run(lambda rows: rows.checkpoints()) == every
        spans = [stage.run(lambda rows, d=day: rows.spans(d)) for day in (5, 6, 7, 8)]  # type: ignore[misc]
        assert spans == [[(0, 3)], [], [(3, 10), (10, 400)], [(400, 70_000)]]
        stage.refused(lambda rows: rows.add_checkpoint(StoredCheckpoint(10, 9, b"another")))
        assert stage.run(lambda rows: rows.checkpoints()) == every
