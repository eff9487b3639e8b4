"""SQL for mailboxes and the cards left with them."""

from __future__ import annotations

import secrets
from typing import Any, Final

from kurir_server.rows import Mailbox
from kurir_server.store.database import Database
from kurir_server.store.known import Known, counters_of
from kurir_server.store.mixing import are_alike, shuffled, some_around
from kurir_server.store.places import ROW_BITS, span_of
from kurir_wire.ids import Hash, MailboxId

_ROWS_NEAR: Final = 16
_IDS_NEAR: Final = 40
"""About half of what a page of 4 KiB holds, of ``mailboxes`` and of the index of its ids."""
_WIDTHS: Final = (0, 0, *[1] * 6, *[2] * 8, *[3] * 8, *[4] * 8, *[6] * 16, *[8] * 17)
"""Bytes that SQLite gives an integer of so many bits; none for 0 and 1."""
_MOST: Final = 16
"""Bytes of the five counters of a mailbox, at most, if nothing is wrong with it."""

_MAILBOX = """SELECT row, id, read_pk, gate, next_n, depth, size, debt, handed_n, keep_until,
    refused FROM mailboxes WHERE """
_INSERT: Final = "INSERT INTO mailboxes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
_DELETE: Final = "DELETE FROM mailboxes WHERE row = ?"


def pad_of(*counters: int) -> bytes:
    """What makes a row as long as any other, so that SQLite writes new counters where the old ones
    stood: a row that grows gets another place, and that tells when it grew."""
    return bytes(max(0, _MOST - sum([_WIDTHS[counter.bit_length()] for counter in counters])))


def _marks(count: int) -> str:
    """Places for so many values in a statement."""
    return ", ".join("?" * count)


class MailboxRows:
    """The part of :class:`~kurir_server.rows.Rows` about mailboxes."""

    def __init__(self, db: Database, known: Known) -> None:
        self._db = db
        self._known = known

    def mailbox(self, mailbox_id: MailboxId) -> Mailbox | None:
        return self._known.named(mailbox_id) or self._found(_MAILBOX + "id = ?", mailbox_id)

    def mailbox_at(self, row: int) -> Mailbox | None:
        return self._known.at(row) or self._found(_MAILBOX + "row = ?", row)

    def _found(self, query: str, key: int | bytes) -> Mailbox | None:
        found = self._db.execute(query, (key,)).fetchone()
        return self._known.add(found) if found else None

    def add_mailbox(
        self, mailbox_id: MailboxId, read_pk: bytes, gate: Hash, keep_until: int
    ) -> None:
        while True:
            # Random, so that the order of rows says nothing.
            row = secrets.randbits(ROW_BITS)
            new = (row, mailbox_id, read_pk, gate, 1, 0, 0, 0, 0, keep_until, 0, pad_of(1))
            if self._db.execute(_INSERT + "ON CONFLICT (row) DO NOTHING", new).rowcount:
                break
            # That row is taken: another one.
        self._mix(new)

    def _mix(self, new: tuple[Any, ...]) -> None:
        """A new mailbox changes places with some around it, in its leaf and in that of its id."""
        row, mailbox_id, *_ = new
        around = list(
            some_around(self._db, "mailboxes", "row", row, _ROWS_NEAR)
            | some_around(self._db, "mailboxes", "id", mailbox_id, _IDS_NEAR)
        )
        found = self._db.execute(
            f"SELECT * FROM mailboxes WHERE row IN ({_marks(len(around))})",  # noqa: S608
            around,
        ).fetchall()
        taken = [new, *(other for other in found if are_alike(other, new))]
        self._db.execute(
            f"DELETE FROM mailboxes WHERE row IN ({_marks(len(taken))})",  # noqa: S608
            [other[0] for other in taken],
        )
        values = ", ".join([f"({_marks(len(new))})"] * len(taken))
        self._db.execute(
            f"INSERT INTO mailboxes VALUES {values}",  # noqa: S608
            [value for other in shuffled(taken) for value in other],
        )

    def put_counters(self, mailbox: Mailbox) -> None:
        if not self._known.count(mailbox):
            self._write_counters(mailbox)

    def write_back_mailboxes(self) -> None:
        """Write the counters that were put, at the end of a transaction."""
        counted = self._known.take_counted()
        if counted:
            self._write_counters(*counted)

    def _write_counters(self, *mailboxes: Mailbox) -> None:
        self._db.executemany(
            """UPDATE mailboxes SET next_n = ?, depth = ?, size = ?, debt = ?, handed_n = ?,
            pad = ? WHERE row = ?""",
            [
                (*(counters := counters_of(mailbox)), pad_of(*counters), mailbox.row)
                for mailbox in mailboxes
            ],
        )

    def keep_mailbox(self, row: int, keep_until: int) -> None:
        self._db.execute("UPDATE mailboxes SET keep_until = ? WHERE row = ?", (keep_until, row))
        self._known.keep(row, keep_until)

    def set_refused(self, row: int, categories: int) -> None:
        self._db.execute("UPDATE mailboxes SET refused = ? WHERE row = ?", (categories, row))
        self._known.refuse(row, categories)

    def delete_mailbox(self, row: int) -> None:
        self._known.drop(row)
        self._db.execute(
            """UPDATE charges SET private_hash = NULL, body = NULL, sum = NULL WHERE hash IN
            (SELECT charge FROM envelopes WHERE place BETWEEN ? AND ? AND charge IS NOT NULL)""",
            span_of(row),
        )
        self._db.execute("DELETE FROM envelopes WHERE place BETWEEN ? AND ?", span_of(row))
        self._db.execute("DELETE FROM cards WHERE mailbox = ?", (row,))
        self._db.execute(_DELETE, (row,))

    def mailboxes_after(self, row: int, limit: int) -> list[tuple[int, int]]:
        return self._db.execute(
            "SELECT row, keep_until FROM mailboxes WHERE row > ? ORDER BY row LIMIT ?", (row, limit)
        ).fetchall()

    def put_card(self, row: int, card: bytes, expires_hour: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO cards VALUES (?, ?, ?)", (row, expires_hour, card))

    def card(self, row: int, hour: int) -> bytes | None:
        found = self._db.execute(
            "SELECT card FROM cards WHERE mailbox = ? AND expires_hour > ?", (row, hour)
        ).fetchone()
        return found[0] if found else None
