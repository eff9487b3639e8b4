"""Backup and restore with real relays: under load, beside each other, and by the commands."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kurir_server import keyfiles
from kurir_wire.entries import Ack, Submission
from tests.server.client import Client
from tests.server.helpers import Box, until
from tests.server.process import RelayProcess, running


def restored(relay: RelayProcess, folder: Path, *options: str) -> RelayProcess:
    """Another relay, from a backup in ``folder``, with the keys of the first."""
    other = RelayProcess(folder)
    keyfiles.default_folder(other.db).symlink_to(keyfiles.default_folder(relay.db))
    done = other.run("restore", str(folder / "backup.db"), *options)
    assert done.returncode == 0, done.stderr
    assert "is as of" in done.stdout
    return other


async def everything(client: Client, box: Box) -> list[bytes]:
    """Ids of all that waits, in order."""
    assert await client.open(box) == ["ok"]
    seen: list[bytes] = []
    while True:
        try:
            some = await client.take(max(1, len(client.delivered)), seconds=1)
        except TimeoutError:
            return seen
        seen += [delivery.envelope_id for delivery in some]
        await client.ack(*(Ack(box.id, delivery.envelope_id) for delivery in some))


async def test_a_backup_while_messages_flow(tmp_path: Path) -> None:
    """All that was acknowledged before it began is in it, once: of each writer what that one sent
    first, and nothing else."""
    copies = tmp_path / "copies"
    copies.mkdir()
    with running(tmp_path) as relay:
        async with relay.client() as first, relay.client() as second:
            writers = [first, second]
            boxes = [Box.personal(first.relay_id, first.now) for _ in writers]
            for client, box in zip(writers, boxes, strict=True):
                assert await client.create(box) == ["ok"]
            sent: list[list[Submission]] = [[], []]
            acknowledged = [0, 0]
            stop = asyncio.Event()

            async def write(number: int) -> None:
                while not stop.is_set():
                    some = [boxes[number].write(4_096) for _ in range(5)]
                    sent[number] += some
                    assert await writers[number].submit(*some) == [None] * 5
                    acknowledged[number] += 5

            writing = [asyncio.create_task(write(number)) for number in range(2)]
            await until(lambda: min(acknowledged) >= 300)
            before = list(acknowledged)
            out = copies / "backup.db"
            done = await asyncio.to_thread(relay.run, "backup", str(out))
            assert done.returncode == 0, done.stderr
            assert min(acknowledged) > min(before), "writers went on"
            stop.set()
            await asyncio.gather(*writing)

        served = RelayProcess(copies)
        keys = ("--keys", str(keyfiles.default_folder(relay.db)))
        served.db = out
        refused = served.run("serve", "--listen", "127.0.0.1:0", *keys)
        assert refused.returncode == 4
        assert "kurir-relay restore" in refused.stderr
        examined = served.run("doctor", *keys)
        assert examined.returncode == 0, examined.stdout
        assert "a backup that was made with" in examined.stdout

        other = restored(relay, copies)
        other.start()
        try:
            async with other.client() as client:
                for number, box in enumerate(boxes):
                    found = await everything(client, box)
                    assert len(found) >= before[number]
                    assert found == [e.envelope_id for e in sent[number]][: len(found)]
                assert client.welcome.cert == first.welcome.cert
        finally:
            other.kill()
        async with relay.client() as client:
            for number, box in enumerate(boxes):
                expected = [entry.envelope_id for entry in sent[number]]
                assert await everything(client, box) == expected, "the relay has all of it"


async def test_beacons_and_a_restore_in_place(tmp_path: Path) -> None:
    with running(tmp_path) as relay:
        out = tmp_path / "backup.db"
        async with relay.client() as client:
            box = Box.personal(client.relay_id, client.now)
            assert await client.create(box) == ["ok"]
            kept = box.write()
            assert await client.submit(kept) == [None]
            assert relay.run("backup", str(out)).returncode == 0
            lost = box.write()
            assert await client.submit(lost) == [None]
            last = await client.beacon()
        refused = relay.run("restore", str(out), "--replace")
        assert refused.returncode == 2
        assert "another relay serves" in refused.stderr
        relay.kill()
        refused = relay.run("restore", str(out))
        assert refused.returncode == 2
        assert "--replace" in refused.stderr
        done = relay.run("restore", str(out), "--replace")
        assert done.returncode == 0, done.stderr
        assert "relay.db.former" in done.stdout
        assert (tmp_path / "relay.db.former-wal").exists(), "it was killed"
        relay.start()
        async with relay.client() as client:
            assert (await client.beacon()).minute >= last.minute
            assert await everything(client, box) == [kept.envelope_id]
            assert await client.submit(lost) == [None], "sent again, as clients do"
        assert relay.run("doctor").returncode == 0
        again = relay.run("backup", str(out))
        assert again.returncode == 2
        assert "exists already" in again.stderr
