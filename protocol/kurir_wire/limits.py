"""Every limit of the wire, with its reason. The relay's own rates are in ``kurir_server``."""

from __future__ import annotations

from typing import Final

PROTOCOL_VERSION: Final = 1
SUBPROTOCOL: Final = "kurir.1"
"""The WebSocket subprotocol that both sides must name."""

BUCKETS: Final = (2_048, 4_096, 16_384, 65_536)
"""The only lengths of a sealed body, in bytes: coarse enough to hide what a message is."""
ADDRESS_BUCKETS: Final = BUCKETS[1:]
"""HPKE and a handshake do not fit 2 KiB, so address traffic starts at 4 KiB for everyone."""

MAX_FRAME: Final = 1_048_576
"""Bytes of one frame: fifteen of the largest envelopes fit, and one never holds much memory."""
MAX_ITEMS: Final = 256
"""Entries of a list in one frame: a batch worth one commit; so many small envelopes fit a frame."""
MAX_LISTS: Final = 1_024
"""Lists in one frame, at any depth: the fullest frame has 514. A megabyte of empty lists would
otherwise take sixty in memory, and long to make."""
MAX_DEPTH: Final = 6
"""Nesting of a frame: the deepest defined frame has four."""

MAX_CARD: Final = 16_384
"""Bytes of a card: one with a 1,568-byte KEM prekey and a 1,216-byte envelope key is 4 KiB."""
MAX_PREKEYS: Final = 100
"""One-time prekeys of each kind kept for a business: 160 KiB at most."""
MAX_TICKETS: Final = 64
"""Entry tickets of a business that hold at one time: an ad or link each."""
MAX_NAME: Final = 64
"""Characters of a display or legal name."""
MAX_LIFE_HOURS: Final = 720
"""An envelope waits at most 30 days."""
DEFAULT_LIFE_HOURS: Final = 720
CARD_LIFE: Final = 30 * 86_400
"""Seconds a card is valid: a lost business key stops being handed out within a month."""
CLOCK_SKEW: Final = 300
"""Seconds by which two clocks may differ before a certificate or card counts as not yet valid."""
MAX_HEAD: Final = 8_192
"""Bytes of an invoice's head: seller and buyer with full addresses in any script."""
MAX_PROOF: Final = 64
"""Hashes in one proof about the ledger: a tree of 2 ** 63 leaves needs no more."""
MAX_TEXT_DETAIL: Final = 300
"""Characters of an error's detail."""
MAX_REPORT_REASON: Final = 300
"""Characters in which a customer says why it reports a message."""
REPORT_SIZES: Final = (4_096, 16_384, 73_728)
"""The only lengths of a sealed report, in bytes: as coarse as those of the envelopes that an
address takes, and the last one has room for what stands around the longest message."""

# Blobs

CHUNK_BYTES: Final = 65_536
"""Bytes of every chunk of a blob, the last one as well: the relay learns a size in chunks only."""
MAX_BLOB_CHUNKS: Final = 1_024
"""Chunks of one blob: 64 MiB, a few minutes of film."""
CHUNKS_AT_ONCE: Final = 4
"""Chunks in one frame, either way: 256 KiB is worth a commit, and never holds much memory."""
