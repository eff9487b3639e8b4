"""Databases of older versions, brought forward."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from kurir_server import inspection
from kurir_server.errors import DatabaseError
from kurir_server.store import Store
from kurir_server.store.known import counters_of
from kurir_server.store.mailboxes import pad_of
from kurir_wire.codec import unpack
from kurir_wire.entries import Submission
from kurir_wire.frames import TermsAre
from kurir_wire.ids import MailboxId
from tests.server.helpers import ROOT, receipt_of
from tests.server.rig import START, Rig

FOLDER = ROOT / "tests" / "server"


def brought_forward(version: int, path: Path, rig: Rig) -> Rig:
    """An old database, brought forward, under a rig of its relay."""
    text = (FOLDER / f"schema-{version}.sql").read_text("utf-8")
    with sqlite3.connect(path) as connection:
        connection.executescript(text)
    connection.close()
    with pytest.raises(DatabaseError, match=rf"older kurir-relay \(schema version {version}\)"):
        Store.open(path)
    root_pk = bytes.fromhex(text.partition("\nBEGIN")[0].rsplit(" ", 1)[1])
    cert = structs.replace(rig.keys.cert, root_pk=root_pk)
    store = Store.open(path, bring_forward=True)
    return Rig(replace(rig.keys, cert=cert), store, START + 86_400)


@pytest.fixture
def old(tmp_path: Path, rig: Rig) -> Iterator[Rig]:
    """From before there were marks, limits and terms."""
    found = brought_forward(2, tmp_path / "old.db", rig)
    yield found
    found.store.close()


@pytest.fixture
def later(tmp_path: Path, rig: Rig) -> Iterator[Rig]:
    """From before envelopes lay by their places."""
    found = brought_forward(3, tmp_path / "later.db", rig)
    yield found
    found.store.close()


def schema_of(rig: Rig) -> list[object]:
    query = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    return rig.store.connection.execute(query).fetchall()


def test_it_is_as_a_new_one(old: Rig, rig: Rig) -> None:
    assert schema_of(old) == schema_of(rig)
    assert old.store.relay_id == old.keys.relay_id
    assert (old.count("leaves"), old.count("envelopes"), old.count("checkpoints")) == (2, 1, 1)


def test_businesses_go_on_until_they_are_approved_again(old: Rig) -> None:
    known = old.run(lambda rows: rows.businesses())
    (shop,) = (business for business in known if business.tier)
    assert (shop.tariff, shop.starts, shop.legal_name) == ("reply-2018", None, "PT Metro Bus")
    told = old.run(lambda rows: old.registry.terms(rows, old.moment, shop.id, 1))
    assert told == TermsAre(1, None, None, [])
    (new,) = (business for business in known if not business.tier)
    assert (new.starts, new.terms_issued) == (None, None)


def test_mailboxes_take_everything_and_nothing_is_open(old: Rig) -> None:
    ids = old.store.connection.execute("SELECT id FROM mailboxes").fetchall()
    mailboxes = old.run(lambda rows: [rows.mailbox(MailboxId(found[0])) for found in ids])
    assert len(mailboxes) == 3
    for mailbox in mailboxes:
        assert mailbox is not None
        assert mailbox.refused == 0
    assert sum(mailbox.depth for mailbox in mailboxes if mailbox is not None) == 1
    assert old.count("marks") == old.count("starts") == old.count("tickets") == 0


def test_what_waits_keeps_its_order_and_counters_agree(later: Rig, rig: Rig) -> None:
    assert schema_of(later) == schema_of(rig)
    with closing(sqlite3.connect(":memory:")) as before:
        before.executescript((FOLDER / "schema-3.sql").read_text("utf-8"))
        expected = {
            mailbox_id: (
                [depth, size, debt, keep_until],
                before.execute(
                    "SELECT id, body, charge IS NULL FROM envelopes WHERE mailbox = ? ORDER BY n",
                    (row,),
                ).fetchall(),
            )
            for row, mailbox_id, depth, size, debt, keep_until in before.execute(
                "SELECT row, id, depth, size, debt, keep_until FROM mailboxes"
            ).fetchall()
        }
    assert sorted(len(waiting) for _, waiting in expected.values()) == [0, 1, 1, 2]
    damaged = 0
    for mailbox_id, (counters, waiting) in expected.items():
        found = later.run(lambda rows: rows.mailbox(MailboxId(mailbox_id)))  # noqa: B023
        assert found is not None
        assert [found.depth, found.size, found.debt, found.keep_until] == counters
        assert (found.next_n, found.handed_n) == (len(waiting) + 1, 0)
        row = found.row
        assert row < 2**36
        (pad,) = later.store.connection.execute("SELECT pad FROM mailboxes WHERE row = ?", (row,))
        assert pad == (pad_of(*counters_of(found)),)
        there = later.run(lambda rows: list(rows.waiting(row, 0, 0)))  # noqa: B023
        damaged += sum(not envelope.whole for envelope in there)
        assert [(w.n, w.envelope_id, w.body, w.charge is None) for w in there] == [
            (n, envelope_id, body, bool(plain))
            for n, (envelope_id, body, plain) in enumerate(waiting, 1)
        ]
    assert damaged == 1, "the one that was damaged before"
    assert inspection.counts(later.store.checks) == [
        "1 envelopes or charges that are not what was written"
    ]
    assert later.store.damage(full=True) == []


def test_a_card_stays_with_its_mailbox(later: Rig) -> None:
    found = later.store.connection.execute("SELECT mailbox, card FROM cards").fetchall()
    ((row, card),) = found
    assert card == b"a sealed card"
    mailbox = later.run(lambda rows: rows.mailbox_at(row))
    assert mailbox is not None
    assert mailbox.depth == 2, "the friend's"


def test_metered_ones_that_were_handed_over_still_count_as_such(tmp_path: Path, rig: Rig) -> None:
    text = (FOLDER / "schema-3.sql").read_text("utf-8")
    path = tmp_path / "handed.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(text)
        connection.execute("UPDATE mailboxes SET handed_n = 3 WHERE handed_n = 2")
    connection.close()
    with closing(Store.open(path, bring_forward=True)) as store:
        query = "SELECT next_n, handed_n FROM mailboxes WHERE handed_n > 0"
        assert store.connection.execute(query).fetchall() == [(2, 1)]


@pytest.mark.parametrize("name", ["schema-3-seconds.sql", "schema-4.sql"])
def test_seconds_go_and_a_retry_gets_the_start_of_the_hour(
    tmp_path: Path, rig: Rig, name: str
) -> None:
    path = tmp_path / "old.db"
    text = (FOLDER / name).read_text("utf-8")
    with sqlite3.connect(path) as connection:
        connection.executescript(text)
    connection.close()
    root_pk, submitted = (bytes.fromhex(line.split()[-1]) for line in text.splitlines()[2:4])
    opened = Store.open(path, bring_forward=True)
    cert = structs.replace(rig.keys.cert, root_pk=root_pk)
    old = Rig(replace(rig.keys, cert=cert), opened, START + 20)
    schema = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    fresh = rig.store.connection.execute(schema).fetchall()
    assert opened.connection.execute(schema).fetchall() == fresh
    receipt = receipt_of(old.submit(unpack(submitted, Submission))[0])
    assert receipt.accepted_at == START
    assert old.count("charges") == old.count("envelopes") == 1, "a retry, not a second charge"
    opened.checkpoint()
    opened.close()
    # 1800000017 as the row had it, and as it was before the file was overwritten.
    assert (START + 17).to_bytes(4, "big") not in path.read_bytes()
