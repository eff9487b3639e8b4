"""Needles: the byte strings that a term may have become, and a fast way to find many of them.

Each term is sought as written and in lower case, in UTF-8, UTF-16 of both byte orders, and, where
it has characters beyond ASCII, as JSON escapes them.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

FILTER_BYTES: Final = 4
"""Length of the prefix by which needles are ruled out all at once."""
REACH: Final = 48
"""Bytes before an occurrence that can belong to its surroundings."""

BESIDE: Final = 16
"""Bytes on each side of an occurrence that tell text from ciphertext."""


@dataclass(frozen=True, slots=True)
class Needle:
    """One spelling of one term."""

    term: str
    encoding: str
    data: bytes


def needles_of(terms: Iterable[str]) -> tuple[Needle, ...]:
    """All spellings, each byte string once per term."""
    found: dict[tuple[str, bytes], Needle] = {}
    for term in dict.fromkeys(terms):
        for text in dict.fromkeys((term, term.lower())):
            for encoding in ("utf-8", "utf-16-le", "utf-16-be", "json"):
                if encoding == "json":
                    data = json.dumps(text)[1:-1].encode("ascii")
                else:
                    # A lone surrogate is no text in any encoding; it is sought as it would leak.
                    data = text.encode(encoding, errors="surrogatepass")
                # JSON spells ASCII as UTF-8 does, so most terms have three spellings and not four.
                found.setdefault((term, data), Needle(term, encoding, data))
    return tuple(found.values())


class Haystack:
    """Bytes in which many needles are sought."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def candidates(self, needles: Iterable[Needle]) -> list[Needle]:
        """The needles that may occur here: those whose first four bytes do, and the shorter ones.

        A thousand needles in megabytes would take seconds one by one. One pass over all four-byte
        groups, done by the set's own loop in C, leaves the few that are worth looking for.
        """
        wanted = list(needles)
        prefixes = {_prefix(needle.data) for needle in wanted if len(needle.data) >= FILTER_BYTES}
        present: set[int] = set()
        whole = memoryview(self.data)
        for offset in range(min(FILTER_BYTES, len(self.data))):
            usable = (len(self.data) - offset) // FILTER_BYTES * FILTER_BYTES
            present |= prefixes.intersection(whole[offset : offset + usable].cast("I"))
        return [
            needle
            for needle in wanted
            if len(needle.data) < FILTER_BYTES or _prefix(needle.data) in present
        ]

    def count(self, data: bytes) -> int:
        """Occurrences, without those that overlap."""
        return self.data.count(data)

    def occurrences(self, data: bytes) -> dict[bytes, list[int]]:
        """Offsets of all occurrences, by what stands around them."""
        found: dict[bytes, list[int]] = {}
        at = self.data.find(data)
        while at >= 0:
            found.setdefault(surroundings(self.data, at, at + len(data)), []).append(at)
            at = self.data.find(data, at + 1)
        return found


def surroundings(data: bytes, start: int, end: int) -> bytes:
    """An occurrence with as much before it as tells one use of a word from another.

    That is: back to the last comma, bracket or byte that is no text, with that byte (two if they
    are no text), and every number as 0: ``{"event": "open``, or a frame's ``\\x93\\xa4open``.
    Wider surroundings would hold numbers and keys that differ in every run (what follows a frame's
    name is a number already); narrower ones could not tell an event's name from a message that says
    it.
    """
    # Backwards, because a search forwards would try all bytes in reach as the beginning.
    reversed_ = data[max(0, start - REACH) : start][::-1]
    match = _BEFORE_REVERSED.match(reversed_)
    left = start - (match.end() if match else 0)
    return _NUMBER.sub(b"0", data[left:start]) + data[start:end]


def like_text(data: bytes, start: int, end: int) -> bool:
    """Whether an occurrence stands in text, or in anything else that is not like ciphertext.

    Zeros say nothing: UTF-16 has them, and so has a page that is not full. Of random bytes three in
    eight are printable, so three quarters of up to 32 are next to never. Next to too few bytes
    nothing can be said, and that is not like ciphertext either.
    """
    around = data[max(0, start - BESIDE) : start] + data[end : end + BESIDE]
    around = around.translate(None, b"\0")
    return len(around) < BESIDE // 2 or text_bytes(around) * 4 >= len(around) * 3


def text_bytes(data: bytes) -> int:
    """How many bytes are printable ASCII or end a line."""
    return len(data) - len(data.translate(None, _TEXT))


_TEXT: Final = bytes(range(0x20, 0x7F)) + b"\t\r\n"
_BEFORE_REVERSED: Final = re.compile(
    rb"[^\x00-\x1f\x7f-\xff,;{}\[\]]*(?:[\x00-\x1f\x7f-\xff]{1,2}|[,;{}\[\]])?"
)
_NUMBER: Final = re.compile(rb"[0-9]+")


def _prefix(data: bytes) -> int:
    return int.from_bytes(data[:FILTER_BYTES], sys.byteorder)
