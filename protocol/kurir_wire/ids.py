"""Identifiers, hashes and the units of time.

Every signed or hashed structure starts with its own domain string ``kurir/NAME/1\\0``, followed by
fixed-width fields (docs/protocol.md, "Conventions"). Times are whole seconds, UTC, since 1970.
"""

from __future__ import annotations

import functools
import hashlib
from typing import Final, NewType

RelayId = NewType("RelayId", bytes)
"""32 bytes: ``H("relay", root public key)``."""
BusinessId = NewType("BusinessId", bytes)
"""32 bytes: ``H("business", root public key)``."""
MailboxId = NewType("MailboxId", bytes)
"""32 bytes: ``H("mailbox", relay id, read public key, gate, born hour)``."""
EnvelopeId = NewType("EnvelopeId", bytes)
"""16 random bytes, made by the sender."""
Hash = NewType("Hash", bytes)
"""32 bytes: a domain-separated SHA-256."""

NO_HASH: Final = Hash(bytes(32))
"""Stands for "there is none" in a fixed-width field."""

MINUTE: Final = 60
HOUR: Final = 3_600
DAY: Final = 86_400
WEEK: Final = 604_800


@functools.cache
def domain(name: str) -> bytes:
    """The domain string of a structure: ``kurir/NAME/1\\0``."""
    return b"kurir/" + name.encode("ascii") + b"/1\0"


def digest(name: str, *fields: bytes) -> Hash:
    """SHA-256 over the domain string and the fields, in order.

    Callers pass fixed-width fields, or one field of any length alone.
    """
    return Hash(hashlib.sha256(b"".join((domain(name), *fields))).digest())


def u8(value: int) -> bytes:
    """One byte."""
    return value.to_bytes(1, "big")


def u16(value: int) -> bytes:
    """Two bytes, big-endian."""
    return value.to_bytes(2, "big")


def u32(value: int) -> bytes:
    """Four bytes, big-endian."""
    return value.to_bytes(4, "big")


def u64(value: int) -> bytes:
    """Eight bytes, big-endian."""
    return value.to_bytes(8, "big")


@functools.lru_cache(maxsize=64)
def relay_id_of(root_public: bytes) -> RelayId:
    """The id of the relay whose root key this is."""
    return RelayId(digest("relay", root_public))


@functools.lru_cache(maxsize=4_096)  # every charge asks for it many times
def business_id_of(root_public: bytes) -> BusinessId:
    """The id of the business whose root key this is."""
    return BusinessId(digest("business", root_public))


def mailbox_id_of(relay_id: RelayId, read_public: bytes, gate: Hash, born_hour: int) -> MailboxId:
    """The id of a mailbox: it commits to its relay, reader, gate and hour of birth."""
    return MailboxId(digest("mailbox", relay_id, read_public, gate, u32(born_hour)))
