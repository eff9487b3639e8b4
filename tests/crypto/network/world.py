"""Devices and a network in the hands of an adversary, and what has to hold whatever it does.

Each method is one thing that happens. The state machine draws them at random; tests call them.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence

from kurir_crypto.errors import CryptoError, ReplayError, UnknownSessionError
from kurir_crypto.keys import IdentityKeyPair
from kurir_crypto.message import inspect
from kurir_crypto.ratchet import MAX_PAST_CHAINS
from kurir_crypto.restart import is_request
from kurir_crypto.sealing import Binding
from kurir_crypto.session import Session
from kurir_wire.ids import EnvelopeId, MailboxId
from kurir_wire.prekeys import PreKeyBundle
from tests.crypto.network.device import Device
from tests.crypto.network.parcel import SILENT, Crash, Parcel, seal, seal_request, unseal
from tests.crypto.parties import NOW


class World:
    """
    :ivar under_way: not delivered yet
    :ivar done: delivered; the adversary has kept a copy
    :ivar seen: how often something worth reaching was reached
    """

    def __init__(self, stocks: Sequence[int]) -> None:
        """:param stocks: for each device, how many one-time prekeys it has"""
        self.now = NOW
        self.seen: Counter[str] = Counter()
        self.under_way: list[Parcel] = []
        self.done: list[Parcel] = []
        self._ids = 0
        self._left: dict[tuple[bytes, ...], bytes] = {}
        # A device that is set back, or installed anew, is of another generation. Of each session,
        # the generations that started it: in a later one its messages may not open.
        self._generation = [0] * len(stocks)
        self._born: dict[bytes, dict[int, int]] = {}
        self._asked: dict[bytes, int] = {}
        self._answer: dict[bytes, bytes] = {}
        # A device that was set back may open a first message for the second time and answer it
        # anew; the peer then follows one of the two answers, whichever comes first.
        self._forked: set[bytes] = set()
        self._stock = list(stocks)
        self.devices = [Device(IdentityKeyPair.generate().to_bytes()) for _ in stocks]
        self.public = [device.own.public for device in self.devices]
        self.disks = [b""] * len(stocks)
        self._bundles: list[list[PreKeyBundle]] = [[] for _ in stocks]
        for who in range(len(stocks)):
            self._publish(who)
        self.backups = list(self.disks)

    def _next_ids(self, count: int) -> int:
        self._ids += count
        return self._ids - count

    def _publish(self, who: int) -> None:
        count = self._stock[who]
        self._bundles[who] = self.devices[who].stock(self._next_ids(count + 1), count)
        self._store(who)

    def _store(self, who: int) -> None:
        self.disks[who] = self.devices[who].encode()

    def bundle(self, who: int) -> PreKeyBundle:
        """As a relay hands it out: one-time prekeys once, the last resort to everybody."""
        bundles = self._bundles[who]
        if len(bundles) > 1:
            return bundles.pop(0)
        self.seen["last resort"] += 1
        return bundles[0]

    # what devices do

    def start(self, who: int, peer: int) -> Session:
        """Start a session, whether or not there is one."""
        session = self.devices[who].start(self.bundle(peer), self.now)
        self._store(who)
        self._born[session.id] = {i: self._generation[i] for i in (who, peer)}
        pending = self.devices[peer].sessions_with(self.public[who])
        self.seen["both start"] += any(s.initiated and not s.confirmed for s in pending)
        return session

    def _session(self, who: int, peer: int) -> Session:
        try:
            return self.devices[who].chosen(self.public[peer])
        except UnknownSessionError:
            return self.start(who, peer)

    def _to_silent(self, who: int) -> list[Session]:
        sessions = []
        for party in SILENT:
            try:
                sessions.append(self.devices[who].chosen(party.identity.public))
            except UnknownSessionError:
                sessions.append(self.devices[who].start(party.bundle(), self.now))
        return sessions

    def send(
        self,
        who: int,
        peers: Sequence[int],
        *,
        length: int = 0,
        crowd: bool = False,
        address: bool = False,
        crash: Crash | None = None,
    ) -> list[Parcel]:
        """Send one message.

        :param length: of the content, at the least
        :param crowd: to the silent devices as well
        :param address: sealed to an address, else into a mailbox
        :return: what left, one parcel for each of ``peers``
        """
        device = self.devices[who]
        sessions = [self._session(who, peer) for peer in peers]
        content = f"{self._next_ids(1)} from {who}".encode().ljust(length, b".")
        binding = self._binding(frozenset({who, *peers}))
        everybody = sessions + (self._to_silent(who) if crowd else [])
        message = device.encrypt(everybody, content, binding)
        body = seal(everybody, len(content), message, binding, self.now, address=address)
        readers = frozenset(peers)
        sound = {s.id for s in sessions if self._born[s.id][who] == self._generation[who]}
        self._forked |= {s.id for s in sessions} - sound
        parcels = [
            Parcel(
                who,
                peer,
                readers,
                address,
                binding,
                body,
                content,
                session.id,
                session.id in sound,
            )
            for peer, session in zip(peers, sessions, strict=True)
        ]
        if crash is Crash.BEFORE_STORING:
            self.crash(who)
            return []
        device.outbox[binding] = body
        self._store(who)
        if crash is Crash.BEFORE_SENDING:
            self.crash(who)
            # The same bytes leave after the crash.
            assert self.devices[who].outbox[binding] == body
        self._leave(who, sessions, message)
        self.under_way += parcels
        if crash is Crash.AFTER_SENDING:
            self.crash(who)
            assert self.devices[who].outbox[binding] == body
            self.under_way += parcels
        del self.devices[who].outbox[binding]
        self._store(who)
        return parcels

    def _binding(self, readers: frozenset[int]) -> bytes:
        mailbox = MailboxId(hashlib.sha256(bytes(sorted(readers))).digest())
        return bytes(Binding(mailbox, EnvelopeId(self._next_ids(1).to_bytes(16, "big"))))

    def _leave(self, who: int, sessions: Sequence[Session], message: bytes) -> None:
        """No two messages that left were encrypted with one key: no header comes twice."""
        entries = {entry.session_id: entry.head for entry in inspect(message)}
        for session in sessions:
            head = entries[session.id]
            curve, sparse = head.headers
            side = b"i" if session.initiated else b"r"
            # Of an answer given anew (above) only the Double Ratchet's keys are new: enough.
            generation = self._generation[who].to_bytes(4, "big")
            number, other = curve.number.to_bytes(4, "big"), sparse.number.to_bytes(4, "big")
            for name in (
                (session.id, curve.public, number),
                (session.id, side, generation, sparse.epoch.to_bytes(4, "big"), other),
            ):
                assert self._left.setdefault(name, message) == message, "a key was used twice"
            self.seen["ask"] += sparse.ask is not None
            self.seen["answer"] += sparse.answer is not None
            self.seen["epoch 3"] += sparse.epoch >= 3

    def ask_to_restart(self, who: int, peer: int) -> Parcel:
        """Send a restart request."""
        readers = frozenset({who, peer})
        binding = self._binding(readers)
        request = self.devices[who].ask_to_restart(binding, self._next_ids(3))
        self._store(who)
        body = seal_request(request, binding, self.now)
        parcel = Parcel(who, peer, frozenset({peer}), False, binding, body, b"", None, True)
        self._asked[binding] = self._generation[who]
        self.under_way.append(parcel)
        self.seen["restart asked"] += 1
        return parcel

    def crash(self, who: int) -> None:
        """Memory is lost; the disk is not."""
        self.devices[who] = Device.decode(self.disks[who])

    def back_up(self, who: int) -> None:
        self.backups[who] = self.disks[who]

    def restore(self, who: int) -> None:
        """Back to the last backup, which the device notices. It makes new prekeys; the old ones
        open what is under way."""
        self.devices[who] = Device.decode(self.backups[who])
        self.devices[who].came_from_a_backup()
        self._generation[who] += 1
        self._publish(who)
        self.seen["restored"] += 1

    def reinstall(self, who: int) -> None:
        """Nothing is left but the identity."""
        self.devices[who] = Device(self.devices[who].identity)
        self._generation[who] += 1
        self._publish(who)
        self.backups[who] = self.disks[who]
        self.seen["installed anew"] += 1

    # what the network does

    def unsealed(self, parcel: Parcel) -> bytes:
        """What the readers of that place find.

        :raises AuthenticationError: it does not open there
        """
        return unseal(parcel, self.now)

    def deliver(self, parcel: Parcel, *, crash: bool = False) -> None:
        """Deliver what was sent. It opens if the receiver has not lost what it takes.

        :param crash: it opens, and the device stops before it has stored anything
        """
        message = self.unsealed(parcel)
        if is_request(message):
            self._deliver_request(parcel, message)
            return
        if parcel in self.done:
            self.replay(parcel)
            self._finish(parcel)
            return
        self._note(parcel, message)
        error = self._arrives(parcel, message, parcel.binding, crash=crash)
        assert error is None or not self._must_open(parcel), f"{error!r}"
        self.seen["refused"] += error is not None
        if crash:
            self.crash(parcel.to)
        else:
            self._finish(parcel)

    def refuse(self, parcel: Parcel, error: type[CryptoError]) -> None:
        """Deliver what cannot open any more."""
        refused = self._arrives(parcel, self.unsealed(parcel), parcel.binding)
        assert isinstance(refused, error)

    def _finish(self, parcel: Parcel) -> None:
        if parcel in self.under_way:
            self.under_way.remove(parcel)
        if parcel not in self.done:
            self.done.append(parcel)

    def _must_open(self, parcel: Parcel) -> bool:
        assert parcel.session is not None
        device = self.devices[parcel.to]
        deleted = parcel.session in device.known and parcel.session not in device.sessions
        sound = parcel.sound and parcel.session not in self._forked and not deleted
        return sound and self._born[parcel.session].get(parcel.to) == self._generation[parcel.to]

    def _note(self, parcel: Parcel, message: bytes) -> None:
        data = self.devices[parcel.to].sessions.get(parcel.session or b"")
        if data is None:
            return
        session = Session.from_bytes(data)
        [head] = [e.head for e in inspect(message) if e.session_id == session.id]
        sparse = head.headers.sparse
        if sparse.epoch < session.sparse.epoch:
            name = sparse.epoch.to_bytes(4, "big") + sparse.number.to_bytes(4, "big")
            kept = name in session.sparse.skipped
            self.seen["late, key kept" if kept else "late, former chain"] += 1
        self.seen["skipped key"] += any(
            name.startswith(head.headers.curve.public)
            and name.endswith(head.headers.curve.number.to_bytes(4, "big"))
            for name in session.ratchet.skipped
        )

    def _deliver_request(self, parcel: Parcel, request: bytes) -> None:
        who, peer = parcel.to, parcel.sender
        device = self.devices[who]
        before = device.encode()
        try:
            session = device.restart(self.public[peer], request, parcel.binding, self.now)
        except ReplayError:
            assert device.encode() == before
            self._finish(parcel)
            return
        self._store(who)
        self._born[session.id] = {who: self._generation[who], peer: self._asked[parcel.binding]}
        # A device that was set back answers for the second time. Either session takes the keys.
        first = self._answer.setdefault(parcel.binding, session.id)
        if first != session.id:
            self._forked |= {first, session.id}
        self._finish(parcel)
        self.seen["restarted"] += 1
        self.send(who, [peer])

    def replay(self, parcel: Parcel) -> None:
        """Deliver again what was delivered."""
        message = self.unsealed(parcel)
        if is_request(message):
            self._deliver_request(parcel, message)
            return
        shown = (self.public[parcel.sender].sign_pk, parcel.content)
        was_shown = shown in self.devices[parcel.to].shown
        error = self._arrives(parcel, message, parcel.binding)
        data = self.devices[parcel.to].sessions.get(parcel.session or b"")
        if was_shown and data is not None:
            forgotten = len(Session.from_bytes(data).ratchet.past) == MAX_PAST_CHAINS
            assert isinstance(error, ReplayError) or forgotten, f"{error!r}"
            self.seen["replay"] += 1

    def _arrives(
        self, parcel: Parcel, message: bytes, binding: bytes, *, crash: bool = False
    ) -> CryptoError | None:
        """Bytes arrive at the parcel's device. Whoever made them: what is shown is that parcel's
        content under its sender's name, for the first time; what is refused leaves no trace."""
        who = parcel.to
        device, before = self.devices[who], self.disks[who]
        assert device.encode() == before
        try:
            content = device.open(message, binding, self.now)
        except CryptoError as error:
            assert device.encode() == before, "a refused message left a trace"
            return error
        shown = (self.public[parcel.sender].sign_pk, parcel.content)
        assert content == parcel.content
        assert device.shown[-1] == shown
        assert device.shown.count(shown) == 1, "shown twice"
        if not crash:
            self._store(who)
        return None

    # afterwards

    def settle(self, chance: random.Random) -> None:
        """Everything arrives, in some order."""
        while self.under_way:
            self.deliver(chance.choice(self.under_way))

    def converge(self, one: int, two: int) -> None:
        """Nobody interferes any more: both come to one session and talk on it, both ways."""
        assert not self.under_way
        clean = 0
        for turn in range(8):
            who, peer = (one, two) if turn % 2 == 0 else (two, one)
            clean = clean + 1 if self._gets_through(who, peer) else 0
            chosen = self._session(one, two), self._session(two, one)
            same = chosen[0].id == chosen[1].id
            if clean >= 2 and same and all(session.confirmed for session in chosen):
                return
        raise AssertionError("they do not find one session")

    def _gets_through(self, who: int, peer: int) -> bool:
        """Send, and if that does not open as it should, the other one asks for a restart."""
        [parcel] = self.send(who, [peer])
        self.deliver(parcel)
        opened = self.devices[peer].shown[-1:] == [(self.public[who].sign_pk, parcel.content)]
        # What opens on a session from a backup shows that its sender still prefers that one, on
        # which it will never get an answer.
        if opened and parcel.session not in self.devices[peer].void:
            return True
        self.deliver(self.ask_to_restart(peer, who))
        [answer] = self.under_way
        self.deliver(answer)
        assert self.devices[peer].shown[-1] == (self.public[who].sign_pk, answer.content)
        self.seen["healed"] += 1
        return False

    def heal(self, one: int, two: int, messages: int = 24) -> None:
        """Both epochs advance in so many messages, sent in turn."""
        before = [self._session(a, b).sparse.epoch for a, b in ((one, two), (two, one))]
        self.chat(one, two, messages)
        after = [self._session(a, b).sparse.epoch for a, b in ((one, two), (two, one))]
        assert all(a > b for a, b in zip(after, before, strict=True))

    def chat(self, one: int, two: int, messages: int, late: int = 0) -> None:
        """So many messages in turn, each delivered at once.

        :param late: a bit for each message; those whose bit is set stay under way
        """
        for turn in range(messages):
            who, peer = (one, two) if turn % 2 == 0 else (two, one)
            [parcel] = self.send(who, [peer])
            if not late >> turn & 1:
                self.deliver(parcel)
