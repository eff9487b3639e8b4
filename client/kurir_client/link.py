"""One connection to a relay: the only place in the client that knows WebSockets.

Requests are answered in any order and matched by their number; deliveries come as they come.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, TypeVar

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidMessage,
    InvalidStatus,
    WebSocketException,
)
from websockets.typing import Subprotocol

from kurir_client.errors import OfflineError, RelayError, UsageError
from kurir_wire import entries, frames
from kurir_wire.beacons import Beacon
from kurir_wire.errors import WireError
from kurir_wire.ids import MINUTE, RelayId
from kurir_wire.limits import MAX_FRAME, PROTOCOL_VERSION, SUBPROTOCOL
from kurir_wire.links import RelayAddress, is_loopback, pin_matches
from kurir_wire.relaycert import RelayCert

CONNECT_TIMEOUT: Final = 10.0
"""Seconds until a relay that does not greet counts as away."""
REPLY_TIMEOUT: Final = 30.0
"""Seconds until a relay that does not answer counts as away."""
PING: Final = 20.0
"""Seconds of silence after which the relay is asked whether it is there, and cut off after as long
again: a connection can be dead without anybody saying so."""
CLOSE_TIMEOUT: Final = 2.0
"""Seconds that a goodbye may take."""

OnDeliver = Callable[[list[entries.Delivery]], Awaitable[None]]
FrameT = TypeVar("FrameT", bound=frames.Push)


@dataclass(slots=True)
class Link:
    """An open connection whose relay has proved to be the pinned one.

    :ivar beacon: the newest beacon seen
    :ivar opened: ids of the mailboxes that this connection reads
    """

    address: RelayAddress
    cert: RelayCert
    nonce: bytes
    beacon: Beacon
    relay_now: int
    _socket: ClientConnection = field(repr=False)
    opened: set[bytes] = field(default_factory=set, repr=False)
    _waiting: dict[int, asyncio.Future[frames.Push]] = field(default_factory=dict, repr=False)
    _next: int = 1
    _closed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def relay_id(self) -> RelayId:
        """Which relay this is."""
        return self.cert.relay_id

    @property
    def is_open(self) -> bool:
        """Whether requests can still be made."""
        return not self._closed.is_set()

    async def wait_closed(self) -> None:
        """Return when the connection has ended."""
        await self._closed.wait()

    async def request(self, make: Callable[[int], frames.Request], reply: type[FrameT]) -> FrameT:
        """Send the frame that ``make`` builds from a number, and wait for its answer.

        :raises OfflineError: the connection ended before the answer
        :raises RelayError: the relay refused the frame, or answered something else
        """
        number, self._next = self._next, self._next + 1
        future: asyncio.Future[frames.Push] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            if self._closed.is_set():
                raise OfflineError("the connection to the relay has ended")
            await self._socket.send(frames.encode(make(number)))
            answer = await asyncio.wait_for(future, REPLY_TIMEOUT)
        except (ConnectionClosed, TimeoutError) as error:
            raise OfflineError("the relay did not answer", "what was sent waits here") from error
        finally:
            self._waiting.pop(number, None)
            if not future.cancel() and not future.cancelled():
                future.exception()  # else asyncio complains of one that nobody waited for any more
        if isinstance(answer, frames.Error):
            raise refused_by_relay(answer.result)
        if not isinstance(answer, reply):
            raise RelayError("the relay answered with a frame that does not belong there")
        return answer

    async def results(
        self, make: Callable[[int], frames.Request], count: int
    ) -> list[entries.Result | None]:
        """A request that is answered entry by entry.

        :raises RelayError: the relay answered for another number of entries
        """
        answer = await self.request(make, frames.Results)
        if len(answer.results) != count:
            raise RelayError("the relay answered for another number of entries than it was sent")
        return answer.results

    async def one(self, make: Callable[[int], frames.Request]) -> entries.Result | None:
        """A request about one thing.

        :raises RelayError: it was refused
        """
        (result,) = await self.results(make, 1)
        if result is not None and result.code != "ok":
            raise refused_by_relay(result)
        return result

    async def fresh_beacon(self, now: int) -> Beacon:
        """The beacon of about now; asked for only when the last one is more than a minute old.

        :raises OfflineError: the connection has ended, so that nothing is sealed for it any more
        :raises RelayError: the relay's signature on it is wrong
        """
        if not self.is_open:
            raise OfflineError("the connection to the relay has ended")
        if now - self.beacon.time >= MINUTE or now < self.beacon.time:
            answer = await self.request(frames.GetBeacon, frames.BeaconIs)
            self.beacon = _checked(answer.beacon, self.cert)
        return self.beacon

    async def _read(self, on_deliver: OnDeliver) -> None:
        try:
            async for data in self._socket:
                frame = frames.decode_push(data if isinstance(data, bytes) else data.encode())
                if isinstance(frame, frames.Deliver):
                    await on_deliver(frame.deliveries)
                elif isinstance(frame, frames.Welcome):
                    raise RelayError("the relay greeted twice")
                elif frame.n is not None and (future := self._waiting.get(frame.n)):
                    if not future.done():
                        future.set_result(frame)
                elif isinstance(frame, frames.Error):
                    raise refused_by_relay(frame.result)
        except ConnectionClosed:
            pass  # whoever waits learns it from the futures below
        except WireError as error:
            raise RelayError(f"the relay sent a frame that is not valid: {error}") from error
        finally:
            self._closed.set()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(OfflineError("the connection to the relay was cut"))


@contextlib.asynccontextmanager
async def open_link(
    address: RelayAddress,
    pin: bytes | None,
    on_deliver: OnDeliver,
    ca_file: str | None = None,
) -> AsyncIterator[Link]:
    """Connect, check that this is the pinned relay, and read until the block is left.

    :param pin: the first bytes of the relay's id; None at the first meeting, without a link
    :param ca_file: certificates to trust besides the system's, for a relay with its own
    :raises OfflineError: nobody there, or no greeting in time
    :raises RelayError: another relay, or not a relay
    """
    if not address.tls and not is_loopback(address.host):
        raise RelayError(
            f"plain ws:// to {address.host} is refused",
            "the network would see what you fetch; use wss://",
        )
    context = _trust(ca_file) if address.tls else None
    try:
        socket = await connect(
            address.url,
            ssl=context,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            max_size=MAX_FRAME,
            open_timeout=CONNECT_TIMEOUT,
            ping_interval=PING,
            ping_timeout=PING,
            close_timeout=CLOSE_TIMEOUT,
            user_agent_header=None,
            proxy=None,
        )
    except ssl.SSLCertVerificationError as error:
        raise RelayError(
            f"the TLS certificate of {address.authority} is not trusted: {error.verify_message}",
            "check the address; for a relay with its own authority name its file with --ca-file",
        ) from error
    except ssl.SSLError as error:
        raise OfflineError(f"{address.authority} does not speak TLS as it should") from error
    except (OSError, TimeoutError) as error:
        raise OfflineError(f"cannot reach the relay at {address.authority}") from error
    except WebSocketException as error:
        if _will_pass(error):
            raise OfflineError(f"the relay at {address.authority} is not ready") from error
        raise RelayError(f"{address.authority} is not a kurir relay") from error
    reader: asyncio.Task[None] | None = None
    try:
        link = await _greet(socket, address, pin)
        reader = asyncio.create_task(link._read(on_deliver))
        yield link
    finally:
        if reader is not None and not reader.done():
            reader.cancel()
        await socket.close()
        if reader is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await reader


def _trust(ca_file: str | None) -> ssl.SSLContext:
    """The system's authorities, and those of the file.

    :raises UsageError: the file is missing or holds no certificate
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError is one
            why = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
            raise UsageError(
                f"cannot use {ca_file}: {why}", "--ca-file wants certificates in PEM form"
            ) from error
    return context


def _will_pass(error: WebSocketException) -> bool:
    """Whether a handshake failed as it does while a relay, or the proxy before it, restarts or has
    too many connections."""
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        return status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError)


async def _greet(socket: ClientConnection, address: RelayAddress, pin: bytes | None) -> Link:
    try:
        data = await asyncio.wait_for(socket.recv(), CONNECT_TIMEOUT)
        frame = frames.decode_push(data if isinstance(data, bytes) else data.encode())
    except (ConnectionClosed, TimeoutError) as error:
        raise OfflineError(f"the relay at {address.authority} does not greet") from error
    except WireError as error:
        raise RelayError(f"{address.authority} is not a kurir relay: {error}") from error
    if not isinstance(frame, frames.Welcome):
        raise RelayError(f"{address.authority} is not a kurir relay")
    if frame.version != PROTOCOL_VERSION:
        raise RelayError(
            f"the relay speaks version {frame.version} of the protocol, this client "
            f"{PROTOCOL_VERSION}",
            "update the older of the two",
        )
    try:
        # The relay's own time: a demo clock or a wrong local clock must not lock people out, and
        # expiry of working keys is a matter between the relay and its root key.
        frame.cert.verify(frame.now)
    except WireError as error:
        raise RelayError(str(error)) from error
    if pin is not None and not pin_matches(pin, frame.cert.relay_id):
        raise RelayError(
            f"{address.authority} is not the relay that the link names",
            "somebody may be in the way, or the relay was set up anew; ask its operator",
        )
    return Link(
        address, frame.cert, frame.nonce, _checked(frame.beacon, frame.cert), frame.now, socket
    )


def _checked(beacon: Beacon, cert: RelayCert) -> Beacon:
    try:
        beacon.verify(cert.beacon_pk, cert.relay_id)
    except WireError as error:
        raise RelayError(str(error)) from error
    return beacon


def refused_by_relay(result: entries.Result) -> RelayError:
    """The error for a result that is not ``ok``, with when to try again."""
    detail = result.detail or f"the relay answered {result.code}"
    hint = f"try again in {result.retry_after} s" if result.retry_after else ""
    return RelayError(detail, hint, result.code, result.retry_after)
