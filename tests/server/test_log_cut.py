"""The write-ahead log, which has the order of commits, is cut soon."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3

import pytest

from kurir_server import writer as writer_module
from kurir_server.errors import StorageError
from kurir_server.limits import LOG_IDLE_SECONDS, LOG_SECONDS
from kurir_server.store import Store
from tests.server.helpers import until
from tests.server.writing import Bench, add, look, results_of

NEVER = 3_600.0


def length(bench: Bench) -> int:
    """Bytes in the write-ahead log."""
    return bench.path.with_name(f"{bench.path.name}-wal").stat().st_size


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each try to cut the log did so."""
    tries: list[bool] = []
    cut = Store.checkpoint

    def counted(store: Store) -> bool:
        tries.append(cut(store))
        return tries[-1]

    monkeypatch.setattr(Store, "checkpoint", counted)
    return tries


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if requests came without a pause."""
    monkeypatch.setattr(writer_module, "LOG_IDLE_SECONDS", NEVER)


def test_the_pause_is_shorter_than_what_load_allows() -> None:
    assert 0 < LOG_IDLE_SECONDS < 1 < LOG_SECONDS < 10


async def test_the_log_is_cut_when_nothing_comes(bench: Bench) -> None:
    await results_of(bench, add(1))
    assert length(bench) > 0, "the commit is in the log"
    await until(lambda: length(bench) == 0)
    assert bench.count() == 1
    await results_of(bench, add(2))
    await until(lambda: length(bench) == 0)
    assert bench.count() == 2


async def test_a_log_that_says_nothing_is_left_alone(
    bench: Bench, cuts: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "LOG_IDLE_SECONDS", 0)
    await results_of(bench, add(1))
    await until(lambda: cuts == [True])
    for _ in range(5):
        await results_of(bench, look)
        await asyncio.sleep(0.01)
    assert cuts == [True]


@pytest.mark.usefixtures("busy")
async def test_the_log_is_cut_under_load_as_well(bench: Bench, cuts: list[bool]) -> None:
    for number in range(1, 51):
        await results_of(bench, add(number))
        bench.tick += 1
    # A result may be told before the cut that follows it.
    await results_of(bench, look)
    assert 50 // (LOG_SECONDS + 1) <= len(cuts) <= 50 // LOG_SECONDS
    assert all(cuts)


@pytest.mark.usefixtures("busy")
async def test_readers_alone_bring_the_cut_about(bench: Bench) -> None:
    """They leave no pause either."""
    await results_of(bench, add(1))
    bench.tick += LOG_SECONDS - 0.5
    await results_of(bench, look)
    await results_of(bench, look)
    assert length(bench) > 0, "not yet"
    bench.tick += 0.5
    await results_of(bench, look)
    await results_of(bench, look)
    assert length(bench) == 0


async def test_a_reader_beside_the_relay_is_not_asked_all_the_time(
    bench: Bench, cuts: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup may take minutes, and each try to cut waits for it; when it has ended, one does."""
    monkeypatch.setattr(writer_module, "LOG_IDLE_SECONDS", 0)
    await results_of(bench, add(1))
    await until(lambda: cuts == [True])
    with contextlib.closing(sqlite3.connect(bench.path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM mailboxes").fetchone()
        for number in range(2, 12):
            await results_of(bench, add(number))
            await until(lambda: len(cuts) > 1)
        assert cuts == [True, False]
    bench.tick += LOG_SECONDS
    await results_of(bench, look)
    await until(lambda: cuts == [True, False, True])
    assert length(bench) == 0


async def test_what_a_broken_disk_left_is_cut_later_though_nothing_comes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "LOG_IDLE_SECONDS", 0)
    monkeypatch.setattr(writer_module, "LOG_SECONDS", 0.05)
    tries: list[bool] = []
    cut = Store.checkpoint

    def breaks_once(store: Store) -> bool:
        tries.append(True)
        if len(tries) == 1:
            raise StorageError("SQLITE_IOERR")
        return cut(store)

    monkeypatch.setattr(Store, "checkpoint", breaks_once)
    await results_of(bench, add(1))
    await until(lambda: length(bench) == 0)
    assert bench.events == ["disk-failed"]


async def test_whoever_stops_the_writer_does_not_wait_for_the_pause(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "LOG_IDLE_SECONDS", NEVER)
    await results_of(bench, add(1))
    await asyncio.sleep(0.01)
    bench.writer.stop()
    await asyncio.wait_for(bench.running, 10)
