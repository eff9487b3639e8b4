"""What waits to be sent: in order to one client, bounded for all, and cut off from who stalls.

Nothing is lost with an outbox: what was delivered and not acknowledged waits on disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from kurir_server.limits import (
    DRAIN_BYTES,
    HAND_OVER_BYTES,
    MAX_OUTBOX_BYTES,
    MAX_OUTBOXES_BYTES,
    STALL_SECONDS,
)

LOOKS_PER_STALL: Final = 6
"""How often within STALL_SECONDS it is looked whether a client took something."""


class Wire(Protocol):
    """A socket, as far as sending goes. Once it is closing or gone it calls :meth:`Peer.forget`,
    and nothing is handed over to it any more.

    ``is_full``: the operating system takes nothing at present; :meth:`Peer.go_on` is called when it
    has taken nearly everything.
    """

    @property
    def is_full(self) -> bool: ...

    def hand_over(self, frames: Sequence[bytes]) -> bool:
        """Send these, in order.

        :returns: whether it takes more; if not, it is full
        """

    def say_goodbye(self, code: int, reason: str) -> None:
        """Close in good order."""

    def untaken(self) -> int:
        """Bytes handed over that the other side has not confirmed."""

    def cut(self) -> None:
        """Close at once, without a word."""


class Outboxes:
    """All outboxes. ``size`` in bytes, of all together; the length is how many clients had not
    taken all that was sent to them when it was last looked."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.size = 0
        self._clock = clock
        self._busy: dict[Peer, None] = {}
        self._owed: dict[Peer, None] = {}

    def __len__(self) -> int:
        return len(self._owed)

    def now(self) -> float:
        """Seconds of a steady clock."""
        return self._clock()

    def changed(self, peer: Peer, change: int) -> None:
        """``change`` bytes more wait for one client. Whoever hoards the most is cut when it is too
        much for all."""
        self.size += change
        if peer.size:
            self._busy[peer] = None
        else:
            self._busy.pop(peer, None)
        while self.size > MAX_OUTBOXES_BYTES:
            max(self._busy, key=lambda one: one.size).drop()

    def sends(self, peer: Peer) -> bool:
        """Something is sent to one client, who is watched until it has taken all.

        :returns: whether it had
        """
        if peer in self._owed:
            return False
        self._owed[peer] = None
        return True

    def forget(self, peer: Peer) -> None:
        """It is gone."""
        self._owed.pop(peer, None)

    def look(self) -> None:
        """Cut those that have taken nothing for too long, also of what only the system holds."""
        now = self.now()
        for peer in list(self._owed):
            if peer.has_taken_all:
                del self._owed[peer]
            elif peer.stalled(now) >= STALL_SECONDS:
                peer.drop()

    async def watch(self) -> None:
        """Look every few seconds."""
        while True:
            await asyncio.sleep(STALL_SECONDS / LOOKS_PER_STALL)
            self.look()


class Peer:
    """One client: ``network`` names where it comes from without saying so; ``size`` in bytes is
    what waits to be sent to it; ``on_taking`` is called when that has become little again."""

    __slots__ = (
        "_close",
        "_handed",
        "_held",
        "_is_gone",
        "_moved",
        "_outbox",
        "_outboxes",
        "_room",
        "_taken",
        "_wire",
        "network",
        "on_taking",
        "size",
    )

    def __init__(self, wire: Wire, network: bytes, outboxes: Outboxes) -> None:
        self.network = network
        self.size = 0
        self.on_taking: Callable[[], None] | None = None
        self._wire = wire
        self._outboxes = outboxes
        self._outbox: list[bytes] = []
        self._close: tuple[int, str] | None = None
        self._room: asyncio.Event | None = None
        self._handed = 0
        self._held = 0  # of what was handed over: it filled the wire, which has yet to take it
        self._taken = 0
        self._moved = 0.0
        self._is_gone = False

    def emit(self, frames: Sequence[bytes], close: tuple[int, str] | None = None) -> None:
        """Send frames in order, then close if asked to. Returns at once."""
        if self._is_gone or not (frames or close):
            return
        if self._outboxes.sends(self):
            self._moved = self._outboxes.now()
        self._close = self._close or close
        self._outbox += frames
        self._count(sum(map(len, frames)) - self._hand_over())
        self._finish()

    def go_on(self) -> None:
        """The wire takes more."""
        if not self._is_gone:
            taken, self._held = self._held, 0
            self._count(-taken - self._hand_over())
            self._finish()

    @property
    def is_taking(self) -> bool:
        """Whether little enough waits that more may be brought from the disk."""
        return self.size < DRAIN_BYTES

    @property
    def has_room(self) -> bool:
        """Whether little enough waits that it may ask for more."""
        return self.size < MAX_OUTBOX_BYTES

    async def room(self) -> None:
        """Wait until the client has taken enough of what was sent."""
        while not self.has_room:
            self._room = asyncio.Event()
            await self._room.wait()

    @property
    def has_taken_all(self) -> bool:
        """Whether nothing waits for the client, neither here nor with the system."""
        return not self.size and not self._wire.untaken()

    def stalled(self, now: float) -> float:
        """Seconds for which the client has taken nothing. Bytes count, not frames: one that is slow
        is not cut."""
        taken = self._handed - self._wire.untaken()
        if taken > self._taken:
            self._taken, self._moved = taken, now
        return now - self._moved

    def drop(self) -> None:
        """Cut the client; what waits for it is not sent."""
        self.forget()
        self._wire.cut()

    def forget(self) -> None:
        """The client is gone, or takes nothing more."""
        self._is_gone = True
        self._outbox.clear()
        self._count(-self.size)
        self._outboxes.forget(self)

    def _hand_over(self) -> int:
        """:returns: how many bytes do not wait any longer"""
        taken = 0
        while self._outbox and not self._wire.is_full:
            part, weight = self._next()
            self._handed += weight
            if self._wire.hand_over(part):
                taken += weight
            else:
                self._held = weight
        return taken

    def _finish(self) -> None:
        is_empty = not self._outbox and not self._wire.is_full
        if self._close is not None and is_empty and not self._is_gone:
            self._wire.say_goodbye(*self._close)

    def _next(self) -> tuple[list[bytes], int]:
        """Frames for one system call, and their bytes."""
        weight = 0
        for count, frame in enumerate(self._outbox, 1):
            weight += len(frame)
            if weight >= HAND_OVER_BYTES:
                part = self._outbox[:count]
                del self._outbox[:count]
                return part, weight
        part, self._outbox = self._outbox, []
        return part, weight

    def _count(self, change: int) -> None:
        if not change:
            return
        had_much = not self.is_taking
        self.size += change
        self._outboxes.changed(self, change)
        if self._room is not None and self.has_room:
            self._room.set()
            self._room = None
        if had_much and self.is_taking and not self._is_gone and self.on_taking is not None:
            self.on_taking()
