"""Whether the relay is alive, and whether it can do its work. Rules only: time is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kurir_wire.limits import CLOCK_SKEW

STUCK_SECONDS: Final = 30
"""An event loop that has not turned for so long answers nobody."""
HOUSE_SECONDS: Final = 900
"""A round of housekeeping comes each minute; a large database may take several."""
MIN_FREE: Final = 64 * 1_048_576
"""Bytes: as much as may wait for the writer at most. With less, the next burst fills the disk."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a round of housekeeping learns from the database.

    ``settled``: all charges that ever did. ``pending_day``: the oldest day whose leaves are not in
    the tree yet. ``closed_day``: the newest that is.
    """

    has_rate_card: bool
    settled: int
    pending_day: int | None
    closed_day: int | None


@dataclass(slots=True)
class Health:
    """What is known of a running relay; the app writes it, monitoring reads it from its own thread.

    ``turned`` and ``tidied``: when the event loop last turned and housekeeping last ended, in
    seconds of a steady clock. ``behind``: seconds by which the machine's clock is behind the
    relay's. ``certificate_left``: seconds until the relay's certificate ends.
    """

    turned: float
    tidied: float
    is_serving: bool = False
    is_failing: bool = False
    behind: int = 0
    free: int = MIN_FREE
    certificate_left: int = 0
    facts: Facts | None = None

    def stuck(self, tick: float) -> str | None:
        """Why the process should be started anew, if it should."""
        quiet = int(tick - self.turned)
        if quiet >= STUCK_SECONDS:
            return f"the event loop has stood still for {quiet} s"
        return None

    def unready(self, tick: float) -> list[str]:
        """Why the relay cannot do its work at present; nothing, if it can."""
        reasons: list[str] = []
        stuck = self.stuck(tick)
        if stuck is not None:
            reasons.append(stuck)
        if not self.is_serving:
            reasons.append("the relay is starting or stopping")
        if self.is_failing:
            reasons.append("the database cannot be written")
        if self.free < MIN_FREE:
            reasons.append(f"the disk has less than {MIN_FREE // 1_048_576} MiB left")
        if tick - self.tidied >= HOUSE_SECONDS:
            reasons.append(f"housekeeping has not ended for {int(tick - self.tidied)} s")
        if self.behind > CLOCK_SKEW:
            reasons.append(f"the machine's clock is {self.behind} s behind the relay's")
        if self.certificate_left <= 0:
            reasons.append("the certificate of the relay's keys has ended")
        if self.facts is not None and not self.facts.has_rate_card:
            reasons.append("no rate card is in force")
        return reasons
