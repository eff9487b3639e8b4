"""Blobs: the rules of making, filling, reading and deleting them, and of who may take how much.

Pure: :meth:`Blobs.work` says what to do for a request, which runs in the thread of blobs inside a
transaction. Nothing here knows a mailbox, a business or a connection; of a
network only an opaque name, for rates in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from kurir_server.blob_rows import Blob, BlobRows, Put
from kurir_server.limits import (
    BLOB_QUOTA,
    BLOB_RESERVE,
    BLOB_SPACE_RATE,
    BLOB_TIDY_CHUNKS,
    BLOB_UPLOAD_HOURS,
    MAX_BUCKETS,
    TIDY_SECONDS,
)
from kurir_server.rates import Buckets
from kurir_server.rows import Moment
from kurir_server.work import UNAVAILABLE
from kurir_wire import codes
from kurir_wire.blob_frames import (
    BlobChunksAre,
    BlobDelete,
    BlobGet,
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
from kurir_wire.gates import opens
from kurir_wire.ids import HOUR, Hash, RelayId
from kurir_wire.limits import CHUNK_BYTES

NO_BLOB: Final = Result(codes.NOT_FOUND, "there is no such blob, or this does not open it")
DAMAGED: Final = Result(
    codes.NOT_FOUND, "a chunk is no longer as it was written; its writer can bring it again"
)
BEYOND: Final = Result(codes.MALFORMED, "the blob has fewer chunks")
OTHER_BYTES: Final = Result(codes.CONFLICT, "other bytes are in the place of this chunk")

Answer: TypeAlias = Results | Error | BlobStatusIs | BlobChunksAre
Run: TypeAlias = Callable[[BlobRows, Moment], Answer]


@dataclass(frozen=True, slots=True)
class Work:
    """What to run for a request. ``failed`` is the answer if that could not be done; ``weight`` in
    bytes of chunks that it moves."""

    run: Run
    failed: Answer
    weight: int


@dataclass(frozen=True, slots=True)
class Room:
    """How much blobs may take: ``quota`` bytes in all, and ``reserve`` bytes of the disk stay
    free."""

    quota: int = BLOB_QUOTA
    reserve: int = BLOB_RESERVE


DEFAULT_ROOM: Final = Room()


class Blobs:
    """The blob rules of one relay.

    :param free_bytes: asks how much room the disk has
    """

    def __init__(self, relay_id: RelayId, room: Room, free_bytes: Callable[[], int]) -> None:
        self._relay_id = relay_id
        self._room = room
        self._free_bytes = free_bytes
        self._space: Buckets[bytes] = Buckets(BLOB_SPACE_RATE, MAX_BUCKETS)
        """Used in the thread of blobs only, unlike the paces of connections."""

    @property
    def quota(self) -> int:
        """Bytes that all may take together."""
        return self._room.quota

    def work(self, request: BlobRequest, network: bytes) -> Work:
        """What to do for a request of a network."""
        return Work(
            self._run(request, network),
            refused(request, UNAVAILABLE),
            _moved_by(request) * CHUNK_BYTES,
        )

    def sweep(self, rows: BlobRows, moment: Moment) -> bool:
        """One step of housekeeping: remove what has come to its end.

        :returns: whether there is more
        """
        self._space.prune(moment.tick)
        return rows.sweep(moment.sure // HOUR, BLOB_TIDY_CHUNKS)

    def _run(self, request: BlobRequest, network: bytes) -> Run:
        match request:
            case BlobNew(n, blobs):
                return lambda rows, moment: Results(
                    n, [self._new(rows, moment, network, new) for new in blobs]
                )
            case BlobPut():
                return lambda rows, moment: self._put(rows, moment, request)
            case BlobStatus():
                return lambda rows, moment: _status(rows, moment, request)
            case BlobGet():
                return lambda rows, moment: _get(rows, moment, request)
            case BlobDelete(n, keys):
                return lambda rows, moment: Results(
                    n, [_delete(rows, moment, BlobId(key.blob_id), key.token) for key in keys]
                )

    def _new(self, rows: BlobRows, moment: Moment, network: bytes, new: NewBlob) -> Result | None:
        blob_id = blob_id_of(self._relay_id, new.write_gate, new.read_gate, new.chunks, new.life)
        hour = moment.now // HOUR
        stored = rows.blob(blob_id)
        if stored is not None and stored.expires_hour > moment.sure // HOUR:
            return None
        cost = new.chunks * (BLOB_UPLOAD_HOURS + new.life)
        slow = self._space.look(network, moment.tick, cost)
        if slow is not None:
            left = slow.left // (BLOB_UPLOAD_HOURS + new.life)
            return Result(codes.RATE, "so much room only later", slow.retry_after, left)
        left = min(self._room.quota // CHUNK_BYTES - rows.reserved(), self._free_chunks())
        if new.chunks > left:
            return _full(moment, max(0, left))
        self._space.take(network, moment.tick, cost)
        if stored is not None:
            rows.end_blob(stored.row)
        rows.add_blob(
            blob_id,
            Hash(new.write_gate),
            Hash(new.read_gate),
            new.chunks,
            new.life,
            _end(hour, BLOB_UPLOAD_HOURS),
        )
        return None

    def _put(self, rows: BlobRows, moment: Moment, put: BlobPut) -> Answer:
        blob = _opened(rows, moment, BlobId(put.blob_id), write_gate(put.token), is_write=True)
        if blob is None:
            return Results(put.n, [NO_BLOB] * len(put.chunks))
        before = blob.missing
        results = [self._put_one(rows, moment, blob, chunk) for chunk in put.chunks]
        if blob.missing < before:
            if blob.missing == 0:
                blob.expires_hour = _end(moment.now // HOUR, blob.life)
                blob.life = 0
            rows.put_blob(blob)
        return Results(put.n, results)

    def _put_one(self, rows: BlobRows, moment: Moment, blob: Blob, chunk: Chunk) -> Result | None:
        if chunk.index >= blob.chunks:
            return BEYOND
        if self._free_chunks() < 1:
            return _full(moment, 0)
        match rows.put_chunk(blob.row, chunk.index, chunk.data):
            case Put.ADDED:
                blob.missing -= 1
                return None
            case Put.SAME:
                return None
            case Put.OTHER:
                return OTHER_BYTES

    def _free_chunks(self) -> int:
        return (self._free_bytes() - self._room.reserve) // CHUNK_BYTES


def _status(rows: BlobRows, moment: Moment, request: BlobStatus) -> Answer:
    blob = _opened(rows, moment, BlobId(request.blob_id), write_gate(request.token), is_write=True)
    if blob is None:
        return Error(request.n, NO_BLOB)
    there = bytearray(-(-blob.chunks // 8))
    for index in rows.indexes(blob.row):
        there[index // 8] |= 1 << index % 8
    return BlobStatusIs(request.n, blob.chunks, bytes(there), blob.expires_hour * HOUR)


def _get(rows: BlobRows, moment: Moment, request: BlobGet) -> Answer:
    blob = _opened(rows, moment, BlobId(request.blob_id), read_gate(request.token), is_write=False)
    if blob is None:
        return Error(request.n, NO_BLOB)
    if request.first >= blob.chunks:
        return Error(request.n, BEYOND)
    found: list[bytes] = []
    for index in range(request.first, min(request.first + request.count, blob.chunks)):
        data = rows.chunk(blob.row, index)
        if data is None:
            return Error(request.n, DAMAGED)
        found.append(data)
    return BlobChunksAre(request.n, blob.chunks, found)


def _delete(rows: BlobRows, moment: Moment, blob_id: BlobId, token: bytes) -> Result | None:
    blob = _opened(rows, moment, blob_id, write_gate(token), is_write=True)
    if blob is None:
        return NO_BLOB
    rows.end_blob(blob.row)
    return None


def _opened(
    rows: BlobRows, moment: Moment, blob_id: BlobId, gate: Hash, *, is_write: bool
) -> Blob | None:
    """The blob, if the gate is the one that it asks for. Nobody reads one that is not whole."""
    blob = rows.blob(blob_id)
    if blob is None or not opens(blob.write_gate if is_write else blob.read_gate, gate):
        return None
    if blob.expires_hour <= moment.sure // HOUR or (blob.missing and not is_write):
        return None
    return blob


def _end(hour: int, hours: int) -> int:
    """The hour at whose beginning something goes that lasts for so many whole hours."""
    return hour + 1 + hours


def _full(moment: Moment, left: int) -> Result:
    """Room comes when an hour ends, with the next round of housekeeping; or whenever a writer
    deletes."""
    wait = HOUR - moment.now % HOUR + TIDY_SECONDS
    return Result(codes.FULL, "the relay holds as many blobs as it may", wait, left)


def _results_of(request: BlobRequest) -> int | None:
    """Entries of the reply; ``None`` where a refusal is an ``error``."""
    match request:
        case BlobNew(_, blobs):
            return len(blobs)
        case BlobDelete(_, keys):
            return len(keys)
        case BlobPut():
            return len(request.chunks)
        case BlobStatus() | BlobGet():
            return None


def _moved_by(request: BlobRequest) -> int:
    """Chunks that a request brings or wants."""
    match request:
        case BlobPut():
            return len(request.chunks)
        case BlobGet():
            return request.count
        case BlobNew() | BlobStatus() | BlobDelete():
            return 0


def refused(request: BlobRequest, result: Result) -> Answer:
    """The answer to a request of which nothing was done."""
    count = _results_of(request)
    return Error(request.n, result) if count is None else Results(request.n, [result] * count)


def counts_for(request: BlobRequest) -> int:
    """How much of a pace a request takes: the chunks that it moves, and one at least."""
    return max(1, _moved_by(request))
