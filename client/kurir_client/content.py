"""What is inside the encryption: one message's content, as the two ends see it.

The relay never sees any of this. Source: docs/protocol.md, "Content".
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from kurir_billing.grant import Grant
from kurir_crypto.sealing import MailboxKey
from kurir_wire.codec import pack, unpack
from kurir_wire.gates import payer_gate, token_gate
from kurir_wire.ids import BusinessId, Hash, MailboxId, RelayId, mailbox_id_of
from kurir_wire.limits import BUCKETS, MAX_NAME
from kurir_wire.prekeys import U8, U32, U63, Bytes16, Bytes32

HELLO: Final = 0
"""Introduces the sender and says where to answer; shows nothing."""
TEXT: Final = 1
"""A line of text."""
RESTART: Final = -1
"""A request for a fresh session: no content, but it waits in the outbox as one."""

MAX_TEXT: Final = 60_000
"""Bytes of UTF-8 in one message: the largest bucket less all overhead."""


class ReturnAddress(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A mailbox of the sender's, and all that is needed to write to it.

    ``opening`` is the send token of a personal mailbox, or the opening of the gate "this business
    pays, ``market``". The sealing key is that of week ``week`` (unix time // 604800).
    """

    read_pk: Bytes32
    born_hour: U32
    opening: Bytes32
    market: str | None
    week: U32
    key: Bytes32

    def __repr__(self) -> str:
        return "<ReturnAddress>"

    def gate(self, business_id: BusinessId | None) -> Hash:
        """The gate of the mailbox; a market means that the business pays."""
        if self.market is None or business_id is None:
            return token_gate(self.opening)
        return payer_gate(business_id, self.market, self.opening)

    def mailbox_id(self, relay_id: RelayId, business_id: BusinessId | None) -> MailboxId:
        """The id follows from the rest, so it cannot name somebody else's mailbox."""
        return mailbox_id_of(relay_id, self.read_pk, self.gate(business_id), self.born_hour)


class Destination(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a contact is written to, as it is kept here: never sent. Made from a return address, or
    from an invite's link, which does not tell the read key."""

    mailbox_id: Bytes32
    read_pk: Bytes32 | None
    opening: Bytes32
    market: str | None
    week: U32
    key: Bytes32
    born_hour: U32 | None = None

    def __repr__(self) -> str:
        return "<Destination>"

    @classmethod
    def of(
        cls, address: ReturnAddress, relay_id: RelayId, business_id: BusinessId | None
    ) -> Destination:
        """What to keep of a return address."""
        return cls(
            address.mailbox_id(relay_id, business_id),
            address.read_pk,
            address.opening,
            address.market,
            address.week,
            address.key,
            address.born_hour,
        )

    @property
    def mailbox_key(self) -> MailboxKey:
        """What to seal with."""
        return MailboxKey(self.week, self.key)

    def forward(self, week: int) -> Destination:
        """As of a week, if it is later: this one no longer opens what was sealed before."""
        key = self.mailbox_key.at(max(week, self.week))
        return msgspec.structs.replace(self, week=key.week, key=key.to_bytes()[-32:])

    def is_same_place(self, other: Destination) -> bool:
        """Whether it is the same mailbox, be it as of another week."""
        return (self.mailbox_id, self.read_pk) == (other.mailbox_id, other.read_pk)


class Intro(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Who writes and where to answer. Sent until the other side has been heard there."""

    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
    address: ReturnAddress


class Content(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One message.

    ``inner_id`` stays the same through every retry, so that a reader shows the message once;
    ``seq`` counts the sender's messages to this reader. ``grant`` allows a business to answer.
    ``settle_key`` and ``category`` are present in metered messages.
    """

    kind: U8
    inner_id: Bytes16
    seq: U63
    sent_at: U63
    text: Annotated[str, Meta(max_length=MAX_TEXT)] = ""
    intro: Intro | None = None
    grant: Grant | None = None
    category: U8 | None = None
    settle_key: Bytes32 | None = None

    def __repr__(self) -> str:
        return "<Content>"


def encode(content: Content) -> bytes:
    """Packed, before padding and encryption."""
    return pack(content)


def decode(data: bytes) -> Content:
    """:raises MalformedError: not a content that this version knows"""
    return unpack(data, Content, limit=BUCKETS[-1])


def franked_bytes(content: Content) -> bytes:
    """The canonical content without its settlement key: what the franking tag covers."""
    return pack(msgspec.structs.replace(content, settle_key=None))
