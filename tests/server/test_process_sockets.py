"""Sockets of a relay in a process of its own: what they take, and what hurts nobody else."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from kurir_wire import codes
from kurir_wire.entries import Ack
from kurir_wire.frames import Error, GetBeacon, Submit, Welcome, decode_push, encode
from kurir_wire.ids import DAY
from kurir_wire.limits import MAX_FRAME, SUBPROTOCOL
from tests.server.client import mailbox, raw, welcomed
from tests.server.process import RelayProcess, events, logged, running
from tests.server.tls import certificate


async def test_the_subprotocol_and_no_compression(relay: RelayProcess) -> None:
    for offered in (None, ["kurir.2"]):
        with pytest.raises(InvalidStatus) as refused:
            async with raw(relay.address, subprotocols=offered):
                pass
        assert refused.value.response.status_code == 400
    async with raw(
        relay.address, compression="deflate", subprotocols=["kurir.2", SUBPROTOCOL]
    ) as socket:
        assert socket.response is not None
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        assert "Server" not in socket.response.headers
        assert socket.subprotocol == SUBPROTOCOL
        first = await socket.recv()
        assert isinstance(first, bytes)
        welcome = decode_push(first)
        assert isinstance(welcome, Welcome)
        welcome.cert.verify(welcome.now)
        welcome.beacon.verify(welcome.cert.beacon_pk, welcome.cert.relay_id)


async def test_malformed_input_hurts_nobody_else(relay: RelayProcess) -> None:
    async with relay.client() as reader, relay.client() as writer:
        box = await mailbox(reader)
        assert await reader.open(box) == ["ok"]

        async def still_works() -> None:
            entry = box.write()
            assert await writer.submit(entry) == [None]
            (delivery,) = await reader.take(1)
            assert delivery.body == entry.body
            assert await reader.ack(Ack(box.id, entry.envelope_id)) == [None]

        async def closes_with(code: int, *messages: bytes | str, answers: int = 0) -> None:
            async with raw(relay.address) as socket:
                await socket.recv()
                for message in messages:
                    await socket.send(message)
                for _ in range(answers):
                    answer = await socket.recv()
                    assert isinstance(answer, bytes)
                    assert isinstance(decode_push(answer), Error)
                with pytest.raises(ConnectionClosed) as closed:
                    await asyncio.wait_for(socket.recv(), 10)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == code
            await still_works()

        await closes_with(1009, bytes(MAX_FRAME + 1))
        await closes_with(1009, "x" * (MAX_FRAME + 1))
        await closes_with(1008, *["text"] * 16, answers=16)
        await closes_with(1008, *[b"\xc1"] * 16, answers=16)
        await closes_with(1008, *[b"\x92\xa5hello\x01"] * 16, answers=16)
        async with raw(relay.address) as socket:
            await socket.recv()
            await socket.send(b"\xff", text=True)  # not UTF-8
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1007
        async with raw(relay.address) as socket:
            await socket.recv()
            await socket.send(bytes(MAX_FRAME))
            answer = await socket.recv()
            assert isinstance(answer, bytes)
            error = decode_push(answer)
            assert isinstance(error, Error)
            assert error.result.code == codes.MALFORMED
        reading, writing = await asyncio.open_connection(*relay.address.split(":"))
        writing.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        await asyncio.wait_for(reading.read(), 10)
        writing.close()
        await still_works()
    assert set(events(relay)) == {"started", "ready"}


async def test_a_client_that_vanishes(relay: RelayProcess) -> None:
    """In the middle of a submission, without a word."""
    async with relay.client() as client:
        box = await mailbox(client)
        entries = [box.write(65_536) for _ in range(15)]
        for number in range(8):
            await client.socket.send(encode(Submit(number, entries)))
        client.socket.transport.abort()
    async with relay.client() as client:
        await client.submit(*entries)
        assert await client.open(box) == ["ok"]
        assert len(await client.take(15)) == 15


async def test_tls(tmp_path: Path) -> None:
    pem, secret = certificate(tmp_path)
    with running(tmp_path, "--tls-cert", str(pem), "--tls-key", str(secret)) as relay:
        assert logged(relay)[-1]["tls"] is True
        trusting = ssl.create_default_context(cafile=str(pem))
        async with welcomed(relay.address, ssl=trusting) as client:
            box = await mailbox(client)
            assert await client.submit(box.write(65_536)) == [None]
            version = client.socket.transport.get_extra_info("ssl_object").version()
            assert version in ("TLSv1.2", "TLSv1.3")
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(f"wss://{relay.address}/", proxy=None):
                pass
        with pytest.raises((InvalidMessage, InvalidHandshake, ConnectionError, EOFError)):
            async with raw(relay.address):
                pass
        assert relay.stop() == 0
        assert events(relay) == ["started", "ready", "stopping", "stopped"]


async def test_a_thousand_requests_at_once(relay: RelayProcess) -> None:
    """Far more than may be outstanding: each gets its answer, in the end."""
    async with relay.client() as client:
        box = await mailbox(client)
        count = 1_000

        async def ask() -> None:
            for number in range(count):
                await client.send(
                    GetBeacon(number) if number % 2 else Submit(number, [box.write()])
                )

        asking = asyncio.create_task(ask())
        answered = [getattr(await client.read(), "n", None) for _ in range(count)]
        await asking
        assert sorted(answered, key=lambda n: n or 0) == list(range(count))
        assert client.now // DAY > 0
