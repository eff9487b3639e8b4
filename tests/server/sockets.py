"""A listener of one's own with real sockets, and clients that behave badly: for tests."""

from __future__ import annotations

import asyncio
import io
import ssl
import time
import tracemalloc
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection

from kurir_server import admin, keyfiles
from kurir_server.app import App
from kurir_server.clock import Clock
from kurir_server.doors import Room
from kurir_server.listener import Listener, Timing
from kurir_server.log import Log
from kurir_server.peer import Peer
from kurir_server.store import open_async
from kurir_server.websocket import Session
from kurir_wire.frames import Welcome
from kurir_wire.limits import SUBPROTOCOL
from tests.server.client import Client, raw

UPGRADE = (
    "GET / HTTP/1.1\r\nHost: relay\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
    f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
)
"""A handshake by hand."""
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MIB = 1_048_576


class Echo:
    """A session that sends back what comes, breaks at a word, and waits at others until the test
    lets it go on. ``seen`` counts what came."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.seen = 0
        self.closed = asyncio.Event()
        self.go_on = asyncio.Event()

    def on_frame(self, data: bytes | str) -> Awaitable[None] | None:
        self.seen += 1
        if data == b"break":
            raise KeyError("canary-word")
        if data in (b"wait", b"wait and break"):
            return self._later(data)
        self.peer.emit([data.encode() if isinstance(data, str) else data])
        return None

    async def _later(self, data: bytes | str) -> None:
        await self.go_on.wait()
        if data == b"wait and break":
            raise KeyError("canary-word")
        self.peer.emit([b"waited"])

    def on_close(self) -> None:
        self.closed.set()


class Ticks:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A listener under an echo, or under a relay.

    ``ticks`` is the clock by which clients stall; the others run by themselves.
    """

    def __init__(
        self,
        *,
        behind_proxy: bool = False,
        room: Room | None = None,
        handshake: float = 10,
        close: float = 2,
        ping: float = 30,
        connect: Callable[[Peer], Awaitable[Session]] | None = None,
    ) -> None:
        self.sessions: list[Echo] = []
        self.errors: list[BaseException] = []
        self.full: list[int] = []
        self.ticks = Ticks()
        self.listener = Listener(
            connect or self.connect,
            self.errors.append,
            self.full.append,
            bytes(32),
            behind_proxy,
            Timing(handshake, ping, close, self.ticks),
            room,
        )
        self.port = 0

    async def connect(self, peer: Peer) -> Echo:
        self.sessions.append(Echo(peer))
        return self.sessions[-1]

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        _, self.port = await self.listener.start("127.0.0.1", 0, tls)
        try:
            yield
        finally:
            await self.listener.stop()

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[ClientConnection]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with raw(f"127.0.0.1:{self.port}", additional_headers=named) as socket:
            yield socket

    async def tcp(self, first: bytes = b"") -> tuple[StreamReader, StreamWriter]:
        """A bare socket that has sent ``first``, and reads only when the test does."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1_024)
        writer.write(first)
        return reader, writer

    async def mute(self) -> tuple[StreamReader, StreamWriter]:
        """A client that shook hands by hand, and does not read."""
        reader, writer = await self.tcp(UPGRADE.encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        return reader, writer


def frame(opcode: int, data: bytes = b"", *, fin: bool = True, says: int | None = None) -> bytes:
    """A masked WebSocket frame by hand; ``says``: the length that its header announces."""
    size = len(data) if says is None else says
    head = bytes([opcode | (0x80 if fin else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65_536:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return head + bytes(4) + data


async def closed(reader: StreamReader, seconds: float = 10) -> bytes:
    """What still came until the other side closed."""
    try:
        return await asyncio.wait_for(reader.read(-1), seconds)
    except ConnectionError:
        return b""


@asynccontextmanager
async def relay_inside(
    folder: Path, log: Log | None = None, **options: Any
) -> AsyncIterator[tuple[Bench, App]]:
    """A whole relay in this process."""
    db = folder / "inside.db"
    keys = admin.init(db, keyfiles.default_folder(db), int(time.time()))
    store = await open_async(db)
    log = log or Log(io.StringIO())
    clock = Clock(log)
    clock.start(0)
    app = App(keys, store, clock, log, 0)
    bench = Bench(connect=app.connect, **options)
    writing = asyncio.create_task(app.writer.run())
    try:
        async with bench.running():
            yield bench, app
    finally:
        app.writer.stop()
        await writing
        await store.close()


@asynccontextmanager
async def client_of(bench: Bench, **headers: str) -> AsyncIterator[Client]:
    """A client of :func:`relay_inside` that has been welcomed."""
    async with bench.client(**headers) as socket:
        client = Client(socket)
        welcome = await client.read()
        assert isinstance(welcome, Welcome)
        client.welcome = welcome
        yield client


@asynccontextmanager
async def measured(most: int) -> AsyncIterator[None]:
    """What Python allocates meanwhile stays below ``most`` bytes."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


async def until(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    """Wait for something that other tasks bring about."""
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(what)


async def refused_after(bench: Bench, parts: list[bytes]) -> bytes:
    """Send by hand; what came back until the relay closed."""
    reader, writer = await bench.mute()
    for part in parts:
        writer.write(part)
        try:
            await asyncio.wait_for(writer.drain(), 10)
        except ConnectionError:
            break
    said = await closed(reader)
    writer.close()
    return said
