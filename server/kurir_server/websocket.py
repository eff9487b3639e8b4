"""One WebSocket over asyncio: the only place that knows the library.

The seam is small on purpose: ``on_frame`` brings a message up, ``hand_over`` takes frames down.
There is no task while nobody waits: what comes is worked off where it comes in, and what goes out
is given to the transport at once.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import sys
import termios
from collections.abc import Awaitable, Iterator, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol, cast

from websockets.exceptions import NegotiationError
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Event, State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from kurir_server.doors import Full
from kurir_server.limits import MAX_FRAGMENTS, MAX_SOCKET_BUFFER, PIECE_BYTES
from kurir_server.peer import Peer
from kurir_wire.limits import MAX_FRAME, SUBPROTOCOL

if TYPE_CHECKING:
    from kurir_server.listener import Listener

INVALID_DATA: Final = 1007
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011


class Session(Protocol):
    """What stands above one socket."""

    def on_frame(self, data: bytes | str) -> Awaitable[None] | None:
        """Take one message. If that has to wait for something, the next one is not read until what
        is returned is done."""

    def on_close(self) -> None: ...


class Socket(asyncio.Protocol):
    """A socket that is read only as fast as its messages are worked off, and that owes nobody more
    than it may. ``is_full``: the transport takes no more at present. See also
    :class:`.peer.Wire`."""

    __slots__ = (
        "_events",
        "_is_deaf",
        "_is_heard",
        "_is_lost",
        "_is_paused",
        "_listener",
        "_message",
        "_offset",
        "_peer",
        "_protocol",
        "_session",
        "_timer",
        "_unread",
        "_worker",
        "is_full",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, listener: Listener) -> None:
        self.is_full = False
        self._listener = listener
        self._protocol = _Protocol(max_size=MAX_FRAME, logger=_SILENT)
        self._peer: Peer | None = None
        self._session: Session | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._worker: asyncio.Task[None] | None = None
        self._unread = b""
        self._offset = 0
        self._events: Iterator[Event] = iter(())
        self._message: _Message | None = None
        self._is_deaf = False  # nothing that still comes is for a session
        self._is_heard = True
        self._is_lost = False
        self._is_paused = False

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._cut_after(self._listener.handshake_seconds)
        self._listener.arrived(self)

    def data_received(self, data: bytes) -> None:
        self._is_heard = True
        if self._worker is not None:
            self._unread, self._offset = self._unread[self._offset :] + data, 0
            # Not before something comes: who goes is noticed while it is read.
            if not self._is_paused and not self.transport.is_closing():
                self._is_paused = True
                self.transport.pause_reading()
            return
        self._unread = data
        waiting = self._work_off()
        if waiting is not None:
            self._worker = asyncio.create_task(self._wait(waiting))

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False
        if self._peer is not None:
            self._peer.go_on()

    def eof_received(self) -> None:
        if self._peer is not None:
            self._peer.forget()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost = True
        if self._timer is not None:
            self._timer.cancel()
        if self._peer is not None:
            self._peer.forget()
        self._listener.left(self)
        if self._worker is None:
            self._end()

    # The peer's side

    def hand_over(self, frames: Sequence[bytes]) -> bool:
        for frame in frames:
            self._protocol.send_binary(frame)
        self.transport.writelines(self._protocol.data_to_send())
        return not self.is_full

    def say_goodbye(self, code: int, reason: str) -> None:
        self._is_deaf = True
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._send()
        elif self._protocol.state is State.CONNECTING:
            self.cut()

    def untaken(self) -> int:
        return self.transport.get_write_buffer_size() + _unconfirmed(self.transport)

    def cut(self) -> None:
        self.transport.abort()

    # The listener's side

    def abandon(self) -> None:
        """Cut it, and do not finish what it asked for."""
        self.cut()
        if self._worker is not None:
            self._worker.cancel()

    def ask(self) -> None:
        """Is it still there? Who has said nothing since it was asked last goes."""
        if self._is_paused:
            self._is_heard = True  # perhaps: it is not read at present
        elif self._protocol.state is State.OPEN:
            if not self._is_heard:
                self.say_goodbye(INTERNAL_ERROR, "no answer to a ping")
                return
            self._is_heard = False
            self._protocol.send_ping(b"")
            self._send()

    # Reading

    def _work_off(self) -> Awaitable[None] | None:
        """Take what was read until something has to be waited for."""
        try:
            while True:
                for event in self._events:
                    waiting = self._take(event)
                    if waiting is not None:
                        return waiting
                if not self._unread:
                    return None
                self._protocol.receive_data(self._next_piece())
                self._events = iter(self._protocol.events_received())
                self._send()
        except Exception as error:
            self._fault(error)
            return None

    def _next_piece(self) -> bytes:
        """A little at a time: the library takes a read apart at once, and an object for each of
        the smallest frames would take fifty times the room of the bytes."""
        piece = self._unread
        if len(piece) <= PIECE_BYTES:
            self._unread = b""
            return piece
        piece = piece[self._offset : self._offset + PIECE_BYTES]
        self._offset += len(piece)
        if self._offset == len(self._unread):
            self._unread, self._offset = b"", 0
        return piece

    async def _wait(self, waiting: Awaitable[None]) -> None:
        following: Awaitable[None] | None = waiting
        try:
            while following is not None:
                try:
                    await following
                    if self._peer is not None:
                        await self._peer.room()
                except Exception as error:
                    self._fault(error)
                following = self._work_off()
        finally:
            self._worker = None
            if self._is_lost:
                self._end()
            elif self._is_paused and not self.transport.is_closing():
                self._is_paused = False
                self.transport.resume_reading()

    def _take(self, event: Event) -> Awaitable[None] | None:
        if isinstance(event, Frame):
            data = self._data_of(event)
            if data is None or self._is_deaf or self._session is None or self._peer is None:
                return None
            waiting = self._session.on_frame(data)
            if waiting is None and not self._peer.has_room:
                return self._peer.room()
            return waiting
        return self._shake_hands(event) if isinstance(event, Request) else None

    def _data_of(self, frame: Frame) -> bytes | str | None:
        """A message, if this is the end of one."""
        if frame.opcode is Opcode.BINARY and frame.fin:
            return bytes(frame.data)
        match frame.opcode:
            case Opcode.BINARY | Opcode.TEXT:
                self._message = _Message(frame.opcode is Opcode.TEXT)
            case Opcode.CONT:
                pass
            case _:
                return None
        message = self._message
        if message is None:
            return None  # the rest of one that was refused
        message.data += frame.data
        message.fragments += 1
        if message.fragments > MAX_FRAGMENTS:
            self._fail(TOO_BIG, "too many fragments")
            return None
        if not frame.fin:
            return None
        self._message = None
        if not message.is_text:
            return bytes(message.data)
        try:
            return message.data.decode()
        except UnicodeDecodeError as error:
            self._fail(INVALID_DATA, f"{error.reason} at position {error.start}")
            return None

    def _shake_hands(self, request: Request) -> Awaitable[None] | None:
        response = self._protocol.accept(request)
        network = b""
        if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
            address = self.transport.get_extra_info("peername")
            forwarded = request.headers.get_all("X-Forwarded-For")
            network = self._listener.network_of(str(address[0]) if address else "", forwarded)
            full = self._listener.comes_in(self, network)
            if full is not None:
                response = self._protocol.reject(_STATUS[full], full.value)
        self._protocol.send_response(response)
        self._send()
        # The library holds on to the request for as long as the connection stays.
        request.headers.clear()
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            return None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._peer = Peer(self, network, self._listener.outboxes)
        return self._begin(self._peer)

    async def _begin(self, peer: Peer) -> None:
        self._session = await self._listener.connect(peer)

    # Ending

    def _fault(self, error: Exception) -> None:
        self._listener.on_error(error)
        self._events, self._unread, self._offset = iter(()), b"", 0
        if self._peer is not None:
            self._peer.forget()
        self.say_goodbye(INTERNAL_ERROR, "a fault of the relay")

    def _fail(self, code: int, reason: str) -> None:
        """It broke the rules of WebSockets."""
        self._is_deaf = True
        self._message = None
        self._protocol.fail(code, reason)
        self._send()

    def _end(self) -> None:
        self._is_deaf = True
        # The library's parser refers to itself: until somebody looks for cycles it stays, and with
        # it the beginning of a message whose end never came.
        self._protocol.reader.discard()
        self._unread, self._offset, self._message = b"", 0, None
        session, self._session = self._session, None
        try:
            if session is not None:
                session.on_close()
        finally:
            self._listener.ended(self)

    # Writing

    def _send(self) -> None:
        """Write what the library has to say by itself: answers, and the end."""
        writes = self._protocol.data_to_send()
        if not writes:
            return
        if not self.transport.is_closing():
            is_end = not writes[-1]
            self.transport.writelines(writes[:-1] if is_end else writes)
            if is_end and self.transport.can_write_eof():
                self.transport.write_eof()
            elif is_end:
                self.transport.close()
        if self.transport.get_write_buffer_size() > MAX_SOCKET_BUFFER:
            # It is asked again and again by one who never reads the answers.
            self.cut()
        elif self._protocol.close_expected():
            if self._peer is not None:
                self._peer.forget()
            if self._timer is None or self._peer is None:
                self._cut_after(self._listener.timing.close)

    def _cut_after(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.cut)


class _Protocol(ServerProtocol):
    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        if SUBPROTOCOL not in subprotocols:
            raise NegotiationError(f"this relay speaks {SUBPROTOCOL}")
        return Subprotocol(SUBPROTOCOL)


class _Message:
    """One that comes in fragments."""

    __slots__ = ("data", "fragments", "is_text")

    def __init__(self, is_text: bool) -> None:
        self.data = bytearray()
        self.fragments = 0
        self.is_text = is_text


def _unconfirmed(transport: asyncio.Transport) -> int:
    """Bytes that the operating system holds because the other side has not confirmed them. Without
    them a thin line would look like a stalled one: the system takes more only now and then."""
    try:
        file = transport.get_extra_info("socket").fileno()
        size = fcntl.ioctl(file, termios.TIOCOUTQ, bytes(4))
    except (OSError, AttributeError):
        return 0  # closed, or another kind of system
    return int.from_bytes(size, sys.byteorder)


def _silent() -> logging.Logger:
    """The library's own log would hold network addresses and, at debug level, frames."""
    logger = logging.getLogger("kurir_server.websockets")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False
    logger.setLevel(logging.CRITICAL + 1)
    return logger


_SILENT: Final = _silent()
_STATUS: Final = {
    Full.RELAY: HTTPStatus.SERVICE_UNAVAILABLE,
    Full.NETWORK: HTTPStatus.TOO_MANY_REQUESTS,
}
