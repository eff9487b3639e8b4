"""``python -m bench.crypto``: kurir's sessions beside vodozemac and X3DH+DoubleRatchet.

All in one process, in turns of a fraction of a second, the same 256-byte messages, encrypted and
decrypted. Rates are per second of CPU time, both ends' work in one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, Final

from bench import crypto_machine, crypto_work
from bench.crypto_kurir import Kurir
from bench.crypto_library import Databases, Keeper, Library, in_memory, serialised
from bench.crypto_work import CONTENT, Prepare, Rate

OUT: Final = Path(__file__).parent / "out" / "crypto.json"
PEERS: Final = {
    "vodozemac": ("bench.crypto_vodozemac", "Vodozemac"),
    "X3DH+DoubleRatchet": ("bench.crypto_doubleratchet", "DoubleRatchet"),
}
AIMS: Final = {
    "bare set-ups": ("X3DH+DoubleRatchet", 4.0),
    "ping-pong": ("vodozemac", 1.0),
    "one way": ("vodozemac", 1.3),
}
"""How many times as fast as that library kurir ought to be, wherever the state is."""
NOTES: Final = """\
A message is encrypted by one end and decrypted by the other; kurir without sealing and padding.
Its post-quantum ratchet is on; the others have none, and their handshakes have no KEM.
A set-up: check the signed prekeys offered, start, encrypt the first message; accept, decrypt.
  bare: prekeys were made beforehand, and each person holds only the one that is used
  with upkeep: people hold the library's usual stock (100; vodozemac 50) and replace what is used;
  X3DH's State then computes the public halves of its whole stock several times for each set-up
Serialised: each step on either end restores the session, works, serialises it; vodozemac's pickle
  encrypts, X3DH+DoubleRatchet's is JSON. Identities and prekeys stay in memory in all modes.
In SQLCipher: each such step is one durable transaction of the client's store, two databases; most
  of what it costs is the database, the same for all.
Medians of the rounds, lowest and highest in brackets."""


@dataclass
class Scenario:
    """One line of the table: rates by library, one for each round."""

    mode: str
    name: str
    rates: dict[str, list[Rate]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """For people and for JSON."""
        return f"{self.name}, {self.mode}"

    def middle(self, library: str) -> float:
        """The median per second of CPU."""
        return median(rate.cpu for rate in self.rates[library])

    def ratios(self, ours: str) -> dict[str, float]:
        """How many times as fast we are as each other library."""
        return {name: self.middle(ours) / self.middle(name) for name in self.rates if name != ours}


def libraries(wanted: Iterable[str]) -> list[Library[Any, Any]]:
    """kurir, and those of ``wanted`` that are installed; says how to install the others."""
    found: list[Library[Any, Any]] = [Kurir()]
    for name in wanted:
        module, class_ = PEERS[name]
        try:
            found.append(getattr(import_module(module), class_)())
        except ModuleNotFoundError as error:
            print(f"{name} is left out: {error}. Install the extra:", file=sys.stderr)
            print("  make bench-crypto, or pip install -e '.[bench]'", file=sys.stderr)
    return found


def measure(
    compared: list[Library[Any, Any]], rounds: int, seconds: float, folder: Path
) -> tuple[list[Scenario], list[float | None]]:
    """All scenarios, the libraries in turns; and the CPUs that others kept busy in each round."""
    lines: dict[tuple[str, str], Scenario] = {}
    others = []
    with ExitStack() as stack:
        stores = {}
        for number, library in enumerate(compared):
            place = folder / str(number)
            place.mkdir()
            stores[library.name] = Databases(place)
            stack.callback(stores[library.name].close)
        for turn in range(rounds):
            watch = crypto_machine.Watch()
            for mode in ("in memory", "serialised", "in SQLCipher"):
                for name, make in _works(mode, turn):
                    line = lines.setdefault((mode, name), Scenario(mode, name))
                    for library in compared:
                        store = stores[library.name]
                        store.empty()
                        keep = {"in memory": in_memory, "serialised": serialised}.get(
                            mode, store.keep
                        )
                        rate = crypto_work.timed(make(library, keep), seconds)
                        line.rates.setdefault(library.name, []).append(rate)
            others.append(watch.others())
    return list(lines.values()), others


def _works(
    mode: str, turn: int
) -> list[tuple[str, Callable[[Library[Any, Any], Keeper], Prepare]]]:
    works: list[tuple[str, Callable[[Library[Any, Any], Keeper], Prepare]]] = [
        ("bare set-ups", crypto_work.bare_set_ups),
        ("set-ups with upkeep", crypto_work.kept_set_ups),
        ("ping-pong", partial(crypto_work.ping_pong, turn=turn)),
        ("one way", partial(crypto_work.one_way, turn=turn)),
    ]
    return works if mode == "in memory" else [works[0], *works[2:]]


def report(
    lines: list[Scenario], sizes: dict[str, dict[str, float]], others: list[float | None]
) -> str:
    """The tables."""
    ours, *peers = sizes
    text = []
    for mode in dict.fromkeys(line.mode for line in lines):
        text += ["", f"{f'Per second of CPU, state {mode}':34}{_row(sizes)}"]
        for line in (line for line in lines if line.mode == mode):
            text.append(f"{line.name:34}{_row(_spread(line.rates[name]) for name in sizes)}")
            for peer, ratio in line.ratios(ours).items():
                verdict = _verdict(line, peer, ratio)
                text.append(f"{f'  kurir is × {peer}':34}{ratio:28.2f}{verdict}")
    text += ["", f"{'Bytes longer than the content':34}{_row(sizes)}"]
    for label in sizes[ours]:
        cells = (sizes[name].get(label) for name in sizes)
        text.append(f"{label:34}{_row('-' if cell is None else f'{cell:,.1f}' for cell in cells)}")
    known = [busy for busy in others if busy is not None]
    text += ["", NOTES]
    if known:
        text.append(
            f"Others kept {median(known):.2f} CPUs busy, {max(known):.2f} in the worst round"
            + ("; take the figures with care." if max(known) > 0.5 else ".")
        )
    if not peers:
        text.append("Nothing to compare with is installed.")
    return "\n".join(text)


def _row(cells: Iterable[str]) -> str:
    return "".join(f"{cell:>28}" for cell in cells)


def _spread(rates: list[Rate]) -> str:
    found = [rate.cpu for rate in rates]
    return f"{median(found):,.0f} ({min(found):,.0f}–{max(found):,.0f})"


def _verdict(line: Scenario, peer: str, ratio: float) -> str:
    if line.name not in AIMS:
        return ""  # it is not like with like: see the notes
    against, aim = AIMS[line.name]
    if peer != against:
        return ""
    return f"  aim {aim:.1f}: {'reached' if ratio >= aim else 'SHORT OF THE AIM'}"


def as_json(
    compared: list[Library[Any, Any]],
    lines: list[Scenario],
    sizes: dict[str, dict[str, float]],
    others: list[float | None],
) -> dict[str, Any]:
    """The same for programs."""
    ours = compared[0].name
    return {
        "machine": crypto_machine.describe(),
        "versions": {library.name: library.version for library in compared},
        "content_bytes": len(CONTENT),
        "rates": {
            line.label: {
                name: {
                    "per_cpu_second": round(median(rate.cpu for rate in rates), 1),
                    "lowest": round(min(rate.cpu for rate in rates), 1),
                    "highest": round(max(rate.cpu for rate in rates), 1),
                    "per_wall_second": round(median(rate.wall for rate in rates), 1),
                }
                for name, rates in line.rates.items()
            }
            for line in lines
        },
        "ratios": {
            line.label: {name: round(ratio, 3) for name, ratio in line.ratios(ours).items()}
            for line in lines
        },
        "aims": {name: {"against": peer, "ratio": aim} for name, (peer, aim) in AIMS.items()},
        "overhead_bytes": sizes,
        "cpus_busy_with_others": [None if busy is None else round(busy, 3) for busy in others],
    }


def main(arguments: list[str] | None = None) -> None:
    """Print the tables and write bench/out/crypto.json."""
    parser = argparse.ArgumentParser(prog="make bench-crypto", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.2, help="of CPU for one figure")
    parser.add_argument("--quick", action="store_true", help="one short round: does it run?")
    parser.add_argument("--only", choices=["kurir"], help="leave the others out")
    parser.add_argument("--out", type=Path, default=OUT, help="where the JSON goes")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds = 1, 0.01
    compared = libraries([] if options.only else PEERS)
    machine = crypto_machine.describe()
    versions = ", ".join(f"{library.name} {library.version}" for library in compared)
    print(f"{versions}; Python {machine['python']} on {machine['cpu']}")
    print(f"{len(CONTENT)}-byte messages, {options.rounds} rounds of {options.seconds} s each")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.out.parent) as folder:
        lines, others = measure(compared, options.rounds, options.seconds, Path(folder))
    sizes = {library.name: crypto_work.overheads(library) for library in compared}
    print(report(lines, sizes, others))
    figures = as_json(compared, lines, sizes, others)
    options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
