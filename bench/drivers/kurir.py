"""kurir: public frames over a WebSocket that is written out here.

The driver must not be slower than what it measures, so it uses the zero mask, which leaves a frame
as it is: RFC 6455 wants masks that cannot be foreseen to protect proxies, and there is none here.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
from collections.abc import Callable
from typing import Final

from nacl.signing import SigningKey

from bench.drivers.pair import PATIENCE, Pair, Stream, connected
from kurir_wire import entries, frames, proofs
from kurir_wire.gates import token_gate
from kurir_wire.ids import HOUR, Hash, mailbox_id_of
from kurir_wire.limits import SUBPROTOCOL

_BINARY: Final = 0x82
_PING, _PONG, _CLOSE = 0x89, 0x8A, 0x88
_MASKED: Final = 0x80


class WebSocket(Stream):
    """A client's side of one WebSocket."""

    def __init__(self, on_frame: Callable[[frames.Push], None]) -> None:
        super().__init__()
        self.on_frame = on_frame
        self._upgraded = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.write(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: " + SUBPROTOCOL.encode() + b"\r\n\r\n"
        )

    def parse(self) -> None:
        buffer = self.buffer
        if not self._upgraded:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if b" 101 " not in buffer[:end]:
                raise RuntimeError(f"the relay refused: {bytes(buffer[:80])!r}")
            del buffer[: end + 4]
            self._upgraded = True
        start = 0
        while len(buffer) - start >= 2:
            kind, length, head = buffer[start], buffer[start + 1], 2
            if length == 126:
                head = 4
                if len(buffer) - start < head:
                    break
                (length,) = struct.unpack_from(">H", buffer, start + 2)
            elif length == 127:
                head = 10
                if len(buffer) - start < head:
                    break
                (length,) = struct.unpack_from(">Q", buffer, start + 2)
            if len(buffer) - start < head + length:
                break
            data = bytes(memoryview(buffer)[start + head : start + head + length])
            start += head + length
            if kind == _BINARY:
                self.on_frame(frames.decode_push(data))
            elif kind == _PING:
                self._write(_PONG, data)
            elif kind != _PONG:
                self.close()
        del buffer[:start]

    def send(self, frame: frames.Request) -> None:
        """One frame."""
        self._write(_BINARY, frames.encode(frame))

    def _write(self, kind: int, data: bytes) -> None:
        length = len(data)
        if length < 126:
            head = struct.pack(">BB", kind, _MASKED | length)
        elif length < 65_536:
            head = struct.pack(">BBH", kind, _MASKED | 126, length)
        else:
            head = struct.pack(">BBQ", kind, _MASKED | 127, length)
        self.write(head + bytes(4) + data)


class KurirPair(Pair):
    """A personal mailbox: gate, signatures and acknowledgements as any client's."""

    def __init__(self, address: str, number: int, size: int) -> None:
        super().__init__(address, number, size)
        seed = hashlib.sha256(b"bench %d" % number).digest()
        self._key = SigningKey(seed)
        self._token = hashlib.sha256(seed).digest()
        self._body = os.urandom(size)
        self._mailbox = b""
        self._n = 0
        self._welcome: asyncio.Future[frames.Welcome] | None = None
        self._answers: dict[int, asyncio.Future[list[entries.Result | None]]] = {}
        self._counts: dict[int, int] = {}
        self._sender: WebSocket | None = None
        self._reader: WebSocket | None = None

    async def make(self) -> None:
        """Make the mailbox; the reader stays connected."""
        reader, welcome = await self._connect()
        gate, hour = token_gate(self._token), welcome.now // HOUR
        public = bytes(self._key.verify_key)
        made = self._sign(proofs.create_message(welcome.cert.relay_id, welcome.nonce, gate, hour))
        await self._ask(
            reader,
            lambda n: frames.Create(n, [entries.NewMailbox(public, gate, hour, made)]),
        )
        self._mailbox = mailbox_id_of(welcome.cert.relay_id, public, Hash(gate), hour)
        reader.close()

    async def open_sender(self) -> None:
        self._sender, _ = await self._connect()
        self._sender.on_lost = lambda: self.lost()

    async def open_reader(self) -> None:
        reader, welcome = await self._connect()
        self._reader = reader
        message = proofs.open_message(welcome.cert.relay_id, welcome.nonce, self._mailbox)
        opening = entries.Opening(self._mailbox, self._sign(message))
        await self._ask(reader, lambda n: frames.Open(n, [opening]))

    def send(self, first: int, count: int) -> None:
        assert self._sender is not None
        body, mailbox, token = self._body, self._mailbox, self._token
        submissions = [
            entries.Submission(mailbox, number.to_bytes(16, "big"), body, 24, token=token)
            for number in range(first, first + count)
        ]
        self._n += 1
        self._counts[self._n] = count
        self._sender.send(frames.Submit(self._n, submissions))

    def close(self) -> None:
        for socket in (self._sender, self._reader):
            if socket is not None:
                socket.close()

    async def _connect(self) -> tuple[WebSocket, frames.Welcome]:
        self._welcome = asyncio.get_running_loop().create_future()
        socket = WebSocket(self._take)
        await connected(socket, self.address, self.number)
        welcome = await asyncio.wait_for(self._welcome, PATIENCE)
        return socket, welcome

    async def _ask(self, socket: WebSocket, make: Callable[[int], frames.Request]) -> None:
        self._n += 1
        answer = self._answers[self._n] = asyncio.get_running_loop().create_future()
        socket.send(make(self._n))
        (result,) = await asyncio.wait_for(answer, PATIENCE)
        if result is not None and result.code != "ok":
            raise RuntimeError(f"the relay refused: {result}")

    def _sign(self, message: bytes) -> bytes:
        return self._key.sign(message).signature

    def _take(self, frame: frames.Push) -> None:
        match frame:
            case frames.Deliver(deliveries):
                assert self._reader is not None
                self._n += 1
                acks = [entries.Ack(self._mailbox, each.envelope_id) for each in deliveries]
                self._reader.send(frames.Acks(self._n, acks))
                self.received([int.from_bytes(each.envelope_id, "big") for each in deliveries])
            case frames.Results(n, results):
                count = self._counts.pop(n, None)
                if count is not None:
                    refused = [result for result in results if result is not None]
                    if refused:
                        raise RuntimeError(f"the relay refused: {refused[0]}")
                    self.accepted(count)
                elif n in self._answers:
                    self._answers.pop(n).set_result(results)
            case frames.Welcome():
                if self._welcome is not None:
                    self._welcome.set_result(frame)
            case _:
                raise RuntimeError(f"unexpected: {type(frame).__name__}")
