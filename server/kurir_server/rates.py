"""Rates: token buckets that live in memory only. Time is an argument."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second in the long run, and ``burst`` at once."""

    per_second: float
    burst: int


@dataclass(frozen=True, slots=True)
class TooFast:
    """Why not now: retry after so many whole seconds; ``left`` are allowed at once at present."""

    retry_after: int
    left: int


@dataclass(slots=True)
class Bucket:
    """What is left of a rate. ``at`` in seconds of a clock that never goes back."""

    tokens: float
    at: float

    def level(self, rate: Rate, now: float) -> float:
        """How many are allowed at ``now``."""
        return min(float(rate.burst), self.tokens + max(0.0, now - self.at) * rate.per_second)


@dataclass(slots=True)
class Allowance:
    """One bucket, full at first."""

    rate: Rate
    _bucket: Bucket | None = None

    def take_up_to(self, now: float, count: int) -> tuple[int, TooFast | None]:
        """Take as many of ``count`` as are allowed.

        :returns: how many, and when to retry the others
        """
        level = self._bucket.level(self.rate, now) if self._bucket else float(self.rate.burst)
        taken = min(count, int(level))
        self._bucket = Bucket(level - taken, now)
        if taken == count:
            return taken, None
        short = count - taken - (level - taken)
        wait = math.ceil(min(short, 1.0) / self.rate.per_second)
        return taken, TooFast(max(1, wait), 0)


class Buckets(Generic[Key]):
    """One bucket per key, bounded in number; those that are full again go as others are used."""

    __slots__ = ("_buckets", "_most", "rate")

    def __init__(self, rate: Rate, most: int) -> None:
        """:param most: buckets held; beyond it the one unused for longest is forgotten"""
        self.rate = rate
        self._most = most
        self._buckets: OrderedDict[Key, Bucket] = OrderedDict()

    def look(self, key: Key, now: float, count: int = 1) -> TooFast | None:
        """Whether ``count`` more are allowed; takes nothing."""
        bucket = self._buckets.get(key)
        level = bucket.level(self.rate, now) if bucket else float(self.rate.burst)
        if level >= count:
            return None
        wait = math.ceil((count - level) / self.rate.per_second)
        return TooFast(max(1, wait), int(level))

    def take(self, key: Key, now: float, count: int = 1) -> TooFast | None:
        """Take ``count`` if that many are allowed; otherwise take nothing and say when to retry."""
        refusal = self.look(key, now, count)
        if refusal is None:
            bucket = self._buckets.get(key)
            level = bucket.level(self.rate, now) if bucket else float(self.rate.burst)
            self._buckets[key] = Bucket(level - count, now)
            self._buckets.move_to_end(key)
            while len(self._buckets) > self._most or self._is_oldest_full(now):
                self._buckets.popitem(last=False)
        return refusal

    def give_back(self, key: Key) -> None:
        """One that was taken came to nothing."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            self._buckets[key] = Bucket(bucket.tokens + 1, bucket.at)

    def prune(self, now: float) -> None:
        """Forget buckets that are full again: they say nothing that a new one would not."""
        full = [k for k, b in self._buckets.items() if b.level(self.rate, now) >= self.rate.burst]
        for key in full:
            del self._buckets[key]

    def _is_oldest_full(self, now: float) -> bool:
        """Whether the one unused for longest says nothing any more."""
        oldest = next(iter(self._buckets.values()), None)
        return oldest is not None and oldest.level(self.rate, now) >= self.rate.burst

    def __len__(self) -> int:
        return len(self._buckets)
