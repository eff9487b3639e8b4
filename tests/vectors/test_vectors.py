"""The frozen vectors: what suite 2 is. A change that fails here takes a new suite id."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Final

import pytest

from kurir_crypto.suite import CURRENT_SUITE
from tests.vectors import inner, outer
from tests.vectors.conversation import replay
from tests.vectors.values import STEPS, Json, run

HERE: Final = Path(__file__).parent
NAMES: Final = ("keys", "handshake", "ratchet", "messages", "sealing", "other")
FILES: Final[dict[str, Json]] = {
    path.stem: json.loads(path.read_bytes()) for path in HERE.glob("*.json")
}
MAX_BYTES: Final = 400_000

FROZEN: Final = {2: "b4320641652b6381c41be4b708af182fe53d5e6087b04bdb1768e9225072c8c6"}
"""SHA-256 over that of each file, in order of name, by suite id. A line is added, never changed."""

__all__ = ["inner", "outer"]  # they register their steps


def _vectors() -> list[Any]:
    return [
        pytest.param(vector, id=f"{name}-{number}-{vector['step']}")
        for name in NAMES
        for number, vector in enumerate(FILES.get(name, {"vectors": []})["vectors"])
    ]


def test_the_files_are_there_and_small() -> None:
    assert set(FILES) == {*NAMES, "conversation"}
    assert sum(path.stat().st_size for path in HERE.glob("*.json")) < MAX_BYTES


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_is_of_the_current_suite(name: str) -> None:
    assert FILES[name]["suite"] == CURRENT_SUITE


def test_the_vectors_of_a_suite_do_not_change() -> None:
    """Other vectors are another protocol, which takes another suite id."""
    paths = sorted(HERE.glob("*.json"))
    hashes = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in paths)
    assert hashlib.sha256(hashes).hexdigest() == FROZEN[CURRENT_SUITE]


@pytest.mark.parametrize("vector", _vectors())
def test_the_code_gives_the_frozen_output(vector: Json) -> None:
    assert run(vector["step"], vector["in"]) == vector["out"]


def test_every_step_has_a_vector() -> None:
    used = {vector["step"] for name in NAMES for vector in FILES[name]["vectors"]}
    assert used == set(STEPS)


@pytest.mark.parametrize("device", ["a", "b"])
def test_either_device_plays_its_side_of_the_conversation(device: str) -> None:
    replay(FILES["conversation"], device)


def test_the_conversation_has_what_it_is_for() -> None:
    conversation = FILES["conversation"]
    envelopes, events = conversation["envelopes"], conversation["events"]
    opened = [int(event.split()[2]) for event in events if " opens " in event]
    for sender in ("a", "b"):
        epochs = {e["epoch"] for e in envelopes if e["from"] == sender}
        assert epochs >= {0, 1, 2, 3}
    to_a = [number for number in opened if envelopes[number]["to"] == "a"]
    assert to_a != sorted(to_a), "none comes out of order"
    assert len(opened) == len(set(opened)) < len(envelopes), "none is lost"
    late = [envelopes[number]["epoch"] for number in to_a]
    assert late != sorted(late), "none comes from a former epoch"
    assert {e["slots"] for e in envelopes} == {1, 4}
    assert {e["into"] for e in envelopes} == {"address", "mailbox"}
    assert len({e["week"] for e in envelopes}) > 2
