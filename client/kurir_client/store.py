"""The client's SQLCipher database: the only SQL of the client.

Several processes may use one home at once (a follower and a sender), so state that moves, such as
sessions and the outbox, is read inside the transaction that changes it and never kept in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, TypeVar

import sqlcipher3

from kurir_client.errors import ProfileError
from kurir_client.schema import (
    SCHEMA,
    SCHEMA_VERSION,
    Contact,
    Invite,
    Kind,
    Mailbox,
    Message,
    Outgoing,
    OwnCharge,
    Role,
    Status,
)

BUSY_TIMEOUT: Final = 10.0
"""Seconds to wait for another kurir process that writes to the same home."""
SEEN_DAYS: Final = 32
"""Days that ids are kept against duplicates: an envelope lives 30."""

RowT = TypeVar("RowT")


class Store:
    """An open database. All methods may raise :class:`ProfileError` when the disk fails."""

    def __init__(self, connection: Any) -> None:
        self._db = connection

    @classmethod
    def create(cls, file: Path, key: bytes) -> Store:
        """Make a new database under a 32-byte key."""
        if file.exists():
            raise ProfileError(f"there is a database at {file} already")
        store = cls(_connect(file, key))
        with store.transaction():
            for statement in SCHEMA.split(";\n"):
                if statement.strip():
                    store._db.execute(statement)
            store.put("schema", str(SCHEMA_VERSION).encode())
        file.chmod(0o600)
        return store

    @classmethod
    def open(cls, file: Path, key: bytes) -> Store:
        """Open an existing one.

        :raises ProfileError: missing, damaged, or of a newer version
        """
        if not file.exists():
            raise ProfileError(f"the database {file} is missing", "restore it from a backup")
        store = cls(_connect(file, key))
        version = int((store.get("schema") or b"0").decode())
        if version != SCHEMA_VERSION:
            raise ProfileError(
                f"the database has version {version}, this kurir reads {SCHEMA_VERSION}",
                "update kurir",
            )
        return store

    def close(self) -> None:
        """Close it; open transactions are rolled back."""
        self._db.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; takes the write lock at once, and is durable when it is left."""
        with _disk_errors():
            self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        with _disk_errors():
            try:
                self._db.execute("COMMIT")
            except sqlcipher3.Error:
                with contextlib.suppress(sqlcipher3.Error):  # the first error is the one to report
                    self._db.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def savepoint(self) -> Iterator[None]:
        """Inside a transaction: what is done in the block is undone if it raises."""
        self._run("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self._run("ROLLBACK TO attempt")
            self._run("RELEASE attempt")
            raise
        self._run("RELEASE attempt")

    def version(self) -> int:
        """Changes whenever another process has written."""
        return int(self._one("PRAGMA data_version")[0])

    # meta

    def get(self, key: str) -> bytes | None:
        """A value of ``meta``."""
        row = self._maybe("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else bytes(row[0])

    def need(self, key: str) -> bytes:
        """A value that every profile of this kind has.

        :raises ProfileError: it is missing
        """
        value = self.get(key)
        if value is None:
            raise ProfileError(f"the profile has no {key}", "it is damaged or of another kind")
        return value

    def put(self, key: str, value: bytes) -> None:
        """Set a value of ``meta``."""
        self._run("INSERT OR REPLACE INTO meta VALUES (?, ?)", key, value)

    def count_up(self, key: str, step: int = 1) -> int:
        """The next number of a counter in ``meta``, from 1 on; the first of ``step`` numbers."""
        last = int((self.get(key) or b"0").decode())
        self.put(key, str(last + step).encode())
        return last + 1

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
        """All that are not used yet."""
        return self._rows(Invite, "WHERE used = 0 ORDER BY made_at")

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

    # outbox and history

    def add_outgoing(
        self, contact: int, inner_id: bytes, kind: int, text: str, now: int, max_price: int = 0
    ) -> None:
        """Queue a message, with the next number of this contact."""
        seq = self.contact(contact).next_seq
        self.set_contact(contact, next_seq=seq + 1)
        self._run(
            "INSERT INTO outbox(contact, inner_id, kind, seq, text, made_at, max_price) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            contact,
            inner_id,
            kind,
            seq,
            text,
            now,
            max_price,
        )

    def outgoing(self, limit: int) -> list[Outgoing]:
        """What waits, in the order in which it was written."""
        return self._rows(Outgoing, "ORDER BY n LIMIT ?", limit)

    def one_outgoing(self, n: int) -> Outgoing | None:
        """One of them, if it still waits."""
        return next(iter(self._rows(Outgoing, "WHERE n = ?", n)), None)

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

    def drop_outgoing(self, n: int) -> None:
        """It is at the relay, or given up."""
        self._run("DELETE FROM outbox WHERE n = ?", n)

    def queued(self) -> int:
        """How many of the person's own messages wait; introductions do not count."""
        return int(self._one("SELECT count(*) FROM outbox WHERE kind != 0")[0])

    def add_message(
        self,
        contact: int | None,
        inner_id: bytes | None,
        direction: str,
        text: str,
        at: int,
        status: Status,
        category: int | None = None,
    ) -> None:
        """Add to the history."""
        self._run(
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

    def set_message(self, inner_id: bytes, status: Status, price: int | None = None) -> None:
        """What became of a message that we sent."""
        self._run(
            "UPDATE message SET status = ?, price = coalesce(?, price) "
            "WHERE inner_id = ? AND direction = 'out'",
            status,
            price,
            inner_id,
        )

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

    def charges(self) -> list[OwnCharge]:
        """All that was ever signed."""
        return self._rows(OwnCharge, "ORDER BY hash")

    # plumbing

    def _run(self, statement: str, *values: object) -> int:
        with _disk_errors():
            return int(self._db.execute(statement, values).lastrowid or 0)

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with _disk_errors():
            return list(self._db.execute(statement, values).fetchall())

    def _maybe(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        with _disk_errors():
            row: tuple[Any, ...] | None = self._db.execute(statement, values).fetchone()
            return row

    def _one(self, statement: str, *values: object) -> tuple[Any, ...]:
        row = self._maybe(statement, *values)
        if row is None:
            raise ProfileError("the database gave no answer where it must")
        return row

    def _rows(self, type_: Callable[..., RowT], where: str, *values: object) -> list[RowT]:
        names = [column.name for column in fields(type_)]  # type: ignore[arg-type]
        statement = f"SELECT {', '.join(names)} FROM {_TABLES[type_]} {where}"  # noqa: S608 - own names
        return [
            type_(**{n: _CONVERT.get(n, _same)(v) for n, v in zip(names, row, strict=True)})
            for row in self._all(statement, *values)
        ]

    def _insert(self, row: object) -> None:
        names = [column.name for column in fields(row)]  # type: ignore[arg-type]
        marks = ", ".join("?" * len(names))
        self._run(
            f"INSERT INTO {_TABLES[type(row)]}({', '.join(names)}) VALUES ({marks})",  # noqa: S608
            *(getattr(row, name) for name in names),
        )


def _same(value: Any) -> Any:
    return value


_TABLES: Final[dict[Any, str]] = {
    Contact: "contact",
    Mailbox: "mailbox",
    Invite: "invite",
    Outgoing: "outbox",
    Message: "message",
    OwnCharge: "charge",
}
_CONVERT: Final[dict[str, Callable[[Any], Any]]] = {
    "kind": lambda value: Kind(value) if isinstance(value, str) else value,
    "role": Role,
    "status": Status,
    "introduced": bool,
    "posted": bool,
    "used": bool,
}


def _connect(file: Path, key: bytes) -> Any:
    with _disk_errors():
        db = sqlcipher3.connect(str(file), timeout=BUSY_TIMEOUT, isolation_level=None)
        db.execute(f"PRAGMA key = \"x'{key.hex()}'\"")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return db


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except sqlcipher3.OperationalError as error:
        raise ProfileError(
            f"the database cannot be used at present: {error}",
            "check free space and permissions, and whether another kurir hangs",
        ) from error
    except sqlcipher3.DatabaseError as error:
        raise ProfileError(
            f"the database is damaged or not this profile's: {error}", "restore it from a backup"
        ) from error
