"""Between a socket and the state of its connection: what comes goes to the thread that does it, and
what was done goes out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kurir_server.connection import Connection
from kurir_server.limits import MAX_OUTSTANDING
from kurir_server.peer import Peer

if TYPE_CHECKING:
    from kurir_server.app import App


class Session:
    """Between one peer and its connection state."""

    __slots__ = ("_app", "_connection", "_peer", "_progress")

    def __init__(self, app: App, connection: Connection, peer: Peer) -> None:
        self._app = app
        self._connection = connection
        self._peer = peer
        self._progress = asyncio.Event()
        peer.on_taking = self.flush

    async def on_frame(self, data: bytes | str) -> None:
        self._connection.receive(data, self._app.clock.moment())
        output = self._connection.take()
        self._peer.emit(output.frames, output.close)
        for job in output.jobs:
            await self._app.writer.put(job)
        if self._app.blobs is not None:
            for blob_job in output.blob_jobs:
                await self._app.blobs.put(blob_job)
        while self._connection.barriers or self._connection.outstanding >= MAX_OUTSTANDING:
            self._progress.clear()
            await self._progress.wait()

    def flush(self) -> None:
        """Send what a commit brought, and more from the disk if the client takes it."""
        self._connection.is_taking = self._peer.is_taking
        output = self._connection.take()
        self._peer.emit(output.frames, output.close)
        for job in output.jobs:
            self._app.writer.push(job)
        self._progress.set()

    def on_close(self) -> None:
        self._connection.close()
        self._app.sessions.pop(self._connection, None)
