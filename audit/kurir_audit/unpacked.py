"""What a packed structure in a column says, in a few words: the relay can read these, so can we."""

from __future__ import annotations

from typing import Final

from kurir_billing.charge import Line, open_charge
from kurir_billing.kinds import Category, Class
from kurir_billing.leaf import open_leaf
from kurir_wire.cards import BusinessCard, Signed
from kurir_wire.codec import unpack
from kurir_wire.errors import MalformedError

UNREADABLE: Final = "not readable"


def unpacked(data: bytes) -> str:
    """Tries each structure that a column declared as signed may hold; their shapes differ."""
    for read in (_charge, _leaf, _card):
        try:
            return read(data)
        except (MalformedError, ValueError):
            continue
    return UNREADABLE


def _charge(data: bytes) -> str:
    charge = open_charge(data)
    return f"{_line(charge.line)}, {'with a' if charge.grant else 'no'} grant"


def _leaf(data: bytes) -> str:
    return _line(open_leaf(data).line)


def _card(data: bytes) -> str:
    card = unpack(unpack(data, Signed).body, BusinessCard)
    return f"card of {''.join(c for c in card.name if c.isprintable())}"


def _line(line: Line) -> str:
    category = Category(line.category)
    words = [line.market, Class(line.klass).name.lower().replace("_", " ")]
    if category is not Category.NONE:
        words.insert(1, category.name.lower())
    return f"{' '.join(words)} {line.list_price:,} micro-USD"
