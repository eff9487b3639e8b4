"""The safety number: sixty digits that two people compare to know that nobody stands between them.

As Signal's numeric fingerprints do: 5,200 rounds of SHA-512 over a person's public keys give
thirty digits, the two halves stand in ascending order, so both devices show the same. Here both
keys of an identity count, the one that signs and the one that agrees. The rounds make each try of a
search for a second key with the same thirty digits (100 bits) that much more costly.
"""

from __future__ import annotations

import hashlib
from typing import Final

from kurir_wire.ids import domain
from kurir_wire.prekeys import IdentityPublic

ROUNDS: Final = 5_200
DIGITS: Final = 60
GROUP: Final = 5
GROUPS_PER_ROW: Final = 4
QR_PREFIX: Final = "KURIR-SAFETY-1:"
"""Capitals, digits, - and : fit the compact alphanumeric mode of QR codes."""

_CHUNK_BYTES: Final = 5
_CHUNKS: Final = 6


def safety_number(own: IdentityPublic, peer: IdentityPublic) -> str:
    """Sixty digits; the same whichever side is ``own``. Takes about 10 ms."""
    return "".join(sorted((_half(own), _half(peer))))


def format_groups(number: str) -> str:
    """Twelve groups of five digits, four in a row, three rows: what a person reads out.

    :raises ValueError: not sixty digits
    """
    _check(number)
    groups = [number[at : at + GROUP] for at in range(0, DIGITS, GROUP)]
    rows = [groups[at : at + GROUPS_PER_ROW] for at in range(0, len(groups), GROUPS_PER_ROW)]
    return "\n".join(" ".join(row) for row in rows)


def qr_text(number: str) -> str:
    """What the QR code holds: a prefix and the digits.

    :raises ValueError: not sixty digits
    """
    _check(number)
    return QR_PREFIX + number


def matches(number: str, shown: str) -> bool:
    """Whether what was scanned or typed is this number: a QR text, or digits, spaces or not."""
    digits = "".join(shown.split()).removeprefix(QR_PREFIX)
    return digits == number  # public


def _check(number: str) -> None:
    if len(number) != DIGITS or not (number.isascii() and number.isdigit()):
        raise ValueError("a safety number has sixty digits")


def _half(identity: IdentityPublic) -> str:
    keys = identity.sign_pk + identity.dh_pk
    state = hashlib.sha512(domain("safety") + keys).digest()
    for _ in range(ROUNDS - 1):
        state = hashlib.sha512(state + keys).digest()
    chunks = (state[at : at + _CHUNK_BYTES] for at in range(0, _CHUNK_BYTES * _CHUNKS, 5))
    return "".join(f"{int.from_bytes(chunk, 'big') % 100_000:05}" for chunk in chunks)
