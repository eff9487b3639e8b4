"""Targets in kurir_audit: WebSocket traffic as it was tapped, and capture files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgpack

from kurir_audit.capture import MAGIC, Direction, Kind, Record, read_capture
from kurir_audit.errors import EvidenceFileError
from kurir_audit.unmask import Handshake, Piece, Unmasker, unmask
from kurir_audit.unpacked import unpacked
from tests.fuzz.mutate import msgpack_tree, of_words, some_bytes
from tests.fuzz.target import VALID, Target, attempt

UPGRADE = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"


def websocket(data: bytes) -> bool:
    """The first byte says which way; the rest crosses whole, and then byte by byte."""
    direction = Direction(data[0] & 1 if data else 0)
    whole = _pieces(direction, [data[1:]])
    split = _pieces(direction, [data[at : at + 1] for at in range(1, len(data))])
    # Plain HTTP is passed over by the piece; only what follows an upgrade has to be found alike.
    assert whole == split or not _upgraded(direction, data[1:])
    notes = [piece for piece in whole if piece.kind is Kind.NOTE]
    assert len(notes) <= 1
    assert not notes or whole[-1] is notes[0]
    return bool(whole) and not notes


def _upgraded(direction: Direction, data: bytes) -> bool:
    head = data.partition(b"\r\n\r\n")[0]
    if not head.translate(None, b"\r\n\t").decode("latin-1").isprintable() or not head.isascii():
        return False
    if direction is Direction.TO_CLIENT:
        return head.startswith(b"HTTP/1.1 101")
    return b"upgrade: websocket" in head.lower()


def _pieces(direction: Direction, parts: list[bytes]) -> list[Piece]:
    unmasker = Unmasker(direction, Handshake())
    found = [piece for part in parts for piece in unmasker.feed(part)]
    return [*found, *unmasker.finish()]


def capture(data: bytes) -> bool:
    """A file of records, and one column of a database."""
    assert unpacked(data).isprintable()
    with tempfile.NamedTemporaryFile(dir=_SCRATCH) as file:
        file.write(data)
        file.flush()
        found = attempt(EvidenceFileError, lambda: list(read_capture(Path(file.name))))
    if found is None:
        return False
    assert all(isinstance(record, Record) for record in found)
    return True


def _websocket_samples() -> dict[str, bytes]:
    masked = b"\x82\x83\x01\x02\x03\x04" + unmask(b"abc", b"\x01\x02\x03\x04")
    deflated = b"\xc2\x07" + b"\x4a\x4c\x4a\x06\x00\x00\x00"
    return {
        VALID + "to-relay": b"\0" + UPGRADE + masked + b"\x88\x80\0\0\0\0",
        VALID + "fragments": b"\0" + UPGRADE + b"\x02\x01a\x89\x00\x00\x01b\x80\x01c",
        VALID + "to-client": b"\1" + ANSWER + b"\x82\x7e\x00\x80" + bytes(128),
        "deflated": b"\1" + ANSWER + deflated,
        "refused": b"\1HTTP/1.1 403 Forbidden\r\n\r\nno",
    }


def _capture_samples() -> dict[str, bytes]:
    records = [[1, 0, "raw", -1, b"GET /"], [1, 1, "payload", 2, b"\x91"], [1, 1, "note", -1, b"x"]]
    return {VALID + "capture": b"".join(map(msgpack.packb, [MAGIC, *records]))}


_SCRATCH = "/dev/shm" if Path("/dev/shm").is_dir() else None
WORDS = (
    UPGRADE, ANSWER, b"\r\n\r\n", b"permessage-deflate", b"\x82\x7f" + b"\xff" * 8,
    b"\x82\x7f" + bytes(8), b"\xc2", b"\x80", b"\x88\x00",
)  # fmt: skip
KINDS = tuple(msgpack.packb(str(kind)) for kind in Kind)
TARGETS = (
    Target(
        "websocket", websocket, _websocket_samples, (some_bytes, of_words(WORDS)), WORDS, 1_024
    ),
    Target(
        "capture", capture, _capture_samples, (some_bytes, msgpack_tree, of_words(KINDS)), KINDS
    ),
)  # fmt: skip
