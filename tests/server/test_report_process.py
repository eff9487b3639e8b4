"""``kurir-relay report`` beside a relay that runs, and without the key that opens reports."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

from kurir_billing.ratecard import bundled
from kurir_billing.report import Report
from kurir_server import keyfiles
from kurir_wire.entries import Ack
from kurir_wire.frames import SendReport
from tests.server.client import Client
from tests.server.helpers import Shop, receipt_of
from tests.server.labelled import TARIFF, franked, labelled_line, sealed
from tests.server.process import RelayProcess, running


async def said(relay: RelayProcess, client: Client, text: str) -> Report:
    """A business's message that a customer opened and settled."""
    shop = Shop(client.relay_id, client.now)
    assert await client.register(shop, shop.card()) == "ok"
    relay.approve(shop)
    with contextlib.closing(sqlite3.connect(relay.db)) as database, database:
        database.execute("UPDATE businesses SET tariff = ?", (TARIFF,))
    box, opening = shop.customer(client.now)
    assert await client.create(box) == ["ok"]
    beacon = await client.beacon()
    grant = box.grant(shop.id, beacon)
    signed, report = franked(shop, box, opening, beacon, text, labelled_line(shop), grant)
    receipt_of((await client.submit(signed.submission))[0])
    assert await client.open(box) == ["ok"]
    (delivery,) = await client.take(1)
    await client.ack(Ack(box.id, delivery.envelope_id, signed.secret))
    return report


def printed(relay: RelayProcess, *arguments: str) -> Any:
    done = relay.run("report", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_an_operator_decides_while_the_relay_runs(tmp_path: Path) -> None:
    with running(tmp_path) as relay:
        folder = keyfiles.default_folder(relay.db)
        cert = keyfiles.load(folder).cert
        async with relay.client() as client:
            report = await said(relay, client, "50% off\n\x1b[2J\u202eall seats")
        async with relay.client() as client:
            frame = SendReport(1, sealed(cert, report, reason="ad\x07"))
            assert await client.codes(frame) == ["ok"]
            assert await client.codes(SendReport(2, bytes(4_096))) == ["ok"]
        facts = {one["state"]: one for one in printed(relay, "list")}
        proved, noise = facts["proved"], facts["not proved"]
        assert "does not open" in noise["why"]
        shown = printed(relay, "show", proved["id"])
        assert shown["text"] == "50% off\n\x1b[2J\u202eall seats"
        assert (shown["labelled"], shown["should_be"], shown["legal_name"]) == (
            "utility",
            "marketing",
            "PT Metro Bus",
        )
        assert (shown["list_price_micro_usd"], shown["tariff"]) == (0, TARIFF)
        # A terminal gets no control characters of others.
        plain = relay.run("report", "show", proved["id"]).stdout
        assert "text: 50% off\n    \ufffd[2J\ufffdall seats\n" in plain
        assert "\x1b" not in plain
        assert "\x07" not in plain
        listed = relay.run("report", "list").stdout
        assert "proved  PT Metro Bus  (utility, should be marketing)" in listed

        for wrong, why in (
            (("show", "00" * 8), "no such report"),
            (("uphold", noise["id"], "--category", "marketing"), "not proved"),
            (("uphold", proved["id"], "--category", "service"), "nothing to re-rate"),
        ):
            refused = relay.run("report", *wrong)
            assert refused.returncode == 2
            assert why in refused.stderr
            assert "Traceback" not in refused.stderr
        assert relay.run("report", "show", "zz").returncode == 2
        assert relay.run("report", "uphold", proved["id"], "--category", "ad").returncode == 2

        ruled = printed(relay, "uphold", proved["id"], "--category", "marketing")
        assert ruled["delta_micro_usd"] == bundled().rates("ID").marketing
        assert {one["state"] for one in printed(relay, "list")} == {"not proved", "re-rated"}
        assert printed(relay, "show", proved["id"])["rated_as"] == "marketing"
        again = relay.run("report", "uphold", proved["id"], "--category", "marketing")
        assert again.returncode == 2
        assert "re-rated already" in again.stderr
        for one in (proved, noise):
            assert relay.run("report", "dismiss", one["id"]).returncode == 0
        assert printed(relay, "list") == []
        assert relay.run("report", "list").stdout == "no reports\n"
        assert relay.stop() == 0
        assert "off" not in relay.log.read_text()


async def test_a_relay_serves_without_the_key_that_opens_reports(tmp_path: Path) -> None:
    """It cannot read what it does not have: the private half is elsewhere all the time."""
    relay = RelayProcess(tmp_path).init()
    folder = keyfiles.default_folder(relay.db)
    elsewhere = tmp_path / "safe"
    elsewhere.mkdir()
    cert = keyfiles.load(folder).cert
    (folder / keyfiles.REPORT).rename(elsewhere / keyfiles.REPORT)
    relay.start()
    try:
        async with relay.client() as client:
            report = await said(relay, client, "an ad")
            assert await client.codes(SendReport(1, sealed(cert, report))) == ["ok"]
        refused = relay.run("report", "list")
        assert refused.returncode == 3
        assert "report.key" in refused.stderr
        (elsewhere / keyfiles.REPORT).rename(folder / keyfiles.REPORT)
        (shown,) = printed(relay, "list")
        assert (shown["state"], shown["text"]) == ("proved", "an ad")
        assert relay.stop() == 0
    finally:
        if relay.process is not None and relay.process.poll() is None:
            relay.kill()
