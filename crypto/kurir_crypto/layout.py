"""The bytes of a message between sessions: what :mod:`.message` fills and reads.

::

    message  suite u8 ‖ slots u8 ‖ entry × slots ‖ commitment 32 ‖ content ciphertext ‖ tag 16
    entry    flags u8 ‖ session id 16 ‖ ratchet header 40 ‖ epoch u32 ‖ previous u32 ‖ number u32
             ‖ [handshake 1,746 | ask 1,184 | answer 1,088] ‖ wrapped key 48
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from kurir_crypto.aead import TAG_BYTES
from kurir_crypto.errors import MalformedMessageError
from kurir_crypto.handshake import HANDSHAKE_BYTES, SESSION_ID_BYTES, Handshake
from kurir_crypto.ratchet import RatchetHeader
from kurir_crypto.reader import Reader
from kurir_crypto.session import Headers
from kurir_crypto.sparse import ANSWER_BYTES, ASK_BYTES, SparseHeader
from kurir_crypto.suite import check_suite
from kurir_wire.ids import u8

SLOTS: Final = (1, 4, 8)
"""Numbers of entries; what is left over is filled, so that a length tells little about devices."""
MAX_DEVICES: Final = SLOTS[-1]
CONTENT_KEY_BYTES: Final = 32
WRAPPED_BYTES: Final = CONTENT_KEY_BYTES + TAG_BYTES
COMMITMENT_BYTES: Final = 32
_HEAD: Final = struct.Struct(f">B{SESSION_ID_BYTES}s32sIIIII")
ENTRY_BYTES: Final = _HEAD.size + WRAPPED_BYTES
"""117: one entry without handshake, ask or answer."""
FRAME_BYTES: Final = 1 + 1 + COMMITMENT_BYTES + TAG_BYTES
"""50: what surrounds entries and content."""

_PLAIN: Final = 0x00
_HAS_HANDSHAKE: Final = 0x01
_HAS_ASK: Final = 0x02
_HAS_ANSWER: Final = 0x04


class EntryHead(NamedTuple):
    """The part of an entry that its wrapped key is bound to. At most one of handshake, ask and
    answer is there: no ratchet key travels before the first answer came."""

    session_id: bytes
    headers: Headers
    handshake: bytes | None = None

    def to_bytes(self) -> bytes:
        """69 bytes, or more with a handshake, ask or answer."""
        curve, sparse = self.headers
        flags, more = _PLAIN, b""
        if self.handshake is not None:
            flags, more = _HAS_HANDSHAKE, self.handshake
        elif sparse.ask is not None:
            flags, more = _HAS_ASK, sparse.ask
        elif sparse.answer is not None:
            flags, more = _HAS_ANSWER, sparse.answer
        fixed = _HEAD.pack(flags, self.session_id, *curve, *sparse[:3])
        return fixed + more


class Entry(NamedTuple):
    """What one device finds for itself in a message."""

    head: EntryHead
    wrapped: bytes

    @property
    def session_id(self) -> bytes:
        """16 bytes."""
        return self.head.session_id

    @property
    def handshake(self) -> Handshake | None:
        """The first message's header, if the sender repeats it.

        :raises MalformedMessageError: not well formed; :func:`parse` has checked that it is
        """
        return None if self.head.handshake is None else Handshake.from_bytes(self.head.handshake)


class Layout(NamedTuple):
    """A message taken apart. Nothing in it is verified."""

    suite: int
    entries: tuple[Entry, ...]
    commitment: bytes
    ciphertext: bytes

    def to_bytes(self) -> bytes:
        """The message."""
        entries = b"".join(entry.head.to_bytes() + entry.wrapped for entry in self.entries)
        head = u8(self.suite) + u8(len(self.entries))
        return head + entries + self.commitment + self.ciphertext


def slots_for(devices: int) -> int:
    """The number of entries in a message to so many devices.

    :raises ValueError: none, or more than MAX_DEVICES
    """
    for slots in SLOTS:
        if 1 <= devices <= slots:
            return slots
    raise ValueError(f"a message goes to 1 to {MAX_DEVICES} devices, not {devices}")


def least_pieces(devices: int) -> int:
    """For how many asks or answers every message to so many devices keeps room: one, and beside one
    device's answer, which may be under way for long, a second."""
    return min(devices, 2)


def parse(message: bytes) -> Layout:
    """Take a message apart.

    :raises UnknownSuiteError: another suite
    :raises MalformedMessageError: anything else that is wrong
    """
    reader = Reader(message)
    suite = reader.number(1)
    check_suite(suite)
    slots = reader.number(1)
    if slots not in SLOTS:
        raise MalformedMessageError(f"a message has {SLOTS} entries, not {slots}")
    entries = tuple(_parse_entry(reader) for _ in range(slots))
    commitment = reader.take(COMMITMENT_BYTES)
    ciphertext = reader.rest()
    if len(ciphertext) < TAG_BYTES:
        raise MalformedMessageError("the message is cut off")
    return Layout(suite, entries, commitment, ciphertext)


def _parse_entry(reader: Reader) -> Entry:
    flags, session_id, public, previous, number, *counters = _HEAD.unpack(reader.take(_HEAD.size))
    curve, sparse = RatchetHeader(public, previous, number), SparseHeader(*counters)
    handshake = None
    if flags == _HAS_HANDSHAKE:
        handshake = reader.take(HANDSHAKE_BYTES)
        Handshake.from_bytes(handshake)
    elif flags == _HAS_ASK:
        sparse = sparse._replace(ask=reader.take(ASK_BYTES))
    elif flags == _HAS_ANSWER:
        sparse = sparse._replace(answer=reader.take(ANSWER_BYTES))
    elif flags != _PLAIN:
        raise MalformedMessageError("an entry has unknown flags")
    head = EntryHead(session_id, Headers(curve, sparse), handshake)
    return Entry(head, reader.take(WRAPPED_BYTES))
