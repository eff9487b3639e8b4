"""Every sample through every decoder's promises, and some thousands of changed ones.

This is what fuzzing keeps: the same targets without the fuzzer, the same inputs in every run.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.target import MAX_FILES, VALID, Target
from tests.fuzz.targets import TARGETS

ALL = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
SAMPLES = [
    pytest.param(target, path, id=f"{target.name}-{path.name}")
    for target in TARGETS.values()
    for path in target.corpus()
]
MAX_FOLDER = 100_000


@pytest.mark.parametrize(("target", "path"), SAMPLES)
def test_a_sample_keeps_the_promises(target: Target, path: Path) -> None:
    accepted = target.run(path.read_bytes())
    assert accepted or not path.name.startswith(VALID)


@ALL
def test_changed_samples_keep_the_promises(target: Target) -> None:
    random = Random(zlib.crc32(target.name.encode()))
    samples = [path.read_bytes() for path in target.corpus()]
    for number in range(target.mutations):
        data = random.choice(samples)
        for _ in range(random.choice((1, 1, 2))):
            data = random.choice(target.mutators)(data, random)
        data = data[: target.max_bytes]
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"{target.name}, change {number}: {data.hex()}")
            raise


@ALL
def test_a_corpus_is_small_and_holds_valid_samples(target: Target) -> None:
    files = target.corpus()
    assert any(path.name.startswith(VALID) for path in files)
    assert len(files) <= MAX_FILES
    assert sum(path.stat().st_size for path in files) <= MAX_FOLDER


def test_no_corpus_is_without_a_target() -> None:
    folders = {path.name for path in next(iter(TARGETS.values())).folder.parent.iterdir()}
    assert folders == set(TARGETS)
