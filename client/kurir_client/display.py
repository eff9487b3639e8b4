"""Text of others, made harmless for a terminal and otherwise left as it was written."""

from __future__ import annotations

import unicodedata
from typing import Final

from kurir_wire.cards import DIRECTION_MARKS

_REFUSED: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
"""Control characters, halves of a pair, and separators that break a line. Joiners stay: Persian and
many emoji are not readable without them."""


def harmless(text: str) -> str:
    """Without what could move a cursor, ring a bell, or turn the direction of what follows."""
    return "".join(
        "�"
        if character not in "\n\t"
        and (unicodedata.category(character) in _REFUSED or character in DIRECTION_MARKS)
        else character
        for character in text
    )
