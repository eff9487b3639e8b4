"""Databases from before there were marks, limits and terms, and sealed seconds."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from kurir_server.errors import DatabaseError
from kurir_server.store import Store
from kurir_wire.codec import unpack
from kurir_wire.entries import Submission
from kurir_wire.frames import TermsAre
from kurir_wire.ids import MailboxId
from tests.server.helpers import ROOT, receipt_of
from tests.server.rig import START, Rig

OLD_DATABASE = ROOT / "tests" / "server" / "schema-2.sql"


@pytest.fixture
def old(tmp_path: Path, rig: Rig) -> Rig:
    """The old database, brought forward, under a rig."""
    path = tmp_path / "old.db"
    text = OLD_DATABASE.read_text("utf-8")
    with sqlite3.connect(path) as connection:
        connection.executescript(text)
    connection.close()
    with pytest.raises(DatabaseError, match=r"older kurir-relay \(schema version 2\)"):
        Store.open(path)
    root_pk = bytes.fromhex(text.partition("\nBEGIN")[0].rsplit(" ", 1)[1])
    cert = structs.replace(rig.keys.cert, root_pk=root_pk)
    store = Store.open(path, bring_forward=True)
    return Rig(replace(rig.keys, cert=cert), store, START + 86_400)


def test_it_is_as_a_new_one(old: Rig, rig: Rig) -> None:
    schema = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    fresh = rig.store.connection.execute(schema).fetchall()
    assert old.store.connection.execute(schema).fetchall() == fresh
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


def test_seconds_in_clear_go_and_a_retry_gets_the_start_of_the_hour(
    tmp_path: Path, rig: Rig
) -> None:
    path = tmp_path / "old.db"
    text = OLD_DATABASE.with_name("schema-3-seconds.sql").read_text("utf-8")
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
    assert old.count("accepted_seconds") == 0
    receipt = receipt_of(old.submit(unpack(submitted, Submission))[0])
    assert receipt.accepted_at == START
    assert old.count("charges") == old.count("envelopes") == 1, "a retry, not a second charge"
    opened.checkpoint()
    opened.close()
    # 1800000017 as the row had it, and as it was before the file was overwritten.
    assert (START + 17).to_bytes(4, "big") not in path.read_bytes()
