"""What only SQL finds out about a whole database: pages, tables, and counts that must agree."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from kurir_server.ledger_rows import StoredAdjust
from kurir_server.store.places import ROW, N
from kurir_server.store.schema import SCHEMA
from kurir_server.store.sums import sum_of
from kurir_wire.ids import BusinessId, Hash

MOST: Final = 10
"""Complaints of SQLite that are worth reading."""

_MISCOUNTED: Final = f"""SELECT count(*) FROM mailboxes LEFT JOIN (
    SELECT {ROW} AS mailbox, count(*) AS waiting, sum(length(body)) AS bytes, max({N}) AS last
    FROM envelopes GROUP BY 1) AS found ON found.mailbox = mailboxes.row
    WHERE depth <> coalesce(waiting, 0) OR size <> coalesce(bytes, 0)
    OR next_n <= coalesce(last, 0) OR handed_n >= next_n OR debt < 0"""  # noqa: S608

_STRAYS: Final = {
    "envelopes of no mailbox": f"SELECT count(*) FROM envelopes WHERE {ROW} NOT IN "  # noqa: S608
    "(SELECT row FROM mailboxes)",
    "envelopes whose charge is missing": "SELECT count(*) FROM envelopes WHERE charge IS NOT NULL "
    "AND charge NOT IN (SELECT hash FROM charges)",
    "cards of no mailbox": "SELECT count(*) FROM cards WHERE mailbox NOT IN "
    "(SELECT row FROM mailboxes)",
    "tickets of no business": "SELECT count(*) FROM tickets WHERE business NOT IN "
    "(SELECT id FROM businesses)",
    "prekeys of no business": "SELECT count(*) FROM prekeys WHERE business NOT IN "
    "(SELECT id FROM businesses)",
}


class Checks:
    """Look-ups over whole tables; for ``kurir-relay doctor``, and the start."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def damage(self, *, full: bool) -> list[str]:
        """What SQLite finds wrong with the file; nothing, if it is whole."""
        pragma = "integrity_check" if full else "quick_check"
        try:
            found = self._connection.execute(f"PRAGMA {pragma}({MOST})").fetchall()
        except sqlite3.Error as error:
            return [str(error)]
        said = [str(line[0]) for line in found]
        return [] if said == ["ok"] else said

    def miscounted(self) -> int:
        """Mailboxes whose counters are not those of the envelopes that wait in them."""
        return self._count(_MISCOUNTED)

    def strays(self) -> dict[str, int]:
        """Rows that refer to nothing, by what they are."""
        found = {what: self._count(query) for what, query in _STRAYS.items()}
        return {what: count for what, count in found.items() if count}

    def tiles(self) -> Iterator[tuple[int, int, bytes]]:
        """Level, number and hashes of all tiles of the ledger, in order."""
        yield from self._connection.execute("SELECT level, n, hashes FROM tiles ORDER BY level, n")

    def leaf_days(self) -> list[tuple[BusinessId, int]]:
        """Businesses and days that have leaves, in order of the day."""
        query = "SELECT DISTINCT business, settled_day FROM leaves ORDER BY settled_day, business"
        return [(BusinessId(business), day) for business, day in self._connection.execute(query)]

    def leaves(self, business: BusinessId, day: int) -> Iterator[tuple[Hash, bytes]]:
        """Name of the charge and leaf, for all leaves of a business and a day."""
        yield from self._connection.execute(
            "SELECT charge, leaf FROM leaves WHERE business = ? AND settled_day = ?",
            (business, day),
        )

    def adjust_days(self) -> list[int]:
        """Days that have adjustments."""
        found = self._connection.execute("SELECT DISTINCT day FROM adjustments ORDER BY day")
        return [day for (day,) in found]

    def adjusts(self, day: int) -> Iterator[StoredAdjust]:
        """All adjustments of a day."""
        found = self._connection.execute(
            "SELECT business, day, hash, leaf_hash, adjust, leaf, copy FROM adjustments "
            "WHERE day = ?",
            (day,),
        )
        return (StoredAdjust(*values) for values in found)

    def wrong_sums(self) -> int:
        """Envelopes and charges that are not what was written."""
        wrong = 0
        for *values, total in self._connection.execute(
            "SELECT place, id, expires_hour, charge, body, sum FROM envelopes"
        ):
            wrong += total != sum_of(*values)
        for *values, total in self._connection.execute(
            "SELECT hash, accepted_hour, private_hash, body, sum FROM charges "
            "WHERE body IS NOT NULL"
        ):
            wrong += total != sum_of(*values)
        return wrong

    def pending_days(self) -> list[int]:
        """Days that wait for their end."""
        found = self._connection.execute("SELECT DISTINCT settled_day FROM pending ORDER BY 1")
        return [day for (day,) in found]

    def open_charges(self) -> Iterator[tuple[Hash, Hash, bytes]]:
        """Name, commitment and body of all charges that may still settle."""
        yield from self._connection.execute(
            "SELECT hash, private_hash, body FROM charges WHERE body IS NOT NULL"
        )

    def metered(self) -> Iterator[tuple[Hash, int, bytes]]:
        """Charge, mailbox's row and id of all metered envelopes that wait."""
        yield from self._connection.execute(
            f"SELECT charge, {ROW}, id FROM envelopes WHERE charge IS NOT NULL"  # noqa: S608
        )

    def _count(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])


def missing_columns(connection: sqlite3.Connection) -> list[str]:
    """Tables and columns of the present version that a database lacks."""
    with closing(sqlite3.connect(":memory:")) as model:
        model.executescript(SCHEMA)
        wanted = _columns(model)
    found = _columns(connection)
    return sorted(f"the column {table}.{name}" for table, name in wanted - found)


def _columns(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    query = """SELECT tables.name, columns.name FROM sqlite_schema AS tables,
        pragma_table_info(tables.name) AS columns WHERE tables.type = 'table'"""
    return set(connection.execute(query))
