"""Group commit: one writer takes all that waits, one transaction, then hands out the results.

There is no linger timer: while one batch is on its way to the disk the next one gathers by itself.
Results and deliveries leave only after the commit.

The write-ahead log is cut as soon as there is a pause, and every few seconds if there is none: it
has the order of commits, which the tables do not tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kurir_server.clock import Clock
from kurir_server.errors import DamagedError, StorageError
from kurir_server.limits import (
    LOG_IDLE_SECONDS,
    LOG_SECONDS,
    MAX_BATCH,
    MAX_BATCH_BYTES,
    MAX_QUEUE,
    MAX_QUEUE_BYTES,
    RECOVERED_SECONDS,
)
from kurir_server.log import Event, Log
from kurir_server.rows import Moment, Rows
from kurir_server.storage import AsyncStore, Store
from kurir_server.store import Store as SqliteStore
from kurir_server.store.sums import SUM_DIFFERS
from kurir_server.work import Failed, Job
from kurir_wire.ids import MINUTE

T = TypeVar("T")

Batch = Sequence[Job]


class Writer:
    """Runs jobs in the store, in the order in which they came.

    ``minute`` is the last one on disk: of this minute and earlier ones beacons may have gone out.
    ``is_failing``: a batch could not be written, and none has been since.
    """

    def __init__(
        self,
        store: AsyncStore,
        clock: Clock,
        log: Log,
        minute: int,
        after_batch: Callable[[], None],
        measured: Callable[[int, float], None] = lambda requests, seconds: None,
    ) -> None:
        """:param measured: told of each batch: its requests, and how long it took to write"""
        self.minute = minute
        self.is_failing = False
        self._store = store
        self._clock = clock
        self._log = log
        self._after_batch = after_batch
        self._measured = measured
        self._queue: deque[Job] = deque()
        self._weight = 0
        self._wake = asyncio.Event()
        self._space = asyncio.Event()
        self._stopping = False
        self._failed_at: float | None = None
        self._said_damaged: set[str] = set()
        self._cut_by: float | None = None  # the tick; None while the log has nothing of ours
        self._cut_failed = False

    @property
    def waiting(self) -> tuple[int, int]:
        """Requests in the queue, and their bytes."""
        return len(self._queue), self._weight

    @property
    def is_full(self) -> bool:
        """Whether so much waits that no more is to be read from sockets."""
        return len(self._queue) >= MAX_QUEUE or self._weight >= MAX_QUEUE_BYTES

    async def put(self, job: Job) -> None:
        """Queue a job; waits while the queue is full, so that its socket is not read meanwhile."""
        while self.is_full:
            self._space.clear()
            await self._space.wait()
        self.push(job)

    def push(self, job: Job) -> None:
        """Queue a job of our own, of which there is at most one per connection."""
        self._queue.append(job)
        self._weight += job.weight
        self._wake.set()

    async def call(self, run: Callable[[Rows, Moment], T]) -> T | Failed:
        """Queue ``run`` and wait for its result."""
        future: asyncio.Future[T | Failed] = asyncio.get_running_loop().create_future()

        def done(outcome: T | Failed) -> None:
            if not future.done():
                future.set_result(outcome)

        self.push(Job(run, done))
        return await future

    def stop(self) -> None:
        """Let :meth:`run` end when the queue is empty."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Write until :meth:`stop`."""
        while True:
            while not self._queue:
                if self._stopping:
                    return
                await self._rest()
            batch = self._next_batch()
            began = time.perf_counter()
            outcomes = await self._commit(batch)
            self._measured(len(batch), time.perf_counter() - began)
            for job, outcome in zip(batch, outcomes, strict=True):
                try:
                    job.done(outcome)
                except Exception as error:
                    # A fault of ours in one answer must not take the others with it.
                    self._log.internal(error)
            self._after_batch()
            if self._cut_by is not None and self._clock.moment().tick >= self._cut_by:
                await self.checkpoint()

    async def has_room(self) -> bool:
        """Whether the disk has room for more than its readers need."""
        try:
            return (await self._store.run(lambda store: store.room())).is_enough
        except StorageError:
            return True  # a disk that fails says so at the next commit

    async def checkpoint(self) -> None:
        """Empty the write-ahead log, so that deleted data and the order of commits are gone from
        it."""
        try:
            is_cut = await self._store.run(lambda store: store.checkpoint())
        except StorageError as error:
            self._failed(error)
            is_cut = False
        self._cut_failed = not is_cut
        self._cut_by = None if is_cut else self._clock.moment().tick + LOG_SECONDS

    async def _rest(self) -> None:
        """Wait for a request; if none comes soon, cut the log."""
        self._wake.clear()
        if self._cut_by is None:
            await self._wake.wait()
            return
        # Each try may wait for a reader or a broken disk, so one that failed is not repeated soon.
        pause = LOG_SECONDS if self._cut_failed else LOG_IDLE_SECONDS
        # Not asyncio.wait_for, which makes a task for each pause between two batches.
        timer = asyncio.get_running_loop().call_later(pause, self._wake.set)
        await self._wake.wait()
        timer.cancel()
        if not self._queue and not self._stopping:
            await self.checkpoint()

    def _next_batch(self) -> list[Job]:
        batch: list[Job] = []
        weight = 0
        while self._queue and len(batch) < MAX_BATCH and weight < MAX_BATCH_BYTES:
            job = self._queue.popleft()
            weight += job.weight
            batch.append(job)
        self._weight -= weight
        self._space.set()
        return batch

    async def _commit(self, batch: Batch) -> list[Any]:
        try:
            return await self._transact(batch)
        except DamagedError as error:
            if len(batch) == 1:
                self._damaged(str(error), 0)
                return [Failed()]
        except StorageError as error:
            self._failed(error)
            return [Failed()] * len(batch)
        except Exception as error:
            if len(batch) == 1:
                self._log.internal(error)
                return [Failed()]
        # A fault of ours, or of what one of them met on the disk: nothing of the batch holds. Run
        # the jobs one by one, so that only the one that fails is refused.
        outcomes: list[Any] = []
        for job in batch:
            outcomes.extend(await self._commit([job]))
        return outcomes

    async def _transact(self, batch: Batch) -> list[Any]:
        moment = self._clock.moment()
        minute = moment.now // MINUTE
        is_new_minute = minute > self.minute

        def work(rows: Rows) -> list[Any]:
            if is_new_minute:
                rows.set_minute(minute)
                rows.set_sure_minute(moment.sure // MINUTE)
            return [job.run(rows, moment) for job in batch]

        def run(store: Store) -> tuple[list[Any], bool, Counter[str]]:
            before = store.changes
            outcomes = store.transact(work)
            return outcomes, store.changes != before, store.take_damaged()

        outcomes, has_written, damaged = await self._store.run(run)
        self.minute = max(self.minute, minute)
        for error, count in damaged.items():
            self._damaged(error, count)
        if has_written:
            self._written(moment.tick)
            if self._cut_by is None:
                self._cut_by = moment.tick + LOG_SECONDS
        return outcomes

    def _written(self, tick: float) -> None:
        """A commit that wrote nothing proves nothing, and one of few bytes little: on a full disk
        small ones may still find room where large ones do not."""
        self.is_failing = False
        if self._failed_at is not None and tick - self._failed_at >= RECOVERED_SECONDS:
            self._failed_at = None
            self._log(Event.DISK_RECOVERED)

    def _failed(self, error: StorageError) -> None:
        self.is_failing = True
        if self._failed_at is None:
            self._log(Event.DISK_FAILED, error=str(error))
        self._failed_at = self._clock.moment().tick

    def _damaged(self, error: str, count: int) -> None:
        """A row whose sum is wrong is met once and then gone. What SQLite cannot read is met by
        whoever asks for it, each time: that is said once."""
        if error == SUM_DIFFERS:
            self._log(Event.DATA_DAMAGED, error=error, rows=count)
        elif error not in self._said_damaged:
            self._said_damaged.add(error)
            self._log(Event.DATA_DAMAGED, error=error, rows=0)


@contextlib.contextmanager
def offline(path: Path) -> Iterator[SqliteStore]:
    """An open database for the command line, beside a running relay if there is one.

    :raises DatabaseError: it cannot be opened
    """
    store = SqliteStore.open(path)
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def upgraded(path: Path) -> Iterator[SqliteStore]:
    """A database that nobody serves, brought forward from an older version if need be.

    :raises DatabaseError: as :meth:`SqliteStore.open`
    """
    store = SqliteStore.open(path, bring_forward=True)
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def inspected(path: Path) -> Iterator[SqliteStore]:
    """A database or a backup, for reading only, beside a running relay if there is one.

    :raises DatabaseError: as :meth:`SqliteStore.inspect`
    """
    store = SqliteStore.inspect(path)
    try:
        yield store
    finally:
        store.close()


def create_database(path: Path, relay_id: bytes) -> None:
    """Make a new, empty database.

    :raises DatabaseError: it exists, or cannot be made
    """
    SqliteStore.create(path, relay_id).close()
