"""Sockets: the only place that knows the WebSocket library.

The seam is small on purpose: ``on_frame`` brings a message up, ``emit`` takes frames down. Another
transport would replace this module and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Protocol

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, NegotiationError
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from kurir_server.errors import ConfigError
from kurir_server.limits import (
    CLOSE_SECONDS,
    HANDSHAKE_SECONDS,
    MAX_CONNECTIONS,
    MAX_OUTBOX_BYTES,
    PING_SECONDS,
)
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


class Peer:
    """One client: ``network`` names where it comes from without saying so."""

    __slots__ = ("_close", "_outbox", "_room", "_sender", "_size", "_socket", "network")

    def __init__(self, socket: ServerConnection, network: bytes) -> None:
        self.network = network
        self._socket = socket
        self._outbox: deque[bytes] = deque()
        self._size = 0
        self._sender: asyncio.Task[None] | None = None
        self._close: tuple[int, str] | None = None
        self._room: asyncio.Event | None = None

    def emit(self, frames: Sequence[bytes], close: tuple[int, str] | None = None) -> None:
        """Send frames in order, then close if asked to. Returns at once."""
        self._outbox.extend(frames)
        self._size += sum(map(len, frames))
        self._close = self._close or close
        if (self._outbox or self._close) and self._sender is None:
            self._sender = asyncio.create_task(self._send())

    async def room(self) -> None:
        """Wait until the client has taken enough of what was sent."""
        while self._size >= MAX_OUTBOX_BYTES:
            self._room = asyncio.Event()
            await self._room.wait()

    async def _send(self) -> None:
        try:
            while self._outbox:
                frame = self._outbox.popleft()
                await self._socket.send(frame)
                self._size -= len(frame)
                if self._room is not None and self._size < MAX_OUTBOX_BYTES:
                    self._room.set()
                    self._room = None
            if self._close is not None:
                await self._socket.close(*self._close)
        except ConnectionClosed:
            self._outbox.clear()
            self._size = 0
            if self._room is not None:
                self._room.set()
        finally:
            self._sender = None


@dataclass(slots=True)
class Listener:
    """Accepts sockets and runs a session on each.

    :param connect: makes the session of a new peer
    :param salt: secret of this process, so that a network's name cannot be turned back
    :param on_full: called with the number of connections when one more was refused
    """

    connect: Callable[[Peer], Awaitable[Session]]
    on_error: Callable[[BaseException], None]
    on_full: Callable[[int], None]
    salt: bytes = field(repr=False)
    behind_proxy: bool = False
    _server: Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> tuple[str, int]:
        """Listen.

        :returns: the address that is bound
        :raises ConfigError: it cannot be bound
        """
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
                open_timeout=HANDSHAKE_SECONDS,
                ping_interval=PING_SECONDS,
                ping_timeout=PING_SECONDS,
                close_timeout=CLOSE_SECONDS,
                max_size=MAX_FRAME,
                max_queue=INBOX_FRAMES,
                logger=_silent(),
            )
        except OSError as error:
            reason = error.strerror or "the address cannot be used"
            raise ConfigError(f"cannot listen on {host}:{port}: {reason.lower()}") from error
        bound = next(iter(self._server.sockets)).getsockname()
        return bound[0], bound[1]

    async def stop(self) -> None:
        """Accept no more, say goodbye to those who are here, and wait until they are gone."""
        if self._server is not None:
            self._server.close(code=GOING_AWAY, reason="the relay stops")
            await self._server.wait_closed()

    def _admit(self, socket: ServerConnection, request: Request) -> Response | None:
        count = len(self._server.connections) if self._server else 0
        if count < MAX_CONNECTIONS:
            return None
        self.on_full(count)
        return socket.respond(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections\n")

    async def _run(self, socket: ServerConnection) -> None:
        session: Session | None = None
        try:
            peer = Peer(socket, self._network_of(socket))
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
            if session is not None:
                session.on_close()

    def _network_of(self, socket: ServerConnection) -> bytes:
        host = str(socket.remote_address[0]) if socket.remote_address else ""
        if self.behind_proxy and socket.request is not None:
            # Only the last entry is the proxy's own word.
            forwarded = socket.request.headers.get_all("X-Forwarded-For")
            host = forwarded[-1].rpartition(",")[2].strip() if forwarded else host
        return network_name(host, self.salt)


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
