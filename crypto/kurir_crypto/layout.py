"""The bytes of a message between sessions: what :mod:`.message` fills and reads.

::

    message  suite u8 ‖ slots u8 ‖ entry × slots ‖ commitment 32 ‖ content ciphertext ‖ tag 16
    entry    flags u8 ‖ session id 16 ‖ ratchet header 40 ‖ [handshake 1,746] ‖ wrapped key 48
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kurir_crypto.aead import TAG_BYTES
from kurir_crypto.errors import MalformedMessageError
from kurir_crypto.handshake import HANDSHAKE_BYTES, SESSION_ID_BYTES, Handshake
from kurir_crypto.ratchet import HEADER_BYTES, RatchetHeader
from kurir_crypto.reader import Reader
from kurir_crypto.suite import check_suite
from kurir_wire.ids import u8

SLOTS: Final = (1, 4, 8)
"""Numbers of entries; what is left over is filled, so that a length tells little about devices."""
MAX_DEVICES: Final = SLOTS[-1]
CONTENT_KEY_BYTES: Final = 32
WRAPPED_BYTES: Final = CONTENT_KEY_BYTES + TAG_BYTES
COMMITMENT_BYTES: Final = 32
ENTRY_BYTES: Final = 1 + SESSION_ID_BYTES + HEADER_BYTES + WRAPPED_BYTES
"""105: one entry without a handshake."""
FRAME_BYTES: Final = 1 + 1 + COMMITMENT_BYTES + TAG_BYTES
"""50: what surrounds entries and content."""

_HAS_HANDSHAKE: Final = 0x01


@dataclass(frozen=True, slots=True)
class EntryHead:
    """The part of an entry that its wrapped key is bound to."""

    session_id: bytes
    ratchet: RatchetHeader
    handshake: bytes | None

    def to_bytes(self) -> bytes:
        """57 bytes, or 1,803 with a handshake."""
        flags = 0 if self.handshake is None else _HAS_HANDSHAKE
        return u8(flags) + self.session_id + self.ratchet.to_bytes() + (self.handshake or b"")


@dataclass(frozen=True, slots=True)
class Entry:
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


@dataclass(frozen=True, slots=True)
class Layout:
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
    flags = reader.number(1)
    if flags & ~_HAS_HANDSHAKE:
        raise MalformedMessageError("an entry has unknown flags")
    session_id = reader.take(SESSION_ID_BYTES)
    ratchet = RatchetHeader.read(reader)
    handshake = None
    if flags & _HAS_HANDSHAKE:
        handshake = reader.take(HANDSHAKE_BYTES)
        Handshake.from_bytes(handshake)
    return Entry(EntryHead(session_id, ratchet, handshake), reader.take(WRAPPED_BYTES))
