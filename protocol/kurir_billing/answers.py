"""What the relay answers to a charge: a receipt, or a refusal with a quote where one helps.

Both are signed, so that a business can prove what it was told. Source: docs/protocol.md, "Charges".
"""

from __future__ import annotations

from msgspec import Struct

from kurir_billing.charge import Line
from kurir_billing.kinds import RefusalCode
from kurir_billing.passes import Pass, pass_hash
from kurir_wire.codec import unpack
from kurir_wire.errors import MalformedError
from kurir_wire.ids import NO_HASH, BusinessId, Hash, RelayId, digest, u32, u64
from kurir_wire.prekeys import U32, U63, Bytes32, Bytes64
from kurir_wire.signing import message_to_sign, verify


class Receipt(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The relay's word that it accepted a charge. ``accepted_at`` in seconds; on a retry after the
    second has been erased it is the start of the hour. ``earned``: the pass that the message
    opened, while it holds."""

    charge: Bytes32
    accepted_at: U63
    earned: Pass | None
    signature: Bytes64

    def verify(self, receipt_pk: bytes) -> None:
        """:raises SignatureError: not made by this relay"""
        verify(
            receipt_pk,
            receipt_message(self.charge, self.accepted_at, pass_hash(self.earned)),
            self.signature,
            "the receipt",
        )


def receipt_message(charge: bytes, accepted_at: int, earned: bytes = NO_HASH) -> bytes:
    """What the relay signs on acceptance."""
    return message_to_sign("receipt", charge, u64(accepted_at), earned)


class Quote(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The line that the relay would accept now."""

    line: Line

    def hash(self, relay_id: RelayId, business_id: BusinessId) -> Hash:
        """``H(quote)``."""
        return digest("quote", self.line.hash(relay_id, business_id))


class Refusal(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The relay's word that it did not accept a charge; only now may the business sign anew.
    ``held``: a pass that is open already for this customer, to be named next time."""

    charge: Bytes32
    code: U32
    now: U63
    quote: Quote | None
    held: Pass | None
    signature: Bytes64

    def verify(self, receipt_pk: bytes, relay_id: RelayId, business_id: BusinessId) -> None:
        """:raises SignatureError: not made by this relay"""
        quote = self.quote.hash(relay_id, business_id) if self.quote else NO_HASH
        verify(
            receipt_pk,
            refusal_message(self.charge, self.code, self.now, quote, pass_hash(self.held)),
            self.signature,
            "the refusal",
        )


def refusal_message(
    charge: bytes, code: int, now: int, quote: bytes = NO_HASH, held: bytes = NO_HASH
) -> bytes:
    """What the relay signs on refusal."""
    return message_to_sign("refusal", charge, u32(code), u64(now), quote, held)


def open_receipt(data: bytes) -> Receipt:
    """:raises MalformedError: not a receipt"""
    return unpack(data, Receipt, limit=2_048)


def open_refusal(data: bytes) -> Refusal:
    """:raises MalformedError: not a refusal, or with an unknown code or quote"""
    refusal = unpack(data, Refusal, limit=2_048)
    if refusal.quote is not None:
        refusal.quote.line.check_form()
    try:
        RefusalCode(refusal.code)
    except ValueError as error:
        raise MalformedError("the refusal has an unknown code") from error
    return refusal
