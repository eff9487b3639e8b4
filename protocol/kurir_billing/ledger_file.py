"""The file form of a ledger: one JSON object a line, in the order of the tree.

First the certificate, then rate cards, then leaves and adjustments, and after those of a day the
checkpoint that closed it. It can be written and read line by line, however long it is. Each line
has one spelling.
Source: docs/protocol.md, "Ledger file".
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import date
from typing import Final, TypeAlias

from kurir_billing.adjust import Adjust, open_adjust, packed_adjust
from kurir_billing.dates import EPOCH_ORDINAL, show_day
from kurir_billing.errors import LedgerError
from kurir_billing.leaf import Leaf, open_leaf, packed_leaf
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import WireError
from kurir_wire.relaycert import RelayCert

FORMAT: Final = "kurir-ledger/2"
MAX_LINE: Final = 32_768
"""Bytes of one line: the largest rate card, as base64, takes 22 KiB."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """A rate card as the operator signed it."""

    card: bytes


@dataclass(frozen=True, slots=True)
class Closed:
    """The entries so far are the ledger through this day, says the signed note."""

    day: int
    note: bytes


Part: TypeAlias = RelayCert | PriceList | Leaf | Adjust | Closed


def write_part(part: Part) -> bytes:
    """One line."""
    return json.dumps(_fields(part)).encode("ascii") + b"\n"


def read_part(line: bytes) -> Part:
    """Read one line, with its end.

    :raises LedgerError: not a line of a ledger file, or in another spelling
    """
    try:
        fields = json.loads(line) if len(line) <= MAX_LINE else None
        part = _part(fields)
        is_same = part is not None and write_part(part) == line
    except (ValueError, RecursionError, WireError) as error:
        raise LedgerError("is not a line of a ledger file") from error
    if part is None or not is_same:
        raise LedgerError("is not a line of a ledger file, or not in its one spelling")
    return part


def _fields(part: Part) -> dict[str, str]:
    match part:
        case RelayCert():
            return {"format": FORMAT, "certificate": _base64(pack(part))}
        case PriceList():
            return {"rate_card": _base64(part.card)}
        case Closed():
            return {"day": show_day(part.day), "checkpoint": part.note.decode("utf-8")}
        case Adjust():
            return {"adjust": _base64(packed_adjust(part))}
        case _:
            return {"leaf": _base64(packed_leaf(part))}


def _part(fields: object) -> Part | None:
    match fields:
        case {"format": str(name), "certificate": str(data)}:
            if name != FORMAT:
                raise LedgerError(f"the format is {name[:40]!r}, and this reads {FORMAT!r}")
            return unpack(base64.b64decode(data), RelayCert)
        case {"rate_card": str(data)}:
            return PriceList(base64.b64decode(data))
        case {"leaf": str(data)}:
            return open_leaf(base64.b64decode(data))
        case {"adjust": str(data)}:
            return open_adjust(base64.b64decode(data))
        case {"day": str(day), "checkpoint": str(note)}:
            return Closed(date.fromisoformat(day).toordinal() - EPOCH_ORDINAL, note.encode())
        case _:
            return None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
