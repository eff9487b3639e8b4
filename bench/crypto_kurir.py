"""kurir: PQXDH and the Triple Ratchet, without the sealing around it."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Final

from bench.crypto_library import Library
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.message import accept, decrypt, encrypt, inspect
from kurir_crypto.sealing import Binding
from kurir_crypto.session import Session
from kurir_wire.ids import EnvelopeId, MailboxId
from kurir_wire.prekeys import PREKEY_ONE_TIME, PREKEY_SIGNED, PreKeyBundle

STARTED: Final = 29_900_000
"""A unix minute in 2026."""
BINDING: Final = Binding(MailboxId(b"m" * 32), EnvelopeId(b"e" * 16))


@dataclass(eq=False)
class Person:
    """Identity and prekeys, held in memory; prekeys of both kinds have the same ids."""

    identity: IdentityKeyPair = field(default_factory=IdentityKeyPair.generate)
    one_time: dict[int, OwnEcPreKey] = field(default_factory=dict)
    kem: dict[int, OwnKemPreKey] = field(default_factory=dict)
    made: int = 0

    def __post_init__(self) -> None:
        self.signed = OwnEcPreKey.generate(self.identity, PREKEY_SIGNED, 1)

    def add(self) -> None:
        """One more one-time prekey of each kind."""
        self.made += 1
        self.one_time[self.made] = OwnEcPreKey.generate(self.identity, PREKEY_ONE_TIME, self.made)
        self.kem[self.made] = OwnKemPreKey.generate(self.identity, PREKEY_ONE_TIME, self.made)

    def signed_prekey(self, key_id: int) -> OwnEcPreKey | None:
        """See :class:`kurir_crypto.handshake.PreKeyStore`."""
        return self.signed

    def one_time_prekey(self, key_id: int) -> OwnEcPreKey | None:
        """See :class:`kurir_crypto.handshake.PreKeyStore`."""
        return self.one_time.get(key_id)

    def kem_prekey(self, kind: int, key_id: int) -> OwnKemPreKey | None:
        """See :class:`kurir_crypto.handshake.PreKeyStore`."""
        return self.kem.get(key_id)


class Kurir(Library[Person, Session]):
    """This project."""

    name = "kurir"
    version = version("kurir")
    stock = 100

    def person(self, prekeys: int) -> Person:
        """See :class:`.Library`."""
        made = Person()
        for _ in range(prekeys):
            made.add()
        return made

    def refill(self, person: Person) -> None:
        """See :class:`.Library`."""
        person.add()

    def offer(self, person: Person) -> PreKeyBundle:
        """See :class:`.Library`."""
        key_id = next(iter(person.one_time))
        return PreKeyBundle(
            person.identity.public,
            person.signed.public,
            person.kem[key_id].public,
            person.one_time[key_id].public,
        )

    def start(self, own: Person, offered: object, plaintext: bytes) -> tuple[Session, bytes]:
        """See :class:`.Library`."""
        assert isinstance(offered, PreKeyBundle)
        session = Session.initiate(own.identity, offered, STARTED)
        return self.encrypt(session, plaintext)

    def accept(self, own: Person, sender: Person, first: bytes) -> tuple[Session, bytes]:
        """See :class:`.Library`."""
        opened = accept(own.identity, own, first, BINDING)
        if opened.used_one_time_ec is not None:
            del own.one_time[opened.used_one_time_ec]
        if opened.used_one_time_kem is not None:
            del own.kem[opened.used_one_time_kem]
        return opened.session, opened.content

    def encrypt(self, session: Session, plaintext: bytes) -> tuple[Session, bytes]:
        """See :class:`.Library`."""
        (after,), data = encrypt([session], plaintext, BINDING)
        return after, data

    def decrypt(self, session: Session, data: bytes) -> tuple[Session, bytes]:
        """See :class:`.Library`."""
        return decrypt(session, data, BINDING)

    def dump(self, session: Session) -> bytes:
        """See :class:`.Library`."""
        return session.to_bytes()

    def load(self, state: bytes) -> Session:
        """See :class:`.Library`."""
        return Session.from_bytes(state)

    def carries(self, data: bytes) -> str:
        """See :class:`.Library`."""
        [entry] = inspect(data)
        sparse = entry.head.headers.sparse
        if sparse.ask is not None:
            return "ask"
        return "nothing" if sparse.answer is None else "answer"
