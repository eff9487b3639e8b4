"""``python -m tests.frauds``: all cases, and a table of what became of them."""

from __future__ import annotations

import re
import sys
from collections import Counter
from random import Random

from tests.frauds.registry import KINDS
from tests.frauds.test_thousand import MODULES


def main() -> None:
    """Exits with 1 if one fraud was not caught, or named as another."""
    assert MODULES, "which fill the table"
    injected = right = 0
    print(f"{'kind':52}{'injected':>9}{'caught':>8}{'named':>7}  as")
    for name, (kind, cases) in KINDS.items():
        done = [kind(Random(f"{name} {seed}")) for seed in range(cases)]
        caught = sum(one.found is not None for one in done)
        named = sum(one.found == one.where for one in done)
        words = Counter(re.sub(r"[0-9]+$", "n", one.found or "nothing") for one in done)
        print(f"{name:52}{cases:>9}{caught:>8}{named:>7}  {', '.join(words)[:90]}")
        injected, right = injected + cases, right + named
    print(f"{injected:,} injected, {right:,} caught and named")
    sys.exit(injected != right)


if __name__ == "__main__":
    main()
