"""A business and its customer: free answers, a late one that costs, the invoice and its proof."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from kurir_billing.grant import Grant
from kurir_client.clock import demo_clock
from kurir_client.content import Destination
from kurir_client.profile import Profile
from kurir_wire.codec import unpack
from tests.e2e.world import PASSPHRASE, Person, Relay

DAY = 86_400
RATE_ID = 25_000  # micro-USD, utility rate of Indonesia


def settled_invoice(relay: Relay, shop: Person, customer: Person, folder: Path) -> dict[str, Any]:
    """One free answer, one that costs; both opened; the invoice after the day is over."""
    customer.run("send", "Metro Bus", "Is there a bus at nine?")
    assert shop.texts() == ["Is there a bus at nine?"]
    free = shop.run("business", "send", "Siti", "Yes, platform 2")[0]
    assert (free["status"], free["price_micro_usd"]) == ("stored", 0)
    relay.jump(DAY + 60)
    refused = shop.run("business", "send", "Siti", "It leaves soon", code=7)[-1]
    assert f"would cost {RATE_ID} micro-USD" in refused["error"]
    paid = shop.run("business", "send", "Siti", "It leaves soon", "--max-price", str(RATE_ID))[0]
    assert (paid["status"], paid["price_micro_usd"]) == ("stored", RATE_ID)
    assert customer.texts() == ["Yes, platform 2", "It leaves soon"]
    settled_at = time.gmtime(time.time() + int(relay.clock.read_text()))
    relay.jump(DAY)
    month = time.strftime("%Y-%m", settled_at)
    file = folder / "invoice.json"
    shown = shop.run("business", "invoice", "--month", month, "--out", str(file))[0]
    assert (shown["count"], shown["charged"], shown["total_micro_usd"]) == (2, 1, RATE_ID)
    parsed: dict[str, Any] = json.loads(file.read_text())
    return parsed


def test_a_conversation_and_its_bill(
    relay: Relay, shop: Person, customer: Person, tmp_path: Path
) -> None:
    invoice = settled_invoice(relay, shop, customer, tmp_path)
    assert shop.run("invoice", "verify", str(tmp_path / "invoice.json"))[0]["verified"]

    def differs(changed: dict[str, Any]) -> str:
        file = tmp_path / "changed.json"
        file.write_text(json.dumps(changed))
        return str(shop.run("invoice", "verify", str(file), code=8)[-1]["error"])

    def copy() -> dict[str, Any]:
        again: dict[str, Any] = json.loads(json.dumps(invoice))
        return again

    costly = next(
        index
        for index, line in enumerate(invoice["lines"])
        if line["list_price_micro_usd"] == RATE_ID
    )
    digit = copy()
    digit["lines"][costly]["list_price_micro_usd"] = RATE_ID + 1
    assert f"line {costly + 1}" in differs(digit)
    dropped = copy()
    del dropped["lines"][costly]
    assert "missing" in differs(dropped)
    added = copy()
    added["lines"].append(added["lines"][costly])
    assert "line 3" in differs(added)
    total = copy()
    total["total_micro_usd"] += 1
    assert "total" in differs(total)
    unsettled = copy()
    unsettled["lines"][costly]["secret"] = "00" * 32
    assert "settled without the secret" in differs(unsettled)


def test_a_second_message_extends_the_window(relay: Relay, shop: Person, customer: Person) -> None:
    customer.run("send", "Metro Bus", "first")
    shop.run("read")
    relay.jump(DAY - 3_600)
    customer.run("send", "Metro Bus", "second")
    shop.run("read")
    relay.jump(DAY - 3_600)
    assert shop.run("business", "send", "Siti", "still free")[0]["price_micro_usd"] == 0
    assert customer.texts() == ["still free"]


def test_an_unapproved_business_cannot_send(relay: Relay, tmp_path: Path) -> None:
    shop = Person(tmp_path / "shop", relay)
    shop.init("Nobody Ltd", "--relay", relay.address)
    shop.run("business", "register", "--legal-name", "Nobody Ltd")
    customer = Person(tmp_path / "customer", relay)
    customer.init("Siti")
    added = customer.run("add", shop.run("business", "link")[0]["link"])[0]
    assert added["legal_name"] is None
    customer.run("send", "Nobody Ltd", "hello?")
    shop.run("read")
    refused = shop.run("business", "send", "Siti", "hi", code=7)[-1]
    assert "the operator has not approved this business yet (133010)" in refused["error"]
    assert customer.texts() == []


def test_two_customers_and_many_messages_are_all_on_the_bill(
    relay: Relay, shop: Person, customer: Person, tmp_path: Path
) -> None:
    other = Person(tmp_path / "other", relay)
    other.init("Budi", "--market", "DE")
    other.run("add", shop.run("business", "link")[0]["link"])
    for person in (customer, other):
        person.run("send", "Metro Bus", "hello")
    assert shop.texts() == ["hello", "hello"]
    relay.jump(2 * DAY)
    for number in range(3):
        for name in ("Siti", "Budi"):
            shop.run("business", "send", name, f"news {number}", "--max-price", "60000")
    assert len(customer.texts()) == len(other.texts()) == 3
    month = time.strftime("%Y-%m", time.gmtime(time.time() + int(relay.clock.read_text())))
    relay.jump(DAY)
    file = str(tmp_path / "invoice.json")
    shown = shop.run("business", "invoice", "--month", month, "--out", file)[0]
    assert shown["total_micro_usd"] == 3 * 25_000 + 3 * 55_000
    assert shown["count"] == 6


def test_a_message_that_is_never_opened_costs_nothing(
    relay: Relay, shop: Person, customer: Person, tmp_path: Path
) -> None:
    customer.run("send", "Metro Bus", "hello")
    shop.run("read")
    relay.jump(2 * DAY)
    shop.run("business", "send", "Siti", "are you there?", "--max-price", "25000")
    relay.jump(DAY)
    month = time.strftime("%Y-%m", time.gmtime(time.time() + int(relay.clock.read_text())))
    file = str(tmp_path / "invoice.json")
    shown = shop.run("business", "invoice", "--month", month, "--out", file)[0]
    assert (shown["count"], shown["total_micro_usd"]) == (0, 0)


def test_the_window_shuts_exactly_after_a_day(relay: Relay, shop: Person, customer: Person) -> None:
    """The business's own prices follow the grant's beacon; the relay's the same, to the second."""
    customer.run("send", "Metro Bus", "hello")
    shop.run("read")
    (row,) = shop.run("business", "customers")
    closes = row["window"]["closes_at"]
    assert closes % 60 == 0
    now = int(time.time()) + int(relay.clock.read_text())
    relay.jump(closes - now - 20)
    assert shop.run("business", "customers")[0]["price_if_sent_now"] == 0
    relay.jump(21)
    assert shop.run("business", "customers")[0]["price_if_sent_now"] == RATE_ID


def test_the_relay_does_not_keep_when_the_customer_wrote(
    relay: Relay, shop: Person, customer: Person
) -> None:
    """While an answer waits, the relay's files hold neither the grant nor the gate's opening."""
    customer.run("send", "Metro Bus", "hello")
    shop.run("read")
    shop.run("business", "send", "Siti", "welcome")
    profile = Profile.open(shop.home, PASSPHRASE, demo_clock(relay.clock))
    (siti,) = profile.store.contacts()
    assert siti.permit is not None
    assert siti.address is not None
    grant, there = unpack(siti.permit, Grant), unpack(siti.address, Destination)
    profile.close()
    held = b"".join(file.read_bytes() for file in sorted(relay.folder.glob("relay.db*")))
    assert there.mailbox_id in held, "the search is blind"
    for secret in (grant.signature, grant.nonce, there.opening, there.key):
        assert secret not in held
    assert customer.texts() == ["welcome"]


def test_a_new_rate_card_is_taken_when_the_relay_quotes_by_it(
    relay: Relay, shop: Person, customer: Person, tmp_path: Path
) -> None:
    customer.run("send", "Metro Bus", "hello")
    shop.run("read")
    shop.run("business", "customers")  # takes the rate card in force
    shown = relay.command("ratecard", "show", "--db", str(relay.db), "--json")
    card = json.loads(shown.stdout)
    card = card.get("card", card)
    card["version"] += 1
    card["markets"]["ID"]["utility"] = 31_000
    file = tmp_path / "card.json"
    file.write_text(json.dumps(card))
    relay.command("ratecard", "install", "--now", str(file), "--db", str(relay.db))
    relay.jump(2 * DAY)
    sent = shop.run("business", "send", "Siti", "news", "--max-price", "40000")[0]
    assert (sent["status"], sent["price_micro_usd"]) == ("stored", 31_000)
    assert customer.texts() == ["news"]
