"""The ledger as a file for auditors: every leaf and adjustment, in the order of the
tree, and every checkpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kurir_billing.adjust import Adjust, open_adjust
from kurir_billing.leaf import Leaf, open_leaf
from kurir_billing.ledger import adjust_hash, entry_hash
from kurir_billing.ledger_file import Closed, Part, PriceList, write_part
from kurir_server.errors import ConfigError, DatabaseError
from kurir_server.files import new_file
from kurir_server.rows import Rows
from kurir_server.tiles import Tiles
from kurir_server.writer import offline
from kurir_wire.ids import BusinessId, Hash, RelayId
from kurir_wire.relaycert import RelayCert


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    leaves: int
    checkpoints: int
    adjustments: int = 0


def export_ledger(db: Path, cert: RelayCert, target: Path) -> Exported:
    """Write the ledger of a database, also while its relay runs: what is in the tree never changes,
    so that it can be read day by day.

    :raises ConfigError: the file exists or cannot be written, or the keys are of another relay
    :raises DatabaseError: a leaf of the tree is missing
    """
    leaves = checkpoints = adjustments = 0
    with offline(db) as store:
        if store.relay_id != cert.relay_id:
            raise ConfigError(
                "the database belongs to another relay than the keys",
                "give the folder that was made with this database",
            )
        with new_file(target) as partial, partial.open("wb") as file:
            for part in _parts(store.rows, store.checks.leaf_days(), cert):
                leaves += isinstance(part, Leaf)
                checkpoints += isinstance(part, Closed)
                adjustments += isinstance(part, Adjust)
                file.write(write_part(part))
    return Exported(leaves, checkpoints, adjustments)


def _parts(rows: Rows, leaf_days: list[tuple[BusinessId, int]], cert: RelayCert) -> Iterator[Part]:
    yield cert
    for stored in rows.rate_cards():
        yield PriceList(stored.card)
    first = 0
    for checkpoint in rows.checkpoints():
        tiles = Tiles(rows)
        found = _entries_of(rows, leaf_days, checkpoint.day, cert.relay_id)
        for index in range(first, checkpoint.size):
            part = found.get(tiles.node(0, index))
            if part is None:
                raise DatabaseError(
                    f"entry {index} of the ledger is missing in the database",
                    "restore it from a backup: its hash is in signed checkpoints",
                )
            yield part
        yield Closed(checkpoint.day, checkpoint.note)
        first = checkpoint.size


def _entries_of(
    rows: Rows, leaf_days: list[tuple[BusinessId, int]], day: int, relay_id: RelayId
) -> dict[Hash, Leaf | Adjust]:
    """A day's leaves and adjustments by their hash in the tree; also of businesses that are
    registered no more."""
    found: dict[Hash, Leaf | Adjust] = {}
    for business_id, settled_day in leaf_days:
        if settled_day == day:
            for data in rows.leaves_of_days(business_id, day, day):
                leaf = open_leaf(data)
                found[entry_hash(leaf, relay_id)] = leaf
    for business_id in {business_id for business_id, _ in leaf_days}:
        for stored in rows.adjusts_of_days(business_id, day, day):
            adjust = open_adjust(stored.adjust)
            found[adjust_hash(adjust, relay_id)] = adjust
    return found
