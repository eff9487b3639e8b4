"""Group commit: one writer takes all that waits, one transaction, then hands out the results.

There is no linger timer: while one batch is on its way to the disk the next one gathers by itself.
Results and deliveries leave only after the commit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from kurir_server.clock import Clock
from kurir_server.errors import StorageError
from kurir_server.limits import MAX_BATCH, MAX_BATCH_BYTES, MAX_QUEUE, MAX_QUEUE_BYTES
from kurir_server.log import Event, Log
from kurir_server.rows import Moment, Rows
from kurir_server.storage import AsyncStore, Store
from kurir_server.store import Store as SqliteStore
from kurir_server.work import Failed, Job
from kurir_wire.ids import MINUTE

T = TypeVar("T")

Batch = Sequence[Job]


class Writer:
    """Runs jobs in the store, in the order in which they came.

    ``minute`` is the last one on disk: of this minute and earlier ones beacons may have gone out.
    ``is_failing``: the last batch could not be written.
    """

    def __init__(
        self,
        store: AsyncStore,
        clock: Clock,
        log: Log,
        minute: int,
        after_batch: Callable[[], None],
    ) -> None:
        self.minute = minute
        self.is_failing = False
        self._store = store
        self._clock = clock
        self._log = log
        self._after_batch = after_batch
        self._queue: deque[Job] = deque()
        self._weight = 0
        self._wake = asyncio.Event()
        self._space = asyncio.Event()
        self._stopping = False

    async def put(self, job: Job) -> None:
        """Queue a job; waits while the queue is full, so that its socket is not read meanwhile."""
        while len(self._queue) >= MAX_QUEUE or self._weight >= MAX_QUEUE_BYTES:
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
                self._wake.clear()
                await self._wake.wait()
            batch = self._next_batch()
            outcomes = await self._commit(batch)
            for job, outcome in zip(batch, outcomes, strict=True):
                try:
                    job.done(outcome)
                except Exception as error:
                    # A fault of ours in one answer must not take the others with it.
                    self._log.internal(error)
            self._after_batch()

    async def checkpoint(self) -> None:
        """Empty the write-ahead log, so that deleted data is gone from it as well."""
        try:
            await self._store.run(lambda store: store.checkpoint())
        except StorageError as error:
            self._failed(error)

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
        except StorageError as error:
            self._failed(error)
            return [Failed()] * len(batch)
        except Exception as error:
            # A fault of ours: nothing of the batch holds. Run the jobs one by one, so that only
            # the one that fails is refused.
            if len(batch) == 1:
                self._log.internal(error)
                return [Failed()]
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
            return [job.run(rows, moment) for job in batch]

        outcomes = await self._store.run(lambda store: store.transact(work))
        self.minute = max(self.minute, minute)
        if self.is_failing:
            self.is_failing = False
            self._log(Event.DISK_RECOVERED)
        return outcomes

    def _failed(self, error: StorageError) -> None:
        if not self.is_failing:
            self.is_failing = True
            self._log(Event.DISK_FAILED, error=str(error))


@contextmanager
def offline(path: Path) -> Iterator[Store]:
    """An open database for the command line, beside a running relay if there is one.

    :raises DatabaseError: it cannot be opened
    """
    store = SqliteStore.open(path)
    try:
        yield store
    finally:
        store.close()


def create_database(path: Path, relay_id: bytes) -> None:
    """Make a new, empty database.

    :raises DatabaseError: it exists, or cannot be made
    """
    SqliteStore.create(path, relay_id).close()
