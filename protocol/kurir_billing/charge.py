"""Charges: what a business signs for one billable message, and the relay's answer.

A charge has a public line (the price facts), a private part that only commits to the envelope, and
a lock whose secret only the opened message holds. Later the line, the commitment, the lock and the
signature go to the ledger; mailbox and envelope id never do. Source: docs/protocol.md, "Charges".
"""

from __future__ import annotations

import functools
import hashlib
from typing import Annotated

from msgspec import Meta, Struct, structs

from kurir_billing.grant import Grant
from kurir_billing.kinds import Category, Class
from kurir_billing.lane import Lane
from kurir_billing.listed import Listed, check_signed
from kurir_billing.ticket import Entry
from kurir_wire.codec import pack, unpack
from kurir_wire.entries import Label
from kurir_wire.errors import MalformedError
from kurir_wire.gates import MARKET_BYTES, TARIFF_BYTES, padded
from kurir_wire.ids import (
    NO_HASH,
    BusinessId,
    EnvelopeId,
    Hash,
    MailboxId,
    RelayId,
    digest,
    u8,
    u16,
    u32,
    u64,
)
from kurir_wire.prekeys import U8, U32, U63, Bytes16, Bytes32, Bytes64
from kurir_wire.signing import message_to_sign

MarketText = Annotated[str, Meta(min_length=1, max_length=MARKET_BYTES)]
TariffText = Annotated[str, Meta(min_length=1, max_length=TARIFF_BYTES)]


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
        return _line_hash(self, relay_id, business_id)

    def check_form(self) -> None:
        """:raises MalformedError: an unknown category or class, or a name that does not fit"""
        _check_form(self)


# A million charges have a few thousand different lines.


@functools.lru_cache(maxsize=4_096)
def _check_form(line: Line) -> None:
    try:
        Category(line.category)
        Class(line.klass)
    except ValueError as error:
        raise MalformedError("the line has an unknown category or class") from error
    padded(line.market, MARKET_BYTES, "a market")
    padded(line.tariff, TARIFF_BYTES, "a tariff")


@functools.lru_cache(maxsize=4_096)
def _line_hash(line: Line, relay_id: RelayId, business_id: BusinessId) -> Hash:
    return digest(
        "line",
        relay_id,
        business_id,
        padded(line.market, MARKET_BYTES, "a market"),
        padded(line.tariff, TARIFF_BYTES, "a tariff"),
        line.rate_card,
        u8(line.category),
        u8(line.klass),
        u64(line.list_price),
        line.opener,
    )


class Charge(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """All that a business shows the relay with one metered envelope.

    ``opening`` opens the mailbox's gate; ``frank`` and ``lock`` complete the label; the two salts
    keep the commitments from being guessed; ``beacon_minute`` and ``beacon_nonce`` say that the
    charge is fresh; ``lane_seq`` rises strictly within a lane. Evidence, if any, is ``grant``, with
    ``entry`` if it is of that kind, and ``pass_hash``, which names a pass (zeros: none). ``listed``
    is there if the lane signed a list of charges.
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
    entry: Entry | None
    pass_hash: Bytes32
    listed: Listed | None
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
            entry=None,
            pass_hash=NO_HASH,
        )

    def label(self) -> Label:
        """The label that goes with the envelope to its reader."""
        return Label(self.business_id, self.line.category, self.frank, self.lock)

    def fresh_hash(self) -> Hash:
        """``H(fresh)``: when and on what evidence."""
        grant = self.grant.hash if self.grant else NO_HASH
        evidence = digest("evidence", grant, self.pass_hash)
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
        """``H(line) H(priv) lock frank lane_pk``."""
        line_hash = self.line.hash(relay_id, self.business_id)
        return line_hash, private_hash, self.lock, self.frank, self.lane.lane_pk


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


def charge_message(
    line_hash: bytes, private_hash: bytes, lock: bytes, frank: bytes, lane_pk: bytes
) -> bytes:
    """What the lane key signs. Its SHA-256 is the charge's hash (:func:`charge_name`)."""
    return message_to_sign("charge", line_hash, private_hash, lock, frank, lane_pk)


def charge_hash(
    line_hash: bytes, private_hash: bytes, lock: bytes, frank: bytes, lane_pk: bytes
) -> Hash:
    """The name of a charge."""
    return charge_name(charge_message(line_hash, private_hash, lock, frank, lane_pk))


def open_charge(data: bytes) -> Charge:
    """Decode a charge as submitted, with its enumerations checked. Signatures are not: see
    :meth:`Lane.verify` and :func:`check_charge_signature`, which both have to pass.

    :raises MalformedError: not a charge
    """
    charge = unpack(data, Charge, limit=2_048)
    charge.line.check_form()
    return charge


def charge_name(message: bytes) -> Hash:
    """The charge's hash, from what its lane signs."""
    return Hash(hashlib.sha256(message).digest())


def check_charge_signature(charge: Charge, relay_id: RelayId, private_hash: Hash) -> Hash:
    """Check the lane's signature over a charge.

    :returns: the charge's hash
    :raises EvidenceError: not signed by the lane key that it names
    """
    message = charge_message(*charge.signed_fields(relay_id, private_hash))
    name = charge_name(message)
    check_signed(message, name, charge.lane.lane_pk, charge.signature, charge.listed)
    return name


def packed(value: Charge | Lane | Line) -> bytes:
    """The transmitted form."""
    return pack(value)
