"""The relay as a process: requests sent ahead, readers that do not read, crash after crash, files
that are no longer good."""

from __future__ import annotations

import asyncio
from pathlib import Path

from kurir_wire import codes
from kurir_wire.entries import Ack, Result, Submission
from kurir_wire.frames import Acks, Delete, Open, Request, Results, Submit
from tests.server.client import Client
from tests.server.helpers import Box
from tests.server.process import RelayProcess


async def test_requests_may_be_sent_ahead_of_their_answers(relay: RelayProcess) -> None:
    async with relay.client() as client:
        box = Box.personal(client.relay_id, client.now)
        await client.create(box)
        envelope = box.write()
        requests: list[Request] = [
            Submit(1, [envelope]),
            Open(2, [box.opening(client.nonce)]),
            Acks(3, [Ack(box.id, envelope.envelope_id)]),
            Delete(4, [box.id]),
            Submit(5, [envelope]),
        ]
        for request in requests:
            await client.send(request)
        answers: dict[int, Result | None] = {}
        while len(answers) < len(requests):
            frame = await client.read()
            if isinstance(frame, Results):
                answers[frame.n] = frame.results[0]
    assert answers[1] is answers[3] is answers[4] is None
    opened, gone = answers[2], answers[5]
    assert opened is None or opened.code == codes.OK
    assert gone is not None
    assert gone.code == codes.NO_MAILBOX


async def test_a_reader_that_does_not_read_holds_nobody_up(relay: RelayProcess) -> None:
    async with relay.client() as lazy, relay.client() as writer, relay.client() as keen:
        boxes = [Box.personal(writer.relay_id, writer.now) for _ in range(2)]
        for reader, box in zip((lazy, keen), boxes, strict=True):
            await reader.create(box)
            await reader.open(box)
        lazy.socket.transport.pause_reading()
        sent: list[Submission] = []
        for _ in range(20):
            some = [boxes[0].write(65_536) for _ in range(15)]
            assert await writer.submit(*some) == [None] * 15
            sent += some
        assert await writer.submit(boxes[1].write()) == [None]
        await keen.take(1)
        lazy.socket.transport.resume_reading()
        seen: list[bytes] = []
        while len(seen) < len(sent):
            (delivery,) = await lazy.take(1)
            seen.append(delivery.envelope_id)
            await lazy.ack(Ack(boxes[0].id, delivery.envelope_id))
        assert seen == [entry.envelope_id for entry in sent]


async def test_crash_after_crash(relay: RelayProcess) -> None:
    accepted: set[bytes] = set()
    everything: list[bytes] = []
    async with relay.client() as reader:
        box = Box.personal(reader.relay_id, reader.now)
        await reader.create(box)
    for cycle in range(4):
        batches = [[box.write() for _ in range(5)] for _ in range(100)]
        everything += [entry.envelope_id for batch in batches for entry in batch]
        async with relay.client() as writer:
            sending = asyncio.create_task(_send(writer, batches))
            for _ in range(10 + 20 * cycle):
                frame = await writer.read()
                assert isinstance(frame, Results)
                assert frame.results == [None] * 5
                accepted |= {entry.envelope_id for entry in batches[frame.n]}
            relay.kill()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        relay.start()
        async with relay.client() as reader:
            await reader.open(box)
            await reader.take(min(256, len(accepted)))
        async with relay.client() as writer:
            # The same bytes again, wherever the crash fell.
            for batch in batches:
                assert await writer.submit(*batch) == [None] * 5
    seen: list[bytes] = []
    async with relay.client() as reader:
        await reader.open(box)
        while len(seen) < len(everything):
            some = await reader.take(max(1, len(reader.delivered)))
            seen += [delivery.envelope_id for delivery in some]
            await reader.ack(*(Ack(box.id, delivery.envelope_id) for delivery in some))
        await reader.nothing()
    assert sorted(seen) == sorted(everything)
    assert accepted <= set(seen)


async def _send(client: Client, batches: list[list[Submission]]) -> None:
    for n, batch in enumerate(batches):
        await client.send(Submit(n, batch))


def test_a_damaged_database_is_refused_without_a_traceback(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path).init()
    relay.db.write_bytes(b"this is no database" * 1_000)
    done = relay.run("serve", "--listen", "127.0.0.1:0")
    assert done.returncode == 4
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_bad_demo_clock_is_refused_at_the_start(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path).init()
    clock = tmp_path / "clock"
    clock.write_text("tomorrow")
    done = relay.run("serve", "--listen", "127.0.0.1:0", "--demo-clock", str(clock))
    assert done.returncode == 2
    assert "whole number" in done.stderr
    assert "Traceback" not in done.stderr
