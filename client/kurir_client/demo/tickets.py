"""What the bus company's bot says: a pure state machine, one answer for each message.

:func:`answer` takes where a customer stands and what they wrote, and returns where they stand then
and the reply. It knows nothing of networks, clocks or files.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

DEPARTURES: Final = ("06.40", "09.15", "13.30", "18.05")
ROWS: Final = 5
COLUMNS: Final = "ABCD"
AISLE_AFTER: Final = "B"
MAX_REPEATED: Final = 50_000
"""Bytes of a customer's line that are repeated to them; the answer has to fit 60,000."""

_BOOKED: Final = {
    "06.40": frozenset({"1A", "1B", "2B", "3C", "4A", "4D"}),
    "09.15": frozenset({"1C", "2A", "2D", "3A", "3B", "5C", "5D"}),
    "13.30": frozenset({"1D", "3B", "4C"}),
    "18.05": frozenset({"1A", "1B", "1C", "1D", "2A", "2C", "3D", "4B", "4C", "5A"}),
}
"""Seats that are gone before anybody writes."""

_GREETINGS: Final = frozenset({"hello", "hi", "hey", "halo", "hai", "start", "good", "selamat"})
_THANKS: Final = frozenset({"thanks", "thank", "thx", "terima", "makasih"})
_MORE: Final = frozenset({"again", "another", "new"})
_TIME: Final = re.compile(r"(?<!\d)(\d{1,2})[.:h](\d{2})(?!\d)")
_SEAT: Final = re.compile(rf"(?<!\w)([1-{ROWS}]) ?([{COLUMNS}])(?!\w)", re.IGNORECASE | re.ASCII)


class Step(StrEnum):
    """What a customer is asked for next."""

    TIME = "time"
    SEAT = "seat"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Talk:
    """Where one customer stands."""

    step: Step = Step.TIME
    departure: str = ""
    seat: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """Where the customer stands now, and what they are told."""

    talk: Talk
    text: str


def answer(
    talk: Talk, text: str, name: str, sold: frozenset[tuple[str, str]], new_code: Callable[[], str]
) -> Reply:
    """One message of a customer, and its one answer.

    :param name: of the customer
    :param sold: departure and seat of every ticket that a customer of this bot holds
    :param new_code: makes the code of a ticket
    """
    words = re.findall(r"\w+", text.lower()[:200])
    first = words[0] if words else ""
    if first == "help":
        return Reply(talk, f"I sell bus tickets, Bandung to Jakarta. {_choices(talk, sold)}")
    if first == "cancel":
        return _cancelled(talk, sold)
    if first in _THANKS:
        return Reply(talk, f"You are welcome, {name}. {_choices(talk, sold)}")
    match talk.step:
        case Step.TIME:
            chosen = _departure(text)
            if chosen:
                return _ask_seat(Talk(Step.SEAT, chosen), sold)
            if first in _GREETINGS:
                return Reply(talk, f"Good day, {name}! This is Metro Bus. {_choices(talk, sold)}")
        case Step.SEAT:
            other = _departure(text) if _TIME.search(text) else None
            if other:
                return _ask_seat(Talk(Step.SEAT, other), sold)
            if found := _SEAT.search(text):
                return _take(talk, (found[1] + found[2]).upper(), name, sold, new_code)
        case Step.DONE:
            if first in _MORE:
                fresh = Talk()
                return Reply(fresh, f"With pleasure. {_choices(fresh, sold)}")
            if "ticket" in words:
                return Reply(talk, _ticket(talk, name))
    return Reply(talk, f"I did not understand “{_shortened(text)}”. {_choices(talk, sold)}")


def reminder(talk: Talk, name: str) -> str:
    """What a customer is told a day later."""
    if talk.step is Step.DONE:
        return (
            f"{name}, a reminder: your bus to Jakarta leaves at {talk.departure}.\n"
            f"Seat {talk.seat}, ticket {talk.code}. We look forward to seeing you on board."
        )
    return f"{name}, you had not finished: shall we still find you a seat to Jakarta? Just answer."


def seat_map(departure: str, sold: frozenset[tuple[str, str]]) -> str:
    """The bus from above."""
    gone = _gone(departure, sold)
    gap = "   "
    head = "      " + "".join(
        column + (gap if column == AISLE_AFTER else "  ") for column in COLUMNS
    )
    lines = [head.rstrip()]
    for row in range(1, ROWS + 1):
        line = f"  {row}   "
        for column in COLUMNS:
            mark = "×" if f"{row}{column}" in gone else "○"
            line += mark + (gap if column == AISLE_AFTER else "  ")
        lines.append(line.rstrip())
    return "\n".join(lines)


def _choices(talk: Talk, sold: frozenset[tuple[str, str]]) -> str:
    """What can be answered now."""
    match talk.step:
        case Step.TIME:
            times = "\n".join(f"  {n}  {time}" for n, time in enumerate(DEPARTURES, 1))
            return (
                "When would you like to leave for Jakarta?\n"
                f"{times}\n"
                "Answer with a number or a time."
            )
        case Step.SEAT:
            return (
                f"Which seat on the {talk.departure}? (× is taken)\n"
                f"{seat_map(talk.departure, sold)}\n"
                "Answer with a seat such as 5B, another time, or cancel."
            )
        case Step.DONE:
            return (
                "Write ticket to see your ticket, again for another one, or cancel to give it back."
            )


def _ask_seat(talk: Talk, sold: frozenset[tuple[str, str]]) -> Reply:
    if len(_gone(talk.departure, sold)) == ROWS * len(COLUMNS):
        start = Talk()
        return Reply(start, f"The {talk.departure} is full, sorry. {_choices(start, sold)}")
    return Reply(talk, _choices(talk, sold))


def _take(
    talk: Talk,
    seat: str,
    name: str,
    sold: frozenset[tuple[str, str]],
    new_code: Callable[[], str],
) -> Reply:
    if seat in _gone(talk.departure, sold):
        return Reply(talk, f"Seat {seat} is taken already. {_choices(talk, sold)}")
    done = replace(talk, step=Step.DONE, seat=seat, code=new_code())
    return Reply(done, f"{_ticket(done, name)}\n{_choices(done, sold)}")


def _cancelled(talk: Talk, sold: frozenset[tuple[str, str]]) -> Reply:
    start = Talk()
    if talk.step is Step.DONE:
        told = f"Ticket {talk.code} is given back, and seat {talk.seat} is free again."
        sold = sold - {(talk.departure, talk.seat)}
    else:
        told = "Nothing is booked."
    return Reply(start, f"{told} {_choices(start, sold)}")


def _ticket(talk: Talk, name: str) -> str:
    return (
        f"Your ticket, {name}:\n"
        f"  Metro Bus   Bandung – Jakarta\n"
        f"  leaves {talk.departure}   seat {talk.seat}\n"
        f"  code {talk.code}"
    )


def _departure(text: str) -> str | None:
    """A departure by its number or its time."""
    bare = text.strip().rstrip(".!")
    if len(bare) == 1 and bare in "1234"[: len(DEPARTURES)]:
        return DEPARTURES[int(bare) - 1]
    if found := _TIME.search(text):
        time = f"{int(found[1]):02}.{found[2]}"
        return time if time in DEPARTURES else None
    return None


def _gone(departure: str, sold: frozenset[tuple[str, str]]) -> frozenset[str]:
    return _BOOKED[departure] | {seat for time, seat in sold if time == departure}


def _shortened(text: str) -> str:
    """The whole line, unless the answer would not fit a message."""
    data = text.encode()
    if len(data) <= MAX_REPEATED:
        return text
    return data[:MAX_REPEATED].decode(errors="ignore") + "…"
