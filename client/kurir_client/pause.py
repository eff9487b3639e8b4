"""Why something has to wait: what passes by itself, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kurir_billing.kinds import REFUSAL_TEXT, RefusalCode
from kurir_wire import codes

PACE: Final = 6
"""Seconds between two messages to one customer where the relay names no other pause."""
FULL_PAUSE: Final = 30
"""Seconds until a full mailbox is tried again: its reader has to come first."""
LONG_PAUSE: Final = 60
"""Seconds beyond which a message that the relay does not want yet is put off and told, while
everything else goes on."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Something passes by itself: wait so many seconds; ``code`` says what it is. ``refusal``: of
    a charge; ``left``: what the relay would still take now."""

    seconds: int
    code: str
    refusal: RefusalCode | None = None
    left: int | None = None

    @property
    def why(self) -> str:
        """What happened, in words."""
        if self.refusal is not None:
            left = "" if self.left is None else f", {self.left} left now"
            return f"{REFUSAL_TEXT[self.refusal]} ({int(self.refusal)}{left})"
        match self.code:
            case codes.UNAVAILABLE:
                return "the relay cannot write to its disk at present"
            case codes.FULL:
                return "their mailbox is full until they read it"
            case _:
                return "the relay asks to slow down"
