"""``python -m bench``: the relay beside other servers, in the same run.

Each figure comes from a server that was just started, on a core of its own; rounds go through all
servers in turn, so that a drift of the machine falls on all of them, and medians are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bench.aims import verdicts
from bench.driver import Load
from bench.measure import measure, measure_idle, measure_kill
from bench.process import Server
from bench.servers import PROSODY_ACCOUNTS, SERVERS

OUT: Final = Path(__file__).parent / "out" / "relay.json"
PAIRS: Final = 50
PEER_BYTES: Final = 512
ENVELOPE_BYTES: Final = 2_048
"""What kurir carries for a text of 512 bytes: there is no smaller envelope."""
KILLED_AFTER: Final = 0.7
IDLE_SECONDS: Final = 32.0
"""Longer than from one ping of the relay to the next."""

OURS: Final = ("kurir", "forwarder")
Figures = dict[str, dict[str, float]]
"""Server to figure to value."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. ``messages``: for W1 and W16; slow servers get a tenth."""

    servers: list[str]
    rounds: int
    messages: int
    idle: list[int]
    idle_seconds: float = IDLE_SECONDS
    found: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def bytes_of(self, server: str) -> int:
        """The size of one message as the server gets it."""
        return ENVELOPE_BYTES if server in OURS else PEER_BYTES

    def count(self, server: str, share: float = 1.0) -> int:
        """How many messages."""
        slow = 0.2 if server == "prosody" else 1.0
        return max(PAIRS, int(self.messages * share * slow) // PAIRS * PAIRS)

    def note(self, server: str, **figures: float) -> None:
        """Keep the figures of one measurement."""
        mine = self.found.setdefault(server, {})
        for name, value in figures.items():
            mine.setdefault(name, []).append(value)

    def medians(self) -> Figures:
        """The middle of all rounds."""
        return {
            server: {name: statistics.median(values) for name, values in figures.items()}
            for server, figures in self.found.items()
        }


def main() -> None:
    """Print tables and write bench/out/relay.json."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--rounds", type=int, default=3, help="medians of so many")
    parser.add_argument("--messages", type=int, default=20_000, help="for each figure")
    parser.add_argument("--only", nargs="+", choices=SERVERS, default=list(SERVERS))
    parser.add_argument("--idle", type=int, nargs="*", default=[1_000, 10_000])
    parser.add_argument("--quick", action="store_true", help="one short round, to see that it runs")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.rounds < 1 or options.messages < PAIRS:
        parser.error(f"at least one round, of {PAIRS} messages")
    here = [name for name in options.only if SERVERS[name].is_here()]
    for name in options.only:
        if name not in here:
            print(f"{name} is not installed and left out (Debian: {SERVERS[name].needs[0]})")
    plan = Plan(here, options.rounds, options.messages, options.idle)
    if options.quick:
        plan = Plan(here, 1, 500, [20], idle_seconds=2.0)
    for step, (server, work) in enumerate(steps(plan), 1):
        print(f"\r{step}: {server:<12}", end="", file=sys.stderr, flush=True)
        work()
    print("\r" + " " * 30 + "\r", end="", file=sys.stderr)
    figures = plan.medians()
    show(figures)
    found = verdicts(figures)
    for verdict in found:
        print(verdict)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    run = {
        "pairs": PAIRS,
        "rounds": plan.rounds,
        "messages": plan.messages,
        "bytes": {server: plan.bytes_of(server) for server in plan.servers},
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
    }
    report = {"run": run, "figures": figures, "aims": [v.as_dict() for v in found]}
    options.out.write_text(json.dumps(report, indent=1) + "\n")


def steps(plan: Plan) -> Iterator[tuple[str, Callable[[], None]]]:
    """All measurements, each with the server that it is of."""
    for _ in range(plan.rounds):
        for scenario in (_w1, _w16, _w1_large, _w16_large, _latency, _store, _kill):
            for server in plan.servers:
                if server == "forwarder" and scenario in (_latency, _store, _kill):
                    continue  # it keeps nothing
                if server in OURS and scenario in (_w1_large, _w16_large):
                    continue  # as the ones before
                yield server, lambda scenario=scenario, server=server: scenario(plan, server)  # type: ignore[misc]
    for server in plan.servers:
        for count in plan.idle:
            if server == "prosody" and count > PROSODY_ACCOUNTS:
                count = PROSODY_ACCOUNTS
            yield server, lambda server=server, count=count: _idle(plan, server, count)  # type: ignore[misc]


def _kind(server: str) -> type[Server]:
    return SERVERS[server]


def _load(plan: Plan, server: str, scenario: str, share: float = 1.0, window: int = 1) -> Load:
    size = plan.bytes_of(server)
    return Load(server, "", scenario, PAIRS, plan.count(server, share), size, window)


def _w1(plan: Plan, server: str) -> None:
    found = measure(_kind(server), _load(plan, server, "window", 0.5))
    plan.note(server, w1_per_s=_rate(found), w1_cpu=_per_1000(found), others_w1=found["others"])


def _w16(plan: Plan, server: str) -> None:
    found = measure(_kind(server), _load(plan, server, "window", 2.0, window=16))
    plan.note(server, w16_per_s=_rate(found), w16_cpu=_per_1000(found), others_w16=found["others"])


def _w1_large(plan: Plan, server: str) -> None:
    load = replace(_load(plan, server, "window", 0.5), size=ENVELOPE_BYTES)
    found = measure(_kind(server), load)
    plan.note(server, w1_2k_cpu=_per_1000(found), others_w1_2k=found["others"])


def _w16_large(plan: Plan, server: str) -> None:
    load = replace(_load(plan, server, "window", 2.0, window=16), size=ENVELOPE_BYTES)
    found = measure(_kind(server), load)
    plan.note(server, w16_2k_cpu=_per_1000(found), others_w16_2k=found["others"])


def _latency(plan: Plan, server: str) -> None:
    load = Load(server, "", "latency", PAIRS, min(500, plan.messages), plan.bytes_of(server))
    found = measure(_kind(server), load)
    plan.note(server, p50_ms=found["p50"], p95_ms=found["p95"], p99_ms=found["p99"])
    plan.note(server, others_latency=found["others"])


def _store(plan: Plan, server: str) -> None:
    found = measure(_kind(server), _load(plan, server, "store"))
    drained = found["messages"] / found["drain_seconds"]
    plan.note(server, store_per_s=_rate(found), drain_per_s=drained)
    plan.note(server, others_store=found["others"])


def _kill(plan: Plan, server: str) -> None:
    found = measure_kill(_kind(server), _load(plan, server, "kill"), KILLED_AFTER)
    plan.note(server, killed_accepted=found["accepted"], killed_lost=found["lost"])


def _idle(plan: Plan, server: str, count: int) -> None:
    load = Load(server, "", "idle", count, 0, plan.bytes_of(server))
    found = measure_idle(_kind(server), load, plan.idle_seconds)
    name = f"idle_{int(found['connections'])}"
    plan.note(
        server,
        **{
            f"{name}_kib": found["kib_each"],
            f"{name}_mib": found["mib"],
            f"{name}_cpu": found["cpu"],
            f"others_{name}": found["others"],
        },
    )


def _rate(found: dict[str, float]) -> float:
    return found["messages"] / found["seconds"]


def _per_1000(found: dict[str, float]) -> float:
    return found["cpu"] / found["messages"] * 1_000


def show(figures: Figures) -> None:
    """A table: figures down, servers across."""
    servers = list(figures)
    names = list(dict.fromkeys(name for each in figures.values() for name in each))
    print(f"{'':22}" + "".join(f"{server:>12}" for server in servers))
    for name in names:
        cells = (_shown(figures[server].get(name)) for server in servers)
        print(f"{name:22}" + "".join(f"{cell:>12}" for cell in cells))


def _shown(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 or value == 0 else f"{value:.4g}"


if __name__ == "__main__":
    main()
