"""Blobs through a relay as a process: large ones in little memory, crashes, full disks, files."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from kurir_server.log import COMMON, FIELDS, Event
from kurir_wire import codes
from kurir_wire.blob_frames import BlobGet, BlobNew, BlobPut, Chunk
from kurir_wire.frames import Error, Results
from kurir_wire.ids import HOUR
from kurir_wire.limits import CHUNK_BYTES, CHUNKS_AT_ONCE
from tests.server import blob_client
from tests.server.blob_client import Attachment, BlobRefused
from tests.server.client import Client, mailbox
from tests.server.helpers import until
from tests.server.process import RelayProcess, events, logged, running

MIB = 1 << 20


def content(index: int) -> bytes:
    """The same in every run, and no chunk like another."""
    return random.Random(index).randbytes(CHUNK_BYTES)


async def asleep(seconds: int) -> None:
    """A relay on this machine is never asked so much that a test would have to wait long."""
    assert seconds < 10
    await asyncio.sleep(seconds)


async def upload(client: Client, one: Attachment) -> None:
    await blob_client.upload(client.ask, one, content, asleep)


async def matches(client: Client, one: Attachment) -> bool:
    index = 0
    async for data in blob_client.download(client.ask, one.id, one.read, asleep):
        assert data == content(index), index
        index += 1
    return index == one.chunks


def peak(relay: RelayProcess) -> int:
    """The most memory that the process ever had, in bytes."""
    lines = Path(f"/proc/{relay.pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1_024


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """One whose disk may be nearly full: what blobs leave free is a test of its own."""
    with running(tmp_path, "--blob-reserve", "0") as process:
        yield process


async def test_a_large_one_passes_through_little_memory(relay: RelayProcess) -> None:
    """Frames sent ahead as fast as the socket takes them, then asked for by one who does not
    read: what is on the way is bounded, and other people's messages go on meanwhile."""
    async with relay.client() as warm:
        small = Attachment(warm.relay_id, 2 * CHUNKS_AT_ONCE)
        await blob_client.create(warm.ask, small)
        await upload(warm, small)
        assert await matches(warm, small)
    before = peak(relay)
    async with relay.client() as writer, relay.client() as lazy, relay.client() as person:
        one = Attachment(writer.relay_id, 40 * MIB // CHUNK_BYTES)
        await blob_client.create(writer.ask, one)
        box = await mailbox(person)
        frames = [
            BlobPut(
                number,
                one.id,
                one.write,
                [Chunk(i, content(i)) for i in range(first, first + CHUNKS_AT_ONCE)],
            )
            for number, first in enumerate(range(0, one.chunks, CHUNKS_AT_ONCE))
        ]

        async def send() -> None:
            for frame in frames:
                await writer.send(frame)

        sending = asyncio.create_task(send())
        assert await person.submit(box.write()) == [None]
        for number in range(len(frames)):
            reply = await writer.read()
            assert isinstance(reply, Results)
            assert (reply.n, reply.results) == (number, [None] * CHUNKS_AT_ONCE)
        await sending
        lazy.socket.transport.pause_reading()
        for first in range(0, one.chunks, CHUNKS_AT_ONCE):
            await lazy.send(BlobGet(first, one.id, one.read, first, CHUNKS_AT_ONCE))
        assert await matches(person, one)
        assert await person.submit(box.write()) == [None]
        grown = peak(relay) - before
        lazy.socket.transport.resume_reading()
        for first in range(0, one.chunks, CHUNKS_AT_ONCE):
            assert (await lazy.read()).n == first  # type: ignore[union-attr]
    assert grown < 28 * MIB, "less than the blob"


async def test_kill_9_and_on_from_there(relay: RelayProcess) -> None:
    """Whatever was answered is there; the rest is brought; no byte is another."""
    async with relay.client() as client:
        one = Attachment(client.relay_id, 48)
        await blob_client.create(client.ask, one)
    answered: set[int] = set()
    for cycle in range(4):
        async with relay.client() as client:
            todo = await blob_client.missing(client.ask, one)
            assert answered.isdisjoint(todo)
            for at, index in enumerate(todo):
                await client.send(BlobPut(index, one.id, one.write, [Chunk(index, content(index))]))
                if at >= 4 + cycle:
                    break
            with contextlib.suppress(ConnectionClosed):
                for _ in range(1 + cycle):
                    reply = await client.read()
                    assert isinstance(reply, Results)
                    assert reply.results == [None]
                    answered.add(reply.n)
                relay.kill()
        relay.start()
    async with relay.client() as client:
        todo = await blob_client.missing(client.ask, one)
        assert answered.isdisjoint(todo)
        assert 0 < len(todo) < 48
        await upload(client, one)
        assert await matches(client, one)


async def test_a_connection_that_breaks_in_the_middle(relay: RelayProcess) -> None:
    async with relay.client() as client:
        one = Attachment(client.relay_id, 32)
        await blob_client.create(client.ask, one)

        def breaks(index: int) -> bytes:
            if index == 17:
                client.socket.transport.abort()
            return content(index)

        with pytest.raises(ConnectionClosed):
            await blob_client.upload(client.ask, one, breaks, asleep)
    async with relay.client() as client, relay.client() as other:
        with pytest.raises(BlobRefused):
            await matches(other, one)
        await upload(client, one)
        assert await matches(other, one)
        await blob_client.delete(client.ask, one)
        with pytest.raises(BlobRefused):
            await matches(other, one)


async def test_a_full_disk_stops_attachments_and_nothing_else(relay: RelayProcess) -> None:
    async with relay.client() as client, relay.client() as person:
        box = await mailbox(person)
        whole, one = Attachment(client.relay_id, 4), Attachment(client.relay_id, 40)
        for attachment in (whole, one):
            await blob_client.create(client.ask, attachment)
        await upload(client, whole)
        room = resource.prlimit(relay.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, (768 * 1_024, room[1]))
        outcomes = []
        for index in range(20):
            put = BlobPut(1, one.id, one.write, [Chunk(index, content(index))])
            (result,) = await client.results(put)
            outcomes.append(result)
            assert await person.submit(box.write()) == [None]
            assert await matches(person, whole)
        refused = [result for result in outcomes if result is not None]
        assert refused
        assert {(r.code, r.retry_after) for r in refused} == {(codes.UNAVAILABLE, 5)}
        resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, room)
        await upload(client, one)
        assert await matches(person, one)
    assert relay.stop() == 0
    said = events(relay)
    assert said.count("blobs-failed") == said.count("blobs-recovered") == 1
    (failed,) = [line for line in logged(relay) if line["event"] == "blobs-failed"]
    assert failed["error"].startswith("SQLITE_")
    assert "disk-failed" not in said


async def test_the_operator_sets_the_room(tmp_path: Path) -> None:
    with running(tmp_path, "--blob-quota", "1MiB", "--blob-reserve", "0") as relay:
        async with relay.client() as client:
            large, small = Attachment(client.relay_id, 17), Attachment(client.relay_id, 16)
            with pytest.raises(BlobRefused, match="full") as caught:
                await blob_client.create(client.ask, large)
            assert caught.value.result.left == 16
            await blob_client.create(client.ask, small)
            await upload(client, small)
        assert relay.stop() == 0
        relay.options = ("--blob-reserve", "1000TiB")
        relay.start()
        async with relay.client() as client:
            with pytest.raises(BlobRefused, match="full"):
                await blob_client.create(client.ask, Attachment(client.relay_id, 1))
            assert await matches(client, small)
        assert relay.stop() == 0
        relay.options = ("--blob-quota", "0")
        relay.start()
        async with relay.client() as client:
            with pytest.raises(BlobRefused, match="full"):
                await blob_client.create(client.ask, Attachment(client.relay_id, 1))
            assert await matches(client, small), "what is there is handed out until its end"
        assert relay.stop() == 0
        (tmp_path / "relay.blobs").unlink()
        relay.start()
        async with relay.client() as client:
            error = await client.error(BlobNew(1, [small.new]))
            assert error.code == codes.UNSUPPORTED
        assert relay.stop() == 0
        assert not (tmp_path / "relay.blobs").exists()


async def test_a_lost_or_damaged_file_of_blobs(relay: RelayProcess) -> None:
    async with relay.client() as client:
        one = Attachment(client.relay_id, 3)
        box = await mailbox(client)
        assert await client.submit(box.write()) == [None]
        await blob_client.create(client.ask, one)
        await upload(client, one)
    assert relay.stop() == 0
    file = relay.folder / "relay.blobs"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("UPDATE chunks SET data = zeroblob(65536) WHERE place % 1024 = 1")
    relay.start()
    async with relay.client() as client:
        error = await client.error(BlobGet(1, one.id, one.read, 0, 3))
        assert error.code == codes.NOT_FOUND
        good = await client.ask(BlobGet(1, one.id, one.read, 0, 1))
        assert not isinstance(good, Error)
        assert good.chunks == [content(0)]
        put = BlobPut(1, one.id, one.write, [Chunk(1, content(1))])
        assert await client.results(put) == [None]
        assert await matches(client, one)
    assert relay.stop() == 0
    (damaged,) = [line for line in logged(relay) if line["event"] == "blobs-damaged"]
    assert damaged["chunks"] == 1
    file.write_bytes(b"this is no database" * 1_000)
    done = relay.run("serve", "--listen", "127.0.0.1:0")
    assert done.returncode == 4
    assert "move it away" in done.stderr
    assert "Traceback" not in done.stderr
    file.unlink()
    relay.start()
    async with relay.client() as client:
        assert await client.open(box) == ["ok"]
        await client.take(1)
        with pytest.raises(BlobRefused, match="not-found"):
            await matches(client, one)


async def test_keys_of_another_relay_leave_no_file_behind(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    for folder in (mine, other):
        folder.mkdir()
        RelayProcess(folder).init()
    relay = RelayProcess(mine)
    done = relay.run("serve", "--listen", "127.0.0.1:0", "--keys", str(other / "relay.keys"))
    assert done.returncode == 2
    assert not (mine / "relay.blobs").exists()


async def test_what_ended_is_gone_from_the_files_and_nothing_says_whose_it_was(
    tmp_path: Path,
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    options = ("--demo-clock", str(clock), "--blob-reserve", "0", "--log-level", "debug")
    with running(tmp_path, *options) as relay:
        async with relay.client() as client:
            box = await mailbox(client)
            assert await client.open(box) == ["ok"]
            one = Attachment(client.relay_id, 5, life=2)
            await blob_client.create(client.ask, one)
            await upload(client, one)

            def found(*needles: bytes) -> list[bool]:
                files = list(tmp_path.glob("relay.blobs*"))
                data = b"".join(path.read_bytes() for path in files)
                return [needle in data for needle in needles]

            marks = (content(0)[:64], content(4)[-64:], one.id, one.new.read_gate)
            assert all(found(*marks)), "the search is not blind"
            assert not any(found(box.id, box.key.public, box.gate, one.read, one.write))
            clock.write_text(str(4 * HOUR))
            await until(lambda: not any(found(*marks)))
            with pytest.raises(BlobRefused):
                await matches(client, one)
        assert relay.stop() == 0
        text = relay.log.read_text()
        for value in (one.id, one.read, one.write, one.new.read_gate, one.new.write_gate):
            for spelling in (value.hex(), base64.urlsafe_b64encode(value).decode()[:12]):
                assert spelling not in text
        shapes = {event.value: shape for event, shape in FIELDS.items()}
        for line in logged(relay):
            assert tuple(line) == (*COMMON, *shapes[line["event"]].fields)
        assert Event.STOPPED.value in text
        data = (tmp_path / "relay.db").read_bytes()
        assert bytes(one.id) not in data
        assert one.new.read_gate not in data
