"""SQL for mailboxes, envelopes and the cards left with them."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from kurir_server.rows import Aged, Mailbox, Taken, Waiting
from kurir_server.store.sums import SUM_DIFFERS, sum_of
from kurir_wire.ids import EnvelopeId, Hash, MailboxId

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
        # 62 random bits: the order of rows says nothing, and a collision is refused by the key.
        self._db.execute(
            "INSERT INTO mailboxes VALUES (?, ?, ?, ?, 1, 0, 0, 0, 0, ?, 0)",
            (secrets.randbits(62), mailbox_id, read_pk, gate, keep_until),
        )

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
            (SELECT charge FROM envelopes WHERE mailbox = ? AND charge IS NOT NULL)""",
            (row,),
        )
        self._db.execute("DELETE FROM envelopes WHERE mailbox = ?", (row,))
        self._db.execute("DELETE FROM cards WHERE mailbox = ?", (row,))
        self._db.execute("DELETE FROM mailboxes WHERE row = ?", (row,))

    def mailboxes_after(self, row: int, limit: int) -> list[tuple[int, int]]:
        return self._db.execute(
            "SELECT row, keep_until FROM mailboxes WHERE row > ? ORDER BY row LIMIT ?", (row, limit)
        ).fetchall()

    def add_envelope(
        self,
        row: int,
        n: int,
        envelope_id: EnvelopeId,
        expires_hour: int,
        charge: Hash | None,
        body: bytes,
    ) -> bool:
        values = (row, n, envelope_id, expires_hour, charge, body)
        done = self._db.execute(
            """INSERT INTO envelopes VALUES (?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (mailbox, id) DO NOTHING""",
            (*values, sum_of(*values)),
        )
        return done.rowcount == 1

    def envelope_body(self, row: int, envelope_id: EnvelopeId) -> bytes | None:
        found = self._db.execute(
            "SELECT body FROM envelopes WHERE mailbox = ? AND id = ?", (row, envelope_id)
        ).fetchone()
        return found[0] if found else None

    def waiting(self, row: int, after: int, hour: int) -> Iterator[Waiting]:
        for *values, total, accepted, private, charge, charge_total in self._db.each(
            """SELECT mailbox, n, id, expires_hour, envelopes.charge, envelopes.body,
                envelopes.sum, accepted_hour, private_hash, charges.body, charges.sum
            FROM envelopes LEFT JOIN charges ON charges.hash = envelopes.charge
            WHERE mailbox = ? AND n > ? AND expires_hour > ? ORDER BY n""",
            (row, after, hour),
        ):
            _, n, envelope_id, _, charge_hash, body = values
            whole = total == sum_of(*values)
            if charge_hash is not None:
                whole &= charge_total == sum_of(charge_hash, accepted, private, charge)
            if not whole:
                self._db.damaged[SUM_DIFFERS] += 1
            yield Waiting(n, envelope_id, body, charge, whole)

    def take_envelope(self, row: int, envelope_id: EnvelopeId) -> Taken | None:
        found = self._db.execute(
            "DELETE FROM envelopes WHERE mailbox = ? AND id = ? RETURNING n, length(body), charge",
            (row, envelope_id),
        ).fetchone()
        return Taken(*found) if found else None

    def count_handed(self, row: int, up_to: int) -> int:
        found = self._db.execute(
            """SELECT count(*) FROM envelopes
            WHERE mailbox = ? AND n <= ? AND charge IS NOT NULL""",
            (row, up_to),
        ).fetchone()
        return int(found[0])

    def count_waiting(self, row: int, hour: int) -> int:
        found = self._db.execute(
            "SELECT count(*) FROM envelopes WHERE mailbox = ? AND expires_hour > ?", (row, hour)
        ).fetchone()
        return int(found[0])

    def envelopes_after(self, row: int, n: int, limit: int) -> list[Aged]:
        found = self._db.execute(
            """SELECT mailbox, n, expires_hour, id FROM envelopes
            WHERE (mailbox, n) > (?, ?) ORDER BY mailbox, n LIMIT ?""",
            (row, n, limit),
        )
        return [Aged(*values) for values in found]

    def put_card(self, row: int, card: bytes, expires_hour: int) -> None:
        self._db.execute("INSERT OR REPLACE INTO cards VALUES (?, ?, ?)", (row, expires_hour, card))

    def card(self, row: int, hour: int) -> bytes | None:
        found = self._db.execute(
            "SELECT card FROM cards WHERE mailbox = ? AND expires_hour > ?", (row, hour)
        ).fetchone()
        return found[0] if found else None
