"""A server process and the CPU time that it took."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.load import Figures


class Server:
    """Started when entered, stopped when left; subclasses say how."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._cpu = 0.0

    def arguments(self) -> list[str]:
        """The Python arguments that serve, and write HOST:PORT to ``self.folder / "ready"``."""
        raise AssertionError("a subclass says it")

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, *self.arguments()], stderr=subprocess.DEVNULL
        )
        ready = self.folder / "ready"
        while not ready.exists() or not ready.read_text():
            if self._process.poll() is not None:
                raise RuntimeError(f"{type(self).__name__} did not start")
            time.sleep(0.02)
        self.address = ready.read_text().strip()
        self._cpu = self._cpu_now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
        self._folder.cleanup()

    def measured(self, figures: Figures) -> Figures:
        """The figures with the CPU seconds since the start; call it before the server stops."""
        return dataclasses.replace(figures, cpu=self._cpu_now() - self._cpu)

    def _cpu_now(self) -> float:
        if self._process is None:
            return 0.0
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
