"""The relay's own keys: what signs beacons, receipts, refusals, rate cards, badges, invoice heads,
checkpoints.

Billing returns the bytes to sign; this module signs them and nothing else. The root key only
certifies working keys and is not needed to serve: :mod:`kurir_server.keyfiles` keeps it apart.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

import msgspec
from nacl import bindings

from kurir_billing.answers import Quote, Receipt, Refusal, receipt_message, refusal_message
from kurir_billing.head import InvoiceHead, invoice_message
from kurir_billing.kinds import RefusalCode
from kurir_billing.ledger import Checkpoint, checkpoint_text, signed_checkpoint
from kurir_billing.passes import Pass, pass_hash
from kurir_billing.ratecard import rate_card_message, signed_rate_card
from kurir_wire.beacons import BEACON_NONCE_BYTES, Beacon, beacon_message
from kurir_wire.cards import Badge, badge_message
from kurir_wire.codec import pack
from kurir_wire.ids import (
    NO_HASH,
    BusinessId,
    EnvelopeId,
    Hash,
    MailboxId,
    RelayId,
    u64,
)
from kurir_wire.relaycert import RelayCert, relay_cert_message
from kurir_wire.signing import SIGNATURE_BYTES

SEED_BYTES: Final = 32
TAG_BYTES: Final = 16
"""Enough that two envelopes never share a tag."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One of the relay's own Ed25519 keys."""

    public: bytes
    _secret: bytes = field(repr=False)

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """:param seed: 32 secret bytes"""
        public, secret = bindings.crypto_sign_seed_keypair(seed)
        return cls(public, secret)

    def sign(self, message: bytes) -> bytes:
        """64 bytes; the same for the same message."""
        return bindings.crypto_sign(message, self._secret)[:SIGNATURE_BYTES]


def certify(
    root: SigningKey,
    beacon: SigningKey,
    receipt: SigningKey,
    operator: SigningKey,
    checkpoint: SigningKey,
    now: int,
    until: int,
) -> RelayCert:
    """The root key's word for the working keys, from ``now`` to ``until`` in seconds."""
    keys = (beacon.public, receipt.public, operator.public, checkpoint.public)
    signature = root.sign(relay_cert_message(*keys, now, until))
    return RelayCert(root.public, *keys, now, until, signature)


@dataclass(frozen=True, slots=True)
class RelayKeys:
    """The working keys of a relay and the certificate that vouches for them.

    ``prf`` makes beacon nonces and envelope tags.
    """

    cert: RelayCert
    beacon_key: SigningKey
    receipt_key: SigningKey
    operator_key: SigningKey
    checkpoint_key: SigningKey
    prf: bytes = field(repr=False)

    @property
    def relay_id(self) -> RelayId:
        """The id that links pin."""
        return self.cert.relay_id

    def beacon_nonce(self, minute: int) -> bytes:
        """The nonce of any minute, past or future: recomputed, never stored."""
        return hashlib.blake2b(
            u64(minute), key=self.prf, digest_size=BEACON_NONCE_BYTES, person=b"kurir/beacon"
        ).digest()

    def beacon(self, minute: int) -> Beacon:
        """The signed beacon of a minute (unix time // 60)."""
        nonce = self.beacon_nonce(minute)
        return Beacon(
            minute, nonce, self.beacon_key.sign(beacon_message(self.relay_id, minute, nonce))
        )

    def envelope_tag(self, mailbox_id: MailboxId, envelope_id: EnvelopeId) -> bytes:
        """An opaque mark for "this envelope id was billed in this mailbox"; names neither."""
        return hashlib.blake2b(
            mailbox_id + envelope_id, key=self.prf, digest_size=TAG_BYTES, person=b"kurir/envelope"
        ).digest()

    def receipt(self, charge: Hash, accepted_at: int, earned: Pass | None = None) -> bytes:
        """A packed receipt; byte-identical for the same arguments."""
        signature = self.receipt_key.sign(receipt_message(charge, accepted_at, pass_hash(earned)))
        return pack(Receipt(charge, accepted_at, earned, signature))

    def refusal(
        self,
        charge: Hash,
        code: RefusalCode,
        now: int,
        business_id: BusinessId,
        quote: Quote | None = None,
        held: Pass | None = None,
    ) -> bytes:
        """A packed refusal."""
        quoted = quote.hash(self.relay_id, business_id) if quote else NO_HASH
        message = refusal_message(charge, code, now, quoted, pass_hash(held))
        return pack(Refusal(charge, code, now, quote, held, self.receipt_key.sign(message)))

    def rate_card(self, body: bytes) -> bytes:
        """A rate card as it travels."""
        return signed_rate_card(
            body, self.operator_key.sign(rate_card_message(self.relay_id, body))
        )

    def badge(self, business_id: BusinessId, tier: int, legal_name: str, not_after: int) -> Badge:
        """The operator's statement of who a business is."""
        message = badge_message(self.relay_id, business_id, tier, legal_name, not_after)
        return Badge(tier, legal_name, not_after, self.operator_key.sign(message))

    def invoice(self, head: InvoiceHead) -> InvoiceHead:
        """The head with the operator's signature in it."""
        signature = self.operator_key.sign(invoice_message(self.relay_id, head))
        return msgspec.structs.replace(head, signature=signature)

    def checkpoint(self, size: int, root: Hash) -> bytes:
        """The signed note of the ledger at this size."""
        checkpoint = Checkpoint(self.relay_id, size, root)
        signature = self.checkpoint_key.sign(checkpoint_text(checkpoint))
        return signed_checkpoint(checkpoint, self.checkpoint_key.public, signature)
