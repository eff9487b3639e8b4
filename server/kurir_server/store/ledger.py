"""SQL for the ledger: leaves that wait for the end of their day, tiles, checkpoints."""

from __future__ import annotations

from kurir_server.ledger_rows import StoredCheckpoint
from kurir_server.store.database import Database
from kurir_wire.ids import Hash

_CHECKPOINT = "SELECT size, day, note FROM checkpoints "


class LedgerRows:
    """The part of :class:`~kurir_server.rows.Rows` about the ledger."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def add_pending(self, day: int, entry: Hash) -> None:
        self._db.execute("INSERT INTO pending VALUES (?, ?)", (day, entry))

    def oldest_pending_day(self) -> int | None:
        found = self._db.execute("SELECT min(settled_day) FROM pending").fetchone()
        return None if found[0] is None else int(found[0])

    def count_pending(self) -> int:
        found = self._db.execute("SELECT count(*) FROM pending").fetchone()
        return int(found[0])

    def pending(self, day: int) -> list[Hash]:
        found = self._db.execute(
            "SELECT hash FROM pending WHERE settled_day = ? ORDER BY hash", (day,)
        )
        return [Hash(values[0]) for values in found]

    def drop_pending(self, day: int) -> None:
        self._db.execute("DELETE FROM pending WHERE settled_day = ?", (day,))

    def tile(self, level: int, n: int) -> bytes | None:
        found = self._db.execute(
            "SELECT hashes FROM tiles WHERE level = ? AND n = ?", (level, n)
        ).fetchone()
        return found[0] if found else None

    def put_tile(self, level: int, n: int, hashes: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO tiles VALUES (?, ?, ?)", (level, n, hashes))

    def newest_checkpoint(self) -> StoredCheckpoint | None:
        found = self._db.execute(_CHECKPOINT + "ORDER BY size DESC LIMIT 1").fetchone()
        return StoredCheckpoint(*found) if found else None

    def checkpoints(self) -> list[StoredCheckpoint]:
        found = self._db.execute(_CHECKPOINT + "ORDER BY size")
        return [StoredCheckpoint(*values) for values in found]

    def spans(self, day: int) -> list[tuple[int, int]]:
        found = self._db.execute(
            """SELECT coalesce((SELECT max(size) FROM checkpoints AS b WHERE b.size < a.size), 0),
            a.size FROM checkpoints AS a WHERE a.day = ? ORDER BY a.size""",
            (day,),
        )
        return [(first, end) for first, end in found]

    def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        self._db.execute(
            "INSERT INTO checkpoints VALUES (?, ?, ?)",
            (checkpoint.size, checkpoint.day, checkpoint.note),
        )
