"""Message keys of messages that have not come yet: bounded, the oldest evicted first."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from kurir_crypto.errors import SkippedTooFarError
from kurir_crypto.kdf import chain_step

MAX_SKIPPED: Final = 2_000
"""Keys kept at once: a day of a busy bot out of order."""
MAX_JUMP: Final = 25_000
"""Messages that one message may leap over: 75 ms of hashing; more is a broken session."""

KeyName = Annotated[bytes, Meta(max_length=36)]
"""A chain's own name, then a message's number in it (u32)."""
MessageKey = Annotated[bytes, Meta(min_length=32, max_length=32)]
Skipped = Annotated[dict[KeyName, MessageKey], Meta(max_length=MAX_SKIPPED)]
"""Message keys by name, the oldest first. Treated as immutable: every change copies."""


def skip(chain: bytes, name: bytes, at: int, until: int, skipped: Skipped) -> tuple[bytes, Skipped]:
    """Walk a chain from message ``at`` to ``until``, keeping the keys on the way.

    :returns: the chain's key there, and the collection with what is new; what exceeds MAX_SKIPPED
        is forgotten
    """
    if until <= at:
        return chain, skipped
    keys = dict(skipped)
    for number in range(at, until):
        chain, key = chain_step(chain)
        keys[name + number.to_bytes(4, "big")] = key
    for old in list(keys)[: max(0, len(keys) - MAX_SKIPPED)]:
        del keys[old]
    return chain, keys


def without(skipped: Skipped, name: bytes) -> Skipped:
    """The collection after that key was used."""
    keys = dict(skipped)
    del keys[name]
    return keys


def check_jump(count: int) -> None:
    """:raises SkippedTooFarError: more than MAX_JUMP messages would be leapt over"""
    if count > MAX_JUMP:
        raise SkippedTooFarError(
            f"{count} messages are missing before this one, where at most {MAX_JUMP} are bridged"
        )
