"""Housekeeping: what has come to its end goes, days that are over are closed. Pure rules over rows,
in small steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kurir_billing.report import WAIT_DAYS
from kurir_billing.windows import WINDOW
from kurir_server.ledger import Ledger
from kurir_server.limits import (
    MAX_UNSETTLED,
    TIDY_ROWS,
    UNREAD_DAYS,
)
from kurir_server.meter import Meter
from kurir_server.rows import Aged, Business, Moment, Rows, Swept
from kurir_wire.cards import BusinessCard, Signed
from kurir_wire.codec import unpack
from kurir_wire.ids import DAY, HOUR


@dataclass(frozen=True, slots=True)
class Step:
    """Where a round of housekeeping stands: envelopes, then mailboxes, then the other tables, then
    businesses, then the ledger's days."""

    envelopes: tuple[int, int] | None = (-1, 0)
    mailboxes: int | None = -1
    table: int = 0
    key: bytes | int | None = None
    businesses: bool = True
    """Looked through once an hour: the whole table is read for it."""
    days: bool = True

    @property
    def is_first(self) -> bool:
        """Whether a round begins with this."""
        return self.envelopes == (-1, 0)

    @property
    def is_done(self) -> bool:
        """Whether the round is over."""
        swept = self.envelopes is None and self.mailboxes is None and self.table >= len(Swept)
        return swept and not self.businesses and not self.days


@dataclass(frozen=True, slots=True)
class Tidied:
    """What comes next, and the mailboxes that were deleted."""

    next: Step
    gone: list[int]


def tidy(
    rows: Rows,
    moment: Moment,
    meter: Meter,
    ledger: Ledger,
    step: Step,
    read_now: Sequence[int] = (),
) -> Tidied:
    """One step.

    :param read_now: mailboxes that somebody has open; they do not count as unread
    """
    if step.envelopes is not None:
        aged = rows.envelopes_after(*step.envelopes, TIDY_ROWS)
        for envelope in aged:
            if envelope.expires_hour <= moment.sure // HOUR:
                _expire(rows, moment, meter, envelope)
        last = (aged[-1].row, aged[-1].n) if len(aged) == TIDY_ROWS else None
        if last is not None and last <= step.envelopes:
            last = None  # damaged pages may lead back
        return Tidied(Step(last, step.mailboxes), [])
    if step.mailboxes is not None:
        return _mailboxes(rows, moment, step.mailboxes, frozenset(read_now))
    if step.table >= len(Swept):
        if step.businesses:
            return Tidied(Step(None, None, step.table, businesses=False), _businesses(rows, moment))
        days = ledger.close_day(rows, moment)
        return Tidied(Step(None, None, step.table, businesses=False, days=days), [])
    table = tuple(Swept)[step.table]
    key = rows.sweep(table, step.key, TIDY_ROWS, _end(table, moment))
    table_number = step.table if key is not None else step.table + 1
    return Tidied(Step(None, None, table_number, key), [])


def _expire(rows: Rows, moment: Moment, meter: Meter, envelope: Aged) -> None:
    """Take an envelope away whose time is over. A metered one that its reader got and never
    settled counts as read without settling; else waiting for its end would be a way not to pay."""
    mailbox = rows.mailbox_at(envelope.row)
    taken = rows.take_envelope(envelope.row, envelope.envelope_id)
    if mailbox is None or taken is None:
        return
    mailbox.depth -= 1
    mailbox.size -= taken.size
    if taken.charge is not None:
        meter.settle(rows, moment, taken.charge, None)
        if taken.n <= mailbox.handed_n:
            mailbox.debt = min(MAX_UNSETTLED, mailbox.debt + 1)
    rows.put_counters(mailbox)


def _mailboxes(rows: Rows, moment: Moment, after: int, read_now: frozenset[int]) -> Tidied:
    found = rows.mailboxes_after(after, TIDY_ROWS)
    hour = moment.sure // HOUR
    gone: list[int] = []
    for row, keep_until in found:
        if keep_until > hour:
            continue
        if row in read_now:
            rows.keep_mailbox(row, (moment.now // DAY + UNREAD_DAYS + 1) * (DAY // HOUR))
            continue
        rows.delete_mailbox(row)
        gone.append(row)
    return Tidied(Step(None, found[-1][0] if len(found) == TIDY_ROWS else None), gone)


def remove_business(rows: Rows, business: Business) -> list[int]:
    """A business goes, with its prekeys, its address and what waits there.

    :returns: the rows of the mailboxes that went with it
    """
    card = unpack(unpack(business.card, Signed).body, BusinessCard)
    rows.drop_business(business.id)
    address = rows.mailbox(card.address_id)
    if address is None:
        return []
    rows.delete_mailbox(address.row)
    return [address.row]


def _businesses(rows: Rows, moment: Moment) -> list[int]:
    """Those that were never approved go when their card has expired, 30 days after they last
    registered it at most: anybody can register, and a card that ran out is handed to nobody. Who
    was approved once and has charges in the ledger stays."""
    gone: list[int] = []
    for business in rows.forgotten_businesses(moment.sure, TIDY_ROWS):
        gone += remove_business(rows, business)
    return gone


def _end(table: Swept, moment: Moment) -> int:
    """Rows that end at or before this go."""
    now = moment.sure
    match table:
        case Swept.CARDS | Swept.MARKS | Swept.STARTS:
            return now // HOUR
        case Swept.TICKETS:
            # Who came at the last moment can be answered under it for another day.
            return now - WINDOW
        case Swept.REPORTS:
            return now // DAY - WAIT_DAYS
        case Swept.CHARGES | Swept.USED | Swept.LANES:
            return now // DAY
