"""Mailboxes: the rules of making, opening, writing, handing over, acknowledging and deleting.

Each method is one request's work inside a transaction, in the store's thread. It returns results
and facts; nothing is told to anyone before the commit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kurir_billing.charge import open_charge
from kurir_billing.kinds import Category
from kurir_server.errors import DamagedError
from kurir_server.keys import RelayKeys
from kurir_server.limits import (
    BORN_HOUR_SLACK,
    CARD_HOURS,
    MAX_BYTES_MAILBOX,
    MAX_DEPTH_MAILBOX,
    MAX_NUMBER,
    MAX_UNSETTLED,
    RENUMBERED_FROM,
    UNREAD_DAYS,
    UNUSED_HOURS,
)
from kurir_server.meter import Judged, Meter
from kurir_server.rows import Mailbox, Moment, Rows
from kurir_server.shares import Shares
from kurir_wire import codes
from kurir_wire.entries import Ack, Delivery, NewMailbox, Opening, Result, Submission, check_bucket
from kurir_wire.errors import MalformedError, SignatureError
from kurir_wire.gates import OPEN_GATE, opens, token_gate
from kurir_wire.ids import DAY, HOUR, EnvelopeId, Hash, MailboxId, mailbox_id_of
from kurir_wire.limits import ADDRESS_BUCKETS
from kurir_wire.proofs import create_message, open_message
from kurir_wire.signing import verify

NO_MAILBOX = Result(codes.NO_MAILBOX, "there is no such mailbox, or this does not open it")
NOT_AUTHORISED = Result(
    codes.NOT_AUTHORISED, "the signature is not the mailbox's, or was made for another connection"
)
FULL = Result(codes.FULL, "the mailbox holds as much as it may; retry when it has been read")
COMES_AGAIN = (codes.RATE, codes.FULL, codes.CONFLICT, codes.REFUSED)
"""What was answered so may be sent once more, in these bytes or in others."""
AT_ONCE = 1
"""Seconds until what stood behind one that was not taken may come again: as soon as that has."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A mailbox that a connection may read from now on. ``newest_n``: the last number given out;
    ``waiting``: how many envelopes the reader can expect if it settles as it reads."""

    row: int
    mailbox_id: MailboxId
    newest_n: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """An envelope that was accepted; ``delivery`` is missing for a metered one that was not handed
    over in the transaction that took it."""

    row: int
    n: int
    delivery: Delivery | None
    is_metered: bool = False


@dataclass(frozen=True, slots=True)
class Submitted:
    """One result per envelope, and what arrived."""

    results: list[Result | None]
    arrivals: list[Arrival]


@dataclass(frozen=True, slots=True)
class Batch:
    """What waits in one mailbox. ``up_to``: everything to this number is in it or gone;
    ``blocked``: nothing comes before a settlement, or ever."""

    row: int
    deliveries: list[Delivery]
    up_to: int
    blocked: bool


class Relay:
    """The mailbox rules of one relay."""

    def __init__(self, keys: RelayKeys, meter: Meter) -> None:
        self._keys = keys
        self._meter = meter
        self._shares = Shares()

    def prune(self, tick: float) -> None:
        """Forget counters that have run full again."""
        self._shares.prune(tick)

    # Making and opening

    def create(
        self, rows: Rows, moment: Moment, nonce: bytes, mailboxes: Sequence[NewMailbox]
    ) -> list[Result | None]:
        """Make mailboxes; one that exists is made again with success."""
        results: list[Result | None] = []
        for new in mailboxes:
            if opens(OPEN_GATE, Hash(new.gate)):
                detail = "an address is made by registering a business"
                results.append(Result(codes.NOT_AUTHORISED, detail))
            else:
                results.append(self.make(rows, moment, nonce, new))
        return results

    def make(self, rows: Rows, moment: Moment, nonce: bytes, new: NewMailbox) -> Result | None:
        """Make one mailbox, whatever its gate."""
        message = create_message(self._keys.relay_id, nonce, new.gate, new.born_hour)
        try:
            verify(new.read_pk, message, new.signature, "the mailbox")
        except SignatureError:
            return NOT_AUTHORISED
        mailbox_id = self.id_of(new)
        if rows.mailbox(mailbox_id) is not None:
            return None
        hour = moment.now // HOUR
        # A client whose clock is right knows nothing of ours having leapt.
        hours = (hour, moment.sure // HOUR)
        if min(abs(new.born_hour - present) for present in hours) > BORN_HOUR_SLACK:
            return Result(codes.STALE, "the hour of birth is not the present hour")
        rows.add_mailbox(mailbox_id, new.read_pk, Hash(new.gate), hour + UNUSED_HOURS + 1)
        return None

    def id_of(self, new: NewMailbox) -> MailboxId:
        """The id that follows from a new mailbox's fields."""
        return mailbox_id_of(self._keys.relay_id, new.read_pk, Hash(new.gate), new.born_hour)

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
            message = open_message(self._keys.relay_id, nonce, mailbox.id)
            try:
                verify(mailbox.read_pk, message, opening.signature, "the proof")
            except SignatureError:
                opened.append(NOT_AUTHORISED)
                continue
            self._keep(rows, moment, mailbox)
            if mailbox.next_n > RENUMBERED_FROM:
                _renumber(rows, mailbox)
            waiting = rows.count_waiting(mailbox.row, moment.sure // HOUR)
            if mailbox.debt >= MAX_UNSETTLED:
                waiting = rows.count_handed(mailbox.row, mailbox.handed_n)
            opened.append(Opened(mailbox.row, mailbox.id, mailbox.next_n - 1, waiting))
        return opened

    def delete(self, rows: Rows, mailboxes: Sequence[int]) -> None:
        """Delete mailboxes that the connection has opened, with all that waits in them."""
        for row in mailboxes:
            rows.delete_mailbox(row)

    # Writing

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

    # Handing over

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
                self._keep(rows, moment, mailbox)
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

    # Cards

    def put_card(self, rows: Rows, moment: Moment, row: int, card: bytes) -> Result | None:
        """Leave a card with a mailbox that the connection has opened."""
        if rows.mailbox_at(row) is None:
            return NO_MAILBOX
        rows.put_card(row, card, moment.now // HOUR + CARD_HOURS)
        return None

    def get_card(
        self, rows: Rows, moment: Moment, mailbox_id: MailboxId, token: bytes
    ) -> bytes | Result:
        """The card that waits with a mailbox, for whoever has its token."""
        mailbox = rows.mailbox(mailbox_id)
        if mailbox is None or not opens(mailbox.gate, token_gate(token)):
            return NO_MAILBOX
        card = rows.card(mailbox.row, moment.sure // HOUR)
        return card or Result(codes.NOT_FOUND, "no card waits with this mailbox")

    # What a mailbox takes

    def set_refused(self, rows: Rows, row: int, categories: int) -> Result | None:
        """Note which categories a mailbox takes no more, of those that the connection has opened.
        Only marketing can be refused: the rest answers what the customer asked for, and who wants
        none of it deletes the mailbox."""
        if categories & ~(1 << Category.MARKETING):
            return Result(codes.MALFORMED, "only marketing can be refused")
        if rows.mailbox_at(row) is None:
            return NO_MAILBOX
        rows.set_refused(row, categories)
        return None

    def _keep(self, rows: Rows, moment: Moment, mailbox: Mailbox) -> None:
        """The mailbox was read today; whole days only, and at most one write a day."""
        keep_until = (moment.now // DAY + UNREAD_DAYS + 1) * (DAY // HOUR)
        if keep_until > mailbox.keep_until:
            rows.keep_mailbox(mailbox.row, keep_until)
            mailbox.keep_until = keep_until


def _is_next(rows: Rows, mailbox: Mailbox) -> bool:
    """Whether a metered envelope that comes now may be handed over at once: all that waits was, and
    the debt leaves room. Were the reader gone meanwhile, it would wait as one handed over."""
    handed = rows.count_handed(mailbox.row, mailbox.handed_n) if mailbox.depth else 0
    return handed == mailbox.depth and mailbox.debt + handed < MAX_UNSETTLED


def _renumber(rows: Rows, mailbox: Mailbox) -> None:
    """Begin to count anew. Only where a reader begins anew, who remembers no number."""
    waiting, mailbox.handed_n = rows.renumber(mailbox.row, mailbox.handed_n)
    mailbox.next_n = waiting + 1
    rows.put_counters(mailbox)


def _put_off(first: Result) -> Result:
    """The answer to what would overtake ``first``, which was not taken."""
    if first.code == codes.FULL:
        return first
    detail = "an earlier one for this mailbox was not taken; send that first"
    return Result(codes.RATE, detail, first.retry_after or AT_ONCE)
