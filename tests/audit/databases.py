"""A relay's database, made by the relay's own store, with rows as a conversation leaves them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from kurir_server.store import Store
from kurir_server.store.blobs import SqlBlobStore

RELAY_ID = bytes(range(32))


def make(path: Path) -> Path:
    """An empty one, as ``kurir-relay init`` makes it."""
    Store.create(path, RELAY_ID).close()
    return path


def make_blobs(path: Path) -> Path:
    """An empty file of blobs, as ``kurir-relay serve`` makes it."""
    SqlBlobStore.open(path, RELAY_ID).close()
    return path


def fill(path: Path) -> Path:
    """One with rows in its main tables."""
    with sqlite3.connect(make(path)) as connection:
        connection.execute(
            "INSERT INTO mailboxes VALUES (77, ?, ?, ?, 3, 1, 2048, 0, 0, 480000, 0, x'')",
            (b"m" * 32, b"k" * 32, b"g" * 32),
        )
        connection.execute(
            "INSERT INTO envelopes VALUES (?, ?, 480000, NULL, ?, NULL)",
            (77 << 26 | 1, b"e" * 16, b"\x9f" * 2048),
        )
        connection.execute(
            """INSERT INTO businesses (id, version, card, expires, tier, tariff, legal_name)
            VALUES (?, 1, ?, 1800000000, 2, 'reply-2018', ?)""",
            (b"b" * 32, b"c" * 900, "Metro Bus Company"),
        )
    connection.close()
    return path
