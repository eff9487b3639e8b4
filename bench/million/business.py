"""A business and its customers: what they hold, and what they sign.

Prices and evidence are chosen by the functions of the client. Left out are sessions and sealing,
which cost the same for messages that nobody bills.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, cast

from kurir_billing.adjust import Adjust
from kurir_billing.charge import Charge, Line, lock_of
from kurir_billing.grant import Grant, check_grant, grant_message
from kurir_billing.kinds import Category, Class, GrantKind, PassKind, RefusalCode
from kurir_billing.lane import Lane, lane_message
from kurir_billing.passes import Pass
from kurir_billing.ratecard import RateCard
from kurir_billing.report import Report, Said, frank_tag, place_hash
from kurir_billing.tariffs import price, tariff_named
from kurir_billing.terms import Terms
from kurir_billing.ticket import Entry, Ticket
from kurir_client.engine import Sealed
from kurir_client.evidence import Evidence, Shown
from kurir_client.offers import declared
from kurir_client.paid import Unsigned, sign
from kurir_crypto.keys import SigningKeyPair
from kurir_crypto.session import Session
from kurir_crypto.settlement import settlement_secret
from kurir_server.rows import Mailbox
from kurir_wire.beacons import Beacon
from kurir_wire.codec import pack
from kurir_wire.entries import Submission
from kurir_wire.ids import NO_HASH, BusinessId, EnvelopeId, Hash, RelayId, business_id_of

BODY: Final = os.urandom(2_048)
"""The smallest envelope; what is in it makes no difference to billing."""
LIFE: Final = 24
MAX_LIST: Final = 256
_NO_SESSION: Final = cast(Session, None)
MIX: Final = (
    *(Category.SERVICE,) * 6,
    *(Category.UTILITY,) * 5,
    *(Category.MARKETING,) * 2,
    Category.AUTHENTICATION,
)


@dataclass(slots=True)
class Customer:
    """One mailbox into which a business pays, and what its owner permitted."""

    key: SigningKeyPair
    mailbox: Mailbox
    opening: bytes
    born_hour: int
    market: str
    permit: Grant | None = None
    entry: tuple[Grant, Entry] | None = None
    passes: dict[PassKind, Pass] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """A signed charge on its way. ``report``: what shows the message, if its customer is to
    complain."""

    customer: Customer
    sealed: Sealed
    line: Line
    secret: bytes
    report: Report | None

    @property
    def name(self) -> Hash:
        """The charge's hash."""
        assert self.sealed.charge_hash is not None
        return Hash(self.sealed.charge_hash)


@dataclass(slots=True)
class Business:
    """Keys, terms, customers, and its records: every line that it signed, and the adjustments that
    it was told of, with the reports."""

    relay_id: RelayId
    root: SigningKeyPair
    lane_key: SigningKeyPair
    lane: Lane
    terms: Terms
    ticket: Ticket
    customers: list[Customer] = field(default_factory=list)
    signed: dict[Hash, Line] = field(default_factory=dict)
    settled: dict[Hash, int] = field(default_factory=dict)
    rulings: list[tuple[Adjust, Report]] = field(default_factory=list)
    seq: int = 0
    _lines: dict[Line, Line] = field(default_factory=dict)

    @property
    def id(self) -> BusinessId:
        """Its id."""
        return business_id_of(self.root.public)

    def permit(self, customer: Customer, beacon: Beacon, *, by_link: bool) -> None:
        """The customer writes: a grant, which the business checks and keeps."""
        ticket = self.ticket.hash(self.relay_id, self.id) if by_link else NO_HASH
        kind = GrantKind.ENTRY if by_link else GrantKind.SERVICE
        place = self.relay_id, self.id, customer.mailbox.id
        message = grant_message(*place, kind, beacon.minute, beacon.nonce, ticket)
        grant = Grant(kind, beacon.minute, beacon.nonce, ticket, customer.key.sign(message))
        check_grant(grant, *place, customer.key.public)
        customer.permit = grant
        if by_link:
            customer.entry = grant, Entry(self.ticket, customer.born_hour)

    def draft(
        self,
        draw: Random,
        customer: Customer,
        card: tuple[RateCard, Hash],
        beacon: Beacon,
        now: int,
        *,
        wrongly: bool,
        reported: bool,
    ) -> tuple[Unsigned, Customer, bytes, Report | None]:
        """A charge for one message, at what is due.

        :param wrongly: at a price that is not
        :param reported: the customer will complain
        """
        line, shown = self._due(draw, customer, card, now)
        if wrongly:
            line = Line(
                line.market,
                line.tariff,
                line.rate_card,
                line.category,
                line.klass,
                line.list_price + 1,
                line.opener,
            )
        mailbox_id, envelope_id = customer.mailbox.id, EnvelopeId(draw.randbytes(16))
        kf, frank, report = draw.randbytes(32), draw.randbytes(32), None
        secret = settlement_secret(kf, envelope_id)
        lock = lock_of(secret)
        if reported and line.category != Category.NONE:
            content = pack(Said(0, draw.randbytes(16), 1, now, "an offer", category=line.category))
            place = place_hash(mailbox_id, envelope_id)
            frank = frank_tag(kf, self.relay_id, self.id, place, line.category, content)
            report = Report(self.id, place, line.category, content, kf, lock)
        self.seq += 1
        charge = Charge(
            line,
            customer.opening,
            frank,
            lock,
            draw.randbytes(32),
            draw.randbytes(32),
            beacon.minute,
            beacon.nonce,
            self.lane,
            self.seq,
            shown.grant,
            shown.entry,
            shown.pass_hash,
            None,
            bytes(64),
        )
        private = charge.private_hash(self.relay_id, mailbox_id, envelope_id, BODY, LIFE)
        fields = charge.signed_fields(self.relay_id, private)
        submission = Submission(mailbox_id, envelope_id, BODY, LIFE)
        return Unsigned(_NO_SESSION, submission, charge, fields), customer, secret, report

    def sign(self, drafts: Sequence[tuple[Unsigned, Customer, bytes, Report | None]]) -> list[Sent]:
        """One signature for each list, and each line into the records."""
        sent: list[Sent] = []
        for first in range(0, len(drafts), MAX_LIST):
            part = drafts[first : first + MAX_LIST]
            sealed = sign(self.lane_key, [draft[0] for draft in part])
            for done, (unsigned, customer, secret, report) in zip(sealed, part, strict=True):
                line = unsigned.charge.line
                # Equal lines are kept once: a million are few different ones.
                line = self._lines.setdefault(line, line) if line.opener == NO_HASH else line
                sent.append(Sent(customer, done, line, secret, report))
                self.signed[sent[-1].name] = line
        return sent

    def _due(
        self, draw: Random, customer: Customer, card: tuple[RateCard, Hash], now: int
    ) -> tuple[Line, Shown]:
        entry_grant, entry = customer.entry or (None, None)
        evidence = Evidence(customer.permit, entry_grant, entry, customer.passes)
        shown = evidence.to_show(self.terms, now)
        tariff = tariff_named(self.terms.tariff)
        category = declared(tariff, draw.choice(MIX))
        due = price(tariff.name, shown.facts(customer.market, category), card[0])
        if isinstance(due, RefusalCode):  # a service message has to be an answer
            category = Category.UTILITY
            due = price(tariff.name, shown.facts(customer.market, category), card[0])
        assert not isinstance(due, RefusalCode)
        opener = shown.held.opener if shown.held is not None and due.covered else NO_HASH
        values = card[1], category, Class(due.klass), due.micro_usd, opener
        return Line(customer.market, tariff.name, *values), shown


def new_business(
    relay_id: RelayId, draw: Random, until: int
) -> tuple[SigningKeyPair, SigningKeyPair, Lane]:
    """Root key, lane key and lane."""
    root = SigningKeyPair.from_seed(draw.randbytes(32))
    lane_key = SigningKeyPair.from_seed(draw.randbytes(32))
    message = lane_message(business_id_of(root.public), lane_key.public, until)
    return root, lane_key, Lane(root.public, lane_key.public, until, root.sign(message))
