"""Backups and restores by their rules: one moment, whole, and a ledger that nobody contradicts."""

from __future__ import annotations

import secrets
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from kurir_billing.leaf import Leaf, open_leaf
from kurir_billing.ledger import entry_hash, open_checkpoint
from kurir_server import admin, backup, inspection, keyfiles
from kurir_server.backup import Restored
from kurir_server.errors import ConfigError, DatabaseError, RelayError
from kurir_server.export import export_ledger
from kurir_server.recovery import Recovered
from kurir_server.store import Store
from kurir_server.store.copy import copy_to
from kurir_server.store.schema import PAGE_BYTES
from kurir_server.tiles import Tiles
from kurir_wire.ids import DAY, HOUR, MINUTE, NO_HASH
from kurir_wire.merkle import root
from tests.server.helpers import Shop, receipt_of
from tests.server.labelled import TARIFF, settle_labelled
from tests.server.rig import START, Rig
from tests.server.test_ledger import settle
from tests.server.test_rulings import report, uphold


def minute(rig: Rig) -> None:
    """As the writer does with each batch."""
    rig.run(lambda rows: rows.set_minute(rig.now // MINUTE))


def back_up(rig: Rig, tmp_path: Path) -> Path:
    minute(rig)
    out = tmp_path / f"backup-{len(list(tmp_path.iterdir()))}.db"
    assert backup.make(rig.store.path, out) == rig.now // MINUTE * MINUTE
    return out


def restored(rig: Rig, copy: Path, ledger: Path | None = None, **options: bool) -> Rig:
    """The rig goes on from a restored database, in a folder of its own."""
    db = copy.with_name("restored") / "relay.db"
    db.parent.mkdir(exist_ok=True)
    rig.result = backup.restore(copy, db, rig.keys, rig.now, ledger=ledger, **options)  # type: ignore[attr-defined]
    return Rig(rig.keys, Store.open(db), rig.now, rig.tick)


def export(rig: Rig, tmp_path: Path) -> Path:
    out = tmp_path / f"export-{rig.now}"
    export_ledger(rig.store.path, rig.keys.cert, out)
    return out


def a_day(rig: Rig, *shops: Shop, count: int = 2) -> None:
    """Charges settle, the day ends, and is closed."""
    for shop in shops:
        settle(rig, shop, count)
    rig.now += DAY
    rig.tidy()
    minute(rig)


def sound(rig: Rig) -> None:
    with rig.store.reading():
        assert rig.store.damage(full=True) == []
        assert inspection.counts(rig.store.checks) == []
        assert inspection.tree(rig.store.rows, rig.store.checks, rig.keys) == []
        assert inspection.leaves(rig.store.rows, rig.store.checks, rig.keys) == []


def test_a_backup_is_of_one_moment_and_the_operators_alone(rig: Rig, tmp_path: Path) -> None:
    box = rig.personal()
    entries = [box.write() for _ in range(300)]
    assert rig.submit(*entries[:200]) == [None] * 200
    minute(rig)
    out = tmp_path / "backup.db"
    copied: list[int] = []
    real = Store.copy_to

    def copy_and_write(store: Store, target: Path) -> None:
        real(store, target)
        copied.append(target.stat().st_size)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert not out.exists(), "not under its name before it is whole"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "copy_to", copy_and_write)
        backup.make(rig.store.path, out)
    assert len(copied) == 1
    assert rig.submit(*entries[200:]) == [None] * 100
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir() if "backup" in path.name) == [out.name]
    with closing(sqlite3.connect(f"file:{out}?mode=ro", uri=True)) as copy:
        assert copy.execute("SELECT count(*) FROM envelopes").fetchone() == (200,)
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",), "one file"
    other = restored(rig, out)
    assert [d.envelope_id for d in other.waiting(box)] == [e.envelope_id for e in entries[:200]]
    sound(other)
    other.store.close()


def test_writers_go_on_while_it_is_copied(rig: Rig, tmp_path: Path) -> None:
    """Between any two steps; and what they write is not in the copy."""
    box = rig.personal()
    for _ in range(20):
        assert rig.submit(*[box.write(65_536) for _ in range(10)]) == [None] * 10
    written = 0

    def progress(status: int, remaining: int, total: int) -> None:
        nonlocal written
        assert rig.submit(box.write()) == [None]
        rig.store.checkpoint()
        written += 1

    class Watched(sqlite3.Connection):
        def backup(self, target: sqlite3.Connection, **options: int) -> None:  # type: ignore[override]
            super().backup(target, progress=progress, **options)  # type: ignore[arg-type]

    out = tmp_path / "copy.db"
    out.touch()
    with closing(sqlite3.connect(rig.store.path, factory=Watched, isolation_level=None)) as source:
        copy_to(source, out)
    assert written > 2
    with closing(sqlite3.connect(out)) as copy:
        assert copy.execute("SELECT count(*) FROM envelopes").fetchone() == (200,)
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_nothing_is_left_of_a_backup_that_fails(rig: Rig, tmp_path: Path) -> None:
    out = tmp_path / "out.db"
    with pytest.raises(ConfigError, match="cannot write"):
        backup.make(rig.store.path, tmp_path / "none" / "out.db")
    with pytest.raises(DatabaseError, match="there is no database"):
        backup.make(tmp_path / "none.db", out)
    rig.store.checkpoint()
    box = rig.personal()
    assert rig.submit(*[box.write(65_536) for _ in range(40)]) == [None] * 40
    rig.store.checkpoint()
    db = rig.store.path
    with db.open("r+b") as file:
        file.seek(db.stat().st_size // 2 // PAGE_BYTES * PAGE_BYTES)
        file.write(secrets.token_bytes(64) * 640)
    with pytest.raises(RelayError):
        backup.make(db, out)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == []
    out.touch()
    with pytest.raises(ConfigError, match="exists already"):
        backup.make(db, out)


def test_time_never_goes_back(rig: Rig, tmp_path: Path) -> None:
    """Neither behind now nor behind the backup, should the machine's clock be wrong."""
    out = back_up(rig, tmp_path)
    rig.now += 3 * HOUR
    other = restored(rig, out)
    assert other.run(lambda rows: rows.minute()) == rig.now // MINUTE
    assert other.store.backup_minute is None
    other.store.close()
    (tmp_path / "restored/relay.db").unlink()
    rig.now = START - 10 * HOUR
    other = restored(rig, out)
    assert other.run(lambda rows: rows.minute()) == START // MINUTE
    other.store.close()


def test_what_settled_after_the_backup_settles_again_once(rig: Rig, tmp_path: Path) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    signed = rig.charge(shop, box, opening, shop.line(is_open=False))
    receipt = receipt_of(rig.submit(signed.submission)[0])
    out = back_up(rig, tmp_path)
    rig.fetch(box)
    assert rig.ack(box, signed.submission.envelope_id, signed.secret) is None
    other = restored(rig, out)
    assert receipt_of(other.submit(signed.submission)[0]) == receipt
    assert [d.envelope_id for d in other.waiting(box)] == [signed.submission.envelope_id]
    assert other.ack(box, signed.submission.envelope_id, signed.secret) is None
    assert other.count("leaves") == 1
    sound(other)
    other.store.close()


# The ledger


def test_a_day_has_ended_since(rig: Rig, tmp_path: Path) -> None:
    shop = rig.shop()
    a_day(rig, shop)
    settle(rig, shop)
    out = back_up(rig, tmp_path)
    stale = export(rig, tmp_path)
    rig.now = (rig.now // DAY + 1) * DAY - 1
    restored(rig, out).store.close()
    (tmp_path / "restored/relay.db").unlink()
    rig.now += 1
    for ledger in (None, stale):
        with pytest.raises(ConfigError, match="a day has ended since") as caught:
            restored(rig, out, ledger)
        assert "--after-loss" in str(caught.value.hint)
    assert list((tmp_path / "restored").iterdir()) == []
    restored(rig, out, after_loss=True).store.close()


def test_an_export_brings_the_ledger_forward(rig: Rig, tmp_path: Path) -> None:
    """Days that were closed since, charges that settled before the backup and after it, and some
    that were accepted only after it: each stands in the ledger once and is billed once."""
    shops = [rig.shop(), rig.shop()]
    a_day(rig, *shops)
    settle(rig, shops[0], 2)
    box, opening = rig.customer(shops[1])
    waiting = [rig.charge(shops[1], box, opening, shops[1].line(is_open=False)) for _ in range(3)]
    for signed in waiting:
        receipt_of(rig.submit(signed.submission)[0])
    out = back_up(rig, tmp_path)

    rig.fetch(box)
    for signed in waiting[:2]:
        assert rig.ack(box, signed.submission.envelope_id, signed.secret) is None
    late = rig.charge(shops[1], box, opening, shops[1].line(is_open=False))
    receipt_of(rig.submit(late.submission)[0])
    rig.fetch(box)
    assert rig.ack(box, late.submission.envelope_id, late.secret) is None
    a_day(rig, shops[0])
    a_day(rig, *shops)
    newest = rig.run(lambda rows: rows.newest_checkpoint())
    ledger = export(rig, tmp_path)

    other = restored(rig, out, ledger)
    result: Restored = rig.result  # type: ignore[attr-defined]
    assert result.recovered == Recovered(2, 3 + 2 + 4, rig.now // DAY - 1)
    assert other.run(lambda rows: rows.newest_checkpoint()) == newest
    sound(other)
    assert sorted(map(bytes, leaves(other, shops))) == sorted(map(bytes, leaves(rig, shops)))
    assert other.count("envelopes") == 1, "the third, which nobody read"
    for signed in (*waiting[:2], late):
        receipt_of(other.submit(signed.submission)[0])
    assert other.count("envelopes") == 1, "no envelope and no bill again"
    settle(other, shops[0])
    other.now += DAY
    other.tidy()
    sound(other)
    grown = other.run(lambda rows: rows.newest_checkpoint())
    assert newest is not None
    assert grown is not None
    signed_then = open_checkpoint(newest.note, rig.keys.cert.checkpoint_pk, rig.keys.relay_id)
    assert grown.size == newest.size + 1
    assert other.run(lambda rows: root(newest.size, Tiles(rows).node)) == signed_then.root
    other.store.close()


def test_an_export_brings_adjustments_too(rig: Rig, tmp_path: Path) -> None:
    """Of a charge that the backup has, and of one that it has not."""
    shop = rig.shop(tariff=TARIFF)
    first = settle_labelled(rig, shop)
    a_day(rig)
    out = back_up(rig, tmp_path)
    second = settle_labelled(rig, shop, "Second sale!")
    uphold(rig, report(rig, first).id)
    a_day(rig)
    uphold(rig, report(rig, second).id)
    a_day(rig)
    other = restored(rig, out, export(rig, tmp_path))
    sound(other)
    found, kept = (
        one.run(lambda rows: rows.adjusts_of_days(shop.id, 0, 99_999)) for one in (other, rig)
    )
    assert [replace(adjust, copy=b"") for adjust in kept] == found
    assert len(found) == 2
    other.store.close()


def leaves(rig: Rig, shops: list[Shop]) -> list[bytes]:
    return [
        leaf
        for shop in shops
        for leaf in rig.run(lambda rows: list(rows.leaves_of_days(shop.id, 0, 99_999)))  # noqa: B023
    ]


def cut(text: list[bytes]) -> list[bytes]:
    return text[:-1]


def swapped(text: list[bytes]) -> list[bytes]:
    return [*text[:-3], text[-2], text[-3], text[-1]]


def without_a_leaf(text: list[bytes]) -> list[bytes]:
    return [*text[:-2], text[-1]]


def noise(text: list[bytes]) -> list[bytes]:
    return [*text, b"{}\n"]


def without_a_day(text: list[bytes]) -> list[bytes]:
    """The first: what follows it is in order."""
    leaf = next(n for n, line in enumerate(text) if b"leaf" in line)
    mark = next(n for n, line in enumerate(text) if b'"checkpoint"' in line)
    return text[:leaf] + text[mark + 1 :]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (cut, "was cut off"),
        (swapped, "not an export of this relay's ledger"),
        (without_a_leaf, "not an export of this relay's ledger"),
        (without_a_day, "not an export of this relay's ledger"),
        (noise, "is not a line of a ledger file"),
        (lambda text: [], "a day has ended since"),
    ],
)
def test_an_export_that_was_changed(
    rig: Rig, tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], text: str
) -> None:
    shop = rig.shop()
    out = back_up(rig, tmp_path)
    a_day(rig, shop)
    a_day(rig, shop)
    ledger = export(rig, tmp_path)
    ledger.write_bytes(b"".join(change(ledger.read_bytes().splitlines(keepends=True))))
    with pytest.raises(ConfigError, match=text):
        restored(rig, out, ledger)
    assert list((tmp_path / "restored").iterdir()) == []


def test_an_export_of_another_ledger(rig: Rig, tmp_path: Path) -> None:
    """Of another relay; and of this one, but of a ledger that went another way."""
    shop = rig.shop()
    minute(rig)
    out = back_up(rig, tmp_path)
    fork = restored(rig, out)
    a_day(rig, shop)
    later = back_up(rig, tmp_path)
    a_day(fork, shop)
    a_day(fork, shop)
    rig.now = fork.now
    with pytest.raises(ConfigError, match="not an export of this relay's ledger"):
        backup.restore(later, tmp_path / "x.db", rig.keys, rig.now, ledger=export(fork, tmp_path))
    fork.store.close()
    other_keys = keyfiles.create(tmp_path / "other.keys", START)
    with pytest.raises(ConfigError, match="another relay"):
        backup.restore(out, tmp_path / "x.db", other_keys, rig.now)
    assert not (tmp_path / "x.db").exists()


def test_what_is_no_backup(rig: Rig, tmp_path: Path) -> None:
    rig.store.checkpoint()
    plain = tmp_path / "plain.db"
    plain.write_bytes(rig.store.path.read_bytes())
    with pytest.raises(DatabaseError, match="was not made with kurir-relay backup"):
        restored(rig, plain)
    with pytest.raises(DatabaseError, match="there is no backup"):
        restored(rig, tmp_path / "none.db")
    settle(rig, rig.shop())
    out = back_up(rig, tmp_path)
    whole = out.read_bytes()
    with closing(sqlite3.connect(out)) as copy, copy:
        copy.execute("DELETE FROM leaves")
    with pytest.raises(DatabaseError, match="is damaged: the leaves of day"):
        restored(rig, out)
    out.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DatabaseError):
        restored(rig, out)
    assert list((tmp_path / "restored").iterdir()) == []


def test_a_database_that_is_there(rig: Rig, tmp_path: Path) -> None:
    """It is moved aside with what SQLite keeps beside it, which would damage its successor."""
    rig.personal()
    out = back_up(rig, tmp_path)
    rig.personal()
    db = rig.store.path
    assert db.with_name("rig.db-wal").stat().st_size > 0
    with pytest.raises(ConfigError, match="exists"):
        backup.restore(out, db, rig.keys, rig.now)
    before = db.read_bytes(), db.with_name("rig.db-wal").read_bytes()
    done = backup.restore(out, db, rig.keys, rig.now, replace=True)
    assert done.former == tmp_path / "rig.db.former"
    assert (done.former.read_bytes(), (tmp_path / "rig.db.former-wal").read_bytes()) == before
    with closing(sqlite3.connect(db)) as new, closing(sqlite3.connect(done.former)) as old:
        query = "SELECT count(*) FROM mailboxes"
        assert (new.execute(query).fetchone(), old.execute(query).fetchone()) == ((1,), (2,))
    with pytest.raises(ConfigError, match=r"rig\.db\.former exists already"):
        backup.restore(out, db, rig.keys, rig.now, replace=True)


def test_settled_charges_in_the_backup_are_in_the_export(rig: Rig, tmp_path: Path) -> None:
    """Else it is of another life of this relay, and the charges would be billed to nobody."""
    shop = rig.shop()
    out = back_up(rig, tmp_path)
    fork = restored(rig, out)
    settle(rig, shop)
    later = back_up(rig, tmp_path)
    a_day(fork, shop)
    rig.now = fork.now
    with pytest.raises(ConfigError, match="has settled charges that the export lacks"):
        backup.restore(later, tmp_path / "x.db", rig.keys, rig.now, ledger=export(fork, tmp_path))
    fork.store.close()


def test_an_export_holds_the_leaves_of_a_business_that_is_gone(rig: Rig, tmp_path: Path) -> None:
    shop = rig.shop()
    settled = settle(rig, shop, 2)
    rig.run(lambda rows: rows.drop_business(shop.id))
    a_day(rig)
    text = export(rig, tmp_path).read_bytes()
    assert text.count(b'"leaf"') == 2
    assert {entry_hash(leaf, rig.keys.relay_id) for leaf in settled} == {
        entry_hash(open_leaf(leaf), rig.keys.relay_id)
        for leaf in rig.run(lambda rows: rows.leaves(shop.id, START // DAY, NO_HASH, 10))
    }
    assert all(isinstance(leaf, Leaf) for leaf in settled)
    assert admin.businesses(rig.store.path) == []
