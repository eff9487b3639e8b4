"""What is due around the edges of windows, worked out with a calendar: dates and hours in plain
words, nothing of the relay's or of kurir_billing's arithmetic. Numbers are typed in from the facts.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MARKETING, UTILITY = 41_100, 25_000
"""Indonesia, micro-USD."""
HOURS = {"conversation": 24, "entry": 72}


def when(second: int) -> datetime:
    return datetime.fromtimestamp(second, UTC)


@dataclass(frozen=True)
class Wrote:
    """A customer wrote at a second of relay time, or came by an entry link."""

    second: int
    by_link: bool

    def is_answered_free(self, now: int) -> bool:
        """Within 24 hours of the begin of the minute."""
        waited = when(now) - when(self.second).replace(second=0)
        return timedelta(0) <= waited < timedelta(hours=24)


@dataclass(frozen=True)
class Opened:
    """A conversation or an entry window, by a message that was accepted at a second."""

    kind: str
    second: int
    opener: bytes
    in_window: bool

    def is_over(self, now: int) -> bool:
        return when(now) - when(self.second) >= timedelta(hours=HOURS[self.kind])


@dataclass(frozen=True)
class Right:
    """``klass``: in, out, entry, or shut where nothing can be sent. ``opens``: a kind of window."""

    klass: str
    price: int = 0
    opener: bytes = bytes(32)
    opens: str | None = None


def right(
    tariff: str, category: str, wrote: Wrote | None, opened: Opened | None, now: int
) -> Right:
    """:param wrote: what the business shows; ``opened``: what was opened last, over or not"""
    is_in = wrote is not None and wrote.is_answered_free(now)
    runs = None if opened is None or opened.is_over(now) else opened
    klass = "in" if is_in else "out"
    if tariff == "flat":
        return Right("in")
    if tariff == "reply-2018":
        return Right(klass, 0 if is_in else UTILITY)
    if tariff == "conversation-2022":
        if runs is not None:
            covered = ("in", UTILITY) if runs.in_window else ("out", MARKETING)
            return Right(*covered, opener=runs.opener)
        return Right(klass, UTILITY if is_in else MARKETING, opens="conversation")
    if category == "service" and not is_in:
        return Right("shut")
    if runs is not None:
        return Right("entry")
    if wrote is not None and wrote.by_link and is_in:
        return Right("entry", opens="entry")
    free = {"message-2025": ("service", "utility"), "message-2026": ()}[tariff]
    if is_in and category in free:
        return Right("in")
    return Right(klass, MARKETING if category == "marketing" else UTILITY)
