"""Twenty kills of whoever comes: the short form of ``make soak``."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faults.soak import Plan, run


def test_twenty_kills(tmp_path: Path) -> None:
    run(
        Plan(cycles=20, messages=480, seed=20_261_121),
        tmp_path,
        lambda line: print(line, file=sys.stderr),
    )
