"""SQL for mailboxes and the cards left with them."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from kurir_server.rows import Mailbox
from kurir_server.store.known import Known, counters_of
from kurir_server.store.places import ROW_BITS, span_of
from kurir_wire.ids import Hash, MailboxId

_MAILBOX = """SELECT row, id, read_pk, gate, next_n, depth, size, debt, handed_n, keep_until,
    refused FROM mailboxes WHERE """


class Cursor(Protocol):
    """What SQL gives back."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """Where SQL goes. ``damaged``: what was met that is not as it was written, and how often."""

    damaged: Counter[str]

    def execute(self, sql: str, parameters: Iterable[Any] = ..., /) -> Cursor: ...

    def each(self, sql: str, parameters: Iterable[Any] = ..., /) -> Iterator[Any]:
        """The rows one by one, as they are wanted."""


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
        added = 0
        while not added:  # a row that is taken: another one
            # Random, so that the order of rows says nothing.
            done = self._db.execute(
                """INSERT INTO mailboxes VALUES (?, ?, ?, ?, 1, 0, 0, 0, 0, ?, 0)
                ON CONFLICT (row) DO NOTHING""",
                (secrets.randbits(ROW_BITS), mailbox_id, read_pk, gate, keep_until),
            )
            added = done.rowcount

    def put_counters(self, mailbox: Mailbox) -> None:
        if not self._known.count(mailbox):
            self._write_counters(mailbox)

    def write_back(self) -> None:
        """Write the counters that were put, at the end of a transaction."""
        for mailbox in self._known.take_counted():
            self._write_counters(mailbox)

    def _write_counters(self, mailbox: Mailbox) -> None:
        self._db.execute(
            """UPDATE mailboxes SET next_n = ?, depth = ?, size = ?, debt = ?, handed_n = ?
            WHERE row = ?""",
            (*counters_of(mailbox), mailbox.row),
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
        self._db.execute("DELETE FROM mailboxes WHERE row = ?", (row,))

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
