"""Reading: who may read a mailbox, what is handed over, and what an acknowledgement removes.

Each method is one request's work inside a transaction, in the store's thread.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from kurir_billing.charge import open_charge
from kurir_server.errors import DamagedError
from kurir_server.limits import MAX_UNSETTLED, RENUMBERED_FROM, UNREAD_DAYS
from kurir_server.mailboxes import NOT_AUTHORISED
from kurir_server.meter import Meter
from kurir_server.rows import Mailbox, Moment, Rows
from kurir_wire import codes
from kurir_wire.entries import Ack, Delivery, Opening, Result
from kurir_wire.errors import SignatureError
from kurir_wire.ids import DAY, HOUR, EnvelopeId, MailboxId, RelayId
from kurir_wire.proofs import open_message
from kurir_wire.signing import verify


class Opened(Struct, frozen=True):
    """A mailbox that a connection may read from now on. ``newest_n``: the last number given out;
    ``waiting``: how many envelopes the reader can expect if it settles as it reads."""

    row: int
    mailbox_id: MailboxId
    newest_n: int
    waiting: int


class Batch(Struct, frozen=True):
    """What waits in one mailbox. ``up_to``: everything to this number is in it or gone;
    ``blocked``: nothing comes before a settlement, or ever."""

    row: int
    deliveries: list[Delivery]
    up_to: int
    blocked: bool


class Reading:
    """How the mailboxes of one relay are read."""

    def __init__(self, relay_id: RelayId, meter: Meter) -> None:
        self._relay_id = relay_id
        self._meter = meter

    def open(
        self, rows: Rows, moment: Moment, nonce: bytes, mailboxes: Sequence[Opening]
    ) -> list[Opened | Result]:
        """Check who may read."""
        opened: list[Opened | Result] = []
        for opening in mailboxes:
            mailbox = rows.mailbox(MailboxId(opening.mailbox_id))
            if mailbox is None:
                opened.append(NOT_AUTHORISED)
                continue
            message = open_message(self._relay_id, nonce, mailbox.id)
            try:
                verify(mailbox.read_pk, message, opening.signature, "the proof")
            except SignatureError:
                opened.append(NOT_AUTHORISED)
                continue
            _keep(rows, moment, mailbox)
            if mailbox.next_n > RENUMBERED_FROM:
                _renumber(rows, mailbox)
            waiting = rows.count_waiting(mailbox.row, moment.sure // HOUR)
            if mailbox.debt >= MAX_UNSETTLED:
                waiting = rows.count_handed(mailbox.row, mailbox.handed_n)
            opened.append(Opened(mailbox.row, mailbox.id, mailbox.next_n - 1, waiting))
        return opened

    def fetch(
        self,
        rows: Rows,
        moment: Moment,
        wanted: Sequence[tuple[int, int]],
        count: int,
        size: int,
    ) -> list[Batch]:
        """What waits in some mailboxes, each from after a number, ``count`` envelopes or ``size``
        bytes at most in all (and at least one)."""
        batches: list[Batch] = []
        for row, after in wanted:
            if count <= 0 or size <= 0:
                break
            try:
                batch = self._fetch_one(rows, moment, row, after, count, size)
            except DamagedError:
                # Where the file is damaged under one mailbox, the others go on.
                batch = Batch(row, [], after, blocked=True)
            count -= len(batch.deliveries)
            size -= sum(len(delivery.body) for delivery in batch.deliveries)
            batches.append(batch)
        return batches

    def _fetch_one(
        self, rows: Rows, moment: Moment, row: int, after: int, count: int, size: int
    ) -> Batch:
        mailbox = rows.mailbox_at(row)
        if mailbox is None:
            return Batch(row, [], after, blocked=True)
        deliveries: list[Delivery] = []
        damaged: list[EnvelopeId] = []
        up_to, handed, room = mailbox.next_n - 1, mailbox.handed_n, -1
        blocked = False
        for envelope in rows.waiting(mailbox.row, after, moment.sure // HOUR):
            if len(deliveries) >= count or size <= 0:
                up_to = after
                break
            if not envelope.whole:
                damaged.append(envelope.envelope_id)
                continue
            label = None
            if envelope.charge is not None:
                if room < 0:
                    unsettled = mailbox.debt + rows.count_handed(mailbox.row, mailbox.handed_n)
                    room = max(0, MAX_UNSETTLED - unsettled)
                if envelope.n > handed:
                    if room == 0:
                        up_to, blocked = after, True
                        break
                    room -= 1
                    handed = envelope.n
                label = open_charge(envelope.charge).label()
            deliveries.append(Delivery(mailbox.id, envelope.envelope_id, envelope.body, label))
            size -= len(envelope.body)
            after = envelope.n
        for envelope_id in damaged:
            self._remove(rows, moment, mailbox, envelope_id)
        if damaged or handed != mailbox.handed_n:
            mailbox.handed_n = handed
            rows.put_counters(mailbox)
        return Batch(mailbox.row, deliveries, up_to, blocked)

    def _remove(
        self, rows: Rows, moment: Moment, mailbox: Mailbox, envelope_id: EnvelopeId
    ) -> None:
        """Take away what its reader can never have; nothing is owed for it."""
        taken = rows.take_envelope(mailbox.row, envelope_id)
        if taken is None:
            return
        mailbox.depth -= 1
        mailbox.size -= taken.size
        if taken.charge is not None:
            self._meter.settle(rows, moment, taken.charge, None)

    def ack(
        self, rows: Rows, moment: Moment, acks: Sequence[tuple[int | None, Ack]]
    ) -> list[Result | None]:
        """Remove envelopes, settling metered ones.

        :param acks: with the row of the mailbox, or ``None`` if the connection did not open it
        """
        results: list[Result | None] = []
        mailboxes: dict[int, Mailbox | None] = {}
        for row, ack in acks:
            if row is None:
                results.append(NOT_AUTHORISED)
                continue
            if row not in mailboxes:
                mailboxes[row] = rows.mailbox_at(row)
            mailbox = mailboxes[row]
            results.append(self._ack_one(rows, moment, mailbox, ack) if mailbox else None)
        for mailbox in mailboxes.values():
            if mailbox is not None:
                rows.put_counters(mailbox)
                _keep(rows, moment, mailbox)
        return results

    def _ack_one(self, rows: Rows, moment: Moment, mailbox: Mailbox, ack: Ack) -> Result | None:
        taken = rows.take_envelope(mailbox.row, EnvelopeId(ack.envelope_id))
        if taken is None:
            return None
        mailbox.depth -= 1
        mailbox.size -= taken.size
        if taken.charge is None:
            return None
        if self._meter.settle(rows, moment, taken.charge, ack.secret):
            mailbox.debt = max(0, mailbox.debt - 1)
            return None
        mailbox.debt = min(MAX_UNSETTLED, mailbox.debt + 1)
        left = MAX_UNSETTLED - mailbox.debt
        return Result(codes.OK, "removed without settling", left=left)


def _renumber(rows: Rows, mailbox: Mailbox) -> None:
    """Begin to count anew. Only where a reader begins anew, who remembers no number."""
    waiting, mailbox.handed_n = rows.renumber(mailbox.row, mailbox.handed_n)
    mailbox.next_n = waiting + 1
    rows.put_counters(mailbox)


def _keep(rows: Rows, moment: Moment, mailbox: Mailbox) -> None:
    """The mailbox was read today; whole days only, and at most one write a day."""
    keep_until = (moment.now // DAY + UNREAD_DAYS + 1) * (DAY // HOUR)
    if keep_until > mailbox.keep_until:
        rows.keep_mailbox(mailbox.row, keep_until)
        mailbox.keep_until = keep_until
