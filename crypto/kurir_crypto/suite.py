"""Suite ids: which primitives and layouts a message or session uses.

One byte travels with each message and each stored session and goes into every key derivation, so
that parts can be replaced and two suites never share a key. Suite 1 is X25519, Ed25519,
ML-KEM-1024 (handshake), SHA-256 (HKDF, HMAC), AES-256-GCM, and the Double Ratchet alone. A suite
with the post-quantum ratchet gets an id of its own.
"""

from __future__ import annotations

from typing import Final

from kurir_crypto.errors import UnknownSuiteError

SUITE_CLASSIC_RATCHET: Final = 1
"""PQXDH, then the Double Ratchet."""
CURRENT_SUITE: Final = SUITE_CLASSIC_RATCHET
SUITES: Final = frozenset({SUITE_CLASSIC_RATCHET})


def check_suite(suite: int) -> None:
    """:raises UnknownSuiteError: this version does not have it"""
    if suite not in SUITES:
        raise UnknownSuiteError(f"suite {suite} is not known here; update kurir")
