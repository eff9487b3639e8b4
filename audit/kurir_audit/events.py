"""A plain list of messaging events, as ``kurir-audit bill`` reads it: one JSON object a line.

Source: docs/billing.md, "Replay". A file is taken whole or not at all.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from kurir_audit.capture import reason
from kurir_audit.errors import EvidenceFileError

LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999: later seconds belong to no month that has a name."""

Name = Annotated[str, Meta(min_length=1, max_length=256)] | int
Second = Annotated[int, Meta(ge=0, le=LAST_SECOND)]
Country = Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{2,8}\Z")]


class Event(Struct, tag_field="k", forbid_unknown_fields=True, gc=False):
    """``rank``: of events in the same second, the lower one happened first. ``idle``: fields of
    other events, which mean nothing here."""

    rank: ClassVar[int]
    idle: ClassVar[frozenset[str]]
    t: Second


class Wrote(Event, tag="in", gc=False):
    """The customer wrote; ``ref``: by an entry link."""

    rank = 0
    idle = frozenset({"cc", "cls"})
    id: Name
    biz: Name
    usr: Name
    ref: bool = False


class Unblocked(Event, tag="unblock", gc=False):
    """The customer takes messages of the business again."""

    rank = 1
    idle = frozenset({"id"})
    biz: Name
    usr: Name


class Blocked(Event, tag="block", gc=False):
    """The customer takes no more messages of the business."""

    rank = 2
    idle = frozenset({"id"})
    biz: Name
    usr: Name


class Sent(Event, tag="out", gc=False):
    """The business sent a message. ``cls``: its category."""

    rank = 3
    idle = frozenset({"ref"})
    id: Name
    biz: Name
    usr: Name
    cc: Country
    cls: Literal["service", "utility", "marketing", "authentication"] | None = None


class Delivered(Event, tag="dlv", gc=False):
    """The customer's device settled the message."""

    rank = 4
    idle = frozenset({"biz", "usr", "cc", "cls"})
    id: Name


AnyEvent = Wrote | Unblocked | Blocked | Sent | Delivered

_KINDS: Final[dict[str, type[AnyEvent]]] = {
    str(kind.__struct_config__.tag): kind for kind in get_args(AnyEvent)
}


def read_events(file: Path, *, asks_category: bool) -> list[AnyEvent]:
    """Read a file of events.

    :param asks_category: messages must have a category
    :returns: what happened, in order of time; of lines with the same id only the earliest
    :raises EvidenceFileError: it cannot be read, it has a line that is not an event (the first is
        named), or lines that contradict each other
    """
    try:
        with file.open("rb") as lines:
            return _parse(lines, file.name, asks_category)
    except OSError as error:
        raise EvidenceFileError(f"cannot read {file}: {reason(error)}") from error


class _First(Struct, gc=False):
    """The earliest line of an id so far. ``line``: its number; ``other``: that of one in the same
    second that differs."""

    event: Wrote | Sent
    line: int
    other: int | None = None


class _NoCategoryError(ValueError):
    """A message has no category."""

    def __init__(self) -> None:
        super().__init__("this tariff needs the category of each message, as cls")


def _parse(lines: Iterable[bytes], name: str, asks_category: bool) -> list[AnyEvent]:
    decoder = msgspec.json.Decoder(AnyEvent)
    wrote: dict[Name, _First] = {}
    sent: dict[Name, _First] = {}
    events: list[AnyEvent] = []
    names: dict[Name, Name] = {}
    for number, raw in enumerate(lines, 1):
        line = raw.removeprefix(BOM_UTF8) if number == 1 else raw
        if not line.strip():
            continue
        try:
            event = _decoded(line, decoder)
            if not isinstance(event, Delivered):
                # One string for each name, however many lines it stands in.
                event.biz = names.setdefault(event.biz, event.biz)
                event.usr = names.setdefault(event.usr, event.usr)
            match event:
                case Wrote():
                    _add_once(wrote, event, number)
                case Sent():
                    if asks_category and event.cls is None:
                        raise _NoCategoryError
                    _add_once(sent, event, number)
                case _:
                    events.append(event)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, _NoCategoryError) as error:
            raise _broken(f"{name}, line {number}: {_shown(error)}") from error
    firsts = [*wrote.values(), *sent.values()]
    clashes = [(first.other, first.line) for first in firsts if first.other is not None]
    if clashes:
        other, before = min(clashes)
        what = "have the same k, id and t, and differ in the rest"
        raise _broken(f"{name}, lines {before} and {other}: {what}")
    events += (first.event for first in firsts)
    events.sort(key=lambda event: event.t * 8 + event.rank)
    return events


def _decoded(line: bytes, decoder: msgspec.json.Decoder[AnyEvent]) -> AnyEvent:
    """:raises msgspec.MsgspecError: not an event
    :raises RecursionError: nested too deeply
    """
    try:
        return decoder.decode(line)
    except msgspec.ValidationError:
        row = msgspec.json.decode(line)
        kind = _KINDS.get(str(row.get("k"))) if isinstance(row, dict) else None
        if kind is None:
            raise
        return msgspec.convert(_plain(row, kind.idle), kind)


def _plain(row: dict[str, Any], idle: frozenset[str]) -> dict[str, Any]:
    """Without what is allowed beyond the form: idle fields, and whole seconds written as floats."""
    plain = {name: value for name, value in row.items() if name not in idle}
    seconds = plain.get("t")
    if isinstance(seconds, float) and seconds.is_integer():
        plain["t"] = int(seconds)
    return plain


def _add_once(known: dict[Name, _First], event: Wrote | Sent, line: int) -> None:
    """Of several lines with the same id the earliest counts, as a relay takes an id once."""
    first = known.get(event.id)
    if first is None or event.t < first.event.t:
        known[event.id] = _First(event, line)
    elif first.other is None and event.t == first.event.t and event != first.event:
        first.other = line


def _broken(what: str) -> EvidenceFileError:
    hint = "nothing was priced; the form of each line is in docs/billing.md, Replay"
    return EvidenceFileError(what, hint)


def _shown(error: Exception) -> str:
    """The error as one line that a terminal can show."""
    is_json = isinstance(error, msgspec.ValidationError | _NoCategoryError)
    text = str(error)
    if not is_json or not text.isprintable() or len(text) > 200:
        return "is not JSON of the form that an event has"
    return text[:1].lower() + text[1:]
