"""Charges: what the relay accepts, refuses and settles. It never amends.

The order of the checks is normative (docs/protocol.md, "Charges"). Everything here runs in the
store's thread, inside the transaction of one batch; counters and caches live in memory only and are
touched from that thread alone.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from kurir_billing.charge import (
    Charge,
    Line,
    Quote,
    charge_hash,
    check_charge_signature,
    lock_of,
    open_charge,
    packed,
)
from kurir_billing.errors import EvidenceError
from kurir_billing.grant import Grant, check_grant
from kurir_billing.kinds import REFUSAL_TEXT, Category, Class, RefusalCode
from kurir_billing.leaf import Leaf, packed_leaf
from kurir_billing.ledger import entry_hash
from kurir_billing.ratecard import RateCard, parse
from kurir_billing.tariffs import Facts, price, tariff_named
from kurir_server.keys import RelayKeys
from kurir_server.limits import (
    BEACON_AGE,
    BUSINESS_RATE,
    GRANT_CACHE,
    MAX_BUCKETS,
    PAIR_RATE,
    SETTLE_DAYS,
    SMALL_BUSINESS_RATE,
)
from kurir_server.rates import Buckets, TooFast
from kurir_server.rows import Business, Mailbox, Moment, Rows
from kurir_wire import codes
from kurir_wire.cards import TIER_NONE, TIER_SMALL, Signed
from kurir_wire.codec import unpack
from kurir_wire.entries import Result, Submission
from kurir_wire.errors import MalformedError
from kurir_wire.gates import opens, payer_gate
from kurir_wire.ids import DAY, HOUR, MINUTE, BusinessId, EnvelopeId, Hash, MailboxId
from kurir_wire.limits import MAX_TEXT_DETAIL

MAX_LANE_DAY: Final = 2**40
"""A lane may be enrolled for ever; its day still has to fit a column."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A charge that may be accepted, if its mailbox has room."""

    charge: Charge
    hash: Hash
    private_hash: Hash
    tag: bytes
    business: Business


class Meter:
    """The rules of metered envelopes, with their counters."""

    def __init__(self, keys: RelayKeys) -> None:
        self._keys = keys
        self._grants: OrderedDict[tuple[Hash, BusinessId, MailboxId], None] = OrderedDict()
        self._cards: dict[Hash, RateCard] = {}
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
            name = self._name(charge, private_hash)
            gate = payer_gate(charge.business_id, charge.line.market, charge.opening)
        except MalformedError as error:
            return Result(codes.MALFORMED, str(error)[:MAX_TEXT_DETAIL])
        receipt = self.repeated(rows, name)
        if receipt is not None:
            return receipt
        if mailbox is None or not opens(mailbox.gate, gate):
            data = self._sign(RefusalCode.UNDELIVERABLE, name, charge, moment)
            return Result(codes.NO_MAILBOX, REFUSAL_TEXT[RefusalCode.UNDELIVERABLE], data=data)
        tag = self._keys.envelope_tag(mailbox_id, envelope_id)
        if rows.is_used(tag):
            return Result(codes.CONFLICT, "this envelope id was used with another charge")
        try:
            charge.lane.verify(moment.now)
            check_charge_signature(charge, self._keys.relay_id, private_hash)
            self._check_beacon(charge, moment.now)
        except EvidenceError as error:
            return self._refuse(RefusalCode.BAD_PARAMETER, name, charge, moment, str(error))
        business = rows.business(charge.business_id)
        if business is None or business.tier == TIER_NONE:
            return self._refuse(RefusalCode.NOT_APPROVED, name, charge, moment)
        refusal = self._check_line(rows, moment, mailbox, business, charge, name)
        if refusal is None:
            refusal = self._check_pace(moment, mailbox, business, charge, name)
        return refusal or Judged(charge, name, private_hash, tag, business)

    def record(self, rows: Rows, moment: Moment, mailbox: Mailbox, judged: Judged) -> Result:
        """Write down an accepted charge, without its evidence; the envelope is written by the
        caller.

        :returns: success with the receipt
        """
        charge = judged.charge
        data = packed(charge.without_evidence())
        until = moment.now // DAY + SETTLE_DAYS + 2
        rows.add_charge(judged.hash, moment.now // HOUR, judged.private_hash, data, until)
        rows.add_accepted_second(judged.hash, moment.now)
        rows.use(judged.tag, until)
        lane_day = min(charge.lane.not_after // DAY + 1, MAX_LANE_DAY)
        rows.set_lane_seq(charge.lane.lane_pk, charge.lane_seq, lane_day)
        self._count(rows, moment, mailbox, judged.business)
        return Result(codes.OK, data=self._keys.receipt(judged.hash, moment.now))

    def _count(self, rows: Rows, moment: Moment, mailbox: Mailbox, business: Business) -> None:
        """Use the paces up, unless the charge never comes to the disk."""
        rate = self._rate_of(business)
        self._pair.take(mailbox.row, moment.tick)
        rate.take(business.id, moment.tick)
        rows.if_undone(lambda: self._pair.give_back(mailbox.row))
        rows.if_undone(lambda: rate.give_back(business.id))

    def repeated(self, rows: Rows, charge: Hash) -> Result | None:
        """The receipt of a charge that was accepted before. Once the second is erased it names the
        start of the hour."""
        stored = rows.charge(charge)
        if stored is None:
            return None
        second = rows.accepted_second(charge)
        at = second if second is not None else stored.accepted_hour * HOUR
        return Result(codes.OK, data=self._keys.receipt(charge, at))

    def settle(self, rows: Rows, moment: Moment, charge: Hash, secret: bytes | None) -> bool:
        """The reader removed a metered envelope. With the right secret, in time, it becomes a
        leaf; in any case it can settle no more.

        :returns: whether it settled
        """
        stored = rows.charge(charge)
        if stored is None or stored.body is None or stored.private_hash is None:
            return False
        opened = open_charge(stored.body)
        in_time = moment.now < stored.accepted_hour * HOUR + SETTLE_DAYS * DAY
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

    def prune(self, tick: float) -> None:
        """Forget counters that have run full again."""
        for buckets in (self._pair, self._platform, self._small):
            buckets.prune(tick)

    def _name(self, charge: Charge, private_hash: Hash) -> Hash:
        return charge_hash(*charge.signed_fields(self._keys.relay_id, private_hash))

    def _check_beacon(self, charge: Charge, now: int) -> None:
        """:raises EvidenceError: the charge is not fresh"""
        expected = self._keys.beacon_nonce(charge.beacon_minute)
        if not hmac.compare_digest(expected, charge.beacon_nonce):
            raise EvidenceError("the charge rests on a beacon that this relay never gave out")
        age = now - charge.beacon_minute * MINUTE
        if age < 0:
            raise EvidenceError("the charge rests on a beacon from the future")
        if age > BEACON_AGE:
            raise EvidenceError("the charge's beacon is older than 24 hours; sign anew")

    def _check_line(
        self,
        rows: Rows,
        moment: Moment,
        mailbox: Mailbox,
        business: Business,
        charge: Charge,
        name: Hash,
    ) -> Result | None:
        """Compare what the business signed with what is due now."""
        stored = rows.rate_card_in_force(moment.now)
        if stored is None:
            detail = "no rate card is in force yet"
            return self._refuse(RefusalCode.BAD_PARAMETER, name, charge, moment, detail)
        window_open = False
        if charge.grant is not None:
            try:
                self._check_grant(charge.grant, charge.business_id, mailbox)
            except EvidenceError as error:
                return self._refuse(RefusalCode.BAD_PARAMETER, name, charge, moment, str(error))
            window_open = charge.grant.is_open(moment.now)
        if business.tier == TIER_SMALL and not window_open:
            return self._refuse(RefusalCode.OUTSIDE_WINDOW, name, charge, moment)
        line = charge.line
        asked = tariff_named(business.tariff).asks_category
        category = Category(line.category) if asked else Category.NONE
        facts = Facts(line.market, category, window_open)
        due = price(business.tariff, facts, self._rate_card(stored.hash, stored.card))
        if isinstance(due, RefusalCode):
            return self._refuse(due, name, charge, moment)
        right = Line(line.market, business.tariff, stored.hash, category, due.klass, due.micro_usd)
        if line != right:
            shut = line.klass == Class.IN_WINDOW and due.klass is Class.OUT_OF_WINDOW
            code = RefusalCode.OUTSIDE_WINDOW if shut else RefusalCode.BAD_PARAMETER
            why = None if shut else "the line is not the one that is due now; see the quote"
            return self._refuse(code, name, charge, moment, why, right)
        last = rows.lane_seq(charge.lane.lane_pk)
        if last is not None and charge.lane_seq <= last:
            detail = f"this lane has come to number {last} already; sign anew with a higher one"
            return self._refuse(RefusalCode.BAD_PARAMETER, name, charge, moment, detail, right)
        return None

    def _check_grant(self, grant: Grant, business_id: BusinessId, mailbox: Mailbox) -> None:
        """:raises EvidenceError: it does not permit this business to answer here"""
        key = (grant.hash, business_id, mailbox.id)
        if key in self._grants:
            return
        check_grant(
            grant,
            self._keys.relay_id,
            business_id,
            mailbox.id,
            mailbox.read_pk,
            self._keys.beacon_nonce,
        )
        self._grants[key] = None
        if len(self._grants) > GRANT_CACHE:
            self._grants.popitem(last=False)

    def _check_pace(
        self, moment: Moment, mailbox: Mailbox, business: Business, charge: Charge, name: Hash
    ) -> Result | None:
        slow = self._rate_of(business).look(business.id, moment.tick)
        if slow is not None:
            return self._too_fast(RefusalCode.RATE_LIMIT, name, charge, moment, slow)
        slow = self._pair.look(mailbox.row, moment.tick)
        if slow is not None:
            return self._too_fast(RefusalCode.PAIR_RATE, name, charge, moment, slow)
        return None

    def _rate_of(self, business: Business) -> Buckets[BusinessId]:
        return self._small if business.tier == TIER_SMALL else self._platform

    def _rate_card(self, card_hash: Hash, data: bytes) -> RateCard:
        """Parsed once; there are few versions."""
        if card_hash not in self._cards:
            self._cards[card_hash] = parse(unpack(data, Signed).body)
        return self._cards[card_hash]

    def _refuse(
        self,
        code: RefusalCode,
        name: Hash,
        charge: Charge,
        moment: Moment,
        detail: str | None = None,
        quote: Line | None = None,
    ) -> Result:
        data = self._sign(code, name, charge, moment, quote)
        text = f"{int(code)}: {detail or REFUSAL_TEXT[code]}"
        return Result(codes.REFUSED, text[:MAX_TEXT_DETAIL], data=data)

    def _too_fast(
        self, code: RefusalCode, name: Hash, charge: Charge, moment: Moment, slow: TooFast
    ) -> Result:
        text = f"{int(code)}: {REFUSAL_TEXT[code]}"
        data = self._sign(code, name, charge, moment)
        return Result(codes.REFUSED, text, slow.retry_after, slow.left, data)

    def _sign(
        self,
        code: RefusalCode,
        name: Hash,
        charge: Charge,
        moment: Moment,
        quote: Line | None = None,
    ) -> bytes:
        return self._keys.refusal(
            name, code, moment.now, charge.business_id, Quote(quote) if quote else None
        )
