"""A customer of a business at a rig, and charges that get what is due by asking for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kurir_billing.answers import Receipt, Refusal
from kurir_billing.charge import Line
from kurir_billing.grant import Grant
from kurir_billing.kinds import Category, Class
from kurir_billing.passes import Pass
from kurir_billing.ticket import Entry, Ticket
from kurir_wire.beacons import Beacon
from kurir_wire.entries import Result
from kurir_wire.ids import HOUR
from tests.server.helpers import CARD_HASH, Box, Shop, Signed, receipt_of, refusal_of
from tests.server.rig import Rig

NO_PRICE = 2**62
"""A list price that is never due."""


@dataclass
class Customer:
    """One mailbox into which ``shop`` pays. Whatever is not given is not shown."""

    rig: Rig
    shop: Shop
    tariff: str
    box: Box
    opening: bytes
    market: str = "ID"

    def grant(self, ticket: Ticket | None = None, beacon: Beacon | None = None) -> Grant:
        """The customer writes now."""
        return self.box.grant(self.shop.id, beacon or self.rig.beacon, ticket)

    def entry(self, ticket: Ticket) -> Entry:
        return Entry(ticket, self.box.born_hour)

    def came_by(self, ticket: Ticket) -> dict[str, Any]:
        """The evidence of a customer who comes by a ticket's link now."""
        return {"grant": self.grant(ticket), "entry": self.entry(ticket)}

    def line(
        self,
        klass: Class,
        price: int,
        category: Category = Category.NONE,
        opener: bytes = bytes(32),
        card: bytes = CARD_HASH,
    ) -> Line:
        return Line(self.market, self.tariff, card, category, klass, price, opener)

    def sign(self, line: Line, grant: Grant | None = None, **evidence: Any) -> Signed:
        # Another customer writes meanwhile: pace is not what these tests are about.
        self.rig.tick += 6
        return self.rig.charge(self.shop, self.box, self.opening, line, grant, **evidence)

    def submit(self, signed: Signed) -> Result | None:
        return self.rig.submit(signed.submission)[0]

    def refused(self, line: Line, grant: Grant | None = None, **evidence: Any) -> Refusal:
        """The refusal of a charge with this line, whose signature is good."""
        signed = self.sign(line, grant, **evidence)
        refusal = refusal_of(self.submit(signed))
        refusal.verify(self.rig.keys.cert.receipt_pk, self.rig.keys.relay_id, self.shop.id)
        assert refusal.charge == signed.hash
        assert refusal.now == self.rig.now
        return refusal

    def asked(
        self, category: Category = Category.NONE, grant: Grant | None = None, **evidence: Any
    ) -> Refusal:
        """What the relay says is due: the refusal of a line that never is."""
        return self.refused(self.line(Class.ENTRY, NO_PRICE, category), grant, **evidence)

    def taken(self, line: Line, grant: Grant | None = None, **evidence: Any) -> Receipt:
        """The receipt of a charge that is accepted at once."""
        signed = self.sign(line, grant, **evidence)
        return self.received(signed)

    def received(self, signed: Signed) -> Receipt:
        receipt = receipt_of(self.submit(signed))
        receipt.verify(self.rig.keys.cert.receipt_pk)
        assert receipt.charge == signed.hash
        return receipt

    def sent(
        self, category: Category = Category.NONE, grant: Grant | None = None, **evidence: Any
    ) -> tuple[Signed, Receipt]:
        """Ask what is due, sign that, and send it."""
        refusal = self.asked(category, grant, **evidence)
        assert refusal.quote is not None
        held = refusal.held
        signed = self.sign(refusal.quote.line, grant, **(evidence | {"held": held}))
        return signed, self.received(signed)

    def settled(self, signed: Signed) -> None:
        """The customer reads and settles."""
        self.rig.fetch(self.box)
        result = self.rig.ack(self.box, signed.submission.envelope_id, signed.secret)
        assert result is None, result


def customer(rig: Rig, shop: Shop, tariff: str, market: str = "ID") -> Customer:
    """A new mailbox of this hour."""
    box, opening = rig.customer(shop, market)
    assert box.born_hour == rig.now // HOUR
    return Customer(rig, shop, tariff, box, opening, market)


def pass_of(receipt: Receipt) -> Pass:
    assert receipt.earned is not None, "no pass was earned"
    return receipt.earned
