"""Control words: proof that a search can see.

A control is known to be there. On the wire it must be found *unmasked in both directions* (a
WebSocket ping carries it there and back, see :mod:`kurir_audit.ping`), in the database and in the
log anywhere. Where no word is given for evidence that is searched, one is taken that every relay
leaves: ``CREATE TABLE`` in the database, an event in the log, the names of frames on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, get_args

from kurir_audit.capture import Direction
from kurir_audit.declared_log import LOG
from kurir_audit.places import Evidence, Family, wire_place
from kurir_wire.frames import Push, Request


@dataclass(frozen=True, slots=True)
class Controls:
    """Words that must be found."""

    wire: tuple[str, ...] = ()
    database: tuple[str, ...] = ()
    log: tuple[str, ...] = ()


NO_CONTROLS: Final = Controls()


@dataclass(frozen=True, slots=True)
class Control:
    """One control and what became of it."""

    what: str
    count: int

    @property
    def found(self) -> bool:
        """Whether it was seen."""
        return self.count > 0


def check_controls(evidence: Evidence, controls: Controls) -> tuple[Control, ...]:
    """Look for the controls of every family of which there is evidence, and for all that were
    given, so that a control for evidence that is missing is not found."""
    families = {place.family for place in evidence.places}
    found: list[Control] = []
    if Family.DATABASE in families or controls.database:
        words = controls.database or ("CREATE TABLE",)
        found += [_anywhere(evidence, Family.DATABASE, word) for word in words]
    if Family.LOG in families or controls.log:
        if controls.log:
            found += [_anywhere(evidence, Family.LOG, word) for word in controls.log]
        else:
            count = sum(_count(evidence, Family.LOG, [f'"{event.name}"']) for event in LOG)
            found.append(Control("an event of the relay in the log", count))
    if Family.WIRE in families or controls.wire:
        for direction in Direction:
            found += _on_wire(evidence, direction, controls.wire)
    return tuple(found)


def _on_wire(evidence: Evidence, direction: Direction, words: tuple[str, ...]) -> Iterable[Control]:
    def seen(data: bytes) -> int:
        places = map(evidence.place, (wire_place(direction, f) for f in ("unmasked", "inflated")))
        return sum(place.data.count(data) for place in places if place is not None)

    if words:
        for word in words:
            yield Control(f"{word!r} unmasked, {direction.words}", seen(word.encode()))
        return
    frames = get_args(Request if direction is Direction.TO_RELAY else Push)
    tags = (str(frame.__struct_config__.tag).encode() for frame in frames)
    # As msgpack has it: a string shorter than 32 bytes follows one byte that holds its length.
    count = sum(seen(bytes([0xA0 | len(tag)]) + tag) for tag in tags)
    yield Control(f"a frame's name unmasked, {direction.words}", count)


def _anywhere(evidence: Evidence, family: Family, word: str) -> Control:
    return Control(f"{word!r} in the {family.value}", _count(evidence, family, [word]))


def _count(evidence: Evidence, family: Family, words: list[str]) -> int:
    return sum(
        place.data.count(word.encode())
        for place in evidence.places
        if place.family is family
        for word in words
    )
