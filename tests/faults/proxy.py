"""A proxy that does to connections what networks do: reset, cut, stall, forget, delay."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

DELAY: Final = 0.2
CHUNK: Final = 4_096


class Kind(Enum):
    """What happens to a connection."""

    NONE = "none"
    RESET = "reset"  # both sides are told, rudely
    CUT = "cut"  # both sides are told, in the middle of a frame
    STALL = "stall"  # this direction stops, in the middle of a frame; nobody is told
    HALF_OPEN = "half-open"  # the client's side is gone; the relay is not told
    SILENT = "silent"  # nothing goes through any more, in either direction; nobody is told
    DELAY = "delay"  # each piece comes 200 ms late


@dataclass(frozen=True)
class Fault:
    """``after`` so many bytes in one direction, the handshake's among them."""

    kind: Kind
    after: int
    to_relay: bool


def schedule(seed: int, kinds: tuple[Kind, ...], count: int) -> Iterator[Fault]:
    """The faults of the first ``count`` connections; what follows is left alone."""
    rng = random.Random(seed)
    for _ in range(count):
        kind = rng.choice(kinds)
        yield Fault(kind, int(10 ** rng.uniform(1.5, 4.7)), rng.random() < 0.5)
    while True:
        yield Fault(Kind.NONE, 0, True)


class Proxy:
    """Stands at ``address`` for the relay at ``target``.

    :ivar met: the faults that came to pass
    """

    def __init__(self, target: str, faults: Iterator[Fault]) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._faults = faults
        self._open: list[asyncio.StreamWriter] = []
        self.address = ""
        self.met: list[Fault] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for writer in self._open:
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = next(self._faults)
        self._open.append(writer)
        try:
            there_reader, there = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            return
        self._open.append(there)
        stopped = asyncio.Event()
        up = self._pipe(reader, there, writer, fault if fault.to_relay else None, fault, stopped)
        down = self._pipe(
            there_reader, writer, there, None if fault.to_relay else fault, fault, stopped
        )
        await asyncio.gather(up, down)

    async def _pipe(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        own: Fault | None,
        fault: Fault,
        stopped: asyncio.Event,
    ) -> None:
        """Carry bytes one way, until the fault strikes that is of this direction."""
        seen = 0
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                if stopped.is_set():
                    continue  # taken, and lost
                if fault.kind is Kind.DELAY:
                    await asyncio.sleep(DELAY)
                elif own is not None and own.kind is not Kind.NONE and seen + len(data) > own.after:
                    target.write(data[: own.after - seen])
                    self.met.append(own)
                    self._strike(own, target, back, stopped)
                    if own.kind is Kind.STALL:
                        while await source.read(CHUNK):
                            pass
                        break
                    own = None
                    continue
                seen += len(data)
                target.write(data)
                await target.drain()
        if not stopped.is_set():
            target.close()

    def _strike(
        self,
        fault: Fault,
        target: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
        stopped: asyncio.Event,
    ) -> None:
        client, relay = (back, target) if fault.to_relay else (target, back)
        match fault.kind:
            case Kind.RESET:
                for writer in (client, relay):
                    # With no time to linger a close is a reset.
                    raw = writer.get_extra_info("socket")
                    linger = struct.pack("ii", 1, 0)
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    writer.transport.abort()
            case Kind.CUT:
                client.close()
                relay.close()
            case Kind.HALF_OPEN:
                stopped.set()
                client.transport.abort()
            case Kind.SILENT:
                stopped.set()
            case _:
                pass
