"""Every limit of the relay, with its reason. Those of the wire are in ``kurir_wire.limits``."""

from __future__ import annotations

from typing import Final

from kurir_server.rates import Rate
from kurir_wire.limits import MAX_FRAME

# Mailboxes

MAX_DEPTH_MAILBOX: Final = 4_096
"""Envelopes that wait in one mailbox: a lively month with nobody there to read."""
MAX_BYTES_MAILBOX: Final = 32 * 1_048_576
"""Bytes that wait in one mailbox, so that a writer with one token cannot fill a disk."""
MAX_NUMBER: Final = 2**26 - 1
"""Envelopes are numbered to here; then the mailbox is full, until opening it begins anew."""
RENUMBERED_FROM: Final = 2**25
"""A mailbox whose numbers have come so far is renumbered when it is opened; by the next time, as
many again can come."""
UNUSED_HOURS: Final = 24
"""A mailbox that was never opened goes after a day: creating costs the relay next to nothing."""
UNREAD_DAYS: Final = 90
"""A mailbox that nobody has read for so long is abandoned."""
BORN_HOUR_SLACK: Final = 1
"""Hours by which a new mailbox's birth may differ from the relay's hour: clocks and full hours."""
CARD_HOURS: Final = 720
"""A card left with a mailbox goes after 30 days, which is as long as a card is valid."""

# One connection

MAX_OPEN_MAILBOXES: Final = 1_024
"""Mailboxes that one connection reads: a person with a thousand contacts still needs only one."""
MAX_UNACKED: Final = 256
"""Envelopes handed over and not acknowledged; the rest waits on disk, not in memory."""
MAX_UNACKED_BYTES: Final = 4 * 1_048_576
"""The same in bytes: a thousand readers that never acknowledge hold at most 4 GiB in flight."""
DRAIN_ENVELOPES: Final = 128
DRAIN_BYTES: Final = 262_144
"""What one read from the store fetches at most: the writer's thread stays free for others."""
DELIVER_FRAME_BYTES: Final = MAX_FRAME - 65_536
"""Bytes of bodies in one ``deliver``, leaving room for what stands around them."""
MAX_OUTSTANDING: Final = 32
"""Requests of one connection that wait for the disk; then its socket is not read."""
MAX_OUTBOX_BYTES: Final = 8 * 1_048_576
"""Bytes that wait to be sent to one client; then its requests wait as well."""
HAND_OVER_BYTES: Final = 65_536
"""Frames that go to a socket in one system call: when it takes no more, the rest waits with us,
where it counts and can be dropped."""
SIGNATURES_AT_ONCE: Final = 32
"""Signatures checked in one go (2.7 ms); the rest of a frame has its turn after others."""
PROOFS_AT_ONCE: Final = 16
"""Proofs of inclusion worked out in one go (about 20 ms); the rest has its turn after others."""
SIGNATURE_WEIGHT: Final = 32_768
"""A signature to check counts for so many bytes in the writer's queue and batches, so that a batch
of nothing else takes some 20 ms."""
MAX_BAD_FRAMES: Final = 16
"""Malformed or unknown frames after which a connection is closed: a broken client stops."""
HANDSHAKE_SECONDS: Final = 10
"""A connection that has not become a WebSocket by then is closed. With TLS, half of it is for
that."""
STALL_SECONDS: Final = 30
"""A client that takes nothing of what is sent to it is cut; what it missed waits on disk."""
PING_SECONDS: Final = 30
"""A silent client is asked this often whether it is there, and cut after as long again."""
CLOSE_SECONDS: Final = 2
"""How long a closing handshake may take before the socket is dropped."""

# All connections

MAX_CONNECTIONS: Final = 20_000
"""Sockets of one process; its memory at 8 KiB each stays within 200 MiB. Fewer where the operating
system lets the process open fewer files."""
MAX_NETWORK_CONNECTIONS: Final = 1_024
"""Of these from one network: a twentieth, and still a large company behind one address."""
MAX_HALF_OPEN: Final = 2_048
"""Sockets that have not become a WebSocket yet; one more, and the oldest of them is dropped, so
that those who are quick come in."""
MAX_DRAINS: Final = 2
"""Connections that read many envelopes from the store at once, the others in turn after them:
however many come with full mailboxes, a batch takes two milliseconds or three for them."""
FEW_ENVELOPES: Final = 4
"""Envelopes that a connection reads from the store without waiting for its turn."""
MAX_OUTBOXES_BYTES: Final = 256 * 1_048_576
"""Bytes that wait to be sent to all clients together; beyond, whoever hoards the most is cut."""
RESERVED_FILES: Final = 64
"""Files that the process needs for itself."""
PIECE_BYTES: Final = 16_384
"""Bytes of one socket that are taken apart at once: so many are 2,700 of the smallest frames."""
MAX_FRAGMENTS: Final = 4_096
"""Parts of one message: without any bytes in them they would never come to a limit of bytes."""
MAX_SOCKET_BUFFER: Final = 2 * MAX_FRAME
"""Bytes that a client may make the socket owe it (answers to its pings) beside a frame."""

# Rates: steady per second, and burst. Of one connection, or of one network: an IPv4 address, or the
# /64 of an IPv6 address, behind which many people may be.

ADDRESS_RATE: Final = Rate(per_second=5.0, burst=100)
"""Envelopes from one connection to addresses: far above a person, far below a flood."""
ADDRESS_NETWORK_RATE: Final = Rate(per_second=20.0, burst=1_000)
"""The same from one network, as four connections may at their fastest."""
ADDRESS_SHARE_RATE: Final = Rate(per_second=1 / 40, burst=128)
"""What one network puts into one address that stands above ADDRESS_OPEN_SHARE, in pieces of 4 KiB:
after a day of it the business's mailbox has a fifth of its room left for everybody else."""
ADDRESS_OPEN_SHARE: Final = 4
"""The part (one in so many) of an address's room that is for whoever comes first: as long as the
business reads, nobody is held to a share."""
PERSONAL_RATE: Final = Rate(per_second=1_000.0, burst=4_000)
"""Envelopes from one connection to personal mailboxes: bulk sending over tokens stays slow enough
that one connection cannot keep a disk busy."""
STORE_RATE: Final = Rate(per_second=262_144.0, burst=64 * 1_048_576)
"""Bytes that one connection leaves here without a charge: envelopes, cards, prekeys. A long absence
of many friends at once."""
STORE_NETWORK_RATE: Final = Rate(per_second=65_536.0, burst=256 * 1_048_576)
"""The same from one network: 225 MiB an hour go in whatever it does, a month's life each, so that
an operator sees a disk fill over weeks and not over night."""
CREATE_RATE: Final = Rate(per_second=1_000 / 86_400, burst=1_000)
"""New mailboxes from one network: a thousand a day. A household needs dozens a year; the burst lets
a restored or a test device make all of its own at once."""
SIGNATURE_RATE: Final = Rate(per_second=20.0, burst=4_096)
"""Signatures (84 µs each) that one connection has the relay check: all its mailboxes four times."""
SIGNATURE_NETWORK_RATE: Final = Rate(per_second=100.0, burst=20_000)
"""The same from one network: under one hundredth of a processor in the long run."""
REFUSED_RATE: Final = Rate(per_second=20.0, burst=8_192)
"""Charges from one connection that were not accepted (170 µs each), or are not decided yet: as many
as may be outstanding. Accepted ones are given back: they have the pace of their business."""
REFUSED_NETWORK_RATE: Final = Rate(per_second=100.0, burst=16_384)
"""The same from one network."""
QUESTION_RATE: Final = Rate(per_second=100.0, burst=1_000)
"""``beacon`` and ``rate_card`` from one connection: cheap, and the same for everybody."""
CARD_RATE: Final = Rate(per_second=1.0, burst=60)
"""``get_card`` from one connection: somebody who meets many people in one evening."""
CARD_NETWORK_RATE: Final = Rate(per_second=4.0, burst=240)
"""The same from one network."""
DIRECTORY_RATE: Final = Rate(per_second=0.5, burst=30)
"""``get_business`` from one connection: somebody who looks businesses up needs a few a minute."""
DIRECTORY_NETWORK_RATE: Final = Rate(per_second=2.0, burst=120)
"""``get_business`` from one network, as four connections may at their fastest: enough for many
people behind one address, and further connections gain nothing."""
LEDGER_RATE: Final = Rate(per_second=10.0, burst=100)
"""``checkpoint`` and ``consistency`` from one connection: anyone may ask, and a proof takes a few
milliseconds."""
LEDGER_NETWORK_RATE: Final = Rate(per_second=40.0, burst=400)
"""The same from one network."""
ONE_TIME_RATE: Final = Rate(per_second=0.001, burst=25)
"""One-time prekeys of each kind that one business hands out; beyond, its card goes without them. A
bot keeps 50 here and refills every six hours, in which at most 46 go, whoever asks."""
BUSINESS_RATE: Final = Rate(per_second=1_000.0, burst=2_000)
"""Charges of one ``platform`` business, by all of its lanes."""
SMALL_BUSINESS_RATE: Final = Rate(per_second=1.0, burst=10)
"""Charges of one ``small`` business, which answers one customer at a time."""
PAIR_RATE: Final = Rate(per_second=1 / 6, burst=45)
"""Charges into one mailbox: one per 6 s sustained; the burst is a lively dialogue, borrowed from
the four and a half minutes in which it is earned back."""
REPORT_RATE: Final = Rate(per_second=0.002, burst=5)
"""``report`` from one connection: a person has few messages to report in a day."""
REPORT_NETWORK_RATE: Final = Rate(per_second=0.02, burst=20)
"""``report`` from one network address (IPv6: one /64): enough for many people behind one address,
and nobody fills the operator's box from there within days."""
MAX_BUCKETS: Final = 50_000
"""Rate counters held in memory; full ones are forgotten first, then the oldest."""

# Charges

MAX_UNSETTLED: Final = 8
"""Metered envelopes handed over from one mailbox without a settlement; then delivery stops."""
SETTLE_DAYS: Final = 30
"""A charge settles within so many days of acceptance or never."""
BEACON_AGE: Final = 86_400
"""Seconds: the oldest beacon that makes a charge fresh. A retry is recognised before this check."""
ACCEPTED_SECOND_HOURS: Final = 2
"""From the start of the hour of acceptance on, the second is remembered for so many, to repeat a
receipt exactly: at least one, at most two."""
MAX_SECONDS: Final = 65_536
"""Of so many charges, some 12 MiB."""
GRANT_CACHE: Final = 10_000
"""Checked grants remembered, so that each signature is verified once (84 µs); as many entries."""
LANE_CACHE: Final = 1_000
"""Checked lane certificates remembered: each business has a few."""
LIST_CACHE: Final = 1_000
"""Checked signatures over lists of charges remembered: a list usually comes in one frame."""
SMALL_CUSTOMERS: Final = 256
"""Customers to whom one ``small`` business writes within 24 hours, answers included."""
FIRST_STARTS: Final = 250
"""Starts within 24 hours that a business begins with, unless the operator allows more."""

# Requests about businesses

PAGE_LEAVES: Final = 256
"""Leaves of one ``settlements_are``: about 160 KiB."""

PAGE_ADJUSTMENTS: Final = 12
"""Adjustments of one ``adjustments_are``: with the longest reports 900 KiB, less than a frame."""
MAX_REPORTS: Final = 10_000
"""Reports that wait for the operator; one network needs six days to send as many."""
MAX_REPORT_BYTES: Final = 256 * 1_048_576
"""The same in bytes, so that reports cannot fill a disk."""

# Blobs

BLOB_QUOTA: Final = 10 * 1_073_741_824
"""Bytes of all blobs together, unless ``--blob-quota`` says otherwise."""
BLOB_RESERVE: Final = 1_073_741_824
"""Bytes that blobs leave free on the disk, unless ``--blob-reserve`` says otherwise: messages go
before attachments."""
BLOB_UPLOAD_HOURS: Final = 24
"""An upload that is not whole after a day is abandoned, and its room is free again."""
BLOB_SPACE_RATE: Final = Rate(per_second=10.0, burst=1_500_000)
"""Chunk-hours that one network address (IPv6: one /64) may reserve: what a blob occupies is its
chunks times its hours, with those of the upload. The burst is 126 MiB for thirty days or 3.7 GiB
for an hour; in the long run one network holds 2.2 GiB at most."""
BLOB_TRAFFIC_RATE: Final = Rate(per_second=64.0, burst=4_096)
"""Chunks that one network address moves, either way: 4 MiB/s, and 256 MiB at once. A request that
moves none counts as one."""
MAX_BLOB_QUEUE_BYTES: Final = 16 * 1_048_576
"""Bytes of chunks, to be written or read, that wait for the thread of blobs; then no socket that
brings more is read."""
MAX_BLOB_BATCH_BYTES: Final = 4 * 1_048_576
"""The same in one transaction: a reader does not wait long behind writers."""
BLOB_TIDY_CHUNKS: Final = 64
"""Chunks that one step of housekeeping removes: 4 MiB to overwrite."""

# Writer and housekeeping

MAX_QUEUE: Final = 4_096
"""Requests that wait for the writer in all; then no socket is read."""
MAX_QUEUE_BYTES: Final = 64 * 1_048_576
"""The same in bytes of bodies, which bounds the memory that writers can take."""
MAX_BATCH: Final = 1_024
"""Requests in one transaction: results of a long queue are not held back by its end."""
MAX_BATCH_BYTES: Final = 8 * 1_048_576
"""The same in bytes: one commit stays short."""
TIDY_SECONDS: Final = 60
"""Pause between two rounds of housekeeping."""
LOG_IDLE_SECONDS: Final = 0.2
"""The write-ahead log is cut when there was no request for so long: it tells what came after what,
and cutting it delays nobody then."""
LOG_SECONDS: Final = 5
"""The longest that the log keeps the order of commits while requests come without a pause: what
was acknowledged is then gone from it. A reader beside the relay (a backup) may hold a cut
up; the next try comes as late, since each may wait for it."""
TIDY_ROWS: Final = 5_000
"""Rows that one step of housekeeping looks at, so that nobody waits long for it."""
RECOVERED_SECONDS: Final = 15
"""Commits have to work for so long before the log says that a failed disk works again: three times
RETRY_SECONDS, after which whoever was refused has come back."""
BUSY_MILLISECONDS: Final = 5_000
"""How long a transaction waits for another process (``kurir-relay business …``)."""
CUT_MILLISECONDS: Final = 100
"""How long cutting the write-ahead log waits for a command that reads; another round comes."""

# The disk

MAX_RESERVE: Final = 1_073_741_824
"""Bytes of the disk that only readers may use: beyond, the relay takes nothing new in, and what
waits can still be fetched and acknowledged."""
RESERVE_PART: Final = 20
"""The same as a part (one in so many) of a small disk."""
NO_ROOM_SECONDS: Final = 60
"""When to come again to a relay without room."""

# Keys

CERT_DAYS: Final = 365
"""A certificate of the working keys holds for a year; ``kurir-relay renew`` writes a new one."""
BADGE_DAYS: Final = 365
"""A badge holds for a year; approving again renews it."""
TICKET_DAYS: Final = 365
"""An entry ticket holds for a year at most."""
