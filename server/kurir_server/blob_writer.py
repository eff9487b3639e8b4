"""The thread of blobs: takes what waits, in one transaction, and hands out the results after the
commit, as the writer of messages does. Neither waits for the other.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kurir_server.blob_rows import BlobRows, BlobStore
from kurir_server.blobs import Blobs, Room
from kurir_server.clock import Clock
from kurir_server.errors import StorageError
from kurir_server.limits import MAX_BATCH, MAX_BLOB_BATCH_BYTES, MAX_BLOB_QUEUE_BYTES, MAX_QUEUE
from kurir_server.log import Event, Log
from kurir_server.rows import Moment
from kurir_server.store.blob_checks import inspect_blobs
from kurir_server.store.blobs import MOVE_AWAY, SqlBlobStore
from kurir_server.work import BlobJob, Failed
from kurir_wire.ids import RelayId
from kurir_wire.limits import CHUNK_BYTES

__all__ = [
    "MOVE_AWAY",
    "BlobWriter",
    "OpenBlobs",
    "blobs_beside",
    "blobs_file",
    "inspect_blobs",
    "open_blobs",
]


def blobs_file(db: Path) -> Path:
    """Where blobs lie: ``relay.blobs`` beside ``relay.db``."""
    return db.with_suffix(".blobs")


@dataclass(frozen=True, slots=True)
class OpenBlobs:
    """The store of blobs, open in a thread of its own, and the rules over it."""

    store: BlobStore
    rules: Blobs
    thread: ThreadPoolExecutor

    async def close(self) -> None:
        """Close the file and end the thread."""
        await asyncio.get_running_loop().run_in_executor(self.thread, self.store.close)
        self.thread.shutdown()


async def open_blobs(
    db: Path,
    relay_id: RelayId,
    room: Room,
    opener: Callable[[Path, bytes], BlobStore] = SqlBlobStore.open,
) -> OpenBlobs:
    """Open the blobs that lie beside a database.

    :param opener: tests put a faulty one here
    :raises DatabaseError: damaged, of another version or relay, or not durable
    """
    thread = ThreadPoolExecutor(1, "blobs")
    try:
        loop = asyncio.get_running_loop()
        store = await loop.run_in_executor(thread, opener, blobs_file(db), relay_id)
    except BaseException:
        thread.shutdown()
        raise
    return OpenBlobs(store, Blobs(relay_id, room, store.free_bytes), thread)


@asynccontextmanager
async def blobs_beside(db: Path, relay_id: RelayId, room: Room) -> AsyncIterator[OpenBlobs | None]:
    """The store of blobs, unless the operator allows none. One that holds some from before still
    hands them out until they end.

    :raises DatabaseError: as :func:`open_blobs`
    """
    if room.quota < CHUNK_BYTES and not blobs_file(db).exists():
        yield None
        return
    opened = await open_blobs(db, relay_id, room)
    try:
        yield opened
    finally:
        await opened.close()


@dataclass(slots=True)
class _Done:
    """What came of a batch, in the thread of blobs."""

    outcomes: list[Any] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)
    has_written: bool = False
    damaged: int = 0


class BlobWriter:
    """Runs jobs in the thread of blobs, in the order in which they came; between batches it keeps
    house when told to.

    ``reserved``: chunks for which room was kept when :meth:`learn` last asked.

    :param after_batch: called when results were handed out
    """

    def __init__(
        self, blobs: OpenBlobs, clock: Clock, log: Log, after_batch: Callable[[], None]
    ) -> None:
        self._blobs = blobs
        self._clock = clock
        self._log = log
        self._after_batch = after_batch
        self.reserved = 0
        self._queue: deque[BlobJob] = deque()
        self._weight = 0
        self._wake = asyncio.Event()
        self._space = asyncio.Event()
        self._is_tidy = True
        self._is_failing = False
        self._stopping = False

    async def put(self, job: BlobJob) -> None:
        """Queue a job; waits while the queue is full, so that its socket is not read meanwhile."""
        while len(self._queue) >= MAX_QUEUE or self._weight >= MAX_BLOB_QUEUE_BYTES:
            self._space.clear()
            await self._space.wait()
        self._queue.append(job)
        self._weight += job.weight
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Chunks that wait to be written or read."""
        return self._weight // CHUNK_BYTES

    def learn(self) -> None:
        """Ask how much is reserved. Waits for nobody: it is one job of our own a minute."""
        self._queue.append(BlobJob(lambda rows, moment: rows.reserved(), self._learned))
        self._wake.set()

    def _learned(self, outcome: int | Failed) -> None:
        if not isinstance(outcome, Failed):
            self.reserved = outcome

    def tidy(self) -> None:
        """Begin a round of housekeeping, unless one goes on."""
        self._is_tidy = False
        self._wake.set()

    def stop(self) -> None:
        """Let :meth:`run` end when the queue is empty."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Work until :meth:`stop`."""
        while True:
            while not self._queue and self._is_tidy:
                if self._stopping:
                    await self._in_thread(self._cut_log)
                    return
                self._wake.clear()
                await self._wake.wait()
            batch = self._next_batch()
            if batch:
                await self._do(batch)
            if not self._is_tidy:
                await self._keep_house()

    async def _do(self, batch: Sequence[BlobJob]) -> None:
        moment = self._clock.moment()
        done = await self._in_thread(lambda: self._commit(batch, moment))
        for job, outcome in zip(batch, done.outcomes, strict=True):
            try:
                job.done(outcome)
            except Exception as error:
                # A fault of ours in one answer must not take the others with it.
                self._log.internal(error)
        self._tell(done)
        self._after_batch()

    async def _keep_house(self) -> None:
        """One step, so that nobody waits long."""
        moment = self._clock.moment()
        step = BlobJob(lambda rows, moment: self._blobs.rules.sweep(rows, moment), _nobody)
        done = await self._in_thread(lambda: self._commit([step], moment))
        if done.outcomes != [True]:
            # At its end, or not possible now; then the next round tries again.
            self._is_tidy = True
            done.errors += await self._in_thread(self._cut_log)
        self._tell(done)

    def _next_batch(self) -> list[BlobJob]:
        batch: list[BlobJob] = []
        weight = 0
        while self._queue and len(batch) < MAX_BATCH and weight < MAX_BLOB_BATCH_BYTES:
            job = self._queue.popleft()
            weight += job.weight
            batch.append(job)
        self._weight -= weight
        self._space.set()
        return batch

    async def _in_thread(self, work: Callable[[], Any]) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._blobs.thread, work)

    # In the thread of blobs

    def _commit(self, batch: Sequence[BlobJob], moment: Moment) -> _Done:
        done = _Done()
        before = self._blobs.store.writes

        def work(rows: BlobRows) -> list[Any]:
            return [job.run(rows, moment) for job in batch]

        try:
            done.outcomes = self._blobs.store.transact(work)
            done.has_written = self._blobs.store.writes != before
        except Exception as error:
            if len(batch) == 1:
                done.outcomes, done.errors = [Failed()], [error]
            else:
                # One by one: on a full disk those who read go on, and one fault of ours harms
                # only the one who met it.
                parts = [self._commit([job], moment) for job in batch]
                done.outcomes = [outcome for part in parts for outcome in part.outcomes]
                done.errors = [error for part in parts for error in part.errors]
                done.has_written = any(part.has_written for part in parts)
                done.damaged = sum(part.damaged for part in parts)
        done.damaged += self._blobs.store.take_damaged()
        return done

    def _cut_log(self) -> list[Exception]:
        try:
            self._blobs.store.checkpoint()
        except StorageError as error:
            return [error]
        return []

    # In the event loop again

    def _tell(self, done: _Done) -> None:
        for error in done.errors:
            if not isinstance(error, StorageError):
                self._log.internal(error)
            elif not self._is_failing:
                self._is_failing = True
                self._log(Event.BLOBS_FAILED, error=str(error))
        if self._is_failing and done.has_written and not done.errors:
            self._is_failing = False
            self._log(Event.BLOBS_RECOVERED)
        if done.damaged:
            self._log(Event.BLOBS_DAMAGED, chunks=done.damaged)


def _nobody(outcome: Any) -> None:
    """Housekeeping has no one to answer to."""
