"""The tap: a recording proxy on loopback that forwards bytes unchanged, both ways.

It stands between a client and a relay on one computer and writes a capture (see
:mod:`kurir_audit.capture`): the raw bytes, and what they say once unmasked. What is recorded is
written before it is forwarded, so nothing reaches either side unrecorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kurir_audit.capture import NO_OPCODE, CaptureWriter, Direction, Kind, Record, reason
from kurir_audit.errors import EvidenceFileError, UsageError
from kurir_audit.unmask import Handshake, Piece, Unmasker
from kurir_wire.links import is_loopback

CHUNK: Final = 64 * 1024
"""Bytes read at a time."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A host and port on this computer."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, what: str) -> Endpoint:
        """From ``HOST:PORT``.

        :raises UsageError: not an address, or not one of this computer
        """
        host, colon, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not colon or not host or not port.isdecimal() or int(port) > 65_535:
            raise UsageError(f"{what} is HOST:PORT, not {text!r}", "for example 127.0.0.1:0")
        if not is_loopback(host):
            raise UsageError(
                f"{what} {text} is not an address of this computer",
                "the tap records everything it sees, so it works on loopback only; use 127.0.0.1",
            )
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(slots=True)
class Summary:
    """What a tap did."""

    connections: int = 0
    refused: int = 0
    """Connections for which the relay could not be reached."""
    raw: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))
    payload: dict[Direction, int] = field(default_factory=lambda: dict.fromkeys(Direction, 0))
    notes: list[str] = field(default_factory=list)
    """What could not be parsed."""


class Tap:
    """A listening tap."""

    def __init__(self, upstream: Endpoint, writer: CaptureWriter) -> None:
        self.summary = Summary()
        self._upstream = upstream
        self._writer = writer
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.failed: asyncio.Future[EvidenceFileError] = asyncio.get_running_loop().create_future()
        """Done when a record could not be written."""

    async def start(self, listen: Endpoint) -> Endpoint:
        """Listen, and return the bound address.

        :raises UsageError: the address cannot be used
        """
        try:
            self._server = await asyncio.start_server(self._connected, listen.host, listen.port)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {listen}: {reason(error)}", "port 0 takes any free port"
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        return Endpoint(host, port)

    async def stop(self) -> None:
        """Stop listening, cut what is open, and finish the records."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        self._writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - asyncio calls this as a task
        self._tasks.add(task)
        try:
            await self._carry(reader, writer)
        except* EvidenceFileError as group:
            self._fail(group)
        except* asyncio.CancelledError:
            # Only stop() cancels. Swallowed, for asyncio.streams logs a traceback for a cancelled
            # connection handler.
            pass
        finally:
            self._tasks.discard(task)

    def _fail(self, group: BaseExceptionGroup[EvidenceFileError]) -> None:
        """Without a record nothing shall pass, so the tap ends."""
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        if not self.failed.done() and isinstance(first, EvidenceFileError):
            self.failed.set_result(first)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.summary.connections += 1
        number = self.summary.connections
        try:
            far_reader, far_writer = await asyncio.open_connection(
                self._upstream.host, self._upstream.port
            )
        except OSError:
            self.summary.refused += 1
            writer.transport.abort()
            return
        handshake = Handshake()
        try:
            async with asyncio.TaskGroup() as group:
                for direction, source, sink in (
                    (Direction.TO_RELAY, reader, far_writer),
                    (Direction.TO_CLIENT, far_reader, writer),
                ):
                    group.create_task(self._pump(number, direction, handshake, source, sink))
        except* OSError:
            # One side broke off, so nothing that is still on its way has anywhere to go.
            writer.transport.abort()
            far_writer.transport.abort()
        finally:
            # Both before either is waited for, which a stop may interrupt.
            writer.close()
            far_writer.close()
            for end in (writer, far_writer):
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _pump(
        self,
        number: int,
        direction: Direction,
        handshake: Handshake,
        source: asyncio.StreamReader,
        sink: asyncio.StreamWriter,
    ) -> None:
        unmasker = Unmasker(direction, handshake)
        try:
            while data := await source.read(CHUNK):
                self._record(number, direction, [Piece(Kind.RAW, NO_OPCODE, data)])
                self._record(number, direction, unmasker.feed(data))
                sink.write(data)
                await sink.drain()
            if sink.can_write_eof():
                sink.write_eof()
        finally:
            self._record(number, direction, unmasker.finish())

    def _record(self, number: int, direction: Direction, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            self._writer.write(Record(number, direction, piece.kind, piece.opcode, piece.data))
            match piece.kind:
                case Kind.RAW:
                    self.summary.raw[direction] += len(piece.data)
                case Kind.PAYLOAD:
                    self.summary.payload[direction] += len(piece.data)
                case Kind.NOTE:
                    self.summary.notes.append(
                        f"connection {number}, {direction.words}: {piece.data.decode()}"
                    )
                case _:
                    pass


async def run_tap(
    listen: Endpoint, upstream: Endpoint, out: Path, ready_file: Path | None = None
) -> Summary:
    """Tap until SIGTERM or SIGINT.

    :raises UsageError: the address cannot be used
    :raises EvidenceFileError: the capture cannot be written
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before anything is announced, so that a stop sent at once is not lost.
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with CaptureWriter(out) as writer:
        tap = Tap(upstream, writer)
        try:
            bound = await tap.start(listen)
            if ready_file is not None:
                _announce(ready_file, bound)
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait((stopped, tap.failed), return_when=asyncio.FIRST_COMPLETED)
            stopped.cancel()
        finally:
            await tap.stop()
        if tap.failed.done():
            raise tap.failed.result()
    return tap.summary


def _announce(path: Path, bound: Endpoint) -> None:
    """Write the bound address in one step, so that nobody reads half of it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(f"{bound}\n", encoding="ascii")
    draft.replace(path)
