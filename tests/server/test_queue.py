"""What waits for the writer is bounded: in all, and for one connection. The bounds are written out
here, since a bound taken from the code would follow it wherever it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from kurir_server.rows import Moment, Rows
from kurir_server.work import Job
from kurir_server.writer import Writer
from kurir_wire import codes
from kurir_wire.frames import (
    BeaconIs,
    Create,
    Error,
    GetBeacon,
    Open,
    PutPreKeys,
    Register,
    Request,
    Results,
    Submit,
    encode,
)
from tests.server.client import Client
from tests.server.helpers import Box
from tests.server.rig import Rig
from tests.server.sockets import MIB, client_of, relay_inside, until
from tests.server.writing import Bench, held

MOST = 4_096
"""Requests that may wait in all."""
MOST_OF_ONE = 32
"""Those of one connection."""
SIGNATURE = 32_768
"""What checking one counts for, in bytes."""


def nothing(rows: Rows, moment: Moment) -> None: ...


def ignore(outcome: object) -> None: ...


async def put_more(bench: Bench, count: int, fitting: int, weight: int) -> None:
    """Put ``count`` while the writer is held: ``fitting`` of them are queued, and never more."""
    writer = bench.writer
    waiting: list[int] = []
    told: list[int] = []

    def done(number: int) -> Callable[[object], None]:
        def tell(outcome: object) -> None:
            told.append(number)
            waiting.append(writer.waiting[0])

        return tell

    async with held(writer):
        putting = [
            asyncio.ensure_future(writer.put(Job(nothing, done(number), weight)))
            for number in range(count)
        ]
        for _ in range(10):
            await asyncio.sleep(0)
        assert writer.waiting == (fitting, fitting * weight)
        assert [one.done() for one in putting] == [True] * fitting + [False] * (count - fitting)
    await asyncio.gather(*putting)
    await writer.call(nothing)
    assert sorted(told) == list(range(count)), "who had to wait is served all the same"
    assert max(waiting) <= fitting, "nor is it passed by those who waited"
    assert writer.waiting == (0, 0)


async def test_requests_beyond_the_queue_wait(bench: Bench) -> None:
    await put_more(bench, MOST + 100, MOST, 1)


async def test_so_do_bytes_beyond_it(bench: Bench) -> None:
    await put_more(bench, 100, 64, MIB)


def fill(writer: Writer) -> None:
    for _ in range(MOST - writer.waiting[0]):
        writer.push(Job(nothing, ignore))


async def passed(other: Client) -> None:
    """By now everything that was sent before was read, if it is read at all: these need no disk,
    and are answered."""
    for _ in range(5):
        await other.socket.send(b"\xc1")
        answer = await other.read()
        assert isinstance(answer, Error)
        assert answer.result.code == codes.MALFORMED


async def test_with_a_full_queue_a_session_has_its_socket_wait(tmp_path: Path) -> None:
    async with relay_inside(tmp_path) as (bench, app), client_of(bench) as client:
        (session,) = app.sessions.values()
        frame = encode(GetBeacon(1))
        async with held(app.writer):
            assert session.on_frame(frame) is None, "there is room"
            assert app.writer.waiting[0] == 1
            fill(app.writer)
            waiting = session.on_frame(frame)
            assert waiting is not None
            assert app.writer.waiting[0] == MOST
            putting = asyncio.ensure_future(waiting)
            for _ in range(10):
                await asyncio.sleep(0)
            assert not putting.done()
            assert app.writer.waiting[0] == MOST
        await asyncio.wait_for(putting, 10)
        assert [type(await client.read()) for _ in range(2)] == [BeaconIs] * 2


async def test_with_a_full_queue_no_socket_is_read(tmp_path: Path) -> None:
    async with (
        relay_inside(tmp_path) as (bench, app),
        client_of(bench) as one,
        client_of(bench) as two,
        client_of(bench) as other,
    ):
        async with held(app.writer):
            fill(app.writer)
            for number in range(10):
                await one.send(GetBeacon(number))
                await two.send(GetBeacon(number))
            await passed(other)
            assert app.writer.waiting[0] == MOST
            outstanding = [connection.outstanding for connection in app.sessions]
            assert outstanding == [1, 1, 0], "the one that met the full queue, and none after it"
        for client in (one, two):
            answers = [await client.read() for _ in range(10)]
            assert [getattr(answer, "n", None) for answer in answers] == list(range(10))


async def test_a_signature_fills_the_queue_like_many_bytes(tmp_path: Path) -> None:
    """Few requests with many signatures: 2,048 are as much as 64 MiB."""
    async with (
        relay_inside(tmp_path, behind_proxy=True) as (bench, app),
        client_of(bench, X_Forwarded_For="192.0.2.1") as one,
        client_of(bench, X_Forwarded_For="192.0.2.2") as two,
        client_of(bench, X_Forwarded_For="192.0.2.3") as three,
        client_of(bench) as other,
    ):
        boxes = [Box.personal(one.relay_id, one.now) for _ in range(32)]
        async with held(app.writer):
            for client in (one, two, three):
                new = [box.new(client.nonce) for box in boxes]
                for number in range(30):  # the quota of a network is a thousand mailboxes
                    await client.send(Create(number, new))
            await until(lambda: app.writer.waiting[0] >= 64, "so many are read")
            await passed(other)
            assert app.writer.waiting == (64, 64 * MIB)
        for client in (one, two, three):
            for _ in range(30):
                answer = await client.read(60)
                assert isinstance(answer, Results)
                assert len(answer.results) == 32


def test_what_a_request_weighs(rig: Rig) -> None:
    """The bytes that it keeps waiting, and as many for each signature that it has checked."""
    shop = rig.shop()
    line = shop.line(is_open=False)
    charges = [rig.charge(shop, *rig.customer(shop), line).submission for _ in range(3)]
    bodies = sum(len(entry.body) for entry in charges)
    box = rig.personal()
    card = shop.card(2)
    few = PutPreKeys(1, [shop.ec(n) for n in range(20)], [shop.kem(n) for n in range(12)])
    many = PutPreKeys(1, [shop.ec(n) for n in range(40)], [])
    size = sum(len(key.public) for key in few.ec) + sum(len(key.public) for key in few.kem)

    def weights(request: Request) -> list[int]:
        talk = rig.proved(shop)
        talk.connection.receive(encode(request), rig.moment)
        return [job.weight for job in talk.connection.take().jobs]

    assert weights(GetBeacon(1)) == [0]
    assert weights(Submit(1, [box.write(2_048), box.write(4_096)])) == [6_144]
    assert weights(Submit(1, [box.write(2_048), *charges])) == [2_048 + bodies + 6 * SIGNATURE]
    assert weights(Create(1, [box.new(rig.nonce)] * 3)) == [3 * SIGNATURE]
    assert weights(Open(1, [box.opening(rig.nonce)] * 33)) == [32 * SIGNATURE], "then the last"
    assert weights(Register(1, card, shop.address.new(rig.nonce))) == [len(card) + 5 * SIGNATURE]
    assert weights(shop.prove(rig.nonce)) == [2 * SIGNATURE]
    assert weights(few) == [size + 32 * SIGNATURE]
    assert weights(many) == [32 * SIGNATURE], "then the others"


async def test_one_connection_has_few_requests_waiting(tmp_path: Path) -> None:
    async with (
        relay_inside(tmp_path) as (bench, app),
        client_of(bench) as client,
        client_of(bench) as other,
    ):
        connection, _ = app.sessions
        async with held(app.writer):
            for number in range(100):
                await client.send(GetBeacon(number))
            await until(lambda: connection.outstanding >= MOST_OF_ONE, "so many are read")
            await passed(other)
            assert connection.outstanding == MOST_OF_ONE
            assert app.writer.waiting[0] == MOST_OF_ONE
        answers = [await client.read() for _ in range(100)]
        assert [getattr(answer, "n", None) for answer in answers] == list(range(100))
