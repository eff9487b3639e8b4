"""The same frames over the same library, kept in memory and checked by nobody.

What the relay costs more than this is the price of durability, gates and rules.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from bench.process import Server
from kurir_wire import entries, frames
from kurir_wire.beacons import Beacon
from kurir_wire.cards import ENVELOPE_KEY_BYTES
from kurir_wire.limits import MAX_FRAME, SUBPROTOCOL
from kurir_wire.relaycert import RelayCert


class Forwarder(Server):
    """This module as a process."""

    name = "forwarder"

    def command(self, port: int) -> Sequence[str]:
        """See :meth:`.process.Server.command`."""
        return [sys.executable, "-m", "bench.forwarder", str(port)]


async def _serve(port: int) -> None:
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
                case frames.Open(n=n, mailboxes=openings):
                    readers.update((opening.mailbox_id, socket) for opening in openings)
                    await socket.send(frames.encode(frames.Results(n, [None])))
                case frames.Submit(n=n, submissions=envelopes):
                    found = [
                        entries.Delivery(each.mailbox_id, each.envelope_id, each.body)
                        for each in envelopes
                    ]
                    # The load sends each list into one mailbox.
                    await readers[found[0].mailbox_id].send(frames.encode(frames.Deliver(found)))
                    await socket.send(frames.encode(frames.Results(n, [None] * len(found))))
                case frames.Create(n=n):
                    await socket.send(frames.encode(frames.Results(n, [None])))
                case _:
                    await socket.send(frames.encode(frames.Results(frame.n, [None])))

    async with serve(
        handle,
        "127.0.0.1",
        port,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        compression=None,
        max_size=MAX_FRAME,
    ) as server:
        await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(int(sys.argv[1])))
