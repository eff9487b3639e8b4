"""The ledger as a file for auditors: every leaf, in the order of the tree, and every checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kurir_billing.leaf import Leaf, open_leaf
from kurir_billing.ledger import entry_hash
from kurir_billing.ledger_file import Closed, Part, PriceList, write_part
from kurir_server.errors import ConfigError, DatabaseError
from kurir_server.rows import Rows
from kurir_server.storage import Store
from kurir_server.tiles import Tiles
from kurir_server.writer import offline
from kurir_wire.ids import Hash, RelayId
from kurir_wire.relaycert import RelayCert


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    leaves: int
    checkpoints: int


def export_ledger(db: Path, cert: RelayCert, target: Path) -> Exported:
    """Write the ledger of a database, also while its relay runs: what is in the tree never changes,
    so that it can be read day by day.

    :raises ConfigError: the file exists or cannot be written, or the keys are of another relay
    :raises DatabaseError: a leaf of the tree is missing
    """
    leaves = checkpoints = 0
    with offline(db) as store:
        if store.relay_id != cert.relay_id:
            raise ConfigError(
                "the database belongs to another relay than the keys",
                "give the folder that was made with this database",
            )
        partial = target.with_name(target.name + ".new")
        if target.exists():
            raise ConfigError(f"{target} exists already", "give another file")
        try:
            partial.unlink(missing_ok=True)
            fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as file:
                for part in _parts(store, cert):
                    leaves += isinstance(part, Leaf)
                    checkpoints += isinstance(part, Closed)
                    file.write(write_part(part))
                file.flush()
                os.fsync(file.fileno())
            partial.replace(target)
        except OSError as error:
            raise ConfigError(f"cannot write {target}: {error.strerror}") from error
        finally:
            partial.unlink(missing_ok=True)
    return Exported(leaves, checkpoints)


def _parts(store: Store, cert: RelayCert) -> Iterator[Part]:
    yield cert
    for stored in store.read(lambda rows: rows.rate_cards()):
        yield PriceList(stored.card)
    first = 0
    for checkpoint in store.read(lambda rows: rows.checkpoints()):
        span = range(first, checkpoint.size)
        yield from store.read(partial(_closed, checkpoint.day, span, cert.relay_id))
        yield Closed(checkpoint.day, checkpoint.note)
        first = checkpoint.size


def _closed(day: int, span: range, relay_id: RelayId, rows: Rows) -> list[Leaf]:
    """What one checkpoint added to the tree, in its order."""
    tiles = Tiles(rows)
    found = _leaves_of(rows, day, relay_id)
    leaves: list[Leaf] = []
    for index in span:
        leaf = found.get(tiles.node(0, index))
        if leaf is None:
            raise DatabaseError(
                f"leaf {index} of the ledger is missing in the database",
                "restore it from a backup: its hash is in signed checkpoints",
            )
        leaves.append(open_leaf(leaf))
    return leaves


def _leaves_of(rows: Rows, day: int, relay_id: RelayId) -> dict[Hash, bytes]:
    """A day's leaves of all businesses, by their hash in the tree."""
    return {
        entry_hash(open_leaf(leaf), relay_id): leaf
        for business in rows.businesses()
        for leaf in rows.leaves_of_days(business.id, day, day)
    }
