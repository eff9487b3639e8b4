"""The store as the rest of the relay sees it: transactions over :class:`~kurir_server.rows.Rows`.

``kurir_server.store`` is the one implementation today: a single SQLite file. Another must pass
tests/store/conformance.py; docs/store.md says what it has to know beyond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from kurir_server.limits import MAX_RESERVE, RESERVE_PART
from kurir_server.rows import Rows

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes: what can still be written, and what there is in all."""

    free: int
    total: int

    @property
    def is_enough(self) -> bool:
        """Whether anything new may come in; below, the rest is for readers."""
        return self.free > min(MAX_RESERVE, self.total // RESERVE_PART)


class Store(Protocol):
    """One open store. All methods belong to the thread that opened it.

    *Isolation.* Transactions are serial: each sees all that was committed before it began, by
    whichever process, and nothing else. Where two want to run at once, one waits.

    *Atomicity.* If ``work`` raises, whatever it raises, nothing of it holds.

    *Durability.* When ``transact`` returns, the transaction survives the end of the process and of
    the machine.

    *Once.* ``work`` is called once at most: rules count paces in memory as they go. A store whose
    database may ask to begin anew takes a lock first, or raises ``StorageError``.

    *Order.* Bytes are ordered as unsigned bytes, shorter before longer with the same beginning.
    Methods of ``Rows`` say where an order is promised; elsewhere there is none.

    *Values.* Integers are 0 to 2 ** 63 - 1, bytes and text have any content, and come back exactly;
    ``None`` and empty bytes are two things. What does not fit raises, and is never cut.
    """

    @property
    def relay_id(self) -> bytes:
        """The relay whose data this is, as given when it was made."""

    def transact(self, work: Callable[[Rows], T]) -> T:
        """Run ``work`` in one transaction.

        ``Rows``, and what it returns lazily, are of no use after ``work`` has returned.

        :raises StorageError: not at present; nothing of it holds, and the next may succeed
        :raises DamagedError: what ``work`` met is not as it was written; nothing of it holds
        """

    def read(self, work: Callable[[Rows], T]) -> T:
        """Run ``work``, which only reads, on one state of the data, all of it committed. Neither
        waits for a transaction nor holds one up. What it writes nonetheless does not hold.

        :raises StorageError: not at present
        """

    def checkpoint(self) -> bool:
        """What was deleted before is overwritten wherever the store keeps data, and gone from logs
        of its own, and so is the order of transactions, unless one of another process holds it up.
        What a store may leave nonetheless is in docs/threat-model.md.

        :returns: whether it is; else try again
        :raises StorageError: not at present"""

    @property
    def changes(self) -> int:
        """Rows written since it was opened: if it has not risen, a transaction wrote nothing."""

    def take_damaged(self) -> Counter[str]:
        """What was met since the last call that is not as it was written, and how often."""

    def room(self) -> Room:
        """What can still be written.

        :raises StorageError: not known at present"""

    def close(self) -> None:
        """Give back what is held. What was committed stays."""


class AsyncStore(Protocol):
    """A store in a thread of its own."""

    @property
    def path(self) -> Path:
        """What lies on the disk whose room the operator's monitoring shows."""

    def run(self, work: Callable[[Store], T]) -> Awaitable[T]:
        """Run ``work`` in that thread; one after the other, in the order of calls."""

    def close(self) -> Awaitable[None]:
        """Close the store and end its thread."""
