"""The listener alone: faults of ours, a proxy in front, and networks without their address."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from kurir_server.config import Config
from kurir_server.errors import ConfigError
from kurir_server.listener import network_name
from tests.server.sockets import Bench


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
