"""What the relay should reach, as ratios to servers that were measured in the same run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Aim:
    """``figure`` of the relay against the same of ``peer`` (``None``: by itself): at most, or at
    least, ``bound`` times as much."""

    figure: str
    peer: str | None
    bound: float
    at_most: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """An aim and what was measured."""

    aim: Aim
    value: float

    @property
    def is_reached(self) -> bool:
        """Whether it was reached."""
        return self.value <= self.aim.bound if self.aim.at_most else self.value >= self.aim.bound

    def as_dict(self) -> dict[str, object]:
        """For the report."""
        return {
            "figure": self.aim.figure,
            "peer": self.aim.peer,
            "measured": round(self.value, 4),
            "at_most" if self.aim.at_most else "at_least": self.aim.bound,
            "reached": self.is_reached,
        }

    def __str__(self) -> str:
        aim = self.aim
        of = f" / {aim.peer}'s" if aim.peer else ""
        bound = f"{'at most' if aim.at_most else 'at least'} {aim.bound:g}"
        said = "reached" if self.is_reached else "MISSED"
        return f"{aim.figure}{of}: {self.value:.3g}, aim {bound}: {said}"


AIMS: Final = (
    Aim("w1_cpu", "prosody", 0.15),
    Aim("w1_cpu", "redis", 4.0),
    Aim("w16_cpu", "prosody", 0.04),
    Aim("store_per_s", "prosody", 40.0, at_most=False),
    Aim("drain_per_s", "prosody", 20.0, at_most=False),
    Aim("p99_ms", "prosody", 0.5),
    Aim("idle_1000_kib", None, 16.0),
    Aim("idle_10000_mib", None, 250.0),
    Aim("idle_10000_cpu", None, 0.05),
    Aim("killed_lost", None, 0.0),
)


def verdicts(figures: dict[str, dict[str, float]]) -> list[Verdict]:
    """Each aim for which there are figures."""
    found: list[Verdict] = []
    for aim in AIMS:
        own = figures.get("kurir", {}).get(aim.figure)
        peer = figures.get(aim.peer, {}).get(aim.figure) if aim.peer else 1.0
        if own is not None and peer:
            found.append(Verdict(aim, own / peer))
    return found
