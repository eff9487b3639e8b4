"""Sockets: the only place that knows the WebSocket library.

The seam is small on purpose: ``on_frame`` brings a message up, ``emit`` takes frames down. Another
transport would replace this module and nothing else.
"""

from __future__ import annotations

import asyncio
import fcntl
import functools
import hashlib
import ipaddress
import logging
import math
import resource
import ssl
import sys
import termios
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol, cast

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, NegotiationError
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from kurir_server.doors import Doors, Full, Room
from kurir_server.errors import ConfigError
from kurir_server.limits import (
    CLOSE_SECONDS,
    HANDSHAKE_SECONDS,
    MAX_CONNECTIONS,
    MAX_HALF_OPEN,
    MAX_SOCKET_BUFFER,
    PING_SECONDS,
    RESERVED_FILES,
)
from kurir_server.peer import GoneError, Outboxes, Peer
from kurir_wire.ids import MINUTE
from kurir_wire.limits import MAX_FRAME, SUBPROTOCOL

IPV6_PREFIX: Final = 64
"""One customer of a provider gets at least a /64, so that counting single addresses is no limit."""
INBOX_FRAMES: Final = 4
"""Messages of one socket that are read ahead; then TCP holds the sender back."""
GOING_AWAY: Final = 1001
INTERNAL_ERROR: Final = 1011


class Session(Protocol):
    """What stands above one socket."""

    async def on_frame(self, data: bytes | str) -> None:
        """Take one message; the next one is read when this returns."""

    def on_close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; tests have shorter ones."""

    handshake: float = HANDSHAKE_SECONDS
    ping: float = PING_SECONDS
    close: float = CLOSE_SECONDS
    clock: Callable[[], float] = time.monotonic


class _Socket(ServerConnection):
    """A socket that is counted, and that owes nobody more than it may."""

    def __init__(self, doors: Doors[_Socket], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._doors = doors

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        oldest = self._doors.arrived(self)
        if oldest is not None:
            oldest.cut()

    def connection_lost(self, exc: Exception | None) -> None:
        self._doors.left(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # The library answers pings at once and without end; who asks and never reads is cut.
        if self.transport.get_write_buffer_size() > MAX_SOCKET_BUFFER:
            self.cut()

    # See :class:`.peer.Wire`.

    async def hand_over(self, frame: bytes) -> None:
        try:
            await self.send(frame)
        except ConnectionClosed as error:
            raise GoneError from error

    async def say_goodbye(self, code: int, reason: str) -> None:
        await self.close(code, reason)

    def untaken(self) -> int:
        return self.transport.get_write_buffer_size() + _unconfirmed(self.transport)

    def cut(self) -> None:
        self.transport.abort()


@dataclass(slots=True)
class Listener:
    """Accepts sockets and runs a session on each.

    :param connect: makes the session of a new peer
    :param salt: secret of this process, so that a network's name cannot be turned back
    :param on_full: called with the number of connections when one more was refused, at most once
        a minute
    """

    connect: Callable[[Peer], Awaitable[Session]]
    on_error: Callable[[BaseException], None]
    on_full: Callable[[int], None]
    salt: bytes = field(repr=False)
    behind_proxy: bool = False
    timing: Timing = field(default_factory=Timing)
    room: Room | None = None
    doors: Doors[_Socket] = field(init=False)
    outboxes: Outboxes = field(init=False)
    _server: Server | None = None
    _watch: asyncio.Task[None] | None = None
    _said_full: float = -math.inf

    def __post_init__(self) -> None:
        self.doors = Doors(self.room or Room.within(_most_files()))
        self.outboxes = Outboxes(self.timing.clock)

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> tuple[str, int]:
        """Listen.

        :returns: the address that is bound
        :raises ConfigError: it cannot be bound
        """
        handshake = self.timing.handshake if tls is None else self.timing.handshake / 2
        try:
            self._server = await serve(
                self._run,
                host,
                port,
                ssl=tls,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                select_subprotocol=_select,
                process_request=self._admit,
                compression=None,
                server_header=None,
                open_timeout=handshake,
                ping_interval=self.timing.ping,
                ping_timeout=self.timing.ping,
                close_timeout=self.timing.close,
                max_size=MAX_FRAME,
                max_queue=INBOX_FRAMES,
                logger=_silent(),
                # Typed as a class, called as a function, and documented as either.
                create_connection=cast(
                    type[ServerConnection], functools.partial(_Socket, self.doors)
                ),
            )
        except OSError as error:
            reason = error.strerror or "the address cannot be used"
            raise ConfigError(f"cannot listen on {host}:{port}: {reason.lower()}") from error
        self._watch = asyncio.create_task(self.outboxes.watch())
        bound = next(iter(self._server.sockets)).getsockname()
        return bound[0], bound[1]

    async def stop(self) -> None:
        """Accept no more, say goodbye to those who are here, and wait until they are gone. Who does
        not take the goodbye is cut."""
        if self._server is None:
            return
        self._server.close(code=GOING_AWAY, reason="the relay stops")
        closing = asyncio.ensure_future(self._server.wait_closed())
        # Once for the goodbye to leave, once for the answer.
        await asyncio.wait((closing,), timeout=2 * self.timing.close)
        for socket in self.doors.all():
            socket.cut()
        await closing
        if self._watch is not None:
            self._watch.cancel()

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        if not isinstance(socket, _Socket):
            raise TypeError("a socket of another listener")
        full = self.doors.comes_in(socket, self._network_of(socket))
        if full is None:
            return None
        now = self.timing.clock()
        if full is Full.RELAY and now - self._said_full >= MINUTE:
            # Whoever knocks at a full house would fill the log.
            self._said_full = now
            self.on_full(self.doors.inside)
        status = (
            HTTPStatus.SERVICE_UNAVAILABLE if full is Full.RELAY else HTTPStatus.TOO_MANY_REQUESTS
        )
        return socket.respond(status, full.value)

    async def _run(self, socket: ServerConnection) -> None:
        if not isinstance(socket, _Socket):
            raise TypeError("a socket of another listener")
        session: Session | None = None
        peer = Peer(socket, self._network_of(socket), self.outboxes)
        try:
            session = await self.connect(peer)
            async for message in socket:
                await session.on_frame(message)
                await peer.room()
        except ConnectionClosed:
            return
        except Exception as error:
            self.on_error(error)
            await socket.close(INTERNAL_ERROR, "a fault of the relay")
        finally:
            peer.forget()
            if session is not None:
                session.on_close()

    def _network_of(self, socket: ServerConnection) -> bytes:
        host = str(socket.remote_address[0]) if socket.remote_address else ""
        if self.behind_proxy and socket.request is not None:
            # Only the last entry is the proxy's own word.
            forwarded = socket.request.headers.get_all("X-Forwarded-For")
            host = forwarded[-1].rpartition(",")[2].strip() if forwarded else host
        return network_name(host, self.salt)


def _unconfirmed(transport: asyncio.Transport) -> int:
    """Bytes that the operating system holds because the other side has not confirmed them. Without
    them a thin line would look like a stalled one: the system takes more only now and then."""
    try:
        file = transport.get_extra_info("socket").fileno()
        size = fcntl.ioctl(file, termios.TIOCOUTQ, bytes(4))
    except (OSError, AttributeError):
        return 0  # closed, or another kind of system
    return int.from_bytes(size, sys.byteorder)


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


def _select(socket: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol:
    if SUBPROTOCOL not in offered:
        raise NegotiationError(f"this relay speaks {SUBPROTOCOL}")
    return Subprotocol(SUBPROTOCOL)


def _silent() -> logging.Logger:
    """The library's own log would hold network addresses and, at debug level, frames."""
    logger = logging.getLogger("kurir_server.websockets")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
    return logger
