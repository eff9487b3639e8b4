"""What the rules of blobs ask of their store: records, and a port that ``kurir_server.store.blobs``
implements.

It is another store than that of messages, in a file and a thread of its own, so that neither waits
for the other and nothing of the one is a reference into the other. Transactions are as those of
:mod:`kurir_server.storage`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeVar

from kurir_wire.blobs import BlobId
from kurir_wire.ids import Hash

T = TypeVar("T")


@dataclass(slots=True)
class Blob:
    """A blob; rules change a copy and write it back with ``put_blob``.

    ``row`` is random. ``missing`` chunks of ``chunks`` are not there yet; ``life`` in hours, 0 once
    it is whole; it ends with the beginning of ``expires_hour``.
    """

    row: int
    id: BlobId
    write_gate: Hash
    read_gate: Hash
    chunks: int
    missing: int
    life: int
    expires_hour: int


class Put(Enum):
    """What became of a chunk."""

    ADDED = "added"
    SAME = "same"
    """It was there; where the copy had gone bad it is whole again."""
    OTHER = "other"
    """Other bytes are there, and stay."""


class BlobRows(Protocol):
    """Look-ups and writes within one transaction. Every method may raise ``StorageError``."""

    def blob(self, blob_id: BlobId) -> Blob | None: ...

    def add_blob(
        self,
        blob_id: BlobId,
        write_gate: Hash,
        read_gate: Hash,
        chunks: int,
        life: int,
        expires_hour: int,
    ) -> None:
        """An empty one."""

    def put_blob(self, blob: Blob) -> None:
        """Write back ``missing``, ``life`` and ``expires_hour``."""

    def end_blob(self, row: int) -> None:
        """From now on nobody finds it, and its id is free; what it holds goes with ``sweep``."""

    def put_chunk(self, row: int, index: int, data: bytes) -> Put: ...

    def chunk(self, row: int, index: int) -> bytes | None:
        """``None`` if it is not there, or not as it was written."""

    def indexes(self, row: int) -> list[int]:
        """Which chunks are there, ascending."""

    def reserved(self) -> int:
        """Chunks for which room is kept: of all blobs that have not been swept, there or not."""

    def sweep(self, hour: int, limit: int) -> bool:
        """Remove up to ``limit`` chunks of blobs that end at or before ``hour``, and such blobs
        once they are empty.

        :returns: whether there is more to remove"""


class BlobStore(Protocol):
    """One open store of blobs. All methods belong to the thread that opened it."""

    def transact(self, work: Callable[[BlobRows], T]) -> T:
        """As :meth:`kurir_server.storage.Store.transact`."""

    def checkpoint(self) -> None:
        """As :meth:`kurir_server.storage.Store.checkpoint`."""

    @property
    def writes(self) -> int:
        """Rows written since it was opened: a batch that wrote shows that the disk works."""

    def take_damaged(self) -> int:
        """Chunks that were found not to be as they were written, since the last call."""

    def free_bytes(self) -> int:
        """Room on the disk that is left to this process."""

    def close(self) -> None: ...
