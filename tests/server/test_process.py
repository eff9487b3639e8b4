"""The relay as a process: start and stop, crashes, disks, time, the operator's commands."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import secrets
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.exceptions import ConnectionClosed

from kurir_billing.answers import open_receipt
from kurir_billing.kinds import RefusalCode
from kurir_billing.ratecard import bundled, open_rate_card
from kurir_server.limits import MAX_UNACKED
from kurir_wire import codes
from kurir_wire.entries import Ack, Submission
from kurir_wire.frames import (
    Error,
    GetCard,
    GetRateCard,
    PutCard,
    RateCardIs,
    Results,
    Submit,
    encode,
)
from kurir_wire.ids import DAY, HOUR
from tests.server.client import business, mailbox
from tests.server.helpers import Signed, receipt_of, refusal_of, until
from tests.server.process import RelayProcess, events, logged, running

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
        (("--tls-cert", "none.pem", "--tls-key", "none.key"), 2, "cannot read none.pem"),
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
        assert "hint: end what listens there, or give another --listen" in done.stderr
        assert relay.stop() == 0


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


# Crashes and disks


async def test_kill_9_and_the_same_bytes_again(relay: RelayProcess) -> None:
    """All that was acknowledged is there after the crash; a retry of everything adds each other
    envelope once; receipts are the same, but for a second that the new process does not know."""
    async with relay.client() as client:
        shop, paid, opening = await business(client)
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
                if before is not None:
                    receipt, told = receipt_of(result), open_receipt(before)
                    assert receipt.accepted_at == told.accepted_at // HOUR * HOUR
                    assert (receipt.charge, receipt.earned) == (told.charge, told.earned)
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
        shop, box, opening = await business(client)

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

        # Prices: the version must rise, and their time be still to come.
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
        code, text = await command("ratecard", "install", str(file))
        assert code == 2
        assert "prices cannot change for the past" in text
        assert "effective_from that is still to come, or say --now" in text
        assert (await command("ratecard", "install", "--now", str(file)))[0] == 0
        code, text = await command("ratecard", "install", "--now", str(file))
        assert code == 2
        assert "higher version" in text
        coming = msgspec.structs.replace(
            newer, version=newer.version + 1, effective_from=int(time.time()) + DAY
        )
        file.write_bytes(msgspec.json.encode(coming))
        assert (await command("ratecard", "install", str(file)))[0] == 0
        reply = await client.ask(GetRateCard(client.next()))
        assert isinstance(reply, RateCardIs)
        installed, hash_now = open_rate_card(
            reply.card, client.welcome.cert.operator_pk, client.relay_id
        )
        assert installed == msgspec.structs.replace(newer, effective_from=installed.effective_from)
        assert abs(installed.effective_from - time.time()) < DAY
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
