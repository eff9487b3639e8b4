"""One end ours and one end theirs, and what is on its way between them."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import Final, Protocol

import doubleratchet
import msgspec

from kurir_crypto.curve import check_x25519_public, generate_x25519
from kurir_crypto.errors import CryptoError, ReplayError
from kurir_crypto.ratchet import DoubleRatchet, RatchetHeader
from tests.oracle.libraries import SETTINGS, Ratchet, finished, first_root

SECRET: Final = 32


@dataclass(frozen=True)
class Message:
    """A header, and the key that the sender has for it."""

    header: RatchetHeader
    key: bytes


class End(Protocol):
    """One end of the conversation."""

    @property
    def may_send(self) -> bool: ...

    def send(self) -> Message: ...

    def receive(self, message: Message) -> bool:
        """Whether the same key came out; if not, nothing has changed."""
        ...


class Ours:
    """:class:`kurir_crypto.ratchet.DoubleRatchet`, stored and read back at every step."""

    def __init__(self, start: DoubleRatchet) -> None:
        self._stored = msgspec.msgpack.encode(start)

    def _load(self) -> DoubleRatchet:
        return msgspec.msgpack.decode(self._stored, type=DoubleRatchet)

    @property
    def may_send(self) -> bool:
        state = self._load()
        return state.turn_is_due or state.send_chain is not None

    def send(self) -> Message:
        state, header, key = self._load().send()
        self._stored = msgspec.msgpack.encode(state)
        return Message(header, key)

    def receive(self, message: Message) -> bool:
        try:
            state, key = self._load().receive(message.header)
        except CryptoError:
            return False
        if key != message.key:
            return False
        self._stored = msgspec.msgpack.encode(state)
        return True

    def is_replay(self, message: Message) -> bool:
        """Whether it is refused as one."""
        try:
            self._load().receive(message.header)
        except ReplayError:
            return True
        except CryptoError:
            pass
        return False


class Theirs:
    """The package's ratchet. It begins with its first message, sent or received."""

    def __init__(self, root: bytes, *, peer: bytes | None = None, own: bytes | None = None) -> None:
        """:param peer: the responder's signed prekey, for an initiator
        :param own: its secret, for a responder"""
        self._root, self._peer, self._own = root, peer, own
        self._ratchet: Ratchet | None = None

    @property
    def may_send(self) -> bool:
        return self._ratchet is not None or self._peer is not None

    def send(self) -> Message:
        if self._ratchet is None:
            assert self._peer is not None
            self._ratchet, sent = finished(
                Ratchet.encrypt_initial_message(
                    shared_secret=self._root,
                    recipient_ratchet_pub=self._peer,
                    message=b"",
                    associated_data=b"",
                    **SETTINGS,
                )
            )
        else:
            sent = finished(self._ratchet.encrypt_message(b"", b""))
        return Message(RatchetHeader(*sent.header), sent.ciphertext)

    def receive(self, message: Message) -> bool:
        encrypted = doubleratchet.EncryptedMessage(
            doubleratchet.Header(*message.header), message.key
        )
        try:
            if self._ratchet is not None:
                finished(self._ratchet.decrypt_message(encrypted, b""))
            elif self._own is not None:
                self._ratchet, _ = finished(
                    Ratchet.decrypt_initial_message(
                        shared_secret=self._root,
                        own_ratchet_priv=self._own,
                        message=encrypted,
                        associated_data=b"",
                        **SETTINGS,
                    )
                )
            else:
                return False
        except (
            doubleratchet.AuthenticationFailedException,
            doubleratchet.DoSProtectionException,
            doubleratchet.DuplicateMessageException,
        ):
            return False
        return True


def ends(*, ours_starts: bool) -> tuple[End, End]:
    """Initiator and responder with a fresh secret, one ours and one theirs."""
    secret = os.urandom(SECRET)
    prekey, public = generate_x25519()
    if ours_starts:
        mine = DoubleRatchet.start_initiator(secret, check_x25519_public(public))
        return Ours(mine), Theirs(first_root(secret), own=prekey)
    return (
        Theirs(first_root(secret), peer=public),
        Ours(DoubleRatchet.start_responder(secret, prekey, public)),
    )


@dataclass
class Schedule:
    """Who speaks when and what arrives when: everything follows from ``seed``, except the keys.

    :ivar opened: how many messages had the same key at both ends
    :ivar late: how many of them came after a later one of their chain
    :ivar keys: the ratchet keys that they came under
    """

    seed: int
    steps: int | None = None
    loss: float = 0.15
    burst: int = 3
    opened: int = 0
    late: int = 0
    keys: set[bytes] = field(default_factory=set)

    def run(self) -> None:
        """:raises AssertionError: the two disagree"""
        choose = random.Random(self.seed)
        both = ends(ours_starts=choose.random() < 0.5)
        under_way: tuple[list[Message], list[Message]] = ([], [])
        arrived: tuple[list[Message], list[Message]] = ([], [])
        for _ in range(self.steps or choose.randint(8, 90)):
            who = choose.randrange(2)
            # Messages to `who` are in under_way[who].
            match choose.choices(("send", "deliver", "again", "forge"), (4, 6, 1, 1))[0]:
                case "send" if both[who].may_send:
                    for _ in range(choose.randint(1, self.burst)):
                        message = both[who].send()
                        if choose.random() >= self.loss:
                            under_way[1 - who].append(message)
                case "deliver" if under_way[who]:
                    at = choose.choice((0, -1, choose.randrange(len(under_way[who]))))
                    self._deliver(both[who], under_way[who].pop(at), arrived[who])
                case "again" if arrived[who]:
                    self._again(both[who], choose.choice(arrived[who]))
                case "forge" if under_way[who]:
                    self._forge(both[who], choose.choice(under_way[who]), choose)
        for who in (1, 0):
            choose.shuffle(under_way[who])
            for message in under_way[who]:
                self._deliver(both[who], message, arrived[who])
            for message in arrived[who]:
                self._again(both[who], message)

    def _deliver(self, end: End, message: Message, arrived: list[Message]) -> None:
        assert end.receive(message), "the two have different keys"
        self.opened += 1
        self.keys.add(message.header.public)
        if arrived and message.header.public == arrived[-1].header.public:
            self.late += message.header.number < arrived[-1].header.number
        arrived.append(message)

    def _again(self, end: End, message: Message) -> None:
        assert not end.receive(message), "it opened twice"
        # Theirs says so of the present chain only.
        assert not isinstance(end, Ours) or end.is_replay(message), "ours does not call it a replay"

    def _forge(self, end: End, message: Message, choose: random.Random) -> None:
        """Nobody has these keys, and what comes later still opens."""
        header = message.header
        forged = choose.choice(
            (
                header._replace(public=generate_x25519()[1]),
                header._replace(number=header.number + choose.randint(1, 40)),
            )
        )
        other = os.urandom(SECRET) if choose.random() < 0.5 else message.key
        assert not end.receive(Message(forged, other)), "a forged header opened"
        assert not end.receive(Message(header, os.urandom(SECRET))), "another key opened"


__all__ = ["Message", "Schedule", "ends"]
