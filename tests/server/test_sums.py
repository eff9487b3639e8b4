"""Rows that are not what was written: never handed on, and in nobody's way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from kurir_server.limits import MAX_UNSETTLED
from kurir_server.store import Store
from kurir_server.store.places import place_of
from kurir_server.store.sums import SUM_DIFFERS, sum_of
from kurir_wire.ids import HOUR, EnvelopeId, MailboxId
from tests.server.helpers import ROOT, receipt_of
from tests.server.rig import START, Rig

OLD = ROOT / "tests" / "server" / "schema-2-sums.sql"


def change(rig: Rig, table: str, column: str, value: Any, where: str, key: object) -> None:
    """As a disk changes it, and nobody tells."""
    rig.store.connection.execute(f"UPDATE {table} SET {column} = ? WHERE {where} = ?", (value, key))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", bytes(2_048)),
        ("body", "text"),
        ("id", bytes(16)),
        ("place", "another"),
        ("expires_hour", 2**40),
        ("sum", bytes(8)),
        ("sum", None),
    ],
)
def test_a_changed_envelope_is_not_delivered_and_the_next_one_is(
    rig: Rig, column: str, value: Any
) -> None:
    box = rig.personal()
    first, second = box.write(), box.write(4_096)
    assert rig.submit(first, second) == [None, None]
    rig.store.connection.execute("PRAGMA ignore_check_constraints = ON")
    if value == "another":
        value = place_of(rig.row(box), 7)
    if value == "text":
        rig.store.connection.execute("PRAGMA writable_schema = ON")
        rig.store.connection.execute("UPDATE sqlite_schema SET sql = replace(sql, ') STRICT', ')')")
        rig.store.connection.execute("PRAGMA writable_schema = RESET")
    change(rig, "envelopes", column, value, "id", first.envelope_id)
    assert [d.envelope_id for d in rig.waiting(box)] == [second.envelope_id]
    assert rig.store.take_damaged() == {SUM_DIFFERS: 1}
    assert [d.envelope_id for d in rig.waiting(box)] == [second.envelope_id]
    assert rig.store.take_damaged() == {}, "it is gone"
    mailbox = rig.run(lambda rows: rows.mailbox(box.id))
    assert mailbox is not None
    assert mailbox.depth == 1
    assert rig.submit(first) == [None], "whoever still has it may send it again"


@pytest.mark.parametrize("column", ["body", "accepted_hour", "private_hash"])
def test_a_changed_charge_takes_its_envelope_along_and_nobody_owes_for_it(
    rig: Rig, column: str
) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    value = 1 if column == "accepted_hour" else bytes(40)
    for _ in range(MAX_UNSETTLED + 1):
        signed = rig.charge(shop, box, opening, shop.line(is_open=False))
        receipt_of(rig.submit(signed.submission)[0])
        change(rig, "charges", column, value, "hash", signed.hash)
        assert rig.waiting(box) == []
    mailbox = rig.run(lambda rows: rows.mailbox(box.id))
    assert mailbox is not None
    assert (mailbox.debt, mailbox.depth, mailbox.size) == (0, 0, 0)
    good = rig.charge(shop, box, opening, shop.line(is_open=False))
    receipt = rig.submit(good.submission)[0]
    (delivery,) = rig.waiting(box)
    # Changed between delivery and settlement: it cannot settle, and the reader is not stuck.
    change(rig, "charges", column, value, "hash", good.hash)
    assert rig.ack(box, delivery.envelope_id, good.secret) is not None
    assert rig.count("leaves") == 0
    if column != "accepted_hour":
        assert rig.submit(good.submission) == [receipt]


def test_an_older_database_is_brought_forward_whole(tmp_path: Path, rig: Rig) -> None:
    path = tmp_path / "old.db"
    text = OLD.read_text("utf-8")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(text)
    facts = [line.rpartition(": ")[2].split() for line in text.splitlines()[2:5]]
    (_, (personal, letter), (paid, charged, secret)) = (
        [bytes.fromhex(value) for value in line] for line in facts
    )
    Store.open(path, bring_forward=True).close()
    opened = Store.open(path)
    old = Rig(rig.keys, opened, START + 17 * HOUR)
    schema = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    fresh = rig.store.connection.execute(schema).fetchall()
    assert opened.connection.execute(schema).fetchall() == fresh

    def waiting(mailbox_id: bytes) -> tuple[int, list[Any]]:
        mailbox = old.run(lambda rows: rows.mailbox(MailboxId(mailbox_id)))
        assert mailbox is not None
        row = mailbox.row
        return row, old.run(lambda rows: list(rows.waiting(row, 0, old.now // HOUR)))

    assert [w.envelope_id for w in waiting(personal)[1]] == [letter]
    row, (envelope,) = waiting(paid)
    assert (envelope.envelope_id, envelope.whole) == (charged, True)
    assert opened.take_damaged() == {}
    taken = old.run(lambda rows: rows.take_envelope(row, EnvelopeId(charged)))
    assert taken is not None
    assert taken.charge is not None
    assert old.run(lambda rows: old.meter.settle(rows, old.moment, taken.charge, secret))  # type: ignore[arg-type]
    assert old.count("leaves") == 2
    opened.close()


def test_a_sum_tells_values_types_and_places_apart() -> None:
    rows: list[tuple[object, ...]] = [
        (1, b"a"),
        (b"a", 1),
        (1, b"a", b""),
        (1, b"", b"a"),
        (1, b"a", None),
        ("1", b"a"),
        (b"1", b"a"),
        (1, "a"),
        (-1, b"a"),
        (1.0, b"a"),
    ]
    assert len({sum_of(*row) for row in rows}) == len(rows)
