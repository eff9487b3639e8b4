"""Every request in the right state and in wrong ones, over the sans-I/O connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import msgspec
import pytest

from kurir_billing.charge import packed
from kurir_billing.head import open_head
from kurir_billing.ratecard import open_rate_card
from kurir_server import connection as connection_module
from kurir_server.limits import CREATE_RATE, MAX_BAD_FRAMES
from kurir_server.pace import Deed
from kurir_server.work import RETRY_SECONDS
from kurir_wire import codes, frames
from kurir_wire.blob_frames import BlobDelete, BlobGet, BlobPut, BlobRequest, BlobStatus
from kurir_wire.codec import pack
from kurir_wire.entries import Ack, NewMailbox, Result
from kurir_wire.frames import (
    Acks,
    BeaconIs,
    CardIs,
    Create,
    Delete,
    Error,
    GetAdjustments,
    GetBeacon,
    GetCard,
    GetCheckpoint,
    GetConsistency,
    GetInclusion,
    GetInvoice,
    GetRateCard,
    GetSettlements,
    GetTerms,
    InvoiceIs,
    Open,
    Prove,
    Push,
    PutCard,
    PutPreKeys,
    RateCardIs,
    Register,
    Request,
    SetRefused,
    SettlementsAre,
    Submit,
)
from kurir_wire.gates import token_gate
from kurir_wire.ids import DAY, MINUTE, NO_HASH, RelayId
from kurir_wire.proofs import create_message, prove_message
from tests.server.helpers import CARD_HASH, Box, Key, Shop, receipt_of
from tests.server.one_of_each import one_of_each
from tests.server.replies import code_of, codes_of, result_of
from tests.server.rig import OTHER_NONCE, START, Rig


def names(union: object) -> set[type[object]]:
    return set(get_args(union))


def test_every_request_has_one_reply_that_repeats_its_number(rig: Rig) -> None:
    box, shop = rig.personal(), rig.shop()
    requests = one_of_each(rig, box, shop)
    assert set(requests) == names(Request)
    for request in requests.values():
        replies = [p for p in rig.connection().send(request) if not isinstance(p, frames.Deliver)]
        assert [getattr(reply, "n", None) for reply in replies] == [7], request


def test_a_fresh_connection_may_do_nothing_for_others(rig: Rig) -> None:
    box, shop = rig.personal(), rig.shop()
    requests = one_of_each(rig, box, shop)
    refused = {
        kind
        for kind, one in requests.items()
        if code_of(rig.connection().send(one)) == codes.NOT_AUTHORISED
    }
    of_readers = {Delete, Acks, PutCard, SetRefused}
    assert refused == of_readers | {
        PutPreKeys,
        GetSettlements,
        GetInvoice,
        GetInclusion,
        GetTerms,
        GetAdjustments,
    }


def test_a_proof_of_another_connection_opens_nothing(rig: Rig) -> None:
    """0 accepted: every request that carries a proof, with the nonce of another connection."""
    box, shop = rig.personal(), rig.shop()
    fresh = Shop(rig.keys.relay_id, rig.now)
    stale: list[Request] = [
        Create(1, [Box.personal(rig.keys.relay_id, rig.now).new(OTHER_NONCE)]),
        Open(1, [box.opening(OTHER_NONCE)]),
        Register(1, fresh.card(), fresh.address.new(OTHER_NONCE)),
        shop.prove(OTHER_NONCE),
    ]
    for request in stale:
        talk = rig.connection()
        assert code_of(talk.send(request)) == codes.NOT_AUTHORISED, request
        assert code_of(talk.send(Delete(2, [box.id]))) == codes.NOT_AUTHORISED
        assert code_of(talk.send(GetInvoice(3, 202701))) == codes.NOT_AUTHORISED
    # The same connection state with that nonce takes them.
    for request in stale:
        talk = rig.connection(nonce=OTHER_NONCE)
        assert code_of(talk.send(request)) == "ok", request


def test_who_speaks_for_a_business(rig: Rig) -> None:
    shop, rival = rig.shop(), rig.shop()
    unregistered = Shop(rig.keys.relay_id, rig.now)
    thief = Key()
    message = prove_message(rig.keys.relay_id, rig.nonce, shop.id)
    elsewhere = prove_message(RelayId(bytes(32)), rig.nonce, shop.id)
    expired, good = shop.enrol(rig.now), shop.lane
    attempts = [
        Prove(1, shop.id, packed(good), thief.sign(message)),
        Prove(1, shop.id, packed(good), shop.root.sign(message)),
        Prove(1, shop.id, packed(good), shop.lane_key.sign(elsewhere)),
        Prove(1, shop.id, packed(rival.lane), rival.lane_key.sign(message)),
        Prove(1, shop.id, packed(expired), shop.lane_key.sign(message)),
        Prove(1, shop.id, packed(good)[:-1], shop.lane_key.sign(message)),
        Prove(
            1,
            shop.id,
            packed(msgspec.structs.replace(good, lane_pk=thief.public)),
            thief.sign(message),
        ),
        unregistered.prove(rig.nonce),
    ]
    talk = rig.connection()
    for attempt in attempts:
        assert code_of(talk.send(attempt)) == codes.NOT_AUTHORISED
        assert code_of(talk.send(GetInvoice(2, 202701))) == codes.NOT_AUTHORISED
    assert code_of(talk.send(shop.prove(rig.nonce))) == "ok"
    assert code_of(talk.send(attempts[0])) == codes.NOT_AUTHORISED
    day = GetSettlements(3, rig.now // DAY - 1, NO_HASH)
    assert talk.send(day) == [SettlementsAre(3, [], False)], "a failed proof changes nothing"


def test_a_proof_shows_only_ones_own_bills(rig: Rig) -> None:
    shop, rival = rig.shop(), rig.shop()
    box, opening = rig.customer(shop)
    signed = rig.charge(shop, box, opening, shop.line(is_open=False))
    receipt_of(rig.submit(signed.submission)[0])
    rig.fetch(box)
    assert rig.ack(box, signed.submission.envelope_id, signed.secret) is None
    day, rig.now = rig.now // DAY, rig.now + DAY
    for one, count in ((shop, 1), (rival, 0)):
        talk = rig.proved(one)
        (leaves,) = talk.send(GetSettlements(2, day, NO_HASH))
        assert isinstance(leaves, SettlementsAre)
        assert len(leaves.leaves) == count
        (invoice,) = talk.send(GetInvoice(3, 202701))
        assert isinstance(invoice, InvoiceIs)
        assert open_head(invoice.head).count == count
    # One connection, two proofs: the later counts.
    talk = rig.proved(shop)
    assert code_of(talk.send(rival.prove(rig.nonce))) == "ok"
    assert talk.send(GetSettlements(2, day, NO_HASH)) == [SettlementsAre(2, [], False)]
    assert code_of(talk.send(GetSettlements(2, rig.now // DAY, NO_HASH))) == codes.NOT_FOUND
    assert code_of(talk.send(GetInvoice(2, 202713))) == codes.NOT_FOUND


def test_prices_and_time(rig: Rig) -> None:
    talk = rig.connection()
    for request in (GetRateCard(1), GetRateCard(1, CARD_HASH)):
        (reply,) = talk.send(request)
        assert isinstance(reply, RateCardIs)
        _, name = open_rate_card(reply.card, rig.keys.cert.operator_pk, rig.keys.relay_id)
        assert name == CARD_HASH
    assert code_of(talk.send(GetRateCard(1, bytes(32)))) == codes.NOT_FOUND
    (beacon,) = talk.send(GetBeacon(1))
    assert isinstance(beacon, BeaconIs)
    assert beacon.beacon == rig.keys.beacon(START // MINUTE)


def test_the_greeting(rig: Rig) -> None:
    talk = rig.connection()
    talk.connection.greet(rig.now, rig.beacon)
    (welcome,) = talk.collect()
    assert welcome == frames.Welcome(1, rig.keys.cert, rig.nonce, rig.now, rig.beacon)
    assert isinstance(welcome, frames.Welcome)
    welcome.cert.verify(rig.now)
    welcome.beacon.verify(welcome.cert.beacon_pk, rig.keys.relay_id)


# Bounds and failures


def test_mailboxes_that_are_open_already_make_no_room_for_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_OPEN_MAILBOXES", 2)
    talk = rig.connection()
    a, b, c, d = (rig.personal().opening(rig.nonce) for _ in range(4))
    assert codes_of(talk.send(Open(1, [a, b]))) == ["ok", "ok"]
    assert codes_of(talk.send(Open(2, [c, a, d, b]))) == [
        codes.TOO_MANY,
        "ok",
        codes.TOO_MANY,
        "ok",
    ]
    assert len(rig.hub.read_rows()) == 2
    assert codes_of(talk.send(Delete(3, [a.mailbox_id]))) == ["ok"]
    assert codes_of(talk.send(Open(4, [c, c, d]))) == ["ok", "ok", codes.TOO_MANY]


def test_a_failing_disk_is_unavailable_for_every_request_and_accepts_nothing(rig: Rig) -> None:
    box, shop = rig.personal(), rig.shop()
    before = {table: rig.count(table) for table in ("mailboxes", "envelopes", "businesses")}
    talk = rig.proved(shop)
    talk.send(Open(1, [box.opening(rig.nonce)]))
    requests = one_of_each(rig, box, shop)
    talk.is_failing = True
    for request in requests.values():
        result = result_of(talk.send(request))
        assert result is not None
        assert (result.code, result.retry_after) == (codes.UNAVAILABLE, RETRY_SECONDS), request
    assert {table: rig.count(table) for table in before} == before
    talk.is_failing = False
    del requests[Delete]
    about_the_ledger = (GetCheckpoint, GetInclusion, GetConsistency)
    about_a_blob = (BlobPut, BlobStatus, BlobGet, BlobDelete)
    for request in requests.values():
        # Nothing has settled, so there is nothing to prove; and no blob is there.
        nothing = isinstance(request, (*about_the_ledger, *about_a_blob))
        expected = codes.NOT_FOUND if nothing else "ok"
        assert code_of(talk.send(request)) == expected, request


def test_unknown_frames_are_unsupported(rig: Rig) -> None:
    talk = rig.connection()
    pushes = [kind.__struct_config__.tag for kind in get_args(Push)]
    for name in ("", "hello", "Submit", "submit ", *pushes):
        assert talk.raw(pack([name, 5])) == [
            Error(5, Result(codes.UNSUPPORTED, "a frame of this name is not known here"))
        ]


def test_too_many_bad_frames_close_one_connection(rig: Rig) -> None:
    talk, other = rig.connection(), rig.connection()
    for count in range(1, MAX_BAD_FRAMES + 1):
        bad: bytes | str = ("text", b"\xc1", pack(["hello", 1]))[count % 3]
        talk.connection.receive(bad, rig.moment)
        output = talk.connection.take()
        assert len(output.frames) == 1
        assert (output.close is not None) is (count == MAX_BAD_FRAMES)
        assert isinstance(talk.send(GetBeacon(1))[0], BeaconIs), "good ones in between do not help"
    other.connection.receive(b"\xc1", rig.moment)
    assert other.connection.take().close is None


def test_a_wrong_entry_refuses_its_whole_frame(rig: Rig) -> None:
    box = rig.personal()
    good = box.write()
    for bad in (
        msgspec.structs.replace(good, life=0),
        msgspec.structs.replace(good, life=721),
        msgspec.structs.replace(good, body=bytes(2_047)),
        msgspec.structs.replace(good, body=bytes(65_537)),
        msgspec.structs.replace(good, token=bytes(31)),
        msgspec.structs.replace(good, envelope_id=bytes(15)),
        msgspec.structs.replace(good, charge=b""),
    ):
        (reply,) = rig.connection().send(Submit(8, [good, bad]))
        assert isinstance(reply, Error)
        assert (reply.n, reply.result.code) == (8, codes.MALFORMED)
    assert rig.count("envelopes") == 0
    makers: list[Callable[[int], Request]] = [
        lambda n: Submit(1, [good] * n),
        lambda n: Acks(1, [Ack(box.id, bytes(16))] * n),
        lambda n: Open(1, [box.opening(rig.nonce)] * n),
        lambda n: Delete(1, [box.id] * n),
        lambda n: Create(1, [box.new(rig.nonce)] * n),
    ]
    for make in makers:
        for count in (0, 257):
            assert code_of(rig.connection().send(make(count))) == codes.MALFORMED
        assert len(codes_of(rig.connection().send(make(256)))) == 256
    with_text = ["delete", 1, ["x" * 32]]
    assert code_of(rig.connection().raw(pack(with_text))) == codes.MALFORMED


def test_registering_counts_as_making(rig: Rig) -> None:
    rig.use_up(Deed.CREATE, CREATE_RATE.burst)
    shop = Shop(rig.keys.relay_id, rig.now)
    request = Register(1, shop.card(), shop.address.new(rig.nonce))
    slow = result_of(rig.connection().send(request))
    assert slow == Result(codes.RATE, "too fast; retry later", 87, 0)


def test_a_signature_for_one_gate_makes_no_other(rig: Rig) -> None:
    box = Box.personal(rig.keys.relay_id, rig.now)
    signature = box.key.sign(
        create_message(rig.keys.relay_id, rig.nonce, box.gate, box.born_hour + 1)
    )
    for new in (
        NewMailbox(box.key.public, box.gate, box.born_hour, signature),
        NewMailbox(box.key.public, token_gate(bytes(32)), box.born_hour + 1, signature),
        NewMailbox(Key().public, box.gate, box.born_hour + 1, signature),
    ):
        assert code_of(rig.connection().send(Create(1, [new]))) == codes.NOT_AUTHORISED


def test_cards_come_with_the_token_only(rig: Rig) -> None:
    box, shop = rig.personal(), rig.shop()
    reader = rig.connection()
    reader.send(Open(1, [box.opening(rig.nonce), shop.address.opening(rig.nonce)]))
    assert code_of(reader.send(PutCard(2, box.id, b"sealed"))) == "ok"
    assert code_of(reader.send(PutCard(2, shop.address.id, b"sealed"))) == "ok"
    talk = rig.connection()
    assert box.token is not None
    assert talk.send(GetCard(3, box.id, box.token)) == [CardIs(3, b"sealed")]
    for token in (bytes(32), box.gate, box.token):
        assert code_of(talk.send(GetCard(4, shop.address.id, token))) == codes.NO_MAILBOX


def test_what_changes_rights_holds_up_the_next_frame(rig: Rig) -> None:
    shop = rig.shop()
    for kind in get_args(Request):
        box = rig.personal()
        request = one_of_each(rig, box, shop)[kind]
        talk = rig.proved(shop)
        talk.send(Open(1, [box.opening(rig.nonce)]))
        talk.connection.receive(frames.encode(request), rig.moment)
        assert talk.connection.outstanding == 1
        assert talk.connection.barriers == (kind in (Open, Delete, Prove, *get_args(BlobRequest)))
        talk.collect()
        assert (talk.connection.outstanding, talk.connection.barriers) == (0, 0)
