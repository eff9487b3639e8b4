"""Submitting: which envelopes a mailbox takes, and in which order.

It runs inside a transaction, in the store's thread. What arrived is told to its reader after the
commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from kurir_server.limits import MAX_BYTES_MAILBOX, MAX_DEPTH_MAILBOX, MAX_NUMBER, MAX_UNSETTLED
from kurir_server.mailboxes import NO_MAILBOX
from kurir_server.meter import Judged, Meter
from kurir_server.rows import Mailbox, Moment, Rows
from kurir_server.shares import Shares
from kurir_wire import codes
from kurir_wire.entries import Delivery, Result, Submission, check_bucket
from kurir_wire.errors import MalformedError
from kurir_wire.gates import OPEN_GATE, opens, token_gate
from kurir_wire.ids import HOUR, EnvelopeId, Hash, MailboxId
from kurir_wire.limits import ADDRESS_BUCKETS

FULL = Result(codes.FULL, "the mailbox holds as much as it may; retry when it has been read")
COMES_AGAIN = (codes.RATE, codes.FULL, codes.CONFLICT, codes.REFUSED)
"""What was answered so may be sent once more, in these bytes or in others."""
AT_ONCE = 1
"""Seconds until what stood behind one that was not taken may come again: as soon as that has."""


class Arrival(Struct, frozen=True):
    """An envelope that was accepted; ``delivery`` is missing for a metered one that was not handed
    over in the transaction that took it."""

    row: int
    n: int
    delivery: Delivery | None
    is_metered: bool = False


class Submitted(Struct, frozen=True):
    """One result per envelope, and what arrived."""

    results: list[Result | None]
    arrivals: list[Arrival]


class Submitting:
    """What each mailbox of one relay takes; it keeps count of the networks' shares."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._shares = Shares()

    def prune(self, tick: float) -> None:
        """Forget counters that have run full again."""
        self._shares.prune(tick)

    def submit(
        self,
        rows: Rows,
        moment: Moment,
        submissions: Sequence[Submission | Result],
        network: bytes,
        is_read: Callable[[int], bool],
    ) -> Submitted:
        """Take envelopes, of one mailbox in the order in which they stand: after one that may come
        again no later one for its mailbox is taken.

        :param submissions: a result stands for one that was refused before it came here
        :param network: the name of the network that they come from
        :param is_read: whether somebody reads the mailbox in a row and waits for what arrives
        """
        results: list[Result | None] = []
        arrivals: list[Arrival] = []
        found: dict[bytes, Mailbox | None] = {}
        changed: dict[int, Mailbox] = {}
        stopped: dict[bytes, Result] = {}
        for entry in submissions:
            if isinstance(entry, Result):
                results.append(entry)
                continue
            if entry.mailbox_id not in found:
                found[entry.mailbox_id] = rows.mailbox(MailboxId(entry.mailbox_id))
            mailbox = found[entry.mailbox_id]
            stop = stopped.get(entry.mailbox_id)
            result, taken = self._take(rows, moment, mailbox, entry, stop, network, is_read)
            results.append(result)
            if result is not None and result.code in COMES_AGAIN:
                stopped.setdefault(entry.mailbox_id, _put_off(result))
            if taken is not None and mailbox is not None:
                arrivals.append(taken)
                changed[mailbox.row] = mailbox
        for mailbox in changed.values():
            rows.put_counters(mailbox)
        return Submitted(results, arrivals)

    def _take(
        self,
        rows: Rows,
        moment: Moment,
        mailbox: Mailbox | None,
        entry: Submission,
        stop: Result | None,
        network: bytes,
        is_read: Callable[[int], bool],
    ) -> tuple[Result | None, Arrival | None]:
        """:param stop: the answer if it would be written now, but must not"""
        try:
            check_bucket(entry.body)
        except MalformedError as error:
            return Result(codes.MALFORMED, str(error)), None
        if entry.charge is not None:
            if entry.token is not None:
                return Result(codes.MALFORMED, "an envelope has a token or a charge"), None
            return self._take_metered(rows, moment, mailbox, entry, stop, is_read)
        if mailbox is None:
            return NO_MAILBOX, None
        shown = OPEN_GATE if entry.token is None else token_gate(entry.token)
        if not opens(mailbox.gate, shown):
            return NO_MAILBOX, None
        if entry.token is None and len(entry.body) not in ADDRESS_BUCKETS:
            detail = f"a body for an address has one of the lengths {ADDRESS_BUCKETS}"
            return Result(codes.MALFORMED, detail), None
        stop = stop or (FULL if self._is_full(mailbox, entry) else None)
        if stop is None and entry.token is None:
            stop = self._shares.held_back(mailbox, entry, network, moment)
        if stop is not None:
            stored = rows.envelope_body(mailbox.row, EnvelopeId(entry.envelope_id))
            return (None if stored == entry.body else stop), None
        n = self._write(rows, moment, mailbox, entry, None)
        if n is None:
            stored = rows.envelope_body(mailbox.row, EnvelopeId(entry.envelope_id))
            if stored == entry.body:
                return None, None
            conflict = Result(codes.CONFLICT, "this envelope id was used with another body")
            return conflict, None
        if entry.token is None:
            self._shares.took(mailbox, entry, network, moment)
        delivery = Delivery(entry.mailbox_id, entry.envelope_id, entry.body)
        return None, Arrival(mailbox.row, n, delivery)

    def _take_metered(
        self,
        rows: Rows,
        moment: Moment,
        mailbox: Mailbox | None,
        entry: Submission,
        stop: Result | None,
        is_read: Callable[[int], bool],
    ) -> tuple[Result | None, Arrival | None]:
        judged = self._meter.judge(rows, moment, mailbox, entry)
        if not isinstance(judged, Judged) or mailbox is None:
            return (judged if isinstance(judged, Result) else NO_MAILBOX), None
        if stop is not None or self._is_full(mailbox, entry):
            return stop or FULL, None
        is_next = is_read(mailbox.row) and _is_next(rows, mailbox)
        n = self._write(rows, moment, mailbox, entry, judged.hash)
        if n is None:
            return Result(codes.CONFLICT, "this envelope id was used before"), None
        receipt = self._meter.record(rows, moment, mailbox, judged)
        delivery = None
        if is_next:
            mailbox.handed_n = n
            label = judged.charge.label()
            delivery = Delivery(entry.mailbox_id, entry.envelope_id, entry.body, label)
        return receipt, Arrival(mailbox.row, n, delivery, is_metered=True)

    def _is_full(self, mailbox: Mailbox, entry: Submission) -> bool:
        return (
            mailbox.depth >= MAX_DEPTH_MAILBOX
            or mailbox.size + len(entry.body) > MAX_BYTES_MAILBOX
            or mailbox.next_n > MAX_NUMBER
        )

    def _write(
        self, rows: Rows, moment: Moment, mailbox: Mailbox, entry: Submission, charge: Hash | None
    ) -> int | None:
        """:returns: its number in the mailbox, or ``None`` if the envelope id is there already"""
        expires = -(-(moment.now + entry.life * HOUR) // HOUR)
        n = mailbox.next_n
        envelope_id = EnvelopeId(entry.envelope_id)
        if not rows.add_envelope(mailbox.row, n, envelope_id, expires, charge, entry.body):
            return None
        mailbox.next_n += 1
        mailbox.depth += 1
        mailbox.size += len(entry.body)
        return n


def _is_next(rows: Rows, mailbox: Mailbox) -> bool:
    """Whether a metered envelope that comes now may be handed over at once: all that waits was, and
    the debt leaves room. Were the reader gone meanwhile, it would wait as one handed over."""
    handed = rows.count_handed(mailbox.row, mailbox.handed_n) if mailbox.depth else 0
    return handed == mailbox.depth and mailbox.debt + handed < MAX_UNSETTLED


def _put_off(first: Result) -> Result:
    """The answer to what would overtake ``first``, which was not taken."""
    if first.code == codes.FULL:
        return first
    detail = "an earlier one for this mailbox was not taken; send that first"
    return Result(codes.RATE, detail, first.retry_after or AT_ONCE)
