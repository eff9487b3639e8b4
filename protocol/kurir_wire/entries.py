"""What the lists in frames hold, and the fields that frames and entries share."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from kurir_wire.errors import MalformedError
from kurir_wire.limits import (
    BUCKETS,
    MAX_CARD,
    MAX_LIFE_HOURS,
    MAX_PROOF,
    MAX_TEXT_DETAIL,
    REPORT_SIZES,
)
from kurir_wire.prekeys import U8, U32, U63, Bytes16, Bytes32, Bytes64

Body = Annotated[bytes, Meta(min_length=BUCKETS[0], max_length=BUCKETS[-1])]
CardBytes = Annotated[bytes, Meta(min_length=1, max_length=MAX_CARD)]
ChargeBytes = Annotated[bytes, Meta(min_length=1, max_length=2_048)]
"""A packed ``kurir_billing.charge.Charge``; about 700 bytes with a grant."""
Small = Annotated[bytes, Meta(max_length=2_048)]
LifeHours = Annotated[int, Meta(ge=1, le=MAX_LIFE_HOURS)]
Detail = Annotated[str, Meta(max_length=MAX_TEXT_DETAIL)]
Code = Annotated[str, Meta(min_length=1, max_length=32)]

SealedReport = Annotated[bytes, Meta(max_length=REPORT_SIZES[-1])]

Proof = Annotated[list[Bytes32], Meta(max_length=MAX_PROOF)]
"""Hashes as :mod:`kurir_wire.merkle` makes them."""


class _Entry(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """An entry of a list in a frame."""


class NewMailbox(_Entry, frozen=True):
    """A mailbox to make; the signature by its read key covers :func:`create_message`."""

    read_pk: Bytes32
    gate: Bytes32
    born_hour: U32
    signature: Bytes64


class Opening(_Entry, frozen=True):
    """A mailbox to read; the signature by its read key covers :func:`open_message`."""

    mailbox_id: Bytes32
    signature: Bytes64


class Submission(_Entry, frozen=True):
    """An envelope. ``token`` opens a personal mailbox, ``charge`` a business-paid one, neither an
    address. ``life`` in hours."""

    mailbox_id: Bytes32
    envelope_id: Bytes16
    body: Body
    life: LifeHours
    token: Bytes32 | None = None
    charge: ChargeBytes | None = None


class Label(_Entry, frozen=True):
    """What a metered envelope says of itself outside; bound into its seal."""

    business_id: Bytes32
    category: U8
    frank: Bytes32
    lock: Bytes32


class Delivery(_Entry, frozen=True):
    """An envelope on its way to the reader."""

    mailbox_id: Bytes32
    envelope_id: Bytes16
    body: Body
    label: Label | None = None


class Ack(_Entry, frozen=True):
    """The reader has it on its disk. ``secret`` settles a metered envelope; without it the envelope
    goes away unpaid."""

    mailbox_id: Bytes32
    envelope_id: Bytes16
    secret: Bytes32 | None = None


class Result(_Entry, frozen=True):
    """What became of one entry. In a list ``None`` stands for plain success."""

    code: Code
    detail: Detail = ""
    retry_after: U32 | None = None
    left: U32 | None = None
    data: Small | None = None


class Place(_Entry, frozen=True):
    """Where an entry stands in the ledger, and the proof that it does."""

    index: U63
    proof: Proof


class Adjusted(_Entry, frozen=True):
    """A re-rated charge: a packed ``kurir_billing.adjust.Adjust``, the packed leaf of the charge,
    and the report on which it rests, sealed to the business (empty: its card had no usable key)."""

    adjust: Small
    leaf: Small
    report: SealedReport


def check_bucket(body: bytes) -> None:
    """:raises MalformedError: a body of a length that is not a bucket"""
    if len(body) not in BUCKETS:
        raise MalformedError(f"a body has one of the lengths {BUCKETS}, not {len(body)}")
