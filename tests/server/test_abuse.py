"""What one connection and one network cannot do: fill the disk, a mailbox, the processor."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from kurir_billing.grant import Grant
from kurir_server import evidence as evidence_module
from kurir_server import shares as shares_module
from kurir_server import storage
from kurir_server.limits import (
    CREATE_RATE,
    MAX_BYTES_MAILBOX,
    MAX_DEPTH_MAILBOX,
    NO_ROOM_SECONDS,
    STORE_NETWORK_RATE,
    STORE_RATE,
)
from kurir_server.log import Log
from kurir_server.pace import LIMITS, Deed, Limit, Networks, Pace
from kurir_server.rates import Rate
from kurir_server.rows import Moment
from kurir_wire import codes
from kurir_wire.blob_frames import BlobStatus
from kurir_wire.entries import Ack, Result, Submission
from kurir_wire.frames import (
    Acks,
    Create,
    Delete,
    GetBeacon,
    GetBusiness,
    GetCard,
    GetCheckpoint,
    Open,
    Push,
    PutCard,
    PutPreKeys,
    Register,
    Request,
    Results,
    SendReport,
    Submit,
)
from kurir_wire.ids import DAY, HOUR
from kurir_wire.limits import REPORT_SIZES
from tests.server.helpers import Box, Shop, body, receipt_of
from tests.server.one_of_each import one_of_each
from tests.server.replies import code_of, codes_of, result_of
from tests.server.rig import START, Rig, Talk
from tests.server.sockets import client_of, relay_inside


def results_of(pushed: list[Push]) -> list[Result | None]:
    (reply,) = [push for push in pushed if isinstance(push, Results)]
    return reply.results


# The disk


def test_what_one_network_leaves_here_in_a_day() -> None:
    """However many connections it has, and whatever mailboxes it made."""
    networks, moment = Networks(), Moment(START, 0.0)
    entry = Submission(bytes(32), bytes(16), bytes(65_536), 24, bytes(32))
    taken = 0
    for minute in range(24 * 60):
        moment = Moment(START, minute * 60.0)
        for _ in range(2):
            fresh = Pace(networks, b"net")
            refused = False
            while not refused:
                answers = fresh.limit([entry] * 64, moment)
                taken += sum(isinstance(answer, Submission) for answer in answers)
                refused = any(isinstance(answer, Result) for answer in answers)
    most = STORE_NETWORK_RATE.burst + STORE_NETWORK_RATE.per_second * DAY
    assert most * 0.9 < taken * len(entry.body) <= most
    assert isinstance(Pace(networks, b"elsewhere").limit([entry], moment)[0], Submission)


def test_one_connection_leaves_room_for_others_of_its_network() -> None:
    networks, moment = Networks(), Moment(START, 0.0)
    entry = Submission(bytes(32), bytes(16), bytes(65_536), 24, bytes(32))
    greedy = Pace(networks, b"net")
    for _ in range(100):
        greedy.limit([entry] * 16, moment)
    (slow,) = greedy.limit([entry], moment)
    assert isinstance(slow, Result)
    assert (slow.code, slow.retry_after, slow.left) == (codes.RATE, 1, 0)
    assert STORE_RATE.burst < STORE_NETWORK_RATE.burst
    assert Pace(networks, b"net").limit([entry] * 16, moment) == [entry] * 16


def test_mailboxes_have_a_quota_of_a_day(rig: Rig) -> None:
    made = 0

    def create(count: int) -> str:
        boxes = [Box.personal(rig.keys.relay_id, rig.now) for _ in range(count)]
        return codes_of(rig.connection().send(Create(1, [box.new(rig.nonce) for box in boxes])))[0]

    while create(100) == "ok":
        made += 100
    assert made == CREATE_RATE.burst
    for _ in range(24):
        rig.tick += HOUR
        made += 41 if create(41) == "ok" else 0
    assert made < 2 * CREATE_RATE.burst
    assert create(100) == codes.RATE
    rig.tick += DAY
    assert create(100) == "ok"


def test_cards_and_prekeys_count_as_bytes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, box = rig.shop(), rig.personal()
    monkeypatch.setitem(LIMITS, Deed.STORE, Limit(Rate(10.0, 40_000), None))
    talk = rig.proved(shop)
    talk.send(Open(1, [box.opening(rig.nonce)]))
    assert code_of(talk.send(PutCard(2, box.id, bytes(16_384)))) == "ok"
    assert code_of(talk.send(PutPreKeys(3, [], [shop.kem(n) for n in range(10)]))) == "ok"
    slow = result_of(talk.send(PutCard(4, box.id, bytes(16_384))))
    assert slow is not None
    assert (slow.code, slow.retry_after, slow.left) == (codes.RATE, 845, 0)
    register = Register(5, shop.card(2), shop.address.new(rig.nonce))
    assert code_of(talk.send(register)) == "ok"
    assert code_of(talk.send(PutPreKeys(6, [], [shop.kem(n) for n in range(10, 13)]))) == codes.RATE
    rig.tick += 845
    assert code_of(talk.send(PutPreKeys(6, [], [shop.kem(n) for n in range(10, 13)]))) == "ok"


def test_without_room_only_readers_are_served(rig: Rig) -> None:
    shop, box = rig.shop(), rig.personal()
    entries = [box.write() for _ in range(3)]
    rig.submit(*entries)
    talk = rig.proved(shop)
    rig.hub.has_room = False
    newcomers: list[tuple[Request, int]] = [
        (Create(2, [Box.personal(rig.keys.relay_id, rig.now).new(rig.nonce)] * 3), 3),
        (Submit(2, [box.write(), entries[0]]), 2),
        (PutCard(2, box.id, b"card"), 1),
        (Register(2, shop.card(2), shop.address.new(rig.nonce)), 1),
        (PutPreKeys(2, [shop.ec(1)], []), 1),
    ]
    before = rig.dump()
    for request, count in newcomers:
        results = results_of(talk.send(request))
        assert len(results) == count
        for result in results:
            assert result is not None
            assert (result.code, result.retry_after) == (codes.UNAVAILABLE, NO_ROOM_SECONDS)
    assert rig.dump() == before
    pushed = talk.send(Open(3, [box.opening(rig.nonce)]))
    assert results_of(pushed) == [Result(codes.OK, left=3)]
    acks = [Ack(box.id, entry.envelope_id) for entry in entries]
    assert results_of(talk.send(Acks(4, acks))) == [None] * 3
    assert results_of(talk.send(Delete(5, [box.id]))) == [None]
    assert (rig.count("envelopes"), rig.count("mailboxes")) == (0, 1)
    rig.hub.has_room = True
    for request, count in newcomers[3:]:
        assert codes_of(talk.send(request)) == ["ok"] * count


def test_what_is_deleted_makes_room(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file gets no smaller, so what is unused in it counts."""
    real = os.statvfs(rig.store.connection.execute("PRAGMA database_list").fetchone()[2])
    monkeypatch.setattr(os, "statvfs", lambda path: real)
    box = rig.personal()
    entries = [box.write(65_536) for _ in range(60)]
    rig.submit(*entries)
    full = rig.store.room()
    assert full.free >= real.f_bavail * real.f_frsize
    assert full.total == real.f_blocks * real.f_frsize
    for entry in entries:
        rig.ack(box, entry.envelope_id)
    gained = rig.store.room().free - full.free
    assert 60 * 65_536 * 0.9 < gained < 60 * 65_536 * 1.2


@pytest.mark.parametrize(
    ("free", "total", "is_enough"),
    [
        (2**30 + 1, 2**40, True),
        (2**30, 2**40, False),
        (60 * 2**20, 2**30, True),
        (50 * 2**20, 2**30, False),
        (0, 0, False),
    ],
)
def test_the_reserve(free: int, total: int, is_enough: bool) -> None:
    assert storage.Room(free, total).is_enough is is_enough


async def test_a_relay_whose_disk_fills_up_goes_on_for_readers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = io.StringIO()
    async with relay_inside(tmp_path, log=Log(said)) as (bench, app), client_of(bench) as client:
        box = Box.personal(client.relay_id, client.now)
        assert await client.create(box) == ["ok"]
        assert await client.submit(box.write()) == [None]
        with monkeypatch.context() as patch:
            patch.setattr(storage, "MAX_RESERVE", 2**62)
            patch.setattr(storage, "RESERVE_PART", 1)
            await app.look_at_disk()
            await app.look_at_disk()
            (refused,) = await client.submit(box.write())
            assert refused is not None
            assert (refused.code, refused.retry_after) == (codes.UNAVAILABLE, NO_ROOM_SECONDS)
            assert await client.open(box) == ["ok"]
            (delivery,) = await client.take(1)
            assert await client.ack(Ack(box.id, delivery.envelope_id)) == [None]
        await app.look_at_disk()
        assert await client.submit(box.write()) == [None]
    events = said.getvalue()
    assert events.count('"disk-low"') == events.count('"disk-roomy"') == 1


# An address


@pytest.mark.parametrize("size", [4_096, 65_536])
def test_one_network_does_not_fill_the_mailbox_of_a_business(rig: Rig, size: int) -> None:
    """A day of flood, from as many connections as it likes, while the business is away."""
    shop = rig.shop()
    room = min(MAX_DEPTH_MAILBOX, MAX_BYTES_MAILBOX // size)
    accepted = 0
    for _ in range(24):
        slow = False
        while not slow:
            entries = [shop.address.write(size) for _ in range(min(100, 900_000 // size))]
            found = codes_of(rig.connection(b"flood").send(Submit(1, entries)))
            assert set(found) <= {"ok", codes.RATE}, "never full"
            accepted += found.count("ok")
            slow = codes.RATE in found
        rig.tick += HOUR
    assert room // 4 < accepted < room * 0.85
    for number in range(20):
        entry = shop.address.write(size)
        talk = rig.connection(b"customer %d" % number)
        assert codes_of(talk.send(Submit(2, [entry]))) == ["ok"], "others still reach it"


def test_while_a_business_reads_nobody_is_held_back(rig: Rig) -> None:
    shop = rig.shop()
    for _ in range(6):
        entries = [shop.address.write(4_096) for _ in range(100)]
        assert codes_of(rig.connection().send(Submit(1, entries))) == ["ok"] * 100
        for entry in entries:
            rig.ack(shop.address, entry.envelope_id)
        rig.tick += 10


def test_who_is_held_back_is_told_when_to_come_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares_module, "MAX_DEPTH_MAILBOX", 40)
    shop = rig.shop()
    first = [shop.address.write(4_096) for _ in range(100)]
    assert codes_of(rig.connection().send(Submit(1, first))) == ["ok"] * 100
    second = [shop.address.write(16_384) for _ in range(10)]
    talk = rig.connection()
    assert codes_of(talk.send(Submit(2, second))) == ["ok"] * 7 + [codes.RATE] * 3
    (slow,) = results_of(talk.send(Submit(3, second[7:8])))
    assert slow is not None
    assert (slow.retry_after, slow.left) == (160, 0)
    (small,) = results_of(talk.send(Submit(4, [shop.address.write(4_096)])))
    assert small is not None
    assert (small.retry_after, small.left) == (40, 0)
    again = results_of(talk.send(Submit(5, [first[0], second[0]])))
    assert again == [None, None], "what is here already is a success, also now"
    other = msgspec.structs.replace(first[0], body=bytes(4_096))
    assert codes_of(talk.send(Submit(6, [other]))) == [codes.RATE]
    rig.tick += 160
    assert codes_of(talk.send(Submit(7, second[7:8]))) == ["ok"]
    assert codes_of(rig.connection(b"b").send(Submit(8, second[8:]))) == ["ok"] * 2


# The processor


def test_refused_charges_have_a_pace_and_accepted_ones_do_not(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, Deed.CHARGE, Limit(Rate(0.5, 3), None))
    shop = rig.shop()
    box, opening = rig.customer(shop)
    talk = rig.connection()
    for _ in range(10):
        good = rig.charge(shop, box, opening, shop.line(is_open=False))
        receipt_of(results_of(talk.send(Submit(1, [good.submission])))[0])
    bad = [rig.charge(shop, box, opening, shop.line(is_open=False, price=1)) for _ in range(5)]
    refused = results_of(talk.send(Submit(2, [signed.submission for signed in bad])))
    assert [result and result.code for result in refused] == [codes.REFUSED] * 3 + [codes.RATE] * 2
    assert refused[4] == Result(codes.RATE, "too fast; retry later", 4, 0)
    monkeypatch.setattr(rig.meter, "judge", _not_now)
    assert codes_of(talk.send(Submit(3, [bad[0].submission]))) == [codes.RATE], "not even looked at"
    monkeypatch.undo()
    monkeypatch.setitem(LIMITS, Deed.CHARGE, Limit(Rate(0.5, 3), None))
    talk.is_failing = True
    rig.tick += 2
    unavailable = rig.charge(shop, box, opening, shop.line(is_open=False)).submission
    assert codes_of(talk.send(Submit(4, [unavailable]))) == [codes.UNAVAILABLE]
    talk.is_failing = False
    assert codes_of(talk.send(Submit(5, [unavailable]))) == ["ok"], "a failed disk takes nothing"


def test_checked_grants_are_bounded(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "GRANT_CACHE", 3)
    rig.restart()
    checked: list[bytes] = []
    real = vars(evidence_module)["check_grant"]

    def counting(grant: Grant, *rest: Any) -> None:
        checked.append(grant.signature)
        real(grant, *rest)

    monkeypatch.setattr(evidence_module, "check_grant", counting)
    shop = rig.shop()
    customers = [rig.customer(shop) for _ in range(5)]
    grants = [box.grant(shop.id, rig.beacon) for box, _ in customers]
    for number in (0, 0, 1, 2, 3, 4, 4, 0):
        box, opening = customers[number]
        signed = rig.charge(shop, box, opening, shop.line(is_open=True), grants[number])
        receipt_of(rig.submit(signed.submission)[0])
    order = [grants.index(grant) for mark in checked for grant in grants if grant.signature == mark]
    assert order == [0, 1, 2, 3, 4, 0], "each once, until it was forgotten"


def _not_now(*_: object) -> None:
    raise AssertionError("checked a charge that came too fast")


Make = Callable[[Rig, Box, Shop], Request]
PACED: dict[Deed, tuple[Make, int]] = {
    Deed.CREATE: (lambda rig, box, shop: Create(1, [box.new(rig.nonce)]), 1),
    Deed.WRITE_ADDRESS: (lambda rig, box, shop: Submit(1, [shop.address.write(4_096)]), 1),
    Deed.WRITE_PERSONAL: (lambda rig, box, shop: Submit(1, [box.write()]), 1),
    Deed.STORE: (lambda rig, box, shop: Submit(1, [box.write(2_048)]), 2_048),
    Deed.SIGN: (lambda rig, box, shop: Open(1, [box.opening(rig.nonce)]), 1),
    Deed.ASK: (lambda rig, box, shop: GetBeacon(1), 1),
    Deed.LOOK_UP: (lambda rig, box, shop: GetBusiness(1, shop.id), 1),
    Deed.FETCH_CARD: (lambda rig, box, shop: GetCard(1, box.id, box.token or b""), 1),
    Deed.LEDGER: (lambda rig, box, shop: GetCheckpoint(1), 1),
    Deed.REPORT: (lambda rig, box, shop: SendReport(1, body(REPORT_SIZES[0])), 1),
    Deed.CHUNK: (lambda rig, box, shop: BlobStatus(1, bytes(32), bytes(32)), 1),
}


@pytest.mark.parametrize("deed", [deed for deed in Deed if deed is not Deed.CHARGE])
def test_every_pace_holds_for_connection_and_network_and_tells_the_truth(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, deed: Deed
) -> None:
    make, unit = PACED[deed]
    box, shop = rig.personal(), rig.shop()
    slow, fast = Rate(unit / 7, unit * 2), Rate(unit / 3, unit * 3)
    monkeypatch.setitem(LIMITS, deed, Limit(slow, fast))
    rig.hub.networks = Networks()
    one, two = rig.connection(), rig.connection()

    def ask(talk: Talk) -> str:
        return code_of(talk.send(make(rig, box, shop)))

    assert [ask(one) == codes.RATE for _ in range(3)] == [False, False, True]
    assert [ask(two) == codes.RATE for _ in range(2)] == [False, True], "its network's third"
    assert ask(rig.connection(b"elsewhere")) != codes.RATE
    result = result_of(one.send(make(rig, box, shop)))
    assert result is not None
    assert (result.retry_after, result.left) == (7, 0)
    rig.tick += 6.5
    assert ask(one) == codes.RATE
    rig.tick += 0.5
    assert [ask(one) == codes.RATE for _ in range(2)] == [False, True]


def test_every_request_has_a_pace_or_needs_a_proof(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    box, shop = rig.personal(), rig.shop()
    requests = one_of_each(rig, box, shop)
    assert set(requests) == set(get_args(Request))
    for deed in Deed:
        monkeypatch.setitem(LIMITS, deed, Limit(Rate(1.0, 0), None))
    before = rig.dump()
    for request in requests.values():
        code = code_of(rig.connection().send(request))
        assert code in (codes.RATE, codes.NOT_AUTHORISED), request
    assert rig.dump() == before
