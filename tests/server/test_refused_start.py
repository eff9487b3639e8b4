"""A start that is refused changes nothing of the database, least of all its version: there is no
way back from that."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from kurir_server import keyfiles
from kurir_server.store.schema import SCHEMA_VERSION
from kurir_wire.ids import DAY
from tests.server.helpers import ROOT
from tests.server.process import RelayProcess, running

FOLDER = ROOT / "tests" / "server"
OLD = (1, 2, 3, 4)
RIGHT = "UPDATE meta SET value = :relay_id WHERE key = 'relay_id'"
"""The old databases are of relays whose keys are gone."""
BACKUP = "INSERT INTO meta VALUES ('backup_minute', '1')"
EMPTY = "DELETE FROM checkpoints; DELETE FROM tiles; DELETE FROM pending"


@pytest.fixture
def relay(tmp_path: Path) -> RelayProcess:
    """Its keys are there."""
    return RelayProcess(tmp_path).init()


def put(relay: RelayProcess, version: int, *changes: str, log: bool = True) -> None:
    """An old database in place of the relay's.

    :param log: as a kill leaves it, with much of it in its log; else as a backup, in one file
    """
    keys = keyfiles.load(keyfiles.default_folder(relay.db))
    made = relay.folder / "made.db"
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {'WAL' if log else 'DELETE'}").fetchone()
        connection.executescript((FOLDER / f"schema-{version}.sql").read_text("utf-8"))
        connection.execute("PRAGMA wal_autocheckpoint = 0").fetchone()
        connection.execute("PRAGMA wal_checkpoint").fetchone()
        for change in changes:
            for statement in change.split(";"):
                named = {"relay_id": keys.relay_id.hex()} if ":" in statement else {}
                connection.execute(statement, named)
        connection.execute("UPDATE meta SET value = value WHERE key = 'minute'")
        for suffix in ("", "-wal") if log else ("",):
            shutil.copy(f"{made}{suffix}", f"{relay.db}{suffix}")
    relay.db.chmod(0o600)


def content(relay: RelayProcess) -> list[bytes]:
    """The database and its log; an empty log is none."""
    files = [relay.db, relay.db.with_name("relay.db-wal")]
    return [file.read_bytes() if file.exists() else b"" for file in files]


def refused(relay: RelayProcess, code: int, text: str) -> None:
    """Twice, as a service manager tries again."""
    before = content(relay)
    for _ in range(2):
        done = relay.run("serve", "--listen", "127.0.0.1:0")
        assert done.returncode == code, done.stderr
        assert text in done.stderr
        assert "hint: " in done.stderr
        assert content(relay) == before


@pytest.mark.parametrize("version", OLD)
@pytest.mark.parametrize("log", [True, False])
def test_keys_of_another_relay(relay: RelayProcess, version: int, log: bool) -> None:
    put(relay, version, log=log)
    refused(relay, 2, "belongs to another relay")


@pytest.mark.parametrize("version", OLD)
def test_a_backup(relay: RelayProcess, version: int) -> None:
    put(relay, version, RIGHT, BACKUP, log=False)
    refused(relay, 4, "is a backup")


@pytest.mark.parametrize("version", OLD)
def test_a_damaged_file(relay: RelayProcess, version: int) -> None:
    put(relay, version, RIGHT, log=False)
    with closing(sqlite3.connect(relay.db)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name = 'mailboxes'"
        (page,) = connection.execute(query).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with relay.db.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
    refused(relay, 4, "is damaged")


def test_a_ledger_that_the_relay_did_not_sign(relay: RelayProcess) -> None:
    put(relay, 2, RIGHT)
    refused(relay, 4, "newest checkpoint cannot be read")


@pytest.mark.parametrize("version", OLD)
def test_a_certificate_that_has_ended(relay: RelayProcess, version: int) -> None:
    put(relay, version, RIGHT, EMPTY if version > 1 else "SELECT 1")
    keyfiles.renew(keyfiles.default_folder(relay.db), int(time.time()) - 400 * DAY)
    refused(relay, 2, "not valid at this time")


def test_one_of_this_version(tmp_path: Path) -> None:
    """As a kill left it."""
    other = tmp_path / "other"
    keyfiles.create(other, int(time.time()))
    with running(tmp_path) as relay:
        relay.kill()
        before = content(relay)
        done = relay.run("serve", "--listen", "127.0.0.1:0", "--keys", str(other))
        assert done.returncode == 2
        assert content(relay) == before
        with closing(sqlite3.connect(relay.db, isolation_level=None)) as connection:
            connection.execute(BACKUP)
        refused(relay, 4, "is a backup")


@pytest.mark.parametrize("version", OLD)
@pytest.mark.parametrize("log", [True, False])
def test_one_that_is_accepted_is_brought_forward(
    relay: RelayProcess, version: int, log: bool
) -> None:
    put(relay, version, RIGHT, EMPTY if version > 1 else "SELECT 1", log=log)
    relay.start()
    try:
        assert relay.stop() == 0
    finally:
        relay.kill()
    with closing(sqlite3.connect(relay.db)) as connection:
        query = "SELECT value FROM meta WHERE key = 'schema_version'"
        assert connection.execute(query).fetchone() == (str(SCHEMA_VERSION),)
