"""Keys of one's own and those of others have types of their own: mypy refuses to mix them up.

Each snippet stands alone in one file, a function each; mypy runs once over all of them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

HEAD = """
from kurir_crypto.curve import (
    CurveSecret, OwnCurvePublic, PeerCurvePublic, agree, check_x25519_public, generate_x25519,
    public_x25519,
)
from kurir_crypto.kem import KemSeed, check_768_public, decapsulate_768, encapsulate_768
from kurir_crypto.kem import generate_768
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey
from kurir_crypto.ratchet import DoubleRatchet
"""

WRONG = {
    "own public as the peer's": """
        secret, public = generate_x25519()
        agree(secret, public)
    """,
    "unchecked bytes as the peer's public": """
        secret, _ = generate_x25519()
        agree(secret, received)
    """,
    "unchecked bytes as a secret": """
        agree(received, check_x25519_public(received))
    """,
    "secret and public the wrong way round": """
        secret, _ = generate_x25519()
        agree(check_x25519_public(received), secret)
    """,
    "secret as a public": """
        secret, _ = generate_x25519()
        agree(secret, secret)
    """,
    "secret returned as a public": """
        public: OwnCurvePublic = generate_x25519()[0]
    """,
    "public of a public": """
        _, public = generate_x25519()
        public_x25519(public)
    """,
    "peer's public as one's own": """
        secret, _ = generate_x25519()
        DoubleRatchet.start_responder(b"", secret, check_x25519_public(received))
    """,
    "own prekey as the peer's": """
        DoubleRatchet.start_initiator(b"", prekey.own_public)
    """,
    "unchecked prekey as the peer's": """
        DoubleRatchet.start_initiator(b"", prekey.public.public)
    """,
    "identity with an unchecked key": """
        identity.agree(received)
    """,
    "identity with its own key": """
        identity.agree(prekey.own_public)
    """,
    "unchecked bytes to encapsulate to": """
        encapsulate_768(received)
    """,
    "own KEM key to encapsulate to": """
        _, public = generate_768()
        encapsulate_768(public)
    """,
    "KEM seed to encapsulate to": """
        seed, _ = generate_768()
        encapsulate_768(seed)
    """,
    "unchecked bytes as a KEM seed": """
        decapsulate_768(received, received)
    """,
    "curve secret as a KEM seed": """
        secret, _ = generate_x25519()
        decapsulate_768(secret, received)
    """,
    "peer's curve key as a KEM key": """
        encapsulate_768(check_x25519_public(received))
    """,
}

RIGHT = {
    "agreement": """
        secret, public = generate_x25519()
        shared: bytes = agree(secret, check_x25519_public(received))
        again: bytes = identity.agree(check_x25519_public(public))
    """,
    "encapsulation": """
        shared, ciphertext = encapsulate_768(check_768_public(received))
        seed, public = generate_768()
        other: bytes = decapsulate_768(seed, ciphertext)
    """,
    "ratchets": """
        DoubleRatchet.start_initiator(b"", check_x25519_public(prekey.public.public))
        DoubleRatchet.start_responder(b"", prekey.secret, prekey.own_public)
    """,
    "all of them are bytes": """
        secret, public = generate_x25519()
        seed, _ = generate_768()
        joined: bytes = secret + public + seed + check_x25519_public(received)
    """,
}

SIGNATURE = "(received: bytes, identity: IdentityKeyPair, prekey: OwnEcPreKey) -> None:"


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What mypy says of each snippet."""
    folder = tmp_path_factory.mktemp("types")
    lines, owner = HEAD.splitlines(), {}
    for number, (name, body) in enumerate([*WRONG.items(), *RIGHT.items()]):
        for line in (f"def snippet_{number}{SIGNATURE}", *body.splitlines()):
            lines.append(line[4:] if line.startswith("        ") else line.strip())
            owner[len(lines)] = name
    file = folder / "snippets.py"
    file.write_text("\n".join(lines) + "\n")
    root = Path(__file__).parents[2]
    output, problems, status = api.run(
        [
            "--strict",
            "--no-error-summary",
            "--cache-dir",
            str(root / ".mypy_cache"),
            "--config-file",
            str(root / "pyproject.toml"),
            str(file),
        ]
    )
    assert not problems
    assert status == 1
    found: dict[str, list[str]] = {name: [] for name in (*WRONG, *RIGHT)}
    for line in output.splitlines():
        match = re.match(r".*snippets\.py:(\d+): error: (.*)", line)
        if match:
            found[owner[int(match[1])]].append(match[2])
    return found


@pytest.mark.parametrize("name", WRONG)
def test_misuse_is_refused(refused: dict[str, list[str]], name: str) -> None:
    assert refused[name]
    assert all("arg-type" in text or "assignment" in text for text in refused[name])


@pytest.mark.parametrize("name", RIGHT)
def test_right_use_is_accepted(refused: dict[str, list[str]], name: str) -> None:
    assert refused[name] == []
