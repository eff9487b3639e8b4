"""The relay's database: every table, column and index."""

from __future__ import annotations

from typing import Final

from kurir_audit.declaration import Content, Field, Group, IndexEntry, Purpose
from kurir_audit.declared_evidence import EVIDENCE_INDEXES, MARKS, STARTS, TICKETS
from kurir_audit.declared_ledger import (
    CHECKPOINTS,
    INVOICES,
    LEAVES,
    PARTIES,
    PENDING,
    RATE_CARDS,
    TILES,
)
from kurir_audit.declared_reports import ADJUSTMENTS, REPORTS
from kurir_wire.ids import DAY, HOUR

D, B, A, O = Purpose.DELIVERY, Purpose.BILLING, Purpose.ABUSE, Purpose.OPERATION  # noqa: E741

_LIVE: Final = "for as long as there is the relay"
_MAILBOX: Final = "until the mailbox is deleted, or goes 90 days unread (24 hours if never opened)"
_ENVELOPE: Final = "until acknowledged, or its life in hours ends (30 days at most)"
_CARD: Final = "until its expiry hour (30 days), or with the mailbox"
_BUSINESS: Final = (
    "for as long as the business is registered; one that was never approved, until 30 days after "
    "its card has ended"
)
_PREKEY: Final = "until handed out once, or the business replaces it"
_CHARGE: Final = "32 days at most after acceptance"
_OPEN_CHARGE: Final = "until settled, or its envelope is gone; 32 days at most"
_PUBLIC: Final = "nothing: it is public"
_TERMS: Final = "nothing: the operator decided it"
_NONE: Final = "nothing by itself"
_SEE: Final = "; see What columns give together"

META: Final = Group(
    "meta",
    "the few facts about the relay itself that it must not forget",
    (
        Field("key", O, "Names the fact; see the keys below.", _LIVE, _NONE),
        Field("value", O, "Is the fact.", _LIVE, _NONE),
    ),
)

META_KEYS: Final = Group(
    "keys of meta",
    "a table of keys and values could hide anything, so its keys are declared as well",
    (
        Field("schema_version", O, "A newer relay knows how to read an older file.", _LIVE, _NONE),
        Field("relay_id", O, "Keeps a database from being served with wrong keys.", _LIVE, _PUBLIC),
        Field(
            "minute",
            B,
            "Beacons never go back, also after a restart with a clock that does.",
            "one value, overwritten",
            "when the relay last ran, to the minute",
        ),
        Field(
            "sure_minute",
            O,
            "Nothing ends early by a clock that leapt ahead, also after a restart.",
            "one value, overwritten",
            "whether the relay's clock has leapt within the last day",
        ),
        Field(
            "backup_minute",
            O,
            "Only in a backup: no relay serves one before it was put in place with care.",
            "as long as the backup; never in a database that is served",
            "when the backup was made, to the minute",
        ),
    ),
)

MAILBOXES: Final = Group(
    "mailboxes",
    "a queue that one reader made; no owner, no name",
    (
        Field(
            "row",
            D,
            "A short random name, so that envelopes need not repeat the long id.",
            _MAILBOX,
            "nothing: random, so it shows no order of creation",
        ),
        Field(
            "id",
            D,
            "Writers and readers name the mailbox by it.",
            _MAILBOX,
            "that this mailbox exists; it is a hash over keys used nowhere else",
        ),
        Field(
            "read_pk",
            D,
            "Only the holder of this key may read; also checks grants.",
            _MAILBOX,
            "nothing: used for this mailbox alone",
        ),
        Field(
            "gate",
            D,
            "Decides who may write, without a list of writers.",
            _MAILBOX,
            "nothing while closed: a hash; whether it is an address, whose gate is public",
        ),
        Field(
            "next_n",
            D,
            "Numbers envelopes within the mailbox, so that the oldest is delivered first.",
            _MAILBOX,
            "how many envelopes this mailbox ever received (it counts anew after 33 million); of "
            "an address, how many messages its business ever got" + _SEE,
        ),
        Field(
            "depth",
            A,
            "Bounds how many envelopes one mailbox makes the relay hold.",
            _MAILBOX,
            "how many envelopes wait, so whether the reader has been there" + _SEE,
        ),
        Field(
            "size",
            A,
            "Bounds how many bytes one mailbox makes the relay hold.",
            _MAILBOX,
            "how much waits, in buckets",
        ),
        Field(
            "debt",
            B,
            "A client that reads and never settles gets eight envelopes, then no more.",
            _MAILBOX,
            "that a business writes here, and how many messages were read and not settled" + _SEE,
        ),
        Field(
            "handed_n",
            B,
            "An envelope handed over again after a reconnect is not counted twice.",
            _MAILBOX,
            "how far the reader has read the metered envelopes; over 0, for good, that a business "
            "pays for this mailbox" + _SEE,
        ),
        Field(
            "keep_until",
            O,
            "Abandoned mailboxes go; the hour moves on when the reader comes.",
            _MAILBOX,
            "the day on which the reader last came (the hour of birth if it never did)" + _SEE,
            unit=HOUR,
        ),
        Field(
            "refused",
            A,
            "Marketing that the reader does not want is refused before it is sent.",
            _MAILBOX,
            "that its reader takes no marketing; 0 for most",
        ),
        Field(
            "pad",
            O,
            "Zero bytes, as many as make all rows equally long: one that grew with its counters "
            "would go to another place in the file, and that would tell when.",
            _MAILBOX,
            "nothing: its length follows from the counters",
        ),
    ),
)

ENVELOPES: Final = Group(
    "envelopes",
    "what waits for a reader; gone when it is acknowledged",
    (
        Field(
            "place",
            D,
            "Row of its mailbox and number there in one: says which queue it is in, and keeps the "
            "order.",
            _ENVELOPE,
            "for which mailbox it is, and its place in this mailbox only; no order across "
            "mailboxes but that of the write-ahead log" + _SEE,
        ),
        Field(
            "id",
            D,
            "A retry of the same envelope is recognised, an acknowledgement finds it.",
            _ENVELOPE,
            "nothing: 16 random bytes from the sender",
        ),
        Field(
            "expires_hour",
            D,
            "An envelope that nobody fetches has to go.",
            _ENVELOPE,
            "the hour of arrival, if the sender chose the usual 30 days",
            unit=HOUR,
        ),
        Field(
            "charge",
            B,
            "A settlement has to find what it settles.",
            _ENVELOPE,
            "with the charge's lane: which business pays for this mailbox, while this waits" + _SEE,
        ),
        Field(
            "body",
            D,
            "This is the message.",
            _ENVELOPE,
            "its bucket: 2, 4, 16 or 64 KiB",
            Content.SEALED,
        ),
        Field(
            "sum",
            D,
            "A body that the disk has changed is not handed out as if it were whole.",
            _ENVELOPE,
            "nothing that the row does not show: it is computed from it",
        ),
    ),
)

CARDS: Final = Group(
    "cards",
    "cards that people left with a mailbox for the one whom they invited",
    (
        Field("mailbox", D, "Says with which mailbox it waits.", _CARD, "an invite is open"),
        Field(
            "expires_hour",
            D,
            "A card nobody fetches has to go.",
            _CARD,
            "the hour it was left",
            unit=HOUR,
        ),
        Field(
            "card",
            D,
            "The invited person needs the keys in it.",
            _CARD,
            "its length, so roughly that of a display name",
            Content.SEALED,
        ),
    ),
)

BUSINESSES: Final = Group(
    "businesses",
    "registered businesses: public by their own choice",
    (
        Field("id", B, "Says whom an invoice is for.", _BUSINESS, "which businesses there are"),
        Field("version", D, "A card never rolls back.", _BUSINESS, "how often the card changed"),
        Field(
            "card",
            D,
            "Customers need its keys and address for a first message.",
            _BUSINESS,
            _PUBLIC,
            Content.SIGNED,
        ),
        Field("expires", D, "An expired card is not handed out.", _BUSINESS, _PUBLIC, unit=1),
        Field("tier", B, "Decides how fast and whether a business may write.", _BUSINESS, _PUBLIC),
        Field("tariff", B, "Says by which rule its messages are priced.", _BUSINESS, _PUBLIC),
        Field("legal_name", B, "Stands on badge and invoice.", _BUSINESS, _PUBLIC),
        Field("badge_not_after", A, "A badge ends unless renewed.", _BUSINESS, _PUBLIC, unit=1),
        Field(
            "badge_signature",
            A,
            "Customers check who vouched for the name; nobody can pose as a business.",
            _BUSINESS,
            _PUBLIC,
        ),
        Field("starts", A, "Says how many customers it may start a day.", _BUSINESS, _TERMS),
        Field("terms_issued", B, "The newest terms count.", _BUSINESS, _TERMS, unit=1),
        Field(
            "terms_signature",
            B,
            "The business can prove how it is billed; nobody switches the tariff silently.",
            _BUSINESS,
            _TERMS,
        ),
    ),
)

PREKEYS: Final = Group(
    "prekeys",
    "one-time keys of businesses, handed out once each",
    (
        Field("business", D, "Says whose key it is.", _PREKEY, "how many new customers came"),
        Field("kind", D, "Two kinds are needed for one handshake.", _PREKEY, _NONE),
        Field("key_id", D, "The business finds the private half by it.", _PREKEY, _NONE),
        Field("body", D, "Makes a first message safe against later theft.", _PREKEY, _PUBLIC),
    ),
)

CHARGES: Final = Group(
    "charges",
    "accepted charges that can still settle, and what a repeated receipt needs",
    (
        Field(
            "hash",
            B,
            "A retry gets the same receipt and is not charged twice.",
            _CHARGE,
            "which leaf came of it, once settled: the two are equal" + _SEE,
        ),
        Field(
            "until_day", O, "Says when the row goes.", _CHARGE, "the day of acceptance", unit=DAY
        ),
        Field(
            "accepted_hour",
            B,
            "A repeated receipt says when it was accepted.",
            _CHARGE,
            "in which hour a business wrote; by the hash, the hour of a line of its invoice" + _SEE,
            unit=HOUR,
        ),
        Field(
            "private_hash",
            B,
            "Completes the leaf when the customer settles.",
            _OPEN_CHARGE,
            "nothing: a salted hash",
        ),
        Field(
            "body",
            B,
            "The signed charge without its evidence: becomes a leaf when the customer settles.",
            _OPEN_CHARGE,
            "the price facts; while the envelope waits, that this mailbox is a customer of this "
            "business" + _SEE,
            Content.SIGNED,
        ),
        Field(
            "sum",
            B,
            "A charge that the disk has changed is not settled as if it were whole.",
            _OPEN_CHARGE,
            "nothing that the row does not show: it is computed from it",
        ),
    ),
)

USED_ENVELOPES: Final = Group(
    "used_envelopes",
    "envelope ids that metered envelopes have used",
    (
        Field(
            "tag",
            B,
            "The same id with another charge is a conflict, also after delivery.",
            _CHARGE,
            "nothing without the relay's PRF key; with it, whether a known id was used",
        ),
        Field(
            "until_day", O, "Says when the row goes.", _CHARGE, "the day of acceptance", unit=DAY
        ),
    ),
)

LANES: Final = Group(
    "lanes",
    "the keys by which businesses number their charges",
    (
        Field("lane_pk", B, "Says which key numbers.", "until its certificate ends", _PUBLIC),
        Field(
            "until_day", O, "Says when the row goes.", "until its certificate ends", _NONE, unit=DAY
        ),
        Field(
            "seq",
            B,
            "A charge is not taken twice: numbers rise strictly.",
            "one value, overwritten",
            "how much a business writes, if it leaves no gaps" + _SEE,
        ),
    ),
)

STORE: Final = (
    META,
    MAILBOXES,
    ENVELOPES,
    CARDS,
    BUSINESSES,
    PREKEYS,
    CHARGES,
    USED_ENVELOPES,
    LANES,
    MARKS,
    STARTS,
    TICKETS,
    LEAVES,
    PENDING,
    TILES,
    CHECKPOINTS,
    RATE_CARDS,
    REPORTS,
    ADJUSTMENTS,
    PARTIES,
    INVOICES,
)

INDEXES: Final = (
    IndexEntry(
        "envelopes_by_id",
        "envelopes",
        ("place >> 26", "id"),
        "An acknowledgement or a retry finds its envelope without reading the whole mailbox.",
    ),
    *EVIDENCE_INDEXES,
)
"""Indexes that the schema makes by name. The implicit ones belong to a key and copy declared
columns."""
