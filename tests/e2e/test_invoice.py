"""An invoice for a bookkeeper: seller and buyer, one number, a page, a table, a stranger's check;
and the auditor, who has only the ledger, comes to the same."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.test_business import RATE_ID, settled_invoice
from tests.e2e.test_ledger import fetch
from tests.e2e.world import Person, Relay


def test_an_invoice_that_a_bookkeeper_accepts(
    relay: Relay, shop: Person, customer: Person, tmp_path: Path
) -> None:
    db = ("--db", str(relay.db))
    relay.command("seller", "set", "--legal-name", "Kurir Relay Ltd", "--tax-id", "01.2", *db)
    ident = shop.run("business", "status")[0]["business_id"]
    relay.command("business", "details", ident, "--address", "Jalan Terminal 2", *db)
    first = settled_invoice(relay, shop, customer, tmp_path)
    assert first["seller"]["legal_name"] == "Kurir Relay Ltd"
    assert (first["buyer"]["legal_name"], first["buyer"]["address"]) == (
        "PT Metro Bus",
        ["Jalan Terminal 2"],
    )
    assert first["number"] == f"{first['month']}-{ident[:8]}-1"
    file = tmp_path / "invoice.json"

    # A page and a table, without any profile; a stranger's check with nothing but the pin.
    stranger = Person(tmp_path / "stranger", relay)
    page = tmp_path / "invoice.html"
    stranger.run("invoice", "html", str(file), "--out", str(page))
    for text in (
        "Kurir Relay Ltd",
        "PT Metro Bus",
        "Jalan Terminal 2",
        first["number"],
        "0.025000",
    ):
        assert text in page.read_text()
    table = tmp_path / "invoice.csv"
    stranger.run("invoice", "csv", str(file), "--out", str(table))
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert sum(int(row["amount_micro_usd"]) for row in rows) == first["total_micro_usd"]
    assert sorted(row["why"] for row in rows) == ["list", "window"]
    pin = shop.run("business", "link")[0]["link"].partition("#")[2]
    check = ("invoice", "verify", str(file), "--without-records", "--pin", pin)
    assert stranger.run(*check)[0]["verified"]

    # The same invoice again is the same; another seller under its number is named.
    again = fetch(relay, shop, tmp_path / "again.json")
    assert again["signature"] == first["signature"]

    def differs(value: dict[str, Any]) -> str:
        changed = tmp_path / "changed.json"
        changed.write_text(json.dumps(value))
        return str(shop.run("invoice", "verify", str(changed), code=8)[-1]["error"])

    said = differs(first | {"seller": first["seller"] | {"tax_id": "9"}})
    assert "seller: tax_id says '9' where the relay signed '01.2'" in said
    said = differs(first | {"number": first["number"][:-1] + "2"})
    assert "number: says 2 where the relay signed 1" in said

    # Another address is another revision; both go on to verify.
    relay.command("business", "details", ident, "--address", "Jalan Baru 1", *db)
    revised = fetch(relay, shop, tmp_path / "revised.json")
    assert revised["number"] == first["number"][:-1] + "2"
    assert revised["buyer"]["address"] == ["Jalan Baru 1"]
    for name in ("invoice.json", "revised.json"):
        assert shop.run("invoice", "verify", str(tmp_path / name))[0]["verified"]

    # Whoever has only the ledger comes to the same, to the micro-unit.
    export = tmp_path / "ledger"
    relay.command("ledger", "export", str(export), *db)
    audit = [sys.executable, "-m", "kurir_audit", "ledger", str(export)]
    for name in ("invoice.json", "revised.json"):
        audit += ["--invoice", str(tmp_path / name)]
    done = subprocess.run([*audit, "--json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    (bill,) = json.loads(done.stdout)["files"][0]["bills"]
    assert (bill["business"], bill["total_micro_usd"]) == (ident, RATE_ID)
