"""A writer over a real database whose commits a test can break, and jobs for it."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kurir_server.clock import Clock
from kurir_server.errors import StorageError
from kurir_server.log import Log
from kurir_server.rows import Moment, Rows
from kurir_server.store import AsyncStore, Store, open_async
from kurir_server.writer import Writer
from kurir_wire.ids import Hash, MailboxId
from tests.server.rig import START

ID = MailboxId(bytes(32))


class FaultyStore(Store):
    """A store whose ``commit`` a test can watch, hold up or break."""

    before_commit: Callable[[], None] | None = None
    fails_after_commit = False
    commits = 0

    def commit(self) -> None:
        if self.before_commit is not None:
            self.before_commit()
        super().commit()
        self.commits += 1


class Bench:
    """A writer over a real database, and a clock that the test sets."""

    def __init__(self, wrapper: AsyncStore, store: FaultyStore, monkeypatch: Any) -> None:
        self.now = START
        self.text = io.StringIO()
        self.log = Log(self.text)
        self.clock = Clock(self.log)
        self.tick = 0.0
        # Not in the module of time itself: the event loop's own clock has to go on.
        clocks = SimpleNamespace(time=lambda: float(self.now), monotonic=lambda: self.tick)
        monkeypatch.setattr("kurir_server.clock.time", clocks)
        self.wrapper, self.store = wrapper, store
        self.flushed = 0
        self.writer = Writer(wrapper, self.clock, self.log, 0, self._flush)
        self.running = asyncio.create_task(self.writer.run())

    def _flush(self) -> None:
        self.flushed += 1

    @property
    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.text.getvalue().splitlines()]

    def count(self) -> int:
        """Mailboxes as another process sees them: what is committed."""
        with contextlib.closing(sqlite3.connect(self.path)) as other:
            return int(other.execute("SELECT count(*) FROM mailboxes").fetchone()[0])

    @property
    def path(self) -> Path:
        return self.store._path


@contextlib.asynccontextmanager
async def bench_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A writer that runs."""
    db = folder / "relay.db"
    Store.create(db, bytes(32)).close()
    opened: list[FaultyStore] = []

    def opener(path: Path) -> Store:
        opened.append(cast("FaultyStore", FaultyStore.open(path)))
        return opened[0]

    wrapper = await open_async(db, opener)
    made = Bench(wrapper, opened[0], monkeypatch)
    yield made
    made.writer.stop()
    await made.running
    await wrapper.close()


@contextlib.asynccontextmanager
async def held(writer: Writer) -> AsyncIterator[None]:
    """The writer is in the middle of a batch meanwhile, and takes no other."""
    entered, go_on = threading.Event(), threading.Event()

    def hold(rows: Rows, moment: Moment) -> bool:
        entered.set()
        return go_on.wait(60)

    holding = asyncio.ensure_future(writer.call(hold))
    try:
        assert await asyncio.to_thread(entered.wait, 10)
        yield
    finally:
        go_on.set()
        assert await holding is True, "held for as long as the test wanted"


def add(number: int) -> Callable[[Rows, Moment], int]:
    def run(rows: Rows, moment: Moment) -> int:
        rows.add_mailbox(MailboxId(bytes([number]) * 32), bytes(32), Hash(bytes(32)), 1)
        return number

    return run


async def results_of(bench: Bench, *runs: Callable[[Rows, Moment], Any]) -> list[Any]:
    """All put at once, so that they are one batch."""
    return list(await asyncio.gather(*(bench.writer.call(run) for run in runs)))


def full() -> None:
    raise StorageError("SQLITE_FULL")


def look(rows: Rows, moment: Moment) -> None:
    """Writes nothing."""
    rows.mailbox(ID)
