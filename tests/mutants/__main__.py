"""Mutation testing: change the code in small ways and see that a test notices.

    python -m tests.mutants [PACKAGE ...] [--fresh]

Run by ``make mutants``. Each package is staged under build/mutants and given to mutmut. What no
test noticed is compared with ``tests/mutants.md``, where every such change is listed with the
reason why it does no harm. The exit status is 1 if one is missing there or stands there wrongly.

A run goes on from the last one: a mutant is tested again if its function changed, and a survivor
also if a test did. A killed one stays killed; ``--fresh`` tests everything.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.mutants.results import Mutant, Verdict, forget_survivors, results
from tests.mutants.stage import PACKAGES, ROOT, Package, stage

LIST: Final = ROOT / "tests" / "mutants.md"
ENTRY: Final = "- "
PROCESSES: Final = "2"


def listed(package: Package) -> set[str]:
    """The survivors of a package that the list knows."""
    lines = LIST.read_text(encoding="utf-8").splitlines()
    return {
        line.removeprefix(ENTRY) for line in lines if line.startswith(f"{ENTRY}`{package.name}.")
    }


def run(package: Package, build: Path, fresh: bool) -> list[Mutant]:
    """Stage a package and run mutmut over what is not known yet.

    :raises SystemExit: mutmut could not run; its log says why
    """
    folder = build / package.name
    if fresh:
        shutil.rmtree(folder, ignore_errors=True)
    if stage(package, folder):
        # Which test reaches which function may have changed with either of them.
        (folder / "mutants" / "mutmut-stats.json").unlink(missing_ok=True)
        forget_survivors(folder, package.name)
    mutmut = str(Path(sys.executable).with_name("mutmut"))
    command = [mutmut, "run", "--max-children", PROCESSES]
    with (folder / "mutmut.log").open("wb") as log:
        done = subprocess.run(command, cwd=folder, stdout=log, stderr=log)
    if done.returncode:
        raise SystemExit(f"mutmut failed; see {log.name}")
    return results(folder, package.name)


def report(package: Package, mutants: list[Mutant]) -> bool:
    """Print the numbers and what differs from the list.

    :returns: whether nothing differs
    """
    count = dict.fromkeys(Verdict, 0)
    for mutant in mutants:
        count[mutant.verdict] += 1
    numbers = ", ".join(f"{number} {verdict.value}" for verdict, number in count.items())
    print(f"{package.name}: {len(mutants)} mutants, {numbers}")
    survivors = {str(mutant) for mutant in mutants if mutant.verdict.survives}
    known = listed(package)
    for name in sorted(survivors - known):
        print(f"  no test notices: {name}")
    # The clock is no judge: on another computer the same mutant may be in time to survive.
    late = {str(mutant) for mutant in mutants if mutant.verdict is Verdict.TIMEOUT}
    for name in sorted(known - survivors - late):
        print(f"  listed, but no survivor: {name}")
    return survivors <= known <= survivors | late


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    names = [package.name for package in PACKAGES]
    parser.add_argument("package", nargs="*", choices=[[], *names], help="; ".join(names))
    parser.add_argument("--fresh", action="store_true", help="test killed mutants again, too")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "mutants")
    chosen = parser.parse_args()
    good = [
        report(package, run(package, chosen.build.resolve(), chosen.fresh))
        for package in PACKAGES
        if not chosen.package or package.name in chosen.package
    ]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
