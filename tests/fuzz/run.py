"""Fuzz all targets for a while: ``python -m tests.fuzz.run [--seconds N] [TARGET ...]``.

Each target runs in a process of its own and starts from its corpus; what it finds that is new lies
in ``build/fuzz/TARGET/corpus``. A failure ends its target, and the report says how to see it again.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

SCRATCH: Final = Path("build/fuzz")
SECONDS_PER_INPUT: Final = 20
"""The worst input that limits allow takes half a second without instrumentation."""
MEMORY_MIB: Final = 1_024
"""A frame may be one MiB, and becomes some 80 MiB of Python objects."""
GRACE: Final = 120
"""Seconds for starting, and for the last input."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came of one target. ``coverage`` and ``features`` are libFuzzer's counts."""

    name: str
    code: int
    runs: int
    coverage: int
    features: int
    new: int
    failures: list[Path]
    log: Path

    def __str__(self) -> str:
        text = (
            f"{self.name:14} {self.runs:>10,} runs {self.coverage:>6} edges "
            f"{self.features:>6} features {self.new:>5} new inputs"
        )
        if not self.failures and self.code:
            text += f"\n  FAILED, code {self.code}: see {self.log}"
        for failure in self.failures:
            text += f"\n  FAILED: {sys.executable} -m tests.fuzz.replay {self.name} {failure}"
        return text


def fuzz(target: Target, seconds: int, seed: int | None) -> Report:
    """Fuzz one target."""
    scratch = SCRATCH / target.name
    corpus = scratch / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    before = len(list(corpus.iterdir()))
    seen = set(scratch.iterdir())
    log = scratch / "log"
    arguments = [
        f"-max_total_time={seconds}",
        f"-timeout={SECONDS_PER_INPUT}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-artifact_prefix={scratch}/",
        "-print_final_stats=1",
        *([] if seed is None else [f"-seed={seed}"]),
        *_dictionary(target, scratch),
    ]
    command = [
        sys.executable, "-m", "tests.fuzz.drive", target.name,
        str(corpus), str(target.folder), *arguments,
    ]  # fmt: skip
    with log.open("wb") as out:
        try:
            code = subprocess.run(
                command, stdout=out, stderr=subprocess.STDOUT, timeout=seconds + GRACE, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            code = 1
    text = log.read_text(errors="replace")
    return Report(
        target.name,
        code,
        _last(r"number_of_executed_units: (\d+)", text) or _last(r"(?m)^#(\d+)", text),
        _last(r"cov: (\d+)", text),
        _last(r"ft: (\d+)", text),
        len(list(corpus.iterdir())) - before,
        sorted(path for path in set(scratch.iterdir()) - seen if "-" in path.name),
        log,
    )


def _dictionary(target: Target, scratch: Path) -> list[str]:
    if not target.words:
        return []
    lines = ['"' + "".join(f"\\x{byte:02x}" for byte in word) + '"' for word in target.words]
    file = scratch / "words"
    file.write_text("\n".join(lines) + "\n")
    return [f"-dict={file}"]


def _last(pattern: str, text: str) -> int:
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.fuzz.run", description="Fuzz the decoders.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("--jobs", type=int, default=2, help="targets at once")
    parser.add_argument("--seed", type=int, help="libFuzzer's; at random without it")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"there is no target {sorted(unknown)[0]!r}")
    chosen = [TARGETS[name] for name in options.targets or TARGETS]
    failed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for report in pool.map(lambda one: fuzz(one, options.seconds, options.seed), chosen):
            print(report, flush=True)
            failed += report.code != 0
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
