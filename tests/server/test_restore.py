"""What a restore finds in the place of the database: files are moved aside together, and a log is
never left beside another database than its own, wherever a restore is broken off."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from kurir_server import backup, keyfiles
from kurir_server.backup import BESIDE, Restored
from kurir_server.errors import ConfigError, DatabaseError
from kurir_server.store import Store
from tests.server.helpers import Box
from tests.server.process import RelayProcess, running
from tests.server.rig import Rig
from tests.server.test_backup import back_up

RENAMES = 5
"""Of a restore over a database and its log: the copy gets its name, three files go, it comes."""


class Cut(BaseException):
    """As a power cut: nothing after it is done, and nothing catches it."""


@pytest.fixture
def copy(rig: Rig, tmp_path: Path) -> Path:
    """A backup with one mailbox; the database has gone on to two since."""
    rig.personal()
    out = back_up(rig, tmp_path)
    rig.personal()
    return out


@pytest.fixture
def left(rig: Rig, copy: Path, tmp_path: Path) -> Path:
    """A database as a kill leaves it, in a folder of its own: most of it is in its log."""
    db = tmp_path / "left" / "relay.db"
    db.parent.mkdir()
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(beside(rig.store.path, suffix), beside(db, suffix))
    return db


def beside(db: Path, suffix: str) -> Path:
    return db.with_name(db.name + suffix)


def there(db: Path) -> dict[str, bytes]:
    """What of a database and its logs is there; the index of the log is made anew at any time."""
    names = [suffix for suffix in BESIDE if suffix != "-shm"]
    return {name: beside(db, name).read_bytes() for name in names if beside(db, name).exists()}


def mailboxes(db: Path, tmp_path: Path) -> int | None:
    """What a relay that opened it now would have; looked up in a copy.

    :returns: ``None`` where none would start
    """
    folder = tmp_path / "looked"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(db.parent, folder)
    if not db.exists():
        with pytest.raises(DatabaseError, match="there is no database"):
            Store.open(folder / db.name)
        return None
    with closing(Store.open(folder / db.name)) as store:
        assert store.damage(full=True) == []
        (count,) = store.connection.execute("SELECT count(*) FROM mailboxes").fetchone()
    return int(count)


def restore(rig: Rig, copy: Path, db: Path, *, replace: bool = True) -> Restored:
    return backup.restore(copy, db, rig.keys, rig.now, replace=replace)


def cut_off(patch: pytest.MonkeyPatch, at: int | None) -> list[Path]:
    """Before the rename of this number, from 0 on; ``None``: never.

    :returns: what got its name since
    """
    done: list[Path] = []
    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if len(done) == at:
            raise Cut
        done.append(target)
        return real(path, target)

    patch.setattr(Path, "replace", replace)
    return done


@pytest.mark.parametrize("suffixes", [("-wal",), ("-shm",), ("-wal", "-shm"), ("-journal",)])
def test_a_log_whose_database_is_gone(
    rig: Rig, copy: Path, left: Path, tmp_path: Path, suffixes: tuple[str, ...]
) -> None:
    """SQLite would replay it into whatever gets the name."""
    left.rename(left.with_name("relay.db.bad"))
    beside(left, "-journal").write_bytes(b"a journal of another database")
    for suffix in BESIDE[1:]:
        if suffix not in suffixes:
            beside(left, suffix).unlink()
    kept = {suffix: beside(left, suffix).read_bytes() for suffix in suffixes}
    with pytest.raises(ConfigError, match=f"relay.db{suffixes[0]} exists") as caught:
        restore(rig, copy, left, replace=False)
    assert "--replace" in str(caught.value.hint)
    assert not left.exists()
    done = restore(rig, copy, left)
    assert mailboxes(left, tmp_path) == 1
    former = left.with_name("relay.db.former")
    assert {suffix: beside(former, suffix).read_bytes() for suffix in suffixes} == kept
    assert done.former is None
    assert done.stray == (beside(former, suffixes[0]) if suffixes != ("-shm",) else None)


def test_nothing_that_was_moved_aside_is_overwritten(rig: Rig, copy: Path, left: Path) -> None:
    """Not even by the log of a database that is gone."""
    older = left.with_name("relay.db.former-wal")
    older.write_bytes(b"of the restore before")
    for is_gone in (False, True):
        if is_gone:
            left.unlink()
        before = there(left)
        with pytest.raises(ConfigError, match=r"relay\.db\.former-wal exists already"):
            restore(rig, copy, left)
        assert there(left) == before
    assert older.read_bytes() == b"of the restore before"
    older.rename(left.with_name("relay.db.former"))
    with pytest.raises(ConfigError, match=r"relay\.db\.former exists already"):
        restore(rig, copy, left)


@pytest.mark.parametrize("fails_again", [False, True])
@pytest.mark.parametrize("at", range(RENAMES))
def test_broken_off_between_any_two_renames(
    rig: Rig,
    copy: Path,
    left: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
    fails_again: bool,
) -> None:
    before = there(left)
    assert mailboxes(left, tmp_path) == 2
    with monkeypatch.context() as patch:
        cut_off(patch, at)
        with pytest.raises(Cut):
            restore(rig, copy, left)
    former = left.with_name("relay.db.former")
    found = mailboxes(left, tmp_path)
    assert found == (2 if at < 2 else None), "all of the former one, or nothing"
    if fails_again:
        bad = tmp_path / "bad.db"
        bad.write_bytes(b"no backup" * 1_000)
        with pytest.raises(DatabaseError):
            restore(rig, bad, left)
        assert mailboxes(left, tmp_path) == found
    # Where it was all but done nothing is in the way any more.
    again = restore(rig, copy, left, replace=at < RENAMES - 1)
    was_moved_before = fails_again and at >= 2
    expected = None if was_moved_before else former
    assert again == Restored(again.made_at, again.recovered, expected)
    assert mailboxes(left, tmp_path) == 1
    assert there(former) == before
    assert mailboxes(former, tmp_path) == 2
    assert not left.with_name("relay.db.restored").exists()


@pytest.mark.parametrize("at", range(RENAMES - 1))
def test_broken_off_where_the_database_was_gone(
    rig: Rig, copy: Path, left: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    left.rename(tmp_path / "bad")
    before = there(left)
    with monkeypatch.context() as patch:
        cut_off(patch, at)
        with pytest.raises(Cut):
            restore(rig, copy, left)
    assert mailboxes(left, tmp_path) is None
    again = restore(rig, copy, left)
    former = left.with_name("relay.db.former")
    assert (again.former, again.stray) == (None, beside(former, "-wal"))
    assert mailboxes(left, tmp_path) == 1
    assert there(former) == before
    assert beside(former, "-shm").exists()


def test_it_is_done_after_the_last_rename(
    rig: Rig, copy: Path, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the test above breaks off at each."""
    done = cut_off(monkeypatch, None)
    restore(rig, copy, left)
    assert len(done) == RENAMES


async def test_after_a_kill_and_a_database_that_was_moved_by_hand(tmp_path: Path) -> None:
    with running(tmp_path) as relay:
        out = tmp_path / "backup.db"
        async with relay.client() as client:
            box = Box.personal(client.relay_id, client.now)
            assert await client.create(box) == ["ok"]
            assert relay.run("backup", str(out)).returncode == 0
            for _ in range(20):
                assert await client.submit(box.write(65_536)) == [None]
        relay.kill()
        relay.db.rename(tmp_path / "relay.db.bad")
        refused = relay.run("restore", str(out))
        assert refused.returncode == 2
        assert "relay.db-wal exists" in refused.stderr
        assert "hint: " in refused.stderr
        assert not relay.db.exists()
        done = relay.run("restore", str(out), "--replace")
        assert done.returncode == 0, done.stderr
        assert "relay.db.former-wal" in done.stdout
        # The log and its database, together again, are what was killed.
        shutil.copy(tmp_path / "relay.db.former-wal", tmp_path / "relay.db.bad-wal")
        with closing(sqlite3.connect(tmp_path / "relay.db.bad")) as bad:
            assert bad.execute("SELECT count(*) FROM envelopes").fetchone() == (20,)
        examined = relay.run("doctor")
        assert examined.returncode == 0, examined.stdout
        relay.start()
        async with relay.client() as client:
            assert await client.open(box) == ["ok"]
        assert relay.stop() == 0


def test_a_backup_that_is_none_is_named_as_it_was_given(rig: Rig, tmp_path: Path) -> None:
    """And not the copy of it that a restore works on."""
    given, db = tmp_path / "tls.pem", tmp_path / "new" / "n.db"
    db.parent.mkdir()
    noise = b"-----BEGIN CERTIFICATE-----\n" * 400
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE meta (key TEXT, value TEXT)")
        other.commit()
    newer = back_up(rig, tmp_path)
    with closing(sqlite3.connect(newer)) as changed, changed:
        changed.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    nobodys = back_up(rig, tmp_path)
    with closing(sqlite3.connect(nobodys)) as changed, changed:
        changed.execute("UPDATE meta SET value = 'x' WHERE key = 'relay_id'")
    for data, hint in (
        (noise, "give another backup"),
        ((tmp_path / "other.db").read_bytes(), "give another backup"),
        (nobodys.read_bytes(), "give another backup"),
        (newer.read_bytes(), "use the kurir-relay that wrote it"),
    ):
        given.write_bytes(data)
        with pytest.raises(DatabaseError) as caught:
            restore(rig, given, db)
        assert str(given) in str(caught.value)
        assert "restored" not in str(caught.value)
        assert str(caught.value.hint).startswith(hint)
        assert list(db.parent.iterdir()) == []


def test_a_backup_that_is_none_by_the_command(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path).init()
    pem = tmp_path / "tls.pem"
    pem.write_text("no backup" * 1_000)
    relay.db.unlink()
    refused = relay.run("restore", str(pem), "--keys", str(keyfiles.default_folder(relay.db)))
    assert refused.returncode == 4
    assert f"cannot use {pem}: " in refused.stderr
    assert "hint: give another backup" in refused.stderr
