"""Inputs through a target, without the fuzzer: ``python -m tests.fuzz.replay TARGET FILE ...``."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS


def main() -> None:
    target = TARGETS[sys.argv[1]]
    for name in sys.argv[2:]:
        accepted = target.run(Path(name).read_bytes())
        print(f"{name}: {'accepted' if accepted else 'refused'}")


if __name__ == "__main__":
    main()
