"""The declaration against what is really there: schema, frames, log. Nothing undeclared, nothing
that has vanished."""

from __future__ import annotations

import types
import typing
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

import kurir_billing.adjust
import kurir_billing.answers
import kurir_billing.charge
import kurir_billing.head
import kurir_billing.lane
import kurir_billing.leaf
import kurir_billing.party
import kurir_billing.terms
import kurir_billing.ticket
import kurir_wire.cards
from kurir_audit import inventory
from kurir_audit.declaration import Group, Purpose
from kurir_audit.declared_billing import STRUCTURES
from kurir_audit.declared_blobs import BLOB_META_KEYS, BLOB_STORE
from kurir_audit.declared_log import COMMON, LOG
from kurir_audit.declared_metrics import METRICS
from kurir_audit.declared_network import NETWORK
from kurir_audit.declared_store import INDEXES, META_KEYS, STORE
from kurir_audit.declared_wire import ENTRIES, REPLIES, REQUESTS
from kurir_server import log, metrics
from kurir_wire import blob_frames, frames
from tests.audit import databases

ALL = (
    *STORE,
    META_KEYS,
    *BLOB_STORE,
    BLOB_META_KEYS,
    COMMON,
    *LOG,
    METRICS,
    *NETWORK,
    *REQUESTS,
    *REPLIES,
    *ENTRIES,
    *STRUCTURES,
)

PACKED = (
    kurir_billing.charge.Charge,
    kurir_billing.adjust.Adjust,
    kurir_billing.answers.Receipt,
    kurir_billing.answers.Refusal,
    kurir_billing.lane.Lane,
    kurir_billing.leaf.Leaf,
    kurir_billing.terms.Terms,
    kurir_billing.ticket.Ticket,
    kurir_billing.head.InvoiceHead,
    kurir_billing.party.Party,
    kurir_wire.cards.Signed,
    kurir_wire.cards.BusinessCard,
)
"""What travels as bytes inside a frame. A person's card and a report are not
here: they are encrypted."""


def names(groups: Iterable[Group]) -> dict[str, tuple[str, ...]]:
    return {group.name: group.names for group in groups}


def fields(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    return struct.__struct_fields__


def structs_in(hint: object) -> Iterable[type[msgspec.Struct]]:
    """All structs within a type, however deep."""
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        yield hint
    elif isinstance(hint, types.UnionType | types.GenericAlias) or typing.get_origin(hint):
        for part in typing.get_args(hint):
            yield from structs_in(part)


def reachable(start: Iterable[type[msgspec.Struct]]) -> set[type[msgspec.Struct]]:
    """Structs and all that they contain."""
    found: set[type[msgspec.Struct]] = set()
    todo = list(start)
    while todo:
        struct = todo.pop()
        if struct not in found:
            found.add(struct)
            for hint in typing.get_type_hints(struct, include_extras=False).values():
                todo += structs_in(hint)
    return found


def test_the_schema(tmp_path: Path) -> None:
    taken = inventory.take(databases.make(tmp_path / "relay.db"))
    assert taken.unknown == ()
    assert taken.missing == ()
    assert {t.name: tuple(c.name for c in t.columns) for t in taken.tables} == names(STORE)
    assert {entry.name for entry in INDEXES} <= {index.name for index in taken.indexes}


def test_the_schema_of_blobs(tmp_path: Path) -> None:
    taken = inventory.take(databases.make_blobs(tmp_path / "relay.blobs"))
    assert taken.unknown == ()
    assert taken.missing == ()
    found = {t.name: tuple(c.name for c in t.columns) for t in taken.tables}
    assert found == names(BLOB_STORE)


@pytest.mark.parametrize(("union", "groups"), [(frames.Request, REQUESTS), (frames.Push, REPLIES)])
def test_the_frames(union: object, groups: tuple[Group, ...]) -> None:
    real = {str(f.__struct_config__.tag): fields(f) for f in typing.get_args(union)}
    assert names(groups) == real


def test_the_structures_within_frames() -> None:
    tops = {*typing.get_args(frames.Request), *typing.get_args(frames.Push)}
    real = {s.__name__: fields(s) for s in reachable([*tops, *PACKED]) - tops}
    assert names((*ENTRIES, *STRUCTURES)) == real


def test_every_struct_of_the_frames_module_is_reached() -> None:
    """Guards the walk itself: an entry that no frame mentions would be missed by it."""
    tops = {*typing.get_args(frames.Request), *typing.get_args(frames.Push)}
    here = {
        value
        for name, value in (*vars(frames).items(), *vars(blob_frames).items())
        if isinstance(value, type)
        and issubclass(value, msgspec.Struct)
        and value.__module__ in (frames.__name__, blob_frames.__name__)
        and not name.startswith("_")
    }
    assert here <= reachable(tops)


def test_the_log() -> None:
    assert names(LOG) == {event.value: shape.fields for event, shape in log.FIELDS.items()}
    assert {event.value for event in log.Event} == set(names(LOG))
    assert COMMON.names == log.COMMON


def test_the_metrics() -> None:
    """And those that Prometheus's library has of every process."""
    assert METRICS.names == (*metrics.FAMILIES, "process")


def test_every_entry_says_something() -> None:
    for group in ALL:
        assert group.about
        assert max(Counter(group.names).values(), default=1) == 1, group.name
        for field in group.fields:
            assert field.purpose in Purpose
            assert field.why.endswith("."), (group.name, field.name)
            assert field.retention
            assert not field.retention.endswith(".")
            assert field.infers, (group.name, field.name)
