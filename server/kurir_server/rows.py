"""What the rules ask of the store: records, and a port that :mod:`kurir_server.store` implements.

Rules are pure functions over :class:`Rows`; they run inside one transaction, in the store's thread.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    the last metered envelope handed over, ``keep_until`` hour after which it goes.
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


@dataclass(frozen=True, slots=True)
class Waiting:
    """An envelope on disk. ``charge`` is the packed charge of a metered one."""

    n: int
    envelope_id: EnvelopeId
    body: bytes
    charge: bytes | None


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
    """An accepted charge. ``body`` and ``private_hash`` are gone once it can no longer settle."""

    accepted_hour: int
    private_hash: Hash | None
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Business:
    """A registered business. Tier, tariff and badge come from the operator."""

    id: BusinessId
    version: int
    card: bytes
    expires: int
    tier: int
    tariff: str
    legal_name: str | None
    badge_not_after: int | None
    badge_signature: bytes | None


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
    SECONDS = "seconds"
    """Key: hash of the charge. End: the second itself."""


class Rows(Protocol):
    """Look-ups and writes within one transaction; :class:`kurir_server.storage.Store` says what
    holds for all of them.

    Every method may raise ``StorageError``. So does one that adds what is there already, unless it
    says otherwise. One that changes or removes what is not there does nothing.
    """

    # The relay itself

    def minute(self) -> int:
        """The last minute of which a beacon may have gone out; 0 in a new store."""

    def set_minute(self, minute: int) -> None: ...

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
        that the mailbox holds raises."""

    def envelope_body(self, row: int, envelope_id: EnvelopeId) -> bytes | None: ...

    def waiting(self, row: int, after: int, hour: int) -> Iterable[Waiting]:
        """Envelopes with a number above ``after`` that expire after ``hour``, oldest first, each
        with the body of its charge while there is one. Lazily: bodies that nobody asks for are not
        read. Meanwhile other methods that only read may be called; who stops early may write."""

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

    def put_badge(
        self,
        business_id: BusinessId,
        tier: int,
        tariff: str,
        legal_name: str | None,
        not_after: int | None,
        signature: bytes | None,
    ) -> None: ...

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

    def accepted_second(self, charge: Hash) -> int | None: ...

    def add_accepted_second(self, charge: Hash, second: int) -> None: ...

    def is_used(self, tag: bytes) -> bool: ...

    def use(self, tag: bytes, until_day: int) -> None: ...

    def lane_seq(self, lane_pk: bytes) -> int | None: ...

    def set_lane_seq(self, lane_pk: bytes, seq: int, until_day: int) -> None:
        """In the place of what was there."""

    def add_leaf(self, business_id: BusinessId, day: int, charge: Hash, leaf: bytes) -> None: ...

    def leaf(self, business_id: BusinessId, day: int, charge: Hash) -> bytes | None: ...

    def leaves(self, business_id: BusinessId, day: int, after: Hash, limit: int) -> list[bytes]:
        """Leaves of one day in order of their charge's hash, from after ``after``."""

    def leaves_of_days(
        self, business_id: BusinessId, first_day: int, last_day: int
    ) -> Iterable[bytes]:
        """Leaves of the days from first to last, both included, in any order. Lazily, as
        :meth:`waiting`."""

    # The ledger

    def add_pending(self, day: int, entry: Hash) -> None:
        """A leaf that comes into the tree when its day is over."""

    def oldest_pending_day(self) -> int | None: ...

    def pending(self, day: int) -> list[Hash]:
        """The leaves of a day that are not in the tree, in ascending order."""

    def drop_pending(self, day: int) -> None:
        """They are in the tree now."""

    def tile(self, level: int, n: int) -> bytes | None:
        """See :mod:`kurir_server.tiles`."""

    def put_tile(self, level: int, n: int, hashes: bytes) -> None:
        """In the place of what was there."""

    def newest_checkpoint(self) -> StoredCheckpoint | None:
        """The one of the largest size."""

    def checkpoints(self) -> list[StoredCheckpoint]:
        """All, oldest first: by size."""

    def spans(self, day: int) -> list[tuple[int, int]]:
        """Which leaves of the tree are of a day: for each checkpoint of that day, in order, the
        size of the one before it and its own."""

    def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None: ...

    # Rate cards

    def rate_card(self, card_hash: Hash) -> StoredRateCard | None: ...

    def rate_card_in_force(self, now: int) -> StoredRateCard | None:
        """The highest version whose time has come."""

    def rate_cards(self) -> list[StoredRateCard]:
        """All, in order of their version."""

    def add_rate_card(self, card: StoredRateCard) -> None:
        """Its version and its hash are both new."""

    # Housekeeping

    def sweep(
        self, table: Swept, after: bytes | int | None, limit: int, end: int
    ) -> bytes | int | None:
        """Look at up to ``limit`` from after a key (from ``None`` on, all), in order of their keys,
        and remove those that end at or before ``end``.

        :returns: the last key looked at if there were ``limit``; ``None`` at the end
        """
