"""Gates: what opens a mailbox for writing. The relay stores only the hash.

Three kinds, told apart by what a writer shows, not by a stored flag: a secret send token; "business
B pays, market M"; or nothing, for the public address of a business.
"""

from __future__ import annotations

import hmac
from typing import Final

from kurir_wire.errors import MalformedError
from kurir_wire.ids import BusinessId, Hash, digest

MARKET_BYTES: Final = 8
TARIFF_BYTES: Final = 24

OPEN_GATE: Final = digest("gate-open")
"""The gate of an address: anybody may write. Only a registered business gets one."""


def padded(text: str, width: int, what: str) -> bytes:
    """ASCII text as a fixed-width field, padded with zero bytes.

    :raises MalformedError: empty, too long, or other than printable ASCII
    """
    if not text or not text.isascii() or not text.isprintable() or len(text) > width:
        raise MalformedError(f"{what} is 1 to {width} printable ASCII characters")
    return text.encode("ascii").ljust(width, b"\0")


def token_gate(token: bytes) -> Hash:
    """The gate that a 32-byte send token opens."""
    return digest("gate-token", token)


def payer_gate(business_id: BusinessId, market: str, opening: bytes) -> Hash:
    """The gate "this business pays, this market". ``opening`` is 32 random bytes that customer and
    business know, so that the stored hash does not name the business."""
    return digest("gate-payer", business_id, padded(market, MARKET_BYTES, "a market"), opening)


def opens(gate: Hash, candidate: Hash) -> bool:
    """Whether what was shown is what the gate asks for, in constant time."""
    return hmac.compare_digest(gate, candidate)
