"""Who is listening: accepts sockets, lets them in as far as there is room, asks silent ones whether
they are there, and says goodbye to all when the relay stops."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import math
import resource
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from kurir_server.doors import Doors, Full, Room
from kurir_server.errors import ConfigError
from kurir_server.limits import (
    CLOSE_SECONDS,
    HANDSHAKE_SECONDS,
    MAX_CONNECTIONS,
    MAX_HALF_OPEN,
    PING_SECONDS,
    RESERVED_FILES,
)
from kurir_server.peer import Outboxes, Peer
from kurir_server.websocket import Session, Socket
from kurir_wire.ids import MINUTE

IPV6_PREFIX: Final = 64
"""One customer of a provider gets at least a /64, so that counting single addresses is no limit."""
LOOKS_PER_PING: Final = 30
"""How often within the pause between two pings it is looked whose turn it is."""
GOING_AWAY: Final = 1001


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; tests have shorter ones."""

    handshake: float = HANDSHAKE_SECONDS
    ping: float = PING_SECONDS
    close: float = CLOSE_SECONDS
    clock: Callable[[], float] = time.monotonic


@dataclass(slots=True)
class Listener:
    """Accepts sockets and has a session for each.

    :param connect: makes the session of a new peer
    :param on_error: told of faults of ours; each ends one connection
    :param on_full: called with the number of connections when one more was refused, at most once
        a minute
    :param salt: secret of this process, so that a network's name cannot be turned back
    """

    connect: Callable[[Peer], Awaitable[Session]]
    on_error: Callable[[BaseException], None]
    on_full: Callable[[int], None]
    salt: bytes = field(repr=False)
    behind_proxy: bool = False
    timing: Timing = field(default_factory=Timing)
    room: Room | None = None
    doors: Doors[Socket] = field(init=False)
    outboxes: Outboxes = field(init=False)
    handshake_seconds: float = field(init=False)
    _server: asyncio.Server | None = None
    _watches: list[asyncio.Task[None]] = field(default_factory=list)
    _is_stopping: bool = False
    _said_full: float = -math.inf
    _here: set[Socket] = field(default_factory=set)
    _to_ask: OrderedDict[Socket, float] = field(default_factory=OrderedDict)
    _empty: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.doors = Doors(self.room or Room.within(_most_files()))
        self.outboxes = Outboxes(self.timing.clock)
        self.handshake_seconds = self.timing.handshake

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> tuple[str, int]:
        """Listen.

        :returns: the address that is bound
        :raises ConfigError: it cannot be bound
        """
        if tls is not None:
            # Once for TLS, which is over when a socket is made, and once for the rest.
            self.handshake_seconds = self.timing.handshake / 2
        try:
            self._server = await asyncio.get_running_loop().create_server(
                lambda: Socket(self),
                host,
                port,
                # A burst is for our own doors to bound, not for the system to drop unseen.
                backlog=MAX_HALF_OPEN,
                ssl=tls,
                ssl_handshake_timeout=None if tls is None else self.handshake_seconds,
                ssl_shutdown_timeout=None if tls is None else self.timing.close,
            )
        except OSError as error:
            reason = error.strerror or "the address cannot be used"
            raise ConfigError(f"cannot listen on {host}:{port}: {reason.lower()}") from error
        self._watches = [asyncio.create_task(each) for each in (self.outboxes.watch(), self._ask())]
        bound = next(iter(self._server.sockets)).getsockname()
        return bound[0], bound[1]

    async def stop(self) -> None:
        """Accept no more, say goodbye to those who are here, and wait until they are gone and what
        they asked for is done. Who does not take the goodbye is cut, and nobody is waited for
        without end: what was not acknowledged comes again."""
        if self._server is None or self._is_stopping:
            return
        self._server.close()
        self._is_stopping = True
        for socket in self.doors.all():
            socket.say_goodbye(GOING_AWAY, "the relay stops")
        self._empty.clear()
        if self._here:
            waiting = asyncio.ensure_future(self._empty.wait())
            # Once for the goodbye to leave, once for the answer.
            await asyncio.wait((waiting,), timeout=2 * self.timing.close)
            for socket in list(self._here):
                socket.abandon()
            await waiting
        for watch in self._watches:
            watch.cancel()

    # What sockets tell

    def arrived(self, socket: Socket) -> None:
        """It was accepted, and has said nothing yet."""
        self._here.add(socket)
        oldest = self.doors.arrived(socket)
        if oldest is not None:
            oldest.cut()
        if self._is_stopping:
            socket.cut()

    def comes_in(self, socket: Socket, network: bytes) -> Full | None:
        """It shook hands.

        :returns: why it cannot come in
        """
        full = self.doors.comes_in(socket, network)
        now = self.timing.clock()
        if full is None:
            self._to_ask[socket] = asyncio.get_running_loop().time() + self.timing.ping
        elif full is Full.RELAY and now - self._said_full >= MINUTE:
            # Whoever knocks at a full house would fill the log.
            self._said_full = now
            self.on_full(self.doors.inside)
        return full

    def left(self, socket: Socket) -> None:
        """Its connection is gone."""
        self.doors.left(socket)
        self._to_ask.pop(socket, None)

    def ended(self, socket: Socket) -> None:
        """And nothing works on what it sent any more."""
        self._here.discard(socket)
        if not self._here:
            self._empty.set()

    def network_of(self, host: str, forwarded: Sequence[str]) -> bytes:
        """
        :param forwarded: every X-Forwarded-For header
        :returns: an opaque name
        """
        if self.behind_proxy and forwarded:
            # Only the last entry is the proxy's own word.
            host = forwarded[-1].rpartition(",")[2].strip()
        return network_name(host, self.salt)

    async def _ask(self) -> None:
        """Ask all in turn: those who came together are asked together, and no one has a timer."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.timing.ping / LOOKS_PER_PING)
            now = loop.time()
            while self._to_ask:
                socket, due = next(iter(self._to_ask.items()))
                if due > now:
                    break
                self._to_ask[socket] = now + self.timing.ping
                self._to_ask.move_to_end(socket)
                try:
                    socket.ask()
                except Exception as error:
                    # A fault of ours at one must not keep the others from being asked.
                    self.on_error(error)


def _most_files() -> int:
    """Open files that this process may have, after asking for as many as it may ask for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + MAX_HALF_OPEN + RESERVED_FILES
    most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        return soft  # some systems have a limit beside the one that they name
    return most


def network_name(host: str, salt: bytes) -> bytes:
    """An opaque name of an IPv4 address or of the /64 of an IPv6 address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        packed = b"unknown"
    else:
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        packed = address.packed[: IPV6_PREFIX // 8]
    return hashlib.blake2b(packed, key=salt, digest_size=16).digest()
