"""Between a socket and the state of its connection: what comes goes to the thread that does it, and
what was done goes out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING

from kurir_server.connection import Connection
from kurir_server.limits import MAX_OUTSTANDING
from kurir_server.peer import Peer
from kurir_server.work import Output

if TYPE_CHECKING:
    from kurir_server.app import App


class Session:
    """Between one peer and its connection state."""

    __slots__ = ("_app", "_connection", "_peer", "_progress")

    def __init__(self, app: App, connection: Connection, peer: Peer) -> None:
        self._app = app
        self._connection = connection
        self._peer = peer
        self._progress: asyncio.Event | None = None  # only while somebody waits for it
        peer.on_taking = self.flush

    def on_frame(self, data: bytes | str) -> Awaitable[None] | None:
        """See :class:`.websocket.Session`."""
        writer = self._app.writer
        self._connection.receive(data, self._app.clock.moment())
        output = self._connection.take_asked()
        if output.frames or output.close:
            self._peer.emit(output.frames, output.close)
        if output.blob_jobs or writer.is_full:
            return self._put(output)
        for job in output.jobs:
            writer.push(job)
        return self._answers() if self._is_busy else None

    @property
    def _is_busy(self) -> bool:
        connection = self._connection
        return connection.barriers > 0 or connection.outstanding >= MAX_OUTSTANDING

    async def _put(self, output: Output) -> None:
        for job in output.jobs:
            await self._app.writer.put(job)
        if self._app.blobs is not None:
            for blob_job in output.blob_jobs:
                await self._app.blobs.put(blob_job)
        await self._answers()

    async def _answers(self) -> None:
        """Wait for those that the next frame has to wait for."""
        while self._is_busy:
            self._progress = asyncio.Event()
            await self._progress.wait()

    def flush(self) -> None:
        """Send what a commit brought, and more from the disk if the client takes it."""
        self._connection.is_taking = self._peer.is_taking
        output = self._connection.take()
        self._peer.emit(output.frames, output.close)
        for job in output.jobs:
            self._app.writer.push(job)
        if self._progress is not None:
            self._progress.set()
            self._progress = None

    def on_close(self) -> None:
        self._connection.close()
        self._app.sessions.pop(self._connection, None)
