"""Messages that say what they are: sent, settled and reported, as both ends do it."""

from __future__ import annotations

import secrets
from typing import Any

from msgspec.structs import replace

from kurir_billing.charge import Line, charge_hash, charge_message, packed
from kurir_billing.grant import Grant
from kurir_billing.kinds import Category
from kurir_billing.report import Complaint, Report, frank_tag, packed_report, place_hash
from kurir_client.content import TEXT, Content, franked_bytes
from kurir_crypto.sealing import EnvelopeKeyPair, seal_report
from kurir_wire.beacons import Beacon
from kurir_wire.cards import BusinessCard, business_card_message, signed_card
from kurir_wire.cards import Signed as SignedBytes
from kurir_wire.codec import pack, unpack
from kurir_wire.ids import EnvelopeId
from kurir_wire.relaycert import RelayCert
from tests.server.helpers import Box, Shop, Signed, receipt_of
from tests.server.rig import Rig

TARIFF = "message-2025"


def labelled_line(shop: Shop, category: Category = Category.UTILITY, **changes: Any) -> Line:
    """By default an answer that its label makes free."""
    values: dict[str, Any] = {"is_open": True, "tariff": TARIFF, "category": int(category)}
    return shop.line(**(values | changes))


def franked(
    shop: Shop,
    box: Box,
    opening: bytes,
    beacon: Beacon,
    text: str = "50% off all seats!",
    line: Line | None = None,
    grant: Grant | None = None,
) -> tuple[Signed, Report]:
    """A charge whose tag is of a text, and what its reader could report."""
    line = line or labelled_line(shop)
    signed = shop.sign(box, opening, line, beacon, grant)
    sent, kf = signed.submission, secrets.token_bytes(32)
    content = franked_bytes(
        Content(TEXT, secrets.token_bytes(16), 1, 1_800_000_000, text, category=line.category)
    )
    place = place_hash(box.id, EnvelopeId(sent.envelope_id))
    tag = frank_tag(kf, shop.relay_id, shop.id, place, line.category, content)
    charge = replace(signed.charge, frank=tag)
    envelope_id = EnvelopeId(sent.envelope_id)
    private = charge.private_hash(shop.relay_id, box.id, envelope_id, sent.body, sent.life)
    fields = charge.signed_fields(shop.relay_id, private)
    charge = replace(charge, signature=shop.lane_key.sign(charge_message(*fields)))
    report = Report(shop.id, place, line.category, content, kf, charge.lock)
    submission = replace(sent, charge=packed(charge))
    return Signed(submission, charge, charge_hash(*fields), signed.secret), report


def settle_labelled(
    rig: Rig, shop: Shop, text: str = "50% off all seats!", **changes: Any
) -> Report:
    """A labelled message that its customer opened, of a shop with a tariff that asks for it."""
    box, opening = rig.customer(shop)
    line = labelled_line(shop, **changes)
    grant = box.grant(shop.id, rig.beacon)
    signed, report = franked(shop, box, opening, rig.beacon, text, line, grant)
    receipt_of(rig.submit(signed.submission)[0])
    rig.tick += 6
    rig.fetch(box)
    assert rig.ack(box, signed.submission.envelope_id, signed.secret) is None
    return report


def sealed(cert: RelayCert, report: Report, wanted: int = 3, reason: str = "an ad") -> bytes:
    """As the customer's client leaves it."""
    made = Complaint(report, wanted, reason)
    return seal_report(cert.report_pk, cert.relay_id, packed_report(made))


def usable_card(shop: Shop, key: EnvelopeKeyPair, version: int = 2) -> bytes:
    """A card of the shop with an envelope key to which something can be sealed."""
    card = unpack(unpack(shop.card(version), SignedBytes).body, BusinessCard)
    body = pack(replace(card, envelope_pk=key.public))
    return signed_card(body, shop.root.sign(business_card_message(body)))
