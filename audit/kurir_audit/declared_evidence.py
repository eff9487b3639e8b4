"""The relay's database: what it has to remember between messages, and tickets."""

from __future__ import annotations

from typing import Final

from kurir_audit.declaration import Field, Group, IndexEntry, Purpose
from kurir_wire.ids import HOUR

A, B = Purpose.ABUSE, Purpose.BILLING

_MARK: Final = "until the window ends, rounded up to a whole hour: 73 hours at most"
_START: Final = "24 to 25 hours"
_TICKET: Final = "until a day after it ends"
_PUBLIC: Final = "nothing: it is public"
_SEE: Final = "; see What columns give together"

MARKS: Final = Group(
    "marks",
    "windows that are paid or free already, under tariffs that charge once for many messages",
    (
        Field(
            "tag",
            B,
            "The same evidence opens no second window.",
            _MARK,
            "how many windows are open; with the relay's PRF key, of which mailboxes" + _SEE,
        ),
        Field(
            "until_hour",
            B,
            "Says when the row goes.",
            _MARK,
            "in which hour the window was opened",
            unit=HOUR,
        ),
        Field(
            "pass",
            B,
            "A Pass: who lost it is given it again, and what names it is recognised.",
            _MARK,
            "nothing without the relay's PRF key and the mailbox's id; with them opener and "
            "second" + _SEE,
        ),
    ),
)

STARTS: Final = Group(
    "starts",
    "customers to whom a business with a limit wrote, out of their window or at all",
    (
        Field(
            "tag",
            A,
            "A second message to the same customer is no further start.",
            _START,
            "nothing without the relay's PRF key; with it, of which mailbox" + _SEE,
        ),
        Field(
            "business",
            A,
            "The limit is that of a business.",
            _START,
            "how many customers a business wrote to first in a day",
        ),
        Field(
            "until_hour", A, "A place comes free then.", _START, "in which hour it did", unit=HOUR
        ),
    ),
)

TICKETS: Final = Group(
    "tickets",
    "entry tickets that the operator gave out: the link of an ad says as much",
    (
        Field("entry_id", B, "Customers' first grants name it.", _TICKET, _PUBLIC),
        Field("business", B, "It is told which tickets it can show.", _TICKET, _PUBLIC),
        Field("not_after", B, "An old ad ends.", _TICKET, _PUBLIC, unit=1),
        Field("signature", B, "The operator allowed it.", _TICKET, _PUBLIC),
    ),
)

EVIDENCE_INDEXES: Final = (
    IndexEntry(
        "starts_by_business",
        "starts",
        ("business", "until_hour"),
        "Starts are counted without reading those of all businesses.",
    ),
    IndexEntry(
        "tickets_by_business",
        "tickets",
        ("business", "not_after"),
        "The tickets of one business are found without reading all.",
    ),
)
