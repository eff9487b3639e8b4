"""Fixtures of the relay's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.server.process import RelayProcess, running
from tests.server.rig import Rig, rig_in
from tests.server.writing import Bench, bench_in


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[RelayProcess]:
    """A relay that runs as a process, for one test."""
    with running(tmp_path) as process:
        yield process


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """The relay's rules over a database, for one test."""
    with rig_in(tmp_path) as made:
        yield made


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    """A writer over a database, for one test."""
    async with bench_in(tmp_path, monkeypatch) as made:
        yield made
