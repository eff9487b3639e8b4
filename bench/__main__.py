"""``python -m bench``: the relay beside a bare forwarder, in the same run."""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path

from bench.forwarder import Forwarder
from bench.load import Figures, run
from bench.relay import Relay

OUT = Path(__file__).parent / "out"


def main() -> None:
    """Print a table and write bench/out/relay.json."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--pairs", type=int, default=20, help="sender and reader, each its own")
    parser.add_argument("--messages", type=int, default=4_000, help="in all, for each figure")
    parser.add_argument("--rounds", type=int, default=3, help="the median of so many")
    options = parser.parse_args()
    rows: dict[str, dict[str, float]] = {}
    print(f"{options.pairs} pairs, 2,048-byte envelopes, median of {options.rounds}")
    print(f"{'':34}{'delivered/s':>12}{'CPU s per 1,000':>18}")
    for window in (1, 16):
        found: dict[str, list[Figures]] = {"relay": [], "forwarder": []}
        for _ in range(options.rounds):
            # In turn, so that a drift of the machine falls on both.
            for name, server in (("relay", Relay()), ("forwarder", Forwarder())):
                with server:
                    work = run(server.address, options.pairs, options.messages, window)
                    found[name].append(server.measured(asyncio.run(work)))
        for name, figures in found.items():
            middle = sorted(figures, key=lambda each: each.cpu_per_1000)[len(figures) // 2]
            label = f"{name}, {window} unacknowledged"
            print(f"{label:34}{middle.per_second:12,.0f}{middle.cpu_per_1000:18.3f}")
            rows[f"{name} W{window}"] = {
                "per_second": round(middle.per_second),
                "cpu_seconds_per_1000": round(middle.cpu_per_1000, 4),
            }
        ratio = (
            rows[f"relay W{window}"]["cpu_seconds_per_1000"]
            / rows[f"forwarder W{window}"]["cpu_seconds_per_1000"]
        )
        rows[f"ratio W{window}"] = {"cpu": round(ratio, 2)}
        print(f"{'relay / forwarder':34}{'':12}{ratio:18.2f}")
    OUT.mkdir(exist_ok=True)
    (OUT / "relay.json").write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
