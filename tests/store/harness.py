"""What the suite needs of an implementation, and how it knows which methods it has covered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

import pytest

from kurir_server.errors import StorageError
from kurir_server.rows import Mailbox, Rows
from kurir_server.storage import Store
from kurir_wire.ids import BusinessId, EnvelopeId, Hash, MailboxId

T = TypeVar("T")
Test = TypeVar("Test", bound=Callable[..., Any])

RELAY_ID = bytes(range(32))
LARGEST = 2**63 - 1
NUMBERS = (0, 1, 2**31, 2**32 + 1, 2**53 + 1, LARGEST)
"""Where a number that was kept as something else would come back as another."""
BYTES = (b"", b"\0", b"a\0b", bytes(range(256)), b"\xff" * 65_536)


class Backend(Protocol):
    """Makes one store and opens it as often as wanted, from any thread."""

    def open(self) -> Store:
        """The same data each time; made, for ``RELAY_ID``, at the first."""


class SharedBackend(Backend, Protocol):
    """One whose data other processes can open as well."""

    def source(self) -> str:
        """Lines of Python by which a process of its own gets it, open, as ``store``."""


class _Recording:
    """Rows that note which of their methods were called."""

    def __init__(self, rows: Rows, called: set[str]) -> None:
        self._rows = rows
        self._called = called

    def __getattr__(self, name: str) -> Any:
        self._called.add(name)
        return getattr(self._rows, name)


class Stage:
    """A store under test."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.called: set[str] = set()
        self.store = backend.open()

    def run(self, work: Callable[[Rows], T]) -> T:
        return self.store.transact(self.recorded(work))

    def recorded(self, work: Callable[[Rows], T]) -> Callable[[Rows], T]:
        return lambda rows: work(cast("Rows", _Recording(rows, self.called)))

    def refused(self, work: Callable[[Rows], object]) -> None:
        """What ``work`` wants is not possible, and nothing of it holds."""
        with pytest.raises(StorageError):
            self.run(work)

    def reopen(self) -> None:
        self.store.close()
        self.store = self.backend.open()

    # What most tests begin with

    def mailbox(self, number: int = 0, keep_until: int = 500_000) -> int:
        """:returns: its row"""

        def work(rows: Rows) -> Mailbox | None:
            rows.add_mailbox(box_id(number), b"k" * 32, gate(number), keep_until)
            return rows.mailbox(box_id(number))

        found = self.run(work)
        assert found is not None
        return found.row

    def envelope(
        self,
        row: int,
        n: int,
        *,
        hour: int = 400_000,
        charge: Hash | None = None,
        body: bytes = b"body",
    ) -> EnvelopeId:
        name = envelope_id(n)
        assert self.run(lambda rows: rows.add_envelope(row, n, name, hour, charge, body))
        return name

    def charge(self, number: int, until_day: int = 20_000) -> Hash:
        name = hash_of(number)
        self.run(
            lambda rows: rows.add_charge(
                name, 480_000, hash_of(1_000 + number), b"charge %d" % number, until_day
            )
        )
        return name


def covers(*names: str) -> Callable[[Test], Test]:
    """The test is about these methods; it fails if it does not call them."""

    def mark(test: Test) -> Test:
        test.covers = names  # type: ignore[attr-defined]
        return test

    return mark


def box_id(number: int) -> MailboxId:
    return MailboxId(b"box" + number.to_bytes(29, "big"))


def gate(number: int) -> Hash:
    return Hash(b"gate" + number.to_bytes(28, "big"))


def envelope_id(number: int) -> EnvelopeId:
    return EnvelopeId(b"env" + number.to_bytes(13, "big"))


def hash_of(number: int) -> Hash:
    """In the order of their numbers."""
    return Hash(b"hash" + number.to_bytes(28, "big"))


def shop(number: int) -> BusinessId:
    return BusinessId(b"shop" + number.to_bytes(28, "big"))
