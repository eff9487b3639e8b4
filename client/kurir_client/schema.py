"""The client's database: tables and the types of their rows.

Everything is inside SQLCipher, so columns may hold secrets. A row type that does never shows them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SCHEMA_VERSION: Final = 3

REPORTS: Final = """
CREATE TABLE reportable(             -- messages to us that the operator could be shown
    message INTEGER PRIMARY KEY REFERENCES message(n),
    report BLOB NOT NULL,            -- packed Report
    day INTEGER NOT NULL,            -- on which it came
    reported_on INTEGER              -- day
);
CREATE TABLE adjustment(             -- charges of ours that the operator re-rated
    hash BLOB PRIMARY KEY,
    body BLOB NOT NULL,              -- packed Adjust
    leaf BLOB NOT NULL,              -- packed Leaf of the charge
    report BLOB                      -- packed Report that proves it; NULL: no key here opens it
) WITHOUT ROWID;
"""
"""What version 3 added for reports."""

SCHEMA: Final = (
    """
CREATE TABLE meta(key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE contact(
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE COLLATE NOCASE,
    kind TEXT NOT NULL,              -- person, business (we are its customer), customer
    sign_pk BLOB UNIQUE,             -- who it is; NULL until first heard
    identity BLOB,                   -- packed IdentityPublic
    state TEXT NOT NULL,             -- active, changed
    verified_on INTEGER,             -- second at which the safety number was confirmed
    address BLOB,                    -- packed ReturnAddress: where to write (person, customer)
    business_id BLOB UNIQUE,         -- business: hash of its root key
    card BLOB,                       -- business: its card as served
    legal_name TEXT, tier INTEGER,   -- business: from the badge
    own_mailbox BLOB,                -- where they write to us; NULL: still to be made
    introduced INTEGER NOT NULL DEFAULT 0,  -- they were heard where we asked them to write
    next_seq INTEGER NOT NULL DEFAULT 1,
    market TEXT,                     -- business: the market we claim; customer: theirs
    permit BLOB,                     -- customer: packed Grant with the latest window
    entry_permit BLOB,               -- customer: packed Grant of kind entry, their first
    refuses INTEGER NOT NULL DEFAULT 0,  -- business: categories that we take no more, as bits
    refusal_told INTEGER NOT NULL DEFAULT 0,  -- those that the relay knows of
    wants_session INTEGER NOT NULL DEFAULT 0,  -- no session here may be sent on: start afresh
    asked_at INTEGER,                -- second at which we last asked for a fresh session
    card_at INTEGER                  -- business: second at which its card was fetched
);
CREATE TABLE mailbox(
    id BLOB PRIMARY KEY,
    role TEXT NOT NULL,              -- invite, personal, payer, address
    read_seed BLOB NOT NULL,
    opening BLOB NOT NULL,           -- token, or opening of the payer's gate
    market TEXT,
    born_hour INTEGER NOT NULL,
    seal BLOB NOT NULL,              -- the sealing key of its oldest week still needed
    state TEXT NOT NULL,             -- new (not at the relay yet), live, closing
    contact INTEGER REFERENCES contact(id)
) WITHOUT ROWID;
CREATE TABLE invite(
    mailbox BLOB PRIMARY KEY REFERENCES mailbox(id),
    secret BLOB NOT NULL,
    label TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    posted INTEGER NOT NULL DEFAULT 0,  -- its card is at the relay
    used INTEGER NOT NULL DEFAULT 0,
    prekey INTEGER                   -- id of the one-time X25519 prekey on its card
) WITHOUT ROWID;
CREATE TABLE prekey(
    family TEXT NOT NULL,            -- ec, kem
    kind INTEGER NOT NULL,           -- as on the wire; 3: a signed one, for one use
    key_id INTEGER NOT NULL,
    secret BLOB NOT NULL,
    retired_on INTEGER,              -- day on which it was replaced, or handed out for one use
    PRIMARY KEY(family, kind, key_id)
) WITHOUT ROWID;
CREATE TABLE envelope_key(
    n INTEGER PRIMARY KEY,           -- the greatest is the one in use
    secret BLOB NOT NULL,
    made_on INTEGER NOT NULL,        -- day
    retired_on INTEGER               -- day on which it was replaced
);
CREATE TABLE session(
    id BLOB PRIMARY KEY,
    contact INTEGER NOT NULL REFERENCES contact(id),
    state BLOB NOT NULL,
    archived INTEGER NOT NULL DEFAULT 0     -- for receiving only: it came from an old copy
) WITHOUT ROWID;
CREATE TABLE former_session(         -- ids against replayed first messages
    id BLOB PRIMARY KEY,
    deleted_on INTEGER NOT NULL      -- day
) WITHOUT ROWID;
CREATE INDEX session_contact ON session(contact);
CREATE TABLE outbox(
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    contact INTEGER NOT NULL REFERENCES contact(id),
    inner_id BLOB NOT NULL UNIQUE,
    kind INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    text TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    max_price INTEGER NOT NULL DEFAULT 0,  -- micro-USD that the business accepts to pay
    wire BLOB,                       -- packed Submission; the same bytes at each retry
    wired_at INTEGER,
    charge_hash BLOB,
    quote BLOB,                      -- packed Line that the relay quoted and we accept
    category INTEGER NOT NULL DEFAULT 0,  -- what the business says it is; 0: it did not say
    not_before INTEGER               -- second before which the relay does not want it
);
CREATE TABLE message(
    n INTEGER PRIMARY KEY AUTOINCREMENT,
    contact INTEGER REFERENCES contact(id),
    inner_id BLOB,
    direction TEXT NOT NULL,         -- in, out, note
    text TEXT NOT NULL,
    at INTEGER NOT NULL,
    status TEXT NOT NULL,            -- unread, read; of our own: queued, stored, failed
    category INTEGER,                -- of a metered message
    price INTEGER                    -- micro-USD that a business's own message adds to its bill
);
CREATE INDEX message_status ON message(direction, status);
CREATE TABLE heard(
    contact INTEGER NOT NULL, inner_id BLOB NOT NULL, day INTEGER NOT NULL,
    PRIMARY KEY(contact, inner_id)
) WITHOUT ROWID;
CREATE TABLE seen(
    mailbox BLOB NOT NULL, envelope BLOB NOT NULL, secret BLOB, day INTEGER NOT NULL,
    PRIMARY KEY(mailbox, envelope)
) WITHOUT ROWID;
CREATE TABLE charge(
    hash BLOB PRIMARY KEY,
    inner_id BLOB NOT NULL,
    line BLOB NOT NULL,              -- packed Line
    state TEXT NOT NULL,             -- signed, accepted, refused
    answer BLOB,                     -- the relay's receipt or refusal
    settled_day INTEGER
) WITHOUT ROWID;
CREATE TABLE pass(                   -- what the relay says is paid or free already
    contact INTEGER NOT NULL REFERENCES contact(id),
    kind INTEGER NOT NULL,
    body BLOB NOT NULL,              -- packed Pass
    PRIMARY KEY(contact, kind)
) WITHOUT ROWID;
CREATE TABLE ticket(                 -- entry tickets of this business
    hash BLOB PRIMARY KEY,           -- as grants name it
    body BLOB NOT NULL,              -- packed Ticket
    not_after INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE entry(                  -- how we came to a business, if by an entry link
    contact INTEGER PRIMARY KEY REFERENCES contact(id),
    ticket BLOB NOT NULL,            -- hash of the entry ticket
    not_after INTEGER NOT NULL,      -- second from which it no longer counts
    seq INTEGER                      -- number of the message whose grant names it
);
CREATE TABLE checkpoint(
    note BLOB PRIMARY KEY,           -- as the relay signed it
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    cert BLOB NOT NULL,              -- packed RelayCert, which names the key that signed
    agrees INTEGER NOT NULL          -- 0: kept as evidence, for it contradicts one that agrees
) WITHOUT ROWID;
"""
    + REPORTS
)

_EVIDENCE: Final = """
ALTER TABLE contact ADD COLUMN entry_permit BLOB;
ALTER TABLE contact ADD COLUMN refuses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE contact ADD COLUMN refusal_told INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN category INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outbox ADD COLUMN not_before INTEGER;
CREATE TABLE pass(
    contact INTEGER NOT NULL REFERENCES contact(id), kind INTEGER NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY(contact, kind)
) WITHOUT ROWID;
CREATE TABLE ticket(
    hash BLOB PRIMARY KEY, body BLOB NOT NULL, not_after INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE entry(
    contact INTEGER PRIMARY KEY REFERENCES contact(id), ticket BLOB NOT NULL,
    not_after INTEGER NOT NULL, seq INTEGER
);
"""
"""Version 3: categories, and what shows that a message is free or paid already."""

MIGRATIONS: Final = {
    # Sessions of version 1 had no post-quantum ratchet: each contact gets a fresh one. It did not
    # note when a key was made: all that there are count as replaced today.
    1: """
ALTER TABLE contact ADD COLUMN wants_session INTEGER NOT NULL DEFAULT 0;
ALTER TABLE contact ADD COLUMN asked_at INTEGER;
ALTER TABLE contact ADD COLUMN card_at INTEGER;
ALTER TABLE prekey ADD COLUMN retired_on INTEGER;
ALTER TABLE invite ADD COLUMN prekey INTEGER;
UPDATE prekey SET retired_on = CAST(strftime('%s', 'now') AS INTEGER) / 86400;
CREATE TABLE envelope_key(
    n INTEGER PRIMARY KEY, secret BLOB NOT NULL, made_on INTEGER NOT NULL, retired_on INTEGER
);
INSERT INTO envelope_key(secret, made_on) SELECT value, 0 FROM meta WHERE key = 'envelope_key';
DELETE FROM meta WHERE key = 'envelope_key';
DELETE FROM session;
ALTER TABLE session ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
CREATE TABLE former_session(id BLOB PRIMARY KEY, deleted_on INTEGER NOT NULL) WITHOUT ROWID;
UPDATE contact SET wants_session = 1;
UPDATE outbox SET wire = NULL, wired_at = NULL WHERE charge_hash IS NULL;
CREATE TABLE checkpoint(
    note BLOB PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, cert BLOB NOT NULL,
    agrees INTEGER NOT NULL
) WITHOUT ROWID;
""",
    2: _EVIDENCE + REPORTS,
}
"""What brings a database of a version to the next one; applied in order, in one transaction."""


class Kind(StrEnum):
    """What a contact is to us."""

    PERSON = "person"
    BUSINESS = "business"
    CUSTOMER = "customer"


class Role(StrEnum):
    """What a mailbox of ours is for."""

    INVITE = "invite"
    PERSONAL = "personal"
    PAYER = "payer"
    ADDRESS = "address"


class Status(StrEnum):
    """What became of a message."""

    UNREAD = "unread"
    READ = "read"
    QUEUED = "queued"
    STORED = "stored"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Contact:
    """A row of ``contact``."""

    id: int
    name: str
    kind: Kind
    sign_pk: bytes | None
    identity: bytes | None = field(repr=False)
    state: str
    verified_on: int | None
    address: bytes | None = field(repr=False)
    business_id: bytes | None
    card: bytes | None = field(repr=False)
    legal_name: str | None
    tier: int | None
    own_mailbox: bytes | None
    introduced: bool
    next_seq: int
    market: str | None
    permit: bytes | None = field(repr=False)
    entry_permit: bytes | None = field(repr=False)
    refuses: int
    refusal_told: int
    wants_session: bool
    asked_at: int | None
    card_at: int | None


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A row of ``mailbox``."""

    id: bytes
    role: Role
    read_seed: bytes = field(repr=False)
    opening: bytes = field(repr=False)
    market: str | None
    born_hour: int
    seal: bytes = field(repr=False)
    state: str
    contact: int | None


@dataclass(frozen=True, slots=True)
class Invite:
    """A row of ``invite``."""

    mailbox: bytes
    secret: bytes = field(repr=False)
    label: str
    made_at: int
    posted: bool
    used: bool
    prekey: int | None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A row of ``outbox``."""

    n: int
    contact: int
    inner_id: bytes
    kind: int
    seq: int
    text: str = field(repr=False)
    made_at: int
    max_price: int
    wire: bytes | None = field(repr=False)
    wired_at: int | None
    charge_hash: bytes | None
    quote: bytes | None
    category: int
    not_before: int | None


@dataclass(frozen=True, slots=True)
class Message:
    """A row of ``message``."""

    n: int
    contact: int | None
    inner_id: bytes | None
    direction: str
    text: str = field(repr=False)
    at: int
    status: Status
    category: int | None
    price: int | None


@dataclass(frozen=True, slots=True)
class OwnCharge:
    """A row of ``charge``: what the business signed, and what came of it."""

    hash: bytes
    inner_id: bytes
    line: bytes
    state: str
    answer: bytes | None
    settled_day: int | None


@dataclass(frozen=True, slots=True)
class HeldPass:
    """A row of ``pass``."""

    contact: int
    kind: int
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CameBy:
    """A row of ``entry``: the ad or link by which we came to a business."""

    contact: int
    ticket: bytes = field(repr=False)
    not_after: int
    seq: int | None


@dataclass(frozen=True, slots=True)
class Reportable:
    """A row of ``reportable``: what shows one message to the operator."""

    message: int
    report: bytes = field(repr=False)
    day: int
    reported_on: int | None


@dataclass(frozen=True, slots=True)
class OwnAdjust:
    """A row of ``adjustment``: a charge of ours that the operator re-rated."""

    hash: bytes
    body: bytes
    leaf: bytes
    report: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SeenCheckpoint:
    """A row of ``checkpoint``: a signed state of the relay's ledger."""

    note: bytes
    size: int
    root: bytes
    cert: bytes
    agrees: bool
