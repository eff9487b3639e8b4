"""Grants: the customer's signed permission to answer, and the window that it opens.

A grant rests on a beacon, so it cannot be made in advance; it names relay, business and mailbox, so
it cannot be moved; and its window counts from the beacon, so it cannot be stretched.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from msgspec import Struct

from kurir_billing.errors import EvidenceError
from kurir_billing.kinds import GrantKind
from kurir_billing.windows import WINDOW, is_open
from kurir_wire.errors import SignatureError
from kurir_wire.ids import (
    MINUTE,
    NO_HASH,
    BusinessId,
    Hash,
    MailboxId,
    RelayId,
    digest,
    u8,
    u32,
)
from kurir_wire.prekeys import U8, U32, Bytes16, Bytes32, Bytes64
from kurir_wire.signing import message_to_sign, verify


class Grant(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """ "This business may answer into this mailbox, since this beacon"; signed by the read key."""

    kind: U8
    minute: U32
    nonce: Bytes16
    ticket: Bytes32
    signature: Bytes64

    @property
    def opens_at(self) -> int:
        """Seconds; the first moment of the window."""
        return self.minute * MINUTE

    @property
    def closes_at(self) -> int:
        """Seconds; the first moment at which the window is shut."""
        return self.opens_at + WINDOW

    @property
    def hash(self) -> Hash:
        """What a charge names as its evidence: every field, so that it cannot be told otherwise
        later, whether or not anybody checked the signature."""
        return digest(
            "grant-hash",
            u8(self.kind),
            u32(self.minute),
            self.nonce,
            self.ticket,
            self.signature,
        )

    def is_open(self, now: int) -> bool:
        """Whether an answer accepted at ``now`` is inside the window."""
        return is_open(self.opens_at, WINDOW, now)


def grant_message(
    relay_id: RelayId,
    business_id: BusinessId,
    mailbox_id: MailboxId,
    kind: GrantKind,
    minute: int,
    nonce: bytes,
    ticket: Hash | bytes = NO_HASH,
) -> bytes:
    """What the mailbox's read key signs."""
    return message_to_sign(
        "grant", relay_id, business_id, mailbox_id, u8(kind), u32(minute), nonce, ticket
    )


def check_grant(
    grant: Grant,
    relay_id: RelayId,
    business_id: BusinessId,
    mailbox_id: MailboxId,
    read_pk: bytes,
    beacon_nonce: Callable[[int], bytes] | None = None,
) -> None:
    """Check that the mailbox's reader made this grant for this business, on a real beacon.

    :param beacon_nonce: the relay's own beacons by minute; ``None`` where they cannot be recomputed
    :raises EvidenceError: forged, moved, or resting on a beacon that the relay never gave out
    """
    if grant.kind not in tuple(GrantKind):
        raise EvidenceError("a grant of this kind is not known here")
    kind = GrantKind(grant.kind)
    if (kind is GrantKind.ENTRY) != (grant.ticket != NO_HASH):
        raise EvidenceError("a grant names an entry ticket if it is of kind entry, and only then")
    if beacon_nonce is not None and not hmac.compare_digest(
        beacon_nonce(grant.minute), grant.nonce
    ):
        raise EvidenceError("the grant rests on a beacon that this relay never gave out")
    message = grant_message(
        relay_id, business_id, mailbox_id, kind, grant.minute, grant.nonce, grant.ticket
    )
    try:
        verify(read_pk, message, grant.signature, "the grant")
    except SignatureError as error:
        raise EvidenceError(
            "the grant was not signed for this business by this mailbox's reader"
        ) from error
