"""Lanes: the keys that number and sign a business's charges.

Source: docs/protocol.md, "Charges".
"""

from __future__ import annotations

from msgspec import Struct

from kurir_billing.errors import EvidenceError
from kurir_wire.codec import unpack
from kurir_wire.errors import SignatureError, WireError
from kurir_wire.ids import BusinessId, business_id_of, u64
from kurir_wire.prekeys import U63, Bytes32, Bytes64
from kurir_wire.signing import message_to_sign, verify


class Lane(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A key that numbers and signs a business's charges, enrolled by the business's root key."""

    root_pk: Bytes32
    lane_pk: Bytes32
    not_after: U63
    signature: Bytes64

    @property
    def business_id(self) -> BusinessId:
        """The business whose root key enrolled this lane."""
        return business_id_of(self.root_pk)

    def check_signature(self) -> None:
        """:raises EvidenceError: not enrolled by its root key, now or ever"""
        message = lane_message(self.business_id, self.lane_pk, self.not_after)
        try:
            verify(self.root_pk, message, self.signature, "the lane")
        except SignatureError as error:
            raise EvidenceError(str(error)) from error

    def verify(self, now: int) -> None:
        """:raises EvidenceError: not enrolled by its root key, or no longer valid"""
        self.check_signature()
        self.check_time(now)

    def check_time(self, now: int) -> None:
        """:raises EvidenceError: no longer valid"""
        if now >= self.not_after:
            raise EvidenceError("the lane key has expired; enrol a new one")


def lane_message(business_id: BusinessId, lane_pk: bytes, not_after: int) -> bytes:
    """What the root key of a business signs to enrol a lane."""
    return message_to_sign("lane", business_id, lane_pk, u64(not_after))


def open_lane(data: bytes, now: int) -> Lane:
    """Decode and check a lane certificate.

    :raises EvidenceError: not a lane, or not valid at ``now``
    """
    try:
        lane = unpack(data, Lane, limit=2_048)
    except WireError as error:
        raise EvidenceError(f"not a lane: {error}") from error
    lane.verify(now)
    return lane
