"""The passphrase: a header that holds the store's random key, wrapped under argon2id.

The store (SQLCipher) is encrypted under a random key, so a new passphrase rewrites this header and
not the store. The header is not secret; whoever has it can try passphrases, each at the cost that
it states. Its parameters are bounded before any memory is taken: a header may come from anywhere.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from typing import Final

from nacl import bindings
from nacl import exceptions as nacl_exceptions

from kurir_crypto.aead import XCHACHA_BYTES, xchacha_decrypt, xchacha_encrypt
from kurir_crypto.errors import (
    AuthenticationError,
    DamagedVaultError,
    VaultError,
    WrongPassphraseError,
)
from kurir_crypto.kdf import same
from kurir_crypto.reader import Reader
from kurir_wire.ids import domain, u32

KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
MIN_MEMORY_KIB: Final = 8
"""libsodium's minimum."""
MAX_MEMORY_KIB: Final = 1_048_576
"""1 GiB: what the smallest device that we think of can spare for a second."""
MAX_OPERATIONS: Final = 16
"""A minute at 1 GiB on a slow machine."""

_MAGIC: Final = domain("vault")
_WRAPPED_BYTES: Final = KEY_BYTES + XCHACHA_BYTES
_CHECK_BYTES: Final = 16
HEADER_BYTES: Final = len(_MAGIC) + 4 + 4 + SALT_BYTES + _WRAPPED_BYTES + _CHECK_BYTES


@dataclass(frozen=True, slots=True)
class Cost:
    """What one try of a passphrase costs: argon2id with one lane (RFC 9106).

    :ivar operations: passes over the memory
    :ivar memory_kib: memory, in KiB
    """

    operations: int
    memory_kib: int

    def __post_init__(self) -> None:
        if not 1 <= self.operations <= MAX_OPERATIONS:
            raise ValueError(f"1 to {MAX_OPERATIONS} passes, not {self.operations}")
        if not MIN_MEMORY_KIB <= self.memory_kib <= MAX_MEMORY_KIB:
            raise ValueError(
                f"{MIN_MEMORY_KIB} to {MAX_MEMORY_KIB} KiB of memory, not {self.memory_kib}"
            )


DEFAULT_COST: Final = Cost(operations=3, memory_kib=262_144)
"""libsodium's MODERATE: 256 MiB, 0.5 to 1 second."""
CHEAP_COST: Final = Cost(operations=1, memory_kib=8)
"""For tests only: 0.1 ms."""


def create(passphrase: str, cost: Cost = DEFAULT_COST) -> tuple[bytes, bytes]:
    """A new header and the random 32-byte key that it holds.

    :raises VaultError: not enough memory
    """
    key = os.urandom(KEY_BYTES)
    return _wrap(key, passphrase, cost), key


def unlock(header: bytes, passphrase: str) -> bytes:
    """The 32-byte key.

    :raises WrongPassphraseError: it does not open the header
    :raises DamagedVaultError: the header is cut, altered or asks for an absurd amount of work
    :raises VaultError: not enough memory
    """
    cost, salt, wrapped = _parse(header)
    try:
        return xchacha_decrypt(_stretch(passphrase, salt, cost), wrapped, _head(cost, salt))
    except AuthenticationError as error:
        raise WrongPassphraseError from error


def change(header: bytes, old: str, new: str, cost: Cost | None = None) -> bytes:
    """A header that holds the same key under another passphrase. Replace the file atomically, and
    mind that an old copy still opens with the old passphrase.

    :param cost: None keeps what the header says
    :raises WrongPassphraseError: ``old`` does not open the header
    :raises DamagedVaultError: as for :func:`unlock`
    """
    key = unlock(header, old)
    return _wrap(key, new, cost or _parse(header)[0])


def _wrap(key: bytes, passphrase: str, cost: Cost) -> bytes:
    salt = os.urandom(SALT_BYTES)
    head = _head(cost, salt)
    header = head + xchacha_encrypt(_stretch(passphrase, salt, cost), key, head)
    return header + _checksum(header)


def _parse(header: bytes) -> tuple[Cost, bytes, bytes]:
    if len(header) != HEADER_BYTES or not header.startswith(_MAGIC):
        raise DamagedVaultError
    # Tells damage from a wrong passphrase; against malice there is the tag.
    if not same(_checksum(header[:-_CHECK_BYTES]), header[-_CHECK_BYTES:]):
        raise DamagedVaultError
    reader = Reader(header, DamagedVaultError)
    reader.take(len(_MAGIC))
    operations, memory_kib = reader.number(4), reader.number(4)
    try:
        cost = Cost(operations, memory_kib)
    except ValueError as error:
        raise DamagedVaultError(f"the passphrase header asks for {error}") from error
    return cost, reader.take(SALT_BYTES), reader.take(_WRAPPED_BYTES)


def _head(cost: Cost, salt: bytes) -> bytes:
    return _MAGIC + u32(cost.operations) + u32(cost.memory_kib) + salt


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_CHECK_BYTES]


def _stretch(passphrase: str, salt: bytes, cost: Cost) -> bytes:
    # NFC (RFC 8265, section 4.2): one passphrase typed on two keyboards is one passphrase.
    # "surrogatepass": an environment variable need not be valid UTF-8.
    text = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")
    try:
        return bindings.crypto_pwhash_alg(
            32,
            text,
            salt,
            cost.operations,
            cost.memory_kib * 1_024,
            bindings.crypto_pwhash_ALG_ARGON2ID13,
        )
    except nacl_exceptions.RuntimeError as error:
        raise VaultError(f"not enough memory: {cost.memory_kib // 1_024} MiB are needed") from error
