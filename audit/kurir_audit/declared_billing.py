"""Signed structures inside frames: beacons, cards, prekeys, and those of billing."""

from __future__ import annotations

from typing import Final

from kurir_audit.declaration import Field, Group, Purpose
from kurir_audit.declared_reports import REPORT_STRUCTURES

D, B, A, O = Purpose.DELIVERY, Purpose.BILLING, Purpose.ABUSE, Purpose.OPERATION  # noqa: E741

_PUBLIC: Final = "nothing: it is public"
_NONE: Final = "nothing by itself"
_CHECKED: Final = "checked at acceptance, not stored"
_OPEN: Final = "until the charge is settled or can no longer be; 32 days at most"
_TICKET: Final = "stored with the business; what a charge shows is not"
_LEAF: Final = "as long as invoices must be provable"
_CARD: Final = "with its card"
_KEY: Final = "until handed out or replaced"
_SIGNED: Final = "which charges were signed together"
_OPENER: Final = "which lines are of one customer, within one conversation"
_MARKED: Final = "sealed in `marks` until the window ends"
_TERMS: Final = "for as long as the business is registered"
_MADE: Final = "made by the relay, kept by nobody"


def _public(name: str, why: str, kept: str = _CARD, purpose: Purpose = D) -> Field:
    return Field(name, purpose, why, kept, _PUBLIC)


STRUCTURES: Final = (
    Group(
        "Beacon",
        "the relay's signed time stamp, the same for everyone in one minute",
        (
            _public("minute", "Windows count from it.", "recomputed when needed", B),
            _public("nonce", "It cannot be made in advance.", "recomputed when needed", B),
            _public("signature", "It is this relay's.", _MADE, B),
        ),
    ),
    Group(
        "RelayCert",
        "the root key's word for the relay's working keys",
        (
            _public("root_pk", "Links pin it."),
            _public("beacon_pk", "Checks beacons.", purpose=B),
            _public("receipt_pk", "Checks receipts and refusals.", purpose=B),
            _public("operator_pk", "Checks badges, price lists, invoices.", purpose=B),
            _public("checkpoint_pk", "Checks the ledger's checkpoints.", purpose=B),
            _public("report_pk", "Reports are sealed to it.", purpose=A),
            _public("not_before", "A stolen key ends with its certificate."),
            _public("not_after", "A stolen key ends with its certificate."),
            _public("signature", "The root key says so."),
        ),
    ),
    Group(
        "Badge",
        "the operator's word for who a business is",
        (
            _public("tier", "Customers see what was checked.", purpose=A),
            _public("legal_name", "Customers see who it is.", purpose=A),
            _public("not_after", "It ends unless renewed.", purpose=A),
            _public("signature", "The operator says so.", purpose=A),
        ),
    ),
    Group(
        "EcPreKey",
        "an X25519 prekey of a business",
        (
            _public("kind", "Rotating or one-time.", _KEY),
            _public("key_id", "Its owner finds the private half.", _KEY),
            _public("public", "Starts a handshake.", _KEY),
            _public("signature", "It is the owner's.", _KEY),
        ),
    ),
    Group(
        "KemPreKey",
        "an ML-KEM-1024 prekey of a business",
        (
            _public("kind", "One-time or last-resort.", _KEY),
            _public("key_id", "Its owner finds the private half.", _KEY),
            _public("public", "Starts a handshake.", _KEY),
            _public("signature", "It is the owner's.", _KEY),
        ),
    ),
    Group(
        "Signed",
        "a card as it travels: exact bytes and their signature",
        (
            _public("body", "Nobody re-encodes what was signed."),
            _public("signature", "Says who signed."),
        ),
    ),
    Group(
        "BusinessCard",
        "the public card of a business",
        (
            _public("version", "It never rolls back."),
            _public("relay_id", "It counts at this relay only."),
            _public("root_pk", "The business's id follows from it."),
            _public("name", "Customers see it."),
            _public("address", "The mailbox for first messages."),
            _public("envelope_pk", "Seals what is written to the address."),
            _public("identity", "An IdentityPublic: safety numbers cover it."),
            _public("signed_prekey", "An EcPreKey for handshakes."),
            _public("last_resort", "A KemPreKey for when one-time keys ran out."),
            _public("issued", "Says from when it counts."),
            _public("expires", "Lost keys stop being handed out."),
            _public("sessions_from", "Customers start afresh what the business has lost."),
        ),
    ),
    Group(
        "IdentityPublic",
        "the two identity keys of a business",
        (
            _public("sign_pk", "Signs prekeys."),
            _public("dh_pk", "Takes part in handshakes."),
            _public("binding", "The first vouches for the second."),
        ),
    ),
    Group(
        "Lane",
        "a key that signs a business's charges",
        (
            _public("root_pk", "Says whose it is.", _LEAF, B),
            _public("lane_pk", "Checks charges.", _LEAF, B),
            _public("not_after", "A lost key ends.", _LEAF, B),
            _public("signature", "The business enrolled it.", _LEAF, B),
        ),
    ),
    Group(
        "Line",
        "the price facts of a charge: all that an invoice shows of it",
        (
            Field("market", B, "Prices differ by market.", _LEAF, "the customer's country group"),
            _public("tariff", "Says by which rule.", _LEAF, B),
            _public("rate_card", "Says by which price list.", _LEAF, B),
            Field("category", B, "Prices may differ by category.", _LEAF, "the declared kind"),
            Field("klass", B, "Inside the window it is free.", _LEAF, "whether it was an answer"),
            _public("list_price", "Is what the business agreed to.", _LEAF, B),
            Field("opener", B, "Ties what one price covers.", _LEAF, _OPENER),
        ),
    ),
    Group(
        "Charge",
        "what a business shows with one metered envelope",
        (
            Field("line", B, "A Line: the price facts.", _LEAF, "see Line"),
            Field(
                "opening",
                B,
                "Opens the mailbox's gate: this business pays, this market.",
                _CHECKED,
                "with the stored gate: which mailbox is a customer of this business",
            ),
            Field("frank", A, "A report can prove what it was.", _LEAF, _NONE),
            Field("lock", B, "Settlement needs its key.", _LEAF, _NONE),
            Field("private_salt", B, "Keeps the commitment from being guessed.", _CHECKED, _NONE),
            Field("fresh_salt", B, "Keeps the evidence from being guessed.", _CHECKED, _NONE),
            Field("beacon_minute", B, "Says that it is fresh.", _CHECKED, "when it was signed"),
            Field("beacon_nonce", B, "It cannot have been signed in advance.", _CHECKED, _NONE),
            Field("lane", B, "A Lane: which key signed.", _LEAF, "which business pays"),
            Field("lane_seq", B, "It is not taken twice.", _CHECKED, "how much a business writes"),
            Field(
                "grant",
                B,
                "A Grant: makes an answer free.",
                _CHECKED,
                "that the customer wrote first, and in which minute",
            ),
            Field(
                "entry",
                B,
                "An Entry: makes the first answer to an ad free.",
                _CHECKED,
                "by which ad or link the customer came",
            ),
            Field(
                "pass_hash",
                B,
                "Names a Pass: what is paid or free already.",
                _CHECKED,
                "with the stored mark: which conversation it belongs to",
            ),
            Field("listed", B, "A Listed: one signature for many charges.", _LEAF, _SIGNED),
            Field("signature", B, "The business agreed to the line.", _LEAF, _NONE),
        ),
    ),
    Group(
        "Entry",
        "how a customer came, shown with a grant of kind entry",
        (
            Field("ticket", B, "A Ticket: the operator allowed it.", _CHECKED, "which ad or link"),
            Field(
                "born_hour",
                B,
                "The mailbox must be less than a day old.",
                _CHECKED,
                "when the customer first came, to the hour",
            ),
        ),
    ),
    Group(
        "Ticket",
        "the operator's word that an ad or link opens an entry window",
        (
            Field("entry_id", B, "Says which ad or link.", _TICKET, "which ad or link"),
            _public("not_after", "An old ad ends.", _TICKET, B),
            _public("signature", "The operator says so.", _TICKET, B),
        ),
    ),
    Group(
        "Terms",
        "the operator's word on how a business is billed",
        (
            _public("tariff", "Says by which rule; nobody switches it silently.", _TERMS, B),
            _public("tier", "Says whether it is charged.", _TERMS, B),
            _public("starts", "Says how many customers it may start a day.", _TERMS, A),
            _public("issued", "The newest terms count.", _TERMS, B),
            _public("signature", "The operator says so.", _TERMS, B),
        ),
    ),
    Group(
        "Pass",
        "the relay's word that a conversation or an entry window is open",
        (
            _public("kind", "Says which of the two.", _MARKED, B),
            Field("opener", B, "Ties what one price covers.", _MARKED, "which charge opened it"),
            _public("klass", "The price of the conversation follows.", _MARKED, B),
            Field("opened_at", B, "It counts from then.", _MARKED, "the second of acceptance"),
            Field("until", B, "It is shut from then.", _MARKED, "the same"),
            _public("signature", "The relay cannot deny it.", _MARKED, B),
        ),
    ),
    Group(
        "Listed",
        "the place of a charge in a list that was signed as a whole",
        (
            Field("index", B, "Its place in the list.", _LEAF, _SIGNED),
            Field("size", B, "The list's length.", _LEAF, _SIGNED),
            Field("proof", B, "Proves the place.", _LEAF, _SIGNED),
        ),
    ),
    Group(
        "Grant",
        "the customer's permission to answer",
        (
            Field("kind", B, "Says what it permits.", _CHECKED, _NONE),
            Field("minute", B, "The window counts from it.", _CHECKED, "when the customer wrote"),
            Field("nonce", B, "It rests on a real beacon.", _CHECKED, _NONE),
            Field("ticket", B, "Names an entry ticket.", _CHECKED, "which ad or link"),
            Field(
                "signature",
                B,
                "The mailbox's reader said so.",
                _CHECKED,
                "with the stored read key: which mailbox",
            ),
        ),
    ),
    Group(
        "Receipt",
        "the relay's word that it accepted a charge",
        (
            _public("charge", "Says which.", _MADE, B),
            Field("accepted_at", B, "Windows end to the second.", "50 to 51 minutes", "the second"),
            _public("earned", "A Pass: what the message opened.", _MADE, B),
            _public("signature", "The relay cannot deny it.", _MADE, B),
        ),
    ),
    Group(
        "Refusal",
        "the relay's word that it did not",
        (
            _public("charge", "Says which.", _MADE, B),
            _public("code", "Says why.", _MADE, B),
            _public("now", "Says when.", _MADE, B),
            _public("quote", "A Quote: what would be accepted.", _MADE, B),
            _public("held", "A Pass: what is open already.", _MADE, B),
            _public("signature", "The relay cannot deny it.", _MADE, B),
        ),
    ),
    Group(
        "Quote",
        "the line that would be accepted now",
        (_public("line", "A Line: the price facts.", _MADE, B),),
    ),
    Group(
        "Leaf",
        "a settled charge, as it is kept and invoiced; no mailbox, no envelope",
        (
            Field("line", B, "A Line: the price facts.", _LEAF, "see Line"),
            Field("settled_day", B, "Says in which month it falls.", _LEAF, "the day it was read"),
            Field(
                "private_hash", B, "The business finds its own record.", _LEAF, "nothing: salted"
            ),
            Field("lock", B, "The business signed it.", _LEAF, _NONE),
            Field("frank", B, "A report can prove what the message was.", _LEAF, _NONE),
            Field("secret", B, "Proves that the device opened the message.", _LEAF, _NONE),
            Field("lane", B, "A Lane: which key signed.", _LEAF, "which business pays"),
            Field("listed", B, "A Listed: one signature for many charges.", _LEAF, _SIGNED),
            Field("signature", B, "The business agreed to the line.", _LEAF, _NONE),
        ),
    ),
    Group(
        "InvoiceHead",
        "what the relay signs about a month",
        (
            _public("business_id", "Says who owes.", _LEAF, B),
            _public("month", "Says for when.", _LEAF, B),
            _public("revision", "No number stands for two invoices.", _LEAF, B),
            _public("issued_day", "Bookkeeping needs a date.", _LEAF, B),
            _public("through_day", "The last day counted.", _LEAF, B),
            _public("currency", "Says what the numbers are.", _LEAF, B),
            _public("seller", "A Party: who bills.", _LEAF, B),
            Field("buyer", B, "A Party: who is billed.", _LEAF, "see Party"),
            Field("count", B, "No line was dropped.", _LEAF, "how many messages were paid for"),
            Field("subtotal_micro_usd", B, "What the messages come to.", _LEAF, "the same"),
            Field("fee_micro_usd", B, "What the month costs.", _LEAF, "which tariff it has"),
            Field(
                "adjustments_micro_usd",
                B,
                "What reports added.",
                _LEAF,
                "whether customers reported its messages, and were right",
            ),
            Field("total_micro_usd", B, "Is what is owed.", _LEAF, "the same"),
            _public("lines_hash", "No line was changed.", _LEAF, B),
            _public("adjustments_hash", "No adjustment was changed.", _LEAF, B),
            _public("charged_hash", "What was due earlier is not due again.", _LEAF, B),
            _public("signature", "The relay cannot deny it.", _MADE, B),
        ),
    ),
    *REPORT_STRUCTURES,
    Group(
        "Party",
        "who stands on an invoice, as the operator recorded it",
        (
            _public("legal_name", "Says who it is; certified.", _LEAF, B),
            Field("address", B, "Bookkeeping needs it.", _LEAF, "where a business is"),
            Field("tax_id", B, "Bookkeeping needs it.", _LEAF, "which taxpayer it is"),
            Field("notes", B, "How to pay, what was ordered.", _LEAF, "what it says"),
        ),
    ),
)
