"""Charges: what a business signs for one billable message, and the relay's answer.

A charge has a public line (the price facts), a private part that only commits to the envelope, and
a lock whose secret only the opened message holds. Later the line, the commitment, the lock and the
signature go to the ledger; mailbox and envelope id never do. Source: docs/protocol.md, "Charges".
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, structs

from kurir_billing.errors import EvidenceError
from kurir_billing.grant import Grant
from kurir_billing.kinds import Category, Class, RefusalCode
from kurir_wire.codec import pack, unpack
from kurir_wire.entries import Label
from kurir_wire.errors import MalformedError, SignatureError, WireError
from kurir_wire.gates import MARKET_BYTES, TARIFF_BYTES, padded
from kurir_wire.ids import (
    NO_HASH,
    BusinessId,
    EnvelopeId,
    Hash,
    MailboxId,
    RelayId,
    business_id_of,
    digest,
    u8,
    u16,
    u32,
    u64,
)
from kurir_wire.prekeys import U8, U32, U63, Bytes16, Bytes32, Bytes64
from kurir_wire.signing import message_to_sign, verify

MarketText = Annotated[str, Meta(min_length=1, max_length=MARKET_BYTES)]
TariffText = Annotated[str, Meta(min_length=1, max_length=TARIFF_BYTES)]


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
        if now >= self.not_after:
            raise EvidenceError("the lane key has expired; enrol a new one")


def lane_message(business_id: BusinessId, lane_pk: bytes, not_after: int) -> bytes:
    """What the root key of a business signs to enrol a lane."""
    return message_to_sign("lane", business_id, lane_pk, u64(not_after))


class Line(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The price facts of a charge: all that an invoice shows of it."""

    market: MarketText
    tariff: TariffText
    rate_card: Bytes32
    category: U8
    klass: U8
    list_price: U63
    opener: Bytes32 = NO_HASH

    def hash(self, relay_id: RelayId, business_id: BusinessId) -> Hash:
        """``H(line)``.

        :raises MalformedError: a name that does not fit its field
        """
        return digest(
            "line",
            relay_id,
            business_id,
            padded(self.market, MARKET_BYTES, "a market"),
            padded(self.tariff, TARIFF_BYTES, "a tariff"),
            self.rate_card,
            u8(self.category),
            u8(self.klass),
            u64(self.list_price),
            self.opener,
        )

    def check_form(self) -> None:
        """:raises MalformedError: an unknown category or class, or a name that does not fit"""
        try:
            Category(self.category)
            Class(self.klass)
        except ValueError as error:
            raise MalformedError("the line has an unknown category or class") from error
        padded(self.market, MARKET_BYTES, "a market")
        padded(self.tariff, TARIFF_BYTES, "a tariff")


class Charge(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All that a business shows the relay with one metered envelope.

    ``opening`` opens the mailbox's gate; ``frank`` and ``lock`` complete the label; the two salts
    keep the commitments from being guessed; ``beacon_minute`` and ``beacon_nonce`` say that the
    charge is fresh; ``lane_seq`` rises strictly within a lane; ``grant`` is the evidence, if any.
    """

    line: Line
    opening: Bytes32
    frank: Bytes32
    lock: Bytes32
    private_salt: Bytes32
    fresh_salt: Bytes32
    beacon_minute: U32
    beacon_nonce: Bytes16
    lane: Lane
    lane_seq: U63
    grant: Grant | None
    signature: Bytes64

    @property
    def business_id(self) -> BusinessId:
        """Who pays."""
        return self.lane.business_id

    def without_evidence(self) -> Charge:
        """What the relay keeps until settlement: line, label, lane and signature.

        Blanked is what it needs only once, at acceptance: the opening of the gate, the grant and
        the beacon would tell for as long as the charge waits when the customer wrote.
        """
        return structs.replace(
            self,
            opening=NO_HASH,
            private_salt=NO_HASH,
            fresh_salt=NO_HASH,
            beacon_minute=0,
            beacon_nonce=bytes(16),
            lane_seq=0,
            grant=None,
        )

    def label(self) -> Label:
        """The label that goes with the envelope to its reader."""
        return Label(self.business_id, self.line.category, self.frank, self.lock)

    def fresh_hash(self) -> Hash:
        """``H(fresh)``: when and on what evidence."""
        evidence = self.grant.hash if self.grant else NO_HASH
        return digest(
            "fresh",
            self.fresh_salt,
            u32(self.beacon_minute),
            self.beacon_nonce,
            u64(self.lane_seq),
            evidence,
        )

    def private_hash(
        self,
        relay_id: RelayId,
        mailbox_id: MailboxId,
        envelope_id: EnvelopeId,
        body: bytes,
        life: int,
    ) -> Hash:
        """``H(priv)``: binds the charge to its envelope without naming it to others."""
        return digest(
            "priv",
            self.private_salt,
            label_hash(self.label(), relay_id, mailbox_id, envelope_id),
            digest("body", body),
            u32(len(body)),
            u16(life),
            self.fresh_hash(),
        )

    def signed_fields(self, relay_id: RelayId, private_hash: Hash) -> tuple[bytes, ...]:
        """``H(line) H(priv) lock lane_pk``."""
        line_hash = self.line.hash(relay_id, self.business_id)
        return line_hash, private_hash, self.lock, self.lane.lane_pk


def label_hash(
    label: Label, relay_id: RelayId, mailbox_id: MailboxId, envelope_id: EnvelopeId
) -> Hash:
    """``H(label)``: bound into the sealing layer and into the charge."""
    return digest(
        "label",
        relay_id,
        label.business_id,
        mailbox_id,
        envelope_id,
        u8(label.category),
        label.frank,
        label.lock,
    )


def lock_of(secret: bytes) -> Hash:
    """The lock that a 32-byte settlement secret opens."""
    return digest("lock", secret)


def charge_message(line_hash: bytes, private_hash: bytes, lock: bytes, lane_pk: bytes) -> bytes:
    """What the lane key signs. Its SHA-256 is the charge's hash (:func:`charge_hash`)."""
    return message_to_sign("charge", line_hash, private_hash, lock, lane_pk)


def charge_hash(line_hash: bytes, private_hash: bytes, lock: bytes, lane_pk: bytes) -> Hash:
    """The name of a charge."""
    return digest("charge", line_hash, private_hash, lock, lane_pk)


def open_charge(data: bytes) -> Charge:
    """Decode a charge as submitted, with its enumerations checked. Signatures are not: see
    :meth:`Lane.verify` and :func:`check_charge_signature`, which both have to pass.

    :raises MalformedError: not a charge
    """
    charge = unpack(data, Charge, limit=2_048)
    charge.line.check_form()
    return charge


def check_charge_signature(charge: Charge, relay_id: RelayId, private_hash: Hash) -> Hash:
    """Check the lane's signature over a charge.

    :returns: the charge's hash
    :raises EvidenceError: not signed by the lane key that it names
    """
    fields = charge.signed_fields(relay_id, private_hash)
    try:
        verify(charge.lane.lane_pk, charge_message(*fields), charge.signature, "the charge")
    except SignatureError as error:
        raise EvidenceError(str(error)) from error
    return charge_hash(*fields)


class Receipt(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The relay's word that it accepted a charge. ``accepted_at`` in seconds; on a retry after the
    second has been erased it is the start of the hour."""

    charge: Bytes32
    accepted_at: U63
    pass_hash: Bytes32
    signature: Bytes64

    def verify(self, receipt_pk: bytes) -> None:
        """:raises SignatureError: not made by this relay"""
        verify(
            receipt_pk,
            receipt_message(self.charge, self.accepted_at, self.pass_hash),
            self.signature,
            "the receipt",
        )


def receipt_message(charge: bytes, accepted_at: int, pass_hash: bytes = NO_HASH) -> bytes:
    """What the relay signs on acceptance."""
    return message_to_sign("receipt", charge, u64(accepted_at), pass_hash)


class Quote(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The line that the relay would accept now."""

    line: Line

    def hash(self, relay_id: RelayId, business_id: BusinessId) -> Hash:
        """``H(quote)``."""
        return digest("quote", self.line.hash(relay_id, business_id))


class Refusal(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The relay's word that it did not accept a charge; only now may the business sign anew."""

    charge: Bytes32
    code: U32
    now: U63
    quote: Quote | None
    signature: Bytes64

    def verify(self, receipt_pk: bytes, relay_id: RelayId, business_id: BusinessId) -> None:
        """:raises SignatureError: not made by this relay"""
        quote = self.quote.hash(relay_id, business_id) if self.quote else NO_HASH
        verify(
            receipt_pk,
            refusal_message(self.charge, self.code, self.now, quote),
            self.signature,
            "the refusal",
        )


def refusal_message(charge: bytes, code: int, now: int, quote: bytes = NO_HASH) -> bytes:
    """What the relay signs on refusal."""
    return message_to_sign("refusal", charge, u32(code), u64(now), quote)


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


def packed(value: Charge | Receipt | Refusal | Lane | Line) -> bytes:
    """The transmitted form."""
    return pack(value)
