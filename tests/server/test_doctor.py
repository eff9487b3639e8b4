"""Doctor: sound relays pass, and each thing that can be wrong is found and says what to do."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kurir_billing.leaf import packed_leaf
from kurir_server import admin, keyfiles
from kurir_server import doctor as doctor_module
from kurir_server.config import Config
from kurir_server.doctor import Finding, State, examine
from kurir_server.store.schema import PAGE_BYTES
from kurir_wire.entries import Ack
from kurir_wire.frames import PutPreKeys
from kurir_wire.ids import DAY, MINUTE
from tests.server.certificates import tls_files
from tests.server.helpers import Box, Shop, receipt_of
from tests.server.labelled import TARIFF, settle_labelled
from tests.server.process import RelayProcess, running
from tests.server.rig import START, Rig
from tests.server.test_ledger import settle
from tests.server.test_rulings import report, uphold


def config_of(rig: Rig, **changes: Any) -> Config:
    db = rig.store.path
    values: dict[str, Any] = {"db": db, "host": "127.0.0.1", "port": 0}
    return Config(**(values | {"keys": keyfiles.default_folder(db)} | changes))


def found(rig: Rig, state: State = State.PROBLEM, **changes: Any) -> list[Finding]:
    return [f for f in examine(config_of(rig, **changes), rig.now) if f.state is state]


def lived(rig: Rig) -> tuple[Shop, Box]:
    """What a relay has after some days: waiting envelopes of both kinds, a ledger, prekeys."""
    shops = [rig.shop(), rig.shop()]
    for _ in range(3):
        for shop in shops:
            settle(rig, shop, 2)
        rig.now += DAY
        rig.tidy()
    settle(rig, shops[0])
    box = rig.personal()
    assert rig.submit(box.write(), box.write(65_536), box.write()) == [None] * 3
    first = rig.waiting(box)[0]
    assert rig.ack(box, first.envelope_id) is None
    customer, opening = rig.customer(shops[0])
    signed = rig.charge(shops[0], customer, opening, shops[0].line(is_open=False))
    rig.submit(signed.submission)
    rig.fetch(customer)
    for shop in shops:
        prekeys = [shop.ec(1)], [shop.kem(1)]
        rig.run(lambda rows: rig.registry.put_prekeys(rows, shop.id, *prekeys))  # noqa: B023
        # For a year, as the operator grants it.
        admin.approve(
            rig.store.path, rig.keys, shop.id, "platform", "PT Metro Bus", None, None, rig.now
        )
    return shops[0], box


def test_a_relay_that_has_lived_is_sound(rig: Rig) -> None:
    lived(rig)
    (rig.store.path.with_suffix(".keys") / keyfiles.ROOT).unlink()
    all_of_it = list(examine(config_of(rig), rig.now))
    assert {f.state for f in all_of_it} == {State.OK}, all_of_it
    assert {f.check for f in all_of_it} >= {
        *("relay", "keys", "certificate", "permissions", "database", "disk", "clock"),
        *("integrity", "mailboxes", "charges", "ledger", "prices", "businesses"),
    }
    assert not any(f.todo for f in all_of_it)
    quick = {f.check for f in examine(config_of(rig), rig.now, quick=True)}
    assert "integrity" in quick
    assert not quick & {"mailboxes", "charges", "ledger"}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("UPDATE mailboxes SET depth = depth + 1 WHERE depth = 2", "1 mailboxes that count other"),
        ("UPDATE mailboxes SET size = size - 1 WHERE depth = 2", "1 mailboxes that count other"),
        ("UPDATE mailboxes SET next_n = 3 WHERE depth = 2", "1 mailboxes that count other"),
        ("UPDATE mailboxes SET handed_n = next_n WHERE depth = 2", "1 mailboxes that count other"),
        ("DELETE FROM envelopes WHERE length(body) = 65536", "1 mailboxes that count other"),
        ("DELETE FROM mailboxes WHERE depth = 2", "2 envelopes of no mailbox"),
        ("INSERT INTO cards VALUES (1, 2, X'00')", "1 cards of no mailbox"),
        ("DELETE FROM charges WHERE body IS NOT NULL", "1 envelopes whose charge is missing"),
        ("INSERT INTO prekeys VALUES (X'00', 0, 1, X'00')", "1 prekeys of no business"),
        ("UPDATE charges SET private_hash = zeroblob(32) WHERE body IS NOT NULL", "1 charges that"),
        ("UPDATE charges SET body = X'00' WHERE body IS NOT NULL", "1 charges that"),
        ("UPDATE tiles SET hashes = zeroblob(length(hashes))", "not the one that was signed"),
        (
            "UPDATE tiles SET hashes = CAST(hashes || zeroblob(32) AS BLOB)",
            "1 leaves that no checkpoint signed",
        ),
        ("UPDATE tiles SET hashes = substr(hashes, 1, 96)", "not the one that was signed"),
        ("UPDATE tiles SET hashes = substr(hashes, 1, 95)", "tile 0 of level 0"),
        ("UPDATE tiles SET n = 1", "tile 1 of level 0"),
        ("INSERT INTO tiles VALUES (1, 0, zeroblob(32))", "nodes at height 8"),
        ("DELETE FROM checkpoints WHERE size = 12", "4 leaves that no checkpoint signed"),
        ("UPDATE checkpoints SET note = X'00' WHERE size = 4", "checkpoint of 4 leaves"),
        ("UPDATE checkpoints SET size = 5 WHERE size = 4", "not the one that was signed"),
        (
            "DELETE FROM leaves WHERE charge = (SELECT max(charge) FROM leaves)",
            "are not those that the ledger has",
        ),
        ("DELETE FROM pending", "are not those that the ledger has"),
        ("UPDATE pending SET hash = zeroblob(32)", "are not those that the ledger has"),
        ("INSERT INTO pending VALUES (9, zeroblob(32))", "the leaves of day 9 are not"),
        (
            "UPDATE leaves SET charge = X'00' WHERE charge = (SELECT max(charge) FROM leaves)",
            "under another name",
        ),
        (
            "UPDATE leaves SET leaf = X'00' WHERE charge = (SELECT max(charge) FROM leaves)",
            "is not as it was signed",
        ),
        (
            "UPDATE businesses SET legal_name = 'PT Metro Taxi'",
            "2 businesses whose card, badge or terms",
        ),
        ("UPDATE businesses SET tier = 1", "2 businesses whose card, badge or terms"),
        ("UPDATE businesses SET expires = expires + 1", "2 businesses whose card, badge or terms"),
        ("UPDATE businesses SET card = X'00'", "2 businesses whose card, badge or terms"),
        ("UPDATE rate_cards SET effective_from = 1", "version 1 of the rate card"),
        ("UPDATE rate_cards SET card = X'00'", "version 1 of the rate card"),
        ("DELETE FROM rate_cards", "no rate card is in force"),
        ("UPDATE meta SET value = '99' WHERE key = 'schema_version'", "of a newer kurir-relay"),
        ("UPDATE meta SET value = 'aa' WHERE key = 'relay_id'", "belongs to another relay"),
        ("UPDATE meta SET value = 'x' WHERE key = 'minute'", "does not say whose it is"),
        ("DROP TABLE lanes", "lacks the column lanes.lane_pk"),
    ],
)
def test_what_is_wrong_in_the_database(rig: Rig, change: str, text: str) -> None:
    lived(rig)
    rig.store.connection.execute(change)
    problems = found(rig)
    assert any(text in problem.found for problem in problems), problems
    assert all(problem.todo for problem in problems)


def test_a_lane_that_nobody_enrolled(rig: Rig) -> None:
    """What the tree's hashes leave out of a leaf is signed by itself."""
    shop = rig.shop()
    (leaf,) = settle(rig, shop)
    assert found(rig) == []
    longer = replace(leaf, lane=replace(leaf.lane, not_after=leaf.lane.not_after + 1))
    assert longer.hash(rig.keys.relay_id) == leaf.hash(rig.keys.relay_id)
    rig.store.connection.execute("UPDATE leaves SET leaf = ?", (packed_leaf(longer),))
    assert any("is not as it was signed" in problem.found for problem in found(rig))


def test_bits_that_turn_in_what_waits(rig: Rig) -> None:
    box = rig.personal()
    assert rig.submit(box.write()) == [None]
    shop = rig.shop()
    customer, opening = rig.customer(shop)
    signed = rig.charge(shop, customer, opening, shop.line(is_open=False))
    receipt_of(rig.submit(signed.submission)[0])
    assert found(rig) == []
    for change in (
        "UPDATE envelopes SET body = zeroblob(length(body)) WHERE charge IS NULL",
        "UPDATE charges SET accepted_hour = accepted_hour + 1",
    ):
        rig.store.connection.execute(change)
    assert any(
        "2 envelopes or charges that are not what was written" in p.found for p in found(rig)
    )


def test_adjustments(rig: Rig) -> None:
    """They stand in the ledger as leaves do, and wait for the end of their day before."""
    shop = rig.shop(tariff=TARIFF)
    made = settle_labelled(rig, shop)
    rig.now += DAY
    rig.tidy()
    uphold(rig, report(rig, made).id)
    assert found(rig) == []
    rig.now += DAY
    rig.tidy()
    assert found(rig) == []
    connection = rig.store.connection
    (kept,) = connection.execute("SELECT * FROM adjustments")
    for change, text in (
        ("UPDATE adjustments SET leaf_hash = zeroblob(32)", "under another name"),
        ("UPDATE adjustments SET day = day + 1", "are not those that the ledger has"),
        ("UPDATE adjustments SET hash = zeroblob(32)", "under another name"),
        ("UPDATE adjustments SET adjust = X'00'", "is not as it was signed"),
        ("UPDATE adjustments SET leaf = X'00'", "is not as it was signed"),
        ("DELETE FROM adjustments", "are not those that the ledger has"),
    ):
        connection.execute(change)
        problems = found(rig)
        assert any(text in problem.found for problem in problems), (change, problems)
        connection.execute("DELETE FROM adjustments")
        connection.execute("INSERT INTO adjustments VALUES (?, ?, ?, ?, ?, ?, ?)", kept)
    assert found(rig) == []


def test_a_damaged_file(rig: Rig) -> None:
    lived(rig)
    rig.store.checkpoint()
    db = rig.store.path
    rig.store.close()
    whole = db.read_bytes()
    for at in range(PAGE_BYTES, len(whole), PAGE_BYTES):
        db.write_bytes(whole[:at] + b"\xa5" * 64 + whole[at + 64 :])
        assert found(rig), at
    db.write_bytes(whole[:-PAGE_BYTES])
    assert found(rig)
    db.unlink()
    assert "there is no database" in found(rig)[-1].found


def grant(name: str, mode: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).chmod(mode)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (grant("rig.db", 0o640), "rig.db can be read by others"),
        (grant("rig.db-wal", 0o604), "rig.db-wal can be read by others"),
        (grant("rig.keys/prf.key", 0o644), "prf.key can be read by others"),
        (grant("rig.keys", 0o770), "others can put files into"),
        (grant(".", 0o777), "others can put files into"),
        (lambda folder: (folder / "rig.keys/beacon.key").unlink(), "cannot read"),
        (
            lambda folder: (folder / "rig.keys/relay.cert").unlink(),
            "missing, damaged, or of an older kurir-relay",
        ),
    ],
)
def test_files(rig: Rig, change: Callable[[Path], None], text: str) -> None:
    change(rig.store.path.parent)
    problems = found(rig)
    assert any(text in problem.found for problem in problems), problems
    assert all(problem.todo for problem in problems)


def test_another_owner(rig: Rig) -> None:
    if os.geteuid() != 0:
        pytest.skip("only a superuser can give files away")
    path = rig.store.path.with_suffix(".keys") / "prf.key"
    os.chown(path, 12_345, 12_345)
    assert f"{path} is of another user than the database" in [
        warning.found for warning in found(rig, State.WARNING)
    ]


def test_time(rig: Rig) -> None:
    assert found(rig) == []
    rig.now = START + 336 * DAY
    assert any("holds for 29 days" in w.found for w in found(rig, State.WARNING))
    rig.now = START + 365 * DAY
    assert any("the certificate has ended" in p.found for p in found(rig))
    rig.now = START - 3_600
    assert any("begins in the future" in p.found for p in found(rig))
    rig.now = START
    rig.run(lambda rows: rows.set_minute(START // MINUTE + 10))
    assert any("was 600 s ahead" in p.found for p in found(rig))
    rig.run(lambda rows: rows.set_minute(START // MINUTE + 5))
    assert found(rig) == []


def test_badges_that_end(rig: Rig) -> None:
    rig.shop()
    rig.shop(tier=None)
    assert any("1 badges end within 30 days" in w.found for w in found(rig, State.WARNING))


def test_room(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_module, "free_beside", lambda path: 1_048_576)
    assert any(p.check == "disk" and "1 MiB free" in p.found for p in found(rig))
    monkeypatch.setattr(doctor_module, "LARGE_WAL", 0)
    rig.personal()
    warnings = [w.found for w in found(rig, State.WARNING)]
    for name in ("rig.db-wal", "rig.blobs-wal"):
        assert any(f"the write-ahead log {name} has" in said for said in warnings)


def test_configuration(rig: Rig, tmp_path: Path) -> None:
    assert any("without TLS" in p.found for p in found(rig, host="0.0.0.0"))
    pem, secret = tls_files(tmp_path, days=20.5)
    tls: dict[str, Any] = {"tls_cert": pem, "tls_key": secret}
    assert found(rig, host="0.0.0.0", **tls) != [], "the certificate is of another time"
    now = 0

    def at(**changes: Any) -> list[str]:
        config = config_of(rig, **(tls | changes))
        return [f"{f.state.value} {f.check} {f.found}" for f in examine(config, now)]

    now = int(time.time())
    assert "warning tls the TLS certificate holds for 20 days" in at()
    other, _ = tls_files(tmp_path, name="other")
    assert any("problem tls cannot use" in line for line in at(tls_cert=other))
    secret.chmod(0o644)
    assert any(f"{secret} can be read by others" in line for line in at())


def test_a_port_that_is_taken_and_one_that_is_free(rig: Rig) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        config = config_of(rig, port=port)
        problems = [f for f in examine(config, rig.now, bind=True) if f.state is State.PROBLEM]
        assert any(f"cannot listen on 127.0.0.1:{port}" in p.found for p in problems)
        assert found(rig, port=port) == [], "only where the address was given"
    fine = [f.found for f in examine(config_of(rig, port=port), rig.now, bind=True)]
    assert f"127.0.0.1:{port} is free" in fine


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[RelayProcess]:
    with running(tmp_path) as relay:
        yield relay


async def test_beside_a_relay_that_works(busy: RelayProcess) -> None:
    async with busy.client() as client:
        shop = Shop(client.relay_id, client.now)
        assert await client.register(shop, shop.card()) == "ok"
        assert await client.prove(shop) == "ok"
        await client.results(PutPreKeys(client.next(), [shop.ec(5)], [shop.kem(5)]))
        box = Box.personal(client.relay_id, client.now)
        assert await client.create(box) == ["ok"]
        assert await client.open(box) == ["ok"]
        looking = asyncio.create_task(asyncio.to_thread(busy.run, "doctor", "--json"))
        while not looking.done():
            entry = box.write()
            assert await client.submit(entry) == [None]
            await client.take(1)
            assert await client.ack(Ack(box.id, entry.envelope_id)) == [None]
        done = await looking
        assert done.returncode == 0, done.stdout + done.stderr
        lines = json.loads(done.stdout)
        assert {"check": "relay", "state": "ok", "found": "runs", "todo": ""} in lines
        assert {line["state"] for line in lines} == {"ok", "warning"}
        host = busy.run("doctor", "--listen", busy.address)
        assert f"{busy.address} is in use, and the relay runs" in host.stdout


def test_the_command(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path).init()

    def files() -> dict[Path, int]:
        """What is there and when it was written; SQLite leaves a log, with nothing in it."""
        there = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert (tmp_path / "relay.db-wal") not in there or not (
            tmp_path / "relay.db-wal"
        ).stat().st_size
        return {p: p.stat().st_mtime_ns for p in there if not p.name.startswith("relay.db-")}

    before = files()
    done = relay.run("doctor")
    assert done.returncode == 0
    assert "warning  keys" in done.stdout, "root.key is there"
    assert files() == before
    shutil.rmtree(keyfiles.default_folder(relay.db))
    done = relay.run("doctor")
    assert done.returncode == 1
    assert "problem  keys" in done.stdout
    assert "→ give the folder with --keys" in done.stdout
    assert "ok       database" in done.stdout, "the rest is looked at all the same"
    relay.db.write_bytes(b"noise" * 2_000)
    done = relay.run("doctor", "--json")
    assert done.returncode == 1
    assert done.stderr == ""
    assert any(f["check"] == "database" and f["todo"] for f in json.loads(done.stdout))


def test_of_files_that_are_not_there_nothing_is_said(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path)
    done = relay.run("doctor")
    assert done.returncode == 1
    assert "permissions" not in done.stdout
    lines = done.stdout.splitlines()
    (at,) = (n for n, line in enumerate(lines) if line.startswith("problem  database"))
    assert f"there is no database {relay.db}" in lines[at]
    assert "→ give another --db, or make one with: kurir-relay init" in lines[at + 1]
    relay.init()
    relay.db.unlink()
    assert "permissions    the keys are the operator's alone" in relay.run("doctor").stdout
    shutil.rmtree(keyfiles.default_folder(relay.db))
    relay.db.touch(mode=0o600)
    assert "permissions    the database is the operator's alone" in relay.run("doctor").stdout
