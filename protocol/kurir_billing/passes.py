"""Passes: the relay's signed note that a window is already paid or free.

A pass is handed out with the receipt of the message that opened it; later charges name it by its
hash. It is evidence for the business; the relay recognises it by its own mark. Source:
docs/protocol.md, "Passes".
"""

from __future__ import annotations

from msgspec import Struct

from kurir_billing.kinds import PassKind
from kurir_wire.ids import NO_HASH, BusinessId, Hash, MailboxId, RelayId, digest, u8, u64
from kurir_wire.prekeys import U8, U63, Bytes32, Bytes64
from kurir_wire.signing import message_to_sign, verify


class Pass(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """ "The charge ``opener`` opened a window of this kind"; good from ``opened_at`` (seconds, the
    acceptance of the opener) up to, and not at, ``until``. ``klass``: that of the opener."""

    kind: U8
    opener: Bytes32
    klass: U8
    opened_at: U63
    until: U63
    signature: Bytes64

    @property
    def hash(self) -> Hash:
        """What a charge names it by."""
        return digest("pass-hash", *_fields(self), self.signature)

    def is_open(self, now: int) -> bool:
        """Whether a message accepted at ``now`` is covered."""
        return self.opened_at <= now < self.until

    def verify(
        self, receipt_pk: bytes, relay_id: RelayId, business_id: BusinessId, mailbox_id: MailboxId
    ) -> None:
        """:raises SignatureError: not made by this relay for this business and mailbox"""
        message = pass_message(relay_id, business_id, mailbox_id, self)
        verify(receipt_pk, message, self.signature, "the pass")


def pass_message(
    relay_id: RelayId, business_id: BusinessId, mailbox_id: MailboxId, unsigned: Pass
) -> bytes:
    """What the receipt key signs."""
    return message_to_sign("pass", relay_id, business_id, mailbox_id, *_fields(unsigned))


def pass_hash(earned: Pass | None) -> Hash:
    """The hash of a pass, or zeros for none."""
    return NO_HASH if earned is None else earned.hash


def pass_kind(known: Pass) -> PassKind | None:
    """``None`` for a kind that this version does not know."""
    try:
        return PassKind(known.kind)
    except ValueError:
        return None


def _fields(of: Pass) -> tuple[bytes, ...]:
    return u8(of.kind), of.opener, u8(of.klass), u64(of.opened_at), u64(of.until)
