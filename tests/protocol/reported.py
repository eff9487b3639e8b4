"""Honest reports for the tests: what a business said, its settled charge, and what shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from kurir_billing.adjust import Adjust, adjust_message, delta_for
from kurir_billing.charge import Line, charge_message
from kurir_billing.kinds import Category, Class
from kurir_billing.leaf import Leaf
from kurir_billing.ratecard import bundled, canonical, rate_card_hash
from kurir_billing.report import Report, frank_tag, place_hash
from kurir_client.content import TEXT, Content, franked_bytes
from kurir_wire.ids import EnvelopeId, MailboxId
from tests.protocol.make import (
    TODAY,
    TestBusiness,
    TestRelay,
    b16,
    b32,
    make_leaf,
    sign,
)

CARD = bundled()


def labelled(
    category: Category = Category.UTILITY,
    klass: Class = Class.IN_WINDOW,
    tariff: str = "message-2025",
    price: int = 0,
) -> Line:
    """By default an answer that its label makes free."""
    card_hash = rate_card_hash(canonical(CARD))
    return Line("ID", tariff, card_hash, int(category), int(klass), price)


@dataclass(frozen=True)
class Reported:
    """A message that a customer opened and can report."""

    relay: TestRelay
    business: TestBusiness
    leaf: Leaf
    report: Report

    def adjust(self, right: Category = Category.MARKETING, **changes: Any) -> Adjust:
        """What the operator signs, whatever is changed in it."""
        delta = delta_for(self.leaf, right, CARD)
        honest = Adjust(
            self.business.id,
            self.leaf.hash(self.relay.id),
            self.leaf.settled_day + 1,
            int(right),
            delta,
            self.report.hash,
            bytes(64),
        )
        changed = replace(honest, **changes)
        signature = sign(self.relay.operator, adjust_message(self.relay.id, changed))
        return replace(changed, signature=signature)


def resigned(leaf: Leaf, relay: TestRelay, business: TestBusiness, **changes: Any) -> Leaf:
    """Another leaf that this business signed."""
    changed = replace(leaf, **changes)
    line_hash = changed.line.hash(relay.id, business.id)
    fields = line_hash, changed.private_hash, changed.lock, changed.frank, changed.lane.lane_pk
    message = charge_message(*fields)
    return replace(changed, signature=sign(business.lane_key, message))


def make_reported(
    relay: TestRelay,
    business: TestBusiness,
    name: str = "reported",
    line: Line | None = None,
    day: int = TODAY,
    text: str = "50% off all seats to Jakarta!",
) -> Reported:
    """What the business's client and the customer's make of one message."""
    line = line or labelled()
    content = Content(TEXT, b16(f"{name} inner"), 3, 1_768_000_000, text, category=line.category)
    place = place_hash(MailboxId(b32(f"{name} mailbox")), EnvelopeId(b16(f"{name} envelope")))
    kf, shown = b32(f"{name} kf"), franked_bytes(content)
    tag = frank_tag(kf, relay.id, business.id, place, line.category, shown)
    leaf = resigned(make_leaf(relay, business, name, line, day), relay, business, frank=tag)
    report = Report(business.id, place, line.category, shown, kf, leaf.lock)
    return Reported(relay, business, leaf, report)
