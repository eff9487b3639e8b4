"""The plain model passes the suite as well: so the suite asks for nothing that only SQLite has."""

from __future__ import annotations

from pathlib import Path

from kurir_server.storage import Store
from tests.store.conformance import Conformance
from tests.store.harness import RELAY_ID
from tests.store.memory import Disk, MemoryStore


class MemoryBackend:
    def __init__(self) -> None:
        self._disk = Disk(RELAY_ID)

    def open(self) -> Store:
        return MemoryStore(self._disk)


class TestMemory(Conformance):
    def make(self, folder: Path) -> MemoryBackend:
        return MemoryBackend()
