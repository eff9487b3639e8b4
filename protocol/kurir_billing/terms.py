"""Terms: the operator's signed word on how a business is billed and how much it may start.

They reach the business over the relay. Whoever keeps the newest terms it saw notices a relay that
switches the tariff, and signs no line of another one. Source: docs/protocol.md, "Terms".
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from kurir_billing.charge import TariffText
from kurir_wire.codec import pack, unpack
from kurir_wire.gates import TARIFF_BYTES, padded
from kurir_wire.ids import BusinessId, RelayId, u8, u32, u64
from kurir_wire.prekeys import U8, U63, Bytes64
from kurir_wire.signing import message_to_sign, verify

NO_LIMIT: Final = 0xFFFF_FFFF
"""Stands for "no limit" in what is signed."""
Starts = Annotated[int, Meta(ge=0, lt=NO_LIMIT)]


class Terms(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the operator agreed with a business.

    ``tier`` as in its badge. ``starts``: how many customers it may write to outside of their window
    within 24 hours, ``None`` for any number. ``issued`` (seconds) rises with each new version.
    """

    tariff: TariffText
    tier: U8
    starts: Starts | None
    issued: U63
    signature: Bytes64

    def verify(self, operator_pk: bytes, relay_id: RelayId, business_id: BusinessId) -> None:
        """:raises SignatureError: not made by this operator for this business
        :raises MalformedError: a tariff's name that does not fit its field"""
        message = terms_message(
            relay_id, business_id, self.tariff, self.tier, self.starts, self.issued
        )
        verify(operator_pk, message, self.signature, "the terms")


def terms_message(
    relay_id: RelayId,
    business_id: BusinessId,
    tariff: str,
    tier: int,
    starts: int | None,
    issued: int,
) -> bytes:
    """What the operator key signs.

    :raises MalformedError: a tariff's name that does not fit its field
    """
    return message_to_sign(
        "terms",
        relay_id,
        business_id,
        padded(tariff, TARIFF_BYTES, "a tariff"),
        u8(tier),
        u32(NO_LIMIT if starts is None else starts),
        u64(issued),
    )


def open_terms(data: bytes) -> Terms:
    """:raises MalformedError: not terms"""
    return unpack(data, Terms, limit=2_048)


def packed_terms(terms: Terms) -> bytes:
    """The transmitted form."""
    return pack(terms)
