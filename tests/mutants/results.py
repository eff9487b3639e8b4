"""What mutmut found, read from the files that it leaves in a staged package."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from tests.mutants.stage import GETTER

SHOWN: Final = 100
"""Characters of a changed line that are shown, around the change."""
NUMBER: Final = re.compile(r"(?<=__mutmut_)(orig|[0-9]+)\b")
LITERAL: Final = re.compile(r"'[^']*'")


class Verdict(Enum):
    """How a mutant ended."""

    KILLED = "killed"
    TIMEOUT = "stopped by the clock"
    SURVIVED = "survived"
    UNTESTED = "in functions without a test"
    PROSE = "survived in texts for people"
    UNDECIDED = "undecided"

    @property
    def survives(self) -> bool:
        """Whether no test noticed."""
        return self not in (Verdict.KILLED, Verdict.TIMEOUT, Verdict.PROSE)


EXITS: Final = {
    0: Verdict.SURVIVED,
    1: Verdict.KILLED,
    3: Verdict.KILLED,  # pytest itself broke
    5: Verdict.UNTESTED,
    33: Verdict.UNTESTED,
    -9: Verdict.TIMEOUT,
    -24: Verdict.TIMEOUT,
    24: Verdict.TIMEOUT,
    36: Verdict.TIMEOUT,
    152: Verdict.TIMEOUT,
    255: Verdict.TIMEOUT,
}
"""mutmut's exit codes; any other is undecided and shown as a survivor."""


@dataclass(frozen=True)
class Mutant:
    """One change: ``function`` is dotted, ``before`` and ``after`` are the lines that differ."""

    function: str
    before: str
    after: str
    verdict: Verdict

    def __str__(self) -> str:
        """The name by which ``tests/mutants.md`` lists it: no line number, and one kind of quote,
        because Python versions differ in which they write."""
        before, after = around(self.before, self.after)
        return f"`{self.function}`: `{before}` → `{after}`".replace('"', "'")


def around(before: str, after: str) -> tuple[str, str]:
    """Cut what is equal on both sides of a long line, but for some words."""
    if max(len(before), len(after)) <= SHOWN:
        return before, after
    start = len(commonprefix(before, after))
    end = len(commonprefix(before[start:][::-1], after[start:][::-1]))
    start, end = max(0, start - SHOWN // 4), max(0, end - SHOWN // 4)
    cut = [("…" if start else "") + text[start : len(text) - end] for text in (before, after)]
    return cut[0] + ("…" if end else ""), cut[1] + ("…" if end else "")


def commonprefix(one: str, other: str) -> str:
    """What both begin with."""
    length = next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )
    return one[:length]


def metas(folder: Path, package: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """mutmut's own record of each mutated module."""
    for path in sorted((folder / "mutants" / package).glob("*.py.meta")):
        yield path, json.loads(path.read_text(encoding="utf-8"))


def forget_survivors(folder: Path, package: str) -> None:
    """Make mutmut test again whatever was not killed."""
    for path, meta in metas(folder, package):
        codes = meta["exit_code_by_key"]
        for key, code in codes.items():
            if EXITS.get(code) is not Verdict.KILLED:
                codes[key] = None
        path.write_text(json.dumps(meta), encoding="utf-8")


def results(folder: Path, package: str) -> list[Mutant]:
    """Every mutant of a package, in the order of the code."""
    found = []
    for path, meta in metas(folder, package):
        module = path.with_suffix("")
        lines = module.read_text(encoding="utf-8").splitlines()
        spans = json.loads(module.with_name(module.name + ".spans").read_text())["spans"]
        code = {name: lines[first - 1 : last] for name, (first, last) in spans.items()}
        for key, exit_code in meta["exit_code_by_key"].items():
            name = key.rpartition(".")[2]
            mangled = name.rpartition("__mutmut_")[0]
            before, after = change(code[f"{mangled}__mutmut_orig"], code[name])
            verdict = EXITS.get(exit_code, Verdict.UNDECIDED)
            if verdict.survives and only_prose(before, after):
                verdict = Verdict.PROSE
            function = f"{package}.{module.stem}.{plain_name(mangled)}"
            found.append(Mutant(function, before, after, verdict))
    return found


def plain_name(mangled: str) -> str:
    """``x_f`` and ``xǁClassǁf`` as a programmer writes them."""
    name = mangled.removesuffix(GETTER)
    if name.startswith("xǁ"):
        return name.removeprefix("xǁ").replace("ǁ", ".")
    return name.removeprefix("x_")


def change(original: list[str], mutant: list[str]) -> tuple[str, str]:
    """The lines that differ, on either side, in one."""
    gone, come = [], []
    one, other = ([NUMBER.sub("", line) for line in code] for code in (original, mutant))
    for line in difflib.ndiff(one, other):
        if line.startswith("- "):
            gone.append(line[2:].strip())
        elif line.startswith("+ "):
            come.append(line[2:].strip())
    return " ".join(gone), " ".join(come)


def only_prose(before: str, after: str) -> bool:
    """Whether nothing changed but a text for people: a literal with a blank in it."""
    for found in LITERAL.finditer(before):
        text = found[0]
        inner = text[1:-1]
        changes = ("None", f"'XX{inner}XX'", text.lower(), text.upper())
        for changed in changes if " " in text else ():
            if before[: found.start()] + changed + before[found.end() :] == after:
                return True
    return False
