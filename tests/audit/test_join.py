"""Whether a relay's database ties a customer's message to its answer closer than whole hours do.

The attempt of :mod:`tests.audit.joins` on some hours of simulated traffic, among candidates that
agree in the hours and counts which the tables have anyway. It must find nothing but what
docs/threat-model.md names, and it must find what is planted.
"""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kurir_server.store.sums import sum_of
from tests.audit.joins import Pair, Tie, shared, ties
from tests.audit.pages import spots
from tests.audit.traffic import pairs_of
from tests.server.rig import rig_in

SEEDS = range(5)
MARKS = ("used_envelopes", "starts", "starts_by_business", "pending", "marks", "leaves")


def lived(folder: Path, seeds: range, **how: Any) -> list[Pair]:
    pairs: list[Pair] = []
    for seed in seeds:
        (place := folder / str(seed)).mkdir()
        with rig_in(place) as rig:
            pairs += pairs_of(rig, seed, **how)
    return pairs


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    return lived(tmp_path_factory.mktemp("lived"), SEEDS)


def is_named(tie: Tie) -> bool:
    """Whether the threat model names it: the overflow pages of bodies lie in the order in which
    they came, and rows of marks in their pages. In marks no mailbox is named: these pairs were put
    together with the relay's key, or by the settled charge. For mailboxes see
    :mod:`tests.audit.test_places`."""
    tree, _, what = tie.answer.rpartition(" ")
    return tie.answer == "envelopes overflow" or (what == "offset" and tree in MARKS)


def found(pairs: list[Pair]) -> set[str]:
    """Columns of answers by which an order of messages is found."""
    return {tie.answer for tie in ties(pairs) if tie.message in ("envelopes.n", "envelopes.place")}


def test_nothing_ties_a_message_to_its_answer_but_what_the_threat_model_names(
    pairs: list[Pair],
) -> None:
    assert len(pairs) > 100 * len(SEEDS)
    tables = {name.partition(".")[0] for pair in pairs for name in pair.answer}
    assert tables > {"mailboxes", "envelopes", "charges", "marks", "starts"}
    assert tables > {"used_envelopes", "leaves", "pending", "sqlite_autoindex_mailboxes_1"}
    assert shared(pairs) == []
    assert [tie for tie in ties(pairs) if not is_named(tie)] == []


def test_a_random_pairing_beats_nothing(pairs: list[Pair]) -> None:
    strata: dict[tuple[object, ...], list[Pair]] = {}
    for pair in pairs:
        strata.setdefault(pair.stratum, []).append(pair)
    draw, mixed = random.Random(5), []
    for stratum, group in strata.items():
        answers = draw.sample([pair.answer for pair in group], len(group))
        mixed += [Pair(stratum, p.message, a) for p, a in zip(group, answers, strict=True)]
    assert ties(mixed) == []


def test_whole_hours_do_tell_hours(pairs: list[Pair]) -> None:
    """So candidates are those of the same hours. Not a promise but a measurement: without that,
    a message and its answer are found to be of one part of the day."""
    by_business = [Pair(pair.stratum[:2], pair.message, pair.answer) for pair in pairs]
    assert "charges.accepted_hour" in found(by_business)


class Numbered:
    """Sums of charges that number them in the order of acceptance."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}

    def sum_of(self, *values: object) -> bytes:
        total = sum_of(*values)
        if not isinstance(values[0], bytes):
            return total
        number = self._numbers.setdefault(values[0], len(self._numbers))
        return total[:4] + (number << 4).to_bytes(3, "big") + total[7:]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What is found where mailboxes are counted, charges too, and a business signs its
    lists in the order of the messages."""
    numbers = count(1)
    with pytest.MonkeyPatch.context() as patch:
        rising = SimpleNamespace(randbits=lambda _: next(numbers))
        patch.setattr("kurir_server.store.mailboxes.secrets", rising)
        numbered = Numbered()
        for module in ("billing", "envelopes"):
            patch.setattr(f"kurir_server.store.{module}.sum_of", numbered.sum_of)
        return found(lived(tmp_path_factory.mktemp("planted"), range(4), in_order=True))


@pytest.mark.parametrize(
    "column", ["mailboxes.row", "mailboxes page", "charges.sum byte 5", "listed.index"]
)
def test_a_planted_order_is_found(planted: set[str], column: str) -> None:
    assert column in planted


def test_bytes_in_common_would_be_found() -> None:
    key = bytes(range(16))
    tied = Pair((), {"id": b"x" + key, "sum": b"y" * 8}, {"hash": b"zz" + key[4:], "n": 7})
    assert shared([tied]) == ["id"]


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """Rows under random and under rising keys; bodies of every third lie in overflow pages."""
    path, draw = tmp_path / "filled.db", random.Random(1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE rising (n INTEGER PRIMARY KEY, id BLOB, body BLOB)")
        connection.execute("CREATE TABLE mixed (id BLOB PRIMARY KEY, body BLOB) WITHOUT ROWID")
        connection.execute("CREATE INDEX by_id ON rising (id)")
        for n in range(600):
            name, body = draw.randbytes(16), bytes([n % 251]) * (9_000 if n % 3 == 0 else 90)
            connection.execute("INSERT INTO rising VALUES (?, ?, ?)", (n, name, body))
            connection.execute("INSERT INTO mixed VALUES (?, ?)", (name, body))
        connection.commit()
    return path


def test_rows_are_found_where_they_lie(filled: Path) -> None:
    places, data = spots(filled), filled.read_bytes()
    with closing(sqlite3.connect(filled)) as connection:
        rows = connection.execute("SELECT id, body FROM rising ORDER BY n").fetchall()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    for tree in ("rising", "mixed", "by_id"):
        assert places[tree].keys() == {name for name, _ in rows}, tree
        for name, body in rows:
            spot = places[tree][name]
            start = (spot.page - 1) * size + spot.offset
            assert name in data[start : start + 40]
            is_long = len(body) > size and tree != "by_id"
            assert bool(spot.overflow) == is_long
            if is_long:
                first = (spot.overflow - 1) * size
                assert data[first + 4 : first + size] == body[: size - 4], (
                    "after the next page's number"
                )
    pages = [places["rising"][name].page for name, _ in rows]
    assert sorted(set(pages)) == list(dict.fromkeys(pages)), "rising keys lie in rising pages"
