"""SQL for mailboxes and the cards left with them."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from kurir_server.rows import Mailbox
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

    def __init__(self, db: Database) -> None:
        self._db = db

    def mailbox(self, mailbox_id: MailboxId) -> Mailbox | None:
        found = self._db.execute(_MAILBOX + "id = ?", (mailbox_id,)).fetchone()
        return Mailbox(*found) if found else None

    def mailbox_at(self, row: int) -> Mailbox | None:
        found = self._db.execute(_MAILBOX + "row = ?", (row,)).fetchone()
        return Mailbox(*found) if found else None

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
        self._db.execute(
            """UPDATE mailboxes SET next_n = ?, depth = ?, size = ?, debt = ?, handed_n = ?
            WHERE row = ?""",
            (
                mailbox.next_n,
                mailbox.depth,
                mailbox.size,
                mailbox.debt,
                mailbox.handed_n,
                mailbox.row,
            ),
        )

    def keep_mailbox(self, row: int, keep_until: int) -> None:
        self._db.execute("UPDATE mailboxes SET keep_until = ? WHERE row = ?", (keep_until, row))

    def set_refused(self, row: int, categories: int) -> None:
        self._db.execute("UPDATE mailboxes SET refused = ? WHERE row = ?", (categories, row))

    def delete_mailbox(self, row: int) -> None:
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
