"""The machine that measures, and what else it did meanwhile. No names of hosts."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path
from typing import Final

_STAT: Final = Path("/proc/stat")


class Watch:
    """Measures from its making on what others take."""

    def __init__(self) -> None:
        self._begin = _now()

    def others(self) -> float | None:
        """CPUs kept busy by others since then, stolen time included; None where the system does
        not say."""
        wall, busy, own = (
            after - before for after, before in zip(_now(), self._begin, strict=True)
        )
        return max(0.0, busy - own) / wall if busy and wall else None


def describe() -> dict[str, str | int]:
    """CPU model, number of CPUs, system and Python."""
    return {
        "cpu": _cpu_model(),
        "cpus": os.cpu_count() or 1,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _now() -> tuple[float, float, float]:
    """Wall, all CPUs' busy and this process's seconds."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    busy = 0.0
    if _STAT.exists():
        fields = [int(field) for field in _STAT.read_text().split("\n", 1)[0].split()[1:9]]
        idle = fields[3] + fields[4]
        busy = (sum(fields) - idle) / os.sysconf("SC_CLK_TCK")
    return time.monotonic(), busy, own


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
