"""Uploading and downloading blobs, chunk by chunk: what a client does, without its encryption.

It stands on one function that asks and is answered, so it works over any connection.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kurir_wire import codes
from kurir_wire.blob_frames import (
    BlobChunksAre,
    BlobDelete,
    BlobGet,
    BlobKey,
    BlobNew,
    BlobPut,
    BlobRequest,
    BlobStatus,
    BlobStatusIs,
    Chunk,
    NewBlob,
)
from kurir_wire.blobs import BlobId, blob_id_of, read_gate, write_gate
from kurir_wire.entries import Result
from kurir_wire.frames import Error, Results
from kurir_wire.ids import RelayId
from kurir_wire.limits import CHUNKS_AT_ONCE

Ask = Callable[[BlobRequest], Awaitable[Any]]
WAIT: Final = {codes.RATE, codes.FULL, codes.UNAVAILABLE}


class BlobRefused(Exception):
    """The relay did not do it."""

    def __init__(self, result: Result) -> None:
        super().__init__(f"{result.code}: {result.detail}")
        self.result = result


def token() -> bytes:
    return secrets.token_bytes(32)


@dataclass(frozen=True)
class Attachment:
    """What the writer of a blob keeps; readers are told ``id`` and ``read`` only."""

    relay_id: RelayId
    chunks: int
    life: int = 24
    write: bytes = field(default_factory=token)
    read: bytes = field(default_factory=token)

    @property
    def id(self) -> BlobId:
        new = self.new
        return blob_id_of(self.relay_id, new.write_gate, new.read_gate, self.chunks, self.life)

    @property
    def new(self) -> NewBlob:
        return NewBlob(write_gate(self.write), read_gate(self.read), self.chunks, self.life)

    @property
    def key(self) -> BlobKey:
        return BlobKey(self.id, self.write)


async def create(ask: Ask, attachment: Attachment) -> None:
    """:raises BlobRefused: no room now, or too fast"""
    _check((await _results(ask, BlobNew(1, [attachment.new])))[0])


async def missing(ask: Ask, attachment: Attachment) -> list[int]:
    """What is not there yet: all of it, nothing, or the rest of an upload that broke off."""
    reply = await ask(BlobStatus(1, attachment.id, attachment.write))
    if isinstance(reply, Error):
        raise BlobRefused(reply.result)
    assert isinstance(reply, BlobStatusIs)
    return [i for i in range(reply.chunks) if not reply.there[i // 8] >> i % 8 & 1]


async def upload(
    ask: Ask,
    attachment: Attachment,
    chunk_at: Callable[[int], bytes],
    wait: Callable[[int], Awaitable[None]],
) -> None:
    """Bring what is missing; the chunks come from ``chunk_at`` when they are wanted, and where the
    relay says so it is waited first."""
    todo = await missing(ask, attachment)
    while todo:
        now, todo = todo[:CHUNKS_AT_ONCE], todo[CHUNKS_AT_ONCE:]
        chunks = [Chunk(index, chunk_at(index)) for index in now]
        results = await _results(ask, BlobPut(1, attachment.id, attachment.write, chunks))
        again = []
        for index, result in zip(now, results, strict=True):
            if result is not None and result.code in WAIT:
                again.append((index, result.retry_after or 1))
            else:
                _check(result)
        if again:
            todo = [index for index, _ in again] + todo
            await wait(max(seconds for _, seconds in again))


async def download(
    ask: Ask, blob_id: BlobId, read: bytes, wait: Callable[[int], Awaitable[None]]
) -> AsyncIterator[bytes]:
    """The chunks in their order, a few in memory at a time."""
    first, size = 0, 1
    while first < size:
        reply = await ask(BlobGet(1, blob_id, read, first, CHUNKS_AT_ONCE))
        if isinstance(reply, Error):
            if reply.result.code not in WAIT:
                raise BlobRefused(reply.result)
            await wait(reply.result.retry_after or 1)
            continue
        assert isinstance(reply, BlobChunksAre)
        size = reply.size
        for chunk in reply.chunks:
            yield chunk
        first += len(reply.chunks)


async def delete(ask: Ask, attachment: Attachment) -> None:
    """:raises BlobRefused: it is not there"""
    _check((await _results(ask, BlobDelete(1, [attachment.key])))[0])


async def _results(ask: Ask, request: BlobRequest) -> Sequence[Result | None]:
    reply = await ask(request)
    assert isinstance(reply, Results), reply
    return reply.results


def _check(result: Result | None) -> None:
    if result is not None and result.code != codes.OK:
        raise BlobRefused(result)
