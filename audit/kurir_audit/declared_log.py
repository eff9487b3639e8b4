"""The relay's log: every event and field."""

from __future__ import annotations

from typing import Final

from kurir_audit.declaration import Field, Group, Purpose

_KEPT: Final = "as long as the operator keeps the log"
_NOTHING: Final = "nothing about people; the log is about the machine"


def _field(name: str, why: str, infers: str = _NOTHING) -> Field:
    return Field(name, Purpose.OPERATION, why, _KEPT, infers)


COMMON: Final = Group(
    "every line",
    "the head of each line",
    (
        _field("time", "An operator has to match an event with what happened elsewhere."),
        _field("level", "An operator wants warnings without the rest."),
        _field("event", "Says what happened; one of the events below and no other."),
    ),
)

LOG: Final = (
    Group(
        "started",
        "the process begins",
        (
            _field("version", "A fault is looked up by the version that has it."),
            _field("relay", "Tells the logs of several relays apart; it is the relay's public id."),
            _field("pid", "The operator stops this process and no other."),
        ),
    ),
    Group(
        "ready",
        "connections are accepted",
        (
            _field("listen", "Says where clients reach it; it is the relay's own address."),
            _field("tls", "A relay without TLS on a public address has to be noticed."),
        ),
    ),
    Group(
        "metrics",
        "metrics and health are served, on loopback",
        (_field("listen", "Says where monitoring asks; it is the relay's own address."),),
    ),
    Group(
        "reloaded",
        "after SIGHUP a part is read anew",
        (_field("part", "Says which: log, certificate or tls."),),
    ),
    Group(
        "reload-failed",
        "after SIGHUP a part stays as it was",
        (
            _field("part", "Says which: log, certificate or tls."),
            _field("error", "Says what is wrong with the operator's file."),
            _field("hint", "Says what the operator can do about it."),
        ),
    ),
    Group(
        "unready",
        "the relay cannot do its work at present",
        (_field("reason", "A full disk and a wrong clock are repaired differently."),),
    ),
    Group("ready-again", "the reason is gone", ()),
    Group(
        "stopping",
        "a signal arrived",
        (_field("signal", "Tells a planned stop from an accident."),),
    ),
    Group("stopped", "everything is on disk", ()),
    Group(
        "demo-clock",
        "the demo clock changed, loudly",
        (_field("offset", "A shifted clock changes prices, so it must never pass unseen."),),
    ),
    Group(
        "clock-behind",
        "the machine's clock went back",
        (_field("seconds", "Beacons wait for so long; the operator repairs the clock."),),
    ),
    Group(
        "clock-ahead",
        "the machine's clock leapt ahead, or the relay was down; for a day nothing ends by it",
        (_field("seconds", "By how much; the operator repairs the clock, if it is the clock."),),
    ),
    Group(
        "disk-failed",
        "a commit failed; nothing is accepted",
        (_field("error", "Full disks and broken ones are repaired differently."),),
    ),
    Group("disk-recovered", "commits work again", ()),
    Group("disk-low", "the disk is nearly full; nothing new comes in, readers go on", ()),
    Group("disk-roomy", "there is room on the disk again", ()),
    Group(
        "data-damaged",
        "something in the database is not as it was written; it was not handed on",
        (
            _field("error", "Tells a page that SQLite cannot read from a row whose sum is wrong."),
            _field("rows", "How much was lost; 0 where that cannot be told."),
        ),
    ),
    Group(
        "blobs-failed",
        "the file of attachments cannot be written or read; messages go on",
        (_field("error", "Full disks and broken ones are repaired differently."),),
    ),
    Group("blobs-recovered", "attachments are taken again", ()),
    Group(
        "blobs-damaged",
        "chunks were not as they were written, and not handed out",
        (
            _field(
                "chunks",
                "Says how many were met, so that a failing disk is noticed; never which.",
                "that somebody asked for an attachment at about this time",
            ),
        ),
    ),
    Group(
        "certificate-ends",
        "the relay's certificate is about to expire",
        (_field("days", "Says how soon a new one is needed."),),
    ),
    Group(
        "connections-full",
        "a connection was turned away",
        (
            _field(
                "connections",
                "Says at which limit the relay was.",
                "how busy the relay was, never who was there",
            ),
        ),
    ),
    Group(
        "internal-error",
        "a fault of the relay's own",
        (
            _field("place", "Finds the fault: a module and a line, never a value."),
            _field("kind", "The class of the exception; its text could hold user data."),
        ),
    ),
)
