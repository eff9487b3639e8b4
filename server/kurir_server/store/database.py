"""What the SQL of the relay is spoken to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Protocol


class Cursor(Protocol):
    """What SQL gives back."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def __iter__(self) -> Iterator[Any]: ...


class Database(Protocol):
    """Where SQL goes. ``damaged``: what was met that is not as it was written, and how often."""

    damaged: Counter[str]

    def execute(self, sql: str, parameters: Iterable[Any] = ..., /) -> Cursor: ...

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Cursor: ...

    def each(self, sql: str, parameters: Iterable[Any] = ..., /) -> Iterator[Any]:
        """The rows one by one, as they are wanted."""
