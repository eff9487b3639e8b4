"""SQL for charges, lanes, marks, starts, leaves, and the sweep of rows that carry their end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from kurir_server.rows import StoredCharge, Swept
from kurir_server.store.database import Database
from kurir_server.store.known import Known
from kurir_server.store.sums import SUM_DIFFERS, sum_of
from kurir_wire.ids import BusinessId, Hash

_SWEPT: Final = {
    Swept.CARDS: ("cards", "mailbox", "expires_hour"),
    Swept.CHARGES: ("charges", "hash", "until_day"),
    Swept.USED: ("used_envelopes", "tag", "until_day"),
    Swept.LANES: ("lanes", "lane_pk", "until_day"),
    Swept.MARKS: ("marks", "tag", "until_hour"),
    Swept.STARTS: ("starts", "tag", "until_hour"),
    Swept.TICKETS: ("tickets", "entry_id", "not_after"),
    Swept.REPORTS: ("reports", "id", "day"),
}
"""Table, column of the key, column of the end."""


class BillingRows:
    """The part of :class:`~kurir_server.rows.Rows` about charges, and housekeeping."""

    def __init__(self, db: Database, known: Known) -> None:
        self._db = db
        self._known = known

    def minute(self) -> int:
        found = self._db.execute("SELECT value FROM meta WHERE key = 'minute'").fetchone()
        return int(found[0])

    def set_minute(self, minute: int) -> None:
        self._db.execute("UPDATE meta SET value = ? WHERE key = 'minute'", (str(minute),))

    def sure_minute(self) -> int:
        found = self._db.execute("SELECT value FROM meta WHERE key = 'sure_minute'").fetchone()
        return int(found[0]) if found else self.minute()

    def set_sure_minute(self, minute: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('sure_minute', ?)", (str(minute),))

    def charge(self, charge: Hash) -> StoredCharge | None:
        found = self._db.execute(
            "SELECT accepted_hour, private_hash, body, sum FROM charges WHERE hash = ?", (charge,)
        ).fetchone()
        if found is None:
            return None
        *values, total = found
        if values[-1] is not None and total != sum_of(charge, *values):
            self._db.damaged[SUM_DIFFERS] += 1
            return StoredCharge(values[0], None, None)
        return StoredCharge(*values)

    def add_charge(
        self, charge: Hash, accepted_hour: int, private_hash: Hash, body: bytes, until_day: int
    ) -> None:
        self._db.execute(
            "INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?)",
            (
                charge,
                until_day,
                accepted_hour,
                private_hash,
                body,
                sum_of(charge, accepted_hour, private_hash, body),
            ),
        )

    def close_charge(self, charge: Hash) -> None:
        self._db.execute(
            "UPDATE charges SET private_hash = NULL, body = NULL, sum = NULL WHERE hash = ?",
            (charge,),
        )

    def is_used(self, tag: bytes) -> bool:
        found = self._db.execute("SELECT 1 FROM used_envelopes WHERE tag = ?", (tag,)).fetchone()
        return found is not None

    def use(self, tag: bytes, until_day: int) -> None:
        self._db.execute("INSERT INTO used_envelopes VALUES (?, ?)", (tag, until_day))

    def lane_seq(self, lane_pk: bytes) -> int | None:
        seq = self._known.lanes.get(lane_pk)
        if seq is not None:
            return seq
        found = self._db.execute("SELECT seq FROM lanes WHERE lane_pk = ?", (lane_pk,)).fetchone()
        if found is None:
            return None
        self._known.lanes[lane_pk] = int(found[0])
        return int(found[0])

    def set_lane_seq(self, lane_pk: bytes, seq: int, until_day: int) -> None:
        self._known.lanes[lane_pk] = seq
        self._known.numbered[lane_pk] = seq, until_day

    def write_back_lanes(self) -> None:
        """Write the numbers that were set, at the end of a transaction."""
        for lane_pk, (seq, until_day) in self._known.numbered.items():
            self._db.execute(
                "INSERT OR REPLACE INTO lanes VALUES (?, ?, ?)", (lane_pk, until_day, seq)
            )
        self._known.numbered.clear()

    def mark(self, tag: bytes) -> bytes | None:
        found = self._db.execute("SELECT pass FROM marks WHERE tag = ?", (tag,)).fetchone()
        return found[0] if found else None

    def put_mark(self, tag: bytes, until_hour: int, sealed: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?)", (tag, until_hour, sealed))

    def is_started(self, tag: bytes, hour: int) -> bool:
        found = self._db.execute(
            "SELECT 1 FROM starts WHERE tag = ? AND until_hour > ?", (tag, hour)
        ).fetchone()
        return found is not None

    def add_start(self, business_id: BusinessId, tag: bytes, until_hour: int) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO starts VALUES (?, ?, ?)", (tag, business_id, until_hour)
        )

    def starts(self, business_id: BusinessId, hour: int) -> tuple[int, int]:
        found = self._db.execute(
            """SELECT count(*), coalesce(min(until_hour), 0) FROM starts
            WHERE business = ? AND until_hour > ?""",
            (business_id, hour),
        ).fetchone()
        return int(found[0]), int(found[1])

    def add_leaf(self, business_id: BusinessId, day: int, charge: Hash, leaf: bytes) -> None:
        self._db.execute("INSERT INTO leaves VALUES (?, ?, ?, ?)", (business_id, day, charge, leaf))

    def has_leaves(self, business_id: BusinessId) -> bool:
        found = self._db.execute(
            "SELECT 1 FROM leaves WHERE business = ? LIMIT 1", (business_id,)
        ).fetchone()
        return found is not None

    def leaf(self, business_id: BusinessId, day: int, charge: Hash) -> bytes | None:
        found = self._db.execute(
            "SELECT leaf FROM leaves WHERE business = ? AND settled_day = ? AND charge = ?",
            (business_id, day, charge),
        ).fetchone()
        return found[0] if found else None

    def leaves(self, business_id: BusinessId, day: int, after: Hash, limit: int) -> list[bytes]:
        found = self._db.execute(
            """SELECT leaf FROM leaves WHERE business = ? AND settled_day = ? AND charge > ?
            ORDER BY charge LIMIT ?""",
            (business_id, day, after, limit),
        )
        return [values[0] for values in found]

    def leaves_of_days(
        self, business_id: BusinessId, first_day: int, last_day: int
    ) -> Iterator[bytes]:
        for values in self._db.each(
            "SELECT leaf FROM leaves WHERE business = ? AND settled_day BETWEEN ? AND ?",
            (business_id, first_day, last_day),
        ):
            yield values[0]

    def sweep(
        self, table: Swept, after: bytes | int | None, limit: int, end: int
    ) -> bytes | int | None:
        if table is Swept.LANES:
            self.write_back_lanes()
            self._known.lanes.clear()
        name, key, column = _SWEPT[table]  # constants of our own, so this is no injection
        where = f"WHERE {key} > ?" if after is not None else "WHERE ? IS NULL"
        seen = self._db.execute(
            f"SELECT {key}, {column} FROM {name} {where} ORDER BY {key} LIMIT ?",  # noqa: S608
            (after, limit),
        ).fetchall()
        for row_key, row_end in seen:
            # A damaged page can hold anything; the doctor names it, and the others go on.
            if isinstance(row_end, int) and row_end <= end:
                self._db.execute(f"DELETE FROM {name} WHERE {key} = ?", (row_key,))  # noqa: S608
        return seen[-1][0] if len(seen) == limit else None
