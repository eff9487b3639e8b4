"""An advertisement that calls itself utility: reported, upheld, in the ledger, and on the bill."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kurir_billing.ratecard import bundled
from tests.e2e.world import Person, Relay, meet

DAY = 86_400
AD = "50% off all seats to Jakarta!"


def operator(relay: Relay, *arguments: str) -> Any:
    done = relay.command("report", *arguments, "--db", str(relay.db), "--json")
    return json.loads(done.stdout)


def month_of(relay: Relay) -> str:
    return time.strftime("%Y-%m", time.gmtime(time.time() + int(relay.clock.read_text())))


def test_an_ad_is_reported_and_charged(
    relay: Relay, shop: Person, customer: Person, tmp_path: Path
) -> None:
    business_id = shop.run("business", "status")[0]["business_id"]
    relay.approve(business_id, "PT Metro Bus", "platform", "--tariff", "message-2025")
    customer.run("send", "Metro Bus", "Is there a bus at nine?")
    shop.run("read")
    for text in ("Yes, platform 2", AD):
        shop.run("business", "send", "Siti", text, "--category", "utility")
    shown = [line for line in customer.run("read") if line.get("event") == "message"]
    assert [(line["text"], line["category"]) for line in shown] == [
        ("Yes, platform 2", "utility"),
        (AD, "utility"),
    ]

    # The customer shows the operator the one, after a yes.
    listed = customer.run("report", "Metro Bus")
    assert [line["said"] for line in listed] == ["Yes, platform 2", AD]
    refused = customer.run("report", "Metro Bus", "last", "--as", "marketing", code=2)[-1]
    assert "nothing was sent" in refused["error"]
    assert operator(relay, "list") == []
    wrong = customer.run("report", "Metro Bus", "last", "--as", "utility", "--yes", code=2)[-1]
    assert "is labelled utility" in wrong["error"]
    said = ("--as", "marketing", "--reason", "I asked for a bus", "--yes")
    sent = customer.run("report", "Metro Bus", str(listed[1]["message"]), *said)[-1]
    assert (sent["event"], sent["label"], sent["wanted"]) == ("reported", "utility", "marketing")
    again = customer.run("report", "Metro Bus", "last", "--yes", code=2)[-1]
    assert "was reported already" in again["error"]

    # The operator sees that one, decides while the relay runs, and once.
    (waiting,) = operator(relay, "list")
    shown_to_operator = operator(relay, "show", waiting["id"])
    assert shown_to_operator["state"] == "proved"
    assert (shown_to_operator["text"], shown_to_operator["reason"]) == (AD, "I asked for a bus")
    assert "platform" not in json.dumps(shown_to_operator)
    relay.jump(DAY)
    shop.run("read")  # the relay's time is on disk
    month = month_of(relay)
    ruled = operator(relay, "uphold", waiting["id"], "--category", "marketing")
    marketing = bundled().rates("ID").marketing
    assert ruled["delta_micro_usd"] == marketing

    # When the day is over the business gets it, with the proof, and believes its own records alone.
    none = shop.run("business", "adjustments", "--month", month)
    assert [line["event"] for line in none] == ["adjustments"]
    relay.jump(DAY)
    lines = shop.run("business", "adjustments", "--month", month)
    assert lines[0] == {
        "event": "adjustment",
        "day": ruled["day"],
        "settled": shown_to_operator["settled"],
        "charge": lines[0]["charge"],
        "was": "utility",
        "category": "marketing",
        "delta_micro_usd": marketing,
        "said": AD,
    }
    assert lines[1]["verified"]
    assert lines[1]["total_micro_usd"] == marketing

    # So does anybody with the ledger, in which no text is; nor is there any in the database.
    export = tmp_path / "ledger"
    relay.command("ledger", "export", str(export), "--db", str(relay.db))
    audit = [sys.executable, "-m", "kurir_audit", "ledger", str(export), "--json"]
    done = subprocess.run(audit, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    (file,) = json.loads(done.stdout)["files"]
    assert (file["leaves"], file["adjustments"]) == (2, 1)
    assert [bill["total_micro_usd"] for bill in file["bills"]] == [marketing]
    places = [relay.db, relay.db.with_name("relay.db-wal"), relay.log, export]
    for place in places:
        assert not place.exists() or b"50%" not in place.read_bytes(), place


def test_people_cannot_report_each_other(relay: Relay, alice: Person, bob: Person) -> None:
    meet(alice, bob)
    bob.run("send", "Alice", "between us")
    assert alice.texts() == ["between us"]
    assert alice.run("report", "Bob") == []
    refused = alice.run("report", "Bob", "last", "--yes", code=2)[-1]
    assert "what people write cannot be reported" in refused["error"]
    assert operator(relay, "list") == []
