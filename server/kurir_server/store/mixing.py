"""New rows among older ones, so that their places in the file say nothing of when they came.

SQLite writes a row where its page has room: what comes later lies before what was there. So some
rows around a new one are taken out, and go in again with it in a random order. For tables whose
rows are all of one length: they fit one another's places.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from kurir_server.store.database import Database

_TAKEN: Final = 10
_DRAW: Final = random.SystemRandom()


def are_alike(row: Sequence[Any], new: Sequence[Any]) -> bool:
    """Whether what a row holds is of the types of a new one. One that is damaged could not be put
    back: it stays as it is, and the doctor names it."""
    return [*map(type, row)] == [*map(type, new)]


def shuffled(rows: Sequence[Any]) -> list[Any]:
    """In a random order."""
    return _DRAW.sample(rows, len(rows))


def some_around(db: Database, table: str, key: str, value: bytes | int, near: int) -> set[int]:
    """Rowids of some rows around another one, drawn at random.

    :param table: a constant of ours
    :param key: its rowid, or a column that is indexed; a constant of ours
    :param value: of the other row
    :param near: how many there are to draw from, on either side; they should be in the same leaf
    """
    found = db.execute(
        f"""SELECT * FROM (SELECT rowid FROM {table} WHERE {key} < ?1 ORDER BY {key} DESC LIMIT ?2)
        UNION ALL
        SELECT * FROM (SELECT rowid FROM {table} WHERE {key} > ?1 ORDER BY {key} LIMIT ?2)""",  # noqa: S608
        (value, near),
    ).fetchall()
    return {row for (row,) in _DRAW.sample(found, min(len(found), _TAKEN))}
