"""Rates: token buckets that live in memory only. Time is an argument.

What a refusal says is true: ``left`` more succeed at once, and whoever waits ``retry_after`` and
asks again succeeds, if nobody else of the same bucket comes first.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from msgspec import Struct

Key = TypeVar("Key")

ROUNDING: Final = 1e-6
"""Tokens that the arithmetic of floating point may lose: who waited long enough is let through."""


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


class Allowance:
    """One bucket, full at first. Times in seconds of a clock; one that goes back gives nothing."""

    __slots__ = ("_at", "_burst", "_tokens", "rate")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._tokens = self._burst = float(rate.burst)
        self._at = -math.inf

    def level(self, now: float) -> float:
        """How many are allowed at ``now``."""
        if now <= self._at:
            return self._tokens
        level = self._tokens + (now - self._at) * self.rate.per_second
        return level if level < self._burst else self._burst

    def spend(self, now: float, count: int) -> None:
        """Take ``count``, which the caller has found to be there; a negative one gives back."""
        self.leave(now, self.level(now) - count)

    def leave(self, now: float, level: float) -> None:
        """Set what is left at ``now``, by one who has asked for the level and taken something."""
        self._tokens = min(self._burst, max(0.0, level))
        if now > self._at:
            self._at = now

    def give_back(self) -> None:
        """One that was taken came to nothing."""
        self._tokens = min(self._burst, self._tokens + 1)

    def look(self, now: float, count: int = 1) -> TooFast | None:
        """Whether ``count`` more are allowed, at most a burst; takes nothing."""
        level = self.level(now)
        if level + ROUNDING >= count:
            return None
        return TooFast(self.wait_for(count - level), int(level + ROUNDING))

    def take(self, now: float, count: int = 1) -> TooFast | None:
        """Take ``count`` if that many are allowed; otherwise take nothing and say when to retry."""
        refusal = self.look(now, count)
        if refusal is None:
            self.spend(now, count)
        return refusal

    def wait_for(self, missing: float) -> int:
        """Whole seconds until so many more are there."""
        return max(1, math.ceil(missing / self.rate.per_second))


class Buckets(Generic[Key]):
    """One bucket per key, bounded in number; those that are full again go as others are used."""

    __slots__ = ("_buckets", "_most", "rate")

    def __init__(self, rate: Rate, most: int) -> None:
        """:param most: buckets held; beyond it the one unused for longest is forgotten"""
        self.rate = rate
        self._most = most
        self._buckets: OrderedDict[Key, Allowance] = OrderedDict()

    def of(self, key: Key, now: float) -> Allowance:
        """The bucket of ``key``, which is about to be used."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = Allowance(self.rate)
        self._buckets.move_to_end(key)
        while len(self._buckets) > self._most or self._is_oldest_full(now, bucket):
            self._buckets.popitem(last=False)
        return bucket

    def look(self, key: Key, now: float, count: int = 1) -> TooFast | None:
        """Whether ``count`` more are allowed; takes nothing."""
        bucket = self._buckets.get(key) or Allowance(self.rate)
        return bucket.look(now, count)

    def take(self, key: Key, now: float, count: int = 1) -> TooFast | None:
        """Take ``count`` if that many are allowed; otherwise take nothing and say when to retry."""
        return self.of(key, now).take(now, count)

    def give_back(self, key: Key) -> None:
        """One that was taken came to nothing."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.give_back()

    def prune(self, now: float) -> None:
        """Forget buckets that are full again: they say nothing that a new one would not."""
        full = [
            key for key, bucket in self._buckets.items() if bucket.level(now) >= bucket.rate.burst
        ]
        for key in full:
            del self._buckets[key]

    def _is_oldest_full(self, now: float, used: Allowance) -> bool:
        """Whether the one unused for longest says nothing any more."""
        oldest = next(iter(self._buckets.values()))
        return oldest is not used and oldest.level(now) >= self.rate.burst

    def __len__(self) -> int:
        return len(self._buckets)


class Toll(Struct, frozen=True):
    """What one thing takes of one bucket."""

    bucket: Allowance
    count: int


def admit(queue: Sequence[Sequence[Toll]], now: float) -> list[TooFast | None]:
    """Let through, in order, what all of its tolls allow, and take those.

    Whoever is refused keeps its place: what stands behind it at a bucket does not go first, and its
    ``retry_after`` is long enough for it and all that were refused before it.

    :returns: a refusal, or ``None`` for what was let through
    """
    levels: dict[int, float] = {}
    """What of each bucket is left when all before have had their turn; negative: owed to them."""
    waits: list[int] = []
    for tolls in queue:
        wait = 0
        for toll in tolls:
            name = id(toll.bucket)
            level = levels.get(name)
            if level is None:
                level = toll.bucket.level(now)
            if toll.count > level + ROUNDING:
                wait = max(wait, toll.bucket.wait_for(toll.count - level))
            levels[name] = level - toll.count
        if wait == 0:
            for toll in tolls:
                toll.bucket.spend(now, toll.count)
        waits.append(wait)
    return [
        TooFast(wait, min(int((toll.bucket.level(now) + ROUNDING) / toll.count) for toll in tolls))
        if wait
        else None
        for tolls, wait in zip(queue, waits, strict=True)
    ]
