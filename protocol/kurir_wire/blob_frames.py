"""Frames about blobs; :mod:`kurir_wire.frames` lists them among the others."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from kurir_wire.entries import LifeHours
from kurir_wire.limits import CHUNK_BYTES, CHUNKS_AT_ONCE, MAX_BLOB_CHUNKS, MAX_ITEMS
from kurir_wire.prekeys import U32, U63, Bytes32

Chunks = Annotated[int, Meta(ge=1, le=MAX_BLOB_CHUNKS)]
ChunkIndex = Annotated[int, Meta(ge=0, le=MAX_BLOB_CHUNKS - 1)]
ChunkBytes = Annotated[bytes, Meta(min_length=CHUNK_BYTES, max_length=CHUNK_BYTES)]
Bitmap = Annotated[bytes, Meta(max_length=MAX_BLOB_CHUNKS // 8)]


class _BlobStruct(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A frame about blobs, or an entry of one."""


# Entries


class NewBlob(_BlobStruct, frozen=True):
    """A blob to make: the hashes of its two tokens, its size in chunks, its life in hours from the
    last chunk's arrival on."""

    write_gate: Bytes32
    read_gate: Bytes32
    chunks: Chunks
    life: LifeHours


class Chunk(_BlobStruct, frozen=True):
    """One chunk on its way to the relay; the last one of a blob is padded to the same length."""

    index: ChunkIndex
    data: ChunkBytes


class BlobKey(_BlobStruct, frozen=True):
    """A blob and the token that permits what is asked."""

    blob_id: Bytes32
    token: Bytes32


# Requests


class BlobNew(_BlobStruct, frozen=True, tag="blob_new"):
    """Make blobs, still empty. Room for them is kept for a day."""

    n: U32
    blobs: Annotated[list[NewBlob], Meta(min_length=1, max_length=MAX_ITEMS)]


class BlobPut(_BlobStruct, frozen=True, tag="blob_put"):
    """Bring chunks of one blob, in any order, by its write token."""

    n: U32
    blob_id: Bytes32
    token: Bytes32
    chunks: Annotated[list[Chunk], Meta(min_length=1, max_length=CHUNKS_AT_ONCE)]


class BlobStatus(_BlobStruct, frozen=True, tag="blob_status"):
    """Which chunks of a blob are there, by its write token: to go on where an upload broke off."""

    n: U32
    blob_id: Bytes32
    token: Bytes32


class BlobGet(_BlobStruct, frozen=True, tag="blob_get"):
    """Chunks of a whole blob from ``first`` on, by its read token; fewer at its end."""

    n: U32
    blob_id: Bytes32
    token: Bytes32
    first: ChunkIndex
    count: Annotated[int, Meta(ge=1, le=CHUNKS_AT_ONCE)]


class BlobDelete(_BlobStruct, frozen=True, tag="blob_delete"):
    """Delete blobs, whole or not, by their write tokens."""

    n: U32
    blobs: Annotated[list[BlobKey], Meta(min_length=1, max_length=MAX_ITEMS)]


# Replies


class BlobStatusIs(_BlobStruct, frozen=True, tag="blob_status_is"):
    """Reply to blob_status. Bit ``i % 8`` (the lowest is 0) of byte ``i // 8`` of ``there`` says
    whether chunk ``i`` is there; ``end`` is the unix time at which what is there goes."""

    n: U32
    chunks: Chunks
    there: Bitmap
    end: U63


class BlobChunksAre(_BlobStruct, frozen=True, tag="blob_chunks_are"):
    """Reply to blob_get: the size of the whole blob in chunks, and those that follow ``first``."""

    n: U32
    size: Chunks
    chunks: Annotated[list[ChunkBytes], Meta(min_length=1, max_length=CHUNKS_AT_ONCE)]


BlobRequest: TypeAlias = BlobNew | BlobPut | BlobStatus | BlobGet | BlobDelete
BlobPush: TypeAlias = BlobStatusIs | BlobChunksAre
