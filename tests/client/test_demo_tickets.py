"""The bus company's bot: every message gets one answer, and a seat is sold once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir_client.demo.tickets import DEPARTURES, Step, Talk, answer, reminder, seat_map

NOBODY: frozenset[tuple[str, str]] = frozenset()


def say(talk: Talk, text: str, sold: frozenset[tuple[str, str]] = NOBODY) -> tuple[Talk, str]:
    reply = answer(talk, text, "Ayu", sold, lambda: "MB-TEST-CODE")
    return reply.talk, reply.text


def test_time_seat_ticket() -> None:
    talk, text = say(Talk(), "Hello")
    assert all(time in text for time in DEPARTURES)
    talk, text = say(talk, "the 06.40 please")
    assert talk.step is Step.SEAT
    assert seat_map("06.40", NOBODY) in text
    talk, text = say(talk, "2b")
    assert "Seat 2B is taken already" in text
    talk, text = say(talk, "3A, by the window")
    assert (talk.step, talk.seat, talk.code) == (Step.DONE, "3A", "MB-TEST-CODE")
    assert "code MB-TEST-CODE" in text
    assert "MB-TEST-CODE" in reminder(talk, "Ayu")


def test_a_seat_that_somebody_holds_is_not_sold_again() -> None:
    talk, _ = say(Talk(), "1")
    taken = frozenset({("06.40", "3A")})
    assert "Seat 3A is taken already" in say(talk, "3A", taken)[1]
    assert say(talk, "3A")[0].seat == "3A"


@pytest.mark.parametrize("step", list(Step))
def test_what_it_does_not_understand_is_repeated_with_the_choices(step: Step) -> None:
    talk = Talk(step, "06.40", "3A", "MB-TEST-CODE")
    after, text = say(talk, "perkara lain")
    assert after == talk
    assert "“perkara lain”" in text
    assert text.splitlines()[-1] != "“perkara lain”"


def test_cancel_gives_the_seat_back() -> None:
    talk = Talk(Step.DONE, "06.40", "3A", "MB-TEST-CODE")
    after, text = say(talk, "cancel", frozenset({("06.40", "3A")}))
    assert after == Talk()
    assert "free again" in text


@given(st.lists(st.text(max_size=80), max_size=12))
def test_any_conversation_gets_an_answer_that_fits_a_message(lines: list[str]) -> None:
    talk = Talk()
    for line in lines:
        talk, text = say(talk, line)
        assert 0 < len(text.encode()) <= 60_000


def test_a_very_long_line_is_shortened() -> None:
    _, text = say(Talk(), "ä" * 59_000)
    assert len(text.encode()) <= 60_000
