"""Fair shares of an address: anybody may write to it, so no single network may fill it.

As long as less than a part of its room is used, nobody is held back: the business is there and
reads. Above, each network has a share of its own, and what it wrote before counts.
"""

from __future__ import annotations

import hashlib

from kurir_server.limits import (
    ADDRESS_OPEN_SHARE,
    ADDRESS_SHARE_RATE,
    MAX_BUCKETS,
    MAX_BYTES_MAILBOX,
    MAX_DEPTH_MAILBOX,
)
from kurir_server.rates import Buckets
from kurir_server.rows import Mailbox, Moment
from kurir_wire import codes
from kurir_wire.entries import Result, Submission
from kurir_wire.limits import ADDRESS_BUCKETS


class Shares:
    """What each network has put into each address of late; touched in the store's thread only."""

    def __init__(self) -> None:
        self._taken: Buckets[bytes] = Buckets(ADDRESS_SHARE_RATE, MAX_BUCKETS)

    def held_back(
        self, mailbox: Mailbox, entry: Submission, network: bytes, moment: Moment
    ) -> Result | None:
        """Why an envelope of this network has to wait, if it has to."""
        if (
            mailbox.depth < MAX_DEPTH_MAILBOX // ADDRESS_OPEN_SHARE
            and mailbox.size < MAX_BYTES_MAILBOX // ADDRESS_OPEN_SHARE
        ):
            return None
        pieces = _pieces(entry)
        slow = self._taken.look(_name(mailbox, network), moment.tick, pieces)
        if slow is None:
            return None
        detail = "much waits at this address, and your network has used its share; retry later"
        return Result(codes.RATE, detail, slow.retry_after, slow.left // pieces)

    def took(self, mailbox: Mailbox, entry: Submission, network: bytes, moment: Moment) -> None:
        """An envelope of this network was accepted."""
        self._taken.of(_name(mailbox, network), moment.tick).spend(moment.tick, _pieces(entry))

    def prune(self, tick: float) -> None:
        """Forget those that have run full again."""
        self._taken.prune(tick)


def _pieces(entry: Submission) -> int:
    return -(-len(entry.body) // ADDRESS_BUCKETS[0])


def _name(mailbox: Mailbox, network: bytes) -> bytes:
    """A network, whose name is a keyed hash already, and an address in one: a list of them shows
    neither who writes to whom nor how many write to one."""
    return hashlib.blake2b(mailbox.id, key=network, digest_size=16).digest()
