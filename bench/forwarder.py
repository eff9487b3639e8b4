"""The peer: the same frames over the same library, kept in memory and checked by nobody.

What the relay costs more than this is the price of durability, gates and rules.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from bench.process import Server
from kurir_wire import entries, frames
from kurir_wire.beacons import Beacon
from kurir_wire.cards import ENVELOPE_KEY_BYTES
from kurir_wire.ids import mailbox_id_of
from kurir_wire.limits import MAX_FRAME, SUBPROTOCOL
from kurir_wire.relaycert import RelayCert


class Forwarder(Server):
    """This module as a process."""

    def arguments(self) -> list[str]:
        """See :meth:`.process.Server.arguments`."""
        return ["-m", "bench.forwarder", str(self.folder / "ready")]


async def _serve(ready: Path) -> None:
    readers: dict[bytes, ServerConnection] = {}
    key = bytes(32)
    cert = RelayCert(key, key, key, key, key, bytes(ENVELOPE_KEY_BYTES), 0, 1, bytes(64))
    beacon = Beacon(0, bytes(16), bytes(64))

    async def handle(socket: ServerConnection) -> None:
        welcome = frames.Welcome(1, cert, os.urandom(32), 0, beacon)
        await socket.send(frames.encode(welcome))
        async for data in socket:
            if isinstance(data, str):
                continue
            frame = frames.decode_request(data)
            match frame:
                case frames.Create(n=n, mailboxes=new):
                    for entry in new:
                        gate, born = entry.gate, entry.born_hour
                        made = mailbox_id_of(cert.relay_id, entry.read_pk, gate, born)  # type: ignore[arg-type]
                        readers[made] = socket
                    await socket.send(frames.encode(frames.Results(n, [None])))
                case frames.Submit(n=n, submissions=envelopes):
                    for envelope in envelopes:
                        found = entries.Delivery(
                            envelope.mailbox_id, envelope.envelope_id, envelope.body
                        )
                        await readers[envelope.mailbox_id].send(
                            frames.encode(frames.Deliver([found]))
                        )
                    await socket.send(frames.encode(frames.Results(n, [None])))
                case _:
                    await socket.send(frames.encode(frames.Results(frame.n, [None])))

    async with serve(
        handle,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        max_size=MAX_FRAME,
    ) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        ready.write_text(f"{host}:{port}")
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
