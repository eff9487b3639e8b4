"""What a library has to do in these measurements, and three ways to keep a session's state."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from kurir_client.schema import Kind
from kurir_client.store import Store

CONTACT: Final = 1
"""Row id of the only contact in a measurement's database."""

P = TypeVar("P")
S = TypeVar("S")


class Library(ABC, Generic[P, S]):
    """A library as its users call it. ``P`` is a person with identity and prekeys, ``S`` one end of
    a session; values that change in place are returned as well."""

    name: str
    version: str
    stock: int
    """One-time prekeys that its users keep."""

    @abstractmethod
    def person(self, prekeys: int) -> P:
        """Somebody with so many signed one-time prekeys."""

    @abstractmethod
    def refill(self, person: P) -> None:
        """Replace the one-time prekey that was used."""

    @abstractmethod
    def offer(self, person: P) -> object:
        """What a server hands out for the next set-up with ``person``, as :meth:`start` takes it;
        never timed."""

    @abstractmethod
    def start(self, own: P, offered: object, plaintext: bytes) -> tuple[S, bytes]:
        """Check the signatures in what was offered, start a session, encrypt a first message."""

    @abstractmethod
    def accept(self, own: P, sender: P, first: bytes) -> tuple[S, bytes]:
        """The other end's session and the first message's plaintext; uses the prekey up. Of
        ``sender`` only public keys are read."""

    @abstractmethod
    def encrypt(self, session: S, plaintext: bytes) -> tuple[S, bytes]:
        """The bytes that travel."""

    @abstractmethod
    def decrypt(self, session: S, data: bytes) -> tuple[S, bytes]:
        """The plaintext."""

    @abstractmethod
    def dump(self, session: S) -> bytes:
        """A session as it is stored."""

    @abstractmethod
    def load(self, state: bytes) -> S:
        """The inverse of :meth:`dump`."""

    def carries(self, data: bytes) -> str:
        """What a later message carries beside its content: "nothing", "ask" or "answer"."""
        return "nothing"


class End(Protocol):
    """One end of a session, whatever keeps its state."""

    def encrypt(self, plaintext: bytes) -> bytes:
        """The bytes that travel, once the state after it is kept."""

    def decrypt(self, data: bytes) -> bytes:
        """The plaintext, once the state after it is kept."""


class InMemory(Generic[P, S]):
    """Keeps the session as the library's own value."""

    def __init__(self, library: Library[P, S], session: S) -> None:
        self._library = library
        self._session = session

    def encrypt(self, plaintext: bytes) -> bytes:
        """See :class:`End`."""
        self._session, data = self._library.encrypt(self._session, plaintext)
        return data

    def decrypt(self, data: bytes) -> bytes:
        """See :class:`End`."""
        self._session, plaintext = self._library.decrypt(self._session, data)
        return plaintext


class Serialised(Generic[P, S]):
    """Keeps the session as bytes: each step restores it and serialises it again."""

    def __init__(self, library: Library[P, S], session: S) -> None:
        self._library = library
        self._state = library.dump(session)

    def encrypt(self, plaintext: bytes) -> bytes:
        """See :class:`End`."""
        library = self._library
        session, data = library.encrypt(library.load(self._state), plaintext)
        self._state = library.dump(session)
        return data

    def decrypt(self, data: bytes) -> bytes:
        """See :class:`End`."""
        library = self._library
        session, plaintext = library.decrypt(library.load(self._state), data)
        self._state = library.dump(session)
        return plaintext


class Stored(Generic[P, S]):
    """Keeps the session in the client's SQLCipher database: each step is one transaction, which
    reads the session, writes it and is durable before the step ends, as in the client."""

    def __init__(self, library: Library[P, S], session: S, store: Store, session_id: bytes) -> None:
        self._library = library
        self._store = store
        self._id = session_id
        with store.transaction():
            store.put_session(session_id, CONTACT, library.dump(session))

    def encrypt(self, plaintext: bytes) -> bytes:
        """See :class:`End`."""
        library, store = self._library, self._store
        with store.transaction():
            session, data = library.encrypt(library.load(self._state()), plaintext)
            store.put_session(self._id, CONTACT, library.dump(session))
        return data

    def decrypt(self, data: bytes) -> bytes:
        """See :class:`End`."""
        library, store = self._library, self._store
        with store.transaction():
            session, plaintext = library.decrypt(library.load(self._state()), data)
            store.put_session(self._id, CONTACT, library.dump(session))
        return plaintext

    def _state(self) -> bytes:
        found = self._store.session(self._id)
        if found is None:
            raise RuntimeError("the session is not in the database")
        return found[1]


class Keeper(Protocol):
    """Makes one of the two ends of a session."""

    def __call__(self, library: Library[P, S], session: S, end: int) -> End:
        """:param end: 0 is who started the session, 1 the other"""


def in_memory(library: Library[P, S], session: S, end: int) -> End:
    """A :class:`Keeper`."""
    return InMemory(library, session)


def serialised(library: Library[P, S], session: S, end: int) -> End:
    """A :class:`Keeper`."""
    return Serialised(library, session)


class Databases:
    """Two people's databases, as the client makes them; :meth:`keep` is a :class:`Keeper`."""

    def __init__(self, folder: Path) -> None:
        self._stores = [Store.create(folder / f"{end}.db", os.urandom(32)) for end in range(2)]
        for store in self._stores:
            with store.transaction():
                store.add_contact("peer", Kind.PERSON)

    def keep(self, library: Library[P, S], session: S, end: int) -> End:
        """A :class:`Keeper`."""
        return Stored(library, session, self._stores[end], os.urandom(16))

    def empty(self) -> None:
        """Forget all sessions, so that a table's size does not grow over the rounds."""
        for store in self._stores:
            with store.transaction():
                store.drop_sessions(CONTACT, 0)

    def close(self) -> None:
        """Close both."""
        for store in self._stores:
            store.close()
