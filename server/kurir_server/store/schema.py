"""The tables of the relay, as plain SQL.

No table has a row order that ties unrelated mailboxes: keys are random or hashes, and the places of
envelopes count within one mailbox. Where rows lie in the file says little
more: see :mod:`kurir_server.store.mixing`. Ends are whole hours or days, and the
finer times of passes are sealed. docs/metadata.md lists every column with purpose and retention.
"""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = 5

LEDGER: Final = """
CREATE TABLE pending (
    settled_day INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (settled_day, hash)
) WITHOUT ROWID, STRICT;

CREATE TABLE tiles (
    level INTEGER NOT NULL,
    n INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, n)
) STRICT;

CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    day INTEGER NOT NULL,
    note BLOB NOT NULL
) STRICT;
"""
"""What version 2 added."""

EVIDENCE: Final = """
CREATE TABLE marks (
    tag BLOB PRIMARY KEY,
    until_hour INTEGER NOT NULL,
    pass BLOB NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE starts (
    tag BLOB PRIMARY KEY,
    business BLOB NOT NULL,
    until_hour INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX starts_by_business ON starts (business, until_hour);

CREATE TABLE tickets (
    entry_id BLOB PRIMARY KEY,
    business BLOB NOT NULL,
    not_after INTEGER NOT NULL,
    signature BLOB NOT NULL
) WITHOUT ROWID, STRICT;
CREATE INDEX tickets_by_business ON tickets (business, not_after);

ALTER TABLE mailboxes ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE businesses ADD COLUMN starts INTEGER;
ALTER TABLE businesses ADD COLUMN terms_issued INTEGER;
ALTER TABLE businesses ADD COLUMN terms_signature BLOB;
"""
"""What version 3 added: what the relay remembers to price by more than one message, and the
operator's terms."""

REPORTS: Final = """
CREATE TABLE reports (
    id BLOB PRIMARY KEY,
    day INTEGER NOT NULL,
    sealed BLOB NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE adjustments (
    business BLOB NOT NULL,
    day INTEGER NOT NULL,
    hash BLOB NOT NULL,
    leaf_hash BLOB NOT NULL UNIQUE,
    adjust BLOB NOT NULL,
    leaf BLOB NOT NULL,
    copy BLOB NOT NULL,
    PRIMARY KEY (business, day, hash)
) WITHOUT ROWID, STRICT;
"""
"""What version 3 added for reports."""

CHARGE_SUMS: Final = """
ALTER TABLE charges ADD COLUMN sum BLOB;
"""
"""What version 3 added: see :mod:`kurir_server.store.sums`."""

INVOICES: Final = """
CREATE TABLE parties (
    id BLOB PRIMARY KEY,
    party BLOB NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE invoices (
    business BLOB NOT NULL,
    month INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    head BLOB NOT NULL,
    PRIMARY KEY (business, month, revision)
) WITHOUT ROWID, STRICT;
"""
"""What version 3 added for invoices: who stands on them, and what was issued."""

ENVELOPES: Final = """
CREATE TABLE envelopes (
    place INTEGER PRIMARY KEY,
    id BLOB NOT NULL,
    expires_hour INTEGER NOT NULL,
    charge BLOB,
    body BLOB NOT NULL,
    sum BLOB
) STRICT;
CREATE UNIQUE INDEX envelopes_by_id ON envelopes (place >> 26, id);
"""
"""What version 4 has in place of an older table; see :mod:`kurir_server.store.places`."""

PADDING: Final = """
ALTER TABLE mailboxes ADD COLUMN pad BLOB NOT NULL DEFAULT x'';
"""
"""What version 4 added: see :func:`kurir_server.store.mailboxes.pad_of`."""

PAGE_BYTES: Final = 4_096
"""A leaf of ``envelopes`` holds one body of 2 KiB; a longer one lies in overflow pages. No larger
pages: SQLite leaves copies of what it moved in the gaps of a leaf that it rebuilds, which
``secure_delete`` does not overwrite, and with several bodies to a leaf that is frequent."""

SCHEMA: Final = (
    """
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE mailboxes (
    row INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    read_pk BLOB NOT NULL,
    gate BLOB NOT NULL,
    next_n INTEGER NOT NULL,
    depth INTEGER NOT NULL,
    size INTEGER NOT NULL,
    debt INTEGER NOT NULL,
    handed_n INTEGER NOT NULL,
    keep_until INTEGER NOT NULL
) STRICT;

CREATE TABLE cards (
    mailbox INTEGER PRIMARY KEY,
    expires_hour INTEGER NOT NULL,
    card BLOB NOT NULL
) STRICT;

CREATE TABLE businesses (
    id BLOB PRIMARY KEY,
    version INTEGER NOT NULL,
    card BLOB NOT NULL,
    expires INTEGER NOT NULL,
    tier INTEGER NOT NULL,
    tariff TEXT NOT NULL,
    legal_name TEXT,
    badge_not_after INTEGER,
    badge_signature BLOB
) WITHOUT ROWID, STRICT;

CREATE TABLE prekeys (
    business BLOB NOT NULL,
    kind INTEGER NOT NULL,
    key_id INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (business, kind, key_id)
) WITHOUT ROWID, STRICT;

CREATE TABLE charges (
    hash BLOB PRIMARY KEY,
    until_day INTEGER NOT NULL,
    accepted_hour INTEGER NOT NULL,
    private_hash BLOB,
    body BLOB
) WITHOUT ROWID, STRICT;

CREATE TABLE used_envelopes (
    tag BLOB PRIMARY KEY,
    until_day INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE lanes (
    lane_pk BLOB PRIMARY KEY,
    until_day INTEGER NOT NULL,
    seq INTEGER NOT NULL
) WITHOUT ROWID, STRICT;

CREATE TABLE leaves (
    business BLOB NOT NULL,
    settled_day INTEGER NOT NULL,
    charge BLOB NOT NULL,
    leaf BLOB NOT NULL,
    PRIMARY KEY (business, settled_day, charge)
) WITHOUT ROWID, STRICT;

CREATE TABLE rate_cards (
    version INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    effective_from INTEGER NOT NULL,
    card BLOB NOT NULL
) STRICT;
"""
    + LEDGER
    + EVIDENCE
    + REPORTS
    + CHARGE_SUMS
    + INVOICES
    + ENVELOPES
    + PADDING
)
