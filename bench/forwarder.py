"""The same frames over the relay's own sockets, kept in memory and checked by nobody.

What the relay costs more than this is the price of durability, gates and rules.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

from bench.process import Server
from kurir_server.listener import Listener
from kurir_server.peer import Peer
from kurir_wire import entries, frames
from kurir_wire.beacons import Beacon
from kurir_wire.cards import ENVELOPE_KEY_BYTES
from kurir_wire.relaycert import RelayCert


class Forwarder(Server):
    """This module as a process."""

    name = "forwarder"

    def command(self, port: int) -> Sequence[str]:
        """See :meth:`.process.Server.command`."""
        return [sys.executable, "-m", "bench.forwarder", str(port)]


class _Session:
    def __init__(self, peer: Peer, readers: dict[bytes, Peer]) -> None:
        self._peer = peer
        self._readers = readers

    def on_frame(self, data: bytes | str) -> None:
        if isinstance(data, str):
            return
        frame = frames.decode_request(data)
        count = 1
        match frame:
            case frames.Open(mailboxes=openings):
                self._readers.update((opening.mailbox_id, self._peer) for opening in openings)
            case frames.Submit(submissions=envelopes):
                found = [
                    entries.Delivery(each.mailbox_id, each.envelope_id, each.body)
                    for each in envelopes
                ]
                count = len(found)
                # The load sends each list into one mailbox.
                reader = self._readers[found[0].mailbox_id]
                reader.emit([frames.encode(frames.Deliver(found))])
            case _:
                pass
        self._peer.emit([frames.encode(frames.Results(frame.n, [None] * count))])

    def on_close(self) -> None:
        """Nobody comes again."""


async def _serve(port: int) -> None:
    readers: dict[bytes, Peer] = {}
    key = bytes(32)
    cert = RelayCert(key, key, key, key, key, bytes(ENVELOPE_KEY_BYTES), 0, 1, bytes(64))
    beacon = Beacon(0, bytes(16), bytes(64))

    async def connect(peer: Peer) -> _Session:
        peer.emit([frames.encode(frames.Welcome(1, cert, os.urandom(32), 0, beacon))])
        return _Session(peer, readers)

    def fault(error: BaseException) -> None:
        raise error

    listener = Listener(connect, fault, lambda count: None, os.urandom(32))
    await listener.start("127.0.0.1", port, None)
    await asyncio.Event().wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(int(sys.argv[1])))
