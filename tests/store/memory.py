"""A second implementation of the store, as plain as can be: dictionaries in memory.

It passes the same suite as the SQLite one, so the suite asks for nothing that only SQLite has; and
it is the model that the state machine compares others with. A transaction works on a copy.
"""

from __future__ import annotations

import copy
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar, cast

from kurir_server.errors import StorageError
from kurir_server.ledger_rows import StoredAdjust, StoredCheckpoint, StoredReport
from kurir_server.limits import MAX_NUMBER
from kurir_server.rows import (
    Aged,
    Approval,
    Business,
    Mailbox,
    PreKeyKind,
    Rows,
    StoredCharge,
    StoredRateCard,
    StoredTicket,
    Swept,
    Taken,
    Waiting,
)
from kurir_server.storage import Room
from kurir_wire.ids import BusinessId, EnvelopeId, Hash, MailboxId, RelayId

T = TypeVar("T")
KeyT = TypeVar("KeyT")
ROW_BITS = 36


@dataclass(frozen=True, slots=True)
class Kept:
    """An envelope."""

    id: EnvelopeId
    expires_hour: int
    charge: Hash | None
    body: bytes


@dataclass
class State:
    """All that is stored."""

    minute: int = 0
    sure: int | None = None
    mailboxes: dict[int, Mailbox] = field(default_factory=dict)
    envelopes: dict[tuple[int, int], Kept] = field(default_factory=dict)
    cards: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    businesses: dict[BusinessId, Business] = field(default_factory=dict)
    prekeys: dict[tuple[BusinessId, PreKeyKind, int], bytes] = field(default_factory=dict)
    charges: dict[Hash, tuple[StoredCharge, int]] = field(default_factory=dict)
    used: dict[bytes, int] = field(default_factory=dict)
    lanes: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    leaves: dict[tuple[BusinessId, int, Hash], bytes] = field(default_factory=dict)
    pending: dict[tuple[int, Hash], None] = field(default_factory=dict)
    marks: dict[bytes, tuple[bytes, int]] = field(default_factory=dict)
    starts: dict[bytes, tuple[BusinessId, int]] = field(default_factory=dict)
    tickets: dict[bytes, tuple[BusinessId, StoredTicket]] = field(default_factory=dict)
    reports: dict[bytes, StoredReport] = field(default_factory=dict)
    adjusts: dict[Hash, StoredAdjust] = field(default_factory=dict)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    checkpoints: dict[int, StoredCheckpoint] = field(default_factory=dict)
    rate_cards: dict[int, StoredRateCard] = field(default_factory=dict)
    parties: dict[bytes, bytes] = field(default_factory=dict)
    invoices: dict[tuple[BusinessId, int, int], bytes] = field(default_factory=dict)


@dataclass
class Disk:
    """What outlives a store that is closed."""

    relay_id: bytes
    state: State = field(default_factory=State)
    lock: threading.Lock = field(default_factory=threading.Lock)


class MemoryStore:
    """Implements :class:`kurir_server.storage.Store`."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.changes = 0

    @property
    def relay_id(self) -> bytes:
        return self._disk.relay_id

    def transact(self, work: Callable[[Rows], T]) -> T:
        with self._disk.lock:
            state = copy.deepcopy(self._disk.state)
            rows = MemoryRows(state)
            try:
                result = work(cast("Rows", _Fitting(rows)))
            except BaseException:
                rows.undo()
                raise
            self.changes += state != self._disk.state
            self._disk.state = state
        return result

    def read(self, work: Callable[[Rows], T]) -> T:
        rows = MemoryRows(copy.deepcopy(self._disk.state))
        try:
            return work(rows)
        finally:
            rows.undo()

    def take_damaged(self) -> Counter[str]:
        return Counter()

    def room(self) -> Room:
        return Room(1 << 40, 1 << 41)

    def checkpoint(self) -> bool:
        """Nothing that was deleted is anywhere."""
        return True

    def close(self) -> None:
        """Nothing is held."""


class _Fitting:
    """Refuses numbers that other stores could not keep."""

    def __init__(self, rows: MemoryRows) -> None:
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._rows, name)

        def call(*arguments: Any) -> Any:
            for value in arguments:
                if isinstance(value, int) and value >= 1 << 63:
                    raise StorageError("a number is too large")
            return method(*arguments)

        return call


def _add(where: dict[KeyT, T], key: KeyT, value: T) -> None:
    if key in where:
        raise StorageError("it is there already")
    where[key] = value


class MemoryRows:
    """Implements :class:`kurir_server.rows.Rows`."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._undo: list[Callable[[], None]] = []

    def if_undone(self, undo: Callable[[], None]) -> None:
        self._undo.append(undo)

    def undo(self) -> None:
        while self._undo:
            self._undo.pop()()

    def minute(self) -> int:
        return self._state.minute

    def set_minute(self, minute: int) -> None:
        self._state.minute = minute

    def sure_minute(self) -> int:
        return self._state.minute if self._state.sure is None else self._state.sure

    def set_sure_minute(self, minute: int) -> None:
        self._state.sure = minute

    # Mailboxes

    def mailbox(self, mailbox_id: MailboxId) -> Mailbox | None:
        every = self._state.mailboxes.values()
        found = next((box for box in every if box.id == mailbox_id), None)
        return copy.copy(found) if found else None

    def mailbox_at(self, row: int) -> Mailbox | None:
        found = self._state.mailboxes.get(row)
        return copy.copy(found) if found else None

    def add_mailbox(
        self, mailbox_id: MailboxId, read_pk: bytes, gate: Hash, keep_until: int
    ) -> None:
        if self.mailbox(mailbox_id) is not None:
            raise StorageError("it is there already")
        row = secrets.randbits(ROW_BITS)
        new = Mailbox(row, mailbox_id, read_pk, gate, 1, 0, 0, 0, 0, keep_until, 0)
        _add(self._state.mailboxes, row, new)

    def put_counters(self, mailbox: Mailbox) -> None:
        found = self._state.mailboxes.get(mailbox.row)
        if found is not None:
            for name in ("next_n", "depth", "size", "debt", "handed_n"):
                setattr(found, name, getattr(mailbox, name))

    def keep_mailbox(self, row: int, keep_until: int) -> None:
        if row in self._state.mailboxes:
            self._state.mailboxes[row].keep_until = keep_until

    def set_refused(self, row: int, categories: int) -> None:
        if row in self._state.mailboxes:
            self._state.mailboxes[row].refused = categories

    def delete_mailbox(self, row: int) -> None:
        for _, kept in self._of(row):
            if kept.charge is not None:
                self.close_charge(kept.charge)
        envelopes = self._state.envelopes.items()
        self._state.envelopes = {key: kept for key, kept in envelopes if key[0] != row}
        self._state.cards.pop(row, None)
        self._state.mailboxes.pop(row, None)

    def mailboxes_after(self, row: int, limit: int) -> list[tuple[int, int]]:
        later = sorted(found for found in self._state.mailboxes if found > row)
        return [(found, self._state.mailboxes[found].keep_until) for found in later[:limit]]

    # Envelopes

    def _of(self, row: int) -> list[tuple[int, Kept]]:
        return sorted(
            ((key[1], kept) for key, kept in self._state.envelopes.items() if key[0] == row),
            key=lambda found: found[0],
        )

    def add_envelope(
        self,
        row: int,
        n: int,
        envelope_id: EnvelopeId,
        expires_hour: int,
        charge: Hash | None,
        body: bytes,
    ) -> bool:
        if not 0 < n <= MAX_NUMBER:
            raise StorageError("a number is too large")
        if self.envelope_body(row, envelope_id) is not None:
            return False
        _add(self._state.envelopes, (row, n), Kept(envelope_id, expires_hour, charge, body))
        return True

    def renumber(self, row: int, up_to: int) -> tuple[int, int]:
        found = self._of(row)
        for n, _ in found:
            del self._state.envelopes[row, n]
        for place, (_, kept) in enumerate(found, 1):
            self._state.envelopes[row, place] = kept
        return len(found), sum(n <= up_to for n, _ in found)

    def envelope_body(self, row: int, envelope_id: EnvelopeId) -> bytes | None:
        return next((kept.body for _, kept in self._of(row) if kept.id == envelope_id), None)

    def waiting(self, row: int, after: int, hour: int) -> Iterator[Waiting]:
        for n, kept in self._of(row):
            if n > after and kept.expires_hour > hour:
                found = self._state.charges.get(kept.charge) if kept.charge else None
                charge = found[0].body if found else None
                whole = kept.charge is None or charge is not None
                yield Waiting(n, kept.id, kept.body, charge, whole)

    def take_envelope(self, row: int, envelope_id: EnvelopeId) -> Taken | None:
        for n, kept in self._of(row):
            if kept.id == envelope_id:
                del self._state.envelopes[row, n]
                return Taken(n, len(kept.body), kept.charge)
        return None

    def count_handed(self, row: int, up_to: int) -> int:
        return sum(n <= up_to and kept.charge is not None for n, kept in self._of(row))

    def count_waiting(self, row: int, hour: int) -> int:
        return sum(kept.expires_hour > hour for _, kept in self._of(row))

    def envelopes_after(self, row: int, n: int, limit: int) -> list[Aged]:
        later = sorted(key for key in self._state.envelopes if key > (row, n))
        found = ((key, self._state.envelopes[key]) for key in later[:limit])
        return [Aged(*key, kept.expires_hour, kept.id) for key, kept in found]

    # Cards of people

    def put_card(self, row: int, card: bytes, expires_hour: int) -> None:
        self._state.cards[row] = (card, expires_hour)

    def card(self, row: int, hour: int) -> bytes | None:
        card, end = self._state.cards.get(row, (None, 0))
        return card if end > hour else None

    # Businesses

    def business(self, business_id: BusinessId) -> Business | None:
        return self._state.businesses.get(business_id)

    def businesses(self) -> list[Business]:
        return [business for _, business in sorted(self._state.businesses.items())]

    def put_business(
        self, business_id: BusinessId, version: int, card: bytes, expires: int, tariff: str
    ) -> None:
        found = self._state.businesses.get(business_id)
        if found is None:
            new = Business(business_id, version, card, expires, 0, tariff, *[None] * 6)
        else:
            new = replace(found, version=version, card=card, expires=expires)
        self._state.businesses[business_id] = new

    def approve(self, business_id: BusinessId, approval: Approval) -> None:
        found = self._state.businesses.get(business_id)
        if found is not None:
            self._state.businesses[business_id] = replace(found, **asdict(approval))

    def revoke(self, business_id: BusinessId) -> None:
        found = self._state.businesses.get(business_id)
        if found is not None:
            self._state.businesses[business_id] = replace(
                found,
                tier=0,
                legal_name=None,
                badge_not_after=None,
                badge_signature=None,
                terms_signature=None,
            )

    def add_ticket(self, business_id: BusinessId, ticket: StoredTicket) -> None:
        _add(self._state.tickets, ticket.entry_id, (business_id, ticket))

    def tickets(self, business_id: BusinessId, now: int) -> list[StoredTicket]:
        found = [
            ticket
            for of, ticket in self._state.tickets.values()
            if of == business_id and ticket.not_after > now
        ]
        return sorted(found, key=lambda ticket: (-ticket.not_after, ticket.entry_id))

    def forgotten_businesses(self, now: int, limit: int) -> list[Business]:
        found = [
            business
            for business in self._state.businesses.values()
            if not business.tier and business.expires <= now and not self.has_leaves(business.id)
        ]
        return found[:limit]

    def drop_business(self, business_id: BusinessId) -> None:
        self.drop_prekeys(business_id)
        self._state.businesses.pop(business_id, None)
        self._state.parties.pop(business_id, None)
        for key in [key for key in self._state.invoices if key[0] == business_id]:
            del self._state.invoices[key]
        mine = [entry for entry, (owner, _) in self._state.tickets.items() if owner == business_id]
        for entry in mine:
            del self._state.tickets[entry]

    def prekey(self, business_id: BusinessId, kind: PreKeyKind, key_id: int) -> bytes | None:
        return self._state.prekeys.get((business_id, kind, key_id))

    def add_prekey(
        self, business_id: BusinessId, kind: PreKeyKind, key_id: int, body: bytes
    ) -> None:
        _add(self._state.prekeys, (business_id, kind, key_id), body)

    def _prekeys(self, business_id: BusinessId, kind: PreKeyKind) -> list[int]:
        return sorted(key[2] for key in self._state.prekeys if key[:2] == (business_id, kind))

    def count_prekeys(self, business_id: BusinessId, kind: PreKeyKind) -> int:
        return len(self._prekeys(business_id, kind))

    def take_prekey(self, business_id: BusinessId, kind: PreKeyKind) -> bytes | None:
        ids = self._prekeys(business_id, kind)
        return self._state.prekeys.pop((business_id, kind, ids[0])) if ids else None

    def drop_prekeys(self, business_id: BusinessId) -> None:
        prekeys = self._state.prekeys.items()
        self._state.prekeys = {key: body for key, body in prekeys if key[0] != business_id}

    # Charges

    def charge(self, charge: Hash) -> StoredCharge | None:
        found = self._state.charges.get(charge)
        return found[0] if found else None

    def add_charge(
        self, charge: Hash, accepted_hour: int, private_hash: Hash, body: bytes, until_day: int
    ) -> None:
        new = StoredCharge(accepted_hour, private_hash, body)
        _add(self._state.charges, charge, (new, until_day))

    def close_charge(self, charge: Hash) -> None:
        found = self._state.charges.get(charge)
        if found is not None:
            self._state.charges[charge] = (
                StoredCharge(found[0].accepted_hour, None, None),
                found[1],
            )

    def is_used(self, tag: bytes) -> bool:
        return tag in self._state.used

    def use(self, tag: bytes, until_day: int) -> None:
        _add(self._state.used, tag, until_day)

    def lane_seq(self, lane_pk: bytes) -> int | None:
        found = self._state.lanes.get(lane_pk)
        return found[0] if found else None

    def set_lane_seq(self, lane_pk: bytes, seq: int, until_day: int) -> None:
        self._state.lanes[lane_pk] = (seq, until_day)

    def mark(self, tag: bytes) -> bytes | None:
        found = self._state.marks.get(tag)
        return found[0] if found else None

    def put_mark(self, tag: bytes, until_hour: int, sealed: bytes) -> None:
        self._state.marks[tag] = (sealed, until_hour)

    def is_started(self, tag: bytes, hour: int) -> bool:
        found = self._state.starts.get(tag)
        return found is not None and found[1] > hour

    def add_start(self, business_id: BusinessId, tag: bytes, until_hour: int) -> None:
        self._state.starts[tag] = (business_id, until_hour)

    def starts(self, business_id: BusinessId, hour: int) -> tuple[int, int]:
        ends = [end for of, end in self._state.starts.values() if of == business_id and end > hour]
        return len(ends), min(ends, default=0)

    def has_leaves(self, business_id: BusinessId) -> bool:
        return any(of == business_id for of, _, _ in self._state.leaves)

    def add_leaf(self, business_id: BusinessId, day: int, charge: Hash, leaf: bytes) -> None:
        _add(self._state.leaves, (business_id, day, charge), leaf)

    def leaf(self, business_id: BusinessId, day: int, charge: Hash) -> bytes | None:
        return self._state.leaves.get((business_id, day, charge))

    def leaves(self, business_id: BusinessId, day: int, after: Hash, limit: int) -> list[bytes]:
        keys = sorted(
            key for key in self._state.leaves if key[:2] == (business_id, day) and key[2] > after
        )
        return [self._state.leaves[key] for key in keys[:limit]]

    def leaves_of_days(
        self, business_id: BusinessId, first_day: int, last_day: int
    ) -> Iterator[bytes]:
        for (business, day, _), leaf in self._state.leaves.items():
            if business == business_id and first_day <= day <= last_day:
                yield leaf

    # The ledger

    def add_pending(self, day: int, entry: Hash) -> None:
        _add(self._state.pending, (day, entry), None)

    def oldest_pending_day(self) -> int | None:
        return min((day for day, _ in self._state.pending), default=None)

    def count_pending(self) -> int:
        return len(self._state.pending)

    def pending(self, day: int) -> list[Hash]:
        return sorted(entry for found, entry in self._state.pending if found == day)

    def drop_pending(self, day: int) -> None:
        self._state.pending = {key: None for key in self._state.pending if key[0] != day}

    def tile(self, level: int, n: int) -> bytes | None:
        return self._state.tiles.get((level, n))

    def put_tile(self, level: int, n: int, hashes: bytes) -> None:
        self._state.tiles[level, n] = hashes

    def newest_checkpoint(self) -> StoredCheckpoint | None:
        return self.checkpoints()[-1] if self._state.checkpoints else None

    def checkpoints(self) -> list[StoredCheckpoint]:
        return [checkpoint for _, checkpoint in sorted(self._state.checkpoints.items())]

    def spans(self, day: int) -> list[tuple[int, int]]:
        every = self.checkpoints()
        sizes = [0, *(checkpoint.size for checkpoint in every)]
        return [
            (before, checkpoint.size)
            for before, checkpoint in zip(sizes, every, strict=False)
            if checkpoint.day == day
        ]

    def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        _add(self._state.checkpoints, checkpoint.size, checkpoint)

    # Reports and adjustments

    def reports_held(self) -> tuple[int, int]:
        every = self._state.reports.values()
        return len(every), sum(len(report.sealed) for report in every)

    def report(self, report_id: bytes) -> StoredReport | None:
        return self._state.reports.get(report_id)

    def reports(self) -> list[StoredReport]:
        return sorted(self._state.reports.values(), key=lambda report: (report.day, report.id))

    def add_report(self, report: StoredReport) -> None:
        self._state.reports.setdefault(report.id, report)

    def drop_report(self, report_id: bytes) -> None:
        self._state.reports.pop(report_id, None)

    def adjust_of_leaf(self, leaf_hash: Hash) -> StoredAdjust | None:
        return self._state.adjusts.get(leaf_hash)

    def adjust_named(self, business_id: BusinessId, day: int, name: Hash) -> StoredAdjust | None:
        found = self.adjusts_of_days(business_id, day, day)
        return next((adjust for adjust in found if adjust.hash == name), None)

    def adjusts_of_days(
        self, business_id: BusinessId, first_day: int, last_day: int
    ) -> list[StoredAdjust]:
        found = [
            adjust
            for adjust in self._state.adjusts.values()
            if adjust.business_id == business_id and first_day <= adjust.day <= last_day
        ]
        return sorted(found, key=lambda adjust: adjust.hash)

    def add_adjust(self, adjust: StoredAdjust) -> None:
        if self.adjust_named(adjust.business_id, adjust.day, adjust.hash) is not None:
            raise StorageError("it is there already")
        _add(self._state.adjusts, adjust.leaf_hash, adjust)

    # Rate cards

    def rate_card(self, card_hash: Hash) -> StoredRateCard | None:
        return next((card for card in self.rate_cards() if card.hash == card_hash), None)

    def rate_card_in_force(self, now: int) -> StoredRateCard | None:
        come = [card for card in self.rate_cards() if card.effective_from <= now]
        return come[-1] if come else None

    def rate_cards(self) -> list[StoredRateCard]:
        return [card for _, card in sorted(self._state.rate_cards.items())]

    def add_rate_card(self, card: StoredRateCard) -> None:
        if self.rate_card(card.hash) is not None:
            raise StorageError("it is there already")
        _add(self._state.rate_cards, card.version, card)

    # Invoices

    def party(self, party_id: BusinessId | RelayId) -> bytes | None:
        return self._state.parties.get(party_id)

    def put_party(self, party_id: BusinessId | RelayId, party: bytes) -> None:
        self._state.parties[party_id] = party

    def last_invoice(self, business_id: BusinessId, month: int) -> bytes | None:
        mine = [key for key in self._state.invoices if key[:2] == (business_id, month)]
        return self._state.invoices[max(mine)] if mine else None

    def add_invoice(self, business_id: BusinessId, month: int, revision: int, head: bytes) -> None:
        _add(self._state.invoices, (business_id, month, revision), head)

    # Housekeeping

    def sweep(
        self, table: Swept, after: bytes | int | None, limit: int, end: int
    ) -> bytes | int | None:
        where, ends = self._ends(table)
        keys = sorted(key for key in ends if after is None or key > after)[:limit]
        for key in keys:
            if ends[key] <= end:
                del where[key]
        return keys[-1] if len(keys) == limit else None

    def _ends(self, table: Swept) -> tuple[dict[Any, Any], dict[Any, int]]:
        state = self._state
        match table:
            case Swept.CARDS:
                return state.cards, {row: end for row, (_, end) in state.cards.items()}
            case Swept.CHARGES:
                return state.charges, {key: end for key, (_, end) in state.charges.items()}
            case Swept.USED:
                return state.used, state.used.copy()
            case Swept.LANES:
                return state.lanes, {key: end for key, (_, end) in state.lanes.items()}
            case Swept.MARKS:
                return state.marks, {tag: end for tag, (_, end) in state.marks.items()}
            case Swept.STARTS:
                return state.starts, {tag: end for tag, (_, end) in state.starts.items()}
            case Swept.TICKETS:
                ends = {name: ticket.not_after for name, (_, ticket) in state.tickets.items()}
                return state.tickets, ends
            case Swept.REPORTS:
                return state.reports, {name: report.day for name, report in state.reports.items()}
