"""The relay's database: what invoices and the ledger rest on, which is kept."""

from __future__ import annotations

from typing import Final

from kurir_audit.declaration import Content, Field, Group, Purpose
from kurir_wire.ids import DAY

B: Final = Purpose.BILLING

_RECORD: Final = "for as long as invoices must be provable (the operator's bookkeeping period)"
_PENDING: Final = "until the day is over, and at most a round of housekeeping"
_TOTALS: Final = (
    "how many messages all businesses together paid for on a day; everyone can ask for it"
)
_PUBLIC: Final = "nothing: it is public"
_NONE: Final = "nothing by itself"
_SEE: Final = "; see What columns give together"

LEAVES: Final = Group(
    "leaves",
    "settled charges: what the invoice lists; no mailbox, no envelope",
    (
        Field(
            "business",
            B,
            "Says who owes it.",
            _RECORD,
            "how many messages a business paid for" + _SEE,
        ),
        Field(
            "settled_day",
            B,
            "Says in which month it is invoiced.",
            _RECORD,
            "on which day some customer opened a message" + _SEE,
            unit=DAY,
        ),
        Field(
            "charge",
            B,
            "The same charge is not invoiced twice.",
            _RECORD,
            "which row of `charges` it came of, while that is there" + _SEE,
        ),
        Field(
            "leaf",
            B,
            "Proves the line: signed by the business, unlocked by the customer's device.",
            _RECORD,
            "market, category, class and price of one message" + _SEE,
            Content.SIGNED,
        ),
    ),
)

PENDING: Final = Group(
    "pending",
    "settled charges whose day is not over: they come into the ledger together",
    (
        Field(
            "settled_day",
            B,
            "A day comes into the ledger when it is over.",
            _PENDING,
            "on which day some customer opened a message",
            unit=DAY,
        ),
        Field(
            "hash",
            B,
            "Is what comes into the tree; kept in its order, so that no other order is.",
            _PENDING,
            "which row of `leaves` it came of: it follows from that",
        ),
    ),
)

TILES: Final = Group(
    "tiles",
    "the ledger: hashes of a Merkle tree over all leaves, a day's in the order of their hashes",
    (
        Field("level", B, "Says at which height of the tree.", _RECORD, _NONE),
        Field("n", B, "Says at which place.", _RECORD, _NONE),
        Field(
            "hashes",
            B,
            "Anyone can be shown that a charge is in the ledger, and that nothing was taken out.",
            _RECORD,
            "with `checkpoints`, which leaves are of one day; that is in `leaves` too",
        ),
    ),
)

CHECKPOINTS: Final = Group(
    "checkpoints",
    "what the relay signed about the ledger, once for each day with settlements",
    (
        Field("size", B, "Says how many leaves there were.", _RECORD, _TOTALS),
        Field("day", B, "Says of which day the last ones are.", _RECORD, _TOTALS, unit=DAY),
        Field("note", B, "The relay cannot deny it; public.", _RECORD, _TOTALS),
    ),
)

RATE_CARDS: Final = Group(
    "rate_cards",
    "price lists, signed by the operator",
    (
        Field("version", B, "The newest in force is handed out.", _RECORD, _PUBLIC),
        Field("hash", B, "A charge names its price list by it.", _RECORD, _PUBLIC),
        Field("effective_from", B, "Says from when it counts.", _RECORD, _PUBLIC, unit=1),
        Field("card", B, "Holds the prices and the operator's signature.", _RECORD, _PUBLIC),
    ),
)

PARTIES: Final = Group(
    "parties",
    "who stands on invoices, as the operator recorded it",
    (
        Field("id", B, "Says whose it is: a business's, or the relay's own.", _RECORD, _PUBLIC),
        Field(
            "party",
            B,
            "An invoice names seller and buyer: a Party.",
            _RECORD,
            "name, address and tax id of a business, which the operator was told",
        ),
    ),
)

INVOICES: Final = Group(
    "invoices",
    "what was invoiced: no number stands for two invoices",
    (
        Field("business", B, "Says for whom.", _RECORD, "which businesses ask for invoices"),
        Field("month", B, "Says for when.", _RECORD, "the same"),
        Field("revision", B, "Ends the invoice's number.", _RECORD, _NONE),
        Field(
            "head",
            B,
            "The same invoice is signed again in the same words.",
            _RECORD,
            "see InvoiceHead; the last day on which a business asked, if its month was running",
        ),
    ),
)
