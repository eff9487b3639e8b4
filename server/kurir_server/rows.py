"""What the rules ask of the store: records, and a port that :mod:`kurir_server.store` implements.

Rules are pure functions over :class:`Rows`; they run inside one transaction, in the store's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from msgspec import Struct

from kurir_server.ledger_rows import LedgerRows
from kurir_wire.ids import BusinessId, EnvelopeId, Hash, MailboxId, RelayId


class Moment(Struct, frozen=True):
    """``now``: relay time in seconds UTC, never falling. ``tick``: seconds of a steady clock, for
    rates. ``doubt``: seconds by which ``now`` may be too late."""

    now: int
    tick: float
    doubt: int = 0

    @property
    def sure(self) -> int:
        """The time that it is at least: what ends, ends by this."""
        return self.now - self.doubt


class Mailbox(Struct):
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


class Waiting(Struct, frozen=True):
    """An envelope on disk. ``charge`` is the packed charge of a metered one. ``whole``: it is what
    was written; else nothing of it may be handed over."""

    n: int
    envelope_id: EnvelopeId
    body: bytes
    charge: bytes | None
    whole: bool = True


class Taken(Struct, frozen=True):
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


class PreKeyKind(Enum):
    """The two kinds of one-time prekeys."""

    EC = 0
    KEM = 1


class Swept(Enum):
    """What carries its own end, and goes by :meth:`Rows.sweep`."""

    CARDS = "cards"
    """Key: row of the mailbox. End: the hour given to ``put_card``."""
    CHARGES = "charges"
    """Key: hash. End: the day given to ``add_charge``."""
    USED = "used"
    """Key: tag. End: the day given to ``use``."""
    LANES = "lanes"
    """Key: lane key. End: the day given last to ``set_lane_seq``."""
    MARKS = "marks"
    """Key: tag. End: the hour given last to ``put_mark``."""
    STARTS = "starts"
    """Key: tag. End: the hour given last to ``add_start``."""
    TICKETS = "tickets"
    """Key: entry id. End: the second given to ``add_ticket``."""
    REPORTS = "reports"
    """Key: id. End: the day given to ``add_report``."""


class Rows(LedgerRows, Protocol):
    """Look-ups and writes within one transaction; :class:`kurir_server.storage.Store` says what
    holds for all of them.

    Every method may raise ``StorageError``. So does one that adds what is there already, unless it
    says otherwise. One that changes or removes what is not there does nothing.
    """

    def if_undone(self, undo: Callable[[], None]) -> None:
        """Call ``undo`` if this transaction does not come to the disk: for what rules keep in
        memory."""

    # The relay itself

    def minute(self) -> int:
        """The last minute of which a beacon may have gone out; 0 in a new store."""

    def set_minute(self, minute: int) -> None: ...

    def sure_minute(self) -> int:
        """What was sure of that minute, see :class:`Moment`; all of it before any was set."""

    def set_sure_minute(self, minute: int) -> None: ...

    # Mailboxes

    def mailbox(self, mailbox_id: MailboxId) -> Mailbox | None: ...

    def mailbox_at(self, row: int) -> Mailbox | None: ...

    def add_mailbox(
        self, mailbox_id: MailboxId, read_pk: bytes, gate: Hash, keep_until: int
    ) -> None:
        """An empty one: its next envelope is number 1, all other counters are 0. ``row`` is chosen
        by the store, at random, so that the order of rows says nothing."""

    def put_counters(self, mailbox: Mailbox) -> None:
        """Write back ``next_n``, ``depth``, ``size``, ``debt`` and ``handed_n``."""

    def keep_mailbox(self, row: int, keep_until: int) -> None: ...

    def set_refused(self, row: int, categories: int) -> None: ...

    def delete_mailbox(self, row: int) -> None:
        """With its envelopes and its card; charges that wait in it can no longer settle."""

    def mailboxes_after(self, row: int, limit: int) -> list[tuple[int, int]]:
        """Row and ``keep_until`` of the next mailboxes in order of their row; from -1 on, all."""

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
        """``False``, and nothing is changed, if the mailbox holds an envelope of this id. A number
        that the mailbox holds raises, as does one that is not from 1 to ``MAX_NUMBER``."""

    def renumber(self, row: int, up_to: int) -> tuple[int, int]:
        """Number what is in a mailbox from 1 on, in the order in which it stands. Counters of the
        mailbox stay.

        :returns: how many there are, and how many of them had a number of at most ``up_to``
        """

    def envelope_body(self, row: int, envelope_id: EnvelopeId) -> bytes | None: ...

    def waiting(self, row: int, after: int, hour: int) -> Iterable[Waiting]:
        """Envelopes with a number above ``after`` that expire after ``hour``, oldest first, each
        with the body of its charge while there is one; damaged ones too, which are marked so
        as metered ones are whose charge is gone or closed.
        Lazily: bodies that nobody asks for are not read. Meanwhile other methods that only read
        may be called; who stops early may write."""

    def take_envelope(self, row: int, envelope_id: EnvelopeId) -> Taken | None:
        """Remove an envelope."""

    def count_handed(self, row: int, up_to: int) -> int:
        """Metered envelopes that wait with a number of at most ``up_to``."""

    def count_waiting(self, row: int, hour: int) -> int:
        """Envelopes in a mailbox that expire after ``hour``."""

    def envelopes_after(self, row: int, n: int, limit: int) -> list[Aged]:
        """The next envelopes of all mailboxes, in order of row and number; from (-1, 0) on, all."""

    # Cards of people

    def put_card(self, row: int, card: bytes, expires_hour: int) -> None:
        """In the place of the one that was there."""

    def card(self, row: int, hour: int) -> bytes | None:
        """The card, if it expires after ``hour``."""

    # Businesses

    def business(self, business_id: BusinessId) -> Business | None: ...

    def businesses(self) -> list[Business]:
        """All, in order of their id."""

    def put_business(
        self, business_id: BusinessId, version: int, card: bytes, expires: int, tariff: str
    ) -> None:
        """New, with a tariff to begin with; or a newer card, where what the operator decided
        stays."""

    def approve(self, business_id: BusinessId, approval: Approval) -> None: ...

    def revoke(self, business_id: BusinessId) -> None:
        """Take tier, badge and terms away; the tariff, the starts and when the last terms were
        issued stay."""

    def add_ticket(self, business_id: BusinessId, ticket: StoredTicket) -> None: ...

    def tickets(self, business_id: BusinessId, now: int) -> list[StoredTicket]:
        """Those that end after ``now``, the one that lasts longest first."""

    def forgotten_businesses(self, now: int, limit: int) -> list[Business]:
        """Those without approval whose card has expired, and of which no charge ever settled."""

    def drop_business(self, business_id: BusinessId) -> None:
        """With its prekeys and entry tickets; its leaves and adjustments stay."""

    def prekey(self, business_id: BusinessId, kind: PreKeyKind, key_id: int) -> bytes | None: ...

    def add_prekey(
        self, business_id: BusinessId, kind: PreKeyKind, key_id: int, body: bytes
    ) -> None: ...

    def count_prekeys(self, business_id: BusinessId, kind: PreKeyKind) -> int: ...

    def take_prekey(self, business_id: BusinessId, kind: PreKeyKind) -> bytes | None:
        """Remove the one with the lowest id, and return its body."""

    def drop_prekeys(self, business_id: BusinessId) -> None:
        """Of both kinds."""

    # Charges

    def charge(self, charge: Hash) -> StoredCharge | None: ...

    def add_charge(
        self, charge: Hash, accepted_hour: int, private_hash: Hash, body: bytes, until_day: int
    ) -> None: ...

    def close_charge(self, charge: Hash) -> None:
        """It settled or never will: erase ``private_hash`` and ``body``, and keep what a repeated
        receipt needs."""

    def is_used(self, tag: bytes) -> bool: ...

    def use(self, tag: bytes, until_day: int) -> None: ...

    def lane_seq(self, lane_pk: bytes) -> int | None: ...

    def set_lane_seq(self, lane_pk: bytes, seq: int, until_day: int) -> None:
        """In the place of what was there."""

    def mark(self, tag: bytes) -> bytes | None:
        """The sealed pass of a mark."""

    def put_mark(self, tag: bytes, until_hour: int, sealed: bytes) -> None:
        """In place of an earlier one."""

    def is_started(self, tag: bytes, hour: int) -> bool:
        """Whether a start counts that ends after ``hour``."""

    def add_start(self, business_id: BusinessId, tag: bytes, until_hour: int) -> None:
        """In place of an earlier one of the same tag."""

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
        """Leaves of the days from first to last, both included, in any order. Lazily, as
        :meth:`waiting`."""

    # Rate cards

    def rate_card(self, card_hash: Hash) -> StoredRateCard | None: ...

    def rate_card_in_force(self, now: int) -> StoredRateCard | None:
        """The highest version whose time has come."""

    def rate_cards(self) -> list[StoredRateCard]:
        """All, in order of their version."""

    def add_rate_card(self, card: StoredRateCard) -> None:
        """Its version and its hash are both new."""

    # Invoices

    def party(self, party_id: BusinessId | RelayId) -> bytes | None:
        """Who stands on invoices: the packed seller under the relay's id, a buyer under its own."""

    def put_party(self, party_id: BusinessId | RelayId, party: bytes) -> None: ...

    def last_invoice(self, business_id: BusinessId, month: int) -> bytes | None:
        """The packed head, without its signature, of a month's last revision."""

    def add_invoice(
        self, business_id: BusinessId, month: int, revision: int, head: bytes
    ) -> None: ...

    # Housekeeping

    def sweep(
        self, table: Swept, after: bytes | int | None, limit: int, end: int
    ) -> bytes | int | None:
        """Look at up to ``limit`` from after a key (from ``None`` on, all), in order of their keys,
        and remove those that end at or before ``end``.

        :returns: the last key looked at if there were ``limit``; ``None`` at the end
        """
