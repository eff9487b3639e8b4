"""Where the rows of a database lie in its file: page, place in it, first page of the overflow.

Keys say nothing of where SQLite puts a row, and what is written later lies elsewhere than what was
written before. See "Database File Format" in SQLite's documentation.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

INTERIOR: Final = {2: 12, 5: 12}
LEAVES: Final = {10: 8, 13: 8}
"""Kinds of b-tree pages (index, table), with the length of their headers."""
OF_TABLES: Final = {5, 13}
NAME_BYTES: Final = (16, 32)
"""What is as long as one of these may be the name of a row."""


class Spot(NamedTuple):
    """Page, offset within the page, first page of the overflow (0 if there is none)."""

    page: int
    offset: int
    overflow: int


def spots(db: Path) -> dict[str, dict[bytes, Spot]]:
    """For each table and index, where the row lies that has this blob in it (any, of several).

    :param db: its write-ahead log is cut
    """
    with closing(sqlite3.connect(db)) as connection:
        trees = connection.execute(
            "SELECT name, rootpage FROM sqlite_schema WHERE rootpage > 0"
        ).fetchall()
    file = _File(db.read_bytes())
    return {name: dict(file.rows(root)) for name, root in trees}


class _File:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._size = int.from_bytes(data[16:18], "big")
        if self._size == 1:
            self._size = 65_536
        self._usable = self._size - data[20]

    def rows(self, number: int) -> Iterator[tuple[bytes, Spot]]:
        """Names and spots below a page."""
        page = self._data[(number - 1) * self._size : number * self._size]
        head = 100 if number == 1 else 0
        kind = page[head]
        cells = head + (INTERIOR | LEAVES)[kind]
        for at in range(int.from_bytes(page[head + 3 : head + 5], "big")):
            offset = int.from_bytes(page[cells + 2 * at : cells + 2 * at + 2], "big")
            start = offset
            if kind in INTERIOR:
                yield from self.rows(int.from_bytes(page[start : start + 4], "big"))
                start += 4
                if kind in OF_TABLES:
                    continue
            payload, overflow = self._payload(page, kind, start)
            for name in _blobs(payload):
                if len(name) in NAME_BYTES:
                    yield name, Spot(number, offset, overflow)
        if kind in INTERIOR:
            yield from self.rows(int.from_bytes(page[head + 8 : head + 12], "big"))

    def _payload(self, page: bytes, kind: int, start: int) -> tuple[bytes, int]:
        """What of a record lies in the page, and where it goes on."""
        size, start = _varint(page, start)
        if kind in OF_TABLES:
            _, start = _varint(page, start)
            most = self._usable - 35
        else:
            most = (self._usable - 12) * 64 // 255 - 23
        if size <= most:
            return page[start : start + size], 0
        least = (self._usable - 12) * 32 // 255 - 23
        here = least + (size - least) % (self._usable - 4)
        end = start + (here if here <= most else least)
        return page[start:end], int.from_bytes(page[end : end + 4], "big")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(at, at + 8):
        value = value << 7 | data[place] & 0x7F
        if data[place] < 0x80:
            return value, place + 1
    return value << 8 | data[at + 8], at + 9


_INTEGERS: Final = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8}


def _blobs(record: bytes) -> Iterator[bytes]:
    """The blobs of a record that lie in the page whole."""
    end, at = _varint(record, 0)
    value = end
    while at < end:
        kind, at = _varint(record, at)
        size = (kind - 12) // 2 if kind >= 12 else _INTEGERS.get(kind, 0)
        if kind >= 12 and kind % 2 == 0 and value + size <= len(record):
            yield record[value : value + size]
        value += size
