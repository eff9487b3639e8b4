"""Too many, too slow, too large: sockets are counted, stalled ones cut, and memory is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import select
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from kurir_server import peer as peer_module
from kurir_server.doors import Doors, Full, Room
from kurir_server.limits import (
    MAX_CONNECTIONS,
    MAX_HALF_OPEN,
    MAX_OUTBOX_BYTES,
    MAX_UNACKED_BYTES,
    STALL_SECONDS,
)
from kurir_wire.entries import Ack
from kurir_wire.frames import Acks
from kurir_wire.limits import MAX_FRAME
from tests.server.helpers import Box
from tests.server.sockets import (
    BINARY,
    CONTINUATION,
    MIB,
    PING,
    UPGRADE,
    Bench,
    client_of,
    closed,
    frame,
    measured,
    refused_after,
    relay_inside,
    until,
)
from tests.server.tls import certificate

# Who comes in


def test_doors_count_everybody_and_forget_who_left() -> None:
    doors: Doors[str] = Doors(Room(connections=3, of_one_network=2, half_open=2))
    assert [doors.arrived(name) for name in "abc"] == [None, None, "a"]
    doors.left("a")
    assert doors.comes_in("b", b"x") is None
    assert doors.comes_in("c", b"x") is None
    assert doors.arrived("d") is None
    assert doors.comes_in("d", b"x") is Full.NETWORK
    assert doors.comes_in("d", b"y") is None
    assert doors.arrived("e") is None
    assert doors.comes_in("e", b"z") is Full.RELAY
    assert (doors.half_open, doors.inside) == (1, 3)
    doors.left("b")
    assert doors.comes_in("e", b"x") is None
    for name in "abcde":
        doors.left(name)
        doors.left(name)
    assert (doors.half_open, doors.inside, doors.all()) == (0, 0, [])
    assert doors == Doors(doors.room), "nothing is kept of those who left"


def test_what_fits_into_the_files_of_a_process() -> None:
    assert Room.within(10**6) == Room()
    for files in (128, 1_024, 4_096):
        room = Room.within(files)
        assert room.connections + room.half_open < files
        assert room.of_one_network <= room.connections
        assert min(room.connections, room.half_open) > 0
    assert Room().connections + Room().half_open == MAX_CONNECTIONS + MAX_HALF_OPEN


async def test_one_connection_too_many() -> None:
    bench = Bench(room=Room(connections=2))
    async with bench.running(), bench.client() as one:
        await one.send(b"1")
        await one.recv()
        async with bench.client():
            for minute in range(3):
                for _ in range(3):
                    with pytest.raises(InvalidStatus) as refused:
                        async with bench.client():
                            pass
                    assert refused.value.response.status_code == 503
                assert bench.full == [2] * (minute + 1), "said once a minute"
                bench.ticks.now += 60
        await one.send(b"2")
        assert await one.recv() == b"2"
        async with bench.client() as another:
            await another.send(b"3")
            assert await another.recv() == b"3"


async def test_one_network_too_many() -> None:
    bench = Bench(behind_proxy=True, room=Room(of_one_network=2))
    async with bench.running(), bench.client(X_Forwarded_For="192.0.2.1") as one:
        async with bench.client(X_Forwarded_For="192.0.2.1"):
            with pytest.raises(InvalidStatus) as refused:
                async with bench.client(X_Forwarded_For="192.0.2.1"):
                    pass
            assert refused.value.response.status_code == 429
            async with bench.client(X_Forwarded_For="192.0.2.2") as other:
                await other.send(b"1")
                assert await other.recv() == b"1"
        await until(lambda: bench.listener.doors.inside == 1, "they left")
        async with bench.client(X_Forwarded_For="192.0.2.1"):
            await one.send(b"2")
            assert await one.recv() == b"2"
    assert bench.full == [], "a network that is full is nothing for the operator's log"


async def test_a_thousand_handshakes_that_never_end() -> None:
    bench = Bench(handshake=1)
    ways = (b"", b"GET / HTT", UPGRADE.encode()[:-2])
    async with bench.running():
        half = [await bench.tcp(ways[number % 3]) for number in range(1_000)]
        assert bench.listener.doors.half_open > 0
        async with bench.client() as good:
            await good.send(b"1")
            assert await good.recv() == b"1"
            await asyncio.gather(*(closed(reader, 30) for reader, _ in half))
            assert (bench.listener.doors.half_open, bench.listener.doors.inside) == (0, 1)
            await good.send(b"2")
            assert await good.recv() == b"2"
        for _, writer in half:
            writer.close()


async def test_when_too_many_shake_hands_the_oldest_is_dropped() -> None:
    bench = Bench(room=Room(half_open=50))
    async with bench.running():
        half = [await bench.tcp(b"GET / HTT") for _ in range(50)]
        async with bench.client() as good:
            await good.send(b"1")
            assert await good.recv() == b"1"
        assert await closed(half[0][0]) == b""
        assert bench.listener.doors.half_open == 49
        _, writer = half[49]
        writer.write(UPGRADE.encode()[len("GET / HTT") :])
        assert b" 101 " in await half[49][0].readuntil(b"\r\n\r\n")
        for _, writer in half:
            writer.close()


async def test_handshakes_with_tls_that_never_end(tmp_path: Path) -> None:
    pem, secret = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, secret)
    bench = Bench(handshake=1)
    async with bench.running(context):
        silent, babbling = await bench.tcp(), await bench.tcp(b"\x16\x03\x01\x02")
        trusting = ssl.create_default_context(cafile=str(pem))
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port, ssl=trusting)
        start = asyncio.get_running_loop().time()
        for one in (silent[0], babbling[0], reader):
            await closed(one)
        # Half of the time for TLS, half for the rest. Not a test of speed: the library's own
        # time for a TLS handshake is a minute.
        assert asyncio.get_running_loop().time() - start < 30
        for each in (silent[1], babbling[1], writer):
            each.close()


async def test_a_burst_reaches_the_doors_and_is_not_dropped_by_the_system() -> None:
    """While the relay is busy, more sockets wait than asyncio's own hundred."""
    most = min(500, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    bench = Bench()
    async with bench.running(), contextlib.AsyncExitStack() as stack:
        arrived = select.poll()
        for _ in range(most):  # the loop does not run meanwhile
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", bench.port))
            arrived.register(one, select.POLLOUT)
        assert len(arrived.poll(0)) == most


# Who does not read


async def test_who_takes_nothing_for_long_is_cut_and_others_are_not() -> None:
    bench = Bench()
    async with bench.running(), bench.client() as good:
        await good.send(b"1")
        _, writer = await bench.mute()
        await until(lambda: len(bench.sessions) == 2, "it is in")
        stalled = bench.sessions[1]
        stalled.peer.emit([bytes(MIB)] * 7)
        await until(lambda: stalled.peer.size < 7 * MIB, "what the kernel takes is gone")
        await asyncio.sleep(0.2)
        bench.listener.outboxes.look()
        for second in range(1, STALL_SECONDS):
            bench.ticks.now += 1
            stalled.peer.emit([b"more"])  # what is put in is not what is taken out
            bench.listener.outboxes.look()
            assert not stalled.closed.is_set(), second
        bench.ticks.now += 1
        bench.listener.outboxes.look()
        await asyncio.wait_for(stalled.closed.wait(), 10)
        assert (bench.listener.outboxes.size, stalled.peer.size) == (0, 0)
        await good.send(b"2")
        assert [await good.recv(), await good.recv()] == [b"1", b"2"]
        writer.close()


async def test_who_leaves_it_all_with_the_system_is_cut_too() -> None:
    """Too little to fill a socket: nothing waits with us, and nothing is taken either."""
    bench = Bench()
    async with bench.running(), bench.client() as good:
        await good.send(b"1")
        assert await good.recv() == b"1"
        known = bench.listener.doors.all()
        _, writer = await bench.mute()
        await until(lambda: len(bench.sessions) == 2, "it is in")
        (one,) = set(bench.listener.doors.all()) - set(known)
        while not one.untaken():  # its own system takes a few MiB, and may confirm them late
            bench.sessions[1].peer.emit([bytes(16_384)])
            await asyncio.sleep(0.3 if one.untaken() else 0.001)
        assert bench.listener.outboxes.size == 0
        bench.listener.outboxes.look()
        for second in range(1, STALL_SECONDS):
            bench.ticks.now += 1
            bench.listener.outboxes.look()
            assert not bench.sessions[1].closed.is_set(), second
        bench.ticks.now += 1
        bench.listener.outboxes.look()
        await asyncio.wait_for(bench.sessions[1].closed.wait(), 10)
        # Who has taken everything may be silent for as long as it likes.
        assert len(bench.listener.outboxes) == 0
        await good.send(b"2")
        assert await good.recv() == b"2"
        writer.close()


async def test_who_is_only_slow_is_not_cut() -> None:
    bench = Bench()
    async with bench.running():
        reader, writer = await bench.mute()
        await until(lambda: len(bench.sessions) == 1, "it is in")
        peer = bench.sessions[0].peer
        peer.emit([bytes(MIB)] * 20)
        for _ in range(4):
            # Enough for its system to tell ours that there is room again.
            await reader.readexactly(3 * MIB)
            await until(lambda: peer.stalled(bench.ticks.now) == 0, "something was taken")
            bench.ticks.now += STALL_SECONDS - 1
            bench.listener.outboxes.look()
            assert not bench.sessions[0].closed.is_set()
        assert peer.size > 0, "the test ends before everything is taken"
        writer.close()


async def test_what_only_the_system_has_is_not_taken() -> None:
    """It takes a lot at a time; by it alone a thin line would stand still in between."""
    bench = Bench()
    async with bench.running():
        _, writer = await bench.mute()
        await until(lambda: len(bench.sessions) == 1, "it is in")
        bench.sessions[0].peer.emit([bytes(MIB)] * 7)
        (one,) = bench.listener.doors.all()
        await until(lambda: one.untaken() > one.transport.get_write_buffer_size() > 0, "both wait")
        writer.close()


def test_a_slow_frame_counts_by_its_bytes() -> None:
    """One large frame over a thin line: it takes longer than a stall, and something moves."""

    class Line:
        """A socket that takes a byte a second."""

        def __init__(self) -> None:
            self.left = 0
            self.was_cut = False
            self.is_full = False

        def hand_over(self, frames: Sequence[bytes]) -> bool:
            self.left = sum(map(len, frames))
            self.is_full = True
            return False

        def say_goodbye(self, code: int, reason: str) -> None: ...

        def untaken(self) -> int:
            return self.left

        def cut(self) -> None:
            self.was_cut = True

    ticks = iter(range(10_000))
    now = [0.0]
    outboxes = peer_module.Outboxes(lambda: now[0])
    line = Line()
    peer = peer_module.Peer(line, b"net", outboxes)
    peer.emit([bytes(500)])
    for _ in range(200):
        now[0] = float(next(ticks))
        line.left -= 1
        outboxes.look()
    assert not line.was_cut
    line.left += 100  # answers to its pings pile up: nothing was taken
    for _ in range(STALL_SECONDS):
        assert not line.was_cut
        now[0] = float(next(ticks))
        outboxes.look()
    assert line.was_cut
    assert outboxes.size == 0


async def test_a_stalled_client_does_not_keep_the_relay_from_stopping() -> None:
    bench = Bench(close=0.2)
    async with bench.running():
        _, writer = await bench.mute()
        await until(lambda: len(bench.sessions) == 1, "it is in")
        bench.sessions[0].peer.emit([bytes(MIB)] * 7)
        half = await bench.tcp(b"GET / HTT")
        await until(lambda: bench.listener.doors.half_open == 1, "so is half of another")
        await asyncio.sleep(0.2)
        await asyncio.wait_for(bench.listener.stop(), 10)
        writer.close()
        half[1].close()
    await asyncio.wait_for(bench.sessions[0].closed.wait(), 1)


async def test_all_outboxes_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peer_module, "MAX_OUTBOXES_BYTES", 20 * MIB)
    bench = Bench()
    async with bench.running(), bench.client() as good:
        await good.send(b"1")
        mute = [await bench.mute() for _ in range(4)]
        await until(lambda: len(bench.sessions) == 5, "they are in")
        for each in bench.listener.doors.all():  # so that the system takes little by itself
            plug = each.transport.get_extra_info("socket")
            plug.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        for session, size in zip(bench.sessions[1:], (6, 12, 6, 6), strict=True):
            session.peer.emit([bytes(MIB)] * size)
            assert bench.listener.outboxes.size <= 20 * MIB
        await asyncio.wait_for(bench.sessions[2].closed.wait(), 10)
        assert [session.closed.is_set() for session in bench.sessions] == [
            False, False, True, False, False,
        ]  # fmt: skip
        await good.send(b"2")
        assert [await good.recv(), await good.recv()] == [b"1", b"2"]
        for _, writer in mute:
            writer.close()


async def test_who_asks_and_never_reads_is_cut() -> None:
    """Answers to pings are made by the library at once, past every queue of ours."""
    bench = Bench()
    async with bench.running(), measured(16 * MIB):
        _, writer = await bench.mute()
        pings = frame(PING, bytes(125)) * 500
        for _ in range(1_000):
            if bench.sessions[0].closed.is_set():
                break
            writer.write(pings)
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        await asyncio.wait_for(bench.sessions[0].closed.wait(), 10)
        writer.close()


async def test_what_waits_for_a_reader_that_acknowledges_unread_is_bounded(tmp_path: Path) -> None:
    """It knows the ids, since it wrote the envelopes itself: the window never closes."""
    async with (
        relay_inside(tmp_path) as (bench, _),
        client_of(bench) as writer,
        client_of(bench) as reader,
    ):
        box = Box.personal(writer.relay_id, writer.now)
        assert await writer.create(box) == ["ok"]
        assert await reader.open(box) == ["ok"]
        reader.socket.transport.pause_reading()
        waiting, most = bench.listener.outboxes, 0
        for number in range(60):
            entries = [box.write(65_536) for _ in range(15)]
            results = await writer.submit(*entries)
            if most > MAX_OUTBOX_BYTES:
                break
            assert results == [None] * 15
            acks = [Ack(box.id, entry.envelope_id) for entry in entries]
            await asyncio.wait_for(reader.send(Acks(number, acks)), 10)
            most = max(most, waiting.size)
        assert most > MAX_UNACKED_BYTES, "the window was really passed"
        assert most < MAX_OUTBOX_BYTES + MAX_UNACKED_BYTES + 32 * 200_000
        reader.socket.transport.abort()


async def test_who_was_cut_finds_everything_later(tmp_path: Path) -> None:
    async with relay_inside(tmp_path) as (bench, app), client_of(bench) as writer:
        box, other = (Box.personal(writer.relay_id, writer.now) for _ in range(2))
        assert await writer.create(box, other) == ["ok", "ok"]
        sent: list[bytes] = []
        async with client_of(bench) as reader, client_of(bench) as keen:
            assert await reader.open(box) == ["ok"]
            assert await keen.open(other) == ["ok"]
            reader.socket.transport.pause_reading()
            for _ in range(12):
                entries = [box.write(65_536) for _ in range(15)]
                assert await writer.submit(*entries) == [None] * 15
                sent += [entry.envelope_id for entry in entries]
            await asyncio.sleep(0.2)
            bench.listener.outboxes.look()
            bench.ticks.now += STALL_SECONDS
            bench.listener.outboxes.look()
            await until(lambda: len(app.sessions) == 2, "the stalled one is cut")
            assert await writer.submit(other.write()) == [None]
            await keen.take(1)
            reader.socket.transport.abort()
        seen: list[bytes] = []
        async with client_of(bench) as reader:
            assert await reader.open(box) == ["ok"]
            while len(seen) < len(sent):
                some = await reader.take(1)
                some, reader.delivered = some + reader.delivered, []
                seen += [delivery.envelope_id for delivery in some]
                await reader.ack(*(Ack(box.id, delivery.envelope_id) for delivery in some))
            assert seen == sent


# What is too large


@pytest.mark.parametrize("size", [MAX_FRAME + 1, 2**31, 10 * 2**30, 2**63 - 1])
async def test_a_frame_that_says_it_is_large_is_refused_before_it_comes(size: int) -> None:
    bench = Bench()
    async with bench.running(), measured(4 * MIB):
        said = await refused_after(bench, [frame(BINARY, b"x" * 1_000, says=size)])
        assert int.from_bytes(said[2:4], "big") == 1009
        await asyncio.wait_for(bench.sessions[0].closed.wait(), 10)
        assert bench.errors == []


async def test_parts_that_add_up_are_refused() -> None:
    bench = Bench()
    part = bytes(MIB // 4)
    async with bench.running(), measured(8 * MIB):
        said = await refused_after(
            bench,
            [frame(BINARY, part, fin=False), *[frame(CONTINUATION, part, fin=False)] * 100],
        )
        assert int.from_bytes(said[2:4], "big") == 1009


async def test_parts_of_nothing_are_refused() -> None:
    """Without any bytes they never come to a limit of bytes, and each takes memory."""
    bench = Bench()
    async with bench.running(), measured(8 * MIB):
        nothing = frame(CONTINUATION, fin=False) * 1_000
        said = await refused_after(bench, [frame(BINARY, fin=False), *[nothing] * 200])
        assert int.from_bytes(said[2:4], "big") == 1009


async def test_headers_without_end_are_refused() -> None:
    bench = Bench()
    async with bench.running(), measured(8 * MIB):
        for line in (b"x" * 100_000, b"X-More: 1\r\n" * 10_000):
            reader, writer = await bench.tcp(b"GET / HTTP/1.1\r\n")
            try:
                for _ in range(100):
                    writer.write(line)
                    await asyncio.wait_for(writer.drain(), 10)
            except ConnectionError:
                pass
            assert b"101" not in (await closed(reader))[:20]
            writer.close()
