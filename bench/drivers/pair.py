"""What the load asks of a protocol: pairs of a sender and a reader, each with its own connection.

Everything is a callback: a task for each message would cost the driver more than most servers.
"""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable
from typing import Final, cast

PATIENCE: Final = 60.0
"""Seconds for one connection to be set up."""


class Stream(asyncio.Protocol):
    """One TCP connection that keeps what has come in and not been understood yet.

    :param local: the address to come from, so that a server that counts by network sees pairs as
        different clients
    """

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.transport: asyncio.Transport | None = None
        self.on_lost: Callable[[], None] = lambda: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.on_lost()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.parse()

    def parse(self) -> None:
        """Take what is complete out of the buffer."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Send bytes; nothing if the server is gone."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """Hang up."""
        if self.transport is not None:
            self.transport.close()


async def connected(stream: Stream, address: str, number: int) -> None:
    """Connect a stream, from a loopback address of its own."""
    host, port = address.rsplit(":", 1)
    local = (f"127.{1 + number // 65_536}.{number // 256 % 256}.{number % 256}", 0)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: stream, host, int(port), local_addr=local)


class Pair(abc.ABC):
    """A sender and a reader.

    ``accepted``: called with how many messages the server took over. ``received``: called with the
    numbers of messages that the reader got, which it acknowledges by itself. ``lost``: called when
    a sender's connection ends.
    """

    def __init__(self, address: str, number: int, size: int) -> None:
        self.address = address
        self.number = number
        self.size = size
        self.accepted: Callable[[int], None] = lambda count: None
        self.received: Callable[[list[int]], None] = lambda numbers: None
        self.lost: Callable[[], None] = lambda: None

    @abc.abstractmethod
    async def make(self) -> None:
        """Make the place that the reader reads, once."""

    @abc.abstractmethod
    async def open_sender(self) -> None:
        """Connect the sender."""

    @abc.abstractmethod
    async def open_reader(self) -> None:
        """Connect the reader; what waits is handed over from now on."""

    @abc.abstractmethod
    def send(self, first: int, count: int) -> None:
        """Send messages ``first`` to ``first + count - 1``, as one list where the protocol can."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close both connections."""
