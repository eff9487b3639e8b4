"""Group commit: results only after the commit, and never for what was not committed."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest

from kurir_server import admin, keyfiles
from kurir_server import writer as writer_module
from kurir_server.app import App
from kurir_server.clock import Clock
from kurir_server.errors import StorageError
from kurir_server.limits import RECOVERED_SECONDS
from kurir_server.log import Log
from kurir_server.peer import Peer
from kurir_server.rows import Moment, Rows
from kurir_server.session import Session
from kurir_server.store import Store, open_async
from kurir_server.work import Failed, Job
from kurir_wire.entries import Ack
from kurir_wire.frames import (
    Acks,
    BeaconIs,
    Create,
    Deliver,
    GetBeacon,
    Open,
    Push,
    Request,
    Results,
    Submit,
    Welcome,
    decode_push,
    encode,
)
from kurir_wire.ids import DAY, HOUR, MINUTE, EnvelopeId
from tests.server.helpers import Box
from tests.server.rig import START
from tests.server.writing import Bench, FaultyStore, add, full, look, results_of


async def test_results_come_after_the_commit_and_one_commit_serves_all(bench: Bench) -> None:
    outcomes: list[tuple[int, int]] = []
    at_commit: list[int] = []
    bench.store.before_commit = lambda: at_commit.append(len(outcomes))
    for number in range(5):
        bench.writer.push(Job(add(number), lambda n: outcomes.append((n, bench.count()))))
    await bench.writer.call(lambda rows, moment: None)
    assert outcomes == [(n, 5) for n in range(5)], "each saw all five on disk when it was told"
    assert at_commit == [0], "and nobody was told before"
    assert bench.flushed == 1


async def test_nothing_is_told_while_the_commit_hangs(bench: Bench) -> None:
    import threading

    entered, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        assert go_on.wait(10)

    bench.store.before_commit = hang
    told: list[int] = []
    bench.writer.push(Job(add(1), told.append))
    await asyncio.to_thread(entered.wait, 10)
    assert bench.count() == 0
    assert told == []
    go_on.set()
    await bench.writer.call(lambda rows, moment: None)
    assert told == [1]


async def test_a_commit_that_fails_takes_all_with_it_and_the_next_works(bench: Bench) -> None:
    bench.store.before_commit = full
    assert await results_of(bench, add(1), add(2)) == [Failed(), Failed()]
    assert bench.writer.is_failing
    assert await results_of(bench, add(3)) == [Failed()]
    assert bench.count() == 0
    bench.store.before_commit = None
    assert await results_of(bench, add(1), add(2)) == [1, 2]
    assert not bench.writer.is_failing
    assert bench.count() == 2
    assert bench.events == ["disk-failed"]


async def test_the_log_says_once_that_the_disk_failed_and_once_that_it_works(bench: Bench) -> None:
    await results_of(bench, add(1))
    for number in range(2, 6):
        bench.store.before_commit = full
        await results_of(bench, add(99))
        bench.store.before_commit = None
        bench.tick += RECOVERED_SECONDS - 1
        await results_of(bench, look)  # a commit of nothing works on any disk
        assert bench.writer.is_failing
        await results_of(bench, add(number))  # there was room for something small
        assert not bench.writer.is_failing
    bench.tick += 1
    await results_of(bench, look)
    assert bench.events == ["disk-failed"]
    await results_of(bench, add(6))
    await results_of(bench, add(7))
    assert bench.events == ["disk-failed", "disk-recovered"]
    bench.store.before_commit = full
    await results_of(bench, add(8))
    assert bench.events == ["disk-failed", "disk-recovered", "disk-failed"]


async def test_what_rules_keep_in_memory_is_undone_with_the_rest(bench: Bench) -> None:
    undone: list[str] = []

    def counting(name: str) -> Callable[[Rows, Moment], None]:
        def run(rows: Rows, moment: Moment) -> None:
            rows.if_undone(lambda: undone.append(name))

        return run

    await results_of(bench, counting("kept"))
    bench.store.before_commit = full
    await results_of(bench, counting("first"), counting("second"))
    assert undone == ["second", "first"]
    bench.store.before_commit = None
    await results_of(bench, counting("kept"))
    assert undone == ["second", "first"]


async def test_what_is_damaged_harms_only_who_asks_for_it(bench: Bench) -> None:
    def broken(rows: Rows, moment: Moment) -> None:
        add(7)(rows, moment)
        add(7)(rows, moment)

    assert await results_of(bench, add(1), broken, add(2)) == [1, Failed(), 2]
    assert await results_of(bench, broken) == [Failed()]
    assert bench.count() == 2
    assert not bench.writer.is_failing
    (said,) = [json.loads(line) for line in bench.text.getvalue().splitlines()]
    assert (said["event"], said["error"]) == ("data-damaged", "SQLITE_CONSTRAINT_UNIQUE")


async def test_a_fault_of_ours_harms_only_its_own_request(bench: Bench) -> None:
    def broken(rows: Rows, moment: Moment) -> None:
        add(7)(rows, moment)
        raise KeyError("canary-word")

    assert await results_of(bench, add(1), broken, add(2)) == [1, Failed(), 2]
    assert bench.count() == 2, "what the broken one wrote is not there"
    assert bench.events == ["internal-error"]
    assert "canary-word" not in bench.text.getvalue()
    assert "KeyError" in bench.text.getvalue()


async def test_a_fault_in_one_answer_keeps_the_others(bench: Bench) -> None:
    told: list[int] = []

    def broken(outcome: int) -> None:
        raise RuntimeError("canary-word")

    bench.writer.push(Job(add(1), broken))
    bench.writer.push(Job(add(2), told.append))
    await bench.writer.call(lambda rows, moment: None)
    assert told == [2]
    assert "canary-word" not in bench.text.getvalue()


async def test_batches_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "MAX_BATCH", 2)
    await results_of(bench, *(add(number) for number in range(5)))
    assert bench.store.commits == 3
    monkeypatch.setattr(writer_module, "MAX_BATCH", 100)
    monkeypatch.setattr(writer_module, "MAX_BATCH_BYTES", 10)
    told: list[int] = []
    for number in range(5, 9):
        bench.writer.push(Job(add(number), told.append, weight=6))
    await bench.writer.call(lambda rows, moment: None)
    assert told == [5, 6, 7, 8]
    assert bench.store.commits == 6, "two of six bytes fill a batch"


async def test_the_minute_is_on_disk_before_anything_of_it_is_told(bench: Bench) -> None:
    def minute(rows: Rows, moment: Moment) -> tuple[int, int]:
        return moment.now // MINUTE, rows.minute()

    for shift in (0, 59, 60, 30, 3_600, 0):
        bench.now = START + shift
        ((now, stored),) = await results_of(bench, minute)
        with contextlib.closing(sqlite3.connect(bench.path)) as other:
            found = other.execute("SELECT value FROM meta WHERE key = 'minute'").fetchone()
        assert now == stored == int(found[0]) == bench.writer.minute
    assert bench.writer.minute == (START + 3_600) // MINUTE


async def test_with_a_minute_goes_what_was_sure_of_it(bench: Bench) -> None:
    def sure(rows: Rows, moment: Moment) -> int:
        return rows.sure_minute()

    assert await results_of(bench, sure) == [START // MINUTE]
    bench.now += 3 * DAY
    bench.tick += 120
    assert await results_of(bench, sure) == [START // MINUTE + 2]
    assert bench.writer.minute == (START + 3 * DAY) // MINUTE


async def test_a_failed_checkpoint_is_logged_and_survived(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(store: Store) -> None:
        raise StorageError("SQLITE_IOERR")

    monkeypatch.setattr(Store, "checkpoint", broken)
    await bench.writer.checkpoint()
    assert bench.events == ["disk-failed"]
    assert await results_of(bench, add(1)) == [1]


# The whole app over a store that fails, without sockets


class Pipe:
    """Stands for a socket."""

    network = b"net"
    is_taking = True
    on_taking: Callable[[], None] | None = None

    def __init__(self) -> None:
        self.pushed: asyncio.Queue[Push] = asyncio.Queue()

    def emit(self, frames: list[bytes], close: tuple[int, str] | None = None) -> None:
        for frame in frames:
            self.pushed.put_nowait(decode_push(frame))

    async def next(self) -> Push:
        return await asyncio.wait_for(self.pushed.get(), 10)


async def takes(session: Session, data: bytes) -> None:
    """As a socket does it."""
    waiting = session.on_frame(data)
    if waiting is not None:
        await waiting


async def test_ok_means_on_disk_for_every_request_that_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each commit fails at first: nothing may be acknowledged or delivered. Then the same bytes
    again."""
    db = tmp_path / "relay.db"
    keys = admin.init(db, keyfiles.default_folder(db), START)
    store = cast("FaultyStore", FaultyStore.open(db))
    store.close()
    opened: list[FaultyStore] = []

    def opener(path: Path) -> Store:
        opened.append(cast("FaultyStore", FaultyStore.open(path)))
        return opened[0]

    log = Log(io.StringIO())
    clock = Clock(log)
    monkeypatch.setattr("kurir_server.clock.time.time", lambda: float(START))
    wrapper = await open_async(db, opener)
    app = App(keys, wrapper, clock, log, 0)
    running = asyncio.create_task(app.writer.run())
    pipe, reading = Pipe(), Pipe()
    session = await app.connect(cast("Peer", pipe))
    welcome = await pipe.next()
    assert isinstance(welcome, Welcome)
    reader = await app.connect(cast("Peer", reading))
    other = await reading.next()
    assert isinstance(other, Welcome)
    assert other.nonce != welcome.nonce

    async def twice(request: Request) -> None:
        opened[0].before_commit = full
        await takes(session, encode(request))
        refused = await pipe.next()
        assert isinstance(refused, Results)
        assert {r.code if r else "ok" for r in refused.results} == {"unavailable"}
        opened[0].before_commit = None
        await takes(session, encode(request))
        taken = await pipe.next()
        assert isinstance(taken, Results)
        assert {r.code if r else "ok" for r in taken.results} == {"ok"}

    box = Box.personal(keys.relay_id, START)
    await twice(Create(1, [box.new(welcome.nonce)]))
    await takes(reader, encode(Open(1, [box.opening(other.nonce)])))
    assert isinstance(await reading.next(), Results)
    entry = box.write()
    await twice(Submit(2, [entry]))
    pushed = await reading.next()
    assert isinstance(pushed, Deliver)
    assert [d.envelope_id for d in pushed.deliveries] == [entry.envelope_id]
    assert reading.pushed.empty(), "the one that failed was never delivered"
    await twice(Open(3, [box.opening(welcome.nonce)]))
    assert isinstance(await pipe.next(), Deliver)
    await twice(Acks(4, [Ack(box.id, entry.envelope_id)]))
    assert (
        await app.writer.call(
            lambda rows, moment: rows.envelope_body(1, EnvelopeId(entry.envelope_id))
        )
        is None
    )

    # While the disk fails a newcomer is greeted with the last minute that is on disk.
    monkeypatch.setattr("kurir_server.clock.time.time", lambda: float(START + HOUR))
    opened[0].before_commit = full
    late = Pipe()
    await app.connect(cast("Peer", late))
    greeting = await late.next()
    assert isinstance(greeting, Welcome)
    assert (greeting.now, greeting.beacon.minute) == (START, START // MINUTE)
    opened[0].before_commit = None
    await takes(session, encode(GetBeacon(5)))
    answer = await pipe.next()
    assert isinstance(answer, BeaconIs)
    assert answer.beacon.minute == (START + HOUR) // MINUTE
    app.writer.stop()
    await running
    await wrapper.close()


async def test_delivery_resumes_after_the_disk_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Envelopes that could not be read come when the disk works again, though nobody asks."""
    monkeypatch.setattr("kurir_server.app.TICK_SECONDS", 0.01)
    db = tmp_path / "relay.db"
    keys = admin.init(db, keyfiles.default_folder(db), START)
    opened: list[FaultyStore] = []

    def opener(path: Path) -> Store:
        opened.append(cast("FaultyStore", FaultyStore.open(path)))
        return opened[0]

    log = Log(io.StringIO())
    monkeypatch.setattr("kurir_server.clock.time.time", lambda: float(START))
    wrapper = await open_async(db, opener)
    app = App(keys, wrapper, Clock(log), log, 0)
    tasks = [asyncio.create_task(app.writer.run()), asyncio.create_task(app.keep_house())]
    pipe = Pipe()
    session = await app.connect(cast("Peer", pipe))
    welcome = await pipe.next()
    assert isinstance(welcome, Welcome)
    box = Box.personal(keys.relay_id, START)
    await takes(session, encode(Create(1, [box.new(welcome.nonce)])))
    await takes(session, encode(Submit(2, [box.write()])))
    assert [type(await pipe.next()) for _ in range(2)] == [Results, Results]
    commits = opened[0].commits

    def full_after_open() -> None:
        # The commit of "open" succeeds; the reads of what waits fail three times.
        if commits < opened[0].commits <= commits + 1 and failures:
            failures.pop()
            raise StorageError("SQLITE_IOERR_READ")

    failures = [1, 2, 3]
    opened[0].before_commit = full_after_open
    await takes(session, encode(Open(3, [box.opening(welcome.nonce)])))
    assert isinstance(await pipe.next(), Results)
    assert isinstance(await pipe.next(), Deliver)
    assert failures == []
    tasks[1].cancel()
    app.writer.stop()
    await tasks[0]
    await wrapper.close()
