"""What is on its way: sealed bodies, and where devices stop while they send them."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kurir_crypto.layout import SLOTS
from kurir_crypto.message import inspect, pieces
from kurir_crypto.padding import bucket_for
from kurir_crypto.sealing import (
    EnvelopeKeyPair,
    MailboxKey,
    open_at_address,
    open_with,
    seal_symmetric,
    seal_to_address,
    week_of,
)
from kurir_crypto.session import Session
from kurir_wire.limits import ADDRESS_BUCKETS, BUCKETS
from tests.crypto.parties import NOW, Party

ADDRESS: Final = EnvelopeKeyPair.generate()
"""Whose envelope key it is makes no difference to sessions."""
KEY: Final = MailboxKey.generate(week_of(NOW * 60))
SILENT: Final = tuple(Party() for _ in range(4))
"""Devices that never answer: with them a message to one more has eight entries."""


class Crash(enum.Enum):
    """Where a device stops while it sends."""

    BEFORE_STORING = enum.auto()
    BEFORE_SENDING = enum.auto()
    AFTER_SENDING = enum.auto()


@dataclass(frozen=True, eq=False)
class Parcel:
    """A sealed body on its way to one device. ``session`` is None for a restart request.

    :ivar sound: its sender has lost nothing since the session was started
    """

    sender: int
    to: int
    readers: frozenset[int]
    address: bool
    binding: bytes
    body: bytes
    content: bytes
    session: bytes | None
    sound: bool


def seal(
    sessions: Sequence[Session],
    length: int,
    message: bytes,
    binding: bytes,
    now: int,
    *,
    address: bool,
) -> bytes:
    """Seal, and check that the bucket follows from the content and the sessions alone.

    :param sessions: as they were before the message
    :param length: of the content
    """
    new = not all(session.confirmed for session in sessions)
    room, devices = pieces(sessions), len(sessions)
    bucket = bucket_for(length, address=address, handshake=new, devices=devices, pieces=room)
    slots = next(slots for slots in SLOTS if devices <= slots)
    must = sum(session.sparse.answer is not None for session in sessions)
    assert room == min(devices, max(2, must + 1))
    sparse = [entry.head.headers.sparse for entry in inspect(message)]
    carried = [header.ask or header.answer for header in sparse if header.ask or header.answer]
    assert len(carried) <= room
    reserve = 1_184 * room
    if address or new:
        reserve = max(reserve, 1_746 * slots)
    least = length + 50 + 117 * slots + reserve + 1 + (1_136 if address else 40)
    assert bucket == min(b for b in (ADDRESS_BUCKETS if address else BUCKETS) if b >= least)
    if address:
        body = seal_to_address(ADDRESS.public, binding, message, bucket)
    else:
        body = seal_symmetric(KEY, week_of(now * 60), binding, message, bucket)
    assert len(body) == bucket
    return body


def seal_request(request: bytes, binding: bytes, now: int) -> bytes:
    """A restart request goes into a mailbox."""
    return seal_symmetric(KEY, week_of(now * 60), binding, request, BUCKETS[1])


def unseal(parcel: Parcel, now: int) -> bytes:
    """:raises AuthenticationError: it does not open in that place"""
    if parcel.address:
        return open_at_address(ADDRESS, parcel.binding, parcel.body)
    return open_with(KEY, week_of(now * 60), parcel.binding, parcel.body)
