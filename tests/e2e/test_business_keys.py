"""Keys of a business over weeks and after a restored backup, with real processes."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from kurir_client import business
from kurir_client.clock import demo_clock
from kurir_client.meeting import unpack_card
from kurir_client.profile import Profile
from kurir_wire.cards import BusinessCard
from tests.e2e.world import PASSPHRASE, Person, Relay, wait_for

DAY = 86_400
RATE_ID = 25_000  # micro-USD, utility rate of Indonesia


def left(shop: Person) -> tuple[BusinessCard, bytes]:
    """The card that the shop has left last, and its lane."""
    profile = Profile.open(shop.home, PASSPHRASE, demo_clock(shop.relay.clock))
    try:
        assert not business.needs_card(profile)
        return unpack_card(profile.store.get("business_card")), profile.store.need("lane")
    finally:
        profile.close()


def notes(lines: list[dict[str, Any]]) -> str:
    return " ".join(str(line["text"]) for line in lines if line.get("event") == "note")


def test_a_business_that_only_reads_replaces_its_keys(
    relay: Relay, shop: Person, customer: Person
) -> None:
    """The customer's first message is written before, the others after their replacement."""
    shop.run("read")
    before, lane = left(shop)
    customer.run("send", "Metro Bus", "first")
    relay.jump(8 * DAY)
    assert shop.texts() == ["first"]
    after, same_lane = left(shop)
    assert after.version > before.version
    assert after.signed_prekey != before.signed_prekey
    assert lane == same_lane
    customer.run("send", "Metro Bus", "second")
    assert shop.texts() == ["second"]
    relay.jump(40 * DAY)
    shop.run("read")
    customer.run("send", "Metro Bus", "third")
    assert shop.texts() == ["third"]


def mailboxes_at(relay: Relay) -> int:
    """How many there are, as the operator would look."""
    with contextlib.closing(sqlite3.connect(f"file:{relay.db}?mode=ro", uri=True)) as database:
        return int(database.execute("SELECT count(*) FROM mailboxes").fetchone()[0])


def test_an_address_that_the_relay_dropped_is_told_and_made_again(
    relay: Relay, shop: Person, customer: Person
) -> None:
    before = mailboxes_at(relay)
    relay.jump(8 * DAY)  # nobody has read it in its first day, and keys are to be replaced
    wait_for(lambda: mailboxes_at(relay) < before, "the relay to drop the address")
    assert "register again" in shop.run("read", code=5)[-1]["hint"]
    shop.run("business", "register", "--legal-name", "PT Metro Bus")
    customer.run("send", "Metro Bus", "hello")
    assert shop.texts() == ["hello"]


def test_a_restored_business_and_its_customers_go_on_by_themselves(
    relay: Relay, shop: Person, customer: Person, tmp_path: Path
) -> None:
    customer.run("send", "Metro Bus", "first")
    assert shop.texts() == ["first"]
    shutil.copytree(shop.home, tmp_path / "copy")
    old, old_lane = left(shop)
    shop.run("business", "send", "Siti", "answer")
    assert customer.texts() == ["answer"]
    relay.jump(8 * DAY)
    shop.run("business", "send", "Siti", "news", "--max-price", str(RATE_ID))
    assert customer.texts() == ["news"]
    lost, lost_lane = left(shop)
    shutil.rmtree(shop.home)
    shutil.copytree(tmp_path / "copy", shop.home)
    assert "restored from a copy" in notes(shop.run("read"))
    card, lane = left(shop)
    assert card.version > lost.version > old.version
    assert card.sessions_from > lost.sessions_from == old.sessions_from == 0
    assert old_lane == lost_lane != lane
    # Nobody can be written to until they have written.
    waits = shop.run("business", "send", "Siti", "are you there?", "--max-price", str(RATE_ID))[0]
    assert waits["status"] == "queued"
    relay.jump(DAY)
    customer.run("send", "Metro Bus", "second")
    assert shop.texts() == ["second"]
    lines = customer.run("read")
    assert "Metro Bus was restored from a copy" in notes(lines)
    assert [line["text"] for line in lines if line.get("event") == "message"] == ["are you there?"]
    sent = shop.run("business", "send", "Siti", "welcome back")[0]
    assert (sent["status"], sent["price_micro_usd"]) == ("stored", 0)
    assert customer.texts() == ["welcome back"]


def test_a_restored_customer_is_heard_and_answered_again(
    relay: Relay, shop: Person, customer: Person, tmp_path: Path
) -> None:
    customer.run("send", "Metro Bus", "first")
    assert shop.texts() == ["first"]
    shutil.copytree(customer.home, tmp_path / "copy")
    shop.run("business", "send", "Siti", "one")
    assert customer.texts() == ["one"]
    customer.run("send", "Metro Bus", "second")
    assert shop.texts() == ["second"]
    shutil.rmtree(customer.home)
    shutil.copytree(tmp_path / "copy", customer.home)
    assert "restored from a copy" in notes(customer.run("read"))
    shop.run("read")  # takes in the hello by which fresh keys come
    shop.run("business", "send", "Siti", "two")
    assert customer.texts() == ["two"]
    customer.run("send", "Metro Bus", "third")
    assert shop.texts() == ["third"]
