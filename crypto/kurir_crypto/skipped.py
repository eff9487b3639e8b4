"""Message keys of messages that have not come yet: bounded, the oldest evicted first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from kurir_crypto.errors import DamagedStateError
from kurir_crypto.hidden import Hidden
from kurir_crypto.reader import Reader
from kurir_wire.ids import u32

MAX_SKIPPED: Final = 2_000
"""Keys kept at once: a day of a busy bot out of order, and 136 KB of stored state at most."""
_RECORD_BYTES: Final = 32 + 4 + 32

KeyName = tuple[bytes, int]
"""A chain's ratchet key (32 bytes) and a message's number in it."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SkippedKeys(Hidden):
    """An immutable, ordered collection of message keys by chain and number."""

    # Treated as immutable: every change copies. Insertion order is age.
    _keys: dict[KeyName, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._keys)

    def get(self, chain: bytes, number: int) -> bytes | None:
        """The key of one message, 32 bytes, or None."""
        return self._keys.get((chain, number))

    def without(self, chain: bytes, number: int) -> SkippedKeys:
        """The collection after that key was used."""
        keys = dict(self._keys)
        del keys[chain, number]
        return SkippedKeys(keys)

    def adding(self, new: Iterable[tuple[KeyName, bytes]]) -> SkippedKeys:
        """The collection with ``new`` keys, oldest first; what exceeds MAX_SKIPPED is forgotten."""
        keys = self._keys | dict(new)
        surplus = len(keys) - MAX_SKIPPED
        if surplus > 0:
            for name in list(keys)[:surplus]:
                del keys[name]
        return SkippedKeys(keys)

    def to_bytes(self) -> bytes:
        """Records of chain (32), number (4), key (32), oldest first."""
        return b"".join(chain + u32(n) + key for (chain, n), key in self._keys.items())

    @classmethod
    def from_bytes(cls, data: bytes) -> SkippedKeys:
        """:raises DamagedStateError: not whole records, too many, or one twice"""
        count, rest = divmod(len(data), _RECORD_BYTES)
        if rest or count > MAX_SKIPPED:
            raise DamagedStateError
        reader = Reader(data, DamagedStateError)
        keys = {}
        for _ in range(count):
            name = (reader.take(32), reader.number(4))
            keys[name] = reader.take(32)
        if len(keys) != count:
            raise DamagedStateError
        return cls(keys)
