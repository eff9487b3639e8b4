"""Proofs: what the keys of a client sign.

Each covers the relay and the connection's nonce, so that it is of no use on another connection or
at another relay.
"""

from __future__ import annotations

from kurir_wire.ids import BusinessId, Hash, MailboxId, RelayId, u32
from kurir_wire.signing import message_to_sign


def create_message(relay_id: RelayId, nonce: bytes, gate: Hash | bytes, born_hour: int) -> bytes:
    """What a read key signs to make its mailbox."""
    return message_to_sign("create", relay_id, nonce, gate, u32(born_hour))


def open_message(relay_id: RelayId, nonce: bytes, mailbox_id: MailboxId | bytes) -> bytes:
    """What a read key signs to read its mailbox."""
    return message_to_sign("open", relay_id, nonce, mailbox_id)


def prove_message(relay_id: RelayId, nonce: bytes, business_id: BusinessId | bytes) -> bytes:
    """What a lane key signs to speak for its business."""
    return message_to_sign("prove", relay_id, nonce, business_id)
