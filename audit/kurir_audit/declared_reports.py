"""Reports and adjustments: in the database, in frames, and as structures."""

from __future__ import annotations

from typing import Final

from kurir_audit.declaration import Content, Field, Group, Purpose
from kurir_wire.ids import DAY

D, B, A = Purpose.DELIVERY, Purpose.BILLING, Purpose.ABUSE

_WAITS: Final = "until the operator deletes it, 90 days at most"
_RECORD: Final = "for as long as invoices must be provable (the operator's bookkeeping period)"
_PASSING: Final = "not kept"
_STORED: Final = "stored; see the database"
_NONE: Final = "nothing by itself"
_RE_RATED: Final = "which charge the operator re-rated"

REPORTS: Final = Group(
    "reports",
    "messages that customers show the operator, sealed; no mailbox, no sender",
    (
        Field("id", A, "The operator names it; a hash of the sealed bytes.", _WAITS, _NONE),
        Field(
            "day",
            A,
            "It goes after 90 days, and its charge settled about then.",
            _WAITS,
            "on which day somebody reported something",
            unit=DAY,
        ),
        Field(
            "sealed",
            A,
            "The operator reads it with a key that the relay does not load.",
            _WAITS,
            "its length, one of three; and, while the connection lasts, which network sent it",
            Content.SEALED,
        ),
    ),
)

ADJUSTMENTS: Final = Group(
    "adjustments",
    "charges that the operator re-rated after a report",
    (
        Field("business", B, "Says who owes it.", _RECORD, "how many were upheld against it"),
        Field("day", B, "Says in which month it is invoiced.", _RECORD, _RE_RATED, unit=DAY),
        Field("hash", B, "Names it for proofs of the ledger.", _RECORD, _NONE),
        Field("leaf_hash", B, "A charge is re-rated once.", _RECORD, _RE_RATED),
        Field("adjust", B, "The operator signed it.", _RECORD, _RE_RATED, Content.SIGNED),
        Field(
            "leaf",
            B,
            "The business finds the charge; as in `leaves`.",
            _RECORD,
            _RE_RATED,
            Content.SIGNED,
        ),
        Field(
            "copy",
            B,
            "The report for the business, whose proof it is, sealed to its card.",
            _RECORD,
            "its length, one of three",
            Content.SEALED,
        ),
    ),
)


def _n() -> Field:
    return Field("n", D, "Matches a reply with its request.", _PASSING, _NONE)


REPORT_REQUESTS: Final = (
    Group(
        "report",
        "leaves a report for the operator",
        (
            _n(),
            Field(
                "sealed",
                A,
                "Only the operator reads it.",
                _STORED,
                "that this network reports something; the client opens a connection for it alone",
                Content.SEALED,
            ),
        ),
    ),
    Group(
        "adjustments",
        "asks for charges that were re-rated",
        (
            _n(),
            Field("month", B, "Says which month.", _PASSING, _NONE),
            Field("after", B, "Continues a long list.", _PASSING, _NONE),
        ),
    ),
)

REPORT_REPLIES: Final = (
    Group(
        "adjustments_are",
        "charges that were re-rated",
        (
            _n(),
            Field("adjustments", B, "Lists Adjusted entries.", _STORED, _RE_RATED),
            Field("more", B, "Says whether to ask again.", _PASSING, "nothing: the relay made it"),
        ),
    ),
)

REPORT_ENTRIES: Final = (
    Group(
        "Adjusted",
        "a charge that was re-rated",
        (
            Field("adjust", B, "A packed Adjust.", _STORED, _RE_RATED),
            Field("leaf", B, "The packed Leaf of the charge.", _STORED, _RE_RATED),
            Field("report", B, "Proves it to the business.", _STORED, "its length", Content.SEALED),
        ),
    ),
)

REPORT_STRUCTURES: Final = (
    Group(
        "Adjust",
        "the operator's word that a charge was of another category",
        (
            Field("business_id", B, "Says who owes.", _RECORD, _RE_RATED),
            Field("leaf", B, "Says for which charge.", _RECORD, _RE_RATED),
            Field("day", B, "Says in which month it falls.", _RECORD, "when it was decided"),
            Field("category", B, "The price follows.", _RECORD, "what the message really was"),
            Field("delta_micro_usd", B, "Is what is owed.", _RECORD, "nothing: it follows"),
            Field("report", B, "Names the report that proves it.", _RECORD, _NONE),
            Field("signature", B, "The operator cannot deny it.", _RECORD, _NONE),
        ),
    ),
)
