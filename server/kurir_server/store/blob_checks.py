"""What a file of blobs says of itself, for ``kurir-relay doctor``: nothing of it changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from kurir_server.limits import BUSY_MILLISECONDS
from kurir_server.store.blobs import check_owner, explained, is_empty, sum_of_chunk
from kurir_wire.limits import MAX_BLOB_CHUNKS

_COUNTS: Final = """
SELECT chunks - missing, expires_hour, (
    SELECT count(*) FROM chunks WHERE place >= :size * row AND place < :size * (row + 1)
) FROM blobs"""


class BlobChecks:
    """One state of an open file of blobs."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path

    def damage(self, hour: int, *, full: bool) -> list[str]:
        """What is wrong with what the relay counts on.

        :param hour: blobs that end later have all that was brought
        :param full: look at chunks as well, which reads the whole file
        :raises DatabaseError: it cannot be read
        """
        with explained(self._path):
            if is_empty(self._db):
                return []
            looks = ["quick_check(1)"] if full else ["quick_check(meta)", "quick_check(blobs)"]
            for look in looks:
                (said,) = self._db.execute(f"PRAGMA {look}").fetchone()
                if said != "ok":
                    return [f"SQLite says: {said}"]
            return [*self._room(), *(self._counts(hour) if full else [])]

    def changed(self) -> int:
        """Chunks that are not as they were written.

        :raises DatabaseError: it cannot be read
        """
        with explained(self._path):
            if is_empty(self._db):
                return 0
            count = 0
            for place, total, data in self._db.execute("SELECT place, sum, data FROM chunks"):
                row, index = divmod(place, MAX_BLOB_CHUNKS)
                count += total != sum_of_chunk(row, index, data)
            return count

    def _room(self) -> list[str]:
        query = """SELECT (SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'reserved'),
            (SELECT coalesce(sum(chunks), 0) FROM blobs)"""
        reserved, needed = self._db.execute(query).fetchone()
        if reserved == needed:
            return []
        return [f"room is kept for {reserved or 0} chunks, and its blobs have {needed}"]

    def _counts(self, hour: int) -> list[str]:
        wrong = known = 0
        for expected, ends, there in self._db.execute(_COUNTS, {"size": MAX_BLOB_CHUNKS}):
            known += there
            # Those of a blob that has ended go step by step.
            wrong += there > expected or (there < expected and ends > hour)
        found = [f"{wrong} blobs that count other chunks than they have"] if wrong else []
        (all_of_them,) = self._db.execute("SELECT count(*) FROM chunks").fetchone()
        if all_of_them != known:
            found.append(f"{all_of_them - known} chunks of no blob")
        return found


@contextmanager
def inspect_blobs(path: Path, relay_id: bytes | None) -> Iterator[BlobChecks]:
    """Open a file of blobs for reading only, beside a running relay if there is one.

    :param relay_id: ``None`` if it is not known
    :raises DatabaseError: damaged, or of another version or relay
    """
    with explained(path):
        connection = sqlite3.connect(
            path.absolute().as_uri() + "?mode=ro",
            uri=True,
            isolation_level=None,
            timeout=BUSY_MILLISECONDS / 1_000,
        )
    with closing(connection):
        with explained(path):
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("BEGIN")
            if not is_empty(connection):
                check_owner(connection, path, relay_id)
        yield BlobChecks(connection, path)
