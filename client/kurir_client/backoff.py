"""How long to wait before the next attempt to connect."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Pauses that double from ``first`` to ``most`` seconds, each shortened by up to half, so that
    all clients of a relay that comes back do not come at once.

    :param jitter: gives a number from 0 to 1, another each time
    """

    first: float
    most: float
    jitter: Callable[[], float] = random.random
    _doubled: int = 0

    def pause(self) -> float:
        """Seconds to wait now; the next pause is longer."""
        longest = min(self.most, self.first * float(1 << self._doubled))
        if longest < self.most:
            self._doubled += 1
        return longest * (1 + self.jitter()) / 2

    def reset(self) -> None:
        """The connection was good for something: begin anew with the shortest."""
        self._doubled = 0
