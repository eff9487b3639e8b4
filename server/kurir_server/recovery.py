"""The ledger of a restored database, brought forward from an export.

What the relay signed after the backup was made cannot be taken back: whoever holds one of those
checkpoints would find the ledger contradicting it. An export has all leaves and checkpoints; they
are believed only as far as the relay's own signatures and the tree bear them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kurir_billing.adjust import Adjust, packed_adjust
from kurir_billing.errors import EvidenceError, LedgerError
from kurir_billing.leaf import Leaf, open_leaf, packed_leaf
from kurir_billing.ledger import Checkpoint, adjust_hash, entry_hash, open_checkpoint
from kurir_billing.ledger_file import MAX_LINE, Closed, Part, read_part
from kurir_billing.report import ADJUST_DAYS
from kurir_server.errors import ConfigError
from kurir_server.keys import RelayKeys
from kurir_server.ledger_rows import StoredAdjust, StoredCheckpoint
from kurir_server.limits import SETTLE_DAYS
from kurir_server.rows import Rows
from kurir_server.tiles import Tiles
from kurir_wire.ids import DAY, HOUR, BusinessId, EnvelopeId, Hash
from kurir_wire.merkle import root
from kurir_wire.relaycert import RelayCert

OTHER_LEDGER = "it is not an export of this relay's ledger, or was changed"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What came from an export: days of the ledger, and settled charges that the backup did not
    have. ``last_day``: the last one in the ledger now, if any."""

    days: int = 0
    leaves: int = 0
    last_day: int | None = None


def read_export(path: Path) -> Iterator[Part]:
    """:raises ConfigError: the file cannot be read, or is no export"""
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE + 1):
                yield read_part(line)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except LedgerError as error:
        raise ConfigError(f"{path} {error}", "give a file of: kurir-relay ledger export") from error


def bring_forward(
    rows: Rows,
    parts: Iterable[Part],
    keys: RelayKeys,
    waiting: dict[Hash, tuple[int, EnvelopeId]],
    now: int,
) -> Recovered:
    """Take the days of an export that are not in the ledger yet into it.

    :param waiting: metered envelopes by their charge: mailbox's row and id
    :raises ConfigError: the export is of another ledger, or lacks what the backup has
    """
    stored = {checkpoint.size: checkpoint for checkpoint in rows.checkpoints()}
    newest = rows.newest_checkpoint()
    size = newest.size if newest else 0
    seen, days, added = 0, 0, 0
    of_day: list[Leaf | Adjust] = []
    for part in parts:
        match part:
            case RelayCert():
                if part.relay_id != keys.relay_id:
                    raise ConfigError("the export is of another relay's ledger")
            case Leaf() | Adjust():
                of_day.append(part)
            case Closed():
                signed = _opened(part, keys)
                seen += len(of_day)
                if signed.size != seen:
                    raise ConfigError(OTHER_LEDGER)
                if seen > size:
                    _close(rows, size, of_day, part, signed, keys)
                    for entry in of_day:
                        if isinstance(entry, Leaf):
                            added += _settled(rows, entry, keys, waiting, now)
                        else:
                            _adjusted(rows, entry, keys)
                    size, days = seen, days + 1
                elif seen not in stored or _opened(_closed(stored[seen]), keys) != signed:
                    raise ConfigError(OTHER_LEDGER)
                of_day = []
            case _:
                pass  # prices: the backup has its own
    if of_day:
        raise ConfigError("the export was cut off: its last leaves have no checkpoint")
    newest = rows.newest_checkpoint()
    return Recovered(days, added, newest.day if newest else None)


def _opened(closed: Closed, keys: RelayKeys) -> Checkpoint:
    try:
        return open_checkpoint(closed.note, keys.cert.checkpoint_pk, keys.relay_id)
    except LedgerError as error:
        raise ConfigError(f"a checkpoint of the export: {error}") from error


def _closed(stored: StoredCheckpoint) -> Closed:
    return Closed(stored.day, stored.note)


def _close(
    rows: Rows,
    size: int,
    of_day: list[Leaf | Adjust],
    closed: Closed,
    signed: Checkpoint,
    keys: RelayKeys,
) -> None:
    """One day comes into the tree, as it was when the relay signed it."""
    entries = [
        entry_hash(entry, keys.relay_id)
        if isinstance(entry, Leaf)
        else adjust_hash(entry, keys.relay_id)
        for entry in of_day
    ]
    tiles = Tiles(rows)
    tiles.extend(size, list(entries))
    if root(signed.size, tiles.node) != signed.root:
        raise ConfigError(OTHER_LEDGER)
    for day in {e.settled_day if isinstance(e, Leaf) else e.day for e in of_day}:
        if not set(rows.pending(day)) <= set(entries):
            raise ConfigError("the backup has settled charges that the export lacks")
        rows.drop_pending(day)
    rows.add_checkpoint(StoredCheckpoint(signed.size, closed.day, closed.note))


def _settled(
    rows: Rows,
    leaf: Leaf,
    keys: RelayKeys,
    waiting: dict[Hash, tuple[int, EnvelopeId]],
    now: int,
) -> bool:
    """What settled settles no second time: its envelope was read, and its charge is closed.

    :returns: whether the backup did not have it
    """
    charge, business, day = leaf.charge_hash(keys.relay_id), leaf.lane.business_id, leaf.settled_day
    if rows.leaf(business, day, charge) is not None:
        return False
    try:
        leaf.check_signature(keys.relay_id)
        leaf.check_settlement()
    except EvidenceError as error:
        raise ConfigError(f"a leaf of the export: {error}") from error
    rows.add_leaf(business, day, charge, packed_leaf(leaf))
    until = day + SETTLE_DAYS + 2
    if rows.charge(charge) is not None:
        rows.close_charge(charge)
    elif until > now // DAY:
        # Accepted after the backup: a retry gets a receipt that names the first hour of the day on
        # which it settled, and is billed no second time.
        rows.add_charge(charge, day * DAY // HOUR, Hash(leaf.private_hash), b"", until)
        rows.close_charge(charge)
    if charge in waiting:
        _take(rows, *waiting[charge])
    return True


def _adjusted(rows: Rows, adjust: Adjust, keys: RelayKeys) -> None:
    """The operator's word stands again; the business's copy of the report is in no export."""
    name, business = adjust.hash(keys.relay_id), BusinessId(adjust.business_id)
    if rows.adjust_named(business, adjust.day, name) is not None:
        return
    for data in rows.leaves_of_days(business, adjust.day - ADJUST_DAYS, adjust.day):
        leaf_hash = open_leaf(data).hash(keys.relay_id)
        if leaf_hash == adjust.leaf:
            packed = packed_adjust(adjust)
            rows.add_adjust(
                StoredAdjust(business, adjust.day, name, leaf_hash, packed, data, copy=b"")
            )
            return
    raise ConfigError("the export re-rates a charge that it does not have")


def _take(rows: Rows, row: int, envelope_id: EnvelopeId) -> None:
    mailbox, taken = rows.mailbox_at(row), rows.take_envelope(row, envelope_id)
    if mailbox is not None and taken is not None:
        mailbox.depth -= 1
        mailbox.size -= taken.size
        rows.put_counters(mailbox)
