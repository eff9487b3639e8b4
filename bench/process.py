"""A server process on a core of its own, and the CPU time and memory that it takes."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

START_SECONDS: Final = 20
_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Server:
    """Started when entered, stopped when left; subclasses say how."""

    name = ""
    needs: tuple[str, ...] = ()

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kurir-bench-")
        self.folder = Path(self._folder.name)
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def is_here(cls) -> bool:
        """Whether its programs are installed."""
        return all(_found(program) for program in cls.needs)

    def prepare(self, port: int) -> None:
        """Write what the server needs into ``self.folder``."""

    def command(self, port: int) -> Sequence[str]:
        """The command that serves on this port of 127.0.0.1."""
        raise NotImplementedError

    def is_ready(self, connection: socket.socket) -> bool:
        """Whether a server that accepts connections also serves."""
        return True

    def __enter__(self) -> Self:
        port = _free_port()
        self.prepare(port)
        self.address = f"127.0.0.1:{port}"
        self.start(port)
        return self

    def start(self, port: int) -> None:
        """Start the process, also again after :meth:`kill`."""
        allow_many_files()
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(self.command(port), stdout=output, stderr=output)
        pin(self._process.pid, server=True)
        end = time.monotonic() + START_SECONDS
        while True:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port), 0.2) as there,
            ):
                if self.is_ready(there):
                    return
            if self._process.poll() is not None or time.monotonic() > end:
                text = (self.folder / "output").read_text(errors="replace")[-400:]
                raise RuntimeError(f"{self.name} did not start: {text}")
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self._folder.cleanup()

    @property
    def cpu(self) -> float:
        """CPU seconds so far."""
        return cpu_of(self._process.pid) if self._process else 0.0

    @property
    def kib(self) -> int:
        """KiB of memory that are in use now."""
        status = Path(f"/proc/{self._process.pid}/status").read_text() if self._process else ""
        return next((int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line), 0)


def allow_many_files() -> None:
    """As many open sockets as this user may have."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def pin(pid: int, *, server: bool) -> None:
    """The server to the first core that we may use, the load to the others; on one core to none."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(pid, cores[:1] if server else cores[1:])


def cpu_of(pid: int) -> float:
    """CPU seconds that a process took so far, in user and kernel."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_of_machine() -> float:
    """CPU seconds that all processes took since the machine started."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    idle = fields[3] + fields[4]
    return (sum(fields[:8]) - idle) / _TICKS


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _found(program: str) -> bool:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is not None
