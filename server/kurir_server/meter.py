"""Charges: what the relay accepts, refuses and settles. It never amends.

The order of the checks is normative (docs/protocol.md, "Charges"). Everything here runs in the
store's thread, inside the transaction of one batch; counters and caches live in memory only and are
touched from that thread alone.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

from kurir_billing.charge import (
    Charge,
    Line,
    charge_message,
    charge_name,
    lock_of,
    open_charge,
    packed,
)
from kurir_billing.errors import EvidenceError
from kurir_billing.kinds import PassKind, RefusalCode
from kurir_billing.leaf import Leaf, packed_leaf
from kurir_billing.ledger import entry_hash
from kurir_server.evidence import Evidence
from kurir_server.keys import RelayKeys
from kurir_server.limits import (
    BUSINESS_RATE,
    MAX_BUCKETS,
    PAIR_RATE,
    SETTLE_DAYS,
    SMALL_BUSINESS_RATE,
)
from kurir_server.marks import Marks
from kurir_server.pricing import Due, Pricing
from kurir_server.rates import Buckets
from kurir_server.refusals import RefusedError, answer
from kurir_server.rows import Business, Mailbox, Moment, Rows
from kurir_server.seconds import Seconds
from kurir_server.starts import Starts
from kurir_wire import codes
from kurir_wire.cards import TIER_NONE, TIER_SMALL
from kurir_wire.entries import Result, Submission
from kurir_wire.errors import MalformedError
from kurir_wire.gates import opens, payer_gate
from kurir_wire.ids import DAY, HOUR, BusinessId, EnvelopeId, Hash, MailboxId
from kurir_wire.limits import MAX_TEXT_DETAIL

MAX_LANE_DAY: Final = 2**40
"""A lane may be enrolled for ever; its day still has to fit a column."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A charge that may be accepted, if its mailbox has room. ``opens``: the pass that it earns;
    ``is_start``: it counts against the business's limit."""

    charge: Charge
    hash: Hash
    private_hash: Hash
    tag: bytes
    business: Business
    opens: PassKind | None
    is_start: bool


class Meter:
    """The rules of metered envelopes, with their counters."""

    def __init__(self, keys: RelayKeys) -> None:
        self._keys = keys
        self._evidence = Evidence(keys)
        self._marks = Marks(keys)
        self._pricing = Pricing(self._marks)
        self._starts = Starts(keys)
        self._seconds = Seconds()
        self._pair: Buckets[int] = Buckets(PAIR_RATE, MAX_BUCKETS)
        self._platform: Buckets[BusinessId] = Buckets(BUSINESS_RATE, MAX_BUCKETS)
        self._small: Buckets[BusinessId] = Buckets(SMALL_BUSINESS_RATE, MAX_BUCKETS)

    def judge(
        self, rows: Rows, moment: Moment, mailbox: Mailbox | None, submission: Submission
    ) -> Judged | Result:
        """Whether the relay takes a charge. Writes nothing.

        :param mailbox: where it is to go, or ``None`` if there is no such mailbox
        :returns: what :meth:`record` needs, or the answer: a refusal, or the receipt of a retry
        """
        try:
            charge = open_charge(submission.charge or b"")
            mailbox_id = MailboxId(submission.mailbox_id)
            envelope_id = EnvelopeId(submission.envelope_id)
            private_hash = charge.private_hash(
                self._keys.relay_id, mailbox_id, envelope_id, submission.body, submission.life
            )
            message = charge_message(*charge.signed_fields(self._keys.relay_id, private_hash))
            name = charge_name(message)
            gate = payer_gate(charge.business_id, charge.line.market, charge.opening)
        except MalformedError as error:
            return Result(codes.MALFORMED, str(error)[:MAX_TEXT_DETAIL])
        receipt = self._repeated(rows, moment, name, charge.line, mailbox_id)
        if receipt is not None:
            return receipt
        tag = self._keys.envelope_tag(mailbox_id, envelope_id)
        try:
            if mailbox is None or not opens(mailbox.gate, gate):
                raise RefusedError(RefusalCode.UNDELIVERABLE)
            if rows.is_used(tag):
                return Result(codes.CONFLICT, "this envelope id was used with another charge")
            try:
                self._evidence.check_signed(charge, message, name, moment.now)
                self._evidence.check_beacon(charge, moment.now)
                business = _approved(rows, charge.business_id)
                due = self._due(rows, moment.now, mailbox, business, charge)
            except EvidenceError as error:
                raise RefusedError(RefusalCode.BAD_PARAMETER, str(error)) from error
            due.check(charge.line, charge.pass_hash)
            _check_alone(business, charge)
            _check_lane(rows, charge)
            is_start = self._starts.check(rows, moment.now, business, charge.line, mailbox_id)
            self._check_pace(moment, mailbox, business)
        except RefusedError as refused:
            return answer(self._keys, refused, name, charge.business_id, moment.now)
        return Judged(charge, name, private_hash, tag, business, due.opens, is_start)

    def record(self, rows: Rows, moment: Moment, mailbox: Mailbox, judged: Judged) -> Result:
        """Write down an accepted charge, without its evidence; the envelope is written by the
        caller.

        :returns: success with the receipt
        """
        charge, business = judged.charge, judged.business
        data = packed(charge.without_evidence())
        until = moment.now // DAY + SETTLE_DAYS + 2
        rows.add_charge(judged.hash, moment.now // HOUR, judged.private_hash, data, until)
        self._seconds.note(judged.hash, moment.now)
        rows.use(judged.tag, until)
        lane_day = min(charge.lane.not_after // DAY + 1, MAX_LANE_DAY)
        rows.set_lane_seq(charge.lane.lane_pk, charge.lane_seq, lane_day)
        if judged.is_start:
            self._starts.note(rows, moment.now, business.id, mailbox.id)
        earned = None
        if judged.opens is not None:
            klass = charge.line.klass
            earned = self._marks.earn(
                rows, business.id, mailbox.id, judged.opens, judged.hash, klass, moment.now
            )
        self._count(rows, moment, mailbox, business)
        return Result(codes.OK, data=self._keys.receipt(judged.hash, moment.now, earned))

    def _count(self, rows: Rows, moment: Moment, mailbox: Mailbox, business: Business) -> None:
        """Use the paces up, unless the charge never comes to the disk."""
        rate = self._rate_of(business)
        self._pair.take(mailbox.row, moment.tick)
        rate.take(business.id, moment.tick)
        rows.if_undone(lambda: self._pair.give_back(mailbox.row))
        rows.if_undone(lambda: rate.give_back(business.id))

    def settle(self, rows: Rows, moment: Moment, charge: Hash, secret: bytes | None) -> bool:
        """The reader removed a metered envelope. With the right secret, in time, it becomes a
        leaf; in any case it can settle no more.

        :returns: whether it settled
        """
        stored = rows.charge(charge)
        if stored is None or stored.body is None or stored.private_hash is None:
            return False
        opened = open_charge(stored.body)
        in_time = moment.sure < stored.accepted_hour * HOUR + SETTLE_DAYS * DAY
        settled = (
            secret is not None and in_time and hmac.compare_digest(lock_of(secret), opened.lock)
        )
        if settled and secret is not None:
            day = moment.now // DAY
            leaf = Leaf.settle(opened, stored.private_hash, secret, day)
            rows.add_leaf(opened.business_id, day, charge, packed_leaf(leaf))
            rows.add_pending(day, entry_hash(leaf, self._keys.relay_id))
        rows.close_charge(charge)
        return settled

    def prune(self, moment: Moment) -> None:
        """Forget counters that have run full again, and seconds that are too old."""
        for buckets in (self._pair, self._platform, self._small):
            buckets.prune(moment.tick)
        self._seconds.prune(moment.now)

    def _repeated(
        self, rows: Rows, moment: Moment, charge: Hash, line: Line, mailbox_id: MailboxId
    ) -> Result | None:
        """The receipt of a charge that was accepted before, with its pass while that holds.
        Otherwise, once the second is forgotten, it names the start of the hour."""
        stored = rows.charge(charge)
        if stored is None:
            return None
        earned = self._marks.find(rows, line.tariff, mailbox_id)
        if earned is None or earned.opener != charge or moment.now >= earned.until:
            earned = None
        second = earned.opened_at if earned else self._seconds.find(charge, moment.now)
        at = second if second is not None else stored.accepted_hour * HOUR
        return Result(codes.OK, data=self._keys.receipt(charge, at, earned))

    def _due(
        self, rows: Rows, now: int, mailbox: Mailbox, business: Business, charge: Charge
    ) -> Due:
        """What is due now.

        :raises EvidenceError: the evidence is not in order
        :raises RefusedError: nothing can be sent with it
        """
        shown = self._evidence.shown(charge, mailbox, now)
        if business.tier == TIER_SMALL and not shown.window_open:
            raise RefusedError(RefusalCode.OUTSIDE_WINDOW)
        return self._pricing.due(rows, now, mailbox, business.tariff, charge.line, shown)

    def _check_pace(self, moment: Moment, mailbox: Mailbox, business: Business) -> None:
        """:raises RefusedError: too fast"""
        slow = self._rate_of(business).look(business.id, moment.tick)
        if slow is not None:
            raise RefusedError(RefusalCode.RATE_LIMIT, slow=slow)
        slow = self._pair.look(mailbox.row, moment.tick)
        if slow is not None:
            raise RefusedError(RefusalCode.PAIR_RATE, slow=slow)

    def _rate_of(self, business: Business) -> Buckets[BusinessId]:
        return self._small if business.tier == TIER_SMALL else self._platform


def _approved(rows: Rows, business_id: BusinessId) -> Business:
    """:raises RefusedError: not registered, or without a tier"""
    business = rows.business(business_id)
    if business is None or business.tier == TIER_NONE:
        raise RefusedError(RefusalCode.NOT_APPROVED)
    return business


def _check_alone(business: Business, charge: Charge) -> None:
    """:raises RefusedError: a small business signed a list"""
    if business.tier == TIER_SMALL and charge.listed is not None:
        detail = "a business of tier small signs each message alone; sign anew"
        raise RefusedError(RefusalCode.BAD_PARAMETER, detail, quote=charge.line)


def _check_lane(rows: Rows, charge: Charge) -> None:
    """:raises RefusedError: the lane counts back"""
    last = rows.lane_seq(charge.lane.lane_pk)
    if last is not None and charge.lane_seq <= last:
        detail = f"this lane has come to number {last} already; sign anew with a higher one"
        raise RefusedError(RefusalCode.BAD_PARAMETER, detail, quote=charge.line)
