"""A relay's ledger, recomputed from an export: nothing in it is believed.

Every leaf must be signed by a lane of its business, opened by the customer's secret, priced by a
card of the operator that was in force by then, and stand once and where its hash says. Every
adjustment must be signed by the operator, be the only one of a leaf that is here, and add what the
cards say. Every checkpoint must be signed by the relay and have the root that these entries give.
No mailbox is in any of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from kurir_audit.books import Bill, Books, Month, Name
from kurir_audit.capture import reason
from kurir_audit.errors import EvidenceFileError
from kurir_billing.adjust import Adjust, check_ruling
from kurir_billing.dates import month_of_day, show_day
from kurir_billing.errors import BillingError, EvidenceError, LedgerError
from kurir_billing.lane import Lane
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import adjust_hash, entry_hash, open_checkpoint
from kurir_billing.ledger_file import MAX_LINE, Closed, PriceList, read_part
from kurir_billing.listed import KnownLists
from kurir_billing.ratecard import RateCard, open_rate_card
from kurir_wire.errors import WireError
from kurir_wire.ids import Hash, RelayId
from kurir_wire.merkle import Growing
from kurir_wire.relaycert import RelayCert

ENDS_BEFORE: Final = "ends before; take a newer export, and if there is none it was cut off"


@dataclass(slots=True)
class Account:
    """What a file says. ``fault``: the first place that is wrong, and why; the rest of the file was
    not read."""

    file: Path
    cert: RelayCert | None = None
    hashes: list[Hash] = field(default_factory=list)
    checkpoints: int = 0
    adjustments: int = 0
    bills: dict[Name, Bill] = field(default_factory=dict)
    kept: dict[Name, Month] = field(default_factory=dict)
    cards: Mapping[Hash, RateCard] = field(default_factory=dict)
    fault: str | None = None

    @property
    def relay_id(self) -> RelayId | None:
        """Whose ledger it is, as far as the file says."""
        return self.cert.relay_id if self.cert else None


def examine(file: Path, wanted: Collection[Name] = ()) -> Account:
    """Recompute one export.

    :param wanted: businesses and months of which all leaves are kept
    :raises EvidenceFileError: it cannot be read
    """
    account = Account(file)
    number = 0
    try:
        with file.open("rb") as lines:
            reader = _Reader(account, wanted, _re_rated(lines))
            lines.seek(0)
            while line := lines.readline(MAX_LINE + 1):
                number += 1
                reader.take(line)
            reader.finish()
    except OSError as error:
        raise EvidenceFileError(
            f"cannot read {file}: {reason(error)}", "make one with: kurir-relay ledger export"
        ) from error
    except (BillingError, WireError) as error:
        account.fault = f"line {number}: {error}"
    return account


def missing(account: Account, note_file: Path) -> str | None:
    """Why a checkpoint that somebody kept is none of this ledger; ``None`` if it is one.

    :raises EvidenceFileError: it cannot be read
    """
    try:
        note = note_file.read_bytes()
    except OSError as error:
        raise EvidenceFileError(f"cannot read {note_file}: {reason(error)}") from error
    if account.cert is None:
        return None  # the file has a fault of its own
    try:
        kept = open_checkpoint(note, account.cert.checkpoint_pk, account.cert.relay_id)
    except LedgerError as error:
        return f"{note_file}: {error}"
    if kept.size > len(account.hashes):
        return f"{note_file} is signed over {kept.size} entries, and {account.file} {ENDS_BEFORE}"
    if Growing(account.hashes[: kept.size]).root() != kept.root:
        return f"{note_file} and {account.file} are two ledgers of one relay"
    return None


def longest(accounts: Iterable[Account]) -> list[Account]:
    """Of each relay the export with the most entries, of those that hold: an older one ends before
    what came later."""
    found: dict[RelayId | None, Account] = {}
    for account in accounts:
        before = found.setdefault(account.relay_id, account)
        if _rank(account) > _rank(before):
            found[account.relay_id] = account
    return list(found.values())


def _rank(account: Account) -> tuple[bool, int]:
    return account.fault is None, len(account.hashes)


def forks(accounts: Iterable[Account]) -> list[str]:
    """Where exports of one relay are not the same ledger, one perhaps longer than the other."""
    found: list[str] = []
    firsts: dict[RelayId, Account] = {}
    for account in accounts:
        if account.relay_id is None:
            continue
        first = firsts.setdefault(account.relay_id, account)
        for index, (one, other) in enumerate(zip(first.hashes, account.hashes, strict=False)):
            if one != other:
                found.append(
                    f"{first.file} and {account.file} are two ledgers of one relay: "
                    f"they differ from entry {index} on"
                )
                break
        if len(account.hashes) > len(first.hashes):
            firsts[account.relay_id] = account
    return found


def _re_rated(lines: BinaryIO) -> frozenset[Hash]:
    """The leaves that adjustments name: only these are kept, as a ledger may have millions."""
    found: set[Hash] = set()
    while line := lines.readline(MAX_LINE + 1):
        if line.startswith(b'{"adjust"'):
            try:
                part = read_part(line)
            except BillingError:
                continue  # it is named when its turn comes
            if isinstance(part, Adjust):
                found.add(Hash(part.leaf))
    return frozenset(found)


class _Reader:
    """Takes the lines of one file in order; raises at the first that is wrong.

    :param re_rated: the hashes of the leaves that adjustments in the file name
    """

    def __init__(
        self, account: Account, wanted: Collection[Name], re_rated: frozenset[Hash]
    ) -> None:
        self._account = account
        self._re_rated = re_rated
        self._cert: RelayCert | None = None
        self._books = Books(wanted)
        self._lanes: set[Lane] = set()
        self._lists: KnownLists = set()
        self._charges: dict[Hash, int] = {}
        self._leaves: dict[Hash, Leaf] = {}
        """Those that adjustments name, by their hash."""
        self._adjusted: dict[Hash, int] = {}
        """The place of the adjustment of a leaf."""
        self._ruled: list[tuple[int, Adjust]] = []
        """Adjustments since the last checkpoint, with their places: one may stand before its leaf,
        as a day's entries stand in the order of their hashes."""
        self._tree = Growing()
        self._day = -1
        """The last one that was closed."""
        self._open: list[tuple[int, Hash]] = []
        """Day and hash of the entries since then."""

    def take(self, line: bytes) -> None:
        part = read_part(line)
        if isinstance(part, RelayCert):
            if self._cert is not None:
                raise LedgerError("a second certificate")
            part.verify(part.not_before)
            self._cert = self._account.cert = part
            return
        if self._cert is None:
            raise LedgerError("the certificate comes first")
        match part:
            case PriceList(card):
                opened, name = open_rate_card(card, self._cert.operator_pk, self._cert.relay_id)
                self._books.add_card(name, opened)
            case Leaf():
                self._leaf(part, self._cert.relay_id)
            case Adjust():
                self._adjust(part, self._cert.relay_id)
            case Closed():
                self._closed(part, self._cert)

    def finish(self) -> None:
        if self._cert is None:
            raise LedgerError("there is no certificate")
        if self._open:
            raise LedgerError(f"{len(self._open)} entries follow the last checkpoint")
        self._books.close(None, self._cert.relay_id)
        self._account.bills = self._books.bills
        self._account.kept = self._books.kept
        self._account.cards = self._books.cards

    def _leaf(self, leaf: Leaf, relay_id: RelayId) -> None:
        index = self._tree.size
        if leaf.lane not in self._lanes:
            leaf.lane.check_signature()
            self._lanes.add(leaf.lane)
        leaf.check_charge_signature(relay_id, self._lists)
        leaf.check_settlement()
        leaf.check_price(self._card(leaf))
        name = leaf.charge_hash(relay_id)
        if name in self._charges:
            raise LedgerError(f"the same charge is entry {self._charges[name]} already")
        self._charges[name] = index
        leaf_hash = leaf.hash(relay_id)
        if leaf_hash in self._re_rated:
            self._leaves[leaf_hash] = leaf
        self._append(leaf.settled_day, entry_hash(leaf, relay_id), "leaf")
        self._books.add_leaf(leaf)

    def _adjust(self, adjust: Adjust, relay_id: RelayId) -> None:
        self._ruled.append((self._tree.size, adjust))
        self._append(adjust.day, adjust_hash(adjust, relay_id), "adjustment")

    def _append(self, day: int, entry: Hash, what: str) -> None:
        if self._open and entry <= self._open[-1][1]:
            raise LedgerError(f"this {what} does not stand where its hash says")
        self._open.append((day, entry))
        self._tree.append(entry)
        self._account.hashes.append(entry)

    def _judge(self, index: int, adjust: Adjust, cert: RelayCert) -> None:
        name = Hash(adjust.leaf)
        leaf = self._leaves.get(name)
        if leaf is None:
            raise LedgerError(f"entry {index} re-rates a charge that is not in this ledger")
        if name in self._adjusted:
            raise LedgerError(
                f"entry {index} re-rates a charge that entry {self._adjusted[name]} re-rated"
            )
        self._adjusted[name] = index
        try:
            check_ruling(adjust, leaf, cert.operator_pk, cert.relay_id, self._card(leaf))
        except EvidenceError as error:
            raise LedgerError(f"entry {index}: {error}") from error
        self._books.add_adjust(adjust)

    def _card(self, leaf: Leaf) -> RateCard:
        card = self._books.cards.get(Hash(leaf.line.rate_card))
        if card is None:
            raise EvidenceError("was priced by a rate card that is not in this file")
        return card

    def _closed(self, closed: Closed, cert: RelayCert) -> None:
        checkpoint = open_checkpoint(closed.note, cert.checkpoint_pk, cert.relay_id)
        if not self._open:
            raise LedgerError("a checkpoint without new entries")
        if closed.day <= self._day:
            raise LedgerError(f"{show_day(closed.day)} was closed before")
        for day, _ in self._open:
            if day != closed.day:
                raise LedgerError(
                    f"closes {show_day(closed.day)}, with an entry of {show_day(day)}"
                )
        if checkpoint.size != self._tree.size:
            raise LedgerError(
                f"the relay signed {checkpoint.size} entries where {self._tree.size} are here"
            )
        if checkpoint.root != self._tree.root():
            raise LedgerError("the entries so far do not give the root that the relay signed")
        for index, adjust in self._ruled:
            self._judge(index, adjust, cert)
        self._account.adjustments += len(self._ruled)
        self._ruled.clear()
        self._books.close(month_of_day(closed.day), cert.relay_id)
        self._account.checkpoints += 1
        self._day = closed.day
        self._open.clear()
