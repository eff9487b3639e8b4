"""Where an envelope stands: one integer of its mailbox's row and its number there.

It is the rowid of ``envelopes``. So an envelope is found by one key, what waits in a mailbox lies
side by side in order, and a body is stored in the leaf that the key leads to. Of its 62 bits 36
are the mailbox's random row: ten million mailboxes meet a row that is taken once in seven thousand
times, and draw again.
"""

from __future__ import annotations

from typing import Final

from kurir_server.limits import MAX_NUMBER

ROW_BITS: Final = 36
N_BITS: Final = MAX_NUMBER.bit_length()

ROW: Final = f"place >> {N_BITS}"
N: Final = f"place & {MAX_NUMBER}"
"""The two parts, in SQL."""


def place_of(row: int, n: int) -> int:
    """The place of a number in a mailbox."""
    return row << N_BITS | n


def parts_of(place: int) -> tuple[int, int]:
    """Row and number of a place."""
    return place >> N_BITS, place & MAX_NUMBER


def span_of(row: int) -> tuple[int, int]:
    """The first and the last place of a mailbox."""
    return place_of(row, 0), place_of(row, MAX_NUMBER)
