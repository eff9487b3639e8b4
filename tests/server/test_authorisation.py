"""Who may do what: every request, in every wrong way that it can be asked, and in the right one.

The table is held against the union of requests: a new one without entries fails. A wrong way is
refused with its code and leaves the database as it was, to the last byte; so all of them share one
relay. The right way shows that the wrong ones are refused for what is wrong with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import get_args

import pytest

from kurir_billing.leaf import open_leaf
from kurir_wire import codes
from kurir_wire.blob_frames import BlobDelete, BlobGet, BlobNew, BlobPut, BlobStatus, Chunk
from kurir_wire.entries import Ack
from kurir_wire.frames import (
    Acks,
    Create,
    Delete,
    Deliver,
    GetAdjustments,
    GetBeacon,
    GetBusiness,
    GetCard,
    GetCheckpoint,
    GetConsistency,
    GetInclusion,
    GetInvoice,
    GetRateCard,
    GetSettlements,
    GetTerms,
    Open,
    Prove,
    PutCard,
    PutPreKeys,
    Register,
    Request,
    Results,
    SendReport,
    SetRefused,
    SettlementsAre,
    Submit,
    encode,
)
from kurir_wire.ids import NO_HASH
from kurir_wire.limits import CHUNK_BYTES, REPORT_SIZES
from tests.server.blob_client import Attachment
from tests.server.helpers import Box, body, receipt_of
from tests.server.replies import code_of
from tests.server.rig import OTHER_NONCE, Rig, Talk, rig_in
from tests.server.world import World
from tests.server.wrong_blobs import BLOB_TABLE
from tests.server.wrong_ways import NO_MARKETING, OPEN_TO_ALL, TABLE, wrong_openings, wrong_proofs

EVERY = TABLE | BLOB_TABLE
FEWEST = 4
"""Wrong ways of each: nobody gets by with an empty list."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with rig_in(tmp_path_factory.mktemp("authorisation")) as rig:
        yield World(rig)


def test_every_request_has_its_entries() -> None:
    assert set(EVERY) | set(OPEN_TO_ALL) == set(get_args(Request))
    assert not set(EVERY) & set(OPEN_TO_ALL)


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.__name__)
def test_wrong_ways_are_refused_and_change_nothing(world: World, kind: type) -> None:
    rig = world.rig
    count = 0
    for wrong in EVERY[kind](world):
        before, reading = rig.dump(), rig.hub.read_rows()
        assert isinstance(wrong.request, kind), wrong.name
        assert code_of(wrong.talk.send(wrong.request)) == wrong.code, wrong.name
        assert rig.dump() == before, wrong.name
        assert rig.hub.read_rows() == reading, wrong.name
        # Nor did it give rights: what comes next is refused as well.
        wrong.talk.collect()
        assert code_of(wrong.talk.send(wrong.request)) == wrong.code, wrong.name
        assert rig.dump() == before, wrong.name
        wrong.talk.connection.close()
        count += 1
    assert count >= FEWEST


def test_wrong_proofs_give_no_rights(world: World) -> None:
    for wrong in (*wrong_openings(world), *wrong_proofs(world)):
        talk = world.talk()
        talk.send(wrong.request)
        before = world.rig.dump()
        for request in (
            Delete(8, [world.box.id]),
            Acks(8, [Ack(world.box.id, world.waiting.envelope_id)]),
            PutCard(8, world.box.id, b"x"),
            SetRefused(8, world.box.id, NO_MARKETING),
            PutPreKeys(8, [world.shop.ec(1)], []),
            GetSettlements(8, world.day, NO_HASH),
            GetInvoice(8, 202701),
            GetInclusion(8, 1, world.day, [world.settled]),
            GetTerms(8),
            GetAdjustments(8, 202701, NO_HASH),
        ):
            assert code_of(talk.send(request)) == codes.NOT_AUTHORISED, wrong.name
        assert world.rig.dump() == before


def test_nobody_else_is_told_what_waits(world: World) -> None:
    """Wrong ways bring no delivery, and an envelope wakes its reader alone."""
    rig = world.rig
    reader, stranger = world.talk(opened=(world.box,)), world.talk(opened=(world.other,))
    stranger.send(Open(1, [world.box.opening(OTHER_NONCE)]))
    entry = world.box.write()
    world.talk().send(Submit(1, [entry]))
    assert stranger.collect() == []
    assert [type(push) for push in reader.collect()] == [Deliver]
    assert rig.ack(world.box, entry.envelope_id) is None


def test_a_business_sees_its_own_bills_only(world: World) -> None:
    asked = GetSettlements(1, world.day, NO_HASH)
    (own,) = world.talk(proved=world.shop).send(asked)
    assert isinstance(own, SettlementsAre)
    assert [open_leaf(leaf).charge_hash(world.relay_id) for leaf in own.leaves] == [world.settled]
    assert world.talk(proved=world.rival).send(asked) == [SettlementsAre(1, [], False)]


# The right way, and again


Right = Callable[[World], tuple[Talk, Request]]
RIGHT: dict[type, Right] = {
    Create: lambda w: (
        w.talk(),
        Create(7, [Box.personal(w.relay_id, w.rig.now).new(w.rig.nonce)]),
    ),
    Open: lambda w: (w.talk(), Open(7, [w.box.opening(w.rig.nonce)])),
    Delete: lambda w: (w.talk(opened=(w.box,)), Delete(7, [w.box.id])),
    Submit: lambda w: (w.talk(), Submit(7, [w.box.write()])),
    Acks: lambda w: (
        w.talk(opened=(w.box,)),
        Acks(7, [Ack(w.box.id, w.waiting.envelope_id)]),
    ),
    PutCard: lambda w: (w.talk(opened=(w.box,)), PutCard(7, w.box.id, b"another card")),
    GetCard: lambda w: (w.talk(), GetCard(7, w.box.id, w.box.token or b"")),
    Register: lambda w: (w.talk(), Register(7, w.card, w.shop.address.new(w.rig.nonce))),
    PutPreKeys: lambda w: (
        w.talk(proved=w.shop),
        PutPreKeys(7, [w.shop.ec(1)], [w.shop.kem(1)]),
    ),
    Prove: lambda w: (w.talk(), w.shop.prove(w.rig.nonce)),
    GetSettlements: lambda w: (w.talk(proved=w.shop), GetSettlements(7, w.day, NO_HASH)),
    GetInvoice: lambda w: (w.talk(proved=w.shop), GetInvoice(7, 202701)),
    GetInclusion: lambda w: (
        w.talk(proved=w.shop),
        GetInclusion(7, 1, w.day, [w.settled]),
    ),
    GetBeacon: lambda w: (w.talk(), GetBeacon(7)),
    GetRateCard: lambda w: (w.talk(), GetRateCard(7)),
    GetCheckpoint: lambda w: (w.talk(), GetCheckpoint(7)),
    GetConsistency: lambda w: (w.talk(), GetConsistency(7, 1, 1)),
    GetBusiness: lambda w: (w.talk(), GetBusiness(7, w.shop.id)),
    GetTerms: lambda w: (w.talk(proved=w.shop), GetTerms(7)),
    GetAdjustments: lambda w: (w.talk(proved=w.shop), GetAdjustments(7, 202701, NO_HASH)),
    SetRefused: lambda w: (w.talk(opened=(w.box,)), SetRefused(7, w.box.id, NO_MARKETING)),
    SendReport: lambda w: (w.talk(), SendReport(7, body(REPORT_SIZES[0]))),
    BlobNew: lambda w: (w.talk(), BlobNew(7, [Attachment(w.relay_id, 1).new])),
    BlobPut: lambda w: (
        w.talk(),
        BlobPut(7, w.part.id, w.part.write, [Chunk(1, bytes(CHUNK_BYTES))]),
    ),
    BlobStatus: lambda w: (w.talk(), BlobStatus(7, w.part.id, w.part.write)),
    BlobGet: lambda w: (w.talk(), BlobGet(7, w.blob.id, w.blob.read, 0, 1)),
    BlobDelete: lambda w: (w.talk(), BlobDelete(7, [w.blob.key])),
}
WRITES = {Create, Delete, Submit, Acks, PutCard, SetRefused, Register, PutPreKeys, SendReport}
WRITES |= {BlobNew, BlobPut, BlobDelete, GetInvoice}
"""What leaves something in a database; an invoice is issued when it is first asked for."""
FREE = {Submit, GetCard, *OPEN_TO_ALL, *BLOB_TABLE}
"""What takes no proof, perhaps a token: on any connection, to the same effect."""
ONCE: dict[type, str] = {Delete: codes.NOT_AUTHORISED, BlobDelete: codes.NOT_FOUND}
"""What cannot be done again, and the code that says so."""


@pytest.mark.parametrize("kind", get_args(Request), ids=lambda kind: kind.__name__)
def test_the_right_way_is_taken_and_no_replay_is(rig: Rig, kind: type) -> None:
    world = World(rig)
    talk, request = RIGHT[kind](world)
    assert isinstance(request, kind)
    before = rig.dump()
    assert code_of(talk.send(request)) == "ok"
    after = rig.dump()
    assert (after != before) is (kind in WRITES)
    bytes_sent = encode(request)
    again = code_of(talk.raw(bytes_sent))
    assert again == ONCE.get(kind, "ok")
    assert rig.dump() == after, "the same connection"
    elsewhere = again if kind in FREE else codes.NOT_AUTHORISED
    for _ in range(2):
        other = world.talk(nonce=OTHER_NONCE)
        assert code_of(other.raw(bytes_sent)) == elsewhere, "another connection"
        assert rig.dump() == after
        rig.restart()
    reader = world.talk(nonce=OTHER_NONCE, opened=(world.other,), proved=world.rival)
    reader.raw(bytes_sent)
    assert rig.dump() == after, "another connection with rights of its own"


def test_charges_are_taken_once(rig: Rig) -> None:
    """The same bytes: on any connection, after the envelope was fetched and settled, after the
    mailbox was deleted, after a restart. The receipt is repeated, and nothing else."""
    world = World(rig)
    signed = world.charge()
    request = encode(Submit(7, [signed.submission]))
    (first,) = world.talk().raw(request)
    after = rig.dump()

    def again() -> None:
        for talk in (world.talk(), world.talk(nonce=OTHER_NONCE, proved=world.rival)):
            assert talk.raw(request) == [first]

    again()
    assert rig.dump() == after
    rig.fetch(world.paid)
    assert rig.ack(world.paid, signed.submission.envelope_id, signed.secret) is None
    after = rig.dump()
    assert rig.count("leaves") == 2
    again()
    rig.restart()
    again()
    assert rig.dump() == after
    # Another charge for this envelope, or with its number, is no repetition.
    for changes, code in (
        ({"envelope_id": signed.submission.envelope_id}, codes.CONFLICT),
        ({"seq": signed.charge.lane_seq}, codes.REFUSED),
    ):
        other = world.charge(**changes).submission
        assert code_of(world.talk().send(Submit(2, [other]))) == code
    assert rig.dump() == after
    talk = world.talk(opened=(world.paid,))
    assert code_of(talk.send(Delete(1, [world.paid.id]))) == "ok"
    after = rig.dump()
    again()
    assert rig.dump() == after


def test_a_settlement_counts_once(rig: Rig) -> None:
    world = World(rig)
    signed = world.charge()
    receipt_of(rig.submit(signed.submission)[0])
    talk = world.talk(opened=(world.paid,))
    ack = encode(Acks(7, [Ack(world.paid.id, signed.submission.envelope_id, signed.secret)]))
    assert talk.raw(ack) == [Results(7, [None])]
    after = rig.dump()
    for replayed in (talk, world.talk(opened=(world.paid,))):
        assert replayed.raw(ack) == [Results(7, [None])]
    assert rig.dump() == after
    assert rig.count("leaves") == 2
