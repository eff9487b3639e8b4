"""``python -m bench.million``: a million charges, and whether relay, businesses and auditor come to
the same, month by month and business by business. The exit code says so.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from bench.million.life import Lived, live
from bench.million.plan import Plan
from bench.million.totals import (
    Totals,
    auditor_says,
    businesses_say,
    compare,
    export,
    relay_says,
)
from kurir_billing.tariffs import TARIFFS
from kurir_billing.total import Why

OUT: Final = Path(__file__).parents[1] / "out" / "million.json"
BAR: Final = 30


def main() -> None:
    """Run, print, write the report."""
    parser = argparse.ArgumentParser(prog="make bill-million")
    parser.add_argument("--charges", type=int, default=1_000_000)
    parser.add_argument("--businesses", type=int, default=200)
    parser.add_argument("--seed", default="million")
    parser.add_argument("--folder", type=Path, help="where the database goes (default: temporary)")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.businesses < 5 or options.charges < options.businesses:
        parser.error("at least 5 businesses, one for each tariff, and a charge for each of them")
    plan = Plan(options.charges, options.businesses, options.seed)
    # Millions of records live at once, none in a cycle; looking for some takes several percent.
    gc.disable()
    with tempfile.TemporaryDirectory(prefix="kurir-million-", dir=options.folder) as folder:
        report = run(plan, Path(folder))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    if not report["agree"]:
        sys.exit(1)


def run(plan: Plan, folder: Path) -> dict[str, object]:
    """:returns: what goes into the report; ``agree`` says whether all three totals are equal"""
    began, cpu = time.monotonic(), time.process_time()
    lived = live(plan, folder, progress)
    relay, heads = relay_says(lived, progress)
    business, whys = businesses_say(lived, heads, progress)
    file = folder / "ledger"
    progress("the auditor reads the export", 0)
    export(lived, file)
    lived.store.close()
    auditor, fault = auditor_says(lived, file)
    progress("the auditor reads the export", 1)
    differences = [str(one) for one in compare(relay, business, auditor)]
    if fault is not None:
        differences.append(f"the ledger: {fault}")
    # What a small run is too small for is told, not passed over.
    idle = [why.value for why in Why if not whys[why]]
    tariffs = by_tariff(lived, relay, business, auditor)
    nothing = [name for name in TARIFFS if not any(tariffs.get(name, {}).values())]
    seconds, took = time.monotonic() - began, time.process_time() - cpu
    report: dict[str, object] = {
        "charges": lived.counts["signed"],
        "businesses": plan.businesses,
        "counts": dict(lived.counts),
        "agree": not differences,
        "differences": differences,
        "micro_usd": {
            "relay": sum(relay.values()),
            "business": sum(business.values()),
            "auditor": sum(auditor.values()),
        },
        "tariffs": tariffs,
        "lines": dict(whys),
        "never_met": idle,
        "came_to_nothing": nothing,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(took, 1),
        "cpu_us_per_charge": round(took / lived.counts["signed"] * 1e6, 1),
        "charges_per_cpu_second": round(lived.counts["signed"] / took),
        "cpu_by_party": {name: round(part, 2) for name, part in lived.seconds.items()},
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_024,
    }
    show(report)
    return report


def by_tariff(
    lived: Lived, relay: Totals, business: Totals, auditor: Totals
) -> dict[str, dict[str, int]]:
    """The same three totals, tariff by tariff."""
    found: dict[str, Counter[str]] = {}
    of = {one.id: one.terms.tariff for one in lived.businesses}
    for who, totals in (("relay", relay), ("business", business), ("auditor", auditor)):
        for (business_id, _), amount in totals.items():
            found.setdefault(of[business_id], Counter())[who] += amount  # type: ignore[index]
    return {name: dict(sums) for name, sums in sorted(found.items())}


def show(report: dict[str, object]) -> None:
    """For people."""
    print(f"\n{'micro-USD':20}{'relay':>18}{'business':>18}{'auditor':>18}")
    tariffs, total = report["tariffs"], report["micro_usd"]
    assert isinstance(tariffs, dict)
    for name, sums in (*tariffs.items(), ("all", total)):
        cells = "".join(f"{sums.get(who, 0):>18,}" for who in ("relay", "business", "auditor"))
        print(f"{name:20}{cells}")
    for name in ("counts", "lines", "cpu_by_party"):
        figures = report[name]
        assert isinstance(figures, dict)
        print(f"{name}: " + ", ".join(f"{what} {value:,}" for what, value in figures.items()))
    print(
        f"{report['charges']:,} charges, {report['seconds']} s, of them {report['cpu_seconds']} s "
        f"CPU ({report['cpu_us_per_charge']} µs each), peak memory {report['peak_rss_mib']} MiB"
    )
    differences = report["differences"]
    assert isinstance(differences, list)
    for one in differences:
        print(one)
    for name, what in (("never_met", "no line was"), ("came_to_nothing", "0 = 0 = 0 says little")):
        idle = report[name]
        assert isinstance(idle, list)
        if idle:
            print(f"{what}: {', '.join(idle)}; more charges may mend it")
    print("the three totals agree" if report["agree"] else "THE TOTALS DIFFER")


def progress(what: str, share: float) -> None:
    """A bar on the terminal; nothing where there is none."""
    if sys.stderr.isatty():
        full = round(share * BAR)
        print(f"\r{what:32}[{'#' * full:{BAR}}] {share:4.0%} ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
