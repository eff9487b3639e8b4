"""Invoices as the relay issues them: who stands on them, and that a number stands for one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec import structs

from kurir_billing.head import InvoiceHead, open_head
from kurir_billing.party import Party
from kurir_billing.ratecard import bundled, canonical, rate_card_hash
from kurir_server import admin, parties
from kurir_server.errors import ConfigError
from kurir_server.rows import StoredRateCard
from kurir_wire.frames import InvoiceIs
from kurir_wire.ids import DAY, HOUR
from tests.server.helpers import Shop, receipt_of
from tests.server.process import RelayProcess
from tests.server.rig import START, Rig

MONTH = 202701
SELLER = Party("Kurir Relay Ltd", ["1 Harbour Street"], "01.234", ["IBAN XX00"])


def head(rig: Rig, shop: Shop, month: int = MONTH) -> InvoiceHead:
    reply = rig.run(lambda rows: rig.registry.invoice(rows, rig.moment, shop.id, 1, month))
    assert isinstance(reply, InvoiceIs)
    found = open_head(reply.head)
    found.verify(rig.keys.cert.operator_pk, rig.keys.relay_id)
    return found


def settle(rig: Rig, shop: Shop, *, is_open: bool = False) -> None:
    box, opening = rig.customer(shop)
    signed = rig.charge(shop, box, opening, shop.line(is_open=is_open))
    receipt_of(rig.submit(signed.submission)[0])
    rig.fetch(box)
    rig.ack(box, signed.submission.envelope_id, signed.secret)


def record(rig: Rig, shop: Shop | None, party: Party) -> None:
    name = rig.keys.relay_id if shop is None else shop.id
    rig.run(lambda rows: parties.record(rows, name, party))


def test_seller_and_buyer_stand_in_the_signed_head(rig: Rig) -> None:
    shop = rig.shop()
    rig.now += DAY
    assert (head(rig, shop).seller, head(rig, shop).buyer) == (Party(), Party())
    record(rig, None, SELLER)
    rig.run(lambda rows: parties.note_name(rows, shop.id, "PT Metro Bus"))
    record(rig, shop, Party("PT Metro Bus", ["Jakarta"], "09.876"))
    found = head(rig, shop)
    assert found.seller == SELLER
    assert found.buyer == Party("PT Metro Bus", ["Jakarta"], "09.876")
    # A new certified name keeps the rest, and outlives the badge.
    rig.run(lambda rows: parties.note_name(rows, shop.id, "PT Metro Bus Tbk"))
    rig.run(lambda rows: rows.revoke(shop.id))
    assert head(rig, shop).buyer == Party("PT Metro Bus Tbk", ["Jakarta"], "09.876")


def test_a_number_stands_for_one_invoice(rig: Rig) -> None:
    shop, other = rig.shop(), rig.shop()
    settle(rig, shop)
    rig.now = (START // DAY + 1) * DAY
    first = head(rig, shop)
    assert (first.revision, first.issued_day, first.through_day) == (
        1,
        rig.now // DAY,
        rig.now // DAY - 1,
    )
    assert first.number == f"2027-01-{shop.id.hex()[:8]}-1"
    rig.now += HOUR
    assert head(rig, shop) == first, "the same day, byte for byte"
    rig.restart()
    assert head(rig, shop) == first
    settle(rig, shop)
    assert head(rig, shop) == first, "the running day is not counted"
    rig.now += DAY
    second = head(rig, shop)
    assert (second.revision, second.count, first.count) == (2, 2, 1)
    assert head(rig, other).revision == 1
    rig.now += 60 * DAY
    final = head(rig, shop)
    assert (final.revision, final.issued_day) == (3, rig.now // DAY)
    rig.now += 100 * DAY
    assert head(rig, shop) == final, "a month that is over does not change"
    record(rig, None, SELLER)
    again = head(rig, shop)
    assert (again.revision, again.issued_day, again.seller) == (4, rig.now // DAY, SELLER)
    assert (
        structs.replace(
            again,
            revision=3,
            issued_day=final.issued_day,
            seller=Party(),
            signature=final.signature,
        )
        == final
    )
    assert rig.count("invoices") == 5
    assert head(rig, shop, 202702).revision == 1


def test_the_fee_of_a_month_under_flat(rig: Rig) -> None:
    card = structs.replace(bundled(), version=2, flat_monthly_micro_usd=50_000_000)
    body = canonical(card)
    stored = StoredRateCard(2, rate_card_hash(body), 0, rig.keys.rate_card(body))
    rig.run(lambda rows: rows.add_rate_card(stored))
    shop, quiet = rig.shop(tariff="flat"), rig.shop(tariff="flat")
    line = structs.replace(shop.line(is_open=True), tariff="flat", rate_card=rate_card_hash(body))
    box, opening = rig.customer(shop)
    signed = rig.charge(shop, box, opening, line)
    receipt_of(rig.submit(signed.submission)[0])
    rig.fetch(box)
    rig.ack(box, signed.submission.envelope_id, signed.secret)
    rig.now += DAY
    found = head(rig, shop)
    assert (found.subtotal_micro_usd, found.fee_micro_usd) == (0, 50_000_000)
    assert found.total_micro_usd == 50_000_000
    assert head(rig, quiet).total_micro_usd == 0, "no message, no fee"


# The operator's commands


def test_the_operator_records_who_stands_on_invoices(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path).init()

    def run(*arguments: str) -> dict[str, object]:
        done = relay.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found

    nobody: dict[str, object] = {"legal_name": None, "address": [], "tax_id": None, "notes": []}
    assert run("seller", "show") == nobody
    words = ("--address", "1 Harbour Street", "--address", "Jakarta", "--tax-id", "01.2")
    run("seller", "set", "--legal-name", "Kurir Ltd", *words, "--note", "IBAN XX00")
    shown = run("seller", "show")
    assert shown == {
        "legal_name": "Kurir Ltd",
        "address": ["1 Harbour Street", "Jakarta"],
        "tax_id": "01.2",
        "notes": ["IBAN XX00"],
    }
    text = relay.run("seller", "show").stdout
    assert text.splitlines()[1] == "address: 1 Harbour Street, Jakarta"
    # All of it anew.
    run("seller", "set", "--legal-name", "Kurir Ltd")
    assert run("seller", "show") == nobody | {"legal_name": "Kurir Ltd"}
    for wrong in (("--legal-name", ""), ("--legal-name", "a\nb"), ("--legal-name", "x" * 65)):
        refused = relay.run("seller", "set", *wrong)
        assert refused.returncode == 2, wrong
        assert refused.stderr.startswith("error: ")
    assert run("seller", "show") == nobody | {"legal_name": "Kurir Ltd"}
    unknown = relay.run("business", "details", "ab" * 32, "--tax-id", "1")
    assert unknown.returncode == 2
    assert "was approved here" in unknown.stderr


def test_details_of_a_buyer(rig: Rig) -> None:
    shop = rig.shop()
    db = rig.store._path
    with pytest.raises(ConfigError, match="was approved here"):
        admin.set_buyer(db, shop.id, ["Jakarta"], "", [])
    admin.approve(db, rig.keys, shop.id, "platform", "PT Metro Bus", "reply-2018", None, rig.now)
    assert admin.buyer(db, shop.id) == Party("PT Metro Bus")
    party = admin.set_buyer(db, shop.id, ["Jakarta"], "09.8", ["PO 7"])
    assert party == admin.buyer(db, shop.id) == Party("PT Metro Bus", ["Jakarta"], "09.8", ["PO 7"])
    with pytest.raises(ConfigError, match="more than 6 lines"):
        admin.set_buyer(db, shop.id, ["x"] * 7, "", [])
    admin.approve(db, rig.keys, shop.id, "small", "PT Metro", "reply-2018", None, rig.now)
    assert admin.buyer(db, shop.id) == Party("PT Metro", ["Jakarta"], "09.8", ["PO 7"])
    admin.revoke(db, shop.id)
    assert admin.buyer(db, shop.id).legal_name == "PT Metro"
