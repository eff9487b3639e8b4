"""Who may come in: sockets are counted from the moment that they are accepted.

Pure counting; the listener says what happened and does what is answered.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from kurir_server.limits import (
    MAX_CONNECTIONS,
    MAX_HALF_OPEN,
    MAX_NETWORK_CONNECTIONS,
    RESERVED_FILES,
)

SocketT = TypeVar("SocketT")


class Full(Enum):
    """Why nobody more is let in."""

    RELAY = "too many connections\n"
    NETWORK = "too many connections from your network\n"


@dataclass(frozen=True, slots=True)
class Room:
    """How many sockets of which kind there may be."""

    connections: int = MAX_CONNECTIONS
    of_one_network: int = MAX_NETWORK_CONNECTIONS
    half_open: int = MAX_HALF_OPEN

    @classmethod
    def within(cls, files: int) -> Room:
        """What fits into so many open files."""
        spare = max(2, files - RESERVED_FILES)
        half_open = min(MAX_HALF_OPEN, spare // 4)
        connections = min(MAX_CONNECTIONS, spare - half_open)
        return cls(connections, min(MAX_NETWORK_CONNECTIONS, connections), half_open)


@dataclass(slots=True)
class Doors(Generic[SocketT]):
    """The sockets of one process: half open ones, oldest first, and those that came in."""

    room: Room = field(default_factory=Room)
    _half_open: OrderedDict[SocketT, None] = field(default_factory=OrderedDict)
    _inside: dict[SocketT, bytes] = field(default_factory=dict)
    _networks: Counter[bytes] = field(default_factory=Counter)

    def arrived(self, socket: SocketT) -> SocketT | None:
        """A socket was accepted and has said nothing yet.

        :returns: the one to drop for it, if there are too many such
        """
        self._half_open[socket] = None
        if len(self._half_open) <= self.room.half_open:
            return None
        oldest, _ = self._half_open.popitem(last=False)
        return oldest

    def comes_in(self, socket: SocketT, network: bytes) -> Full | None:
        """A socket asked for what a client asks for.

        :returns: why it cannot come in; it stays half open then, until it leaves
        """
        if len(self._inside) >= self.room.connections:
            return Full.RELAY
        if self._networks[network] >= self.room.of_one_network:
            return Full.NETWORK
        self._half_open.pop(socket, None)
        self._inside[socket] = network
        self._networks[network] += 1
        return None

    def left(self, socket: SocketT) -> None:
        """A socket is gone."""
        self._half_open.pop(socket, None)
        network = self._inside.pop(socket, None)
        if network is not None:
            self._networks[network] -= 1
            if not self._networks[network]:
                del self._networks[network]

    @property
    def half_open(self) -> int:
        """How many have not come in."""
        return len(self._half_open)

    @property
    def inside(self) -> int:
        """How many came in."""
        return len(self._inside)

    def all(self) -> list[SocketT]:
        """Everybody."""
        return [*self._half_open, *self._inside]
