"""What a relay in a process of its own leaves in its log and on disk, and what it never imports."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidHandshake

from kurir_server.limits import CARD_RATE
from kurir_server.log import COMMON, FIELDS, Event
from kurir_wire.entries import Ack
from kurir_wire.frames import GetCard, Welcome
from tests.server.client import Client, business, mailbox, raw
from tests.server.helpers import receipt_of
from tests.server.process import RelayProcess, events, running


async def test_the_log_holds_declared_events_and_nobodys_name(tmp_path: Path) -> None:
    file = tmp_path / "own.log"
    with running(tmp_path, "--log-file", str(file), "--log-level", "debug") as relay:
        names: list[bytes] = []
        async with relay.client() as client, raw(relay.address) as bad:
            relay_id = client.relay_id
            shop, box, opening = await business(client)
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
        shop, box, opening = await business(client)
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
