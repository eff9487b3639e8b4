"""Metrics and health: what is counted is what happened, nobody is named, and 503 says why."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import resource
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from socket import create_connection, create_server
from typing import get_args

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from kurir_billing.kinds import RefusalCode
from kurir_server.errors import ConfigError
from kurir_server.health import HOUSE_SECONDS, MIN_FREE, STUCK_SECONDS, Facts, Health
from kurir_server.log import Event
from kurir_server.metrics import FAMILIES, UNKNOWN, Kind
from kurir_server.monitor import Monitor
from kurir_wire import codes
from kurir_wire.entries import Ack
from kurir_wire.frames import Request, Submit, encode
from kurir_wire.limits import CHUNK_BYTES
from tests.server import blob_client
from tests.server.blob_client import Attachment
from tests.server.certificates import tls_files
from tests.server.helpers import Box, Shop, Signed, receipt_of, refusal_of, until
from tests.server.process import RelayProcess, events, logged, running

METRICS = ("--metrics", "0")
MIB = 1_048_576


def ask(relay: RelayProcess, path: str) -> tuple[int, str]:
    line = [line for line in logged(relay) if line["event"] == "metrics"][-1]
    return fetch(line["listen"], path)


def fetch(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def samples(text: str) -> dict[str, float]:
    """By name and labels, as Prometheus writes them."""
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): (
            sample.value
        )
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_what_happened_is_what_is_counted(tmp_path: Path) -> None:
    with running(tmp_path, *METRICS) as relay:
        async with relay.client() as client, relay.client() as reader:
            shop = Shop(client.relay_id, client.now)
            assert await client.register(shop, shop.card()) == "ok"
            paid, opening = shop.customer(client.now)
            box = Box.personal(client.relay_id, client.now)
            assert await reader.create(paid, box) == ["ok", "ok"]
            assert await reader.open(paid, box) == ["ok", "ok"]
            line = shop.line(is_open=False)
            early = shop.sign(paid, opening, line, await client.beacon())
            refusal_of((await client.submit(early.submission))[0])
            await asyncio.to_thread(relay.approve, shop)
            signed = [shop.sign(paid, opening, line, await client.beacon()) for _ in range(2)]
            for charge in signed:
                receipt_of((await client.submit(charge.submission))[0])
                receipt_of((await client.submit(charge.submission))[0])
            wrong = replace(box, token=bytes(32))
            results = await client.submit(box.write(), box.write(), box.write(), wrong.write())
            assert [r.code if r else "ok" for r in results] == ["ok"] * 3 + [codes.NO_MAILBOX]
            taken = await reader.take(5)
            acks = [Ack(d.mailbox_id, d.envelope_id, _secret(signed, d.envelope_id)) for d in taken]
            assert await reader.ack(*acks[:4]) == [None] * 4
            await client.socket.send(b"\x92\xa5hello\x01")
            await client.read()
            async with relay.client() as third:
                status, text = ask(relay, "/metrics")
                assert third.n == 0
        assert status == 200
        found = samples(text)
        expected = {
            "kurir_connections": 3,
            "kurir_connections_refused_total": 0,
            "kurir_envelopes_accepted_total": 5,
            "kurir_envelopes_delivered_total": 5,
            "kurir_acknowledgements_total": 4,
            "kurir_charges_accepted_total": 2,
            "kurir_charges_refused_total code=not_approved": 1,
            "kurir_charges_refused_total code=pair_rate": 0,
            "kurir_answers_total code=ok frame=submit": 4 + 3,
            "kurir_answers_total code=no-mailbox frame=submit": 1,
            "kurir_answers_total code=refused frame=submit": 1,
            "kurir_answers_total code=ok frame=create": 2,
            "kurir_answers_total code=ok frame=open": 2,
            "kurir_answers_total code=ok frame=ack": 4,
            "kurir_answers_total code=ok frame=beacon": 3,
            "kurir_answers_total code=unsupported frame=unknown": 1,
            "kurir_ready": 1,
            "kurir_housekeeping_rounds_total result=failed": 0,
            "kurir_ledger_overdue_days": 0,
            "kurir_clock_behind_seconds": 0,
            "kurir_log_events_total event=ready": 1,
        }
        assert {name: found.get(name) for name in expected} == expected
        assert found["kurir_batch_requests_count"] == found["kurir_commit_seconds_count"] >= 15
        assert found["kurir_database_bytes"] >= 4_096
        assert found["kurir_certificate_left_seconds"] > 364 * 86_400
        assert found["process_resident_memory_bytes"] > 10_000_000
        assert "kurir_tls_certificate_end_timestamp_seconds" not in found
        assert relay.stop() == 0


def _secret(signed: list[Signed], envelope_id: bytes) -> bytes | None:
    for charge in signed:
        if charge.submission.envelope_id == envelope_id:
            return charge.secret
    return None


async def test_nobody_is_named(tmp_path: Path) -> None:
    """Every family is declared, labels have values of closed sets, and no id of anybody is there in
    any spelling."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    with running(tmp_path, *METRICS, "--demo-clock", str(clock)) as relay:
        async with relay.client() as client:
            shop = Shop(client.relay_id, client.now)
            assert await client.register(shop, shop.card()) == "ok"
            await asyncio.to_thread(relay.approve, shop)
            paid, opening = shop.customer(client.now)
            assert await client.create(paid) == ["ok"]
            assert await client.open(paid) == ["ok"]
            assert await client.prove(shop) == "ok"
            signed = shop.sign(paid, opening, shop.line(is_open=False), await client.beacon())
            receipt_of((await client.submit(signed.submission))[0])
            (got,) = await client.take(1)
            assert await client.ack(Ack(paid.id, got.envelope_id, signed.secret)) == [None]
            clock.write_text("86400")
            await until(
                lambda: (
                    "kurir_ledger_closed_timestamp_seconds" in samples(ask(relay, "/metrics")[1])
                )
            )
            _, text = ask(relay, "/metrics")
            ids = [paid.id, shop.id, shop.address.id, signed.hash, got.envelope_id, client.nonce]
        assert samples(text)["kurir_charges_settled_total"] == 1
        for secret in (*ids, shop.root.public, shop.lane_key.public, relay_id(relay)):
            for spelling in (secret.hex(), base64.urlsafe_b64encode(secret).decode()[:12]):
                assert spelling not in text
        for word in ("Metro", "127.0.0.1", str(tmp_path)):
            assert word not in text
        frames = {str(kind.__struct_config__.tag) for kind in get_args(Request)} | {UNKNOWN}
        code_names = {value for name, value in vars(codes).items() if name.isupper()}
        allowed: dict[str, set[str]] = {
            "frame": frames,
            "code": code_names | {code.name.lower() for code in RefusalCode},
            "event": {event.value for event in Event},
            "result": {"done", "failed"},
        }
        for family in text_string_to_metric_families(text):
            if family.name.startswith("process_"):
                assert not any(sample.labels for sample in family.samples)
                continue
            name = family.name.removesuffix("_info")
            declared = FAMILIES[name]
            kind = "gauge" if declared.kind is Kind.INFO else declared.kind.value
            assert (family.type, family.documentation) == (kind, declared.about)
            for sample in family.samples:
                labels = {k: v for k, v in sample.labels.items() if k != "le"}
                assert set(labels) == set(declared.labels)
                for label, value in labels.items():
                    if label == "version":
                        assert re.fullmatch(r"[0-9.]+\S*", value)
                    else:
                        assert value in allowed[label]
        names = {f.name.removesuffix("_info") for f in text_string_to_metric_families(text)}
        assert set(FAMILIES) - names == {"kurir_tls_certificate_end_timestamp_seconds"}


def relay_id(relay: RelayProcess) -> bytes:
    (line,) = [line for line in logged(relay) if line["event"] == "started"]
    return bytes.fromhex(line["relay"])


async def test_the_room_of_attachments(tmp_path: Path) -> None:
    """Known from the start, followed each minute, and in steps that hide one attachment's size."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    options = (*METRICS, "--demo-clock", str(clock), "--blob-reserve", "0")
    with running(tmp_path, *options, "--blob-quota", "100MiB") as relay:

        def held() -> float:
            return samples(ask(relay, "/metrics")[1])["kurir_blobs_held_bytes"]

        assert held() == 0
        found = samples(ask(relay, "/metrics")[1])
        assert found["kurir_blobs_quota_bytes"] == 100 * MIB
        assert found["kurir_blobs_queue_chunks"] == 0
        async with relay.client() as client:
            chunk = CHUNK_BYTES
            for size in (47 * MIB + 15 * chunk, chunk):
                await blob_client.create(client.ask, Attachment(client.relay_id, size // chunk))
        clock.write_text("600")
        await until(lambda: held() == 48 * MIB)
        assert relay.stop() == 0
        relay.start()
        await until(lambda: held() == 48 * MIB)
        async with relay.client() as client:
            await blob_client.create(client.ask, Attachment(client.relay_id, 15 * MIB // chunk))
        rounds = "kurir_housekeeping_rounds_total result=done"
        clock.write_text("1200")
        await until(lambda: samples(ask(relay, "/metrics")[1])[rounds] >= 1)
        assert held() == 48 * MIB, "what is less than a step more does not show"
        assert relay.stop() == 0
        (tmp_path / "relay.blobs").unlink()
        relay.options = (*METRICS, "--blob-quota", "0")
        relay.start()
        assert not any(
            name.startswith("kurir_blobs") for name in samples(ask(relay, "/metrics")[1])
        )


async def test_the_end_of_the_tls_certificate(tmp_path: Path) -> None:
    pem, secret = tls_files(tmp_path, days=30)
    with running(tmp_path, *METRICS, "--tls-cert", str(pem), "--tls-key", str(secret)) as relay:
        name = "kurir_tls_certificate_end_timestamp_seconds"
        first = samples(ask(relay, "/metrics")[1])[name]
        tls_files(tmp_path, days=40)
        os.kill(relay.pid, signal.SIGHUP)
        await until(lambda: events(relay).count("reloaded") == 3)
        assert samples(ask(relay, "/metrics")[1])[name] - first == pytest.approx(864_000, abs=120)


async def test_ready_and_not(tmp_path: Path) -> None:
    """A full disk: not ready with the reason, alive all the same, ready when there is room."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    with running(tmp_path, *METRICS, "--demo-clock", str(clock)) as relay:
        assert ask(relay, "/healthz") == ask(relay, "/readyz") == (200, "ok\n")
        assert ask(relay, "/")[0] == 404
        async with relay.client() as client:
            box = Box.personal(client.relay_id, client.now)
            assert await client.create(box) == ["ok"]
            room = resource.prlimit(relay.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, (64 * 1_024, room[1]))
            await client.socket.send(encode(Submit(99, [box.write(65_536) for _ in range(10)])))
            await client.read()
            await until(lambda: ask(relay, "/readyz")[0] == 503)
            assert ask(relay, "/readyz")[1] == "the database cannot be written\n"
            assert ask(relay, "/healthz")[0] == 200
            resource.prlimit(relay.pid, resource.RLIMIT_FSIZE, room)
            assert await client.submit(box.write()) == [None]
            await until(lambda: ask(relay, "/readyz")[0] == 200)
        await until(lambda: "ready-again" in events(relay))
        (line,) = [line for line in logged(relay) if line["event"] == "unready"]
        assert line["reason"] == "the database cannot be written"
        # The clock goes back.
        clock.write_text("-3600")
        await until(lambda: "clock is" in ask(relay, "/readyz")[1])
        clock.write_text("0")
        await until(lambda: ask(relay, "/readyz")[0] == 200)
        assert relay.stop() == 0


def test_a_relay_that_stands_still_says_so(tmp_path: Path) -> None:
    """From a thread of its own; the rules say after how long, here the thread alone is tested."""
    health = Health(turned=100, tidied=100)
    tick = 100.0
    monitor = Monitor(0, CollectorRegistry(), health, lambda: tick)
    try:
        assert fetch(monitor.address, "/healthz") == (200, "ok\n")
        tick += STUCK_SECONDS
        status, text = fetch(monitor.address, "/healthz")
        assert (status, text) == (503, f"the event loop has stood still for {STUCK_SECONDS} s\n")
        # One who says nothing, and one who goes away, hold nobody up.
        host, _, port = monitor.address.rpartition(":")
        with create_connection((host, int(port))) as silent:
            create_connection((host, int(port))).close()
            assert fetch(monitor.address, "/healthz")[0] == 503
            silent.close()
    finally:
        monitor.stop()
    with pytest.raises(urllib.error.URLError):
        fetch(monitor.address, "/healthz")


def test_only_on_loopback_and_a_port_that_is_taken(tmp_path: Path) -> None:
    with closing(create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot serve metrics on 127.0.0.1:{port}"):
            Monitor(port, CollectorRegistry(), Health(0, 0), lambda: 0)
        relay = RelayProcess(tmp_path).init()
        done = relay.run("serve", "--listen", "127.0.0.1:0", "--metrics", str(port))
        assert done.returncode == 2
        assert "cannot serve metrics" in done.stderr
        assert "Traceback" not in done.stderr
    with running_again(relay, "--behind-proxy", *METRICS):
        (line,) = [line for line in logged(relay) if line["event"] == "metrics"]
        assert line["listen"].startswith("127.0.0.1:")


@contextmanager
def running_again(relay: RelayProcess, *options: str) -> Iterator[None]:
    relay.options = options
    relay.start()
    try:
        yield
    finally:
        relay.kill()


SOUND = Health(
    turned=1_000,
    tidied=1_000,
    is_serving=True,
    certificate_left=1,
    facts=Facts(True, 0, None, None),
)


@pytest.mark.parametrize(
    ("change", "tick", "text"),
    [
        ({}, 1_000 + STUCK_SECONDS - 1, None),
        ({}, 1_000 + STUCK_SECONDS, "has stood still"),
        ({"turned": 2_000}, 1_000 + HOUSE_SECONDS - 1, None),
        ({"turned": 2_000}, 1_000 + HOUSE_SECONDS, "housekeeping has not ended for 900 s"),
        ({"is_serving": False}, 1_000, "starting or stopping"),
        ({"is_failing": True}, 1_000, "cannot be written"),
        ({"free": MIN_FREE}, 1_000, None),
        ({"free": MIN_FREE - 1}, 1_000, "less than 64 MiB"),
        ({"behind": 300}, 1_000, None),
        ({"behind": 301}, 1_000, "301 s behind"),
        ({"certificate_left": 0}, 1_000, "certificate of the relay's keys has ended"),
        ({"facts": Facts(False, 0, None, None)}, 1_000, "no rate card"),
        ({"facts": None}, 1_000, None),
    ],
)
def test_when_a_relay_is_ready(change: dict[str, object], tick: float, text: str | None) -> None:
    health = replace(SOUND, **change)  # type: ignore[arg-type]
    reasons = health.unready(tick)
    if text is None:
        assert reasons == []
    else:
        assert len(reasons) == 1
        assert text in reasons[0]
