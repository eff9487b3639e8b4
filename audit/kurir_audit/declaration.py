"""The declaration: every field that a relay sees or keeps, with its purpose.

This is the one list. ``kurir-audit inventory`` holds a real database against it, docs/metadata.md
is printed from it, and tests hold it against the relay's schema, its log and the frames of the
protocol.
The entries stand in :mod:`~kurir_audit.declared_store`, :mod:`~kurir_audit.declared_ledger`,
:mod:`~kurir_audit.declared_blobs`, :mod:`~kurir_audit.declared_wire`,
:mod:`~kurir_audit.declared_billing`, :mod:`~kurir_audit.declared_reports`,
:mod:`~kurir_audit.declared_log`, :mod:`~kurir_audit.declared_metrics`,
:mod:`~kurir_audit.declared_network` and :mod:`~kurir_audit.declared_together`; this module says
what an entry is.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Purpose(StrEnum):
    """Why the relay has a field. What serves none of these has no business being there."""

    DELIVERY = "delivery"
    BILLING = "billing"
    ABUSE = "abuse"
    OPERATION = "operation"


class Content(StrEnum):
    """What a value is, as far as showing it is concerned."""

    PLAIN = "plain"
    """The relay can read it."""
    SEALED = "sealed"
    """The relay carries it and cannot read it."""
    SIGNED = "signed"
    """A packed structure that the relay can read; shown by what it says."""


@dataclass(frozen=True, slots=True)
class Field:
    """One thing that the relay sees or keeps."""

    name: str
    purpose: Purpose
    why: str
    """One sentence: what would not work without it."""
    retention: str
    """How long the relay has it."""
    infers: str
    """What it lets a curious relay conclude."""
    content: Content = Content.PLAIN
    unit: int = 0
    """Seconds, if the value counts such units since 1970: 86400 for a day."""


@dataclass(frozen=True, slots=True)
class Group:
    """Fields that belong together: a table, a frame, a log event."""

    name: str
    about: str
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """The field of this name."""
        return next((field for field in self.fields if field.name == name), None)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the fields, in order."""
        return tuple(field.name for field in self.fields)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An index of a table: a second copy of some columns, and an order that they are kept in."""

    name: str
    table: str
    columns: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Together:
    """What several columns give together that none of them gives alone."""

    columns: tuple[str, ...]
    """As ``table.column``."""
    follows: str
    """What a curious relay, or a thief of the file, could conclude."""
    lasts: str
    """For how long."""
