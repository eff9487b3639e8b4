"""Padding to buckets: what the relay learns of a length.

The bucket is chosen by the length of the content plus a fixed reserve, never by what happens to be
in the message, so that a text has the same bucket with and without ratchet material:

- into a mailbox the reserve is room for the post-quantum ratchet's largest piece, a 1,184-byte
  ML-KEM-768 key; for two of them where a message goes to several devices;
- a handshake replaces that reserve: no ratchet keys travel before the first answer;
- to an address the reserve is always a handshake, so that a first contact looks like any other.

A bucket's padding is ISO/IEC 7816-4: one byte 0x80, then zeros. It lies inside the encryption.
"""

from __future__ import annotations

from typing import Final

from kurir_crypto.aead import TAG_BYTES, XCHACHA_BYTES
from kurir_crypto.errors import MalformedMessageError, MessageTooLongError
from kurir_crypto.handshake import HANDSHAKE_BYTES
from kurir_crypto.layout import ENTRY_BYTES, FRAME_BYTES, least_pieces, slots_for
from kurir_crypto.sparse import ASK_BYTES
from kurir_wire.limits import ADDRESS_BUCKETS, BUCKETS

MAILBOX_SEAL_BYTES: Final = XCHACHA_BYTES
"""XChaCha20-Poly1305: nonce and tag."""
ADDRESS_SEAL_BYTES: Final = 1_120 + TAG_BYTES
"""HPKE MLKEM768-X25519: encapsulation (1,088 + 32) and tag."""
PADDING_BYTES: Final = 1
"""The least padding: the byte that ends the message."""
PIECE_BYTES: Final = ASK_BYTES
"""1,184: an ML-KEM-768 key, the longest that the post-quantum ratchet sends."""

_END: Final = b"\x80"


def pad(message: bytes, length: int) -> bytes:
    """``message``, 0x80 and zeros: ``length`` bytes.

    :raises MessageTooLongError: it does not fit
    """
    if len(message) + PADDING_BYTES > length:
        raise MessageTooLongError(
            f"{len(message)} bytes do not fit where {length - PADDING_BYTES} have room"
        )
    return (message + _END).ljust(length, b"\0")


def unpad(padded: bytes) -> bytes:
    """The inverse of :func:`pad`. Call it on authenticated bytes only.

    :raises MalformedMessageError: no padding
    """
    message = padded.rstrip(b"\0")
    if not message.endswith(_END):
        raise MalformedMessageError("the padding is not well formed")
    return message[:-1]


def bucket_for(
    content_length: int,
    *,
    address: bool,
    handshake: bool,
    devices: int = 1,
    pieces: int | None = None,
) -> int:
    """The bucket of a message, in bytes.

    :param content_length: what is given to :func:`~kurir_crypto.message.encrypt`, in bytes
    :param address: it goes to an address, sealed by HPKE, else into a mailbox
    :param handshake: at least one of the sessions is not confirmed yet
    :param devices: how many sessions it is for
    :param pieces: :func:`~kurir_crypto.message.pieces` of them; with one device always 1, with
        more only where several have been away more than the 2 that are assumed
    :raises MessageTooLongError: no bucket is large enough; the text has the figures
    """
    overhead = _overhead(address, handshake, devices, pieces)
    buckets = ADDRESS_BUCKETS if address else BUCKETS
    for bucket in buckets:
        if content_length <= bucket - overhead:
            return bucket
    surplus = content_length - (buckets[-1] - overhead)
    raise MessageTooLongError(f"the message has {content_length} bytes, {surplus} more than fit")


def max_content(
    *, address: bool, handshake: bool, devices: int = 1, pieces: int | None = None
) -> int:
    """The longest content of one envelope, in bytes. Parameters as for :func:`bucket_for`."""
    buckets = ADDRESS_BUCKETS if address else BUCKETS
    return buckets[-1] - _overhead(address, handshake, devices, pieces)


def _overhead(address: bool, handshake: bool, devices: int, pieces: int | None) -> int:
    slots = slots_for(devices)
    seal = ADDRESS_SEAL_BYTES if address else MAILBOX_SEAL_BYTES
    reserve = PIECE_BYTES * (least_pieces(devices) if pieces is None else pieces)
    if address or handshake:
        reserve = max(reserve, slots * HANDSHAKE_BYTES)
    return seal + PADDING_BYTES + FRAME_BYTES + slots * ENTRY_BYTES + reserve
