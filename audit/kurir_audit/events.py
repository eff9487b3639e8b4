"""A plain list of messaging events, as ``kurir-audit bill`` reads it: one JSON object a line.

Source: docs/billing.md, "Replay". A file is taken whole or not at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, structs

from kurir_audit.capture import reason
from kurir_audit.errors import EvidenceFileError

LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999: later seconds belong to no month that has a name."""

Name = Annotated[str, Meta(min_length=1, max_length=256)] | int
Second = Annotated[int, Meta(ge=0, le=LAST_SECOND)]
Country = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{2,8}\Z")]


class Event(Struct, tag_field="k", forbid_unknown_fields=True, gc=False):
    """``rank``: of events in the same second, the lower one happened first. Deliveries have none:
    they come last, and are looked up by id."""

    rank: ClassVar[int]
    t: Second


class Wrote(Event, tag="in", gc=False):
    """The customer wrote; ``ref``: by an entry link."""

    rank = 0
    id: Name
    biz: Name
    usr: Name
    ref: bool = False


class Unblocked(Event, tag="unblock", gc=False):
    """The customer takes messages of the business again."""

    rank = 1
    biz: Name
    usr: Name


class Blocked(Event, tag="block", gc=False):
    """The customer takes no more messages of the business."""

    rank = 2
    biz: Name
    usr: Name


class Sent(Event, tag="out", gc=False):
    """The business sent a message. ``cls``: its category."""

    rank = 3
    id: Name
    biz: Name
    usr: Name
    cc: Country
    cls: Literal["service", "utility", "marketing", "authentication"] | None = None


class Delivered(Event, tag="dlv", gc=False):
    """The customer's device settled the message."""

    id: Name


@dataclass(frozen=True, slots=True)
class Events:
    """What happened, each thing once: by id, and the blocks as they came."""

    wrote: dict[Name, Wrote] = field(default_factory=dict)
    sent: dict[Name, Sent] = field(default_factory=dict)
    delivered: dict[Name, Delivered] = field(default_factory=dict)
    blocks: list[Blocked | Unblocked] = field(default_factory=list)

    def timeline(self) -> list[Wrote | Unblocked | Blocked | Sent]:
        """All but the deliveries, in order of time."""
        happened = [*self.wrote.values(), *self.blocks, *self.sent.values()]
        happened.sort(key=lambda event: event.t * 8 + event.rank)
        return happened


def read_events(file: Path, *, asks_category: bool) -> Events:
    """Read a file of events.

    :param asks_category: messages must have a category
    :raises EvidenceFileError: it cannot be read, or the first line that is not an event
    """
    try:
        with file.open("rb") as lines:
            return _parse(lines, file.name, asks_category)
    except OSError as error:
        raise EvidenceFileError(f"cannot read {file}: {reason(error)}") from error


def _parse(lines: Iterable[bytes], name: str, asks_category: bool) -> Events:
    decoder = msgspec.json.Decoder(Wrote | Sent | Delivered | Blocked | Unblocked)
    events = Events()
    names: dict[Name, Name] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = decoder.decode(line)
            if not isinstance(event, Delivered):
                # One string for each name, however many lines it stands in.
                event.biz = names.setdefault(event.biz, event.biz)
                event.usr = names.setdefault(event.usr, event.usr)
            _add(events, event, asks_category)
        except (msgspec.MsgspecError, UnicodeError, _ConflictError) as error:
            raise EvidenceFileError(
                f"{name}, line {number}: {_shown(error)}",
                "nothing was priced; the form of each line is in docs/billing.md, Replay",
            ) from error
    return events


class _ConflictError(ValueError):
    """the line has its form, and does not fit the others or the tariff"""


def _add(
    events: Events, event: Wrote | Sent | Delivered | Blocked | Unblocked, asks_category: bool
) -> None:
    match event:
        case Wrote():
            _add_once(events.wrote, event)
        case Sent():
            if asks_category and event.cls is None:
                raise _ConflictError("this tariff needs the category of each message, as cls")
            _add_once(events.sent, event)
        case Delivered():
            _add_once(events.delivered, event)
        case _:
            events.blocks.append(event)


OnceT = TypeVar("OnceT", Wrote, Sent, Delivered)


def _add_once(known: dict[Name, OnceT], event: OnceT) -> None:
    """Of several lines with the same id the earliest counts.

    :raises _ConflictError: they say different things about it
    """
    before = known.setdefault(event.id, event)
    if before is event:
        return
    if structs.replace(before, t=event.t) != event:
        raise _ConflictError("an earlier line has the same k and id, and differs in more than t")
    if event.t < before.t:
        known[event.id] = event


def _shown(error: Exception) -> str:
    """The error as one line that a terminal can show."""
    is_json = isinstance(error, msgspec.ValidationError | _ConflictError)
    text = str(error)
    if not is_json or not text.isprintable() or len(text) > 200:
        return "is not JSON of the form that an event has"
    return text[:1].lower() + text[1:]
