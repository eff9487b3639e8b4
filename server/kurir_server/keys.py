"""The relay's own keys: what signs beacons, receipts, refusals, passes, rate cards, badges, terms,
entry tickets, invoice heads, adjustments, checkpoints.

Billing returns the bytes to sign; this module signs them and nothing else. The root key only
certifies working keys and is not needed to serve: :mod:`kurir_server.keyfiles` keeps it apart.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

import msgspec
from nacl import bindings
from nacl.secret import SecretBox

from kurir_billing.adjust import Adjust, adjust_message
from kurir_billing.answers import Quote, Receipt, Refusal, receipt_message, refusal_message
from kurir_billing.head import InvoiceHead, invoice_message
from kurir_billing.kinds import PassKind, RefusalCode
from kurir_billing.ledger import Checkpoint, checkpoint_text, signed_checkpoint
from kurir_billing.passes import Pass, pass_hash, pass_message
from kurir_billing.ratecard import rate_card_message, signed_rate_card
from kurir_billing.terms import Terms, terms_message
from kurir_billing.ticket import Ticket, ticket_message
from kurir_wire.beacons import BEACON_NONCE_BYTES, Beacon, beacon_message
from kurir_wire.cards import Badge, badge_message
from kurir_wire.codec import pack, unpack
from kurir_wire.ids import (
    NO_HASH,
    BusinessId,
    EnvelopeId,
    Hash,
    MailboxId,
    RelayId,
    u8,
    u64,
)
from kurir_wire.relaycert import RelayCert, relay_cert_message
from kurir_wire.signing import SIGNATURE_BYTES

SEED_BYTES: Final = 32
TAG_BYTES: Final = 16
"""Enough that two envelopes, or two mailboxes, never share a tag."""


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
    report_pk: bytes,
    now: int,
    until: int,
) -> RelayCert:
    """The root key's word for the working keys, from ``now`` to ``until`` in seconds."""
    keys = (beacon.public, receipt.public, operator.public, checkpoint.public, report_pk)
    signature = root.sign(relay_cert_message(*keys, now, until))
    return RelayCert(root.public, *keys, now, until, signature)


@dataclass(frozen=True, slots=True)
class RelayKeys:
    """The working keys of a relay and the certificate that vouches for them.

    ``prf`` makes beacon nonces, tags, and the keys that seal marks.
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

    def has_same_secrets(self, other: RelayKeys) -> bool:
        """Whether all signs and nonces are the same; the certificates may differ."""
        mine, theirs = self._signing, other._signing
        same = all(key.public == its.public for key, its in zip(mine, theirs, strict=True))
        return same and hmac.compare_digest(self.prf, other.prf)

    @property
    def _signing(self) -> tuple[SigningKey, ...]:
        return self.beacon_key, self.receipt_key, self.operator_key, self.checkpoint_key

    def beacon_nonce(self, minute: int) -> bytes:
        """The nonce of any minute, past or future: recomputed, never stored."""
        return self._prf(b"kurir/beacon", u64(minute), BEACON_NONCE_BYTES)

    def beacon(self, minute: int) -> Beacon:
        """The signed beacon of a minute (unix time // 60)."""
        nonce = self.beacon_nonce(minute)
        return Beacon(
            minute, nonce, self.beacon_key.sign(beacon_message(self.relay_id, minute, nonce))
        )

    def envelope_tag(self, mailbox_id: MailboxId, envelope_id: EnvelopeId) -> bytes:
        """An opaque mark for "this envelope id was billed in this mailbox"; names neither."""
        return self._prf(b"kurir/envelope", mailbox_id + envelope_id)

    def start_tag(self, business_id: BusinessId, mailbox_id: MailboxId) -> bytes:
        """An opaque mark for "this business started this customer"; names neither."""
        return self._prf(b"kurir/start", business_id + mailbox_id)

    def mark_tag(self, kind: PassKind, mailbox_id: MailboxId) -> bytes:
        """An opaque mark for "a pass of this kind was made for this mailbox"; names neither."""
        return self._prf(b"kurir/mark", u8(kind) + mailbox_id)

    def seal_mark(self, kind: PassKind, mailbox_id: MailboxId, earned: Pass) -> bytes:
        """A pass as the mark keeps it: without the mailbox's id it says nothing, no second of
        acceptance and no charge."""
        return bytes(self._mark_box(kind, mailbox_id).encrypt(pack(earned)))

    def open_mark(self, kind: PassKind, mailbox_id: MailboxId, sealed: bytes) -> Pass:
        """:raises nacl.exceptions.CryptoError: not what :meth:`seal_mark` made for this mailbox"""
        return unpack(self._mark_box(kind, mailbox_id).decrypt(sealed), Pass, limit=2_048)

    def _mark_box(self, kind: PassKind, mailbox_id: MailboxId) -> SecretBox:
        return SecretBox(self._prf(b"kurir/mark-key", u8(kind) + mailbox_id, SecretBox.KEY_SIZE))

    def _prf(self, purpose: bytes, data: bytes, size: int = TAG_BYTES) -> bytes:
        """:param purpose: at most 16 bytes; the data of one purpose have one length"""
        return hashlib.blake2b(data, key=self.prf, digest_size=size, person=purpose).digest()

    def receipt(self, charge: Hash, accepted_at: int, earned: Pass | None = None) -> bytes:
        """A packed receipt; byte-identical for the same arguments."""
        signature = self.receipt_key.sign(receipt_message(charge, accepted_at, pass_hash(earned)))
        return pack(Receipt(charge, accepted_at, earned, signature))

    def make_pass(
        self,
        business_id: BusinessId,
        mailbox_id: MailboxId,
        kind: PassKind,
        opener: Hash,
        klass: int,
        opened_at: int,
        until: int,
    ) -> Pass:
        """The pass that a charge earned. Times in seconds."""
        unsigned = Pass(kind, opener, klass, opened_at, until, bytes(SIGNATURE_BYTES))
        message = pass_message(self.relay_id, business_id, mailbox_id, unsigned)
        return msgspec.structs.replace(unsigned, signature=self.receipt_key.sign(message))

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

    def terms(
        self, business_id: BusinessId, tariff: str, tier: int, starts: int | None, issued: int
    ) -> Terms:
        """The operator's word on how a business is billed."""
        message = terms_message(self.relay_id, business_id, tariff, tier, starts, issued)
        return Terms(tariff, tier, starts, issued, self.operator_key.sign(message))

    def ticket(self, business_id: BusinessId, entry_id: bytes, not_after: int) -> Ticket:
        """An entry ticket, good for customers who write before ``not_after`` in seconds."""
        message = ticket_message(self.relay_id, business_id, entry_id, not_after)
        return Ticket(entry_id, not_after, self.operator_key.sign(message))

    def invoice(self, head: InvoiceHead) -> InvoiceHead:
        """The head with the operator's signature in it."""
        signature = self.operator_key.sign(invoice_message(self.relay_id, head))
        return msgspec.structs.replace(head, signature=signature)

    def adjust(self, unsigned: Adjust) -> Adjust:
        """The adjustment with the operator's signature in it."""
        signature = self.operator_key.sign(adjust_message(self.relay_id, unsigned))
        return msgspec.structs.replace(unsigned, signature=signature)

    def checkpoint(self, size: int, root: Hash) -> bytes:
        """The signed note of the ledger at this size."""
        checkpoint = Checkpoint(self.relay_id, size, root)
        signature = self.checkpoint_key.sign(checkpoint_text(checkpoint))
        return signed_checkpoint(checkpoint, self.checkpoint_key.public, signature)
