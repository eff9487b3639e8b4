"""Businesses: registering, prekeys, the directory, proofs, and what a business may fetch."""

from __future__ import annotations

import calendar
import hmac
from collections.abc import Sequence
from typing import Final

from msgspec import structs

from kurir_billing.adjust import open_adjust
from kurir_billing.errors import EvidenceError
from kurir_billing.head import InvoiceHead, head_for, open_head, packed_head
from kurir_billing.lane import open_lane
from kurir_billing.leaf import open_leaf
from kurir_billing.ratecard import parse
from kurir_billing.tariffs import DEFAULT_TARIFF
from kurir_billing.terms import Terms, packed_terms
from kurir_billing.ticket import Ticket, packed_ticket
from kurir_billing.total import DAYS_BEFORE, openers
from kurir_billing.windows import WINDOW
from kurir_server.keys import RelayKeys
from kurir_server.limits import MAX_BUCKETS, ONE_TIME_RATE, PAGE_LEAVES
from kurir_server.mailboxes import Mailboxes
from kurir_server.parties import party_of
from kurir_server.rates import Buckets
from kurir_server.rows import Business, Moment, PreKeyKind, Rows
from kurir_server.starts import starts_left
from kurir_wire import codes
from kurir_wire.cards import TIER_NONE, Badge, BusinessCard, Signed, open_business_card
from kurir_wire.codec import pack, unpack
from kurir_wire.entries import Result
from kurir_wire.errors import ExpiredError, MalformedError, SignatureError, WireError
from kurir_wire.frames import (
    BusinessIs,
    GetSettlements,
    InvoiceIs,
    Prove,
    RateCardIs,
    Register,
    SettlementsAre,
    TermsAre,
)
from kurir_wire.gates import OPEN_GATE
from kurir_wire.ids import DAY, BusinessId, Hash
from kurir_wire.limits import MAX_PREKEYS, MAX_TEXT_DETAIL, MAX_TICKETS
from kurir_wire.prekeys import PREKEY_ONE_TIME, EcPreKey, KemPreKey
from kurir_wire.proofs import prove_message
from kurir_wire.signing import verify

FIRST_YEAR: Final = 2020
LAST_YEAR: Final = 9998
"""Years for which an invoice can be asked: those a calendar can count in days."""
UNKNOWN: Final = Result(codes.NOT_FOUND, "this business is not registered here")


class Registry:
    """The rules about businesses of one relay."""

    def __init__(self, keys: RelayKeys, mailboxes: Mailboxes) -> None:
        self._keys = keys
        self._mailboxes = mailboxes
        self._one_time: Buckets[BusinessId] = Buckets(ONE_TIME_RATE, MAX_BUCKETS)

    def register(
        self, rows: Rows, moment: Moment, nonce: bytes, request: Register
    ) -> Result | None:
        """Take the card of a business, new or newer, and make its address."""
        try:
            card = open_business_card(request.card, moment.now)
        except ExpiredError as error:
            return Result(codes.STALE, _short(error))
        except SignatureError as error:
            return Result(codes.NOT_AUTHORISED, _short(error))
        except WireError as error:
            return Result(codes.MALFORMED, _short(error))
        if card.relay_id != self._keys.relay_id:
            return Result(codes.MALFORMED, "the card is for another relay")
        address = request.address
        if address.gate != OPEN_GATE or self._mailboxes.id_of(address) != card.address:
            return Result(codes.MALFORMED, "the address is not the one that the card names")
        stored = rows.business(card.business_id)
        if stored is not None and card.version < stored.version:
            return Result(codes.STALE, f"version {stored.version} of this card is here already")
        if stored is not None and card.version == stored.version and stored.card != request.card:
            return Result(codes.CONFLICT, "this version was used with another card")
        refusal = self._mailboxes.make(rows, moment, nonce, address)
        if refusal is not None:
            return refusal
        if stored is None or stored.card != request.card:
            if stored is not None and _ends_prekeys(_card_of(stored), card):
                rows.drop_prekeys(stored.id)
            rows.put_business(
                card.business_id, card.version, request.card, card.expires, DEFAULT_TARIFF
            )
        return None

    def prove(self, rows: Rows, moment: Moment, nonce: bytes, request: Prove) -> Result | None:
        """Whether a connection speaks for a business."""
        try:
            lane = open_lane(request.lane, moment.now)
        except EvidenceError as error:
            return Result(codes.NOT_AUTHORISED, _short(error))
        if not hmac.compare_digest(lane.business_id, request.business_id):
            return Result(codes.NOT_AUTHORISED, "the lane is of another business")
        if rows.business(lane.business_id) is None:
            return Result(codes.NOT_AUTHORISED, "this business is not registered here")
        message = prove_message(self._keys.relay_id, nonce, request.business_id)
        try:
            verify(lane.lane_pk, message, request.signature, "the proof")
        except SignatureError as error:
            return Result(codes.NOT_AUTHORISED, _short(error))
        return None

    def check_prekeys(
        self, rows: Rows, business_id: BusinessId, prekeys: Sequence[EcPreKey | KemPreKey]
    ) -> bytes | Result:
        """Check some of many signatures.

        :returns: the key by which the business signs at present
        """
        business = rows.business(business_id)
        if business is None:
            return UNKNOWN
        signer = _card_of(business).identity.sign_pk
        try:
            for prekey in prekeys:
                prekey.verify(signer)
        except SignatureError as error:
            return Result(codes.NOT_AUTHORISED, _short(error))
        except MalformedError as error:
            return Result(codes.MALFORMED, _short(error))
        return signer

    def put_prekeys(
        self,
        rows: Rows,
        business_id: BusinessId,
        ec: Sequence[EcPreKey],
        kem: Sequence[KemPreKey],
        checked: bytes | None = None,
    ) -> Result:
        """Keep one-time prekeys, all or none. ``left`` in the result: room for more of both.

        :param checked: the key under which :meth:`check_prekeys` found all of them signed
        """
        business = rows.business(business_id)
        if business is None:
            return UNKNOWN
        present = _card_of(business).identity.sign_pk
        signer = None if present == checked else present
        new: list[tuple[PreKeyKind, int, bytes]] = []
        room = {kind: MAX_PREKEYS - rows.count_prekeys(business_id, kind) for kind in PreKeyKind}
        try:
            for kind, prekeys in ((PreKeyKind.EC, ec), (PreKeyKind.KEM, kem)):
                fresh = self._fresh(rows, business_id, kind, prekeys, signer)
                room[kind] -= len(fresh)
                new.extend((kind, key_id, body) for key_id, body in fresh.items())
        except SignatureError as error:
            return Result(codes.NOT_AUTHORISED, _short(error))
        except MalformedError as error:
            return Result(codes.MALFORMED, _short(error))
        if min(room.values()) < 0:
            return Result(codes.TOO_MANY, f"at most {MAX_PREKEYS} of each kind are kept", left=0)
        for kind, key_id, body in new:
            rows.add_prekey(business_id, kind, key_id, body)
        return Result(codes.OK, left=min(room.values()))

    def _fresh(
        self,
        rows: Rows,
        business_id: BusinessId,
        kind: PreKeyKind,
        prekeys: Sequence[EcPreKey] | Sequence[KemPreKey],
        signer: bytes | None,
    ) -> dict[int, bytes]:
        """Those that are not here yet, checked.

        :param signer: ``None`` if their signatures were checked before
        :raises MalformedError: of another kind, or its id stands for another key
        :raises SignatureError: not signed by the business
        """
        fresh: dict[int, bytes] = {}
        for prekey in prekeys:
            if prekey.kind != PREKEY_ONE_TIME:
                raise MalformedError("only one-time prekeys are kept here")
            body = pack(prekey)
            stored = fresh.get(prekey.key_id) or rows.prekey(business_id, kind, prekey.key_id)
            if stored is None:
                if signer is not None:
                    prekey.verify(signer)
                fresh[prekey.key_id] = body
            elif stored != body:
                raise MalformedError("a prekey's id was used for another key")
        return fresh

    def get_business(
        self, rows: Rows, moment: Moment, n: int, business_id: BusinessId
    ) -> BusinessIs | Result:
        """The card, the badge, and one one-time prekey of each kind, which is removed. Too fast for
        those, the card comes without: the last-resort key that it names serves."""
        business = rows.business(business_id)
        if business is None or moment.sure >= business.expires:
            return Result(codes.NOT_FOUND, "there is no such business, or its card has expired")
        ec = kem = None
        if self._one_time.take(business_id, moment.tick) is None:
            rows.if_undone(lambda: self._one_time.give_back(business_id))
            ec = rows.take_prekey(business_id, PreKeyKind.EC)
            kem = rows.take_prekey(business_id, PreKeyKind.KEM)
        return BusinessIs(
            n,
            business.card,
            _badge_of(business, moment.now),
            unpack(ec, EcPreKey) if ec else None,
            unpack(kem, KemPreKey) if kem else None,
        )

    def rate_card(
        self, rows: Rows, moment: Moment, n: int, card_hash: Hash | None
    ) -> RateCardIs | Result:
        """A rate card: the one in force, or a named one."""
        if card_hash is None:
            stored = rows.rate_card_in_force(moment.now)
        else:
            stored = rows.rate_card(card_hash)
        if stored is None:
            return Result(codes.NOT_FOUND, "there is no such rate card")
        return RateCardIs(n, stored.card)

    def terms(
        self, rows: Rows, moment: Moment, business_id: BusinessId, n: int
    ) -> TermsAre | Result:
        """The operator's terms for a business, what is left of them, and its entry tickets: those
        under which a customer came so late as a day ago, who may still be answered."""
        business = rows.business(business_id)
        if business is None:
            return Result(codes.NOT_FOUND, "this business is not registered here")
        tickets = rows.tickets(business_id, moment.now - WINDOW)[:MAX_TICKETS]
        return TermsAre(
            n,
            _terms_of(business),
            starts_left(rows, moment.now, business),
            [
                packed_ticket(Ticket(ticket.entry_id, ticket.not_after, ticket.signature))
                for ticket in tickets
            ],
        )

    def settlements(
        self, rows: Rows, moment: Moment, business_id: BusinessId, request: GetSettlements
    ) -> SettlementsAre | Result:
        """Settled charges of a day that is over, in order of their hash, so that neither the order
        nor the hour in which customers read can be told."""
        if request.day >= moment.now // DAY:
            return Result(codes.NOT_FOUND, "this day is not over yet")
        leaves = rows.leaves(business_id, request.day, Hash(request.after), PAGE_LEAVES + 1)
        return SettlementsAre(request.n, leaves[:PAGE_LEAVES], len(leaves) > PAGE_LEAVES)

    def invoice(
        self, rows: Rows, moment: Moment, business_id: BusinessId, n: int, month: int
    ) -> InvoiceIs | Result:
        """The signed head of a month's invoice, through yesterday or the end of the month."""
        year, number = divmod(month, 100)
        if not (FIRST_YEAR <= year <= LAST_YEAR and 1 <= number <= 12):
            return Result(codes.NOT_FOUND, "a month is written as year * 100 + month")
        first = calendar.timegm((year, number, 1, 0, 0, 0)) // DAY
        last = first + calendar.monthrange(year, number)[1] - 1
        through = min(last, moment.now // DAY - 1)
        if through < first:
            return Result(codes.NOT_FOUND, "no day of this month is over yet")
        leaves = (open_leaf(leaf) for leaf in rows.leaves_of_days(business_id, first, through))
        cards = {
            stored.hash: parse(unpack(stored.card, Signed).body) for stored in rows.rate_cards()
        }
        relay_id = self._keys.relay_id
        earlier = rows.leaves_of_days(business_id, first - DAYS_BEFORE, first - 1)
        due = head_for(
            business_id,
            month,
            through,
            leaves,
            relay_id,
            cards,
            frozenset(openers(map(open_leaf, earlier), relay_id)),
            adjusts=[
                open_adjust(stored.adjust)
                for stored in rows.adjusts_of_days(business_id, first, through)
            ],
            seller=party_of(rows, relay_id),
            buyer=party_of(rows, business_id),
            issued_day=moment.now // DAY,
        )
        head = _issued(rows, due)
        return InvoiceIs(n, packed_head(self._keys.invoice(head)))


def _issued(rows: Rows, due: InvoiceHead) -> InvoiceHead:
    """The invoice as it was issued, if nothing has changed since, else as its next revision. It is
    kept without a signature: that is the same whenever it is made."""
    business_id = BusinessId(due.business_id)
    stored = rows.last_invoice(business_id, due.month)
    if stored is not None:
        last = open_head(stored)
        again = structs.replace(due, revision=last.revision, issued_day=last.issued_day)
        if again == last:
            return last
        due = structs.replace(due, revision=last.revision + 1)
    rows.add_invoice(business_id, due.month, due.revision, packed_head(due))
    return due


def _ends_prekeys(old: BusinessCard, new: BusinessCard) -> bool:
    """Whether the one-time prekeys left under ``old`` may be of no use under ``new``: signed by
    another identity, lost by the business, or of an earlier rotation, whose keys it deletes."""
    return (old.identity, old.signed_prekey, old.sessions_from) != (
        new.identity,
        new.signed_prekey,
        new.sessions_from,
    )


def _card_of(business: Business) -> BusinessCard:
    """The stored card, which was checked when it came."""
    return unpack(unpack(business.card, Signed).body, BusinessCard)


def _badge_of(business: Business, now: int) -> Badge | None:
    if (
        business.tier == TIER_NONE
        or business.legal_name is None
        or business.badge_not_after is None
        or business.badge_signature is None
        or now >= business.badge_not_after
    ):
        return None
    return Badge(
        business.tier, business.legal_name, business.badge_not_after, business.badge_signature
    )


def _terms_of(business: Business) -> bytes | None:
    if business.terms_issued is None or business.terms_signature is None:
        return None
    return packed_terms(
        Terms(
            business.tariff,
            business.tier,
            business.starts,
            business.terms_issued,
            business.terms_signature,
        )
    )


def _short(error: Exception) -> str:
    return str(error)[:MAX_TEXT_DETAIL]
