"""A second implementation of the store, as plain as can be: dictionaries in memory.

It passes the same suite as the SQLite one, so the suite asks for nothing that only SQLite has; and
it is the model that the state machine compares others with. A transaction works on a copy.
"""

from __future__ import annotations

import copy
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from kurir_server.errors import StorageError
from kurir_server.rows import (
    Aged,
    Business,
    Mailbox,
    PreKeyKind,
    Rows,
    StoredCharge,
    StoredCheckpoint,
    StoredRateCard,
    Swept,
    Taken,
    Waiting,
)
from kurir_wire.ids import BusinessId, EnvelopeId, Hash, MailboxId

T = TypeVar("T")
KeyT = TypeVar("KeyT")
ROW_BITS = 62


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
    mailboxes: dict[int, Mailbox] = field(default_factory=dict)
    envelopes: dict[tuple[int, int], Kept] = field(default_factory=dict)
    cards: dict[int, tuple[bytes, int]] = field(default_factory=dict)
    businesses: dict[BusinessId, Business] = field(default_factory=dict)
    prekeys: dict[tuple[BusinessId, PreKeyKind, int], bytes] = field(default_factory=dict)
    charges: dict[Hash, tuple[StoredCharge, int]] = field(default_factory=dict)
    seconds: dict[Hash, int] = field(default_factory=dict)
    used: dict[bytes, int] = field(default_factory=dict)
    lanes: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    leaves: dict[tuple[BusinessId, int, Hash], bytes] = field(default_factory=dict)
    pending: dict[tuple[int, Hash], None] = field(default_factory=dict)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    checkpoints: dict[int, StoredCheckpoint] = field(default_factory=dict)
    rate_cards: dict[int, StoredRateCard] = field(default_factory=dict)


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

    @property
    def relay_id(self) -> bytes:
        return self._disk.relay_id

    def transact(self, work: Callable[[Rows], T]) -> T:
        with self._disk.lock:
            state = copy.deepcopy(self._disk.state)
            result = work(cast("Rows", _Fitting(MemoryRows(state))))
            self._disk.state = state
        return result

    def read(self, work: Callable[[Rows], T]) -> T:
        return work(MemoryRows(copy.deepcopy(self._disk.state)))

    def checkpoint(self) -> None:
        """Nothing that was deleted is anywhere."""

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

    def minute(self) -> int:
        return self._state.minute

    def set_minute(self, minute: int) -> None:
        self._state.minute = minute

    # Mailboxes

    def mailbox(self, mailbox_id: MailboxId) -> Mailbox | None:
        every = self._state.mailboxes.values()
        found = next((box for box in every if box.id == mailbox_id), None)
        return replace(found) if found else None

    def mailbox_at(self, row: int) -> Mailbox | None:
        found = self._state.mailboxes.get(row)
        return replace(found) if found else None

    def add_mailbox(
        self, mailbox_id: MailboxId, read_pk: bytes, gate: Hash, keep_until: int
    ) -> None:
        if self.mailbox(mailbox_id) is not None:
            raise StorageError("it is there already")
        row = secrets.randbits(ROW_BITS)
        new = Mailbox(row, mailbox_id, read_pk, gate, 1, 0, 0, 0, 0, keep_until)
        _add(self._state.mailboxes, row, new)

    def put_counters(self, mailbox: Mailbox) -> None:
        found = self._state.mailboxes.get(mailbox.row)
        if found is not None:
            for name in ("next_n", "depth", "size", "debt", "handed_n"):
                setattr(found, name, getattr(mailbox, name))

    def keep_mailbox(self, row: int, keep_until: int) -> None:
        if row in self._state.mailboxes:
            self._state.mailboxes[row].keep_until = keep_until

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
        if self.envelope_body(row, envelope_id) is not None:
            return False
        _add(self._state.envelopes, (row, n), Kept(envelope_id, expires_hour, charge, body))
        return True

    def envelope_body(self, row: int, envelope_id: EnvelopeId) -> bytes | None:
        return next((kept.body for _, kept in self._of(row) if kept.id == envelope_id), None)

    def waiting(self, row: int, after: int, hour: int) -> Iterator[Waiting]:
        for n, kept in self._of(row):
            if n > after and kept.expires_hour > hour:
                charge = self._state.charges.get(kept.charge) if kept.charge else None
                yield Waiting(n, kept.id, kept.body, charge[0].body if charge else None)

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
            new = Business(business_id, version, card, expires, 0, tariff, None, None, None)
        else:
            new = replace(found, version=version, card=card, expires=expires)
        self._state.businesses[business_id] = new

    def put_badge(
        self,
        business_id: BusinessId,
        tier: int,
        tariff: str,
        legal_name: str | None,
        not_after: int | None,
        signature: bytes | None,
    ) -> None:
        found = self._state.businesses.get(business_id)
        if found is not None:
            self._state.businesses[business_id] = replace(
                found,
                tier=tier,
                tariff=tariff,
                legal_name=legal_name,
                badge_not_after=not_after,
                badge_signature=signature,
            )

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

    def accepted_second(self, charge: Hash) -> int | None:
        return self._state.seconds.get(charge)

    def add_accepted_second(self, charge: Hash, second: int) -> None:
        _add(self._state.seconds, charge, second)

    def is_used(self, tag: bytes) -> bool:
        return tag in self._state.used

    def use(self, tag: bytes, until_day: int) -> None:
        _add(self._state.used, tag, until_day)

    def lane_seq(self, lane_pk: bytes) -> int | None:
        found = self._state.lanes.get(lane_pk)
        return found[0] if found else None

    def set_lane_seq(self, lane_pk: bytes, seq: int, until_day: int) -> None:
        self._state.lanes[lane_pk] = (seq, until_day)

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
            case Swept.SECONDS:
                return state.seconds, state.seconds.copy()
