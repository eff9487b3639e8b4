"""New rows among older ones, so that their places in the file say nothing of when they came.

SQLite writes a row where its page has room: what comes later lies before what was there. So some
rows around a new one are taken out, and go in again with it in a random order; or, where time is
short, a new row takes the place of one around it, which is then the newest. For tables whose rows
are all of one length: they fit one another's places.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

from kurir_server.store.database import Database

_TAKEN: Final = 10
_REACH: Final = 24
"""A leaf has some 50 to 100 of the rows that :class:`Mixed` is for; mostly these are in it."""
_DRAW: Final = random.SystemRandom()


class Mixed:
    """SQL for a table without rowids, of short rows all of one length.

    :param name: the table's, a constant of ours; as are all
    :param columns: how many it has
    :param keys: columns of its primary key: the first that it has
    """

    def __init__(self, name: str, columns: int, *keys: str) -> None:
        marks = ", ".join("?" * len(keys))
        self._of_key = len(keys)
        self._near = (
            self._beside(name, keys, f"> ({marks})", "ASC"),
            self._beside(name, keys, f"< ({marks})", "DESC"),
        )
        self._delete = f"DELETE FROM {name} WHERE ({', '.join(keys)}) = ({marks})"  # noqa: S608
        self._into = f"INTO {name} VALUES ({', '.join('?' * columns)})"

    @staticmethod
    def _beside(name: str, keys: tuple[str, ...], than: str, order: str) -> str:
        by = ", ".join(f"{key} {order}" for key in keys)
        return (
            f"SELECT * FROM {name} WHERE ({', '.join(keys)}) {than} "  # noqa: S608
            f"ORDER BY {by} LIMIT 1 OFFSET ?"
        )

    def insert(self, db: Database, *row: Any, or_replace: bool = False) -> None:
        """Insert a row in the place of one around it, and that one anew.

        :param or_replace: one of the same key goes; else it is an error
        """
        older = self._some_other(db, row)
        if older is not None:
            db.execute(self._delete, older[: self._of_key])
        db.execute(("INSERT OR REPLACE " if or_replace else "INSERT ") + self._into, row)
        if older is not None:
            db.execute("INSERT " + self._into, older)

    def _some_other(self, db: Database, row: tuple[Any, ...]) -> tuple[Any, ...] | None:
        steps, side = divmod(_DRAW.randrange(2 * _REACH), 2)
        while True:
            # Where there are not so many on this side: on the other one, then nearer.
            for near in (self._near[side], self._near[1 - side]):
                found = db.execute(near, (*row[: self._of_key], steps)).fetchone()
                if found is not None:
                    return found if are_alike(found, row) else None
            if steps == 0:
                return None
            steps //= 2


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
