"""Blobs: encrypted chunks that wait at a relay for whoever has the token to read them.

Two secrets, 32 random bytes each: the write token stays with the one who uploads, the read token
goes to the readers inside the encryption. The relay stores only their hashes, and nothing that
leads from a blob to a mailbox (docs/protocol.md, "Blobs").
"""

from __future__ import annotations

from typing import NewType

from kurir_wire.ids import Hash, RelayId, digest, u16

BlobId = NewType("BlobId", bytes)
"""32 bytes: ``H("blob", relay id, write gate, read gate, u16 chunks, u16 life)``."""


def write_gate(token: bytes) -> Hash:
    """What the relay stores of a 32-byte write token."""
    return digest("blob-write", token)


def read_gate(token: bytes) -> Hash:
    """What the relay stores of a 32-byte read token."""
    return digest("blob-read", token)


def blob_id_of(
    relay_id: RelayId, write: Hash | bytes, read: Hash | bytes, chunks: int, life: int
) -> BlobId:
    """The id of a blob: it commits to its relay, its gates, its size in chunks and its life in
    hours, so that it stands for one thing only."""
    return BlobId(digest("blob", relay_id, write, read, u16(chunks), u16(life)))
