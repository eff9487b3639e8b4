"""Connecting: what passes by itself is told from what does not."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from websockets.datastructures import Headers
from websockets.exceptions import InvalidMessage, InvalidStatus
from websockets.http11 import Response

from kurir_client.errors import UsageError
from kurir_client.link import _trust, _will_pass


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
