"""Make the vector files from the code: ``python -m tests.vectors.make``.

Frozen files are what a suite id means, so they are not made anew under the same id: a change of
protocol takes a new one (``--new-suite``). Drafts that nobody has seen are deleted by hand first.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from kurir_crypto.suite import CURRENT_SUITE
from tests.vectors import inner, outer
from tests.vectors.cases import FILES
from tests.vectors.record import record
from tests.vectors.values import Json, run

HERE = Path(__file__).parent
CONVERSATION = "conversation"

__all__ = ["inner", "outer"]  # they register their steps


def vectors(name: str) -> Json:
    """The file of that name, without its suite."""
    made = [
        {"what": what, "step": step, "in": given, "out": run(step, given)}
        for what, step, given in FILES[name]()
    ]
    return {"vectors": made}


def main() -> int:
    """Write all files, or none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--new-suite", action="store_true", help="replace those of another suite")
    new_suite = parser.parse_args().new_suite
    for path in HERE.glob("*.json"):
        suite = json.loads(path.read_bytes())["suite"]
        if suite == CURRENT_SUITE or not new_suite:
            print(f"{path.name} is frozen for suite {suite}: nothing was written", file=sys.stderr)
            return 1
    files = {name: vectors(name) for name in FILES} | {CONVERSATION: record()}
    for name, file in files.items():
        text = json.dumps({"suite": CURRENT_SUITE, **file}, indent=1, sort_keys=True)
        (HERE / f"{name}.json").write_text(text + "\n", encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
