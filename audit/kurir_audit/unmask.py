"""Unmasking: one direction of a WebSocket connection, from raw bytes to payloads (RFC 6455).

Sans I/O: bytes go in, pieces come out. Clients mask what they send, so the raw bytes of that
direction never show a word of it; without this a search would be blind and not know it.

Written here rather than borrowed from a WebSocket library, for a recorder has to go on where an
endpoint has to close: a frame that breaks the rules is recorded, not refused.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from kurir_audit.capture import NO_OPCODE, Direction, Kind

MAX_HEAD: Final = 64 * 1024
"""Bytes of an HTTP head; a longer one is not an upgrade."""
MAX_PAYLOAD: Final = 64 * 1024 * 1024
"""Bytes of a frame that are held to be unmasked: far beyond kurir's limit of one MiB."""
MAX_INFLATED: Final = 64 * 1024 * 1024
"""Bytes that one message may inflate to."""

CONTINUATION: Final = 0x0
DEFLATE_TAIL: Final = b"\x00\x00\xff\xff"
"""What permessage-deflate leaves out at the end of each message (RFC 7692, section 7.2.1)."""


class UnparsableError(Exception):
    """the bytes are not WebSocket traffic"""


@dataclass(frozen=True, slots=True)
class Piece:
    """Something parsed: the kind of record that it becomes, its opcode, its bytes."""

    kind: Kind
    opcode: int
    data: bytes


@dataclass(slots=True)
class Handshake:
    """What both directions of a connection know of its upgrade."""

    upgraded: bool | None = None
    """Whether the relay agreed; ``None`` until it has answered."""
    deflate: bool = False


@dataclass(frozen=True, slots=True)
class _Head:
    """The header of one frame."""

    final: bool
    compressed: bool
    opcode: int
    key: bytes | None
    start: int
    length: int


def unmask(data: bytes, key: bytes) -> bytes:
    """XOR with the repeated four-byte key."""
    size = len(data)
    repeated = (key * (size // 4 + 1))[:size]
    # Whole-number XOR: a loop over bytes would be a hundred times slower.
    return (int.from_bytes(data, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


class Unmasker:
    """One direction of one connection."""

    def __init__(self, direction: Direction, handshake: Handshake) -> None:
        self._direction = direction
        self._handshake = handshake
        self._buffer = bytearray()
        self._in_frames = False
        self._broken = False
        self._parts: list[bytes] = []
        self._message_opcode = CONTINUATION
        self._message_compressed = False
        self._inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Parse on. After the first note nothing more comes; the raw bytes are all there is."""
        if self._broken:
            return
        self._buffer += data
        try:
            if not self._in_frames and not self._read_head():
                return
            while (head := self._frame_head()) is not None:
                if len(self._buffer) < head.start + head.length:
                    return
                yield from self._take_frame(head)
        except UnparsableError as error:
            self._broken = True
            self._buffer.clear()
            yield Piece(Kind.NOTE, NO_OPCODE, str(error).encode())

    def finish(self) -> Iterator[Piece]:
        """The connection has ended: what had arrived of a frame that never became whole."""
        if self._broken or not self._in_frames or not self._buffer:
            return
        try:
            head = self._frame_head()
        except UnparsableError:
            return
        if head is not None and len(self._buffer) > head.start:
            yield Piece(Kind.PAYLOAD, head.opcode, self._payload(head, len(self._buffer)))

    def _read_head(self) -> bool:
        """Pass over the HTTP head. Returns whether frames follow and may be parsed."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MAX_HEAD or not _printable(self._buffer):
                raise UnparsableError("does not begin with HTTP; perhaps it is TLS")
            return False
        head = bytes(self._buffer[:end])
        if self._direction is Direction.TO_CLIENT:
            if not head.startswith(b"HTTP/1.1 101"):
                # A refused upgrade is plain HTTP: the raw bytes hide nothing.
                self._handshake.upgraded = False
                self._buffer.clear()
                return False
            self._handshake.upgraded = True
            self._handshake.deflate = b"permessage-deflate" in head.lower()
        elif b"upgrade: websocket" not in head.lower():
            self._buffer.clear()
            return False
        del self._buffer[: end + 4]
        self._in_frames = True
        return True

    def _frame_head(self) -> _Head | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        if first & 0x30:
            raise UnparsableError("a frame with reserved bits set")
        length, start = second & 0x7F, 2
        if length >= 126:
            width = 2 if length == 126 else 8
            start += width
            if len(buffer) < start:
                return None
            length = int.from_bytes(buffer[2:start], "big")
        if length > MAX_PAYLOAD:
            raise UnparsableError(f"a frame of {length} bytes, more than can be held")
        key = None
        if second & 0x80:
            key = bytes(buffer[start : start + 4])
            start += 4
            if len(key) < 4:
                return None
        return _Head(bool(first & 0x80), bool(first & 0x40), first & 0x0F, key, start, length)

    def _payload(self, head: _Head, end: int) -> bytes:
        data = bytes(self._buffer[head.start : end])
        return unmask(data, head.key) if head.key is not None else data

    def _take_frame(self, head: _Head) -> Iterator[Piece]:
        end = head.start + head.length
        data = self._payload(head, end)
        del self._buffer[:end]
        yield Piece(Kind.PAYLOAD, head.opcode, data)
        if head.opcode >= 0x8:
            return  # control frames stand alone, even between fragments
        if head.opcode != CONTINUATION:
            self._parts = []
            self._message_opcode = head.opcode
            self._message_compressed = head.compressed
        self._parts.append(data)
        if not head.final:
            return
        message = b"".join(self._parts)
        if len(self._parts) > 1:
            yield Piece(Kind.MESSAGE, self._message_opcode, message)
        if self._message_compressed:
            yield Piece(Kind.INFLATED, self._message_opcode, self._inflate(message))

    def _inflate(self, message: bytes) -> bytes:
        if not self._handshake.deflate:
            raise UnparsableError("a compressed frame, though no compression was agreed")
        try:
            data = self._inflater.decompress(message + DEFLATE_TAIL, MAX_INFLATED)
        except zlib.error as error:
            # Without context takeover each message starts anew.
            self._inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
            try:
                data = self._inflater.decompress(message + DEFLATE_TAIL, MAX_INFLATED)
            except zlib.error:
                raise UnparsableError(f"a frame that does not inflate: {error}") from error
        if self._inflater.unconsumed_tail:
            raise UnparsableError(f"a message that inflates to more than {MAX_INFLATED} bytes")
        return data


def _printable(data: bytes | bytearray) -> bool:
    return all(0x20 <= byte < 0x7F or byte in b"\r\n\t" for byte in data[:MAX_HEAD])
