"""Sums over what is handed on and checked by nobody else in between: envelopes, and charges that
wait for their settlement.

SQLite has no checksums of its own in the database file: a bit that turns there would be delivered
as it is. Sums are for accidents. Whoever can write the file can write them too; what such a one
changes is found out by the readers, to whom every body is authentic or nothing.
"""

from __future__ import annotations

import hashlib
from typing import Final

SUM_DIFFERS: Final = "SUM_DIFFERS"
"""What the log calls a row that is not what was written."""
SUM_BYTES: Final = 8
"""One accident in 2^64 goes unseen."""


def sum_of(*values: object) -> bytes:
    """The sum of a row's values, each of whatever type a damaged file has it."""
    parts: list[bytes] = []
    for value in values:
        if isinstance(value, bytes):
            parts += (b"b%d:" % len(value), value)
        else:
            text = repr(value).encode()
            parts += (b"v%d:" % len(text), text)
    return hashlib.blake2b(b"".join(parts), digest_size=SUM_BYTES).digest()
