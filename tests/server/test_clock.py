"""Relay time never falls; the demo clock is read again when it changes, and said aloud."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from kurir_server.clock import LEAP, MAX_OFFSET, Clock
from kurir_server.errors import ConfigError
from kurir_server.log import COMMON, FIELDS, Event, Level, Log
from kurir_wire.ids import DAY, MINUTE
from tests.server.clocks import Both
from tests.server.rig import START


class Wall:
    """The machine's clock."""

    def __init__(self) -> None:
        self.now = START + 0.9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    made = Wall()
    monkeypatch.setattr("kurir_server.clock.time.time", made)
    return made


def events(text: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.getvalue().splitlines()]


def test_time_stands_still_while_the_machine_is_behind(wall: Wall) -> None:
    text = io.StringIO()
    clock = Clock(Log(text))
    clock.start(0)
    assert clock.moment().now == START, "whole seconds, rounded down"
    wall.now = START - 100
    assert [clock.moment().now for _ in range(3)] == [START] * 3
    wall.now = START + 1
    assert clock.moment().now == START + 1
    wall.now = START
    assert clock.moment().now == START + 1
    said = [event for event in events(text) if event["event"] == "clock-behind"]
    assert [event["seconds"] for event in said] == [100, 1], "once each time"


def test_a_restart_begins_no_earlier_than_the_minute_on_disk(wall: Wall) -> None:
    clock = Clock(Log(io.StringIO()))
    minute = START // MINUTE + 90
    clock.start(minute * MINUTE)
    assert clock.moment().now == minute * MINUTE
    wall.now = START + 90 * MINUTE + 5
    assert clock.moment().now == START + 90 * MINUTE + 5


def test_the_demo_clock(wall: Wall, tmp_path: Path) -> None:
    text, file = io.StringIO(), tmp_path / "clock"
    clock = Clock(Log(text), file)
    clock.start(0)
    assert clock.moment().now == START, "no file yet is no offset"
    file.write_text(f"{DAY}\n")
    assert clock.moment().now == START + DAY
    file.write_text("")  # being rewritten
    assert clock.moment().now == START + DAY
    file.write_text("not a number")
    assert clock.moment().now == START + DAY
    file.write_text(str(MAX_OFFSET + 1))
    assert clock.moment().now == START + DAY
    file.write_text("0")
    assert clock.moment().now == START + DAY, "never back"
    file.unlink()
    assert clock.moment().now == START + DAY
    said = [(event["level"], event["offset"]) for event in events(text) if "offset" in event]
    assert said == [("warning", DAY), ("warning", 0)]


def test_a_demo_clock_that_cannot_be_read_does_not_start(wall: Wall, tmp_path: Path) -> None:
    file = tmp_path / "clock"
    for content in (b"", b"1.5", b"tomorrow", b"\xff", str(MAX_OFFSET + 1).encode()):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match="whole number of seconds"):
            Clock(Log(io.StringIO()), file).start(0)
    file.write_text(str(-DAY))
    clock = Clock(Log(io.StringIO()), file)
    clock.start(0)
    assert clock.moment().now == START - DAY


# Leaps


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Both:
    return Both(monkeypatch)


def test_nothing_ends_by_a_leap_that_is_taken_back(both: Both) -> None:
    text = io.StringIO()
    clock = Clock(Log(text))
    clock.start(START - 60, START - 60)
    assert clock.moment().doubt == 0
    both.wall += 3 * DAY
    for _ in range(3):
        both.go(3_600)
        moment = clock.moment()
        assert moment.now == int(both.wall)
        assert moment.doubt == 3 * DAY
    both.wall -= 3 * DAY
    moment = clock.moment()
    assert moment.now == int(both.wall) + 3 * DAY, "relay time stands still"
    assert moment.sure == int(both.wall)
    both.go(3 * DAY)
    assert (clock.moment().now, clock.moment().doubt) == (int(both.wall), 0)
    said = [(event["event"], event["seconds"]) for event in events(text)]
    assert [name for name, _ in said] == ["clock-ahead", "clock-behind"], "each once"
    assert said[0][1] == 3 * DAY


def test_coming_back_from_a_leap_back_is_no_leap_ahead(both: Both) -> None:
    """Else what is sure would stay three days behind, and no client with a right clock could make
    a mailbox after another leap ahead was taken back."""
    text = io.StringIO()
    clock = Clock(Log(text))
    clock.moment()
    both.wall -= 3 * DAY
    for _ in range(2):
        both.go(3_600)
        assert clock.moment().sure == int(both.wall), "nothing ends by more than the clock says"
    both.wall += 3 * DAY
    assert (clock.moment().sure, clock.moment().doubt) == (int(both.wall), 0)
    both.wall -= 3 * DAY
    both.go(DAY - 1)
    clock.moment()
    both.wall += 6 * DAY
    both.go(10)
    assert clock.moment().doubt == 3 * DAY, "a leap ahead has its own day"
    both.go(DAY - 1)
    assert clock.moment().doubt == 3 * DAY
    assert [event["event"] for event in events(text)] == [
        *("clock-behind", "clock-behind", "clock-ahead")
    ]


def test_a_leap_back_that_stands_for_a_day_is_the_time(both: Both) -> None:
    clock = Clock(Log(io.StringIO()))
    clock.moment()
    both.wall -= 3 * DAY
    clock.moment()
    both.go(DAY)
    clock.moment()
    both.wall += 3 * DAY
    assert clock.moment().doubt == 3 * DAY


def test_a_leap_that_stands_for_a_day_is_the_time(both: Both) -> None:
    clock = Clock(Log(io.StringIO()))
    clock.moment()
    both.wall += 3 * DAY
    clock.moment()
    both.go(DAY - 1)
    assert clock.moment().doubt == 3 * DAY
    both.go(1)
    assert clock.moment().doubt == 0
    both.go(1)
    assert clock.moment().doubt == 0, "and stays so"


def test_what_clocks_differ_by_in_a_day_is_no_leap(both: Both) -> None:
    text = io.StringIO()
    clock = Clock(Log(text))
    clock.moment()
    for _ in range(20):
        both.go(3_600)
        both.wall += LEAP
        assert clock.moment().doubt == 0
    both.wall += LEAP + 1
    assert clock.moment().doubt == LEAP + 1
    assert len(events(text)) == 1


def test_a_restart_knows_what_was_sure(both: Both) -> None:
    before = Clock(Log(io.StringIO()))
    before.start(START, START)
    both.wall += 3 * DAY
    last = before.moment()
    both.go(100)
    after = Clock(Log(io.StringIO()))
    after.start(last.now // MINUTE * MINUTE, last.sure // MINUTE * MINUTE)
    assert after.moment().doubt == 3 * DAY + 100 - START % MINUTE
    both.wall -= 3 * DAY
    assert after.moment().sure == int(both.wall)
    # One that has never run knows nothing, and doubts nothing.
    both.wall += 3 * DAY
    fresh = Clock(Log(io.StringIO()))
    fresh.start(0)
    assert fresh.moment().doubt == 0


def test_a_demo_may_leap(both: Both, tmp_path: Path) -> None:
    file = tmp_path / "clock"
    clock = Clock(Log(io.StringIO()), file)
    clock.start(START, START)
    file.write_text(str(3 * DAY))
    assert (clock.moment().now, clock.moment().doubt) == (START + 3 * DAY, 0)


# The log


def test_the_log_takes_declared_fields_only() -> None:
    log = Log(io.StringIO())
    with pytest.raises(ValueError, match="has the fields"):
        log(Event.READY, listen="x", tls=True, mailbox="y")
    with pytest.raises(ValueError, match="has the fields"):
        log(Event.STARTED)
    assert set(FIELDS) == set(Event)


def test_a_line_is_one_json_object_with_whole_seconds() -> None:
    text = io.StringIO()
    Log(text)(Event.READY, listen="127.0.0.1:1\n{}", tls=False)
    (event,) = events(text)
    assert tuple(event) == (*COMMON, "listen", "tls")
    assert len(event["time"]) == len("2026-01-01T00:00:00Z")


def test_levels() -> None:
    text = io.StringIO()
    log = Log(text, Level.WARNING)
    log(Event.STOPPED)
    log(Event.DEMO_CLOCK, offset=1)
    assert [event["event"] for event in events(text)] == ["demo-clock"]


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "no space")

    Log(Full())(Event.STOPPED)
    closed = io.StringIO()
    closed.close()
    Log(closed)(Event.STOPPED)


def test_faults_are_logged_by_place_and_kind_only() -> None:
    text = io.StringIO()
    log = Log(text)
    try:
        Clock(log, Path("canary-word")).start("canary-word")  # type: ignore[arg-type]
    except TypeError as error:
        log.internal(error)
    (event,) = events(text)
    assert event["kind"] == "TypeError"
    assert event["place"].startswith("kurir_server.clock:")
    assert "canary" not in text.getvalue()


def test_rates_go_on_when_the_demo_clock_goes_back(
    wall: Wall, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steady = Wall()
    monkeypatch.setattr("kurir_server.clock.time.monotonic", steady)
    file = tmp_path / "clock"
    clock = Clock(Log(io.StringIO()), file)
    clock.start(0)
    ticks = [clock.moment().tick]
    for offset in (str(DAY), "0", "-77", str(DAY)):
        file.write_text(offset + "\n" * (len(ticks) % 2))
        steady.now += 5
        ticks.append(clock.moment().tick)
    assert [later - earlier for earlier, later in pairwise(ticks)] == [DAY + 5, 5, 5, 5]
