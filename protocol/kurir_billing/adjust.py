"""Adjustments: the operator's signed re-rating of a settled charge, after a report that it upheld.

An entry of the ledger is never edited; this is another entry. Source: docs/protocol.md,
"Reports and adjustments".
"""

from __future__ import annotations

from msgspec import Struct

from kurir_wire.ids import Hash, RelayId, digest, u8, u32, u64
from kurir_wire.prekeys import U8, U32, U63, Bytes32, Bytes64
from kurir_wire.signing import message_to_sign, verify


class Adjust(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """ "The charge of this leaf was of ``category``, and ``delta`` micro-USD more are due."

    ``leaf``: the hash of the leaf. ``day`` (unix time // 86400): when the operator decided; the
    adjustment belongs to that day's month. ``report``: the hash of the report that proves it.
    """

    business_id: Bytes32
    leaf: Bytes32
    day: U32
    category: U8
    delta_micro_usd: U63
    report: Bytes32
    signature: Bytes64

    def hash(self, relay_id: RelayId) -> Hash:
        """``H(adjust)``: what stands in the tree."""
        return digest("adjust-hash", relay_id, *_fields(self), self.signature)

    def verify(self, operator_pk: bytes, relay_id: RelayId) -> None:
        """:raises SignatureError: not the operator's"""
        verify(operator_pk, adjust_message(relay_id, self), self.signature, "the adjustment")


def adjust_message(relay_id: RelayId, unsigned: Adjust) -> bytes:
    """What the operator key signs."""
    return message_to_sign("adjust", relay_id, *_fields(unsigned))


def _fields(of: Adjust) -> tuple[bytes, ...]:
    return (
        of.business_id,
        of.leaf,
        u32(of.day),
        u8(of.category),
        u64(of.delta_micro_usd),
        of.report,
    )
