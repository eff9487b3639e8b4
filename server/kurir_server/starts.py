"""Starts: to how many customers a business may write within 24 hours.

For a business of tier platform a start is a charge out of the window, and the operator's terms say
how many; one of tier small may write to so many customers, whether it answers or not. Kept is an
opaque mark per customer with the hour in which it ends, so a place comes free up to an hour late.
"""

from __future__ import annotations

from dataclasses import dataclass

from kurir_billing.charge import Line
from kurir_billing.kinds import Class, RefusalCode
from kurir_server.keys import RelayKeys
from kurir_server.limits import SMALL_CUSTOMERS
from kurir_server.rates import TooFast
from kurir_server.refusals import RefusedError
from kurir_server.rows import Business, Rows
from kurir_wire.cards import TIER_NONE, TIER_SMALL
from kurir_wire.ids import DAY, HOUR, BusinessId, MailboxId


@dataclass(slots=True)
class _Room:
    """At least ``left`` more fit under ``limit``; exactly so many at ``now``."""

    limit: int
    left: int
    now: int
    free_at: int


class Starts:
    """The counters of one relay. A count of all rows is made only when the room known of is used
    up, and then at most once a second."""

    def __init__(self, keys: RelayKeys) -> None:
        self._keys = keys
        self._rooms: dict[BusinessId, _Room] = {}

    def check(
        self, rows: Rows, now: int, business: Business, line: Line, mailbox_id: MailboxId
    ) -> bool:
        """Whether a charge with this line is one more start.

        :raises RefusedError: one more than the business may
        """
        limit = _limit(business, line)
        if limit is None:
            return False
        if rows.is_started(self._keys.start_tag(business.id, mailbox_id), now // HOUR):
            return False
        room = self._room(rows, now, business.id, limit)
        if room.left > 0:
            return True
        customers = "customers" if business.tier == TIER_SMALL else "customers out of their window"
        raise RefusedError(
            RefusalCode.RATE_LIMIT,
            f"{limit} {customers} within 24 hours are all that this business may write to",
            slow=TooFast(max(1, room.free_at - now), 0),
        )

    def note(self, rows: Rows, now: int, business_id: BusinessId, mailbox_id: MailboxId) -> None:
        """Count a start that :meth:`check` allowed."""
        tag = self._keys.start_tag(business_id, mailbox_id)
        rows.add_start(business_id, tag, _end(now))
        room = self._rooms.get(business_id)
        if room is not None:
            room.left -= 1

    def _room(self, rows: Rows, now: int, business_id: BusinessId, limit: int) -> _Room:
        room = self._rooms.get(business_id)
        if room is None or room.limit != limit or (room.left <= 0 and room.now != now):
            count, ends = rows.starts(business_id, now // HOUR)
            free_at = (ends if count else _end(now)) * HOUR
            room = self._rooms[business_id] = _Room(limit, limit - count, now, free_at)
        return room


def starts_left(rows: Rows, now: int, business: Business) -> int | None:
    """How many more customers a business may start now; ``None`` for any number."""
    if business.tier in (TIER_NONE, TIER_SMALL):
        return 0
    if business.starts is None:
        return None
    count, _ = rows.starts(business.id, now // HOUR)
    return max(0, business.starts - count)


def _end(now: int) -> int:
    """The hour in which a start at ``now`` ends."""
    return -(-(now + DAY) // HOUR)


def _limit(business: Business, line: Line) -> int | None:
    """What bounds a charge with this line, if anything does."""
    if business.tier == TIER_SMALL:
        return SMALL_CUSTOMERS
    return business.starts if line.klass == Class.OUT_OF_WINDOW else None
