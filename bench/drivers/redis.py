"""Redis streams: a consumer group for each reader; what it acknowledged is deleted, as in kurir."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

from bench.drivers.pair import PATIENCE, Pair, Stream, connected

_READ_COUNT = 64


class Resp(Stream):
    """One connection of RESP2. Replies come in the order of the commands."""

    def __init__(self, on_reply: Any) -> None:
        super().__init__()
        self.on_reply = on_reply
        self.on_error: Callable[[RuntimeError], None] = _refuse

    def command(self, *parts: bytes) -> bytes:
        """A command as bytes."""
        return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)

    def parse(self) -> None:
        start = 0
        while True:
            value, end = _value(self.buffer, start)
            if end < 0:
                break
            start = end
            if isinstance(value, RuntimeError):
                self.on_error(value)
            else:
                self.on_reply(value)
        del self.buffer[:start]


def _refuse(error: RuntimeError) -> None:
    raise error


def _value(data: bytearray, start: int) -> tuple[Any, int]:
    """:returns: a value and where it ends, or -1 if it is not there whole"""
    end = data.find(b"\r\n", start)
    if end < 0:
        return None, -1
    kind, line = data[start], bytes(data[start + 1 : end])
    after = end + 2
    match kind:
        case 0x2B | 0x3A:  # + and :
            return line, after
        case 0x2D:  # -
            return RuntimeError(f"Redis refused: {line!r}"), after
        case 0x24:  # $
            length = int(line)
            if length < 0:
                return None, after
            if len(data) < after + length + 2:
                return None, -1
            return bytes(data[after : after + length]), after + length + 2
        case _:  # *
            values = []
            for _ in range(max(0, int(line))):
                value, after = _value(data, after)
                if after < 0:
                    return None, -1
                values.append(value)
            return values, after


class RedisPair(Pair):
    """A stream, its consumer group, and two connections."""

    def __init__(self, address: str, number: int, size: int) -> None:
        super().__init__(address, number, size)
        self._key = b"pair%d" % number
        self._body = os.urandom(size - 8)
        self._sender: Resp | None = None
        self._reader: Resp | None = None

    async def make(self) -> None:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        resp = Resp(answer.set_result)
        resp.on_error = answer.set_result  # the group is there already
        await connected(resp, self.address, self.number)
        resp.write(resp.command(b"XGROUP", b"CREATE", self._key, b"g", b"0", b"MKSTREAM"))
        await asyncio.wait_for(answer, PATIENCE)
        resp.close()

    async def open_sender(self) -> None:
        self._sender = Resp(lambda reply: self.accepted(1))
        self._sender.on_lost = lambda: self.lost()
        await connected(self._sender, self.address, self.number)

    async def open_reader(self) -> None:
        self._reader = Resp(self._take)
        await connected(self._reader, self.address, self.number)
        self._reader.write(self._read())

    def send(self, first: int, count: int) -> None:
        assert self._sender is not None
        command = self._sender.command
        self._sender.write(
            b"".join(
                command(b"XADD", self._key, b"*", b"b", number.to_bytes(8, "big") + self._body)
                for number in range(first, first + count)
            )
        )

    def close(self) -> None:
        for each in (self._sender, self._reader):
            if each is not None:
                each.close()

    def _read(self) -> bytes:
        assert self._reader is not None
        return self._reader.command(
            b"XREADGROUP", b"GROUP", b"g", b"c", b"COUNT", b"%d" % _READ_COUNT,
            b"BLOCK", b"0", b"STREAMS", self._key, b">",
        )  # fmt: skip

    def _take(self, reply: Any) -> None:
        if not isinstance(reply, list):
            return  # of XACK and XDEL
        assert self._reader is not None
        rows = reply[0][1]
        ids = [row[0] for row in rows]
        command = self._reader.command
        done = command(b"XACK", self._key, b"g", *ids) + command(b"XDEL", self._key, *ids)
        self._reader.write(done + self._read())
        self.received([int.from_bytes(row[1][1][:8], "big") for row in rows])
