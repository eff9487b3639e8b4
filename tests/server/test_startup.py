"""What a relay does not start on: it says what is wrong and what to do, and harms nothing."""

from __future__ import annotations

import random
import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from kurir_server import keyfiles
from kurir_wire.ids import DAY
from tests.server.process import RelayProcess, running
from tests.server.rig import Rig, rig_in
from tests.server.test_ledger import settle

ENOUGH = 10
"""Damaged files that are to be refused; what a run of bytes hits depends on the file's layout."""


@contextmanager
def changed(db: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(db)) as connection, connection:
        yield connection


def served(relay: RelayProcess) -> tuple[int, str]:
    done = relay.run("serve", "--listen", "127.0.0.1:0", "--ready-file", str(relay.ready))
    assert "Traceback" not in done.stderr
    assert not relay.ready.exists()
    return done.returncode, done.stderr


@pytest.fixture
def used(tmp_path: Path) -> RelayProcess:
    """A stopped relay that has envelopes, charges, and 600 leaves in its ledger."""
    with rig_in(tmp_path) as rig:
        fill(rig)
        rig.store.checkpoint()
    relay = RelayProcess(tmp_path)
    (tmp_path / "rig.db").rename(relay.db)
    folder = keyfiles.default_folder(relay.db)
    (tmp_path / "rig.keys").rename(folder)
    keyfiles.renew(folder, int(time.time()))
    return relay


def fill(rig: Rig) -> None:
    shop = rig.shop()
    box = rig.personal()
    assert rig.submit(*[box.write(4_096) for _ in range(40)]) == [None] * 40
    for _ in range(3):
        settle(rig, shop, 3)
        rig.now += DAY
        rig.tidy()
        box = rig.personal()
        assert rig.submit(*[box.write(4_096) for _ in range(40)]) == [None] * 40
    settle(rig, shop, 2)


def test_damaged_files_are_refused_or_serve_what_is_whole(used: RelayProcess) -> None:
    """Runs of turned bytes and cut ends, all over the file, until enough of them hit something that
    SQLite notices, when it opens the file or only when it reads all of it: a refusal that says what
    to do."""
    whole = used.db.read_bytes()
    rng = random.Random(7)
    refused = 0
    for number in range(60):
        data = bytearray(whole)
        if number % 3:
            for _ in range(number):
                at = rng.randrange(len(data))
                data[at : at + 64] = rng.randbytes(len(data[at : at + 64]))
        else:
            del data[rng.randrange(len(data)) :]
        used.db.write_bytes(data)
        with closing(sqlite3.connect(used.db)) as connection:
            try:
                sound = connection.execute("PRAGMA quick_check").fetchall() == [("ok",)]
            except (sqlite3.Error, UnicodeDecodeError):
                sound = False
        if not sound:
            code, said = served(used)
            assert code == 4, said
            assert "hint: " in said
            assert "restore" in said
            refused += 1
            if refused == ENOUGH:
                break
    assert refused == ENOUGH


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("UPDATE tiles SET hashes = zeroblob(length(hashes))", "not the one that its newest"),
        ("DELETE FROM tiles", "nodes of the ledger's tree are missing"),
        (
            "UPDATE checkpoints SET note = CAST(X'00' || note AS BLOB)",
            "newest checkpoint cannot be read",
        ),
        ("DELETE FROM meta WHERE key = 'schema_version'", "was never finished"),
        ("UPDATE meta SET value = 'two' WHERE key = 'schema_version'", "was never finished"),
        ("UPDATE meta SET value = '99' WHERE key = 'schema_version'", "of a newer kurir-relay"),
        ("ALTER TABLE lanes DROP COLUMN seq", "lacks the column lanes.seq"),
        ("DROP TABLE tiles", "lacks the column tiles.hashes"),
        ("INSERT INTO meta VALUES ('backup_minute', '1')", "is a backup"),
        ("INSERT OR REPLACE INTO meta VALUES ('sure_minute', 'x')", "is damaged"),
    ],
)
def test_a_database_that_says_something_else_than_the_relay_signed(
    used: RelayProcess, change: str, text: str
) -> None:
    with changed(used.db) as connection:
        connection.execute(change)
    code, said = served(used)
    assert code == 4
    assert text in said
    assert "hint: " in said


def limited(room: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))


def test_no_room_to_start(used: RelayProcess) -> None:
    """As on a full disk, where not even SQLite's own files find room; then there is some."""
    done = subprocess.run(
        [*used.prefix, "serve", "--db", str(used.db), "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        preexec_fn=limited(0),
        timeout=30,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "hint: " in done.stderr
    assert "room" in done.stderr
    assert "Traceback" not in done.stderr
    used.start()
    used.kill()


@pytest.fixture
def read_only(used: RelayProcess) -> list[str]:
    """What runs a command while the relay's folder is on a disk that cannot be written."""
    unshare = shutil.which("unshare")
    folder = used.db.parent
    mount = f'mount --bind "{folder}" "{folder}" && mount -o remount,bind,ro "{folder}"'
    script = mount + ' && exec "$@"'
    prefix = [unshare or "unshare", "--mount", "sh", "-c", script, "sh"]
    if unshare is None or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("only a superuser can mount")
    return prefix


def test_a_read_only_disk(used: RelayProcess, read_only: list[str]) -> None:
    done = subprocess.run(
        [*read_only, *used.prefix, "serve", "--db", str(used.db), "--listen", "127.0.0.1:0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert "must be able to write" in done.stderr
    assert "Traceback" not in done.stderr


def test_init_that_fails_can_be_done_again(tmp_path: Path) -> None:
    """A full disk in the middle of it leaves nothing that stands in the way."""
    relay = RelayProcess(tmp_path)
    for room in (0, 40, 4_096, 30_000, 60_000):
        done = subprocess.run(
            [*relay.prefix, "init", "--db", str(relay.db)],
            capture_output=True,
            text=True,
            preexec_fn=limited(room),
            timeout=30,
            check=False,
        )
        assert done.returncode in (3, 4), (room, done.stderr)
        assert "Traceback" not in done.stderr
        assert not relay.db.exists()
    relay.init().start()
    relay.kill()


def test_a_start_waits_for_a_command_that_only_looks(tmp_path: Path) -> None:
    """Doctor holds the relay's lock for a moment."""
    with running(tmp_path) as relay:
        for _ in range(3):
            looking = [
                subprocess.Popen([*relay.prefix, "doctor", "--db", str(relay.db)], stdout=-3)
                for _ in range(2)
            ]
            relay.kill()
            relay.start()
            assert [process.wait() for process in looking] == [0, 0]
