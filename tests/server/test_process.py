"""The relay as a process: start and stop, sockets, crashes, disks, the operator's commands."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import json
import resource
import secrets
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from kurir_billing.answers import open_receipt
from kurir_billing.kinds import RefusalCode
from kurir_billing.ratecard import bundled, canonical, open_rate_card, rate_card_hash
from kurir_server.limits import CARD_RATE, MAX_UNACKED
from kurir_server.log import COMMON, FIELDS, Event
from kurir_wire import codes
from kurir_wire.entries import Ack, Submission
from kurir_wire.frames import (
    Error,
    GetBeacon,
    GetCard,
    GetRateCard,
    PutCard,
    RateCardIs,
    Results,
    Submit,
    Welcome,
    decode_push,
    encode,
)
from kurir_wire.ids import DAY, HOUR
from kurir_wire.limits import MAX_FRAME, SUBPROTOCOL
from tests.server.client import Client
from tests.server.helpers import Box, Shop, Signed, receipt_of, refusal_of, until
from tests.server.process import RelayProcess, events, logged, running
from tests.server.tls import certificate


@contextlib.asynccontextmanager
async def raw(address: str, **options: Any) -> AsyncIterator[ClientConnection]:
    values: dict[str, Any] = {
        "subprotocols": [SUBPROTOCOL],
        "compression": None,
        "proxy": None,
        "max_size": MAX_FRAME,
    }
    async with connect(f"ws://{address}/", **(values | options)) as socket:
        yield socket


async def mailbox(client: Client) -> Box:
    box = Box.personal(client.relay_id, client.now)
    assert await client.create(box) == ["ok"]
    return box


async def business(relay: RelayProcess, client: Client) -> tuple[Shop, Box, bytes]:
    """A registered shop, not approved yet, and a customer's mailbox that is open here."""
    shop = Shop(client.relay_id, client.now)
    assert await client.register(shop, shop.card()) == "ok"
    box, opening = shop.customer(client.now)
    assert await client.create(box) == ["ok"]
    assert await client.open(box) == ["ok"]
    return shop, box, opening


# Start and stop


async def test_a_graceful_stop(tmp_path: Path) -> None:
    with running(tmp_path) as relay:
        host, _, port = relay.address.rpartition(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
        async with relay.client() as client:
            box = await mailbox(client)
            pending = encode(Submit(9, [box.write() for _ in range(100)]))
            await client.socket.send(pending)
            await client.read()
            code = await asyncio.to_thread(relay.stop)
            with pytest.raises(ConnectionClosed) as closed:
                await client.read()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert code == 0
        assert not relay.ready.exists()
        assert events(relay) == ["started", "ready", "stopping", "stopped"]
        assert not (tmp_path / "relay.db-wal").exists(), "the log is brought into the database"
        # What was acknowledged is there.
        relay.start()
        async with relay.client() as client:
            assert await client.open(box) == ["ok"]
            assert len(await client.take(100)) == 100
        assert relay.stop() == 0


def test_the_ready_file_of_a_crash_does_not_outlive_a_start(tmp_path: Path) -> None:
    """Whoever waits for the file must not get the address of the process that died."""
    with running(tmp_path) as relay:
        relay.kill()
        assert relay.ready.exists()
        keys = tmp_path / "relay.keys"
        keys.rename(tmp_path / "elsewhere")
        done = relay.run("serve", "--listen", "127.0.0.1:0", "--ready-file", str(relay.ready))
        assert done.returncode == 3
        assert not relay.ready.exists()


def test_what_does_not_start(tmp_path: Path) -> None:
    relay = RelayProcess(tmp_path)
    done = relay.run("serve")
    assert (done.returncode, done.stdout) == (3, "")
    relay.init()
    ready = ("--ready-file", str(relay.ready))
    for arguments, code, text in (
        (("--listen", "0.0.0.0:0"), 2, "without TLS the network"),
        (("--listen", "[::]:0"), 2, "without TLS the network"),
        (("--listen", "192.0.2.1:7474"), 2, "without TLS the network"),
        (("--listen", "7474"), 2, "HOST:PORT"),
        (("--listen", "127.0.0.1:70000"), 2, "HOST:PORT"),
        (("--tls-cert", "none.pem"), 2, "a certificate needs its key"),
        (("--tls-cert", "none.pem", "--tls-key", "none.key"), 2, "cannot use the TLS certificate"),
    ):
        done = relay.run("serve", *arguments, *ready)
        assert done.returncode == code, done.stderr
        assert text in done.stderr
        assert "Traceback" not in done.stderr
        assert not relay.ready.exists()
    assert relay.run("init").returncode == 2, "never overwrites a relay"
    (tmp_path / "relay.keys" / "prf.key").chmod(0o644)
    done = relay.run("serve", *ready)
    assert done.returncode == 3
    assert "can be read by others" in done.stderr


def test_keys_and_database_belong_together(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        RelayProcess(tmp_path / name).init()
    relay = RelayProcess(tmp_path / "one")
    done = relay.run("serve", "--keys", str(tmp_path / "two" / "relay.keys"))
    assert done.returncode == 2
    assert "another relay" in done.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with running(tmp_path) as relay:
        done = RelayProcess(tmp_path / "other").init().run("serve", "--listen", relay.address)
        assert done.returncode == 2
        assert "cannot listen on" in done.stderr
        assert relay.stop() == 0


# Sockets


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
        async with connect(
            f"wss://{relay.address}/",
            ssl=trusting,
            subprotocols=[SUBPROTOCOL],  # type: ignore[list-item]
            compression=None,
            proxy=None,
        ) as socket:
            client = Client(socket)
            welcome = await client.read()
            assert isinstance(welcome, Welcome)
            client.welcome = welcome
            box = await mailbox(client)
            assert await client.submit(box.write(65_536)) == [None]
            version = socket.transport.get_extra_info("ssl_object").version()
            assert version in ("TLSv1.2", "TLSv1.3")
        with pytest.raises(ssl.SSLCertVerificationError):
            async with connect(f"wss://{relay.address}/", proxy=None):
                pass
        with pytest.raises((InvalidMessage, InvalidHandshake, ConnectionError, EOFError)):
            async with raw(relay.address):
                pass
        assert relay.stop() == 0
        assert events(relay) == ["started", "ready", "stopping", "stopped"]


# Crashes and disks


async def test_kill_9_and_the_same_bytes_again(relay: RelayProcess) -> None:
    """All that was acknowledged is there after the crash; a retry of everything adds each other
    envelope once; receipts are the same to the byte."""
    async with relay.client() as client:
        shop, paid, opening = await business(relay, client)
        await asyncio.to_thread(relay.approve, shop)
        box = await mailbox(client)
        beacon = await client.beacon()
        entries = [box.write() for _ in range(400)]
        charges = [shop.sign(paid, opening, shop.line(is_open=False), beacon) for _ in range(20)]
        frames = [
            Submit(number, [*entries[number * 20 :][:20], charges[number].submission])
            for number in range(20)
        ]
        for frame in frames:
            await client.send(frame)
        acknowledged: dict[bytes, bytes | None] = {}
        with contextlib.suppress(ConnectionClosed):
            while True:
                reply = await client.read()
                if isinstance(reply, Results):
                    for entry, result in zip(
                        frames[reply.n].submissions, reply.results, strict=True
                    ):
                        assert result is None or result.code == "ok", result
                        acknowledged[entry.envelope_id] = result.data if result else None
                    if len(acknowledged) == 42:
                        relay.kill()
    assert len(acknowledged) >= 42
    relay.start()
    async with relay.client() as client:
        assert await client.open(box) == ["ok"]
        mine = {entry.envelope_id for entry in entries}
        survived = await client.take(min(len(mine & set(acknowledged)), MAX_UNACKED))
        order = [entry.envelope_id for entry in entries]
        assert [d.envelope_id for d in survived] == order[: len(survived)]
        for frame in frames:
            results = await client.submit(*frame.submissions)
            for entry, result in zip(frame.submissions, results, strict=True):
                assert result is None or result.code == "ok", result
                before = acknowledged.get(entry.envelope_id)
                assert before is None or (result is not None and result.data == before)
        seen, got = list(survived), survived
        while True:
            await client.ack(*(Ack(box.id, delivery.envelope_id) for delivery in got))
            if len(seen) >= 400:
                break
            got = await client.take(max(1, len(client.delivered)))
            seen += got
        assert [d.envelope_id for d in seen] == order
        assert await client.open(paid) == ["ok"]
        billed = [signed.submission.envelope_id for signed in charges]
        assert [d.envelope_id for d in await client.take(8)] == billed[:8]


async def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """Nothing is acknowledged, the relay stays up, and goes on when there is room again."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    with running(tmp_path, "--demo-clock", str(clock)) as relay:
        async with relay.client() as client, relay.client() as reader:
            box, other = await mailbox(client), await mailbox(client)
            assert await reader.open(box, other) == ["ok", "ok"]
            entries = [box.write(65_536) for _ in range(10)]
            room = resource.prlimit(relay.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, (128 * 1_024, room[1]))
            for _ in range(3):
                results = await client.submit(*entries)
                assert {r.code if r else "ok" for r in results} == {codes.UNAVAILABLE}
                assert results[0] is not None
                assert results[0].retry_after == 5
                # What needs no room works, and does not mean that there is some again.
                async with relay.client() as late:
                    late.welcome.beacon.verify(late.welcome.cert.beacon_pk, late.relay_id)
                    assert await late.open(other) == ["ok"]
                assert await reader.open(other) == ["ok"]
            await reader.nothing(0.1)
            resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, room)
            assert await client.submit(*entries) == [None] * 10
            taken = await reader.take(10)
            assert [d.envelope_id for d in taken] == [e.envelope_id for e in entries]
            clock.write_text("60")
            assert await client.submit(other.write()) == [None]
            await reader.take(1)
        assert relay.stop() == 0
        said = [event for event in events(relay) if event.startswith("disk")]
        assert said == ["disk-failed", "disk-recovered"], "each once"
        (failed,) = [line for line in logged(relay) if line["event"] == "disk-failed"]
        assert failed["error"].startswith("SQLITE_")


async def test_what_was_acknowledged_is_gone_from_all_files(tmp_path: Path) -> None:
    """Within a round of housekeeping, which the demo clock brings about."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    with running(tmp_path, "--demo-clock", str(clock)) as relay:
        async with relay.client() as client:
            box = await mailbox(client)
            assert await client.open(box) == ["ok"]
            marks = [b"canary-word-%03d." % number for number in range(20)]
            entries = [
                Submission(box.id, secrets.token_bytes(16), mark * 128, 24, box.token)
                for mark in marks
            ]
            assert await client.submit(*entries) == [None] * 20
            assert await client.results(PutCard(90, box.id, b"card-canary" * 99)) == [None]
            await client.take(20)

            def found() -> set[bytes]:
                files = [path for path in tmp_path.glob("relay.*") if path.is_file()]
                data = b"".join(path.read_bytes() for path in files)
                return {mark for mark in (*marks, b"card-canary") if mark in data}

            assert found() == {*marks, b"card-canary"}, "the search is not blind"
            for entry in entries[1:]:
                assert await client.ack(Ack(box.id, entry.envelope_id)) == [None]
            clock.write_text(str(2 * HOUR))
            await until(lambda: found() == {marks[0], b"card-canary"})
            clock.write_text(str(25 * HOUR))
            await until(lambda: found() == {b"card-canary"})
            clock.write_text(str(721 * HOUR))
            await until(lambda: not found())


# Time


async def test_the_demo_clock_is_loud_and_brings_housekeeping(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    with running(tmp_path, "--demo-clock", str(clock)) as relay:
        assert [line["level"] for line in logged(relay) if line["event"] == "demo-clock"] == [
            "warning"
        ]
        async with relay.client() as client:
            used, unused = await mailbox(client), await mailbox(client)
            start = (await client.beacon()).minute
            assert await client.open(used) == ["ok"]
            assert unused.token is not None
            clock.write_text(str(26 * HOUR))
            await until(lambda: logged(relay)[-1].get("offset") == 26 * HOUR)
            assert (await client.beacon()).minute - start in (26 * 60, 26 * 60 + 1)

            async with asyncio.timeout(15):
                while True:
                    reply = await client.ask(GetCard(client.next(), unused.id, unused.token))
                    assert isinstance(reply, Error)
                    if reply.result.code == codes.NO_MAILBOX:
                        break
                    await asyncio.sleep(0.02)
            assert await client.submit(used.write()) == [None], "the one that is open stays"


async def test_beacons_never_go_back(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text(str(5 * HOUR))
    with running(tmp_path, "--demo-clock", str(clock)) as relay:
        async with relay.client() as client:
            first = await client.beacon()
            clock.write_text("0")
            await until(lambda: "clock-behind" in events(relay))
            second = await client.beacon()
            assert second.minute >= first.minute
        relay.kill()
        relay.start()
        async with relay.client() as client:
            third = await client.beacon()
            assert third.minute >= second.minute
            assert client.now >= second.time
            assert third.nonce == second.nonce or third.minute > second.minute
        assert events(relay).count("clock-behind") == 2


# The operator


async def test_commands_while_the_relay_runs(relay: RelayProcess, tmp_path: Path) -> None:
    async with relay.client() as client:
        shop, box, opening = await business(relay, client)

        async def submit(**changes: Any) -> tuple[Signed, Any]:
            line = msgspec.structs.replace(shop.line(is_open=False), **changes)
            signed = shop.sign(box, opening, line, await client.beacon())
            (result,) = await client.submit(signed.submission)
            return signed, result

        async def command(*arguments: str) -> tuple[int, str]:
            done = await asyncio.to_thread(relay.run, *arguments)
            assert "Traceback" not in done.stderr
            return done.returncode, done.stdout + done.stderr

        _, result = await submit()
        assert refusal_of(result).code == RefusalCode.NOT_APPROVED
        code, text = await command("business", "list")
        assert code == 0
        assert "(not approved)" in text
        name = shop.id.hex()
        assert name in text
        code, text = await command(
            *("business", "approve", name, "--tier", "platform", "--legal-name", "PT Metro Bus")
        )
        assert code == 0, text
        _, result = await submit()
        receipt_of(result)
        for wrong in (
            ("business", "approve", name, "--tier", "huge", "--legal-name", "x"),
            ("business", "approve", name, "--tier", "small", "--legal-name", "a\nb"),
            (
                *("business", "approve", name, "--tier", "platform", "--legal-name", "x"),
                *("--tariff", "message-2024"),
            ),
            ("business", "approve", "00" * 32, "--tier", "small", "--legal-name", "x"),
            ("business", "approve", "nonsense", "--tier", "small", "--legal-name", "x"),
            ("business", "show", "00" * 32),
        ):
            code, text = await command(*wrong)
            assert code == 2, text

        # Prices: the version must rise.
        file = tmp_path / "card.json"
        card = bundled()
        dearer = msgspec.structs.replace(card.markets["ID"], utility=30_000)
        newer = msgspec.structs.replace(
            card, version=card.version + 1, markets=card.markets | {"ID": dearer}
        )
        for content in (b"{", msgspec.json.encode(card), b'{"version": 9}'):
            file.write_bytes(content)
            code, text = await command("ratecard", "install", str(file))
            assert code == 2, text
        file.write_bytes(msgspec.json.encode(newer))
        assert (await command("ratecard", "install", str(file)))[0] == 0
        code, text = await command("ratecard", "install", str(file))
        assert code == 2
        assert "higher version" in text
        reply = await client.ask(GetRateCard(client.next()))
        assert isinstance(reply, RateCardIs)
        _, hash_now = open_rate_card(reply.card, client.welcome.cert.operator_pk, client.relay_id)
        assert hash_now == rate_card_hash(canonical(newer))
        _, result = await submit()
        refusal = refusal_of(result)
        assert refusal.quote is not None
        assert refusal.quote.line.list_price == 30_000
        _, result = await submit(rate_card=hash_now, list_price=30_000)
        assert open_receipt(result.data).accepted_at > 0
        code, text = await command("ratecard", "show", "--json")
        assert json.loads(text)["version"] == newer.version

        code, text = await command("business", "revoke", shop.id.hex())
        assert code == 0
        _, result = await submit(rate_card=hash_now, list_price=30_000)
        assert refusal_of(result).code == RefusalCode.NOT_APPROVED
        code, text = await command("show", "--json")
        assert json.loads(text)["relay_id"]
        assert (await command("renew"))[0] == 0
    assert relay.stop() == 0
    relay.start()
    assert relay.stop() == 0


# What it logs and what it imports


async def test_the_log_holds_declared_events_and_nobodys_name(tmp_path: Path) -> None:
    file = tmp_path / "own.log"
    with running(tmp_path, "--log-file", str(file), "--log-level", "debug") as relay:
        names: list[bytes] = []
        async with relay.client() as client, raw(relay.address) as bad:
            relay_id = client.relay_id
            shop, box, opening = await business(relay, client)
            await asyncio.to_thread(relay.approve, shop)
            assert await client.prove(shop) == "ok"
            signed = shop.sign(box, opening, shop.line(is_open=False), await client.beacon())
            assert await client.submit(signed.submission)
            (delivery,) = await client.take(1)
            assert await client.ack(Ack(box.id, delivery.envelope_id, signed.secret)) == [None]
            assert [r.code if r else "ok" for r in await client.submit(box.write())] == [
                "no-mailbox"
            ]
            for _ in range(16):
                await bad.send(b"\x92\xa5hello\x01")
            names += [box.id, shop.id, shop.address.id, signed.hash, delivery.envelope_id]
            names += [client.nonce, opening, signed.secret, box.key.public, shop.root.public]
        assert relay.stop() == 0
        assert relay.log.read_bytes() == b"", "nothing beside the log"
        text = file.read_text()
        shapes = {event.value: shape for event, shape in FIELDS.items()}
        for line in text.splitlines():
            found = json.loads(line)
            shape = shapes[found["event"]]
            assert tuple(found) == (*COMMON, *shape.fields)
            assert found["level"] == shape.level.name.lower()
        assert Event.STOPPED.value in text
        assert text.count(relay_id.hex()) == 1
        for value in names:
            for spelling in (value.hex(), base64.urlsafe_b64encode(value).decode()[:12]):
                assert spelling not in text
        assert "Metro" not in text


async def test_network_addresses_are_nowhere_on_disk(tmp_path: Path) -> None:
    """Whatever a client does: served, refused for its rate, malformed, turned away."""
    ours = ("192.0.2.77", "2001:db8:7:7::77")
    with running(tmp_path, "--behind-proxy") as relay:
        for address in ours:
            header = {"X-Forwarded-For": address}
            async with raw(relay.address, additional_headers=header) as socket:
                client = Client(socket)
                welcome = await client.read()
                assert isinstance(welcome, Welcome)
                client.welcome = welcome
                box = await mailbox(client)
                await client.submit(box.write())
                for _ in range(CARD_RATE.burst):
                    assert (await client.error(GetCard(7, box.id, bytes(32)))).code == "no-mailbox"
                assert (await client.error(GetCard(7, box.id, bytes(32)))).code == "rate"
                await socket.send(b"\xc1")
                await client.read()
            with pytest.raises(InvalidHandshake):
                await connect(f"ws://{relay.address}/", additional_headers=header, proxy=None)
        assert relay.stop() == 0
    six = ipaddress.ip_address(ours[1]).packed
    for path in tmp_path.rglob("*"):
        for spelling in (*(address.encode() for address in ours), six, six[:8]):
            assert not path.is_file() or spelling not in path.read_bytes(), path


HOOK = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("kurir_crypto", "kurir_client", "kurir_audit"):
            raise ImportError(name + " is not for a relay")
sys.meta_path.insert(0, Refuse())
for name in ("kurir_crypto", "kurir_client", "kurir_audit"):
    try:
        __import__(name)
    except ImportError as error:
        assert "is not for a relay" in str(error)
    else:
        raise SystemExit("the hook is blind")
from kurir_server.cli import main
main()
"""


@pytest.fixture
def hooked(tmp_path: Path) -> Iterator[RelayProcess]:
    relay = RelayProcess(tmp_path).init()
    relay.prefix = (sys.executable, "-c", HOOK)
    relay.start()
    yield relay
    if relay.process is not None and relay.process.poll() is None:
        relay.kill()


async def test_the_relay_runs_without_any_code_that_could_decrypt(hooked: RelayProcess) -> None:
    async with hooked.client() as client:
        shop, box, opening = await business(hooked, client)
        await asyncio.to_thread(hooked.approve, shop)
        assert await client.prove(shop) == "ok"
        beacon = await client.beacon()
        grant = box.grant(shop.id, beacon)
        signed = shop.sign(box, opening, shop.line(is_open=True), beacon, grant)
        receipt_of((await client.submit(signed.submission))[0])
        (delivery,) = await client.take(1)
        assert await client.ack(Ack(box.id, delivery.envelope_id, signed.secret)) == [None]
        personal = await mailbox(client)
        assert await client.submit(personal.write()) == [None]
    assert hooked.stop() == 0
    assert events(hooked) == ["started", "ready", "stopping", "stopped"]


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


async def test_a_second_relay_on_the_database_refuses_and_harms_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as relay:
        ready = str(relay.ready)
        done = relay.run("serve", "--listen", "127.0.0.1:0", "--ready-file", ready)
        assert (done.returncode, done.stdout) == (2, "")
        assert "another relay serves" in done.stderr
        async with relay.client() as client:
            assert client.welcome.version == 1
        assert relay.run("business", "list").returncode == 0
        relay.kill()
        relay.start()
