"""One measurement: a fresh server, the load on another core, and what each of them took."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, replace
from typing import IO, Any

from bench.driver import Load
from bench.process import Server, cpu_of_machine, pin

PATIENCE = 900.0
"""Seconds for one measurement."""


def measure(kind: type[Server], load: Load) -> dict[str, float]:
    """Run one load.

    :returns: what the driver found, with ``cpu`` seconds of the server, and ``others``: seconds
        that neither server nor load took
    """
    with kind() as server:
        before, machine = server.cpu, cpu_of_machine()
        driver = start_driver(server, load)
        out, _ = driver.communicate(timeout=PATIENCE)
        if driver.returncode:
            raise RuntimeError(f"the load on {kind.name} failed")
        found: dict[str, float] = json.loads(out)
        cpu = server.cpu - before
        used = cpu_of_machine() - machine
        return {**found, "cpu": cpu, "others": max(0.0, used - cpu - found.pop("driver_cpu"))}


def measure_idle(kind: type[Server], load: Load, seconds: float) -> dict[str, float]:
    """Connections that wait: memory of each, and CPU of all."""
    with kind() as server:
        first = server.kib
        driver = start_driver(server, load)
        assert driver.stdout is not None
        ready = _read(driver.stdout)
        time.sleep(2)  # what setting up left behind
        before, began, machine = server.cpu, time.monotonic(), cpu_of_machine()
        time.sleep(seconds)
        took = server.cpu - before
        share = took / (time.monotonic() - began)
        others = max(0.0, cpu_of_machine() - machine - took)  # the load's, who answers pings, too
        grown, total = server.kib - first, server.kib
        driver.communicate(timeout=PATIENCE)
        count = ready["ready"]
        return {
            "connections": count,
            "kib_each": grown / count,
            "mib": total / 1_024,
            "cpu": share,
            "others": others,
        }


def measure_kill(kind: type[Server], load: Load, after: float) -> dict[str, int]:
    """kill -9 ``after`` seconds into storing; then a new process on the same data is read empty.

    :returns: how many messages the server had taken over by its word, and how many are gone
    """
    with kind() as server:
        port = int(server.address.rsplit(":", 1)[1])
        driver = start_driver(server, load)
        assert driver.stdout is not None
        _read(driver.stdout)
        time.sleep(after)
        server.kill()
        out, _ = driver.communicate(timeout=PATIENCE)
        accepted: list[int] = json.loads(out)["accepted"]
        server.start(port)
        reader = start_driver(server, replace(load, scenario="drain"))
        out, _ = reader.communicate(timeout=PATIENCE)
        received = [set(numbers) for numbers in json.loads(out)["received"]]
        lost = sum(
            len(set(range(count)) - numbers)
            for count, numbers in zip(accepted, received, strict=True)
        )
        return {"accepted": sum(accepted), "lost": lost}


def start_driver(server: Server, load: Load) -> subprocess.Popen[bytes]:
    """The load as a process, pinned."""
    fields = {**asdict(load), "address": server.address}
    driver = subprocess.Popen(
        [sys.executable, "-m", "bench.driver", json.dumps(fields)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    pin(driver.pid, server=False)
    return driver


def _read(stream: IO[bytes]) -> dict[str, Any]:
    line = stream.readline()
    if not line:
        raise RuntimeError("the load stopped")
    found: dict[str, Any] = json.loads(line)
    return found
