"""What waits to be sent: in order to one client, bounded for all, and cut off from who stalls.

Nothing is lost with an outbox: what was delivered and not acknowledged waits on disk.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from kurir_server.limits import DRAIN_BYTES, MAX_OUTBOX_BYTES, MAX_OUTBOXES_BYTES, STALL_SECONDS

LOOKS_PER_STALL: Final = 6
"""How often within STALL_SECONDS it is looked whether a client took something."""


class GoneError(Exception):
    """the client is not there any more"""


class Wire(Protocol):
    """A socket, as far as sending goes."""

    async def hand_over(self, frame: bytes) -> None:
        """Returns when the operating system has nearly all of it.

        :raises GoneError: the client is gone"""

    async def say_goodbye(self, code: int, reason: str) -> None:
        """Close in good order."""

    def untaken(self) -> int:
        """Bytes handed over that the other side has not confirmed."""

    def cut(self) -> None:
        """Close at once, without a word."""


class Outboxes:
    """All outboxes that hold something. ``size`` in bytes, of all together."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.size = 0
        self._clock = clock
        self._busy: dict[Peer, None] = {}

    def now(self) -> float:
        """Seconds of a steady clock."""
        return self._clock()

    def grew(self, peer: Peer, size: int) -> None:
        """Whoever hoards the most is cut when it is too much for all."""
        self._busy[peer] = None
        self.size += size
        while self.size > MAX_OUTBOXES_BYTES:
            max(self._busy, key=lambda one: one.size).drop()

    def shrank(self, size: int) -> None:
        """So many bytes were sent or dropped."""
        self.size -= size

    def idle(self, peer: Peer) -> None:
        """An outbox is empty."""
        self._busy.pop(peer, None)

    def look(self) -> None:
        """Cut those that have taken nothing for too long."""
        now = self.now()
        for peer in list(self._busy):
            if peer.stalled(now) >= STALL_SECONDS:
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
        "_moved",
        "_outbox",
        "_outboxes",
        "_room",
        "_sender",
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
        self._outbox: deque[bytes] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._close: tuple[int, str] | None = None
        self._room: asyncio.Event | None = None
        self._handed = 0
        self._taken = 0
        self._moved = 0.0

    def emit(self, frames: Sequence[bytes], close: tuple[int, str] | None = None) -> None:
        """Send frames in order, then close if asked to. Returns at once."""
        self._outbox.extend(frames)
        self._close = self._close or close
        grown = sum(map(len, frames))
        if (self._outbox or self._close) and self._sender is None:
            self._moved = self._outboxes.now()
            self._sender = asyncio.create_task(self._send())
        if grown or close:
            self.size += grown
            self._outboxes.grew(self, grown)

    @property
    def is_taking(self) -> bool:
        """Whether little enough waits that more may be brought from the disk."""
        return self.size < DRAIN_BYTES

    async def room(self) -> None:
        """Wait until the client has taken enough of what was sent."""
        while self.size >= MAX_OUTBOX_BYTES:
            self._room = asyncio.Event()
            await self._room.wait()

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
        """The client is gone."""
        self._outbox.clear()
        self._outboxes.shrank(self.size)
        self.size = 0
        if self._room is not None:
            self._room.set()

    async def _send(self) -> None:
        try:
            while self._outbox:
                frame = self._outbox.popleft()
                self._handed += len(frame)
                await self._wire.hand_over(frame)
                self._took(len(frame))
            if self._close is not None:
                await self._wire.say_goodbye(*self._close)
                self.forget()
        except GoneError:
            self.forget()
        finally:
            self._sender = None
            if not self._outbox:
                self._outboxes.idle(self)

    def _took(self, size: int) -> None:
        had_much = not self.is_taking
        taken = min(size, self.size)  # none of it counts any more if the client was dropped
        self.size -= taken
        self._outboxes.shrank(taken)
        if self._room is not None and self.size < MAX_OUTBOX_BYTES:
            self._room.set()
            self._room = None
        if had_much and self.is_taking and self.on_taking is not None:
            self.on_taking()
