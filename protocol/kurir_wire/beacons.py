"""Beacons: the relay's signed, unpredictable time stamp, one a minute, the same for everyone.

The nonce is a PRF of the relay's secret and the minute, so a relay can recompute any beacon it ever
gave out, and nobody can make one in advance.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from kurir_wire.ids import MINUTE, RelayId, u32
from kurir_wire.prekeys import U32, Bytes16, Bytes64
from kurir_wire.signing import message_to_sign, verify

BEACON_NONCE_BYTES: Final = 16


class Beacon(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The relay's word that it is this minute (unix time // 60) or later."""

    minute: U32
    nonce: Bytes16
    signature: Bytes64

    @property
    def time(self) -> int:
        """Seconds since 1970 at which the minute began; windows count from here."""
        return self.minute * MINUTE

    def verify(self, beacon_pk: bytes, relay_id: RelayId) -> None:
        """:raises SignatureError: not made by this relay"""
        verify(
            beacon_pk,
            beacon_message(relay_id, self.minute, self.nonce),
            self.signature,
            "the beacon",
        )


def beacon_message(relay_id: RelayId, minute: int, nonce: bytes) -> bytes:
    """What the relay signs once a minute."""
    return message_to_sign("beacon", relay_id, u32(minute), nonce)
