"""Twenty kills of whoever comes: the short form of ``make soak``. And that it would notice."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.e2e.world import Person, Relay
from tests.faults.actor import NOBODY
from tests.faults.soak import Actor, Plan, check_shown, main, run


def test_twenty_kills(tmp_path: Path) -> None:
    run(
        Plan(cycles=20, messages=480, seed=20_261_121),
        tmp_path,
        lambda line: print(line, file=sys.stderr),
    )


Shown = list[tuple[int, str, str]]
"""Row, sender and text of each."""
EXPECTED = {"ani": ["ani 0", "ani 1", "ani 2"], "budi": ["budi 0"]}
GOOD: Shown = [
    (1, "ani", "ani 0"),
    (2, NOBODY, "budi is here"),
    (3, "budi", "budi 0"),
    (4, "ani", "ani 1"),
    (5, NOBODY, "budi is here"),
    (6, "ani", "ani 2"),
]


def reader(folder: Path, shown: Shown, starts: int = 2) -> Actor:
    """One that has shown this."""
    log = folder / "reader.log"
    log.write_text("".join(json.dumps(["shown", *note]) + "\n" for note in shown))
    return Actor(Person(folder, Relay(folder)), "reader", log, starts=starts)


@pytest.mark.parametrize(
    "shown",
    [
        GOOD,
        sorted(GOOD, key=lambda note: note[1]),  # between senders there is no order
        [*GOOD[:4], GOOD[3], *GOOD[4:]],
        [GOOD[1], *GOOD[:1], *GOOD[2:]],
        [*GOOD, GOOD[5]],
    ],
)
def test_what_was_shown_in_order(tmp_path: Path, shown: Shown) -> None:
    check_shown(reader(tmp_path, shown), EXPECTED)


@pytest.mark.parametrize(
    "shown",
    [
        GOOD[::-1],
        [*GOOD[:3], GOOD[5], GOOD[4], GOOD[3]],
        GOOD[:5],
        GOOD[1:],
        [note for note in GOOD if note[1] != "budi"],
        [*GOOD, GOOD[0]],
        [*GOOD, (7, "ani", "ani 2")],
        [*GOOD, (7, "ani", "ani 3")],
        [*GOOD, (7, "citra", "citra 0")],
        [*GOOD, GOOD[1]],
        [GOOD[0], *GOOD, GOOD[5]],  # one start more than the first: one repeat
        [],
    ],
)
def test_what_was_not_shown_in_order_once(tmp_path: Path, shown: Shown) -> None:
    with pytest.raises(AssertionError):
        check_shown(reader(tmp_path, shown), EXPECTED)


@pytest.mark.parametrize("option", ["--cycles", "--messages"])
@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_soak_of_nothing_is_refused(
    option: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["soak", f"{option}={value}"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"argument {option}: {value} is not a number from 1 up" in capsys.readouterr().err
