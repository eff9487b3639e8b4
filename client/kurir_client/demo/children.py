"""Child processes: started in groups of their own, and all of them gone at the end.

Each party of the demo is one, with its own files. Ctrl+C reaches only the demo, which ends them.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kurir_client.errors import ClientError

START_LIMIT: Final = 30.0
"""Seconds until a process that does not say it is ready counts as failed."""
RUN_LIMIT: Final = 120.0
"""Seconds until a command that does not end counts as failed."""
STOP_LIMIT: Final = 3.0
"""Seconds that a process gets to end before it is killed."""
LOG_LINES: Final = 8
"""Last lines of a failed process that are shown."""
LINE_LIMIT: Final = 16 * 1_048_576
"""Bytes of one line of a child's output: a message of 60,000 bytes as JSON, with room."""

MAIN: Final = {
    "kurir": "kurir_client.cli",
    "kurir-relay": "kurir_server.cli",
    "kurir-audit": "kurir_audit.cli",
}
"""Our commands, and where their ``main`` is."""


class DemoError(ClientError):
    """a step of the demo failed"""


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str


@dataclass(slots=True)
class Children:
    """All processes of one demo."""

    _running: list[Process] = field(default_factory=list)
    _lasting: list[tuple[str, Process, Path]] = field(default_factory=list)

    async def run(
        self,
        command: str,
        *arguments: str | Path,
        env: Mapping[str, str] | None = None,
        may_fail: bool = False,
    ) -> Done:
        """Run one of our commands to its end.

        :raises DemoError: it failed, unless it ``may_fail``
        """
        process = await self._spawn(_argv(command, *arguments), env, stdin=DEVNULL)
        try:
            out, err = await asyncio.wait_for(process.communicate(), RUN_LIMIT)
        except TimeoutError:
            raise failed(f"{command} {arguments[0]}", "it did not end", "") from None
        finally:
            await self._end(process)
        done = Done(
            process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")
        )
        if done.code and not may_fail:
            name = " ".join(str(part) for part in (command, *arguments[:4]))
            raise failed(name, f"exit code {done.code}", done.err or done.out)
        return done

    async def serve(
        self, name: str, argv: list[str], ready: Path, log: Path, env: Mapping[str, str]
    ) -> tuple[Process, str]:
        """Start something that goes on, and wait until its ready file says where it listens.

        :raises DemoError: it ended, or is not ready in time
        """
        process = await self.background(name, argv, log, env)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_LIMIT
        while (address := _read(ready)) is None:
            if process.returncode is not None or loop.time() > deadline:
                raise failed(name, "it did not start", _read(log) or "")
            await asyncio.sleep(0.02)
        return process, address.strip()

    async def background(
        self, name: str, argv: list[str], log: Path, env: Mapping[str, str]
    ) -> Process:
        """Start something that goes on; what it prints goes to ``log``."""
        with log.open("ab") as file:
            process = await self._spawn(argv, env, stdin=DEVNULL, stdout=file, stderr=file)
        self._lasting.append((name, process, log))
        return process

    def check(self) -> None:
        """See that everything that should go on does.

        :raises DemoError: something ended by itself
        """
        for name, process, log in self._lasting:
            if process.returncode is not None and process in self._running:
                why = f"it ended with exit code {process.returncode}"
                raise failed(name, why, _read(log) or "")

    async def talk(self, *arguments: str | Path, env: Mapping[str, str]) -> Process:
        """Start a ``kurir`` that is typed to and listened to."""
        return await self._spawn(_argv("kurir", *arguments), env, stdin=PIPE)

    async def stop(self, process: Process, how: signal.Signals = signal.SIGTERM) -> None:
        """End one."""
        _signal(process, how)
        await self._end(process)

    async def stop_all(self) -> None:
        """End all that still run: asked first, killed if that takes too long."""
        processes = list(self._running)
        for process in processes:
            _signal(process, signal.SIGTERM)
        await asyncio.gather(*map(self._end, processes))

    def kill_all(self) -> None:
        """At once and without waiting: what is left when even stopping was interrupted."""
        for process in self._running:
            _signal(process, signal.SIGKILL)

    async def _spawn(
        self,
        argv: list[str],
        env: Mapping[str, str] | None,
        *,
        stdin: int,
        stdout: int | object = PIPE,
        stderr: int | object = PIPE,
    ) -> Process:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=stdout,  # type: ignore[arg-type]
            stderr=stderr,  # type: ignore[arg-type]
            env={**os.environ, "PYTHONUTF8": "1", "NO_COLOR": "1", **(env or {})},
            start_new_session=True,
            limit=LINE_LIMIT,
        )
        self._running.append(process)
        return process

    async def _end(self, process: Process) -> None:
        """Wait for a process that was told to end or has ended; then it is gone for certain."""
        try:
            await asyncio.wait_for(process.wait(), STOP_LIMIT)
        except TimeoutError:
            _signal(process, signal.SIGKILL)
            await process.wait()
        finally:
            # Its group too: whatever it may have started itself.
            _signal(process, signal.SIGKILL)
            with contextlib.suppress(ValueError):
                self._running.remove(process)


def command(name: str, *arguments: str | Path) -> list[str]:
    """The command line of one of our commands, run by this very Python."""
    return _argv(name, *arguments)


def module(name: str, *arguments: str | Path) -> list[str]:
    """The command line of one of our modules."""
    return [sys.executable, "-P", "-m", name, *map(str, arguments)]


def runnable(name: str, *arguments: str) -> str:
    """A command as somebody can type it here: with its path where the shell would not find it."""
    script = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    here = found is not None and Path(found).resolve() == script.resolve()
    return shlex.join([name if here or not script.exists() else str(script), *arguments])


def failed(what: str, why: str, log: str) -> DemoError:
    """An error that shows the last lines of what a process said."""
    lines = [line for line in log.splitlines() if line.strip()][-LOG_LINES:]
    said = "".join(f"\n  | {line[:500]}" for line in lines)
    return DemoError(
        f"{what} failed: {why}{said}",
        "run it again with --out DIR, which keeps everything also then, and look at the logs there",
    )


def _read(file: Path) -> str | None:
    try:
        return file.read_text(errors="replace")
    except FileNotFoundError:
        return None


def _argv(name: str, *arguments: str | Path) -> list[str]:
    # By import and not by script, so that it is this installation whatever PATH says.
    start = f"from {MAIN[name]} import main; main()"
    return [sys.executable, "-P", "-c", start, *map(str, arguments)]


def _signal(process: Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
