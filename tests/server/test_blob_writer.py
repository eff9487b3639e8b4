"""The thread of blobs: one commit for all that waits, and nobody suffers for another's fault."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from kurir_server import blob_writer as module
from kurir_server.blob_rows import BlobRows
from kurir_server.blob_writer import BlobWriter, OpenBlobs, open_blobs
from kurir_server.blobs import Room
from kurir_server.clock import Clock
from kurir_server.errors import DatabaseError, StorageError
from kurir_server.limits import BLOB_TIDY_CHUNKS, MAX_BLOB_BATCH_BYTES, MAX_BLOB_QUEUE_BYTES
from kurir_server.log import Log
from kurir_server.store.blobs import SqlBlobStore
from kurir_server.work import BlobJob, Failed
from kurir_wire.blobs import BlobId
from kurir_wire.ids import Hash, RelayId
from kurir_wire.limits import CHUNK_BYTES

T = TypeVar("T")
RELAY_ID = RelayId(bytes(32))
ID = BlobId(b"i" * 32)
GATE = Hash(b"g" * 32)


class FaultyStore(SqlBlobStore):
    """One that a test can hold up or break."""

    gate: threading.Event
    commits = 0
    is_full = False
    cuts = 0

    def transact(self, work: Callable[[BlobRows], T]) -> T:
        assert self.gate.wait(10)
        before = self.writes

        def checked(rows: BlobRows) -> T:
            result = work(rows)
            if self.is_full and self.writes != before:
                raise StorageError("SQLITE_FULL")
            return result

        result = super().transact(checked)
        self.commits += 1
        return result

    def checkpoint(self) -> None:
        self.cuts += 1
        super().checkpoint()


class Bench:
    def __init__(self, opened: OpenBlobs) -> None:
        assert isinstance(opened.store, FaultyStore)
        self.store = opened.store
        self.text = io.StringIO()
        log = Log(self.text)
        self.flushed = 0
        self.writer = BlobWriter(opened, Clock(log), log, self._flush)
        self.running = asyncio.create_task(self.writer.run())

    def _flush(self) -> None:
        self.flushed += 1

    async def do(self, run: Callable[[BlobRows], Any], weight: int = 0) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await self.writer.put(BlobJob(lambda rows, moment: run(rows), future.set_result, weight))
        return future

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.text.getvalue().splitlines()]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    def opener(path: Path, relay_id: bytes) -> FaultyStore:
        store = FaultyStore.open(path, relay_id)
        assert isinstance(store, FaultyStore)
        store.gate = threading.Event()
        store.gate.set()
        return store

    opened = await open_blobs(tmp_path / "relay.db", RELAY_ID, Room(), opener)
    bench = Bench(opened)
    yield bench
    bench.store.gate.set()
    bench.writer.stop()
    await bench.running
    await opened.close()


def add(number: int, *, hour: int = 10**9, chunks: int = 1) -> Callable[[BlobRows], None]:
    name = BlobId(b"%032d" % number)
    return lambda rows: rows.add_blob(name, GATE, GATE, chunks, 1, hour)


async def test_all_that_waits_is_one_commit_in_order(bench: Bench) -> None:
    bench.store.gate.clear()
    first = await bench.do(add(0))
    await asyncio.sleep(0.05)
    later = [await bench.do(add(number)) for number in range(1, 20)]
    seen = await bench.do(lambda rows: rows.reserved())
    assert not first.done()
    bench.store.gate.set()
    await asyncio.gather(first, *later)
    assert await seen == 20
    assert bench.store.commits == 2
    assert bench.flushed == 2


async def test_one_fault_of_ours_harms_only_the_one_who_met_it(bench: Bench) -> None:
    def breaks(rows: BlobRows) -> None:
        add(7)(rows)
        raise KeyError

    bench.store.gate.clear()
    await bench.do(lambda rows: None)
    await asyncio.sleep(0.05)
    futures = [await bench.do(run) for run in (add(1), breaks, add(2))]
    bench.store.gate.set()
    outcomes = await asyncio.gather(*futures)
    assert [isinstance(outcome, Failed) for outcome in outcomes] == [False, True, False]
    assert await (await bench.do(lambda rows: rows.reserved())) == 2
    assert bench.events() == ["internal-error"]


async def test_an_answer_that_fails_takes_no_other_with_it(bench: Bench) -> None:
    def fails(outcome: Any) -> None:
        raise KeyError

    bench.store.gate.clear()
    await bench.writer.put(BlobJob(lambda rows, moment: None, fails))
    future = await bench.do(add(1))
    bench.store.gate.set()
    assert await future is None
    assert bench.events() == ["internal-error"]


async def test_a_full_disk_is_said_once_and_readers_go_on(bench: Bench) -> None:
    await (await bench.do(add(1)))
    bench.store.is_full = True
    for number in range(2, 5):
        bench.store.gate.clear()
        write = await bench.do(add(number))
        read = await bench.do(lambda rows: rows.reserved())
        bench.store.gate.set()
        assert isinstance(await write, Failed)
        assert await read == 1
    assert bench.events() == ["blobs-failed"], "and reading is no recovery"
    bench.store.is_full = False
    assert await (await bench.do(lambda rows: rows.reserved())) == 1
    assert bench.events() == ["blobs-failed"]
    assert await (await bench.do(add(9))) is None
    assert bench.events() == ["blobs-failed", "blobs-recovered"]


async def test_what_is_too_much_waits_outside(bench: Bench) -> None:
    bench.store.gate.clear()
    await bench.do(lambda rows: None)
    await asyncio.sleep(0.05)
    part = MAX_BLOB_BATCH_BYTES // 2
    taken = [await bench.do(lambda rows: None, part) for _ in range(MAX_BLOB_QUEUE_BYTES // part)]
    more = asyncio.create_task(bench.do(lambda rows: 5, part))
    await asyncio.sleep(0.05)
    assert not more.done(), "its socket is not read meanwhile"
    bench.store.gate.set()
    assert await (await more) == 5
    await asyncio.gather(*taken)
    assert bench.store.commits >= 1 + MAX_BLOB_QUEUE_BYTES // MAX_BLOB_BATCH_BYTES


async def test_what_waits_and_what_is_reserved_are_known(bench: Bench) -> None:
    await (await bench.do(add(1, chunks=7)))
    assert bench.writer.reserved == 0
    bench.store.gate.clear()
    await bench.do(lambda rows: None)
    await asyncio.sleep(0.05)
    await bench.do(lambda rows: None, 3 * CHUNK_BYTES)
    last = await bench.do(lambda rows: None, CHUNK_BYTES)
    bench.writer.learn()
    assert bench.writer.waiting == 4
    bench.store.gate.set()
    await last
    while not bench.writer.reserved:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert (bench.writer.reserved, bench.writer.waiting) == (7, 0)


async def test_housekeeping_lets_others_go_between_its_steps(bench: Bench) -> None:
    def fill(rows: BlobRows) -> None:
        rows.add_blob(ID, GATE, GATE, 3 * BLOB_TIDY_CHUNKS, 1, 5)
        blob = rows.blob(ID)
        assert blob is not None
        for index in range(3 * BLOB_TIDY_CHUNKS):
            rows.put_chunk(blob.row, index, b"chunk")

    await (await bench.do(fill))
    bench.store.gate.clear()
    bench.writer.tidy()
    await asyncio.sleep(0.05)
    between = await bench.do(lambda rows: rows.reserved())
    bench.store.gate.set()
    assert await between == 3 * BLOB_TIDY_CHUNKS, "after the first step"
    while bench.store.cuts == 0:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert await (await bench.do(lambda rows: rows.reserved())) == 0
    assert bench.store.cuts == 1


async def test_housekeeping_that_is_not_possible_now_is_tried_again(bench: Bench) -> None:
    await (await bench.do(add(1, hour=5)))
    bench.store.is_full = True
    bench.writer.tidy()
    while not bench.events():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert bench.events() == ["blobs-failed"]
    assert bench.store.cuts == 1
    bench.store.is_full = False
    bench.writer.tidy()
    while len(bench.events()) < 2:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    assert bench.store.cuts == 2
    assert await (await bench.do(lambda rows: rows.reserved())) == 0
    assert bench.events() == ["blobs-failed", "blobs-recovered"]


async def test_stopping_does_what_waits_and_cuts_the_log(bench: Bench) -> None:
    bench.store.gate.clear()
    futures = [await bench.do(add(number)) for number in range(5)]
    bench.writer.stop()
    bench.store.gate.set()
    await bench.running
    assert [await future for future in futures] == [None] * 5
    assert bench.store.cuts == 1


async def test_what_cannot_be_opened_leaves_no_thread(tmp_path: Path) -> None:
    (tmp_path / "relay.blobs").write_bytes(b"no database" * 999)
    before = threading.active_count()
    with pytest.raises(DatabaseError):
        await open_blobs(tmp_path / "relay.db", RELAY_ID, Room())
    assert threading.active_count() == before
    assert module.blobs_file(Path("a/relay.db")) == Path("a/relay.blobs")
