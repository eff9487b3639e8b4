"""What an operator hands to auditors: the whole ledger in order, also while the relay writes."""

from __future__ import annotations

import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from kurir_billing.leaf import Leaf
from kurir_billing.ledger import entry_hash, open_checkpoint
from kurir_billing.ledger_file import Closed, PriceList, read_part
from kurir_server.errors import ConfigError, DatabaseError
from kurir_server.export import Exported, export_ledger
from kurir_wire.ids import DAY
from kurir_wire.merkle import Growing
from tests.server.rig import START, Rig
from tests.server.test_ledger import settle

TODAY = START // DAY


def test_an_export_has_everything_in_the_order_of_the_tree(rig: Rig, tmp_path: Path) -> None:
    shops = [rig.shop(), rig.shop()]
    for _ in range(3):
        for shop in shops:
            settle(rig, shop, 3)
        rig.now += DAY
        rig.tidy()
    settle(rig, shops[0])
    out = tmp_path / "export"
    with closing(sqlite3.connect(rig.store._path, isolation_level=None)) as writing:
        writing.execute("BEGIN IMMEDIATE")
        assert export_ledger(rig.store._path, rig.keys.cert, out) == Exported(18, 3)
        writing.execute("ROLLBACK")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    parts = [read_part(line) for line in out.read_bytes().splitlines(keepends=True)]
    assert parts[0] == rig.keys.cert
    assert isinstance(parts[1], PriceList)
    growing, closed = Growing(), []
    for part in parts[2:]:
        if isinstance(part, Leaf):
            growing.append(entry_hash(part, rig.keys.relay_id))
        else:
            assert isinstance(part, Closed)
            closed.append(part.day)
            note = open_checkpoint(part.note, rig.keys.cert.checkpoint_pk, rig.keys.relay_id)
            assert (note.size, note.root) == (growing.size, growing.root())
    assert closed == [TODAY, TODAY + 1, TODAY + 2]


def test_an_empty_ledger(rig: Rig, tmp_path: Path) -> None:
    assert export_ledger(rig.store._path, rig.keys.cert, tmp_path / "out") == Exported(0, 0)


def test_what_cannot_be_exported(rig: Rig, tmp_path: Path) -> None:
    db, out = rig.store._path, tmp_path / "out"
    settle(rig, rig.shop(), 2)
    rig.now += DAY
    rig.tidy()
    with pytest.raises(ConfigError, match="another relay"):
        export_ledger(db, replace(rig.keys.cert, root_pk=bytes(32)), out)
    with pytest.raises(ConfigError, match="cannot write"):
        export_ledger(db, rig.keys.cert, tmp_path / "no folder" / "out")
    rig.store.connection.execute(
        "DELETE FROM leaves WHERE charge = (SELECT max(charge) FROM leaves)"
    )
    with pytest.raises(DatabaseError, match="of the ledger is missing in the database"):
        export_ledger(db, rig.keys.cert, out)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("out")) == []
    out.touch()
    with pytest.raises(ConfigError, match="exists already"):
        export_ledger(db, rig.keys.cert, out)
