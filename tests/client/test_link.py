"""Connecting: what passes by itself is told from what does not."""

from __future__ import annotations

import asyncio
import datetime
import gc
import ssl
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, InvalidMessage, InvalidStatus
from websockets.http11 import Response

from kurir_client.errors import OfflineError, UsageError
from kurir_client.link import Link, _trust, _will_pass
from kurir_wire.beacons import Beacon
from kurir_wire.frames import BeaconIs, GetBeacon


@pytest.mark.parametrize(
    ("status", "passes"), [(502, True), (503, True), (429, True), (404, False)]
)
def test_a_proxy_before_a_restarting_relay_is_waited_for(status: int, passes: bool) -> None:
    assert _will_pass(InvalidStatus(Response(status, "", Headers()))) is passes


def test_a_relay_killed_in_the_handshake_is_waited_for() -> None:
    cut = InvalidMessage("did not receive a valid HTTP response")
    assert not _will_pass(cut)
    cut.__cause__ = EOFError()
    assert _will_pass(cut)


@pytest.mark.parametrize("content", [None, "", "not a certificate"])
def test_a_useless_ca_file_is_told(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match=r"ca\.pem"):
        _trust(str(file))


def test_a_ca_file_comes_on_top_of_the_systems(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(own_authority())
    system = ssl.create_default_context().cert_store_stats()["x509_ca"]
    assert _trust(str(file)).cert_store_stats()["x509_ca"] == system + 1


def own_authority() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


async def test_a_request_that_nobody_answers_leaves_no_complaint() -> None:
    """The connection ends while the request is still being sent: one error, told once."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    class Socket:
        async def send(self, data: bytes) -> None:
            for future in link._waiting.values():
                future.set_exception(OfflineError("the connection to the relay was cut"))
            raise ConnectionClosedError(None, None)

    link = Link.__new__(Link)
    link._socket = cast("Any", Socket())
    link._waiting, link._next, link._closed = {}, 1, asyncio.Event()
    with pytest.raises(OfflineError):
        await link.request(GetBeacon, BeaconIs)
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
    assert link._waiting == {}


async def test_a_connection_that_has_ended_has_no_beacon_to_seal_with() -> None:
    link = Link.__new__(Link)
    link.beacon = Beacon(0, bytes(16), bytes(64))
    link._closed = asyncio.Event()
    assert await link.fresh_beacon(link.beacon.time) is link.beacon
    link._closed.set()
    with pytest.raises(OfflineError):
        await link.fresh_beacon(link.beacon.time)
