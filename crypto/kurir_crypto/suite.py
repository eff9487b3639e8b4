"""Suite ids: which primitives and layouts a message or session uses.

One byte travels with each message and each stored session and goes into every key derivation, so
that parts can be replaced and two suites never share a key. Suite 2 is X25519, Ed25519,
ML-KEM-1024 (handshake), ML-KEM-768 (ratchet), SHA-256 (HKDF, HMAC), AES-256-GCM. Suite 1 had no
post-quantum ratchet; it was never in use.
"""

from __future__ import annotations

from typing import Final

from kurir_crypto.errors import UnknownSuiteError

SUITE_TRIPLE_RATCHET: Final = 2
"""PQXDH, then the Triple Ratchet."""
CURRENT_SUITE: Final = SUITE_TRIPLE_RATCHET
SUITES: Final = frozenset({SUITE_TRIPLE_RATCHET})


def check_suite(suite: int) -> None:
    """:raises UnknownSuiteError: this version does not have it"""
    if suite not in SUITES:
        raise UnknownSuiteError(f"suite {suite} is not known here; update kurir")
