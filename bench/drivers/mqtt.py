"""MQTT 3.1.1, QoS 1 both ways, sessions that stay."""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable

from bench.drivers.pair import PATIENCE, Pair, Stream, connected

_CONNACK, _PUBLISH, _PUBACK, _SUBACK = 2, 3, 4, 9


class Mqtt(Stream):
    """One connection; ``on_packet`` gets type, flags and body."""

    def __init__(self, on_packet: Callable[[int, int, bytes], None]) -> None:
        super().__init__()
        self.on_packet = on_packet

    def parse(self) -> None:
        start, buffer = 0, self.buffer
        while True:
            place, length, shift = start + 1, 0, 0
            while place < len(buffer):
                byte = buffer[place]
                length |= (byte & 0x7F) << shift
                shift += 7
                place += 1
                if not byte & 0x80:
                    break
            else:
                break
            if len(buffer) < place + length:
                break
            body = bytes(buffer[place : place + length])
            kind = buffer[start]
            start = place + length
            self.on_packet(kind >> 4, kind & 0x0F, body)
        del buffer[:start]


def packet(first: int, body: bytes) -> bytes:
    """A control packet."""
    length, head = len(body), bytearray([first])
    while True:
        length, byte = length >> 7, length & 0x7F
        head.append(byte | 0x80 if length else byte)
        if not length:
            return bytes(head) + body


def _text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data


class MqttPair(Pair):
    """A topic, a session that subscribes to it, and a publisher."""

    def __init__(self, address: str, number: int, size: int) -> None:
        super().__init__(address, number, size)
        self._topic = f"pair/{number}"
        self._body = os.urandom(size - 8)
        self._sender: Mqtt | None = None
        self._reader: Mqtt | None = None

    async def make(self) -> None:
        reader = await self._connect(f"reader{self.number}", self._nothing)
        done = asyncio.get_running_loop().create_future()
        reader.on_packet = lambda kind, flags, body: done.set_result(None)
        reader.write(packet(0x82, struct.pack(">H", 1) + _text(self._topic) + b"\1"))
        await asyncio.wait_for(done, PATIENCE)
        reader.write(packet(0xE0, b""))
        reader.close()

    async def open_sender(self) -> None:
        self._sender = await self._connect(f"sender{self.number}", self._acknowledged)
        self._sender.on_lost = lambda: self.lost()

    async def open_reader(self) -> None:
        self._reader = await self._connect(f"reader{self.number}", self._published)

    def send(self, first: int, count: int) -> None:
        assert self._sender is not None
        topic = _text(self._topic)
        self._sender.write(
            b"".join(
                packet(
                    0x32,
                    topic + struct.pack(">HQ", number % 65_535 + 1, number) + self._body,
                )
                for number in range(first, first + count)
            )
        )

    def close(self) -> None:
        for each in (self._sender, self._reader):
            if each is not None:
                each.close()

    async def _connect(self, name: str, take: Callable[[Mqtt, int, bytes], None]) -> Mqtt:
        done = asyncio.get_running_loop().create_future()

        def first(kind: int, flags: int, body: bytes) -> None:
            link.on_packet = lambda kind, flags, body: take(link, kind, body)
            if kind == _CONNACK and body[1] == 0:
                done.set_result(None)
            else:
                done.set_exception(RuntimeError(f"Mosquitto refused: {body!r}"))

        link = Mqtt(first)
        await connected(link, self.address, self.number)
        link.write(packet(0x10, _text("MQTT") + struct.pack(">BBH", 4, 0, 0) + _text(name)))
        await asyncio.wait_for(done, PATIENCE)
        return link

    def _nothing(self, link: Mqtt, kind: int, body: bytes) -> None:
        return

    def _acknowledged(self, link: Mqtt, kind: int, body: bytes) -> None:
        if kind == _PUBACK:
            self.accepted(1)

    def _published(self, link: Mqtt, kind: int, body: bytes) -> None:
        if kind != _PUBLISH:
            return
        topic = 2 + struct.unpack_from(">H", body)[0]
        link.write(packet(0x40, body[topic : topic + 2]))
        self.received([struct.unpack_from(">Q", body, topic + 2)[0]])
