"""The tap, on real sockets before a relay made with websockets."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from kurir_audit.canary import search
from kurir_audit.capture import CaptureWriter, Direction, Kind, Record, read_capture
from kurir_audit.controls import Controls
from kurir_audit.errors import EvidenceFileError, UsageError
from kurir_audit.ping import ping
from kurir_audit.places import gather
from kurir_audit.tap import Endpoint, Tap
from kurir_wire.limits import SUBPROTOCOL

ANY = Endpoint("127.0.0.1", 0)
KURIR = Subprotocol(SUBPROTOCOL)


async def answer(connection: ServerConnection) -> None:
    """A relay that says every message back, in capitals."""
    await connection.send(b"welcome")
    async for message in connection:
        await connection.send(message.upper())


@asynccontextmanager
async def tapped(
    out: Path, compression: str | None = None
) -> AsyncIterator[tuple[Tap, Endpoint, Endpoint]]:
    """A fake relay with a tap before it: the tap, its address, the relay's."""
    async with serve(
        answer, "127.0.0.1", 0, compression=compression, subprotocols=[KURIR]
    ) as relay:
        port = relay.sockets[0].getsockname()[1]
        with CaptureWriter(out) as writer:
            tap = Tap(Endpoint("127.0.0.1", port), writer)
            bound = await tap.start(ANY)
            try:
                yield tap, bound, Endpoint("127.0.0.1", port)
            finally:
                await tap.stop()


def joined(records: list[Record], direction: Direction, kind: Kind) -> bytes:
    return b"|".join(r.data for r in records if (r.direction, r.kind) == (direction, kind))


async def test_a_clients_words_appear_only_unmasked(tmp_path: Path) -> None:
    out = tmp_path / "capture"
    async with tapped(out) as (tap, bound, _):
        async with connect(f"ws://{bound}", compression=None, subprotocols=[KURIR]) as client:
            assert await client.recv() == b"welcome"
            await client.send(b"kopernikus travels")
            assert await client.recv() == b"KOPERNIKUS TRAVELS"
        assert tap.summary.notes == []
    records = list(read_capture(out))
    raw_in = joined(records, Direction.TO_RELAY, Kind.RAW)
    assert b"kopernikus" not in raw_in
    assert b"GET / HTTP/1.1\r\n" in raw_in
    assert b"kopernikus travels" in joined(records, Direction.TO_RELAY, Kind.PAYLOAD)
    assert b"KOPERNIKUS TRAVELS" in joined(records, Direction.TO_CLIENT, Kind.RAW)
    assert b"KOPERNIKUS TRAVELS" in joined(records, Direction.TO_CLIENT, Kind.PAYLOAD)
    assert b"HTTP/1.1 101" in joined(records, Direction.TO_CLIENT, Kind.RAW)

    found = gather(capture=out)
    outcome = search(["kopernikus"], found, None, Controls(wire=("no control",)))
    assert [leak.place for leak in outcome.leaks] == ["wire, client to relay, unmasked"]


async def test_a_ping_is_a_control_in_both_directions(tmp_path: Path) -> None:
    out = tmp_path / "capture"
    async with tapped(out) as (_, bound, _relay):
        echo = await asyncio.to_thread(ping, str(bound), "control-4711")
        assert 0 < echo.seconds < 5
    outcome = search(["kopernikus"], gather(capture=out), None, Controls(wire=("control-4711",)))
    assert outcome.exit_code == 0
    assert [control.count for control in outcome.controls] == [1, 1]
    assert search(["x"], gather(capture=out), None, Controls(wire=("other",))).exit_code == 3


async def test_large_and_many_messages_pass_unchanged(tmp_path: Path) -> None:
    out = tmp_path / "capture"
    sizes = (0, 1, 125, 126, 127, 65_535, 65_536, 700_000)
    async with tapped(out) as (tap, bound, _):

        async def talk(number: int) -> None:
            async with connect(
                f"ws://{bound}", compression=None, max_size=None, subprotocols=[KURIR]
            ) as client:
                await client.recv()
                for size in sizes:
                    await client.send(bytes([65 + number]) * size)
                    assert await client.recv() == bytes([65 + number]) * size

        await asyncio.gather(*(talk(number) for number in range(5)))
        assert tap.summary.connections == 5
        assert tap.summary.notes == []
    records = list(read_capture(out))
    for number in range(1, 6):
        sent = [
            len(r.data)
            for r in records
            if (r.connection, r.direction, r.opcode) == (number, Direction.TO_RELAY, 2)
        ]
        assert sent == list(sizes)


async def test_compressed_traffic_is_read(tmp_path: Path) -> None:
    out = tmp_path / "capture"
    async with tapped(out, compression="deflate") as (_, bound, _relay):
        client = await connect(f"ws://{bound}", subprotocols=[KURIR])
        await client.recv()
        await client.send("kopernikus " * 20)
        await client.recv()
        await client.close()
    leaks = search(["kopernikus"], gather(capture=out)).leaks
    assert "wire, client to relay, inflated" in {leak.place for leak in leaks}


async def test_what_is_no_websocket_still_passes_and_is_noted(tmp_path: Path) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    upstream = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1])
    out = tmp_path / "capture"
    with CaptureWriter(out) as writer:
        tap = Tap(upstream, writer)
        bound = await tap.start(ANY)
        reader, sink = await asyncio.open_connection(bound.host, bound.port)
        sink.write(b"\x16\x03\x01 not a websocket")
        sink.write_eof()
        assert await reader.read() == b"\x16\x03\x01 not a websocket"
        sink.close()
        await tap.stop()
    server.close()
    assert len(tap.summary.notes) == 2
    assert "perhaps it is TLS" in tap.summary.notes[0]
    found = gather(capture=out)
    assert b"not a websocket" in (found.places[0].data)
    assert search(["kopernikus"], found).exit_code == 3


async def test_a_relay_that_is_away(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        free = Endpoint("127.0.0.1", held.getsockname()[1])
    with CaptureWriter(tmp_path / "a") as writer:
        tap = Tap(free, writer)
        bound = await tap.start(ANY)
        reader, sink = await asyncio.open_connection(bound.host, bound.port)
        assert await reader.read() == b""
        sink.close()
        await tap.stop()
        assert tap.summary.refused == 1


async def test_without_a_record_nothing_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "capture"
    async with tapped(out) as (tap, bound, _):
        client = await connect(f"ws://{bound}", subprotocols=[KURIR])
        await client.recv()

        def full(*_: object) -> None:
            raise EvidenceFileError("cannot write the capture: no space left on device")

        monkeypatch.setattr(CaptureWriter, "write", full)
        await client.send(b"kopernikus")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert "no space left" in str(await tap.failed)
        monkeypatch.undo()


def test_only_loopback_is_tapped() -> None:
    for address in ("0.0.0.0:80", "192.168.1.4:80", "example.org:80", "[2001:db8::1]:1"):
        with pytest.raises(UsageError, match="not an address of this computer"):
            Endpoint.parse(address, "--listen")
    for address in ("80", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:70000", ":80"):
        with pytest.raises(UsageError, match="HOST:PORT"):
            Endpoint.parse(address, "--listen")
    assert str(Endpoint.parse("[::1]:80", "--listen")) == "[::1]:80"


def test_a_capture_is_never_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "capture"
    CaptureWriter(out).close()
    assert out.stat().st_mode & 0o777 == 0o600
    with pytest.raises(EvidenceFileError, match="there already"):
        CaptureWriter(out)


def test_a_capture_cut_short_is_read_to_its_last_record(tmp_path: Path) -> None:
    out = tmp_path / "capture"
    record = Record(1, Direction.TO_RELAY, Kind.PAYLOAD, 2, b"kopernikus" * 10)
    with CaptureWriter(out) as writer:
        writer.write(record)
        writer.write(record)
    out.write_bytes(out.read_bytes()[:-5])
    assert list(read_capture(out)) == [record]


def test_other_files_are_no_captures(tmp_path: Path) -> None:
    for data in (b"", b"\x00", b"hello", b"\x92\xadkurir-capture\x02", b"\xc1"):
        path = tmp_path / "x"
        path.write_bytes(data)
        with pytest.raises(EvidenceFileError):
            list(read_capture(path))


def test_the_process_stops_on_sigterm_with_everything_written(tmp_path: Path) -> None:
    out, ready = tmp_path / "capture", tmp_path / "ready"
    with socket.create_server(("127.0.0.1", 0)) as relay:
        relay.settimeout(10)
        port = relay.getsockname()[1]
        command = [sys.executable, "-c", "from kurir_audit.cli import main; main()", "tap"]
        command += ["--listen", "127.0.0.1:0", "--upstream", f"127.0.0.1:{port}"]
        command += ["--out", str(out), "--ready-file", str(ready)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tap:
            try:
                while not ready.exists():
                    assert tap.poll() is None
                bound = Endpoint.parse(ready.read_text().strip(), "ready")
                with socket.create_connection((bound.host, bound.port), 10) as client:
                    client.sendall(b"GET / HTTP/1.1\r\n\r\n" + b"k" * 100_000)
                    far, _ = relay.accept()
                    with far:
                        got = b""
                        while len(got) < 100_018:
                            got += far.recv(65_536)
                        # Both ends are still open when the tap is told to stop.
                        tap.send_signal(signal.SIGTERM)
                        assert tap.wait(10) == 0
                assert tap.stdout is not None
                assert tap.stdout.read().startswith("1 connections, 100,018 bytes in")
            finally:
                tap.kill()
    raw = b"".join(r.data for r in read_capture(out) if r.kind is Kind.RAW)
    assert raw == got
