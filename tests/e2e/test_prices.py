"""What a business is told before it sends, after its operator changed prices or mind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kurir_billing.ratecard import bundled
from tests.e2e.world import Person, Relay

DAY = 86_400
RATE_ID = 25_000  # micro-USD, utility rate of Indonesia
DEARER, CHEAPER = 99_000, 10_000


def install(relay: Relay, folder: Path, version: int, utility: int) -> None:
    """Another rate card, in force at once."""
    facts: dict[str, Any] = msgspec.to_builtins(bundled())
    facts["version"] = version
    facts["markets"]["ID"]["utility"] = utility
    file = folder / f"card-{version}.json"
    file.write_text(json.dumps(facts))
    relay.command("ratecard", "install", str(file), "--db", str(relay.db), "--now")


def price(shop: Person) -> dict[str, Any]:
    return shop.run("business", "price", "Siti")[0]


@pytest.fixture
def late(relay: Relay, shop: Person, customer: Person) -> Person:
    """The shop, with a customer whose window has shut."""
    customer.run("send", "Metro Bus", "hello")
    shop.run("read")
    relay.jump(DAY + 60)
    assert price(shop)["price_if_sent_now"] == RATE_ID
    return shop


def test_the_price_before_sending_is_that_of_the_card_in_force(
    relay: Relay, late: Person, tmp_path: Path
) -> None:
    install(relay, tmp_path, 2, DEARER)
    assert price(late)["price_if_sent_now"] == DEARER
    assert late.run("business", "customers")[0]["price_if_sent_now"] == DEARER
    install(relay, tmp_path, 3, CHEAPER)
    assert price(late)["price_if_sent_now"] == CHEAPER


def test_a_dearer_card_is_told_before_anything_is_signed(
    relay: Relay, late: Person, tmp_path: Path
) -> None:
    install(relay, tmp_path, 2, DEARER)
    words = ("business", "send", "Siti", "news", "--max-price")
    refused = late.run(*words, str(RATE_ID), code=7)[-1]
    assert (refused["refusal_code"], refused["quote_micro_usd"]) == (131_047, DEARER)
    assert f"--max-price {DEARER}" in refused["hint"]
    assert late.run(*words, str(DEARER))[0]["price_micro_usd"] == DEARER


def test_a_cheaper_card_lets_send_what_was_too_dear(
    relay: Relay, late: Person, tmp_path: Path
) -> None:
    install(relay, tmp_path, 2, CHEAPER)
    sent = late.run("business", "send", "Siti", "news", "--max-price", str(CHEAPER))[0]
    assert (sent["status"], sent["price_micro_usd"]) == ("stored", CHEAPER)


def test_what_was_refused_without_the_relay_says_of_when_its_prices_are(
    relay: Relay, late: Person
) -> None:
    known = price(late)["prices_of"]
    assert abs(relay.now - known) < DAY
    assert relay.stop() == 0
    relay.jump(2 * DAY)
    shown = late.run("business", "price", "Siti")
    assert (shown[0]["price_if_sent_now"], shown[0]["prices_of"]) == (RATE_ID, known)
    assert late.run("business", "customers")[0]["prices_of"] == known
    refused = late.run("business", "send", "Siti", "news", code=7)[-1]
    assert refused["quote_micro_usd"] == RATE_ID


def test_a_business_that_was_revoked_has_no_price_until_it_is_approved_again(
    relay: Relay, late: Person
) -> None:
    business_id = late.run("business", "status")[0]["business_id"]
    relay.command("business", "revoke", business_id, "--db", str(relay.db))
    shown = price(late)
    assert (shown["price_if_sent_now"], shown["refusal_code"]) == (None, 133_010)
    words = ("business", "send", "Siti", "news", "--max-price", str(RATE_ID))
    refused = late.run(*words, code=7)[-1]
    assert refused["refusal_code"] == 133_010
    assert "no longer approves" in refused["error"]
    assert "operator" in refused["hint"]
    relay.approve(business_id, "PT Metro Bus")
    assert late.run(*words)[0]["price_micro_usd"] == RATE_ID
