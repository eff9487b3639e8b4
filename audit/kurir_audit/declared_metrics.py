"""What the operator's monitoring may keep, where metrics are asked for: every family."""

from __future__ import annotations

from typing import Final

from kurir_audit.declaration import Field, Group, Purpose

_KEPT: Final = (
    "in memory until the relay stops; in the operator's monitoring as long as that keeps it"
)
_NOTHING: Final = "nothing about people; it is about the machine"
_BUSY: Final = "how busy the whole relay was"
_TIMING: Final = (
    "how busy the whole relay was; where few people use it, and it is asked often, when one of "
    "them wrote or read"
)


def _metric(name: str, why: str, infers: str = _NOTHING) -> Field:
    return Field(name, Purpose.OPERATION, why, _KEPT, infers)


METRICS: Final = Group(
    "metrics",
    "only with --metrics, on 127.0.0.1; counts of the whole relay, whose labels are kinds of "
    "request, codes and events, never a mailbox, a business or an address",
    (
        _metric("kurir_relay", "A fault is looked up by the version that has it."),
        _metric("kurir_ready", "Somebody has to be woken."),
        _metric("kurir_connections", "Says when a machine is too small.", _BUSY),
        _metric("kurir_connections_refused", "The relay was at its limit.", _BUSY),
        _metric(
            "kurir_answers", "Refusals and errors show what is wrong before users say so.", _TIMING
        ),
        _metric("kurir_envelopes_accepted", "Says when a machine is too small.", _TIMING),
        _metric("kurir_envelopes_delivered", "What is accepted has to go out.", _TIMING),
        _metric("kurir_acknowledgements", "What goes out has to arrive.", _TIMING),
        _metric("kurir_charges_accepted", "The meter has to run.", _TIMING),
        _metric("kurir_charges_refused", "Many of one code are a mistake on one side.", _TIMING),
        _metric(
            "kurir_charges_settled",
            "What was charged has to settle.",
            "how many charges settled, to the minute, of all businesses together",
        ),
        _metric("kurir_writer_queue_requests", "A slow disk shows here first.", _BUSY),
        _metric("kurir_writer_queue_bytes", "A slow disk shows here first.", _BUSY),
        _metric("kurir_batch_requests", "Says how much one commit carries.", _TIMING),
        _metric("kurir_commit_seconds", "Says how fast the disk is.", _TIMING),
        _metric("kurir_database_bytes", "Disks are bought in time.", "how much waits in all"),
        _metric("kurir_wal_bytes", "One that grows is not being cut.", _BUSY),
        _metric(
            "kurir_blobs_held_bytes",
            "Attachments are refused when it has reached the quota.",
            "how much room attachments take in all, in steps of 16 MiB; where few people use it, "
            "when somebody made a large one",
        ),
        _metric("kurir_blobs_quota_bytes", "Says when there is little of it left."),
        _metric("kurir_blobs_queue_chunks", "A slow disk shows here first.", _TIMING),
        _metric("kurir_disk_free_bytes", "A full disk stops the relay."),
        _metric("kurir_housekeeping_rounds", "What is to be deleted has to go."),
        _metric("kurir_housekeeping_age_seconds", "What is to be deleted has to go."),
        _metric("kurir_ledger_closed_timestamp_seconds", "Days have to be closed."),
        _metric("kurir_ledger_overdue_days", "Days have to be closed."),
        _metric("kurir_clock_behind_seconds", "Relay time stands still meanwhile."),
        _metric("kurir_certificate_left_seconds", "It is to be renewed in time."),
        _metric("kurir_tls_certificate_end_timestamp_seconds", "It is to be renewed in time."),
        _metric("kurir_log_events", "Faults are noticed without reading the log."),
        _metric("process", "Processor, memory and files of the process, as Prometheus names them."),
    ),
)
