"""Other words of the same length: what the baseline run of the canary search says.

In the baseline everything that customer and bot write is disguised at the edge, so that the run has
the same length and the same course, and none of its words. Undone by doing it once more.
"""

from __future__ import annotations

_FIRST, _COUNT = 0x21, 94
"""Printable ASCII without the space."""


def disguise(text: str) -> str:
    """Exchange every character for another with as many bytes in UTF-8; spaces stay.

    ASCII moves by half of its printable range (a digit may become a letter: seat numbers and codes
    are words too), everything else to its neighbour.
    """
    return "".join(map(_other, text))


def _other(character: str) -> str:
    code = ord(character)
    if _FIRST <= code < _FIRST + _COUNT:
        return chr(_FIRST + (code - _FIRST + _COUNT // 2) % _COUNT)
    if code < 0x80:
        return character  # space and controls
    other = chr(code ^ 1)
    # Spaces end words and are trimmed, so none may come or go.
    return character if character.isspace() or other.isspace() else other
