"""Entry tickets: the operator's word that whoever comes by an ad or link has an entry window.

The link carries the ticket's id and end; the customer's grant names its hash; the business shows it
whole, together with the hour in which the customer's mailbox was born. The mailbox id commits to
that hour, so that the relay needs to keep none. Source: docs/protocol.md, "Entry tickets".
"""

from __future__ import annotations

from msgspec import Struct

from kurir_billing.errors import EvidenceError
from kurir_billing.grant import Grant
from kurir_billing.kinds import GrantKind
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import SignatureError
from kurir_wire.ids import (
    DAY,
    HOUR,
    BusinessId,
    Hash,
    MailboxId,
    RelayId,
    digest,
    mailbox_id_of,
    u64,
)
from kurir_wire.prekeys import U32, U63, Bytes16, Bytes64
from kurir_wire.signing import message_to_sign, verify


class Ticket(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One ad or link of a business, good for customers who write before ``not_after`` (seconds)."""

    entry_id: Bytes16
    not_after: U63
    signature: Bytes64

    def hash(self, relay_id: RelayId, business_id: BusinessId) -> Hash:
        """What a grant of kind entry names."""
        return ticket_hash(relay_id, business_id, self.entry_id, self.not_after)

    def verify(self, operator_pk: bytes, relay_id: RelayId, business_id: BusinessId) -> None:
        """:raises SignatureError: not made by this operator for this business"""
        message = ticket_message(relay_id, business_id, self.entry_id, self.not_after)
        verify(operator_pk, message, self.signature, "the entry ticket")


class Entry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What a business shows with a grant of kind entry. ``born_hour``: unix time // 3600."""

    ticket: Ticket
    born_hour: U32


def ticket_hash(
    relay_id: RelayId, business_id: BusinessId, entry_id: bytes, not_after: int
) -> Hash:
    """The name of a ticket, from what its link says."""
    return digest("ticket-hash", relay_id, business_id, entry_id, u64(not_after))


def ticket_message(
    relay_id: RelayId, business_id: BusinessId, entry_id: bytes, not_after: int
) -> bytes:
    """What the operator signs."""
    return message_to_sign("ticket", relay_id, business_id, entry_id, u64(not_after))


def open_ticket(data: bytes) -> Ticket:
    """:raises MalformedError: not an entry ticket"""
    return unpack(data, Ticket, limit=2_048)


def packed_ticket(ticket: Ticket) -> bytes:
    """The transmitted form."""
    return pack(ticket)


def check_entry(
    entry: Entry,
    grant: Grant,
    relay_id: RelayId,
    operator_pk: bytes,
    business_id: BusinessId,
    mailbox_id: MailboxId,
    read_pk: bytes,
    gate: Hash,
) -> None:
    """Check that a grant (whose own signature :func:`~kurir_billing.grant.check_grant` checks) came
    by a ticket of this business, into a mailbox less than 24 hours old.

    :raises EvidenceError: forged, moved, expired, or the mailbox is older
    """
    if grant.kind != GrantKind.ENTRY or entry.ticket.hash(relay_id, business_id) != grant.ticket:
        raise EvidenceError("the entry ticket is not the one that the customer came by")
    try:
        entry.ticket.verify(operator_pk, relay_id, business_id)
    except SignatureError as error:
        raise EvidenceError("the operator never gave out this entry ticket") from error
    if grant.opens_at >= entry.ticket.not_after:
        raise EvidenceError("the entry ticket had expired when the customer came")
    if mailbox_id_of(relay_id, read_pk, gate, entry.born_hour) != mailbox_id:
        raise EvidenceError("the customer's mailbox was born in another hour")
    born = entry.born_hour * HOUR
    if not born <= grant.opens_at < born + DAY:
        raise EvidenceError("the customer's mailbox was more than 24 hours old")
