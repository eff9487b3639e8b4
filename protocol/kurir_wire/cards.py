"""Cards: signed descriptions of people and businesses, and the operator's badge.

A card travels as :class:`Signed`: the exact bytes that were signed, and the signature. Nobody
re-encodes a card before checking it.
"""

from __future__ import annotations

from typing import Annotated, Final
from unicodedata import category

from msgspec import Meta, Struct

from kurir_wire.codec import pack, unpack
from kurir_wire.errors import ExpiredError, MalformedError
from kurir_wire.ids import (
    MINUTE,
    BusinessId,
    Hash,
    MailboxId,
    RelayId,
    business_id_of,
    digest,
    u8,
    u64,
)
from kurir_wire.limits import CARD_LIFE, CLOCK_SKEW, MAX_CARD, MAX_NAME
from kurir_wire.prekeys import (
    PREKEY_LAST_RESORT,
    U8,
    U32,
    U63,
    Bytes32,
    Bytes64,
    EcPreKey,
    IdentityPublic,
    KemPreKey,
    PreKeyBundle,
)
from kurir_wire.signing import message_to_sign, verify

ENVELOPE_KEY_BYTES: Final = 1_216
"""An HPKE MLKEM768-X25519 public key: 1,184 bytes of ML-KEM-768, then 32 of X25519."""
EnvelopeKey = Annotated[bytes, Meta(min_length=ENVELOPE_KEY_BYTES, max_length=ENVELOPE_KEY_BYTES)]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]

TIER_NONE: Final = 0
TIER_SMALL: Final = 1
TIER_PLATFORM: Final = 2
TIER_NAMES: Final = {TIER_NONE: "none", TIER_SMALL: "small", TIER_PLATFORM: "platform"}

DIRECTION_MARKS: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""They reorder what follows them, so that one name can look like another."""


class Signed(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Bytes exactly as they were signed."""

    body: Annotated[bytes, Meta(max_length=MAX_CARD)]
    signature: Bytes64


class BusinessCard(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The public card of a business, signed by its root key. Versions never roll back.

    :ivar sessions_from: unix minute; the business has lost the sessions that started before it.
        0: none
    """

    version: U32
    relay_id: Bytes32
    root_pk: Bytes32
    name: Name
    address: Bytes32
    envelope_pk: EnvelopeKey
    identity: IdentityPublic
    signed_prekey: EcPreKey
    last_resort: KemPreKey
    issued: U63
    expires: U63
    sessions_from: U32 = 0

    @property
    def business_id(self) -> BusinessId:
        """The id that follows from the root key."""
        return business_id_of(self.root_pk)

    @property
    def address_id(self) -> MailboxId:
        """The mailbox to which anyone may write."""
        return MailboxId(self.address)

    def bundle(
        self, one_time: EcPreKey | None = None, kem: KemPreKey | None = None
    ) -> PreKeyBundle:
        """The prekeys of the card; one-time keys that the relay handed out go in if there are any.
        Their signatures are checked by :meth:`PreKeyBundle.verify`."""
        return PreKeyBundle(self.identity, self.signed_prekey, kem or self.last_resort, one_time)


class PersonCard(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A person's card, signed by the identity key. It travels only encrypted under an invite's
    secret, and since an invite is used once, its prekeys are one-time prekeys."""

    name: Name
    bundle: PreKeyBundle
    issued: U63
    expires: U63


class Badge(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The operator's statement of who a business is, shown to its customers."""

    tier: U8
    legal_name: Name
    not_after: U63
    signature: Bytes64

    def verify(
        self,
        operator_pk: bytes,
        relay_id: RelayId,
        business_id: BusinessId,
        now: int | None = None,
    ) -> None:
        """``now`` in seconds; ``None`` where only the origin of a past badge matters.

        :raises SignatureError: not made by this relay's operator for this business
        :raises MalformedError: a legal name that cannot be shown safely
        :raises ExpiredError: no longer valid at ``now``
        """
        signed = badge_message(relay_id, business_id, self.tier, self.legal_name, self.not_after)
        verify(operator_pk, signed, self.signature, "the badge")
        check_name(self.legal_name, "the badge")
        if now is not None and now >= self.not_after:
            raise ExpiredError("the badge has expired; the operator has to renew it")


def badge_message(
    relay_id: RelayId, business_id: BusinessId, tier: int, legal_name: str, not_after: int
) -> bytes:
    """What the operator signs to grant a badge."""
    name_hash = digest("legal-name", legal_name.encode())
    return message_to_sign("badge", relay_id, business_id, u8(tier), name_hash, u64(not_after))


def card_hash(card: bytes) -> Hash:
    """The name of one version of a card: a hash of its exact bytes."""
    return digest("card", card)


def business_card_message(body: bytes) -> bytes:
    """What the root key of a business signs."""
    return message_to_sign("business-card", body)


def person_card_message(body: bytes) -> bytes:
    """What a person's identity key signs."""
    return message_to_sign("person-card", body)


def check_name(name: str, what: str) -> None:
    """Refuse names that a terminal or a reader could take for something else.

    :raises MalformedError: blank, or with control characters, line breaks or text direction marks
    """
    if not name.strip() or any(
        category(char) in ("Cc", "Cs", "Zl", "Zp") or char in DIRECTION_MARKS for char in name
    ):
        raise MalformedError(f"{what} has a name that cannot be shown safely")


def check_times(issued: int, expires: int, now: int, what: str) -> None:
    """:raises ExpiredError: not valid yet, expired, or valid for longer than a card may be"""
    if issued > now + CLOCK_SKEW:
        raise ExpiredError(f"{what} is dated in the future; compare the clocks")
    if now >= expires:
        raise ExpiredError(f"{what} has expired; ask its owner for a new one")
    if expires - issued > CARD_LIFE:
        raise ExpiredError(f"{what} claims to be valid for longer than a card may be")


def open_business_card(data: bytes, now: int) -> BusinessCard:
    """Check and decode a business card as it came.

    :raises MalformedError: not a card
    :raises SignatureError: one of its signatures fails
    :raises ExpiredError: not valid at ``now``
    """
    signed = unpack(data, Signed, limit=MAX_CARD)
    card = unpack(signed.body, BusinessCard, limit=MAX_CARD)
    verify(card.root_pk, business_card_message(signed.body), signed.signature, "the business card")
    if card.last_resort.kind != PREKEY_LAST_RESORT:
        raise MalformedError("a business card carries a last-resort KEM prekey")
    card.bundle().verify()
    check_name(card.name, "the business card")
    check_times(card.issued, card.expires, now, "the business card")
    if card.sessions_from * MINUTE > card.issued + CLOCK_SKEW:
        # Sessions are started from then on, and one of the future would win over all later ones.
        raise MalformedError("the business card says that sessions are lost that cannot be yet")
    return card


def open_person_card(data: bytes, now: int) -> PersonCard:
    """Check and decode a person's card after the invite's secret opened it.

    :raises MalformedError: not a card
    :raises SignatureError: one of its signatures fails
    :raises ExpiredError: not valid at ``now``
    """
    signed = unpack(data, Signed, limit=MAX_CARD)
    card = unpack(signed.body, PersonCard, limit=MAX_CARD)
    signer = card.bundle.identity.sign_pk
    verify(signer, person_card_message(signed.body), signed.signature, "the card")
    card.bundle.verify()
    check_name(card.name, "the card")
    check_times(card.issued, card.expires, now, "the invite")
    return card


def signed_card(body: bytes, signature: bytes) -> bytes:
    """The form in which a card travels: the packed bytes that were signed, and the signature."""
    return pack(Signed(body, signature))
