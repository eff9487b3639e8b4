"""What is handed over to one connection: in order for each mailbox, bounded, the rest on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from kurir_server.limits import (
    DELIVER_FRAME_BYTES,
    DRAIN_BYTES,
    DRAIN_ENVELOPES,
    MAX_UNACKED,
    MAX_UNACKED_BYTES,
)
from kurir_server.reading import Batch, Opened
from kurir_server.submitting import Arrival
from kurir_wire.entries import Delivery
from kurir_wire.frames import Deliver
from kurir_wire.limits import MAX_ITEMS


@dataclass(slots=True)
class Channel:
    """One mailbox being read. ``sent_n``: handed over up to here; ``newest_n``: the last known to
    wait; ``blocked``: nothing more before a settlement; ``behind``: about how many wait on disk."""

    row: int
    sent_n: int
    newest_n: int
    blocked: bool = False
    behind: int = 0
    unacked: dict[bytes, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A read from the store: rows with the number after which to read, and how much at most."""

    channels: tuple[Channel, ...]
    rows: tuple[tuple[int, int], ...]
    count: int
    size: int


class Deliveries:
    """The deliveries of one connection."""

    __slots__ = ("_channels", "_draining", "_lagging", "_ready", "_size", "_unacked")

    def __init__(self) -> None:
        self._channels: dict[int, Channel] = {}
        self._lagging: dict[int, None] = {}
        self._ready: list[Delivery] = []
        self._unacked = 0
        self._size = 0
        self._draining = False

    @property
    def rows(self) -> Sequence[int]:
        """The mailboxes being read."""
        return list(self._channels)

    def open(self, opened: Opened) -> None:
        """Begin with a mailbox, or begin anew: everything that waits is handed over again."""
        self.close(opened.row)
        self._channels[opened.row] = Channel(opened.row, 0, opened.newest_n, behind=opened.waiting)
        if opened.newest_n:
            self._lagging[opened.row] = None

    def close(self, row: int) -> None:
        """Another connection reads it now, or it is gone."""
        channel = self._channels.pop(row, None)
        self._lagging.pop(row, None)
        if channel is not None:
            self._unacked -= len(channel.unacked)
            self._size -= sum(channel.unacked.values())

    def is_level(self, row: int) -> bool:
        """Whether what arrives in a mailbox now can be handed over at once, in its order."""
        channel = self._channels.get(row)
        return (
            channel is not None
            and channel.newest_n <= channel.sent_n
            and not channel.blocked
            and row not in self._lagging
            and self._has_room()
        )

    def arrived(self, arrival: Arrival) -> None:
        """An envelope is on disk: hand it over at once if nothing waits before it, else later."""
        channel = self._channels.get(arrival.row)
        if channel is None:
            return
        is_level = self.is_level(arrival.row)
        channel.newest_n = max(channel.newest_n, arrival.n)
        if arrival.delivery is not None and is_level:
            self._hand_over(channel, arrival.delivery)
            channel.sent_n = arrival.n
        else:
            channel.behind += 1
            if not channel.blocked:
                self._lagging[arrival.row] = None

    def acked(self, row: int, envelope_id: bytes) -> None:
        """The reader has it on disk."""
        channel = self._channels.get(row)
        if channel is None:
            return
        size = channel.unacked.pop(envelope_id, None)
        if size is not None:
            self._unacked -= 1
            self._size -= size
        if channel.blocked:
            channel.blocked = False
            if channel.newest_n > channel.sent_n:
                self._lagging[row] = None

    @property
    def is_lagging(self) -> bool:
        """Whether there is something to read from the store now."""
        return bool(self._lagging) and not self._draining and self._has_room()

    @property
    def behind(self) -> int:
        """About how many envelopes the next read from the store may bring."""
        return sum(self._channels[row].behind for row in islice(self._lagging, MAX_ITEMS))

    def wanted(self) -> Wanted | None:
        """What to read from the store now; the answer goes to :meth:`fetched`."""
        if not self.is_lagging:
            return None
        self._draining = True
        channels = tuple(self._channels[row] for row in list(self._lagging)[:MAX_ITEMS])
        return Wanted(
            channels,
            tuple((channel.row, channel.sent_n) for channel in channels),
            min(DRAIN_ENVELOPES, MAX_UNACKED - self._unacked),
            min(DRAIN_BYTES, MAX_UNACKED_BYTES - self._size),
        )

    def fetched(self, wanted: Wanted, batches: Sequence[Batch] | None) -> None:
        """:param batches: ``None`` if the store could not be read; then it is tried again later"""
        self._draining = False
        for channel, batch in zip(wanted.channels, batches or (), strict=False):
            if self._channels.get(batch.row) is not channel:
                continue  # closed or opened anew meanwhile
            for delivery in batch.deliveries:
                self._hand_over(channel, delivery)
            channel.sent_n = batch.up_to
            channel.blocked = batch.blocked
            is_level = channel.sent_n >= channel.newest_n
            channel.behind = 0 if is_level else max(0, channel.behind - len(batch.deliveries))
            del self._lagging[batch.row]
            if channel.newest_n > channel.sent_n and not channel.blocked:
                self._lagging[batch.row] = None  # at the end of the queue

    def take(self) -> list[Deliver]:
        """Frames with all that is ready."""
        if not self._ready:
            return []
        frames: list[Deliver] = []
        part: list[Delivery] = []
        size = 0
        for delivery in self._ready:
            if part and (len(part) == MAX_ITEMS or size + len(delivery.body) > DELIVER_FRAME_BYTES):
                frames.append(Deliver(part))
                part, size = [], 0
            part.append(delivery)
            size += len(delivery.body)
        if part:
            frames.append(Deliver(part))
        self._ready = []
        return frames

    def _has_room(self) -> bool:
        return self._unacked < MAX_UNACKED and self._size < MAX_UNACKED_BYTES

    def _hand_over(self, channel: Channel, delivery: Delivery) -> None:
        self._ready.append(delivery)
        if delivery.envelope_id not in channel.unacked:
            channel.unacked[delivery.envelope_id] = len(delivery.body)
            self._unacked += 1
            self._size += len(delivery.body)
