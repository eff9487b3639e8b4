"""The listener alone: faults of ours, a proxy in front, and networks without their address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from kurir_server import listener as listener_module
from kurir_server.config import Config
from kurir_server.errors import ConfigError
from kurir_server.listener import Listener, Peer, network_name
from kurir_wire.limits import SUBPROTOCOL


class Echo:
    """A session that sends back what comes, and breaks at a word."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.closed = asyncio.Event()

    async def on_frame(self, data: bytes | str) -> None:
        if data == b"break":
            raise KeyError("canary-word")
        self.peer.emit([data.encode() if isinstance(data, str) else data])

    def on_close(self) -> None:
        self.closed.set()


class Bench:
    def __init__(self, *, behind_proxy: bool = False) -> None:
        self.sessions: list[Echo] = []
        self.errors: list[BaseException] = []
        self.full: list[int] = []
        self.listener = Listener(
            self.connect, self.errors.append, self.full.append, bytes(32), behind_proxy
        )
        self.port = 0

    async def connect(self, peer: Peer) -> Echo:
        self.sessions.append(Echo(peer))
        return self.sessions[-1]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        _, self.port = await self.listener.start("127.0.0.1", 0, None)
        try:
            yield
        finally:
            await self.listener.stop()

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[ClientConnection]:
        async with connect(
            f"ws://127.0.0.1:{self.port}/",
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
            proxy=None,
            additional_headers={name.replace("_", "-"): value for name, value in headers.items()},
        ) as socket:
            yield socket


async def test_a_fault_of_ours_ends_one_connection_and_says_so() -> None:
    bench = Bench()
    async with bench.running(), bench.client() as bad, bench.client() as good:
        await bad.send(b"one")
        assert await bad.recv() == b"one"
        await bad.send(b"break")
        with pytest.raises(ConnectionClosed) as closed:
            await bad.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        assert "canary-word" not in closed.value.rcvd.reason
        await asyncio.wait_for(bench.sessions[0].closed.wait(), 10)
        await good.send(b"two")
        assert await good.recv() == b"two"
    assert [type(error) for error in bench.errors] == [KeyError]


async def test_one_connection_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "MAX_CONNECTIONS", 2)
    bench = Bench()
    async with bench.running(), bench.client() as one:
        await one.send(b"1")
        await one.recv()
        with pytest.raises(InvalidStatus) as refused:
            async with bench.client(), bench.client():
                pass
        assert refused.value.response.status_code == 503
        await one.send(b"2")
        assert await one.recv() == b"2"
    assert len(bench.full) == 1


@pytest.mark.parametrize("behind_proxy", [True, False])
async def test_only_a_proxys_own_word_names_the_network(behind_proxy: bool) -> None:
    bench = Bench(behind_proxy=behind_proxy)
    here = network_name("127.0.0.1", bytes(32))
    async with bench.running():
        for header in ("192.0.2.7", "198.51.100.1, 192.0.2.7", "junk,192.0.2.7"):
            async with bench.client(X_Forwarded_For=header) as socket:
                await socket.send(b"1")
                await socket.recv()
        async with bench.client() as socket:
            await socket.send(b"1")
            await socket.recv()
    names = [session.peer.network for session in bench.sessions]
    proxied = network_name("192.0.2.7", bytes(32)) if behind_proxy else here
    assert names == [proxied] * 3 + [here]


def test_networks() -> None:
    salt = bytes(32)
    assert network_name("192.0.2.1", salt) != network_name("192.0.2.2", salt)
    assert network_name("2001:db8::1", salt) == network_name("2001:db8::ffff:1", salt)
    assert network_name("2001:db8::1", salt) != network_name("2001:db8:0:1::1", salt)
    assert network_name("::ffff:192.0.2.1", salt) == network_name("192.0.2.1", salt)
    assert network_name("fe80::1%eth0", salt) == network_name("fe80::2", salt)
    assert network_name("192.0.2.1", salt) != network_name("192.0.2.1", b"x" * 32)
    assert network_name("what", salt) == network_name("", salt)
    assert b"192" not in network_name("192.0.2.1", salt)


def test_where_it_may_listen() -> None:
    def config(host: str, *, tls: bool = False, behind_proxy: bool = False) -> Config:
        pem = Path("tls.pem") if tls else None
        return Config(Path("db"), host, 0, Path("keys"), pem, pem, behind_proxy)

    for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost"):
        config(host).check()
    for host in ("0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "relay.example", "localhost.example"):
        with pytest.raises(ConfigError, match="without TLS"):
            config(host).check()
        config(host, tls=True).check()
        config(host, behind_proxy=True).check()
