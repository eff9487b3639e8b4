"""Contacts, mailboxes, invites, prekeys, sessions, checkpoints; with the mail, all that a profile
stores."""

from __future__ import annotations

from kurir_client.mail import MailRows
from kurir_client.schema import Contact, Invite, Kind, Mailbox, SeenCheckpoint


class Store(MailRows):
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

    def set_invite(self, mailbox_id: bytes, *, posted: bool = True, used: bool = False) -> None:
        """Its card was left at the relay, or somebody accepted it."""
        self._run(
            "UPDATE invite SET posted = ?, used = ? WHERE mailbox = ?", posted, used, mailbox_id
        )

    # prekeys and sessions

    def add_prekey(self, family: str, kind: int, key_id: int, secret: bytes) -> None:
        """A prekey of ours."""
        self._run("INSERT INTO prekey VALUES (?, ?, ?, ?)", family, kind, key_id, secret)

    def prekey(self, family: str, kind: int, key_id: int) -> bytes | None:
        """Its secret bytes."""
        row = self._maybe(
            "SELECT secret FROM prekey WHERE family = ? AND kind = ? AND key_id = ?",
            family,
            kind,
            key_id,
        )
        return None if row is None else bytes(row[0])

    def count_prekeys(self, family: str, kind: int) -> int:
        """How many are left."""
        query = "SELECT count(*) FROM prekey WHERE family = ? AND kind = ?"
        return int(self._one(query, family, kind)[0])

    def drop_prekey(self, family: str, kind: int, key_id: int) -> None:
        """It was used; it is gone for good."""
        self._run(
            "DELETE FROM prekey WHERE family = ? AND kind = ? AND key_id = ?", family, kind, key_id
        )

    def put_session(self, session_id: bytes, contact: int, state: bytes) -> None:
        """Store a session's new state."""
        self._run("INSERT OR REPLACE INTO session VALUES (?, ?, ?)", session_id, contact, state)

    def session(self, session_id: bytes) -> tuple[int, bytes] | None:
        """Contact and state of a session."""
        row = self._maybe("SELECT contact, state FROM session WHERE id = ?", session_id)
        return None if row is None else (int(row[0]), bytes(row[1]))

    def sessions(self, contact: int) -> list[bytes]:
        """The states of all sessions with a contact."""
        rows = self._all("SELECT state FROM session WHERE contact = ? ORDER BY id", contact)
        return [bytes(row[0]) for row in rows]

    def drop_sessions(self, contact: int) -> None:
        """Their keys are no longer trusted: what waits will be encrypted anew."""
        self._run("DELETE FROM session WHERE contact = ?", contact)
        self._run("UPDATE outbox SET wire = NULL, wired_at = NULL WHERE contact = ?", contact)

    # checkpoints of the relay's ledger

    def keep_checkpoint(self, seen: SeenCheckpoint) -> None:
        """A signed state of the ledger; one that is here already stays as it was judged."""
        if not self._maybe("SELECT 1 FROM checkpoint WHERE note = ?", seen.note):
            self._insert(seen)

    def checkpoints(self, *, agreeing: bool) -> list[SeenCheckpoint]:
        """Those that agree with one another, or those that contradict them; smallest first."""
        return self._rows(SeenCheckpoint, "WHERE agrees = ? ORDER BY size, note", agreeing)
