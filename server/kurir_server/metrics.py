"""Metrics for Prometheus: counts and states of the whole relay, nothing of any one who uses it.

The relay counts in plain numbers (:mod:`kurir_server.tally`); they become metrics only when
somebody asks. :data:`FAMILIES` is the one list of them: docs/metadata.md names each, and tests
check that no other is shown and no label holds an id.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from kurir_billing.kinds import RefusalCode
from kurir_server.health import Health
from kurir_server.log import Event
from kurir_server.tally import Tally
from kurir_wire.ids import DAY

Labels = TypeVar("Labels", bound=tuple[str, ...])

BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024)
SECONDS_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
HELD_BYTES: Final = 16 * 1_048_576
"""Steps in which it is shown what attachments take: whoever keeps that for years keeps no list of
their sizes."""
UNKNOWN: Final = "unknown"
"""The frame of what was no request."""


class Kind(Enum):
    """What a family is to Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name without a counter's ``_total``, what it says, its labels."""

    name: str
    kind: Kind
    about: str
    labels: tuple[str, ...] = ()


def _families(*families: Family) -> dict[str, Family]:
    return {family.name: family for family in families}


FAMILIES: Final = _families(
    Family("kurir_relay", Kind.INFO, "Version of the relay.", ("version",)),
    Family("kurir_ready", Kind.GAUGE, "1 if /readyz says so."),
    Family("kurir_connections", Kind.GAUGE, "Open connections."),
    Family("kurir_connections_refused", Kind.COUNTER, "Turned away: too many connections."),
    Family(
        "kurir_answers",
        Kind.COUNTER,
        "Results given, by kind of request and code; a request may have several.",
        ("frame", "code"),
    ),
    Family("kurir_envelopes_accepted", Kind.COUNTER, "Envelopes taken, on disk."),
    Family("kurir_envelopes_delivered", Kind.COUNTER, "Envelopes handed over, repeats included."),
    Family("kurir_acknowledgements", Kind.COUNTER, "Acknowledgements taken, repeats included."),
    Family("kurir_charges_accepted", Kind.COUNTER, "Charges taken, of all businesses."),
    Family("kurir_charges_refused", Kind.COUNTER, "Charges refused, by code.", ("code",)),
    Family("kurir_charges_settled", Kind.COUNTER, "Charges that settled, ever; each minute."),
    Family("kurir_writer_queue_requests", Kind.GAUGE, "Requests that wait for the disk."),
    Family("kurir_writer_queue_bytes", Kind.GAUGE, "Their bytes."),
    Family("kurir_batch_requests", Kind.HISTOGRAM, "Requests in one transaction."),
    Family("kurir_commit_seconds", Kind.HISTOGRAM, "Time to run and commit one batch."),
    Family("kurir_database_bytes", Kind.GAUGE, "Size of the database file."),
    Family("kurir_wal_bytes", Kind.GAUGE, "Size of its write-ahead log."),
    Family(
        "kurir_blobs_held_bytes",
        Kind.GAUGE,
        "Room that attachments take of their quota, in whole 16 MiB; each minute.",
    ),
    Family("kurir_blobs_quota_bytes", Kind.GAUGE, "Room that attachments may take in all."),
    Family(
        "kurir_blobs_queue_chunks",
        Kind.GAUGE,
        "Chunks of attachments that wait to be written or read.",
    ),
    Family("kurir_disk_free_bytes", Kind.GAUGE, "Room left beside the database."),
    Family(
        "kurir_housekeeping_rounds",
        Kind.COUNTER,
        "Rounds of housekeeping, by how they ended: done or failed.",
        ("result",),
    ),
    Family("kurir_housekeeping_age_seconds", Kind.GAUGE, "Since the last round ended."),
    Family(
        "kurir_ledger_closed_timestamp_seconds",
        Kind.GAUGE,
        "End of the last day in the ledger's newest checkpoint.",
    ),
    Family(
        "kurir_ledger_overdue_days",
        Kind.GAUGE,
        "Whole days that are over and not in the ledger.",
    ),
    Family("kurir_clock_behind_seconds", Kind.GAUGE, "By which the machine's clock is back."),
    Family("kurir_certificate_left_seconds", Kind.GAUGE, "Until the relay's certificate ends."),
    Family(
        "kurir_tls_certificate_end_timestamp_seconds",
        Kind.GAUGE,
        "When the TLS certificate in use ends.",
    ),
    Family("kurir_log_events", Kind.COUNTER, "Events logged, by name.", ("event",)),
)


@dataclass(frozen=True, slots=True)
class BlobFigures:
    """Bytes for which room is kept, bytes that may be, chunks in the queue."""

    held: int
    quota: int
    queue: int


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures come from; ``blobs`` has none where the relay takes none.

    Functions are called from the thread that serves metrics."""

    db: Path
    tally: Tally
    health: Health
    events: Callable[[], dict[Event, int]]
    connections: Callable[[], int]
    queue: Callable[[], tuple[int, int]]
    blobs: Callable[[], BlobFigures | None]
    tick: Callable[[], float]
    now: Callable[[], int]
    tls_ends: Callable[[], int | None]


class Metrics:
    """All metrics of one relay."""

    def __init__(self, sources: Sources) -> None:
        # One more time stamp for each series, which process_start_time_seconds says once.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._batch = _histogram("kurir_batch_requests", BATCH_BUCKETS, self.registry)
        self._commit = _histogram("kurir_commit_seconds", SECONDS_BUCKETS, self.registry)
        self.registry.register(_Counted(sources))
        ProcessCollector(registry=self.registry)

    def measured(self, requests: int, seconds: float) -> None:
        """One batch was written."""
        self._batch.observe(requests)
        self._commit.observe(seconds)


class _Counted(Collector):
    """Reads the plain numbers when it is asked."""

    def __init__(self, sources: Sources) -> None:
        self._from = sources

    def collect(self) -> Iterator[Metric]:
        tally, health, tick = self._from.tally, self._from.health, self._from.tick()
        info = FAMILIES["kurir_relay"]
        yield InfoMetricFamily(info.name, info.about, {"version": version("kurir")})
        yield _gauge("kurir_ready", not health.unready(tick))
        yield _gauge("kurir_connections", self._from.connections())
        yield _counter("kurir_connections_refused", {(): tally.turned_away})
        yield _counter(
            "kurir_answers",
            {
                (str(frame.__struct_config__.tag) if frame else UNKNOWN, code): count
                for (frame, code), count in dict(tally.answers).items()
            },
        )
        yield _counter("kurir_envelopes_accepted", {(): tally.accepted})
        yield _counter("kurir_envelopes_delivered", {(): tally.delivered})
        yield _counter("kurir_acknowledgements", {(): tally.acknowledged})
        yield _counter("kurir_charges_accepted", {(): tally.charged})
        refused = {(code.name.lower(),): tally.refused[code] for code in RefusalCode}
        yield _counter("kurir_charges_refused", refused)
        queue, queued = self._from.queue()
        yield _gauge("kurir_writer_queue_requests", queue)
        yield _gauge("kurir_writer_queue_bytes", queued)
        yield _gauge("kurir_database_bytes", size_of(self._from.db))
        yield _gauge(
            "kurir_wal_bytes", size_of(self._from.db.with_name(f"{self._from.db.name}-wal"))
        )
        yield from _blobs(self._from.blobs())
        yield _gauge("kurir_disk_free_bytes", free_beside(self._from.db))
        rounds = {("done",): tally.rounds, ("failed",): tally.rounds_failed}
        yield _counter("kurir_housekeeping_rounds", rounds)
        yield _gauge("kurir_housekeeping_age_seconds", int(tick - health.tidied))
        yield from self._ledger(health)
        yield _gauge("kurir_clock_behind_seconds", health.behind)
        yield _gauge("kurir_certificate_left_seconds", health.certificate_left)
        tls_ends = self._from.tls_ends()
        if tls_ends is not None:
            yield _gauge("kurir_tls_certificate_end_timestamp_seconds", tls_ends)
        logged = {(event.value,): count for event, count in self._from.events().items()}
        yield _counter("kurir_log_events", logged)

    def _ledger(self, health: Health) -> Iterator[Metric]:
        facts = health.facts
        if facts is None:
            return
        yield _counter("kurir_charges_settled", {(): facts.settled})
        if facts.closed_day is not None:
            end = (facts.closed_day + 1) * DAY
            yield _gauge("kurir_ledger_closed_timestamp_seconds", end)
        today = self._from.now() // DAY
        overdue = 0 if facts.pending_day is None else max(0, today - facts.pending_day)
        yield _gauge("kurir_ledger_overdue_days", overdue)


def _blobs(figures: BlobFigures | None) -> Iterator[Metric]:
    if figures is None:
        return
    held = figures.held // HELD_BYTES * HELD_BYTES
    yield _gauge("kurir_blobs_held_bytes", held)
    yield _gauge("kurir_blobs_quota_bytes", figures.quota)
    yield _gauge("kurir_blobs_queue_chunks", figures.queue)


def size_of(path: Path) -> int:
    """Bytes of a file; 0 if there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def free_beside(path: Path) -> int:
    """Bytes that a relay may still write to the file system of ``path``; 0 if it is not there."""
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def _gauge(name: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, FAMILIES[name].about, value=float(value))


def _counter(name: str, values: Mapping[Labels, int]) -> CounterMetricFamily:
    made = CounterMetricFamily(name, FAMILIES[name].about, labels=FAMILIES[name].labels)
    for labels, value in values.items():
        made.add_metric(labels, value)
    return made


def _histogram(name: str, buckets: tuple[float, ...], registry: CollectorRegistry) -> Histogram:
    return Histogram(name, FAMILIES[name].about, buckets=buckets, registry=registry)
