"""What the rules ask of the store: records, and a port that :mod:`kurir_server.store` implements.

Rules are pure functions over :class:`Rows`; they run inside one transaction, in the store's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from kurir_wire.ids import BusinessId, EnvelopeId, Hash, MailboxId


@dataclass(frozen=True, slots=True)
class Moment:
    """``now``: relay time in seconds UTC, never falling. ``tick``: seconds of a steady clock, for
    rates."""

    now: int
    tick: float


@dataclass(slots=True)
class Mailbox:
    """A mailbox; rules change the counters of a copy and write it back with ``put_counters``.

    ``row`` random, ``next_n`` number of the next envelope, ``depth`` and ``size`` what waits
    (envelopes, bytes), ``debt`` metered envelopes read without settlement, ``handed_n`` number of
    the last metered envelope handed over, ``keep_until`` hour after which it goes, ``refused``
    categories that it takes no more, as ``SetRefused`` has them.
    """

    row: int
    id: MailboxId
    read_pk: bytes
    gate: Hash
    next_n: int
    depth: int
    size: int
    debt: int
    handed_n: int
    keep_until: int
    refused: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """An envelope on disk. ``charge`` is the packed charge of a metered one. ``whole``: it is what
    was written; else nothing of it may be handed over."""

    n: int
    envelope_id: EnvelopeId
    body: bytes
    charge: bytes | None
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Taken:
    """An envelope that was just removed: its number, bytes, and the hash of its charge."""

    n: int
    size: int
    charge: Hash | None


@dataclass(frozen=True, slots=True)
class Aged:
    """An envelope as housekeeping sees it."""

    row: int
    n: int
    expires_hour: int
    envelope_id: EnvelopeId


@dataclass(frozen=True, slots=True)
class StoredCharge:
    """An accepted charge. ``body`` and ``private_hash`` are gone once it can no longer settle, or
    if they are not what was written."""

    accepted_hour: int
    private_hash: Hash | None
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Business:
    """A registered business. Tier, tariff, badge and terms come from the operator.

    ``starts``: as in ``kurir_billing.terms.Terms``, ``None`` for no limit.
    """

    id: BusinessId
    version: int
    card: bytes
    expires: int
    tier: int
    tariff: str
    legal_name: str | None
    badge_not_after: int | None
    badge_signature: bytes | None
    starts: int | None
    terms_issued: int | None
    terms_signature: bytes | None


@dataclass(frozen=True, slots=True)
class Approval:
    """What an operator decided about a business, and signed."""

    tier: int
    tariff: str
    starts: int | None
    legal_name: str
    badge_not_after: int
    badge_signature: bytes
    terms_issued: int
    terms_signature: bytes


@dataclass(frozen=True, slots=True)
class StoredTicket:
    """An entry ticket as the operator signed it. ``not_after`` in seconds."""

    entry_id: bytes
    not_after: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class StoredRateCard:
    """A signed rate card as it travels, with what finds it."""

    version: int
    hash: Hash
    effective_from: int
    card: bytes


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """The ledger when a day was closed: how many leaves it had then, and the signed note."""

    size: int
    day: int
    note: bytes


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A sealed report, and the day on which it came."""

    id: bytes
    day: int
    sealed: bytes


@dataclass(frozen=True, slots=True)
class StoredAdjust:
    """A re-rated charge: the packed adjustment and leaf with what finds them, and ``copy``: the
    report, sealed to the business (empty: its card had no usable key)."""

    business_id: BusinessId
    day: int
    hash: Hash
    leaf_hash: Hash
    adjust: bytes
    leaf: bytes
    copy: bytes


class PreKeyKind(Enum):
    """The two kinds of one-time prekeys."""

    EC = 0
    KEM = 1


class Swept(Enum):
    """Tables whose rows carry their own end. Value: table, key column, column of the end."""

    CARDS = ("cards", "mailbox", "expires_hour")
    CHARGES = ("charges", "hash", "until_day")
    USED = ("used_envelopes", "tag", "until_day")
    LANES = ("lanes", "lane_pk", "until_day")
    SECONDS = ("accepted_seconds", "charge", "second")
    MARKS = ("marks", "tag", "until_hour")
    STARTS = ("starts", "tag", "until_hour")
    TICKETS = ("tickets", "entry_id", "not_after")
    REPORTS = ("reports", "id", "day")


class Rows(Protocol):
    """Look-ups and writes within one transaction. Every method may raise ``StorageError``."""

    def if_undone(self, undo: Callable[[], None]) -> None:
        """Call ``undo`` if this transaction does not come to the disk: for what rules keep in
        memory."""

    # The relay itself

    def minute(self) -> int:
        """The last minute of which a beacon may have gone out."""

    def set_minute(self, minute: int) -> None: ...

    # Mailboxes

    def mailbox(self, mailbox_id: MailboxId) -> Mailbox | None: ...

    def mailbox_at(self, row: int) -> Mailbox | None: ...

    def add_mailbox(
        self, mailbox_id: MailboxId, read_pk: bytes, gate: Hash, keep_until: int
    ) -> None: ...

    def put_counters(self, mailbox: Mailbox) -> None: ...

    def keep_mailbox(self, row: int, keep_until: int) -> None: ...

    def set_refused(self, row: int, categories: int) -> None: ...

    def delete_mailbox(self, row: int) -> None:
        """With its envelopes and its card; charges that wait in it can no longer settle."""

    def mailboxes_after(self, row: int, limit: int) -> list[tuple[int, int]]:
        """Row and ``keep_until`` of the next mailboxes in order of their row."""

    # Envelopes

    def add_envelope(
        self,
        row: int,
        n: int,
        envelope_id: EnvelopeId,
        expires_hour: int,
        charge: Hash | None,
        body: bytes,
    ) -> bool:
        """``False`` if the mailbox holds an envelope of this id."""

    def envelope_body(self, row: int, envelope_id: EnvelopeId) -> bytes | None: ...

    def waiting(self, row: int, after: int, hour: int) -> Iterable[Waiting]:
        """Unexpired envelopes with a number above ``after``, oldest first; lazily. Damaged ones
        too, which are marked so."""

    def take_envelope(self, row: int, envelope_id: EnvelopeId) -> Taken | None:
        """Remove an envelope."""

    def count_handed(self, row: int, up_to: int) -> int:
        """Metered envelopes that wait with a number of at most ``up_to``."""

    def count_waiting(self, row: int, hour: int) -> int:
        """Unexpired envelopes in a mailbox."""

    def envelopes_after(self, row: int, n: int, limit: int) -> list[Aged]: ...

    # Cards of people

    def put_card(self, row: int, card: bytes, expires_hour: int) -> None: ...

    def card(self, row: int, hour: int) -> bytes | None: ...

    # Businesses

    def business(self, business_id: BusinessId) -> Business | None: ...

    def businesses(self) -> list[Business]: ...

    def put_business(
        self, business_id: BusinessId, version: int, card: bytes, expires: int, tariff: str
    ) -> None:
        """New, with a tariff to begin with; or a newer card, where what the operator decided
        stays."""

    def approve(self, business_id: BusinessId, approval: Approval) -> None: ...

    def revoke(self, business_id: BusinessId) -> None:
        """Take tier, badge and terms away; the tariff stays."""

    def add_ticket(self, business_id: BusinessId, ticket: StoredTicket) -> None: ...

    def tickets(self, business_id: BusinessId, now: int) -> list[StoredTicket]:
        """Those that end after ``now``, the one that lasts longest first."""

    def forgotten_businesses(self, now: int, limit: int) -> list[Business]:
        """Those without approval whose card has expired, and of which no charge ever settled."""

    def drop_business(self, business_id: BusinessId) -> None:
        """With its prekeys and entry tickets."""

    def prekey(self, business_id: BusinessId, kind: PreKeyKind, key_id: int) -> bytes | None: ...

    def add_prekey(
        self, business_id: BusinessId, kind: PreKeyKind, key_id: int, body: bytes
    ) -> None: ...

    def count_prekeys(self, business_id: BusinessId, kind: PreKeyKind) -> int: ...

    def take_prekey(self, business_id: BusinessId, kind: PreKeyKind) -> bytes | None:
        """Remove the one with the lowest id."""

    def drop_prekeys(self, business_id: BusinessId) -> None: ...

    # Charges

    def charge(self, charge: Hash) -> StoredCharge | None: ...

    def add_charge(
        self, charge: Hash, accepted_hour: int, private_hash: Hash, body: bytes, until_day: int
    ) -> None: ...

    def close_charge(self, charge: Hash) -> None:
        """It settled or never will: erase all but what a repeated receipt needs."""

    def accepted_second(self, charge: Hash) -> int | None: ...

    def add_accepted_second(self, charge: Hash, second: int) -> None: ...

    def is_used(self, tag: bytes) -> bool: ...

    def use(self, tag: bytes, until_day: int) -> None: ...

    def lane_seq(self, lane_pk: bytes) -> int | None: ...

    def set_lane_seq(self, lane_pk: bytes, seq: int, until_day: int) -> None: ...

    def mark(self, tag: bytes) -> bytes | None:
        """The sealed pass of a mark."""

    def put_mark(self, tag: bytes, until_hour: int, sealed: bytes) -> None:
        """In place of an earlier one."""

    def is_started(self, tag: bytes, hour: int) -> bool:
        """Whether a start counts that ends after ``hour``."""

    def add_start(self, business_id: BusinessId, tag: bytes, until_hour: int) -> None:
        """In place of one that has ended."""

    def starts(self, business_id: BusinessId, hour: int) -> tuple[int, int]:
        """How many starts of a business end after ``hour``, and the first hour in which one of them
        ends (0 if there is none)."""

    def add_leaf(self, business_id: BusinessId, day: int, charge: Hash, leaf: bytes) -> None: ...

    def has_leaves(self, business_id: BusinessId) -> bool:
        """Whether a charge of this business ever settled."""

    def leaf(self, business_id: BusinessId, day: int, charge: Hash) -> bytes | None: ...

    def leaves(self, business_id: BusinessId, day: int, after: Hash, limit: int) -> list[bytes]:
        """Leaves of one day in order of their charge's hash, from after ``after``."""

    def leaves_of_days(
        self, business_id: BusinessId, first_day: int, last_day: int
    ) -> Iterable[bytes]:
        """Leaves of the days from first to last, both included."""

    # The ledger

    def add_pending(self, day: int, entry: Hash) -> None:
        """A leaf that comes into the tree when its day is over."""

    def oldest_pending_day(self) -> int | None: ...

    def count_pending(self) -> int:
        """Leaves that are not in the tree."""

    def pending(self, day: int) -> list[Hash]:
        """The leaves of a day that are not in the tree, in ascending order."""

    def drop_pending(self, day: int) -> None:
        """They are in the tree now."""

    def tile(self, level: int, n: int) -> bytes | None:
        """See :mod:`kurir_server.tiles`."""

    def put_tile(self, level: int, n: int, hashes: bytes) -> None: ...

    def newest_checkpoint(self) -> StoredCheckpoint | None: ...

    def checkpoints(self) -> list[StoredCheckpoint]:
        """All, oldest first."""

    def spans(self, day: int) -> list[tuple[int, int]]:
        """Which leaves of the tree are of a day: first, and the one after the last."""

    def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None: ...

    # Reports and adjustments

    def reports_held(self) -> tuple[int, int]:
        """How many wait, and their bytes."""

    def report(self, report_id: bytes) -> StoredReport | None: ...

    def reports(self) -> list[StoredReport]:
        """All, by day."""

    def add_report(self, report: StoredReport) -> None: ...

    def drop_report(self, report_id: bytes) -> None: ...

    def adjust_of_leaf(self, leaf_hash: Hash) -> StoredAdjust | None: ...

    def adjust_named(self, business_id: BusinessId, day: int, name: Hash) -> StoredAdjust | None:
        """By the hash of the adjustment."""

    def adjusts_of_days(
        self, business_id: BusinessId, first_day: int, last_day: int
    ) -> list[StoredAdjust]:
        """Those of the days from first to last, both included, in order of their hash."""

    def add_adjust(self, adjust: StoredAdjust) -> None: ...

    # Rate cards

    def rate_card(self, card_hash: Hash) -> StoredRateCard | None: ...

    def rate_card_in_force(self, now: int) -> StoredRateCard | None:
        """The highest version whose time has come."""

    def rate_cards(self) -> list[StoredRateCard]: ...

    def add_rate_card(self, card: StoredRateCard) -> None: ...

    # Housekeeping

    def sweep(
        self, table: Swept, after: bytes | int | None, limit: int, end: int
    ) -> bytes | int | None:
        """Look at up to ``limit`` rows from after a key and remove those that end at or before
        ``end``. Returns the last key seen, or ``None`` at the end of the table."""
