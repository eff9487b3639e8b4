"""The SQLite store passes the suite."""

from __future__ import annotations

from pathlib import Path

from kurir_server.storage import Store
from kurir_server.store import Store as SqliteStore
from tests.store.conformance import Conformance, SharedByProcesses
from tests.store.harness import RELAY_ID


class SqliteBackend:
    def __init__(self, folder: Path) -> None:
        self._path = folder / "relay.db"

    def open(self) -> Store:
        if not self._path.exists():
            return SqliteStore.create(self._path, RELAY_ID)
        return SqliteStore.open(self._path)

    def source(self) -> str:
        return (
            "from pathlib import Path\n"
            "from kurir_server.store import Store\n"
            f"store = Store.open(Path({str(self._path)!r}))\n"
        )


class TestSqlite(Conformance, SharedByProcesses):
    def make(self, folder: Path) -> SqliteBackend:
        return SqliteBackend(folder)
