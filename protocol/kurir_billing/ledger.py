"""The ledger: one Merkle tree over all settled charges of a relay, and its signed checkpoints.

A checkpoint is a signed note as other transparency logs make them (c2sp.org/tlog-checkpoint and
c2sp.org/signed-note), so that their tools and witnesses can read it. The form is fixed here to one
spelling. Source: docs/protocol.md, "Ledger".
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final

from kurir_billing.adjust import Adjust
from kurir_billing.errors import LedgerError
from kurir_billing.leaf import Leaf
from kurir_wire.errors import SignatureError
from kurir_wire.ids import Hash, RelayId
from kurir_wire.merkle import leaf_hash
from kurir_wire.signing import verify

MAX_SIZE: Final = 0x7FFF_FFFF_FFFF_FFFF
MAX_NOTE: Final = 2_048
"""Bytes of a note: this form has about 350."""

_ED25519: Final = b"\1"
_KEY_HASH_BYTES: Final = 4
_NOTE: Final = re.compile(
    r"(kurir-ledger/[0-9a-f]{64})\n([1-9][0-9]{0,18})\n([A-Za-z0-9+/]{43}=)\n"
    r"\n— \1 ([A-Za-z0-9+/]{91}=)\n"
)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What the ledger of a relay was when it had ``size`` entries."""

    relay_id: RelayId
    size: int
    root: Hash


@dataclass(frozen=True, slots=True)
class PlaceInLedger:
    """Where one entry stands (from 0), and the proof that it does."""

    index: int
    proof: tuple[bytes, ...]


def adjust_hash(adjust: Adjust, relay_id: RelayId) -> Hash:
    """The hash by which an adjustment stands in the tree."""
    return leaf_hash(adjust.hash(relay_id))


def entry_hash(leaf: Leaf, relay_id: RelayId) -> Hash:
    """The hash by which a settled charge stands in the tree."""
    return leaf_hash(leaf.hash(relay_id))


def origin(relay_id: RelayId) -> str:
    """The ledger's name: the first line of a checkpoint, and the name of its key."""
    return f"kurir-ledger/{relay_id.hex()}"


def key_hash(name: str, public_key: bytes) -> bytes:
    """Four bytes by which a note says which key signed."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:_KEY_HASH_BYTES]


def checkpoint_text(checkpoint: Checkpoint) -> bytes:
    """What the checkpoint key signs."""
    name, root = origin(checkpoint.relay_id), _base64(checkpoint.root)
    return f"{name}\n{checkpoint.size}\n{root}\n".encode()


def signed_checkpoint(checkpoint: Checkpoint, public_key: bytes, signature: bytes) -> bytes:
    """The note as it travels."""
    name = origin(checkpoint.relay_id)
    signed = _base64(key_hash(name, public_key) + signature)
    return checkpoint_text(checkpoint) + f"\n— {name} {signed}\n".encode()


def open_checkpoint(note: bytes, checkpoint_pk: bytes, relay_id: RelayId) -> Checkpoint:
    """Read a note and check its signature.

    :raises LedgerError: not a checkpoint, of another relay, or not signed by its checkpoint key
    """
    try:
        text = note.decode("utf-8") if len(note) <= MAX_NOTE else ""
        match = _NOTE.fullmatch(text)
    except UnicodeDecodeError:
        match = None
    if match is None:
        raise LedgerError("this is not a checkpoint of a ledger")
    if match[1] != origin(relay_id):
        raise LedgerError("the checkpoint is of another relay's ledger")
    checkpoint = Checkpoint(relay_id, int(match[2]), Hash(base64.b64decode(match[3])))
    signed = base64.b64decode(match[4])
    signature = signed[_KEY_HASH_BYTES:]
    # Writing it again finds what the pattern lets through: base64 with bits left over, another
    # key's hash.
    again = signed_checkpoint(checkpoint, checkpoint_pk, signature)
    if checkpoint.size > MAX_SIZE or note != again:
        raise LedgerError("the checkpoint is not in its one spelling, or names another key")
    try:
        verify(checkpoint_pk, checkpoint_text(checkpoint), signature, "the checkpoint")
    except SignatureError as error:
        raise LedgerError(str(error)) from error
    return checkpoint


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
