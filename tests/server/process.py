"""A relay of one's own as a process, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.server.client import Client, welcomed
from tests.server.helpers import Shop


class RelayProcess:
    """``kurir-relay serve`` in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.db = folder / "relay.db"
        self.ready = folder / "ready"
        self.log = folder / "relay.log"
        self.clock = folder / "clock"
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.prefix: Sequence[str] = (sys.executable, "-m", "kurir_server.cli")
        self.environment: dict[str, str] = {}

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command of ``kurir-relay`` on the same database."""
        return subprocess.run(
            [sys.executable, "-m", "kurir_server.cli", *arguments, "--db", str(self.db)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def init(self) -> RelayProcess:
        done = self.run("init")
        assert done.returncode == 0, done.stderr
        return self

    def start(self) -> RelayProcess:
        self.ready.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix,
                    "serve",
                    "--db",
                    str(self.db),
                    "--listen",
                    "127.0.0.1:0",
                    "--ready-file",
                    str(self.ready),
                    *self.options,
                ],
                stderr=log,
                stdout=log,
                env=os.environ | self.environment,
            )
        deadline = time.monotonic() + 30
        while not self.ready.exists():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.01)
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def address(self) -> str:
        return self.ready.read_text().strip()

    def kill(self) -> None:
        """As a crash: kill -9."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Gracefully."""
        assert self.process is not None
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        return self.process.wait(20)

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        """A connection that has been welcomed."""
        async with welcomed(self.address) as client:
            yield client

    def approve(self, shop: Shop, tier: str = "platform") -> None:
        done = self.run(
            "business", "approve", shop.id.hex(), "--tier", tier, "--legal-name", "PT Metro Bus"
        )
        assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[RelayProcess]:
    """A fresh relay that runs until the end of the block."""
    relay = RelayProcess(folder, *options).init().start()
    try:
        yield relay
    finally:
        if relay.process is not None and relay.process.poll() is None:
            relay.process.kill()
            relay.process.wait()


def logged(relay: RelayProcess) -> list[dict[str, Any]]:
    """All lines of its log."""
    return [json.loads(line) for line in relay.log.read_text().splitlines()]


def events(relay: RelayProcess) -> list[str]:
    """The events of its log, in order."""
    return [line["event"] for line in logged(relay)]
