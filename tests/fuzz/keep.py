"""Take over what a run has found: ``python -m tests.fuzz.keep [TARGET ...]``.

Of the new inputs in build/fuzz those go into the corpus that reach steps from line to line which no
sample reaches yet, the shortest first, up to what a corpus may hold.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

from tests.fuzz.run import SCRATCH
from tests.fuzz.target import MAX_FILES, Target
from tests.fuzz.targets import TARGETS

MAX_INPUT: Final = 4_096

Step = tuple[str, int, int]


def steps(target: Target, data: bytes) -> set[Step]:
    """The steps from line to line in kurir's modules."""
    found: set[Step] = set()

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if "/kurir_" not in name:
            return None
        last = frame.f_lineno

        def step(frame: FrameType, event: str, argument: Any) -> Any:
            nonlocal last
            found.add((name, last, frame.f_lineno))
            last = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        target.run(data)
    finally:
        sys.settrace(None)
    return found


def keep(target: Target, fresh: Path) -> int:
    """Returns how many inputs were taken over."""
    files = target.corpus()
    seen = set().union(*(steps(target, file.read_bytes()) for file in files))
    room = MAX_FILES - len(files)
    kept = 0
    for file in sorted(fresh.iterdir(), key=lambda one: (one.stat().st_size, one.name)):
        data = file.read_bytes()
        if kept == room or len(data) > MAX_INPUT:
            break
        new = steps(target, data) - seen
        if new:
            seen |= new
            kept += 1
            (target.folder / f"found-{hashlib.sha256(data).hexdigest()[:8]}").write_bytes(data)
    return kept


def main() -> None:
    for name in sys.argv[1:] or TARGETS:
        fresh = SCRATCH / name / "corpus"
        if fresh.is_dir():
            print(f"{name}: {keep(TARGETS[name], fresh)} taken over")


if __name__ == "__main__":
    main()
