"""Counts of what a relay did since it started. Plain numbers: what they cost is a dictionary's
entry per request, and nothing in them names a mailbox, a business or an address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from kurir_billing.answers import open_refusal
from kurir_server.submitting import Submitted
from kurir_wire import codes
from kurir_wire.entries import Result
from kurir_wire.frames import Request

Frame: TypeAlias = type[Request] | None
"""``None``: not a request that the relay knows."""
OK: Final = codes.OK


@dataclass(slots=True)
class Tally:
    """``answers``: entries of results by the kind of their request and their code. ``refused``:
    charges, by the number of the code."""

    answers: Counter[tuple[Frame, str]] = field(default_factory=Counter)
    refused: Counter[int] = field(default_factory=Counter)
    accepted: int = 0
    charged: int = 0
    delivered: int = 0
    acknowledged: int = 0
    turned_away: int = 0
    rounds: int = 0
    rounds_failed: int = 0

    def answered(self, frame: Frame, results: Sequence[Result | None]) -> None:
        """A request was answered; ``None`` is plain success."""
        plain = results.count(None)
        if plain:
            self.answers[frame, OK] += plain
        if plain < len(results):
            for result in results:
                if result is not None:
                    self.answers[frame, result.code] += 1

    def submitted(self, outcome: Submitted) -> None:
        """Envelopes were judged, and those accepted are on disk."""
        arrivals = outcome.arrivals
        self.accepted += len(arrivals)
        self.charged += sum(arrival.is_metered for arrival in arrivals)
        for result in outcome.results:
            if result is not None and result.data is not None and result.code != OK:
                self.refused[open_refusal(result.data).code] += 1
