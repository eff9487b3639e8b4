"""The ledger as a business sees it: proofs in its invoices, and a relay that keeps two ledgers."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.e2e.test_business import DAY, RATE_ID, settled_invoice
from tests.e2e.world import Person, Relay


def fetch(relay: Relay, shop: Person, file: Path) -> dict[str, Any]:
    """Yesterday's month."""
    yesterday = time.time() + int(relay.clock.read_text()) - DAY
    month = time.strftime("%Y-%m", time.gmtime(yesterday))
    shop.run("business", "invoice", "--month", month, "--out", str(file))
    value: dict[str, Any] = json.loads(file.read_text())
    return value


def size_of(invoice: dict[str, Any]) -> int:
    return int(invoice["checkpoint"].split("\n")[1])


def test_an_invoice_proves_that_its_lines_are_in_the_ledger(
    relay: Relay, shop: Person, customer: Person, tmp_path: Path
) -> None:
    first = settled_invoice(relay, shop, customer, tmp_path)
    assert (size_of(first), first["since"], first["growth"]) == (2, None, [])
    shop.run("business", "send", "Siti", "one more", "--max-price", str(RATE_ID))
    assert customer.texts() == ["one more"]
    relay.jump(DAY)
    later = tmp_path / "later.json"
    second = fetch(relay, shop, later)
    assert size_of(second) == 3
    assert second["since"] == first["checkpoint"]
    assert len(second["growth"]) > 0
    # Both verify, without the relay, in either order, and again.
    relay.stop()
    for file in (tmp_path / "invoice.json", later, tmp_path / "invoice.json"):
        assert shop.run("invoice", "verify", str(file))[0]["verified"]
    (seen,) = shop.run("business", "ledger")
    assert (seen["size"], seen["agrees"], seen["note"]) == (3, True, second["checkpoint"])

    def differs(change: dict[str, Any]) -> str:
        file = tmp_path / "changed.json"
        file.write_text(json.dumps(second | change))
        return str(shop.run("invoice", "verify", str(file), code=8)[-1]["error"])

    turned = json.loads(json.dumps(second["lines"]))
    turned[-1]["index"], turned[-1]["proof"] = turned[0]["index"], turned[0]["proof"]
    assert f"line {len(turned)}: its proof does not show it" in differs({"lines": turned})
    assert "line 1: its proof" in differs({"checkpoint": first["checkpoint"]})
    assert "growth: does not show" in differs({"growth": second["growth"][1:]})
    assert "growth: is there without" in differs({"since": None})
    relay.start()


def test_a_relay_that_goes_back_and_another_way_is_found_out(
    relay: Relay, shop: Person, customer: Person, tmp_path: Path
) -> None:
    """Its database is put back to before the settlements, as a restored backup or on purpose; then
    the same charges settle on another day."""
    customer.run("send", "Metro Bus", "hello")
    shop.run("read")
    shop.run("business", "send", "Siti", "welcome")
    assert relay.stop() == 0
    backup = tmp_path / "backup.db"
    shutil.copyfile(relay.db, backup)
    relay.start()
    assert customer.texts() == ["welcome"]
    relay.jump(DAY)
    file = tmp_path / "invoice.json"
    first = fetch(relay, shop, file)
    assert size_of(first) == 1
    assert relay.stop() == 0
    shutil.copyfile(backup, relay.db)
    relay.start()
    month = first["month"]
    again = ("business", "invoice", "--month", month, "--out", str(tmp_path / "again.json"))
    gone = shop.run(*again, code=5)[-1]
    assert "says that its ledger is empty, and has signed one of 1" in gone["error"]
    customer.run("read")  # acknowledges what it has again, with the secret: settled today
    relay.jump(DAY)
    forked = shop.run(*again, code=5)[-1]
    assert "the relay's ledger is not what it was: it signed one of 1" in forked["error"]
    assert "kurir business ledger" in forked["hint"]
    assert not (tmp_path / "again.json").exists()
    kept, evidence = shop.run("business", "ledger")
    assert (kept["agrees"], evidence["agrees"]) == (True, False)
    assert kept["note"] == first["checkpoint"]
    assert (kept["size"], kept["certificate"]) == (evidence["size"], evidence["certificate"])
    assert kept["root"] != evidence["root"]
    # The lists contradict each other too, and the invoice from before says so.
    differs = shop.run("invoice", "verify", str(file), code=8)[-1]["error"]
    assert "line 1: was settled on" in differs


def test_an_auditor_recomputes_the_ledger_of_a_running_relay(
    relay: Relay, shop: Person, customer: Person, tmp_path: Path
) -> None:
    settled_invoice(relay, shop, customer, tmp_path)
    export = tmp_path / "ledger"
    relay.command("ledger", "export", str(export), "--db", str(relay.db))
    audit = [sys.executable, "-m", "kurir_audit", "ledger", str(export)]
    done = subprocess.run([*audit, "--json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    (file,) = json.loads(done.stdout)["files"]
    assert (file["leaves"], file["checkpoints"]) == (2, 1)
    assert sum(line["micro_usd"] for line in file["totals"]) == RATE_ID
    # One digit of one leaf, and it shows.
    lines = export.read_bytes().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if line.startswith(b'{"leaf"'))
    lines[place] = (
        lines[place][:200]
        + (b"A" if lines[place][200:201] != b"A" else b"B")
        + (lines[place][201:])
    )
    export.write_bytes(b"".join(lines))
    done = subprocess.run(audit, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert f"line {place + 1}: " in done.stdout.replace("\n", " ")
