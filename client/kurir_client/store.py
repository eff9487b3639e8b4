"""Contacts, mailboxes, invites, sessions, checkpoints; with the mail, our own prekeys and the
evidence of a business, all that a profile stores.
"""

from __future__ import annotations

from kurir_client.evidence_rows import EvidenceRows
from kurir_client.mail import MailRows
from kurir_client.prekeys import KeyRows
from kurir_client.report_rows import ReportRows
from kurir_client.schema import Contact, Invite, Kind, Mailbox, SeenCheckpoint


class Store(MailRows, KeyRows, EvidenceRows, ReportRows):
    """A profile's database."""

    # contacts

    def add_contact(self, wanted_name: str, kind: Kind, **columns: object) -> Contact:
        """A new contact; the name gets a number if it is taken."""
        name, number = wanted_name, 1
        while self._maybe("SELECT 1 FROM contact WHERE name = ?", name):
            number += 1
            name = f"{wanted_name} {number}"
        names = ["name", "kind", "state", *columns]
        marks = ", ".join("?" * len(names))
        row_id = self._run(
            f"INSERT INTO contact({', '.join(names)}) VALUES ({marks})",  # noqa: S608 - own names
            name,
            kind,
            "active",
            *columns.values(),
        )
        return self.contact(row_id)

    def contact(self, contact_id: int) -> Contact:
        """The contact with this row id, which exists."""
        return self._rows(Contact, "WHERE id = ?", contact_id)[0]

    def contact_named(self, name: str) -> Contact | None:
        """By name, whatever the case."""
        return next(iter(self._rows(Contact, "WHERE name = ?", name)), None)

    def contact_by_key(self, sign_pk: bytes) -> Contact | None:
        """By identity key."""
        return next(iter(self._rows(Contact, "WHERE sign_pk = ?", sign_pk)), None)

    def contact_by_business(self, business_id: bytes) -> Contact | None:
        """The business with this id."""
        return next(iter(self._rows(Contact, "WHERE business_id = ?", business_id)), None)

    def contacts(self) -> list[Contact]:
        """All, by name."""
        return self._rows(Contact, "ORDER BY name")

    def set_contact(self, contact_id: int, **columns: object) -> None:
        """Change columns of a contact."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self._run(
            f"UPDATE contact SET {names} WHERE id = ?",  # noqa: S608 - own names
            *columns.values(),
            contact_id,
        )

    # mailboxes and invites

    def add_mailbox(self, mailbox: Mailbox) -> None:
        """A new mailbox of ours."""
        self._insert(mailbox)

    def mailbox(self, mailbox_id: bytes) -> Mailbox | None:
        """By id."""
        return next(iter(self._rows(Mailbox, "WHERE id = ?", mailbox_id)), None)

    def mailboxes(self, *states: str) -> list[Mailbox]:
        """All in any of the states."""
        marks = ", ".join("?" * len(states))
        return self._rows(Mailbox, f"WHERE state IN ({marks}) ORDER BY born_hour", *states)

    def set_mailbox(self, mailbox_id: bytes, **columns: object) -> None:
        """Change columns of a mailbox."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self._run(
            f"UPDATE mailbox SET {names} WHERE id = ?",  # noqa: S608 - own names
            *columns.values(),
            mailbox_id,
        )

    def drop_mailbox(self, mailbox_id: bytes) -> None:
        """Forget a mailbox, its keys and its invite."""
        self._run("UPDATE contact SET own_mailbox = NULL WHERE own_mailbox = ?", mailbox_id)
        self._run("DELETE FROM invite WHERE mailbox = ?", mailbox_id)
        self._run("DELETE FROM mailbox WHERE id = ?", mailbox_id)

    def add_invite(self, invite: Invite) -> None:
        """A new invite; its mailbox exists."""
        self._insert(invite)

    def invite(self, mailbox_id: bytes) -> Invite | None:
        """The invite of a mailbox."""
        return next(iter(self._rows(Invite, "WHERE mailbox = ?", mailbox_id)), None)

    def invites(self) -> list[Invite]:
        """All that were handed out and are not used yet."""
        return self._rows(Invite, "WHERE used = 0 AND posted = 1 ORDER BY made_at")

    def invite_with(self, prekey: int) -> Invite | None:
        """The unused invite on whose card this one-time prekey stands."""
        return next(iter(self._rows(Invite, "WHERE prekey = ? AND used = 0", prekey)), None)

    def set_invite(self, mailbox_id: bytes, *, posted: bool = True, used: bool = False) -> None:
        """Its card was left at the relay, or somebody accepted it: then its secret, which gives the
        mailbox's first key, is forgotten."""
        self._run(
            "UPDATE invite SET posted = ?1, used = ?2,"
            " secret = CASE WHEN ?2 THEN x'' ELSE secret END WHERE mailbox = ?3",
            posted,
            used,
            mailbox_id,
        )

    # sessions

    def put_session(self, session_id: bytes, contact: int, state: bytes) -> None:
        """Store a session's new state."""
        self._run(
            "INSERT INTO session(id, contact, state) VALUES (?, ?, ?) "
            "ON CONFLICT(id) DO UPDATE SET state = excluded.state",
            session_id,
            contact,
            state,
        )

    def session(self, session_id: bytes) -> tuple[int, bytes] | None:
        """Contact and state of a session."""
        row = self._maybe("SELECT contact, state FROM session WHERE id = ?", session_id)
        return None if row is None else (int(row[0]), bytes(row[1]))

    def sessions(self, contact: int, *, to_send_on: bool = False) -> list[bytes]:
        """The states of all sessions with a contact, or only of those that may be sent on."""
        query = "SELECT state FROM session WHERE contact = ? AND archived <= ? ORDER BY id"
        return [bytes(row[0]) for row in self._all(query, contact, 0 if to_send_on else 1)]

    def live_sessions(self, contact: int) -> list[tuple[bytes, bytes]]:
        """Id and state of each session with a contact that may be sent on."""
        query = "SELECT id, state FROM session WHERE contact = ? AND archived = 0 ORDER BY id"
        return [(bytes(row[0]), bytes(row[1])) for row in self._all(query, contact)]

    def archive_sessions(self, contact: int | None = None) -> None:
        """Keep the sessions with a contact, or with everybody, for receiving only."""
        self._run("UPDATE session SET archived = 1 WHERE ?1 IS NULL OR contact = ?1", contact)

    def archive_session(self, session_id: bytes) -> None:
        """Keep one session for receiving only."""
        self._run("UPDATE session SET archived = 1 WHERE id = ?", session_id)

    def is_archived(self, session_id: bytes) -> bool:
        """Whether a session is for receiving only."""
        return (
            self._maybe("SELECT 1 FROM session WHERE id = ? AND archived", session_id) is not None
        )

    def delete_session(self, session_id: bytes, day: int) -> None:
        """Delete a session, and remember its id."""
        self._run("DELETE FROM session WHERE id = ?", session_id)
        self._run("INSERT OR REPLACE INTO former_session VALUES (?, ?)", session_id, day)

    def knows_session(self, session_id: bytes) -> bool:
        """Whether there is or was such a session."""
        query = (
            "SELECT 1 FROM session WHERE id = ?1 UNION ALL "
            "SELECT 1 FROM former_session WHERE id = ?1"
        )
        return self._maybe(query, session_id) is not None

    def want_sessions(self) -> int:
        """No session that there is may be sent on.

        :returns: with how many contacts fresh ones are to be agreed
        """
        self._run("UPDATE contact SET wants_session = 1, asked_at = NULL")
        return int(self._one("SELECT count(*) FROM contact WHERE state = 'active'")[0])

    def drop_sessions(self, contact: int, day: int) -> None:
        """Their keys are no longer trusted: what waits will be encrypted anew."""
        for (session_id,) in self._all("SELECT id FROM session WHERE contact = ?", contact):
            self.delete_session(bytes(session_id), day)
        self._run("UPDATE outbox SET wire = NULL, wired_at = NULL WHERE contact = ?", contact)

    # checkpoints of the relay's ledger

    def keep_checkpoint(self, seen: SeenCheckpoint) -> None:
        """A signed state of the ledger; one that is here already stays as it was judged."""
        if not self._maybe("SELECT 1 FROM checkpoint WHERE note = ?", seen.note):
            self._insert(seen)

    def checkpoints(self, *, agreeing: bool) -> list[SeenCheckpoint]:
        """Those that agree with one another, or those that contradict them; smallest first."""
        return self._rows(SeenCheckpoint, "WHERE agrees = ? ORDER BY size, note", agreeing)
