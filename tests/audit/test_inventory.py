"""The inventory of a real database."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from kurir_audit import inventory
from kurir_audit.cli import run
from kurir_audit.errors import EvidenceFileError
from tests.audit import databases


def prints(folder: Path) -> dict[str, str]:
    """Every file but the shared index, by name and hash."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if not path.name.endswith("-shm")
    }


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("CREATE TABLE contacts (name TEXT)", "table contacts"),
        ("ALTER TABLE mailboxes ADD COLUMN owner TEXT", "column mailboxes.owner"),
        ("CREATE INDEX by_gate ON mailboxes (gate)", "index by_gate"),
        ("CREATE VIEW peek AS SELECT body FROM envelopes", "table peek"),
        ("INSERT INTO meta VALUES ('last_sender', 'x')", "key meta[last_sender]"),
        (
            "CREATE TRIGGER spy AFTER INSERT ON envelopes BEGIN SELECT 1; END",
            "trigger spy",
        ),
        (
            "ALTER TABLE envelopes ADD COLUMN t INTEGER GENERATED ALWAYS AS (place) VIRTUAL",
            "column envelopes.t",
        ),
        (
            "DROP INDEX envelopes_by_id; CREATE INDEX envelopes_by_id ON envelopes (sum)",
            "index envelopes_by_id",
        ),
        (
            "DROP INDEX envelopes_by_id; "
            "CREATE INDEX envelopes_by_id ON envelopes (place >> 9, id)",
            "index envelopes_by_id",
        ),
    ],
)
def test_what_is_not_declared_is_named(
    tmp_path: Path, sql: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    db = databases.make(tmp_path / "relay.db")
    with sqlite3.connect(db) as connection:
        connection.executescript(sql)
    connection.close()
    assert inventory.take(db).unknown == (name,)
    assert run(["inventory", "--db", str(db)]) == 1
    assert f"unknown: {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("ALTER TABLE blobs ADD COLUMN mailbox BLOB", "column blobs.mailbox"),
        ("CREATE TABLE readers (network TEXT)", "table readers"),
        ("CREATE INDEX by_hour ON blobs (expires_hour)", "index by_hour"),
        ("INSERT INTO meta VALUES ('minute', '1')", "key meta[minute]"),
    ],
)
def test_the_file_of_blobs_is_held_to_its_own_list(tmp_path: Path, sql: str, name: str) -> None:
    file = databases.make_blobs(tmp_path / "relay.blobs")
    assert inventory.take(file).unknown == ()
    with sqlite3.connect(file) as connection:
        connection.executescript(sql)
    connection.close()
    assert inventory.take(file).unknown == (name,)


def test_a_table_of_blobs_excuses_nothing_in_the_database(tmp_path: Path) -> None:
    db = databases.make(tmp_path / "relay.db")
    with sqlite3.connect(db) as connection:
        connection.execute("CREATE TABLE blobs (id BLOB)")
    connection.close()
    assert "table mailboxes" in inventory.take(db).unknown


def test_what_is_declared_and_gone_is_named(tmp_path: Path) -> None:
    db = databases.make(tmp_path / "relay.db")
    with sqlite3.connect(db) as connection:
        connection.execute("DROP TABLE lanes")
        connection.execute("ALTER TABLE mailboxes DROP COLUMN debt")
    connection.close()
    taken = inventory.take(db)
    assert taken.missing == ("table lanes", "column mailboxes.debt")
    assert taken.unknown == ()


def test_rows_and_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = databases.fill(tmp_path / "relay.db")
    assert run(["inventory", "--db", str(db), "--json"]) == 0
    tables = {table["name"]: table for table in json.loads(capsys.readouterr().out)["tables"]}
    envelopes = {column["name"]: column for column in tables["envelopes"]["columns"]}
    assert tables["envelopes"]["rows"] == 1
    assert envelopes["body"]["bytes"] == 2_048
    assert envelopes["id"]["bytes"] == 16
    assert envelopes["place"]["bytes"] == 6
    assert envelopes["expires_hour"]["bytes"] == 3
    assert envelopes["charge"]["bytes"] == 0
    assert envelopes["body"]["purpose"] == "delivery"


def test_every_column_is_shown_with_purpose_and_retention(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = databases.fill(tmp_path / "relay.db")
    assert run(["inventory", "--db", str(db)]) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 100 for line in text.splitlines())
    assert "secure" not in text
    for word in ("handed_n", "This is the message.", "until acknowledged", "envelopes_by_id"):
        assert word in text
    assert "every one declared" in text


def test_a_clean_database_is_left_as_it_was(tmp_path: Path) -> None:
    db = databases.fill(tmp_path / "relay.db")
    before = prints(tmp_path)
    inventory.take(db)
    assert prints(tmp_path) == before
    assert not list(tmp_path.glob("*-shm"))


def test_a_read_only_folder_will_do(tmp_path: Path) -> None:
    folder = tmp_path / "evidence"
    folder.mkdir()
    db = databases.fill(folder / "relay.db")
    db.chmod(0o400)
    folder.chmod(0o500)
    try:
        assert inventory.take(db).unknown == ()
    finally:
        folder.chmod(0o700)


KILLED = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA wal_autocheckpoint = 0")
connection.execute("INSERT INTO rate_cards VALUES (1, x'00', 0, x'01')")
connection.commit()
os._exit(9)
"""


def test_what_a_killed_relay_left_in_its_wal_is_seen_and_left(tmp_path: Path) -> None:
    db = databases.make(tmp_path / "relay.db")
    subprocess.run([sys.executable, "-c", KILLED, str(db)], check=False)
    for shared_index in (True, False):
        if not shared_index:
            os.remove(f"{db}-shm")
        before = prints(tmp_path)
        assert len(before) == 2
        rows = {table.name: table.rows for table in inventory.take(db).tables}
        assert rows["rate_cards"] == 1
        assert prints(tmp_path) == before
        assert Path(f"{db}-shm").exists() is shared_index


def test_a_relay_that_runs_is_not_disturbed(tmp_path: Path) -> None:
    db = databases.make(tmp_path / "relay.db")
    relay = sqlite3.connect(db, isolation_level=None)
    relay.execute("BEGIN IMMEDIATE")
    relay.execute("INSERT INTO rate_cards VALUES (1, x'00', 0, x'01')")
    counted = {table.name: table.rows for table in inventory.take(db).tables}
    assert counted["rate_cards"] == 0
    relay.execute("COMMIT")
    counted = {table.name: table.rows for table in inventory.take(db).tables}
    assert counted["rate_cards"] == 1
    assert relay.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    relay.close()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "cut").write_bytes(databases.make(tmp_path / "relay.db").read_bytes()[:5_000])
    for name in ("text", "absent", "cut", "."):
        with pytest.raises(EvidenceFileError):
            inventory.take(tmp_path / name)
