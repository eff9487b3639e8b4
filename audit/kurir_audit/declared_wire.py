"""The wire: every frame, every entry of a frame, and every signed structure that travels in one.

Frames are named as they are on the wire, structures as in ``kurir_wire``.
"""

from __future__ import annotations

from typing import Final

from kurir_audit.declaration import Content, Field, Group, Purpose
from kurir_audit.declared_blobs import BLOB_ENTRIES, BLOB_REPLIES, BLOB_REQUESTS
from kurir_audit.declared_reports import REPORT_ENTRIES, REPORT_REPLIES, REPORT_REQUESTS

D, B, A, O = Purpose.DELIVERY, Purpose.BILLING, Purpose.ABUSE, Purpose.OPERATION  # noqa: E741

_PASSING: Final = "not kept"
_CHECKED: Final = "checked and forgotten"
_STORED: Final = "stored; see the database"
_NONE: Final = "nothing by itself"
_PUBLIC: Final = "nothing: it is public"
_OWN: Final = "nothing: the relay made it"


def _n() -> Field:
    return Field("n", D, "Matches a reply with its request.", _PASSING, _NONE)


def _list(name: str, what: str) -> Field:
    return Field(
        name, D, f"Lists {what}, so that many take one commit.", _PASSING, "that they came together"
    )


def _own(name: str, purpose: Purpose, why: str) -> Field:
    return Field(name, purpose, why, _PASSING, _OWN)


REQUESTS: Final = (
    Group("beacon", "asks for the beacon of this minute", (_n(),)),
    Group("create", "makes mailboxes", (_n(), _list("mailboxes", "NewMailbox entries"))),
    Group(
        "open",
        "reads mailboxes",
        (
            _n(),
            Field(
                "mailboxes",
                D,
                "Lists Opening entries: what shall be delivered here.",
                "while the connection lasts",
                "that one device reads them all",
            ),
        ),
    ),
    Group("delete", "deletes mailboxes", (_n(), _list("mailboxes", "mailbox ids"))),
    Group("submit", "hands over envelopes", (_n(), _list("submissions", "Submission entries"))),
    Group("ack", "acknowledges and settles", (_n(), _list("acks", "Ack entries"))),
    Group(
        "put_card",
        "leaves a card with a mailbox",
        (
            _n(),
            Field("mailbox_id", D, "Says with which mailbox.", _STORED, "an invite was made"),
            Field(
                "card",
                D,
                "The one who is invited needs the keys in it.",
                _STORED,
                "its length",
                Content.SEALED,
            ),
        ),
    ),
    Group(
        "get_card",
        "fetches a card by the send token",
        (
            _n(),
            Field("mailbox_id", D, "Says which card.", _PASSING, "an invite is being accepted"),
            Field("token", A, "Only the invited one may fetch it.", _CHECKED, _NONE),
        ),
    ),
    Group(
        "register",
        "registers a business or brings a newer card",
        (
            _n(),
            Field("card", D, "Customers will ask for it.", _STORED, _PUBLIC),
            Field(
                "address",
                D,
                "A NewMailbox: the public address that the card names.",
                _STORED,
                _PUBLIC,
            ),
        ),
    ),
    Group(
        "put_prekeys",
        "refills one-time prekeys of a business",
        (
            _n(),
            Field("ec", D, "X25519 prekeys for customers' first messages.", _STORED, _PUBLIC),
            Field("kem", D, "ML-KEM prekeys for the same.", _STORED, _PUBLIC),
        ),
    ),
    Group(
        "get_business",
        "asks for a business's card",
        (
            _n(),
            Field(
                "business_id",
                D,
                "Says whose card.",
                _PASSING,
                "that somebody at this network address looks at this business",
            ),
        ),
    ),
    Group(
        "prove",
        "says that this connection speaks for a business",
        (
            _n(),
            Field("business_id", B, "Says which.", "while the connection lasts", _PUBLIC),
            Field("lane", B, "A packed Lane: the key that signs.", _PASSING, _PUBLIC),
            Field("signature", A, "Nobody else may read its bills.", _CHECKED, _NONE),
        ),
    ),
    Group(
        "rate_card",
        "asks for a price list",
        (
            _n(),
            Field(
                "card_hash",
                B,
                "An old invoice is verified by the list of its time.",
                _PASSING,
                "which invoice somebody verifies",
            ),
        ),
    ),
    Group(
        "settlements",
        "asks for settled charges of a day",
        (
            _n(),
            Field(
                "day", B, "Whole past days only, so that it is no read receipt.", _PASSING, _NONE
            ),
            Field("after", B, "Continues a long list.", _PASSING, _NONE),
        ),
    ),
    Group(
        "invoice",
        "asks for the head of an invoice",
        (_n(), Field("month", B, "Says which month.", _PASSING, _NONE)),
    ),
    Group("checkpoint", "asks for the newest checkpoint of the ledger", (_n(),)),
    Group(
        "inclusion",
        "asks for proofs that charges and adjustments are in the ledger",
        (
            _n(),
            Field("size", B, "Says in which state of the ledger.", _PASSING, _NONE),
            Field("day", B, "Says where to look.", _PASSING, _NONE),
            Field(
                "charges",
                B,
                "Lists hashes of charges and adjustments.",
                _PASSING,
                "which invoice is checked",
            ),
        ),
    ),
    Group(
        "consistency",
        "asks for the proof that the ledger only grew",
        (
            _n(),
            Field("old", B, "Says since when.", _PASSING, "when somebody last asked"),
            Field("new", B, "Says until when.", _PASSING, _NONE),
        ),
    ),
    Group("terms", "asks for the operator's terms", (_n(),)),
    Group(
        "set_refused",
        "says which categories a mailbox takes no more",
        (
            _n(),
            Field("mailbox_id", A, "Says which mailbox.", _PASSING, "its reader is here"),
            Field(
                "categories",
                A,
                "The relay refuses marketing that nobody would read.",
                _STORED,
                "that this mailbox takes no marketing",
            ),
        ),
    ),
    *REPORT_REQUESTS,
    *BLOB_REQUESTS,
)

REPLIES: Final = (
    Group(
        "welcome",
        "the first frame of a connection",
        (
            _own("version", D, "The client learns whether they understand each other."),
            _own("cert", D, "A RelayCert: the client checks that this is the relay it meant."),
            _own("nonce", A, "Proofs are made over it."),
            _own("now", D, "A client with a wrong clock can say so."),
            _own("beacon", B, "Charges and grants name a beacon."),
        ),
    ),
    Group(
        "results",
        "what became of each entry",
        (_n(), _own("results", D, "Lists Result entries in the order of the request.")),
    ),
    Group(
        "error",
        "a whole frame was not accepted",
        (_n(), _own("result", O, "A Result: says what was wrong with the frame.")),
    ),
    Group(
        "deliver",
        "envelopes for the reader",
        (
            Field(
                "deliveries",
                D,
                "Lists Delivery entries.",
                "until acknowledged",
                "that they were delivered together",
            ),
        ),
    ),
    Group(
        "beacon_is",
        "the beacon",
        (_n(), _own("beacon", B, "The same for everyone in this minute.")),
    ),
    Group(
        "card_is",
        "the card that waited with a mailbox",
        (
            _n(),
            Field(
                "card",
                D,
                "Holds the keys for a first message.",
                _STORED,
                "its length",
                Content.SEALED,
            ),
        ),
    ),
    Group(
        "business_is",
        "a business's card",
        (
            _n(),
            Field("card", D, "Holds keys and address.", _STORED, _PUBLIC),
            _own("badge", A, "A Badge: the operator vouches for the legal name."),
            Field("one_time", D, "An EcPreKey for one handshake.", "gone once handed out", _PUBLIC),
            Field("kem", D, "A KemPreKey for one handshake.", "gone once handed out", _PUBLIC),
        ),
    ),
    Group(
        "rate_card_is",
        "a price list",
        (_n(), _own("card", B, "A Signed: the prices as JSON, signed by the operator.")),
    ),
    Group(
        "settlements_are",
        "settled charges",
        (
            _n(),
            Field("leaves", B, "Packed Leaf structures.", _STORED, _NONE),
            _own("more", B, "Says whether to ask again."),
        ),
    ),
    Group(
        "invoice_is",
        "the head of an invoice",
        (_n(), _own("head", B, "A packed InvoiceHead: who owes whom how much, for what.")),
    ),
    Group(
        "checkpoint_is",
        "the newest checkpoint",
        (_n(), _own("note", B, "A signed note: size and root of the ledger, for everyone.")),
    ),
    Group(
        "inclusion_is",
        "where charges stand in the ledger",
        (_n(), _own("places", B, "Lists Place entries in the order of the request.")),
    ),
    Group(
        "consistency_is",
        "that the ledger only grew",
        (_n(), _own("proof", B, "Lists hashes of its tree.")),
    ),
    Group(
        "terms_are",
        "the operator's terms",
        (
            _n(),
            _own("terms", B, "Packed Terms: a relay cannot switch the tariff silently."),
            _own("starts_left", A, "Says how many more customers may be started."),
            _own("tickets", B, "Packed Tickets: a grant of kind entry is shown with its own."),
        ),
    ),
    *REPORT_REPLIES,
    *BLOB_REPLIES,
)

ENTRIES: Final = (
    Group(
        "NewMailbox",
        "a mailbox to make",
        (
            Field("read_pk", D, "Will prove who the reader is.", _STORED, _NONE),
            Field("gate", D, "Will decide who may write.", _STORED, "nothing: a hash"),
            Field("born_hour", A, "An old request cannot be replayed.", _PASSING, "the hour"),
            Field("signature", A, "The key's holder wants this mailbox.", _CHECKED, _NONE),
        ),
    ),
    Group(
        "Opening",
        "a mailbox to read",
        (
            Field(
                "mailbox_id", D, "Says which.", "while the connection lasts", "its reader is here"
            ),
            Field("signature", A, "Only its reader may read.", _CHECKED, _NONE),
        ),
    ),
    Group(
        "Submission",
        "an envelope on its way in; who sent it is not in it",
        (
            Field("mailbox_id", D, "Says for which mailbox.", _STORED, "that mailbox gets mail"),
            Field("envelope_id", D, "A retry is recognised.", _STORED, "nothing: random"),
            Field(
                "body",
                D,
                "This is the message.",
                _STORED,
                "its bucket: 2, 4, 16 or 64 KiB",
                Content.SEALED,
            ),
            Field("life", D, "Says after how many hours it may go.", _STORED, "30 days by default"),
            Field(
                "token",
                A,
                "Opens a personal mailbox; everyone who may write shows the same.",
                _CHECKED,
                "that a person's mailbox gets mail",
            ),
            Field(
                "charge",
                B,
                "A packed Charge: opens a business-paid mailbox.",
                "until settled",
                "that a business writes, and into which mailbox",
            ),
        ),
    ),
    Group(
        "Delivery",
        "an envelope on its way out",
        (
            Field("mailbox_id", D, "Says from which mailbox.", _STORED, _NONE),
            Field("envelope_id", D, "The acknowledgement names it.", _STORED, _NONE),
            Field("body", D, "This is the message.", _STORED, "its bucket", Content.SEALED),
            Field("label", B, "A Label: the client recomputes and shows it.", _STORED, _NONE),
        ),
    ),
    Group(
        "Label",
        "what a metered envelope says of itself outside",
        (
            Field(
                "business_id", B, "Says who pays.", "until settled", "who writes to this mailbox"
            ),
            Field("category", B, "The customer sees what it was declared as.", _STORED, "the kind"),
            Field(
                "frank", A, "One mislabelled message can be reported with proof.", _STORED, _NONE
            ),
            Field("lock", B, "Only the opened message holds its key.", _STORED, _NONE),
        ),
    ),
    Group(
        "Ack",
        "the reader has it on its disk",
        (
            Field("mailbox_id", D, "Says in which mailbox.", _PASSING, "its reader is here"),
            Field("envelope_id", D, "Says which envelope may go.", _PASSING, "when it was read"),
            Field(
                "secret",
                B,
                "Settles a metered envelope: proof that the device opened it.",
                _STORED,
                "that this message could be read",
            ),
        ),
    ),
    Group(
        "Place",
        "where a charge or an adjustment stands in the ledger",
        (
            _own("index", B, "Says at which place; within a day, places follow from hashes."),
            _own("proof", B, "Lists hashes that lead from the leaf to the root."),
        ),
    ),
    Group(
        "Result",
        "what became of one entry",
        (
            _own("code", D, "The client decides by it what to do."),
            _own("detail", O, "Says it to a person."),
            _own("retry_after", A, "Says when to try again."),
            _own("left", A, "Says how much is allowed at once."),
            _own("data", B, "A packed Receipt or Refusal."),
        ),
    ),
    *REPORT_ENTRIES,
    *BLOB_ENTRIES,
)
