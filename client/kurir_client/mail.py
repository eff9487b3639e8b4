"""Outbox, history, duplicates and charges: the rows that move with every message."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from kurir_client.content import HELLO, RESTART, TEXT
from kurir_client.database import Database
from kurir_client.schema import Message, Outgoing, OwnCharge, Status

SEEN_DAYS: Final = 44
"""Days that ids are kept against duplicates. An envelope lives 30, but a relay that lies can
deliver it again for as long as the sealing key of its week is held: up to six weeks."""
FORMER_DAYS: Final = 100
"""Days that ids of deleted sessions are kept: longer than any prekey from which a replayed first
message could make one of them anew."""
NOT_SHOWN: Final = (HELLO, RESTART)
"""Kinds of outgoing messages that are the devices' own business."""


class MailRows(Database):
    """What is written, what was written, and what was signed for it."""

    def add_outgoing(
        self,
        contact: int,
        inner_id: bytes,
        kind: int,
        text: str,
        now: int,
        max_price: int = 0,
        category: int = 0,
    ) -> None:
        """Queue a message, with the next number of this contact."""
        seq = int(self._one("SELECT next_seq FROM contact WHERE id = ?", contact)[0])
        self._run("UPDATE contact SET next_seq = ? WHERE id = ?", seq + 1, contact)
        self._run(
            "INSERT INTO outbox(contact, inner_id, kind, seq, text, made_at, max_price, category) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            contact,
            inner_id,
            kind,
            seq,
            text,
            now,
            max_price,
            category,
        )

    def outgoing(self, limit: int, now: int, without: Collection[int] = ()) -> list[Outgoing]:
        """What waits and may go at ``now``, in the order in which it was written. Not to some
        contacts, nor to those for whom the relay takes nothing yet, and only requests for a session
        to those with whom there is none to send on, so that a long queue to one that cannot be
        written to does not hide all others."""
        marks = ", ".join("?" * len(without))
        active = "contact IN (SELECT id FROM contact WHERE state = 'active')"
        can_go = (
            "(kind = ? OR wire IS NOT NULL"
            " OR contact IN (SELECT contact FROM session WHERE archived = 0))"
        )
        in_time = "contact NOT IN (SELECT contact FROM outbox WHERE not_before > ?)"
        where = (
            f"WHERE {active} AND contact NOT IN ({marks}) AND {can_go} AND {in_time} "
            "ORDER BY n LIMIT ?"
        )
        return self._rows(Outgoing, where, *without, RESTART, now, limit)

    def put_off(self, n: int, until: int) -> None:
        """The relay wants it no sooner; nothing else for this contact goes before it."""
        self._run("UPDATE outbox SET not_before = ? WHERE n = ?", until, n)

    def put_off_no_longer(self, contact: int) -> None:
        """What kept the relay from taking it is no more."""
        self._run("UPDATE outbox SET not_before = NULL WHERE contact = ?", contact)

    def next_due(self, now: int) -> int | None:
        """The first second at which something that was put off may go."""
        row = self._one("SELECT min(not_before) FROM outbox WHERE not_before > ?", now)
        return None if row[0] is None else int(row[0])

    def addressed(self) -> set[int]:
        """The contacts to whom something waits."""
        return {int(row[0]) for row in self._all("SELECT DISTINCT contact FROM outbox")}

    def one_outgoing(self, n: int) -> Outgoing | None:
        """One of them, if it still waits."""
        return next(iter(self._rows(Outgoing, "WHERE n = ?", n)), None)

    def outgoing_of(self, inner_id: bytes) -> Outgoing | None:
        """The one that says this, if it still waits."""
        return next(iter(self._rows(Outgoing, "WHERE inner_id = ?", inner_id)), None)

    def wire_outgoing(
        self, n: int, wire: bytes | None, now: int | None, charge_hash: bytes | None = None
    ) -> None:
        """Keep the bytes that go out, or throw them away (None) to encrypt anew."""
        self._run(
            "UPDATE outbox SET wire = ?, wired_at = ?, charge_hash = ? WHERE n = ?",
            wire,
            now,
            charge_hash,
            n,
        )

    def accept_quote(self, n: int, line: bytes) -> None:
        """Sign anew on the line that the relay quoted."""
        self._run(
            "UPDATE outbox SET quote = ?, wire = NULL, wired_at = NULL, charge_hash = NULL "
            "WHERE n = ?",
            line,
            n,
        )

    def sign_anew(self, n: int) -> None:
        """Throw away what was signed, as the relay has refused it: what is due is worked out again
        when it goes out."""
        self._run(
            "UPDATE outbox SET quote = NULL, wire = NULL, wired_at = NULL, charge_hash = NULL "
            "WHERE n = ?",
            n,
        )

    def void_quotes(self, contact: int) -> None:
        """There is other evidence now than they were made on: price anew what is not signed yet."""
        self._run("UPDATE outbox SET quote = NULL WHERE contact = ? AND wire IS NULL", contact)

    def drop_outgoing(self, n: int) -> None:
        """It is at the relay, or given up."""
        self._run("DELETE FROM outbox WHERE n = ?", n)

    def encrypt_anew(self, contact: int | None = None) -> None:
        """Throw away the bytes of what waits for a contact, or for everybody, as their session is
        not sent on any more. What a charge was signed for goes out as it is or not at all."""
        self._run(
            "UPDATE outbox SET wire = NULL, wired_at = NULL "
            "WHERE charge_hash IS NULL AND (?1 IS NULL OR contact = ?1)",
            contact,
        )

    def waiting_for(self, contact: int) -> list[Outgoing]:
        """What waits for a contact, in the order in which it was written."""
        return self._rows(Outgoing, "WHERE contact = ? ORDER BY n", contact)

    def asks_for_session(self, contact: int) -> bool:
        """Whether a request for a fresh session waits to be sent."""
        query = "SELECT 1 FROM outbox WHERE contact = ? AND kind = ?"
        return self._maybe(query, contact, RESTART) is not None

    def send_again(self, contact: int, since: int, limit: int) -> int:
        """Queue once more what was sent to a contact since a second, at most the last ``limit``
        messages. A reader who has them does not show them twice.

        :returns: how many there are
        """
        where = (
            "WHERE contact = ? AND direction = 'out' AND status = 'stored' AND at >= ? "
            "AND inner_id NOT IN (SELECT inner_id FROM outbox) ORDER BY n DESC LIMIT ?"
        )
        found = self._rows(Message, where, contact, since, limit)[::-1]
        for message in found:
            if message.inner_id is not None:
                self.add_outgoing(contact, message.inner_id, TEXT, message.text, message.at)
        return len(found)

    def drop_requests(self, contact: int) -> None:
        """A fresh session is there."""
        self._run("DELETE FROM outbox WHERE contact = ? AND kind = ?", contact, RESTART)

    def queued(self) -> int:
        """How many of the person's own messages wait, without what devices tell each other."""
        query = "SELECT count(*) FROM outbox WHERE kind NOT IN (?, ?)"
        return int(self._one(query, *NOT_SHOWN)[0])

    def add_message(
        self,
        contact: int | None,
        inner_id: bytes | None,
        direction: str,
        text: str,
        at: int,
        status: Status,
        category: int | None = None,
    ) -> int:
        """Add to the history.

        :returns: its number
        """
        return self._run(
            "INSERT INTO message(contact, inner_id, direction, text, at, status, category) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            contact,
            inner_id,
            direction,
            text,
            at,
            status,
            category,
        )

    def add_note(self, contact: int | None, text: str, at: int) -> None:
        """Tell the person something, unless the last thing with this contact is the same note: what
        anybody can send again and again must not fill the database."""
        last = self._rows(Message, "WHERE contact IS ? ORDER BY n DESC LIMIT 1", contact)
        if not last or (last[0].direction, last[0].text) != ("note", text):
            self.add_message(contact, None, "note", text, at, Status.UNREAD)

    def set_message(
        self,
        inner_id: bytes,
        status: Status,
        price: int | None = None,
        category: int | None = None,
    ) -> None:
        """What became of a message that we sent."""
        self._run(
            "UPDATE message SET status = ?, price = coalesce(?, price), "
            "category = coalesce(?, category) WHERE inner_id = ? AND direction = 'out'",
            *(status, price, category, inner_id),
        )

    def has_written(self, contact: int) -> bool:
        """Whether the person ever wrote something to a contact, sent or not."""
        query = "SELECT 1 FROM message WHERE contact = ? AND direction = 'out'"
        return self._maybe(query, contact) is not None

    def message_sent(self, inner_id: bytes) -> Message | None:
        """A message that we sent."""
        rows = self._rows(Message, "WHERE inner_id = ? AND direction = 'out'", inner_id)
        return next(iter(rows), None)

    def unread(self) -> list[Message]:
        """Messages and notes that were not shown yet, oldest first."""
        return self._rows(Message, "WHERE status = 'unread' ORDER BY n")

    def history(self, contact: int, limit: int) -> list[Message]:
        """The last messages with a contact, oldest first."""
        rows = self._rows(Message, "WHERE contact = ? ORDER BY n DESC LIMIT ?", contact, limit)
        return rows[::-1]

    def mark_read(self, n: int) -> None:
        """It was shown."""
        self._run("UPDATE message SET status = 'read' WHERE n = ?", n)

    # duplicates

    def first_time(self, contact: int, inner_id: bytes, day: int) -> bool:
        """Whether a message of this contact is new; from now on it is not."""
        if self._maybe("SELECT 1 FROM heard WHERE contact = ? AND inner_id = ?", contact, inner_id):
            return False
        self._run("INSERT INTO heard VALUES (?, ?, ?)", contact, inner_id, day)
        return True

    def seen(self, mailbox: bytes, envelope: bytes) -> tuple[bytes | None] | None:
        """None if the envelope is new, else its settlement secret in a tuple."""
        row = self._maybe(
            "SELECT secret FROM seen WHERE mailbox = ? AND envelope = ?", mailbox, envelope
        )
        return None if row is None else (row[0],)

    def mark_seen(self, mailbox: bytes, envelope: bytes, secret: bytes | None, day: int) -> None:
        """The envelope was dealt with; a second delivery is only acknowledged again."""
        self._run("INSERT INTO seen VALUES (?, ?, ?, ?)", mailbox, envelope, secret, day)

    def forget_before(self, day: int) -> None:
        """Drop ids of envelopes that no longer can come."""
        self._run("DELETE FROM seen WHERE day < ?", day - SEEN_DAYS)
        self._run("DELETE FROM heard WHERE day < ?", day - SEEN_DAYS)
        self._run("DELETE FROM former_session WHERE deleted_on < ?", day - FORMER_DAYS)

    # charges

    def add_charge(self, charge_hash: bytes, inner_id: bytes, line: bytes) -> None:
        """What the business is about to sign and send."""
        self._run(
            "INSERT INTO charge(hash, inner_id, line, state) VALUES (?, ?, ?, 'signed')",
            charge_hash,
            inner_id,
            line,
        )

    def set_charge(self, charge_hash: bytes, state: str, answer: bytes) -> None:
        """The relay's receipt or refusal."""
        self._run(
            "UPDATE charge SET state = ?, answer = ? WHERE hash = ?", state, answer, charge_hash
        )

    def set_settled(self, charge_hash: bytes, day: int) -> bool:
        """The relay reported the charge as settled. False if we never signed it."""
        known = self._maybe("SELECT 1 FROM charge WHERE hash = ?", charge_hash) is not None
        self._run("UPDATE charge SET settled_day = ? WHERE hash = ?", day, charge_hash)
        return known

    def charge(self, charge_hash: bytes) -> OwnCharge | None:
        """One of them."""
        rows = self._rows(OwnCharge, "WHERE hash = ?", charge_hash)
        return next(iter(rows), None)

    def refusals(self, inner_id: bytes) -> list[bytes]:
        """What the relay refused of one message."""
        query = "SELECT answer FROM charge WHERE inner_id = ? AND state = 'refused'"
        return [bytes(row[0]) for row in self._all(query, inner_id)]

    def charges(self) -> list[OwnCharge]:
        """All that was ever signed."""
        return self._rows(OwnCharge, "ORDER BY hash")
