"""The ledger: days come into the tree when they are over, once, whole, and for good."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from kurir_billing.dates import month_of_day
from kurir_billing.leaf import Leaf, open_leaf
from kurir_billing.ledger import Checkpoint, entry_hash, open_checkpoint
from kurir_billing.party import Party
from kurir_server.errors import DatabaseError
from kurir_server.parties import party_of
from kurir_server.rows import Rows
from kurir_server.store import Store, open_async
from kurir_wire import codes
from kurir_wire.frames import (
    CheckpointIs,
    ConsistencyIs,
    Error,
    GetAdjustments,
    GetCheckpoint,
    GetConsistency,
    GetInclusion,
    GetSettlements,
    InclusionIs,
    Push,
    SettlementsAre,
)
from kurir_wire.ids import DAY, NO_HASH, Hash, RelayId, relay_id_of
from kurir_wire.merkle import Growing, is_consistent, is_included
from tests.server.helpers import ROOT, Shop, receipt_of
from tests.server.rig import START, Rig

TODAY = START // DAY
OLD_DATABASE = ROOT / "tests" / "server" / "schema-1.sql"


def settle(rig: Rig, shop: Shop, count: int = 1) -> list[Leaf]:
    """Charges that are opened at once; their leaves."""
    box, opening = rig.customer(shop)
    for _ in range(count):
        signed = rig.charge(shop, box, opening, shop.line(is_open=False))
        receipt_of(rig.submit(signed.submission)[0])
        rig.tick += 6
        rig.fetch(box)
        assert rig.ack(box, signed.submission.envelope_id, signed.secret) is None
    day = rig.now // DAY
    return [open_leaf(d) for d in rig.run(lambda rows: rows.leaves(shop.id, day, NO_HASH, 1_000))]


def entries(rig: Rig, leaves: Sequence[Leaf]) -> list[Hash]:
    return sorted(entry_hash(leaf, rig.keys.relay_id) for leaf in leaves)


def wait(rig: Rig, day: int, hashes: Sequence[bytes]) -> None:
    """Leaves that wait, without the work of settling them."""

    def work(rows: Rows) -> None:
        for entry in hashes:
            rows.add_pending(day, Hash(entry))

    rig.run(work)


def some(count: int, seed: int = 0) -> list[bytes]:
    rng = random.Random(seed)
    return sorted(rng.randbytes(32) for _ in range(count))


def one(frames: list[Push]) -> Push:
    (frame,) = frames
    return frame


def newest(rig: Rig) -> Checkpoint:
    reply = one(rig.connection().send(GetCheckpoint(1)))
    assert isinstance(reply, CheckpointIs)
    return open_checkpoint(reply.note, rig.keys.cert.checkpoint_pk, rig.keys.relay_id)


def code(reply: Push) -> str:
    assert isinstance(reply, Error)
    return reply.result.code


def test_a_day_comes_in_when_it_is_over(rig: Rig) -> None:
    shops = [rig.shop(), rig.shop()]
    first = [leaf for shop in shops for leaf in settle(rig, shop, 3)]
    rig.tidy()
    assert rig.count("pending") == 6
    assert rig.count("checkpoints") == rig.count("tiles") == 0
    assert code(one(rig.connection().send(GetCheckpoint(1)))) == codes.NOT_FOUND
    rig.now = (TODAY + 1) * DAY - 1
    rig.tidy()
    assert rig.count("checkpoints") == 0
    rig.now += 1
    second = settle(rig, shops[0], 2)
    rig.tidy()
    assert rig.count("pending") == 2
    expected = Growing(entries(rig, first))
    assert newest(rig) == Checkpoint(rig.keys.relay_id, 6, expected.root())
    rig.now += DAY
    for entry in entries(rig, second):
        expected.append(entry)
    assert newest(rig) == Checkpoint(rig.keys.relay_id, 8, expected.root()), "asking closes it too"
    rig.now += 5 * DAY
    rig.tidy()
    assert rig.count("checkpoints") == 2, "days without settlements bring none"
    assert rig.count("pending") == 0


def test_closing_again_and_a_clock_that_goes_back(rig: Rig) -> None:
    settle(rig, rig.shop(), 2)
    rig.now += DAY
    rig.tidy()
    before = newest(rig)
    for back in (0, -DAY, -10 * DAY, 3 * DAY):
        rig.now += back
        rig.restart()
        rig.tidy()
        assert newest(rig) == before
    assert rig.count("checkpoints") == 1


def test_a_leaf_that_comes_late_is_not_lost(rig: Rig) -> None:
    """It cannot come; it would not be lost."""
    shop = rig.shop()
    early = settle(rig, shop)
    rig.now += DAY
    rig.tidy()
    rig.now -= DAY  # as no relay's clock does
    late = settle(rig, shop)
    rig.now += DAY
    rig.tidy()
    assert newest(rig).size == 2
    talk = rig.proved(shop)
    for leaf in {*early, *late}:
        name = leaf.charge_hash(rig.keys.relay_id)
        assert isinstance(one(talk.send(GetInclusion(2, 2, TODAY, [name]))), InclusionIs)


def test_proofs_of_ones_own_charges(rig: Rig) -> None:
    shop, other = rig.shop(), rig.shop()
    days, foreign = [], settle(rig, other)
    for _ in range(3):
        wait(rig, rig.now // DAY, some(300, rig.now))
        days.append((rig.now // DAY, settle(rig, shop, 4)))
        foreign = settle(rig, other)
        rig.now += DAY
        rig.tidy()
    talk, top = rig.proved(shop), newest(rig)
    assert top.size == 3 * 305 + 1
    for day, leaves in days:
        names = [leaf.charge_hash(rig.keys.relay_id) for leaf in leaves]
        reply = one(talk.send(GetInclusion(2, top.size, day, list(names))))
        assert isinstance(reply, InclusionIs)
        assert len(reply.places) == 4
        for leaf, place in zip(leaves, reply.places, strict=True):
            entry = entry_hash(leaf, rig.keys.relay_id)
            assert is_included(entry, place.index, top.size, place.proof, top.root)
    day, leaves = days[-1]
    name = leaves[0].charge_hash(rig.keys.relay_id)
    theirs = foreign[0].charge_hash(rig.keys.relay_id)
    for size, when, charges in (
        (top.size, day, [theirs]),
        (top.size, day, [name, bytes(32)]),
        (top.size, day - 1, [name]),
        (top.size, rig.now // DAY, [name]),
        (top.size + 1, day, [name]),
        (610, day, [name]),
        (0, day, [name]),
    ):
        assert code(one(talk.send(GetInclusion(3, size, when, list(charges))))) == codes.NOT_FOUND
    assert code(one(rig.connection().send(GetInclusion(1, 1, day, [name])))) == codes.NOT_AUTHORISED
    assert code(one(rig.proved(other).send(GetInclusion(2, top.size, day, [name])))) == "not-found"


def test_today_cannot_be_proved_and_what_is_listed_can(rig: Rig) -> None:
    shop = rig.shop()
    (leaf,) = settle(rig, shop)
    talk, day = rig.proved(shop), rig.now // DAY
    ask = GetInclusion(2, 1, day, [leaf.charge_hash(rig.keys.relay_id)])
    assert code(one(talk.send(ask))) == codes.NOT_FOUND
    rig.now += DAY
    listed = one(talk.send(GetSettlements(3, day, NO_HASH)))
    assert isinstance(listed, SettlementsAre)
    assert isinstance(one(talk.send(ask)), InclusionIs), "no housekeeping has been there"


@pytest.mark.parametrize("said", [GetSettlements, GetAdjustments])
def test_whatever_is_said_of_a_day_that_is_over_is_in_the_tree(
    rig: Rig, said: type[GetSettlements | GetAdjustments]
) -> None:
    """Before the answer goes out, not when housekeeping comes: the business may ask an auditor."""
    shop = rig.shop()
    settle(rig, shop)
    talk, day = rig.proved(shop), rig.now // DAY
    rig.now += DAY
    when = day if said is GetSettlements else month_of_day(day)
    talk.send(said(2, when, NO_HASH))
    checkpoint = rig.store.rows.newest_checkpoint()
    assert checkpoint is not None
    assert checkpoint.day == day


def test_it_only_grows(rig: Rig) -> None:
    """Days of sizes around those of tiles; each two states are shown to be one ledger."""
    growing, roots = Growing(), {0: b""}
    sizes = [1, 254, 1, 1, 255, 256, 257, 3, 512, 1, 700]
    for number, count in enumerate(sizes):
        added = some(count, number)
        wait(rig, rig.now // DAY, added)
        for entry in added:
            growing.append(entry)
        roots[growing.size] = growing.root()
        rig.now += DAY
        rig.tidy()
        assert newest(rig) == Checkpoint(rig.keys.relay_id, growing.size, growing.root())
    states = sorted(roots)[1:]
    for old in states:
        for new in states:
            rig.tick += 1
            reply = one(rig.connection().send(GetConsistency(1, old, new)))
            if old > new:
                assert code(reply) == codes.NOT_FOUND
                continue
            assert isinstance(reply, ConsistencyIs)
            assert is_consistent(old, new, roots[old], roots[new], reply.proof)
    for old, new in ((0, 5), (5, states[-1] + 1), (0, 0)):
        assert code(one(rig.connection().send(GetConsistency(1, old, new)))) == codes.NOT_FOUND


def test_tiles_of_three_levels(rig: Rig) -> None:
    """65,537 leaves: the first of a second tile of the second level."""
    added = some(65_537)
    wait(rig, TODAY, added[:65_000])
    wait(rig, TODAY + 1, added[65_000:])
    rig.now += 2 * DAY
    rig.tidy()
    top = newest(rig)
    assert top == Checkpoint(rig.keys.relay_id, 65_537, Growing(added).root())
    held = rig.store.connection.execute("SELECT level, n, length(hashes) FROM tiles").fetchall()
    assert sum(length for level, _, length in held if level == 0) == 65_537 * 32
    assert {(2, 0, 32), (1, 0, 8_192), (0, 256, 32)} <= set(held)
    reply = one(rig.connection().send(GetConsistency(1, 65_000, 65_537)))
    assert isinstance(reply, ConsistencyIs)
    before = Growing(added[:65_000]).root()
    assert is_consistent(65_000, 65_537, before, top.root, reply.proof)


def test_who_asks_too_often_waits(rig: Rig) -> None:
    settle(rig, rig.shop())
    rig.now += DAY
    talk = rig.connection()
    for _ in range(50):
        assert isinstance(one(talk.send(GetCheckpoint(1))), CheckpointIs)
        assert isinstance(one(talk.send(GetConsistency(1, 1, 1))), ConsistencyIs)
    assert code(one(talk.send(GetCheckpoint(1)))) == codes.RATE
    assert code(one(talk.send(GetConsistency(1, 1, 1)))) == codes.RATE
    rig.tick += 1
    assert isinstance(one(talk.send(GetCheckpoint(1))), CheckpointIs)


def test_damaged_tiles_close_nothing(rig: Rig) -> None:
    wait(rig, TODAY, some(300))
    rig.now += DAY
    rig.tidy()
    rig.store.connection.execute("DELETE FROM tiles WHERE level = 0 AND n = 1")
    wait(rig, TODAY + 1, some(1))
    rig.now += DAY
    with pytest.raises(ValueError, match="do not fit"):
        rig.tidy()
    assert (rig.count("checkpoints"), rig.count("pending")) == (1, 1)


# A database from before there was a ledger


def old_database(path: Path, version: int = 1) -> RelayId:
    """:returns: the relay's id"""
    file = OLD_DATABASE if version == 1 else OLD_DATABASE.with_name("schema-2-approved.sql")
    text = file.read_text("utf-8")
    with sqlite3.connect(path) as connection:
        connection.executescript(text)
    connection.close()
    head = text.partition("\nBEGIN")[0]
    return relay_id_of(bytes.fromhex(head.rsplit(" ", 1)[1]))


@pytest.mark.parametrize("version", [1, 2])
async def test_an_old_database_is_brought_forward(tmp_path: Path, rig: Rig, version: int) -> None:
    path = tmp_path / "old.db"
    relay_id = old_database(path, version)
    older = rf"older kurir-relay \(schema version {version}\)"
    with pytest.raises(DatabaseError, match=older) as caught:
        Store.open(path)
    assert "start the relay once" in str(caught.value.hint)
    store = await open_async(path)
    await store.close()
    opened = Store.open(path)
    assert opened.relay_id == relay_id
    schema = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    fresh = rig.store.connection.execute(schema).fetchall()
    assert opened.connection.execute(schema).fetchall() == fresh
    root_pk = bytes.fromhex(OLD_DATABASE.read_text().splitlines()[1].rsplit(" ", 1)[1])
    cert = structs.replace(rig.keys.cert, root_pk=root_pk)
    old = Rig(replace(rig.keys, cert=cert), opened, START + 30 * DAY)
    leaves = [open_leaf(row[0]) for row in opened.connection.execute("SELECT leaf FROM leaves")]
    assert len(leaves) == 12
    # Who was approved stands on invoices by the certified name.
    approved = [business.id for business in opened.rows.businesses() if business.legal_name]
    assert len(approved) == 2
    assert all(party_of(opened.rows, name) == Party("PT Metro Bus") for name in approved)
    old.tidy()
    expected = Growing()
    for day in range(TODAY, TODAY + 3):
        for entry in entries(old, [leaf for leaf in leaves if leaf.settled_day == day]):
            expected.append(entry)
    assert old.count("checkpoints") == 3, "each day by itself"
    assert newest(old) == Checkpoint(relay_id, 12, expected.root())
    again = await open_async(path)
    await again.close()
    assert newest(old).size == 12
    opened.close()


def test_bringing_forward_is_whole_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    old_database(path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE leaves SET leaf = X'90'")
    connection.close()
    with pytest.raises(DatabaseError, match="cannot be brought forward"):
        Store.open(path, bring_forward=True)
    with sqlite3.connect(path) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema")}
        version = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'")
        assert version.fetchone() == ("1",)
    connection.close()
    assert "pending" not in tables
