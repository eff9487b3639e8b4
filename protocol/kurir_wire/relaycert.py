"""The relay's certificate: its root key vouches for separate working keys.

Links pin the root key; working keys may change without any link breaking.
"""

from __future__ import annotations

from msgspec import Struct

from kurir_wire.cards import EnvelopeKey
from kurir_wire.errors import ExpiredError
from kurir_wire.ids import RelayId, relay_id_of, u64
from kurir_wire.limits import CLOCK_SKEW
from kurir_wire.prekeys import U63, Bytes32, Bytes64
from kurir_wire.signing import message_to_sign, verify


class RelayCert(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Which keys speak for a relay: beacons; receipts, refusals, passes; the operator's own
    statements (badges, rate cards, invoices, adjustments); checkpoints of the ledger. To
    ``report_pk`` reports are sealed: the operator has the private half, the serving relay not."""

    root_pk: Bytes32
    beacon_pk: Bytes32
    receipt_pk: Bytes32
    operator_pk: Bytes32
    checkpoint_pk: Bytes32
    report_pk: EnvelopeKey
    not_before: U63
    not_after: U63
    signature: Bytes64

    @property
    def relay_id(self) -> RelayId:
        """The id that follows from the root key."""
        return relay_id_of(self.root_pk)

    def verify(self, now: int) -> None:
        """:raises SignatureError: not signed by the root key
        :raises ExpiredError: not valid at ``now``"""
        message = relay_cert_message(
            self.beacon_pk,
            self.receipt_pk,
            self.operator_pk,
            self.checkpoint_pk,
            self.report_pk,
            self.not_before,
            self.not_after,
        )
        verify(self.root_pk, message, self.signature, "the relay's certificate")
        if now + CLOCK_SKEW < self.not_before:
            raise ExpiredError("the relay's certificate is not valid yet; compare the clocks")
        if now >= self.not_after + CLOCK_SKEW:
            raise ExpiredError("the relay's certificate has expired; tell its operator")


def relay_cert_message(
    beacon_pk: bytes,
    receipt_pk: bytes,
    operator_pk: bytes,
    checkpoint_pk: bytes,
    report_pk: bytes,
    not_before: int,
    not_after: int,
) -> bytes:
    """What the relay's root key signs."""
    return message_to_sign(
        "relay-cert",
        beacon_pk,
        receipt_pk,
        operator_pk,
        checkpoint_pk,
        report_pk,
        u64(not_before),
        u64(not_after),
    )
