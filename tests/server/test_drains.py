"""Readers with much waiting take turns at the disk; nobody waits long, and nothing is lost."""

from __future__ import annotations

import asyncio
import secrets
import socket
from pathlib import Path

import pytest

from kurir_billing.charge import Line
from kurir_server.delivery import Deliveries
from kurir_server.limits import DRAIN_BYTES, FEW_ENVELOPES, MAX_DRAINS
from kurir_server.reading import Batch, Opened
from kurir_server.submitting import Arrival
from kurir_server.work import Output
from kurir_wire.entries import Delivery
from kurir_wire.frames import Deliver, Open, Submit, decode_push, encode
from kurir_wire.ids import MailboxId
from tests.server.helpers import Box, Shop
from tests.server.rig import Rig, Talk
from tests.server.sockets import client_of, relay_inside
from tests.server.test_turns import done


def full_readers(rig: Rig, count: int, envelopes: int) -> list[tuple[Talk, Box]]:
    """Connections that opened a mailbox with much waiting, and whose first read is to come."""
    readers = []
    for _ in range(count):
        box = rig.personal()
        assert rig.submit(*(box.write(65_536) for _ in range(envelopes))) == [None] * envelopes
        talk = rig.connection()
        talk.connection.receive(encode(Open(1, [box.opening(rig.nonce)])), rig.moment)
        (job,) = talk.connection.take().jobs
        job.done(done(rig, job))
        readers.append((talk, box))
    return readers


def drain(rig: Rig, talks: list[Talk], most: list[int]) -> dict[Talk, int]:
    """Batches as the writer makes them, until nobody wants anything; bodies of each reader."""
    got = dict.fromkeys(talks, 0)
    of = {talk.connection: talk for talk in talks}
    while True:
        jobs = []
        while rig.hub.touched:
            touched, rig.hub.touched = rig.hub.touched, set()
            for connection in touched:
                if connection not in of:
                    continue  # it left, and its session with it
                output = connection.take()
                jobs += output.jobs
                for data in output.frames:
                    push = decode_push(data)
                    if isinstance(push, Deliver):
                        got[of[connection]] += len(push.deliveries)
        if not jobs:
            return got
        most.append(len(jobs))
        outcomes = [done(rig, job) for job in jobs]
        for job, outcome in zip(jobs, outcomes, strict=True):
            job.done(outcome)


def test_readers_with_much_waiting_take_turns(rig: Rig) -> None:
    readers = full_readers(rig, 3 * MAX_DRAINS, 10)
    most: list[int] = []
    got = drain(rig, [talk for talk, _ in readers], most)
    assert set(got.values()) == {10}, "everybody gets all of it"
    assert most[0] == MAX_DRAINS
    assert max(most) <= 2 * MAX_DRAINS, "and those who have nearly all"


def test_who_wants_little_does_not_wait_for_those_who_want_much(rig: Rig) -> None:
    many = [talk for talk, _ in full_readers(rig, 3 * MAX_DRAINS, FEW_ENVELOPES + 1)]
    jobs = [job for talk in many for job in talk.connection.take().jobs]
    assert len(jobs) == MAX_DRAINS
    few = full_readers(rig, 3 * MAX_DRAINS, FEW_ENVELOPES)
    assert all(len(talk.connection.take().jobs) == 1 for talk, _ in few)
    # Nor who has read all of many, nor whose mailbox has seen many come and go.
    box = rig.personal()
    entries = [box.write() for _ in range(3 * FEW_ENVELOPES)]
    rig.submit(*entries)
    for entry in entries:
        rig.ack(box, entry.envelope_id)
    late = rig.connection()
    late.connection.receive(encode(Open(1, [box.opening(rig.nonce)])), rig.moment)
    for _ in range(2):
        (job,) = late.connection.take().jobs
        job.done(done(rig, job))
    signed = [rig.charge(*paid) for paid in [paying(rig, late)] * 2]
    for one in signed:
        rig.connection().send(Submit(1, [one.submission]))
        output = late.connection.take()
        assert (len(output.frames), output.jobs) == (1, []), "nothing is read for what just came"


def paying(rig: Rig, talk: Talk) -> tuple[Shop, Box, bytes, Line]:
    """A mailbox into which a business pays, opened."""
    shop = rig.shop()
    box, opening = rig.customer(shop)
    talk.connection.receive(encode(Open(1, [box.opening(rig.nonce)])), rig.moment)
    (job,) = talk.connection.take().jobs
    job.done(done(rig, job))
    assert talk.connection.take().jobs == []
    return shop, box, opening, shop.line(is_open=False)


def test_who_has_read_much_wants_little_again() -> None:
    deliveries = Deliveries()
    deliveries.open(Opened(1, MailboxId(bytes(32)), 30, 9))
    assert deliveries.behind == 9
    for count, up_to, left in ((4, 25, 5), (5, 30, 0)):
        wanted = deliveries.wanted()
        assert wanted is not None
        some = [Delivery(bytes(32), secrets.token_bytes(16), bytes(2_048)) for _ in range(count)]
        deliveries.fetched(wanted, [Batch(1, some, up_to, blocked=False)])
        assert deliveries.behind == left
    deliveries.arrived(Arrival(1, 31, None))
    assert deliveries.behind == 1


def test_turns_of_those_who_left_or_want_nothing_go_to_others(rig: Rig) -> None:
    readers = full_readers(rig, 5 * MAX_DRAINS, 5)
    talks = [talk for talk, _ in readers]
    jobs = [job for talk in talks for job in talk.connection.take().jobs]
    assert len(jobs) == MAX_DRAINS
    # All that wait next leave, or their mailbox goes, before it is their turn.
    leave, lose = talks[MAX_DRAINS : 2 * MAX_DRAINS], readers[2 * MAX_DRAINS : 3 * MAX_DRAINS]
    for talk in leave:
        talk.connection.close()
    for _, box in lose:
        rig.hub.gone([rig.row(box)])
    for job in jobs:
        job.done(done(rig, job))
    got = drain(rig, [talk for talk in talks if talk not in leave], [])
    assert [got[talk] for talk, _ in lose] == [0] * MAX_DRAINS
    assert [got[talk] for talk in talks[3 * MAX_DRAINS :]] == [5] * (2 * MAX_DRAINS)


async def test_a_turn_that_is_passed_on_is_taken_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not when somebody else next writes something."""
    async with relay_inside(tmp_path) as (bench, app), client_of(bench) as one, client_of(bench):
        first, second = app.sessions
        taken: list[str] = []

        def passing() -> Output:
            taken.append("passed on")
            app._hub.touched.add(second)
            return Output()

        def taking() -> Output:
            taken.append("taken")
            return Output()

        with monkeypatch.context() as patch:
            patch.setattr(first, "take", passing)
            patch.setattr(second, "take", taking)
            app._hub.touched.add(first)
            await app.writer.call(lambda rows, moment: None)
            for _ in range(3):
                await asyncio.sleep(0)
            assert taken == ["passed on", "taken"]
        await one.beacon()


def test_nothing_is_brought_from_disk_to_who_takes_nothing(rig: Rig) -> None:
    readers = full_readers(rig, 2 * MAX_DRAINS, 10)
    idle, eager = (
        [talk for talk, _ in readers[:MAX_DRAINS]],
        [talk for talk, _ in readers[MAX_DRAINS:]],
    )
    for talk in idle:
        talk.connection.is_taking = False
        assert talk.connection.take().jobs == []
    jobs = [talk.connection.take().jobs for talk in eager]
    assert [len(each) for each in jobs] == [1] * MAX_DRAINS, "nor do they hold a turn"
    for (job,) in jobs:
        job.done(done(rig, job))
    for talk in idle:
        talk.connection.is_taking = True
        assert len(talk.connection.take().jobs) == 1


async def test_who_takes_again_gets_more(tmp_path: Path) -> None:
    async with (
        relay_inside(tmp_path) as (bench, _),
        client_of(bench) as writer,
        client_of(bench) as reader,
    ):
        box = Box.personal(writer.relay_id, writer.now)
        assert await writer.create(box) == ["ok"]
        sent = []
        for _ in range(4):
            entries = [box.write(65_536) for _ in range(15)]
            assert await writer.submit(*entries) == [None] * 15
            sent += [entry.envelope_id for entry in entries]
        reader.socket.transport.pause_reading()
        plugs = [
            transport.get_extra_info("socket")
            for transport in (
                reader.socket.transport,
                *(each.transport for each in bench.listener.doors.all()),
            )
        ]
        for plug in plugs:  # so that the system takes little by itself
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        await reader.send(Open(1, [box.opening(reader.nonce)]))
        most = 0
        for _ in range(30):
            await asyncio.sleep(0.01)
            most = max(most, bench.listener.outboxes.size)
        assert DRAIN_BYTES < most < 3 * DRAIN_BYTES
        for plug in plugs:
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1_048_576)
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * 1_048_576)
        reader.socket.transport.resume_reading()
        seen: list[bytes] = []
        while len(seen) < len(sent):
            await reader.read()
            some, reader.delivered = reader.delivered, []
            seen += [delivery.envelope_id for delivery in some]
        assert seen == sent
