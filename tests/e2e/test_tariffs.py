"""A month of a business under each tariff: what it is told before it sends, what it pays, and that
the invoice says the same."""

from __future__ import annotations

import calendar
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.world import Person, Relay

HOUR, DAY = 3_600, 86_400
UTILITY, MARKETING = 25_000, 41_100  # Indonesia


class Step(NamedTuple):
    """A message of the shop, so many seconds after the customer wrote: what it is said to be, what
    it has to cost (None: it cannot be sent), what the customer sees that it is."""

    after: int
    category: str
    price: int | None
    shown: str


INSIDE, LATER = HOUR, DAY + HOUR
STEPS: dict[str, list[Step]] = {
    "flat": [Step(INSIDE, "service", 0, "none"), Step(LATER, "marketing", 0, "none")],
    "reply-2018": [Step(INSIDE, "service", 0, "none"), Step(LATER, "marketing", UTILITY, "none")],
    "conversation-2022": [
        Step(INSIDE, "service", UTILITY, "none"),
        Step(INSIDE, "marketing", 0, "none"),  # covered
        Step(DAY + 600, "service", 0, "none"),  # covered, though the customer's window is shut
        Step(INSIDE + DAY + HOUR, "service", MARKETING, "none"),
    ],
    "message-2025": [
        Step(INSIDE, "service", 0, "service"),
        Step(INSIDE, "utility", 0, "utility"),
        Step(INSIDE, "marketing", MARKETING, "marketing"),
        Step(LATER, "service", None, ""),
        Step(LATER, "authentication", UTILITY, "authentication"),
    ],
    "message-2026": [
        Step(INSIDE, "service", UTILITY, "service"),
        Step(INSIDE, "utility", UTILITY, "utility"),
        Step(LATER, "service", None, ""),
        Step(LATER, "marketing", MARKETING, "marketing"),
    ],
}
TOTALS = {
    "flat": 0,
    "reply-2018": UTILITY,
    "conversation-2022": 0,  # the first thousand conversations of a month
    "message-2025": MARKETING + UTILITY,
    "message-2026": UTILITY + MARKETING,  # the first thousand service messages are free
}


@pytest.fixture
def in_january(relay: Relay) -> int:
    """The second day of a month, so that all that follows belongs to it."""
    year = time.gmtime(relay.now).tm_year + 1
    start = calendar.timegm((year, 1, 2, 9, 0, 0))
    relay.jump_to(start)
    return start


def open_shop(folder: Path, relay: Relay, tariff: str) -> tuple[Person, str]:
    person = Person(folder / "shop", relay)
    person.init("Metro Bus", "--relay", relay.address)
    business_id = person.run("business", "register", "--legal-name", "PT Metro Bus")[0][
        "business_id"
    ]
    relay.approve(business_id, "PT Metro Bus", "platform", "--tariff", tariff)
    return person, business_id


def come(folder: Path, relay: Relay, name: str, link: str) -> Person:
    person = Person(folder / name, relay)
    person.init(name, "--market", "ID")
    person.run("add", link)
    person.run("send", "Metro Bus", "hello")
    return person


def send(shop: Person, step: Step, text: str, to: str = "Siti") -> None:
    """Ask for the price, see that nothing goes without it, and send for exactly that."""
    (due,) = shop.run("business", "price", to, "--category", step.category)
    assert due["price_if_sent_now"] == step.price
    words = ("business", "send", to, text, "--category", step.category)
    if step.price is None:
        refused = shop.run(*words, "--max-price", "1000000", code=7)[-1]
        assert refused["refusal_code"] == 131_047
        assert f"--category utility --max-price {UTILITY}" in refused["hint"]
        return
    if step.price:
        refused = shop.run(*words, "--max-price", str(step.price - 1), code=7)[-1]
        assert refused["quote_micro_usd"] == step.price
    (sent,) = shop.run(*words, "--max-price", str(step.price))
    assert (sent["status"], sent["price_micro_usd"]) == ("stored", step.price)
    assert sent["category"] == step.shown


def invoice(shop: Person, folder: Path, month: str) -> dict[str, Any]:
    file = str(folder / "invoice.json")
    (shown,) = shop.run("business", "invoice", "--month", month, "--out", file)
    assert shop.run("invoice", "verify", file)[0]["verified"]
    return shown


@pytest.mark.parametrize("tariff", STEPS)
def test_a_month(tmp_path: Path, relay: Relay, in_january: int, tariff: str) -> None:
    shop, _ = open_shop(tmp_path, relay, tariff)
    siti = come(tmp_path, relay, "Siti", shop.run("business", "link")[0]["link"])
    wrote = relay.now
    assert shop.texts() == ["hello"]
    (told,) = shop.run("business", "status")
    assert (told["tariff"], told["starts"]) == (tariff, 250)
    for number, step in enumerate(STEPS[tariff]):
        relay.jump_to(wrote + step.after)
        send(shop, step, f"message {number}")
    seen = [line for line in siti.run("read") if line["event"] == "message"]
    sent = [
        (f"message {number}", step.shown)
        for number, step in enumerate(STEPS[tariff])
        if step.price is not None
    ]
    assert [(line["text"], line["category"]) for line in seen] == sent
    assert {line["paid_by"] for line in seen} == {"Metro Bus"}
    relay.jump_to(in_january + 31 * DAY)
    shown = invoice(shop, tmp_path, time.strftime("%Y-%m", time.gmtime(in_january)))
    assert (shown["count"], shown["total_micro_usd"]) == (len(sent), TOTALS[tariff])


def test_who_comes_by_an_entry_link_is_answered_free_for_72_hours(
    tmp_path: Path, relay: Relay, in_january: int
) -> None:
    shop, business_id = open_shop(tmp_path, relay, "message-2026")
    link = relay.entry_link(business_id, 90)  # by the operator's own clock
    budi = come(tmp_path, relay, "Budi", link)
    wrote = relay.now
    assert shop.texts() == ["hello"]
    (due,) = shop.run("business", "price", "Budi", "--category", "marketing")
    assert (due["window"]["kind"], due["price_if_sent_now"]) == ("entry", 0)
    relay.jump_to(wrote + HOUR)
    for step in (
        Step(HOUR, "service", 0, "service"),
        Step(HOUR, "marketing", 0, "marketing"),
        Step(DAY + HOUR, "service", None, ""),
        Step(3 * DAY, "marketing", 0, "marketing"),
        Step(3 * DAY + 2 * HOUR, "utility", UTILITY, "utility"),
    ):
        relay.jump_to(wrote + step.after)
        send_or_wait(shop, step)
    # The business is a contact already: its mailbox is old, so this is an answer like any other.
    budi.run("add", link)
    budi.run("send", "Metro Bus", "me again")
    shop.run("read")
    (due,) = shop.run("business", "price", "Budi", "--category", "marketing")
    assert (due["window"]["kind"], due["price_if_sent_now"]) == ("service", MARKETING)
    assert len(budi.texts()) == 4
    relay.jump_to(in_january + 31 * DAY)
    shown = invoice(shop, tmp_path, time.strftime("%Y-%m", time.gmtime(in_january)))
    assert (shown["count"], shown["total_micro_usd"]) == (4, UTILITY)


def send_or_wait(shop: Person, step: Step) -> None:
    """As :func:`send`, in an entry window: what cannot be sent as service is free as utility."""
    if step.price is not None:
        send(shop, step, "message", "Budi")
        return
    refused = shop.run("business", "send", "Budi", "hm", "--category", step.category, code=7)[-1]
    assert (refused["refusal_code"], refused["quote_micro_usd"]) == (131_047, 0)


def test_a_customer_stops_marketing(tmp_path: Path, relay: Relay) -> None:
    shop, _ = open_shop(tmp_path, relay, "message-2025")
    siti = come(tmp_path, relay, "Siti", shop.run("business", "link")[0]["link"])
    shop.run("read")
    (muted,) = siti.run("mute", "Metro Bus", "marketing")
    assert (muted["refuses"], muted["told"]) == (["marketing"], True)
    words = ("business", "send", "Siti", "an ad", "--category", "marketing", "--max-price", "99999")
    refused = shop.run(*words, code=7)[-1]
    assert refused["refusal_code"] == 131_050
    assert "until the customer takes it again" in refused["hint"]
    assert refused["hint"] not in refused["error"]
    assert shop.run("business", "send", "Siti", "an answer")[0]["status"] == "stored"
    siti.run("mute", "Metro Bus", "marketing", "--undo")
    assert shop.run(*words)[0]["status"] == "stored"
    assert siti.texts() == ["an answer", "an ad"]


def test_terms_that_change_are_told_and_signed_from_then_on(tmp_path: Path, relay: Relay) -> None:
    shop, business_id = open_shop(tmp_path, relay, "reply-2018")
    siti = come(tmp_path, relay, "Siti", shop.run("business", "link")[0]["link"])
    assert shop.texts() == ["hello"]
    assert shop.run("business", "price", "Siti")[0]["price_if_sent_now"] == 0
    relay.approve(business_id, "PT Metro Bus", "platform", "--tariff", "message-2026")
    # Priced by the old terms, and free by them: the new ones come with the connection, before the
    # line is signed, and it costs.
    refused = shop.run("business", "send", "Siti", "hi", code=7)[-1]
    assert refused["quote_micro_usd"] == UTILITY
    notes = [line["text"] for line in shop.run("read") if line["event"] == "note"]
    assert any("changed the terms: tariff message-2026" in text for text in notes)
    (sent,) = shop.run("business", "send", "Siti", "hi", "--max-price", str(UTILITY))
    assert (sent["category"], sent["price_micro_usd"]) == ("service", UTILITY)
    assert siti.texts() == ["hi"]
