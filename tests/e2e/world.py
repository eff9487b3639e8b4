"""A relay, people and businesses for tests: real processes, sockets and files."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PASSPHRASE = "correct horse battery staple"
START_LIMIT = 30.0


def free_port() -> int:
    """A port that was free a moment ago, so that a relay can come back to the same one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Any, what: str, limit: float = START_LIMIT) -> None:
    """Poll until something is true; fail with what was waited for."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError(f"waited {limit:.0f} s in vain for {what}")


@dataclass
class Relay:
    """A relay process over one folder; may be killed and started again."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    prefix: tuple[str, ...] = ()
    has_demo_clock: bool = True

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def db(self) -> Path:
        return self.folder / "relay.db"

    @property
    def log(self) -> Path:
        return self.folder / "relay.log"

    @property
    def clock(self) -> Path:
        return self.folder / "clock"

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "kurir_server.cli", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )

    def init(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clock.write_text("0")
        self.command("init", "--db", str(self.db))

    def start(self) -> None:
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(*self.prefix, sys.executable, "-m", "kurir_server.cli", "serve"),
                    *("--db", str(self.db)),
                    *("--listen", self.address),
                    *("--ready-file", str(ready)),
                    *(("--demo-clock", str(self.clock)) if self.has_demo_clock else ()),
                ],
                stderr=log,
                stdout=log,
            )
        wait_for(
            lambda process=self.process: ready.exists() or process.poll() is not None,
            "the relay",
        )
        assert self.process.poll() is None, self.log.read_text()[-2_000:]

    def kill(self) -> None:
        """As a power cut ends a process: no chance to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=START_LIMIT)

    def jump(self, seconds: int) -> None:
        """Let time pass, for the relay and for everybody in this world."""
        fresh = self.clock.with_suffix(".new")
        fresh.write_text(str(int(self.clock.read_text()) + seconds))
        fresh.replace(self.clock)

    @property
    def now(self) -> int:
        """What time it is in this world."""
        return int(time.time()) + int(self.clock.read_text())

    def jump_to(self, second: int) -> None:
        """Let time pass until a second, if it has not come yet."""
        self.jump(max(0, second - self.now))

    def approve(
        self, business_id: str, legal_name: str, tier: str = "platform", *options: str
    ) -> None:
        self.command(
            *("business", "approve", business_id, "--db", str(self.db)),
            *("--tier", tier, "--legal-name", legal_name, *options),
        )

    def entry_link(self, business_id: str, days: int) -> str:
        """A link for an ad of the business."""
        given = self.command(
            *("business", "ticket", business_id, "--db", str(self.db), "--json"),
            *("--days", str(days), "--relay", self.address),
        )
        return str(json.loads(given.stdout)["link"])


@dataclass
class Person:
    """A profile folder and the command line over it."""

    home: Path
    relay: Relay

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "KURIR_PASSPHRASE": PASSPHRASE,
            "KURIR_DEMO_CLOCK": str(self.relay.clock),
        }

    def command(self, *arguments: str) -> list[str]:
        return [
            *(sys.executable, "-m", "kurir_client.cli"),
            *("--home", str(self.home), "--json"),
            *arguments,
        ]

    def run(self, *arguments: str, code: int = 0, given: str | None = None) -> list[dict[str, Any]]:
        """Run a command; its JSON lines, standard error's last."""
        done = subprocess.run(
            self.command(*arguments),
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            input=given,
        )
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        lines = (done.stdout + done.stderr).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def init(self, name: str, *options: str) -> None:
        self.run("init", "--name", name, "--vault-cost", "quick", *options)

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on until the block is left."""
        process = subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def texts(self) -> list[str]:
        """What `read` shows of new messages."""
        return [line["text"] for line in self.run("read") if line.get("event") == "message"]


def meet(one: Person, other: Person) -> None:
    """One invites, the other accepts, and both have been online once since."""
    link = one.run("invite")[0]["link"]
    other.run("add", link)
    one.run("read")
    other.run("read")
    one.run("read")
