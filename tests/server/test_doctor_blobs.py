"""Doctor and the file of attachments: what keeps a relay from starting is a problem, and so is what
it would count wrong by; nothing of the file changes."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from kurir_server import keyfiles
from kurir_server.blob_rows import Blob, BlobRows
from kurir_server.blob_writer import blobs_file, inspect_blobs
from kurir_server.config import Config
from kurir_server.doctor import Finding, State, examine
from kurir_server.store.blobs import SqlBlobStore
from kurir_wire.blobs import BlobId
from kurir_wire.ids import HOUR, Hash
from tests.server import blob_client
from tests.server.blob_client import Attachment
from tests.server.process import RelayProcess, running
from tests.server.rig import Rig
from tests.server.test_blobs_process import asleep, content, matches, upload

ID = BlobId(b"i" * 32)


def looked(rig: Rig, *, quick: bool = False) -> list[Finding]:
    db = rig.store.path
    config = Config(db, "127.0.0.1", 0, keyfiles.default_folder(db))
    return [f for f in examine(config, rig.now, quick=quick) if f.check == "attachments"]


def problems(rig: Rig, *, quick: bool = False) -> list[str]:
    found = [f for f in looked(rig, quick=quick) if f.state is State.PROBLEM]
    assert all("move it away" in f.todo for f in found)
    return [f.found for f in found]


def fill(rig: Rig, blob_id: BlobId = ID, chunks: int = 5, there: int = 3) -> None:
    def run(rows: BlobRows) -> None:
        rows.add_blob(blob_id, Hash(bytes(32)), Hash(bytes(32)), chunks, 24, rig.now // HOUR + 24)
        blob = stored(rows, blob_id)
        for index in range(there):
            rows.put_chunk(blob.row, index, content(index))
            blob.missing -= 1
        rows.put_blob(blob)

    rig.run_blobs(run)


def stored(rows: BlobRows, blob_id: BlobId) -> Blob:
    blob = rows.blob(blob_id)
    assert blob is not None
    return blob


def change(rig: Rig, sql: str) -> None:
    with closing(sqlite3.connect(blobs_file(rig.store.path), isolation_level=None)) as database:
        database.execute(sql)


def test_what_is_sound(rig: Rig) -> None:
    assert problems(rig) == []
    fill(rig)
    fill(rig, BlobId(b"j" * 32), chunks=2, there=2)
    for quick in (True, False):
        (found,) = looked(rig, quick=quick)
        assert (found.state, found.todo) == (State.OK, "")
        assert "of this version" in found.found


def said(rig: Rig, keys: Path) -> list[str]:
    """Of attachments, by a doctor that is given other keys."""
    config = Config(rig.store.path, "127.0.0.1", 0, keys)
    return [f.found for f in examine(config, rig.now) if f.check == "attachments" and f.todo]


def test_with_wrong_keys_no_attachments_are_thrown_away(rig: Rig, tmp_path: Path) -> None:
    """They are of the database's relay; or of the keys', if it is the database that is wrong."""
    fill(rig)
    other = tmp_path / "other.keys"
    keyfiles.create(other, rig.now)
    assert said(rig, other) == []
    assert said(rig, tmp_path / "none.keys") == []
    mine = keyfiles.default_folder(rig.store.path)
    rig.store.connection.execute("UPDATE meta SET value = 'aa' WHERE key = 'relay_id'")
    assert said(rig, mine) == []
    rig.store.connection.execute("UPDATE meta SET value = 'x' WHERE key = 'schema_version'")
    assert said(rig, mine) == [], "nobody knows whose the database is"


def test_of_another_relay_than_keys_and_database(rig: Rig, tmp_path: Path) -> None:
    fill(rig)
    change(rig, "UPDATE meta SET value = 'aa' WHERE key = 'relay_id'")
    for keys in (keyfiles.default_folder(rig.store.path), tmp_path / "none.keys"):
        (found,) = said(rig, keys)
        assert "belongs to another relay" in found


def test_one_that_ended_and_is_half_removed_is_sound(rig: Rig) -> None:
    fill(rig)
    rig.run_blobs(lambda rows: rows.end_blob(stored(rows, ID).row))
    assert rig.run_blobs(lambda rows: rows.sweep(1, 2)), "there is more"
    assert problems(rig) == []
    assert not rig.run_blobs(lambda rows: rows.sweep(1, 2))
    assert problems(rig) == []


@pytest.mark.parametrize("ahead", [23, 24])
def test_chunks_go_when_a_blob_has_ended_and_not_before(rig: Rig, ahead: int) -> None:
    fill(rig)
    change(rig, "DELETE FROM chunks WHERE place % 1024 = 1")
    rig.now += ahead * HOUR
    assert len(problems(rig)) == (ahead < 24)


@pytest.mark.parametrize(
    ("sql", "text", "is_quick"),
    [
        ("UPDATE meta SET value = '7' WHERE key = 'reserved'", "for 7 chunks, and its blobs", True),
        ("DELETE FROM meta WHERE key = 'reserved'", "room is kept for 0 chunks", True),
        ("UPDATE meta SET value = '2' WHERE key = 'schema_version'", "another version", True),
        ("UPDATE meta SET value = 'aa' WHERE key = 'relay_id'", "belongs to another relay", True),
        ("DROP TABLE meta", "no such table: meta", True),
        ("DROP TABLE blobs", "no such table: blobs", True),
        ("UPDATE blobs SET missing = 1", "1 blobs that count other chunks", False),
        ("UPDATE blobs SET missing = 3", "1 blobs that count other chunks", False),
        ("UPDATE blobs SET missing = 3, expires_hour = 0", "1 blobs that count other", False),
        ("UPDATE chunks SET place = place % 1024", "3 chunks of no blob", False),
        ("DROP TABLE chunks", "no such table: chunks", False),
    ],
)
def test_what_is_wrong(rig: Rig, sql: str, text: str, is_quick: bool) -> None:
    fill(rig)
    change(rig, sql)
    assert any(text in problem for problem in problems(rig)), problems(rig)
    assert any(text in problem for problem in problems(rig, quick=True)) == is_quick


def test_chunks_that_changed_are_a_warning(rig: Rig) -> None:
    """The relay serves all others, and writers can bring them again."""
    fill(rig)
    change(rig, "UPDATE chunks SET data = zeroblob(65536) WHERE place % 1024 > 0")
    (found,) = looked(rig)
    assert (found.state, found.found) == (
        State.WARNING,
        "2 chunks are not as they were written",
    )
    assert [f.state for f in looked(rig, quick=True)] == [State.OK]


def test_one_who_reads_holds_nothing_up(rig: Rig) -> None:
    """What is written meanwhile stays in the log, and is cut out of it after."""
    fill(rig)
    store, path = rig.blob_store, blobs_file(rig.store.path)
    assert store is not None
    log = path.with_name(path.name + "-wal")
    with inspect_blobs(path, rig.keys.relay_id) as blobs:
        fill(rig, BlobId(b"j" * 32))
        store.checkpoint()
        assert blobs.changed() == 0
        assert log.stat().st_size > 0
        fill(rig, BlobId(b"k" * 32))
    store.checkpoint()
    assert log.stat().st_size == 0
    assert rig.run_blobs(lambda rows: rows.reserved()) == 15


def test_a_link_to_a_disk_that_is_not_there(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert rig.blob_store is not None
    fill(rig)
    rig.blob_store.checkpoint()
    rig.blob_store.close()
    file, disk = blobs_file(rig.store.path), tmp_path / "disk"
    disk.mkdir()
    file.rename(disk / "blobs")
    file.symlink_to(disk / "blobs")
    assert [f.state for f in looked(rig)] == [State.OK]
    with closing(SqlBlobStore.open(file, rig.keys.relay_id)) as opened:
        asked: list[Path] = []
        ask = os.statvfs

        def noted(path: Path) -> os.statvfs_result:
            asked.append(path)
            return ask(path)

        monkeypatch.setattr(os, "statvfs", noted)
        assert opened.free_bytes() > 0
        assert asked == [disk.resolve()], "whose room it is that blobs take"
    disk.rename(tmp_path / "elsewhere")
    (found,) = looked(rig)
    assert found.state is State.PROBLEM
    assert "mount" in found.todo


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """One that has served an attachment, and stands."""
    with running(tmp_path, "--blob-reserve", "0") as process:
        yield process


def attachments(done: CompletedProcess[str]) -> dict[str, str]:
    assert done.stderr == ""
    (line,) = [line for line in json.loads(done.stdout) if line["check"] == "attachments"]
    assert isinstance(line, dict)
    return line


def overwrite(at: int, data: bytes) -> Callable[[Path], None]:
    def run(file: Path) -> None:
        with file.open("r+b") as opened:
            opened.seek(at)
            opened.write(data)

    return run


@pytest.mark.parametrize(
    "damage",
    [
        overwrite(100, b"XXXX"),
        lambda file: file.write_bytes(os.urandom(30)),
        lambda file: file.write_bytes(b"this is no database" * 1_000),
        lambda file: (file.unlink(), file.mkdir()),
    ],
)
async def test_where_a_relay_does_not_start_doctor_says_so(
    relay: RelayProcess, damage: Callable[[Path], None]
) -> None:
    async with relay.client() as client:
        one = Attachment(client.relay_id, 2)
        await blob_client.create(client.ask, one)
        await upload(client, one)
        line = attachments(relay.run("doctor", "--json"))
        assert line["state"] == "ok", "beside a relay that works"
        assert await matches(client, one)
    assert relay.stop() == 0
    file = relay.folder / "relay.blobs"
    before = file.read_bytes()
    assert relay.run("doctor").returncode == 0
    assert file.read_bytes() == before
    damage(file)
    refused = relay.run("serve", "--listen", "127.0.0.1:0")
    assert refused.returncode == 4
    for options in ((), ("--quick",)):
        done = relay.run("doctor", "--json", *options)
        assert done.returncode == 1
        line = attachments(done)
        assert line["state"] == "problem"
        assert line["found"].startswith(f"cannot use {file}: ")
        assert line["todo"] in refused.stderr
        assert "move it away" in line["todo"]


async def test_a_file_that_ends_too_soon(relay: RelayProcess) -> None:
    """A relay starts on it, and meets it when somebody asks."""
    async with relay.client() as client:
        one = Attachment(client.relay_id, 2)
        await blob_client.create(client.ask, one)
        await blob_client.upload(client.ask, one, content, asleep)
    assert relay.stop() == 0
    file = relay.folder / "relay.blobs"
    os.truncate(file, file.stat().st_size - 8_192)
    line = attachments(relay.run("doctor", "--json"))
    assert line["state"] == "problem"
    assert "malformed" in line["found"]


def test_there_is_none_yet_and_an_empty_one(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path).init()
    assert "makes one" in attachments(relay.run("doctor", "--json"))["found"]
    (tmp_path / "relay.blobs").touch(mode=0o600)
    assert attachments(relay.run("doctor", "--json"))["state"] == "ok"
