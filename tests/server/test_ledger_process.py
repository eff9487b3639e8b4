"""Closing days in a real relay: by itself, across kill -9, and after an older relay."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from kurir_billing.ledger import Checkpoint, open_checkpoint
from kurir_server import keyfiles
from kurir_wire.frames import CheckpointIs, GetCheckpoint, encode
from kurir_wire.ids import DAY
from kurir_wire.merkle import Growing
from tests.server.process import RelayProcess, running

MANY = 200_000
OLD_ENVELOPES = """
CREATE TABLE envelopes (mailbox INTEGER NOT NULL, n INTEGER NOT NULL, id BLOB NOT NULL,
    expires_hour INTEGER NOT NULL, charge BLOB, body BLOB NOT NULL, PRIMARY KEY (mailbox, n)
) WITHOUT ROWID, STRICT;
CREATE UNIQUE INDEX envelopes_by_id ON envelopes (mailbox, id);
"""


@contextmanager
def database(relay: RelayProcess) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(relay.db, timeout=10)) as connection, connection:
        yield connection


def one(relay: RelayProcess, query: str) -> Any:
    with database(relay) as connection:
        return connection.execute(query).fetchone()[0]


def leave_waiting(relay: RelayProcess, day: int, count: int, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    added = sorted(rng.randbytes(32) for _ in range(count))
    with database(relay) as connection:
        rows = ((day, entry) for entry in added)
        connection.executemany("INSERT INTO pending VALUES (?, ?)", rows)
    return added


async def newest(relay: RelayProcess) -> Checkpoint:
    async with relay.client() as client:
        reply = await client.ask(GetCheckpoint(client.next()))
        assert isinstance(reply, CheckpointIs)
        cert = client.welcome.cert
        return open_checkpoint(reply.note, cert.checkpoint_pk, cert.relay_id)


async def test_kill_9_while_a_day_is_closed(tmp_path: Path) -> None:
    """Killed while the transaction is on its way to the disk, again and again: the day stays open,
    and the last attempt closes it as if there had been no other."""
    relay = RelayProcess(tmp_path).init()
    wal = relay.db.with_name("relay.db-wal")
    yesterday = int(time.time()) // DAY - 1
    first = leave_waiting(relay, yesterday - 1, 1_000, 1)
    relay.start()
    growing = Growing(first)
    assert (await newest(relay)).root == growing.root()
    relay.kill()
    added = leave_waiting(relay, yesterday, MANY, 2)
    try:
        for least in (100_000, 500_000, 1_000_000):
            relay.start()
            async with relay.client() as client:
                before = wal.stat().st_size
                await client.socket.send(encode(GetCheckpoint(1)))
                async with asyncio.timeout(20):
                    while wal.stat().st_size < before + least:  # noqa: ASYNC110
                        await asyncio.sleep(0)
                relay.kill()
            assert wal.stat().st_size > least, "something of it was on the disk"
            assert one(relay, "SELECT count(*) FROM checkpoints") == 1
            assert one(relay, "SELECT count(*) FROM pending") == MANY
            assert one(relay, "SELECT sum(length(hashes)) FROM tiles WHERE level = 0") == 32_000
        relay.start()
        for entry in added:
            growing.append(entry)
        closed = await newest(relay)
        assert (closed.size, closed.root) == (1_000 + MANY, growing.root())
        relay.kill()
        relay.start()
        assert await newest(relay) == closed
        assert one(relay, "SELECT count(*) FROM pending") == 0
    finally:
        if relay.process is not None and relay.process.poll() is None:
            relay.kill()


async def test_a_relay_closes_its_days_by_itself(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    with running(tmp_path, "--demo-clock", str(clock)) as relay:
        today = int(time.time()) // DAY
        leave_waiting(relay, today - 1, 3, 1)
        leave_waiting(relay, today, 4, 2)
        clock.write_text(str(DAY))
        async with asyncio.timeout(20):
            while one(relay, "SELECT count(*) FROM checkpoints") < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert (await newest(relay)).size == 7
        clock.write_text("0")
        await asyncio.sleep(2.5)
        assert one(relay, "SELECT count(*) FROM checkpoints") == 2
        # Nothing can settle for a closed day, also after a crash with a clock that went back: the
        # relay's time is after its end.
        relay.kill()
        relay.start()
        async with relay.client() as client:
            assert client.welcome.now // DAY > today


async def test_a_damaged_ledger_does_not_keep_what_was_deleted(tmp_path: Path) -> None:
    """Its day stays open; housekeeping does the rest, and cuts the write-ahead log."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    with running(tmp_path, "--demo-clock", str(clock)) as relay:
        today = int(time.time()) // DAY
        leave_waiting(relay, today - 1, 300, 1)
        assert (await newest(relay)).size == 300
        with database(relay) as connection:
            connection.execute("DELETE FROM tiles WHERE level = 0 AND n = 1")
        leave_waiting(relay, today, 3, 2)
        wal = relay.db.with_name("relay.db-wal")
        assert wal.stat().st_size > 0
        clock.write_text(str(DAY))
        async with asyncio.timeout(20):
            while "internal-error" not in relay.log.read_text():  # noqa: ASYNC110
                await asyncio.sleep(0.1)
            while wal.stat().st_size > 0:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        assert one(relay, "SELECT count(*) FROM pending") == 3
        assert one(relay, "SELECT count(*) FROM checkpoints") == 1


async def test_a_relay_from_before_the_ledger(tmp_path: Path) -> None:
    """Its keys want renewing, its database is brought forward when it starts, not before."""
    relay = RelayProcess(tmp_path).init()
    (keyfiles.default_folder(relay.db) / keyfiles.CHECKPOINT).unlink()
    with database(relay) as connection:
        for table in (
            "pending",
            "tiles",
            "checkpoints",
            "marks",
            "starts",
            "tickets",
            "reports",
            "adjustments",
            "parties",
            "invoices",
        ):
            connection.execute(f"DROP TABLE {table}")
        for column in ("refused", "pad"):
            connection.execute(f"ALTER TABLE mailboxes DROP COLUMN {column}")
        for column in ("starts", "terms_issued", "terms_signature"):
            connection.execute(f"ALTER TABLE businesses DROP COLUMN {column}")
        connection.execute("ALTER TABLE charges DROP COLUMN sum")
        connection.execute(
            "CREATE TABLE accepted_seconds (charge BLOB PRIMARY KEY, second INTEGER)"
        )
        connection.executescript("DROP TABLE envelopes;" + OLD_ENVELOPES)
        connection.execute("UPDATE meta SET value = '1' WHERE key = 'schema_version'")
    refused = relay.run("serve", "--listen", "127.0.0.1:0")
    assert refused.returncode == 3
    assert "kurir-relay renew" in refused.stderr
    assert relay.run("renew").returncode == 0
    listed = relay.run("business", "list")
    assert listed.returncode == 4
    assert "start the relay once" in listed.stderr
    relay.start()
    try:
        assert relay.run("business", "list").returncode == 0
        yesterday = int(time.time()) // DAY - 1
        added = leave_waiting(relay, yesterday, 10, 3)
        assert (await newest(relay)).root == Growing(added).root()
    finally:
        relay.kill()
