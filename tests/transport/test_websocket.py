"""One WebSocket over a real socket, on both event loops: what a client may send and what it gets,
one thing after another in both directions, and how it ends."""

from __future__ import annotations

import asyncio
import gc
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from kurir_server.limits import DRAIN_BYTES, MAX_OUTBOX_BYTES
from kurir_server.peer import Peer
from kurir_server.websocket import Session
from kurir_wire.limits import MAX_FRAME, SUBPROTOCOL
from tests.server.sockets import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MIB,
    PING,
    PONG,
    TEXT,
    UPGRADE,
    Bench,
    Echo,
    closed,
    frame,
    measured,
    refused_after,
    until,
)
from tests.server.tls import certificate


async def receive(reader: StreamReader) -> tuple[int, bytes]:
    """The next frame: its first byte and what it carries."""
    first, length = await asyncio.wait_for(reader.readexactly(2), 10)
    if length >= 126:
        length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
    return first, await asyncio.wait_for(reader.readexactly(length), 10)


async def entered(bench: Bench) -> tuple[StreamReader, StreamWriter, Echo]:
    """A client by hand, and the session above it."""
    count = len(bench.sessions)
    reader, writer = await bench.mute()
    await until(lambda: len(bench.sessions) > count, "it is in")
    return reader, writer, bench.sessions[-1]


def close_of(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2, "big") + reason)


# What comes


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, MAX_FRAME])
async def test_messages_of_every_length(size: int) -> None:
    bench = Bench()
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    async with bench.running(), bench.client() as client:
        await client.send(data)
        assert await client.recv() == data


async def test_parts_become_one_message_and_pings_come_between() -> None:
    bench = Bench()
    async with bench.running():
        reader, writer, session = await entered(bench)
        writer.write(frame(BINARY, b"one ", fin=False) + frame(CONTINUATION, b"", fin=False))
        writer.write(frame(PING, b"here?"))
        assert await receive(reader) == (0x80 | PONG, b"here?")
        assert session.seen == 0
        writer.write(frame(CONTINUATION, b"message") + frame(BINARY, b"another"))
        assert await receive(reader) == (0x80 | BINARY, b"one message")
        assert await receive(reader) == (0x80 | BINARY, b"another")
        # A letter may be torn apart, a text not.
        writer.write(frame(TEXT, "ä".encode()[:1], fin=False) + frame(CONTINUATION, b"\xa4"))
        assert await receive(reader) == (0x80 | BINARY, "ä".encode())
        assert session.seen == 3
        writer.close()


async def test_bytes_one_by_one() -> None:
    bench = Bench()
    async with bench.running():
        reader, writer = await bench.tcp()
        said = UPGRADE.encode() + frame(BINARY, b"slowly") + frame(PING) + close_of(1000)
        for byte in said:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        assert await receive(reader) == (0x80 | BINARY, b"slowly")
        assert await receive(reader) == (0x80 | PONG, b"")
        assert await receive(reader) == (0x80 | CLOSE, (1000).to_bytes(2, "big"))
        assert await closed(reader) == b""
        writer.close()


async def test_a_handshake_and_what_follows_in_one_go() -> None:
    bench = Bench()
    async with bench.running():
        reader, writer = await bench.tcp(UPGRADE.encode() + frame(BINARY, b"1") * 2)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(2):
            assert await receive(reader) == (0x80 | BINARY, b"1")
        writer.close()


async def test_a_handshake_that_trickles_is_cut(tmp_path: Path) -> None:
    """Each byte comes in time; all of them do not."""
    pem, secret = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, secret)
    trusting = ssl.create_default_context(cafile=str(pem))
    for tls, client_tls in ((None, None), (context, trusting)):
        bench = Bench(handshake=0.4)
        async with bench.running(tls):
            reader, writer = await asyncio.open_connection("127.0.0.1", bench.port, ssl=client_tls)
            end = asyncio.create_task(closed(reader))
            for byte in UPGRADE.encode()[:-1]:
                if end.done():
                    break
                writer.write(bytes([byte]))
                await asyncio.sleep(0.02)
            assert await end == b""
            await until(lambda: bench.listener.doors.half_open == 0, "it is gone")  # noqa: B023
            writer.close()
        assert bench.sessions == []


@pytest.mark.parametrize(
    ("header", "status", "says"),
    [
        ("Sec-WebSocket-Protocol: other", 400, f"this relay speaks {SUBPROTOCOL}"),
        ("Sec-WebSocket-Version: 8", 400, "Sec-WebSocket-Version"),
        ("Upgrade: h2c", 426, "WebSocket"),
    ],
)
async def test_what_is_no_handshake_of_ours_is_told_why(
    header: str, status: int, says: str
) -> None:
    bench = Bench()
    name = header.partition(":")[0]
    lines = [header if line.startswith(name) else line for line in UPGRADE.split("\r\n")]
    async with bench.running():
        reader, writer = await bench.tcp("\r\n".join(lines).encode())
        said = (await closed(reader)).decode()
        assert said.startswith(f"HTTP/1.1 {status} ")
        assert says in said
        assert "Server:" not in said
        writer.close()
        await until(lambda: bench.listener.doors.half_open == 0, "it is gone")
    assert (bench.sessions, bench.errors) == ([], [])


async def test_nothing_is_compressed() -> None:
    bench = Bench()
    offer = "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    async with bench.running():
        reader, writer = await bench.tcp((UPGRADE[:-2] + offer).encode())
        said = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in said
        assert b"xtensions" not in said
        writer.close()


# How it ends


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"\x82\x01x", 1002),  # not masked
        (frame(BINARY | 0x40, b"x"), 1002),
        (frame(3, b"x"), 1002),
        (frame(CONTINUATION, b"of what?"), 1002),
        (frame(BINARY, b"x", fin=False) + frame(BINARY, b"x"), 1002),
        (frame(PING, b"x", fin=False), 1002),
        (frame(PING, bytes(126)), 1002),
        (close_of(1005), 1002),
        (frame(CLOSE, b"x"), 1002),
        (frame(TEXT, b"\xff"), 1007),
        (frame(TEXT, b"\xc3", fin=False) + frame(CONTINUATION, b"\xc3"), 1007),
        (frame(BINARY, says=MAX_FRAME + 1), 1009),
        (frame(BINARY, fin=False) + frame(CONTINUATION, fin=False) * 9_000, 1009),
        (close_of(1000), 1000),
        (close_of(1001, b"bye"), 1001),
        (close_of(4_321), 4_321),
    ],
)
async def test_close_codes(sent: bytes, code: int) -> None:
    """What came before is answered, what comes after is for nobody."""
    bench = Bench()
    async with bench.running():
        said = await refused_after(bench, [frame(BINARY, b"1") + sent + frame(BINARY, b"2")])
        assert said[:3] == bytes([0x80 | BINARY, 1]) + b"1" or said[0] == 0x80 | CLOSE
        end = said.index(0x80 | CLOSE)
        assert int.from_bytes(said[end + 2 : end + 4], "big") == code
        assert len(said) == end + 2 + said[end + 1], "and that is all"
        await asyncio.wait_for(bench.sessions[0].closed.wait(), 10)
        assert bench.sessions[0].seen == 1
    assert bench.errors == []


async def test_who_goes_without_a_word() -> None:
    bench = Bench()
    async with bench.running():
        for way in ("half", "reset"):
            _, writer, session = await entered(bench)
            if way == "half":
                writer.write_eof()
            else:
                writer.transport.abort()
            await asyncio.wait_for(session.closed.wait(), 10)
            session.peer.emit([b"to nobody"], (1000, ""))
            assert bench.listener.outboxes.size == 0
            writer.close()
        assert bench.listener.doors.inside == 0
    assert bench.errors == []


async def test_a_goodbye_comes_after_all_that_was_sent() -> None:
    bench = Bench(close=0.2)
    async with bench.running():
        reader, writer, session = await entered(bench)
        session.peer.emit([bytes(MIB)] * 9, (4_000, "enough"))
        session.peer.emit([b"late"])
        for _ in range(9):
            assert await receive(reader) == (0x80 | BINARY, bytes(MIB))
        assert await receive(reader) == (0x80 | BINARY, b"late")
        assert await receive(reader) == (0x80 | CLOSE, (4_000).to_bytes(2, "big") + b"enough")
        writer.write(frame(BINARY, b"after the goodbye") + close_of(4_000))
        assert await closed(reader) == b""
        await asyncio.wait_for(session.closed.wait(), 10)
        assert session.seen == 0
        writer.close()


async def test_who_does_not_answer_a_goodbye_is_cut() -> None:
    """Nor does it stay because it goes on to ask."""
    bench = Bench(close=0.3)
    async with bench.running():
        reader, writer, session = await entered(bench)
        session.peer.emit([], (4_000, "enough"))
        end = asyncio.create_task(closed(reader))
        while not session.closed.is_set():
            writer.write(frame(PING))
            await asyncio.sleep(0.05)
        await end
        writer.close()


async def test_who_is_here_hears_that_the_relay_stops() -> None:
    bench = Bench()
    async with bench.running(), bench.client() as one, bench.client() as two:
        for client in (one, two):
            await client.send(b"1")
            await client.recv()
        await asyncio.wait_for(bench.listener.stop(), 10)
        for client in (one, two):
            with pytest.raises(ConnectionClosed) as end:
                await client.recv()
            assert end.value.rcvd is not None
            assert (end.value.rcvd.code, end.value.rcvd.reason) == (1001, "the relay stops")
        assert all(session.closed.is_set() for session in bench.sessions)


async def test_a_session_that_never_ends_does_not_keep_the_relay_from_stopping() -> None:
    bench = Bench(close=0.2)
    async with bench.running():
        _, writer, session = await entered(bench)
        writer.write(frame(BINARY, b"wait"))
        await until(lambda: session.seen == 1, "it came")
        await asyncio.wait_for(bench.listener.stop(), 10)
        assert session.closed.is_set()
        writer.close()
    assert bench.errors == []


async def test_with_tls(tmp_path: Path) -> None:
    pem, secret = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, secret)
    trusting = ssl.create_default_context(cafile=str(pem))
    bench = Bench()
    async with bench.running(context):
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.port, ssl=trusting)
        big = bytes(MIB)
        writer.write(UPGRADE.encode() + frame(BINARY, big) * 3 + close_of(1000))
        await reader.readuntil(b"\r\n\r\n")
        # The close overtakes what still waits, but not what is under way.
        first, data = await receive(reader)
        assert (first, data) == (0x80 | BINARY, big)
        await closed(reader)
        await asyncio.wait_for(bench.sessions[0].closed.wait(), 10)
        assert bench.sessions[0].seen == 3
        writer.close()
    assert bench.errors == []


# Is it still there


async def test_who_is_silent_is_asked_and_who_does_not_answer_is_cut() -> None:
    bench = Bench(ping=0.3, close=0.2)
    async with bench.running(), bench.client() as good:
        reader, writer, mute = await entered(bench)
        assert await receive(reader) == (0x80 | PING, b"")
        _, waiting, busy = await entered(bench)  # nor does this one
        waiting.write(frame(BINARY, b"wait"))
        await until(lambda: busy.seen == 1, "it is busy")
        waiting.write(frame(BINARY, b"1"))
        await asyncio.wait_for(mute.closed.wait(), 10)
        code = (1011).to_bytes(2, "big")
        assert await receive(reader) == (0x80 | CLOSE, code + b"no answer to a ping")
        assert await closed(reader) == b""
        await asyncio.sleep(1)
        assert not busy.closed.is_set(), "the relay itself does not read what it says"
        await good.send(b"1")
        assert await good.recv() == b"1"
        busy.go_on.set()
        await asyncio.wait_for(busy.closed.wait(), 10)
        for each in (writer, waiting):
            each.close()


# One after another


async def test_while_a_session_works_its_socket_is_not_read() -> None:
    bench = Bench()
    async with bench.running():
        reader, writer, session = await entered(bench)
        small = frame(BINARY, b"1") * 10_000
        async with measured(12 * MIB):
            writer.write(frame(BINARY, b"wait") + small)
            for _ in range(100):
                writer.write(frame(BINARY, bytes(MIB)))
                try:
                    await asyncio.wait_for(writer.drain(), 0.3)
                except TimeoutError:
                    break
            else:
                raise AssertionError("the relay reads without end")
        assert session.seen == 1
        session.go_on.set()
        assert await receive(reader) == (0x80 | BINARY, b"waited")
        for _ in range(10_000):
            assert await receive(reader) == (0x80 | BINARY, b"1")
        assert await receive(reader) == (0x80 | BINARY, bytes(MIB))
        writer.transport.abort()
        await asyncio.wait_for(session.closed.wait(), 10)


async def test_small_frames_take_little_memory_while_they_wait() -> None:
    bench = Bench(close=0.2)
    full_read = frame(BINARY, b"wait") * 26_000
    async with bench.running():
        _, writer, session = await entered(bench)
        (socket,) = bench.listener.doors.all()
        async with measured(2 * MIB):
            socket.data_received(full_read)
            socket.data_received(full_read)
            await asyncio.sleep(0)
        assert session.seen == 1
        writer.transport.abort()
        session.go_on.set()
        await asyncio.wait_for(session.closed.wait(), 60)
        assert session.seen == 52_000


async def test_who_goes_within_a_message_leaves_nothing_of_it() -> None:
    """Also before somebody looks for cycles."""
    bench = Bench()
    whole = frame(BINARY, bytes(MIB // 2), says=MAX_FRAME)
    part = frame(BINARY, bytes(MIB // 2), fin=False)
    gc.disable()
    try:
        async with bench.running(), measured(5 * MIB):
            for sent in [whole, part] * 8:
                _, writer, session = await entered(bench)
                writer.write(sent)
                writer.close()
                await asyncio.wait_for(session.closed.wait(), 10)
    finally:
        gc.enable()
    assert bench.errors == []


async def test_who_does_not_take_its_answers_may_not_ask() -> None:
    bench = Bench()
    async with bench.running(), measured(4 * MAX_OUTBOX_BYTES):
        reader, writer, session = await entered(bench)
        sent, big = 0, frame(BINARY, bytes(MIB))
        while True:
            writer.write(big)
            sent += 1
            try:
                await asyncio.wait_for(writer.drain(), 0.5)
            except TimeoutError:
                break
            assert sent < 200, "the relay answers without end"
        assert MAX_OUTBOX_BYTES <= session.peer.size <= MAX_OUTBOX_BYTES + 2 * MIB
        assert bench.listener.outboxes.size == session.peer.size
        for _ in range(sent):
            assert await receive(reader) == (0x80 | BINARY, bytes(MIB))
        await until(lambda: session.peer.size == 0, "all is taken")
        assert bench.listener.outboxes.size == 0
        writer.close()


async def test_who_was_waited_for_has_to_take_its_answers_too() -> None:
    bench = Bench()
    async with bench.running():
        reader, writer, session = await entered(bench)
        writer.write(frame(BINARY, b"wait") + frame(BINARY, b"1"))
        await until(lambda: session.seen == 1, "it came")
        session.peer.emit([bytes(MIB)] * 24)
        session.go_on.set()
        await asyncio.sleep(0.2)
        assert session.seen == 1
        for _ in range(24):
            assert await receive(reader) == (0x80 | BINARY, bytes(MIB))
        assert await receive(reader) == (0x80 | BINARY, b"waited")
        assert await receive(reader) == (0x80 | BINARY, b"1")
        writer.close()


async def test_who_came_in_has_all_the_time() -> None:
    bench = Bench(handshake=0.2)
    async with bench.running(), bench.client() as client:
        await asyncio.sleep(0.5)
        await client.send(b"1")
        assert await client.recv() == b"1"


async def test_who_takes_again_is_told_once() -> None:
    bench = Bench()
    async with bench.running():
        reader, writer, session = await entered(bench)
        told: list[int] = []
        session.peer.on_taking = lambda: told.append(session.peer.size)
        session.peer.emit([bytes(MIB)] * 12)
        assert not session.peer.is_taking
        assert told == []
        for _ in range(12):
            await receive(reader)
        await until(lambda: session.peer.is_taking, "it takes")
        assert len(told) == 1
        assert told[0] < DRAIN_BYTES
        writer.close()


async def test_what_came_before_a_close_is_still_done() -> None:
    bench = Bench(close=0.2)
    async with bench.running():
        _, writer, session = await entered(bench)
        writer.write(frame(BINARY, b"wait") + frame(BINARY, b"1") * 3 + close_of(1000))
        await until(lambda: session.seen == 1, "the first came")
        writer.transport.abort()
        await until(lambda: bench.listener.doors.inside == 0, "it is gone")
        assert not session.closed.is_set()
        session.go_on.set()
        await asyncio.wait_for(session.closed.wait(), 10)
        assert session.seen == 4


async def test_a_fault_after_a_wait_ends_it_too() -> None:
    bench = Bench(close=0.2)
    async with bench.running():
        reader, writer, session = await entered(bench)
        writer.write(frame(BINARY, b"wait and break") + frame(BINARY, b"1"))
        await until(lambda: session.seen == 1, "it came")
        session.go_on.set()
        code = (1011).to_bytes(2, "big")
        assert await receive(reader) == (0x80 | CLOSE, code + b"a fault of the relay")
        writer.write(close_of(1011))
        await asyncio.wait_for(session.closed.wait(), 10)
        assert session.seen == 1
        writer.close()
    assert [type(error) for error in bench.errors] == [KeyError]


async def test_who_leaves_before_it_is_greeted() -> None:
    """And one whose session cannot be made."""
    made: list[Echo] = []
    go_on = asyncio.Event()

    async def connect(peer: Peer) -> Session:
        await go_on.wait()
        made.append(Echo(peer))
        return made[0]

    bench = Bench(connect=connect)
    async with bench.running():
        _, writer = await bench.mute()
        writer.transport.abort()
        await until(lambda: bench.listener.doors.inside == 0, "it is gone")
        go_on.set()
        await until(lambda: bool(made), "its session is made")
        await asyncio.wait_for(made[0].closed.wait(), 10)

    def broken(peer: Peer) -> Awaitable[Session]:
        raise KeyError("canary-word")

    bench = Bench(connect=broken)
    async with bench.running():
        said = await refused_after(bench, [])
        assert said[2:] == (1011).to_bytes(2, "big") + b"a fault of the relay"
    assert [type(error) for error in bench.errors] == [KeyError]


async def test_a_full_house_says_so_in_words() -> None:
    bench = Bench()
    bench.listener.doors.room = type(bench.listener.doors.room)(connections=1)
    async with bench.running(), bench.client() as one:
        await one.send(b"1")
        await one.recv()
        with pytest.raises(InvalidStatus) as refused:
            async with bench.client():
                pass
        assert refused.value.response.body == b"too many connections\n"
