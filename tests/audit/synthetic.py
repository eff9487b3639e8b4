"""Made-up evidence of a demo: ciphertext, frames, log lines and schema text in true proportions."""

from __future__ import annotations

import base64
import random

from kurir_audit.capture import Direction
from kurir_audit.places import SEPARATOR, Evidence, Family, Place, wire_place

TAGS = {
    Direction.TO_RELAY: ("beacon", "create", "open", "submit", "ack", "get_business"),
    Direction.TO_CLIENT: ("welcome", "results", "deliver", "beacon_is"),
}
CONTROL = b"control-ping"
SCHEMA = (
    b"CREATE TABLE mailboxes (\n    row INTEGER PRIMARY KEY,\n    id BLOB NOT NULL UNIQUE,\n"
    b"    read_pk BLOB NOT NULL,\n    next_n INTEGER NOT NULL\n) STRICT;"
)
TEXT = """
a I 1 2 no to of on it 5 is at we be by or 24 08 yes bus the for and you one two key row log seat
time open card text null send name Metro 08:15 10:30 4511 2026 9000 hello thanks ticket please
choose window business delivery mailbox create submit results INTEGER PRIMARY upgrade websocket
12A 7F3K2Q MB-7F3K2Q tomorrow morning departure
"""
WORDS = TEXT.split()
"""A conversation with all kinds of words: tiny, numeric, of the protocol, the schema, ordinary."""


def _frame(rng: random.Random, way: Direction, body: bytes) -> bytes:
    tag = rng.choice(TAGS[way]).encode()
    number = bytes([0xCD]) + rng.randbytes(2)
    return bytes([0x93, 0xA0 | len(tag)]) + tag + number + b"\xc5\x08\x00" + body


def evidence(seed: int, messages: int = 40, planted: dict[str, bytes] | None = None) -> Evidence:
    """One run. ``planted`` is put into the places of these names."""
    rng = random.Random(seed)
    planted = planted or {}
    places = []
    key = rng.randbytes(32)
    pages = [b"SQLite format 3\0" + SCHEMA + bytes(2_000)]
    record = key + b"Metro Bus Company\x01" + rng.randbytes(16)
    for _ in range(rng.randint(3, 12)):  # the same page again and again, as a WAL has it
        pages.append(bytes(500) + record + SCHEMA + bytes(200))
    pages += [rng.randbytes(4_096) for _ in range(messages)]
    places.append(Place("database, files", Family.DATABASE, b"".join(pages)))
    start = rng.randrange(86_400)
    lines = []
    for n in range(10 + messages // 4):
        second = start + n
        stamp = f"2026-11-21T{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}Z"
        lines.append(
            f'{{"time": "{stamp}", "level": "info", "event": "ready", "pid": '
            f'{rng.randrange(300, 99_999)}, "listen": "127.0.0.1:{rng.randrange(30_000, 60_999)}"}}'
        )
    places.append(Place("log", Family.LOG, "\n".join(lines).encode()))
    for way in Direction:
        bodies = [rng.choice((2_048, 4_096)) for _ in range(messages)]
        frames = [_frame(rng, way, rng.randbytes(size)) for size in bodies]
        heads = []
        for _ in range(rng.randint(3, 8)):
            token = base64.b64encode(rng.randbytes(16)).decode()
            heads.append(
                f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{rng.randrange(30_000, 60_999)}\r\n"
                f"Upgrade: websocket\r\nSec-WebSocket-Key: {token}\r\n\r\n".encode()
            )
        if way is Direction.TO_CLIENT:
            raw = b"".join([*heads, *(b"\x82\x7e\x08\x10" + f for f in frames)])
        else:
            raw = b"".join([*heads, *(rng.randbytes(len(f)) for f in frames)])
        places.append(Place(wire_place(way, "raw"), Family.WIRE, raw))
        joined = b"".join(frame + SEPARATOR for frame in [CONTROL, *frames])
        places.append(Place(wire_place(way, "unmasked"), Family.WIRE, joined))
    return Evidence(
        tuple(Place(p.name, p.family, p.data + planted.get(p.name, b"")) for p in places)
    )
