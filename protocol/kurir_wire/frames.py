"""Frames: what goes over one WebSocket binary message.

A frame is a msgpack array whose first entry is its name. Requests carry a number ``n`` that the
reply repeats. Lists go both ways, so that one frame and one commit serve many envelopes.

Client to relay: beacon, create, open, delete, submit, ack, put_card, get_card, register,
put_prekeys, get_business, prove, rate_card, settlements, invoice, checkpoint, inclusion,
consistency, terms, set_refused, report, adjustments, blob_new, blob_put, blob_status, blob_get,
blob_delete.
Relay to client: welcome, results, error, deliver, beacon_is, card_is, business_is, rate_card_is,
settlements_are, invoice_is, checkpoint_is, inclusion_is, consistency_is, terms_are,
adjustments_are, blob_status_is, blob_chunks_are.
Those about blobs stand in :mod:`kurir_wire.blob_frames`.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias, TypeVar, get_args

from msgspec import Meta, Struct
from msgspec.msgpack import Decoder

from kurir_wire import codec
from kurir_wire.beacons import Beacon
from kurir_wire.blob_frames import BlobPush, BlobRequest
from kurir_wire.cards import Badge
from kurir_wire.entries import (
    Ack,
    Adjusted,
    CardBytes,
    Delivery,
    NewMailbox,
    Opening,
    Place,
    Proof,
    Result,
    SealedReport,
    Small,
    Submission,
)
from kurir_wire.errors import UnknownFrameError
from kurir_wire.limits import (
    MAX_HEAD,
    MAX_ITEMS,
    MAX_PREKEYS,
    MAX_TICKETS,
)
from kurir_wire.prekeys import U8, U32, U63, Bytes32, Bytes64, EcPreKey, KemPreKey
from kurir_wire.relaycert import RelayCert

FrameT = TypeVar("FrameT")


class _Frame(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A frame; its subclasses carry their name as a tag."""


# Requests


class GetBeacon(_Frame, frozen=True, tag="beacon"):
    """The beacon of this minute."""

    n: U32


class Create(_Frame, frozen=True, tag="create"):
    """Make mailboxes."""

    n: U32
    mailboxes: Annotated[list[NewMailbox], Meta(min_length=1, max_length=MAX_ITEMS)]


class Open(_Frame, frozen=True, tag="open"):
    """Read mailboxes over this connection; deliveries follow. Where envelopes wait, the result is
    ``ok`` with their number in ``left``."""

    n: U32
    mailboxes: Annotated[list[Opening], Meta(min_length=1, max_length=MAX_ITEMS)]


class Delete(_Frame, frozen=True, tag="delete"):
    """Delete mailboxes that this connection has opened, with all that waits in them."""

    n: U32
    mailboxes: Annotated[list[Bytes32], Meta(min_length=1, max_length=MAX_ITEMS)]


class Submit(_Frame, frozen=True, tag="submit"):
    """Hand over envelopes. Each result is its own; success means on disk."""

    n: U32
    submissions: Annotated[list[Submission], Meta(min_length=1, max_length=MAX_ITEMS)]


class Acks(_Frame, frozen=True, tag="ack"):
    """Acknowledge and settle deliveries of mailboxes that this connection has opened."""

    n: U32
    acks: Annotated[list[Ack], Meta(min_length=1, max_length=MAX_ITEMS)]


class PutCard(_Frame, frozen=True, tag="put_card"):
    """Leave an encrypted card with a personal mailbox that this connection has opened."""

    n: U32
    mailbox_id: Bytes32
    card: CardBytes


class GetCard(_Frame, frozen=True, tag="get_card"):
    """Fetch the card that waits with a mailbox, by its send token."""

    n: U32
    mailbox_id: Bytes32
    token: Bytes32


class Register(_Frame, frozen=True, tag="register"):
    """Register a business or bring a newer card. ``address`` is the mailbox that the card names,
    made here with the open gate if it is new."""

    n: U32
    card: CardBytes
    address: NewMailbox


class PutPreKeys(_Frame, frozen=True, tag="put_prekeys"):
    """Refill one-time prekeys of the business that this connection has proved to be."""

    n: U32
    ec: Annotated[list[EcPreKey], Meta(max_length=MAX_PREKEYS)]
    kem: Annotated[list[KemPreKey], Meta(max_length=MAX_PREKEYS)]


class GetBusiness(_Frame, frozen=True, tag="get_business"):
    """The card of a business, with one one-time prekey of each kind while there are some."""

    n: U32
    business_id: Bytes32


class Prove(_Frame, frozen=True, tag="prove"):
    """This connection speaks for a business. ``lane`` is a packed lane certificate; the signature
    by the lane key covers :func:`prove_message`."""

    n: U32
    business_id: Bytes32
    lane: Small
    signature: Bytes64


class GetRateCard(_Frame, frozen=True, tag="rate_card"):
    """A signed rate card: the one in force, or the one with this hash."""

    n: U32
    card_hash: Bytes32 | None = None


class GetSettlements(_Frame, frozen=True, tag="settlements"):
    """Settled charges of the proved business on one whole past day (unix time // 86400), in order
    of their hash, from after ``after``."""

    n: U32
    day: U32
    after: Bytes32


class GetInvoice(_Frame, frozen=True, tag="invoice"):
    """The signed head of the proved business's invoice for a month (year * 100 + month)."""

    n: U32
    month: U32


class GetCheckpoint(_Frame, frozen=True, tag="checkpoint"):
    """The newest checkpoint of the ledger."""

    n: U32


class GetInclusion(_Frame, frozen=True, tag="inclusion"):
    """Proofs that charges of the proved business, settled on one day and named by their hashes, are
    in the ledger of ``size`` entries; adjustments, decided on that day, are named likewise."""

    n: U32
    size: U63
    day: U32
    charges: Annotated[list[Bytes32], Meta(min_length=1, max_length=MAX_ITEMS)]


class GetConsistency(_Frame, frozen=True, tag="consistency"):
    """The proof that the ledger of ``new`` leaves begins with that of ``old``."""

    n: U32
    old: U63
    new: U63


class GetTerms(_Frame, frozen=True, tag="terms"):
    """The operator's terms for the proved business, what is left of them, its entry tickets."""

    n: U32


class SetRefused(_Frame, frozen=True, tag="set_refused"):
    """The categories that a mailbox takes no more, of those that this connection has opened. Bit
    ``1 << category`` stands for a category; only marketing can be refused, 0 takes all."""

    n: U32
    mailbox_id: Bytes32
    categories: U8


class SendReport(_Frame, frozen=True, tag="report"):
    """Leave a report for the operator, sealed; anybody may, and says not who."""

    n: U32
    sealed: SealedReport


class GetAdjustments(_Frame, frozen=True, tag="adjustments"):
    """Re-rated charges of the proved business, decided on past days of a month (year * 100 +
    month), in order of their hash, from after ``after``."""

    n: U32
    month: U32
    after: Bytes32


# Replies and pushes


class Welcome(_Frame, frozen=True, tag="welcome"):
    """The first frame of a connection. Proofs are signatures over ``nonce``."""

    version: U32
    cert: RelayCert
    nonce: Bytes32
    now: U63
    beacon: Beacon


class Results(_Frame, frozen=True, tag="results"):
    """One entry for each of the request, in order; a request about one thing has one."""

    n: U32
    results: Annotated[list[Result | None], Meta(max_length=MAX_ITEMS)]


class Error(_Frame, frozen=True, tag="error"):
    """A whole frame was not accepted. ``n`` is its number if that could be read."""

    n: U32 | None
    result: Result


class Deliver(_Frame, frozen=True, tag="deliver"):
    """Envelopes for the reader, oldest first in each mailbox."""

    deliveries: Annotated[list[Delivery], Meta(min_length=1, max_length=MAX_ITEMS)]


class BeaconIs(_Frame, frozen=True, tag="beacon_is"):
    """Reply to beacon."""

    n: U32
    beacon: Beacon


class CardIs(_Frame, frozen=True, tag="card_is"):
    """Reply to get_card."""

    n: U32
    card: CardBytes


class BusinessIs(_Frame, frozen=True, tag="business_is"):
    """Reply to get_business. ``badge`` is missing while the operator has not approved it."""

    n: U32
    card: CardBytes
    badge: Badge | None = None
    one_time: EcPreKey | None = None
    kem: KemPreKey | None = None


class RateCardIs(_Frame, frozen=True, tag="rate_card_is"):
    """Reply to rate_card: a packed :class:`~kurir_wire.cards.Signed` whose body is JSON."""

    n: U32
    card: CardBytes


class SettlementsAre(_Frame, frozen=True, tag="settlements_are"):
    """Reply to settlements: packed leaves; ``more`` if another request is needed."""

    n: U32
    leaves: Annotated[list[Small], Meta(max_length=MAX_ITEMS)]
    more: bool


class InvoiceIs(_Frame, frozen=True, tag="invoice_is"):
    """Reply to invoice: a packed invoice head."""

    n: U32
    head: Annotated[bytes, Meta(min_length=1, max_length=MAX_HEAD)]


class CheckpointIs(_Frame, frozen=True, tag="checkpoint_is"):
    """Reply to checkpoint: a signed note."""

    n: U32
    note: Small


class InclusionIs(_Frame, frozen=True, tag="inclusion_is"):
    """Reply to inclusion: one place for each charge, in order."""

    n: U32
    places: Annotated[list[Place], Meta(max_length=MAX_ITEMS)]


class ConsistencyIs(_Frame, frozen=True, tag="consistency_is"):
    """Reply to consistency."""

    n: U32
    proof: Proof


class TermsAre(_Frame, frozen=True, tag="terms_are"):
    """Reply to terms: packed ``kurir_billing.terms.Terms``, missing before the operator approved
    the business; how many more customers may be started within these 24 hours (missing: any
    number); packed ``kurir_billing.ticket.Ticket``, those that hold."""

    n: U32
    terms: Small | None
    starts_left: U32 | None
    tickets: Annotated[list[Small], Meta(max_length=MAX_TICKETS)]


class AdjustmentsAre(_Frame, frozen=True, tag="adjustments_are"):
    """Reply to adjustments; ``more`` if another request is needed."""

    n: U32
    adjustments: Annotated[list[Adjusted], Meta(max_length=MAX_ITEMS)]
    more: bool


Request: TypeAlias = (
    GetBeacon
    | Create
    | Open
    | Delete
    | Submit
    | Acks
    | PutCard
    | GetCard
    | Register
    | PutPreKeys
    | GetBusiness
    | Prove
    | GetRateCard
    | GetSettlements
    | GetInvoice
    | GetCheckpoint
    | GetInclusion
    | GetConsistency
    | GetTerms
    | SetRefused
    | SendReport
    | GetAdjustments
    | BlobRequest
)
"""What a client may send."""

Push: TypeAlias = (
    Welcome
    | Results
    | Error
    | Deliver
    | BeaconIs
    | CardIs
    | BusinessIs
    | RateCardIs
    | SettlementsAre
    | InvoiceIs
    | CheckpointIs
    | InclusionIs
    | ConsistencyIs
    | TermsAre
    | AdjustmentsAre
    | BlobPush
)
"""What a relay may send."""


def encode(frame: Request | Push) -> bytes:
    """One frame as bytes."""
    return codec.pack(frame)


def decode_request(data: bytes) -> Request:
    """:raises UnknownFrameError: no request has this name
    :raises MalformedError: not a frame that a client may send, or over a limit"""
    found = codec.at_once(data, _REQUESTS)
    return _judge(data, Request, _REQUEST_NAMES) if found is None else found  # type: ignore[arg-type]


def decode_push(data: bytes) -> Push:
    """:raises UnknownFrameError: no push or reply has this name
    :raises MalformedError: not a frame that a relay may send, or over a limit"""
    found = codec.at_once(data, _PUSHES)
    return _judge(data, Push, _PUSH_NAMES) if found is None else found  # type: ignore[arg-type]


def _names(union: object) -> frozenset[str]:
    return frozenset(type_.__struct_config__.tag for type_ in get_args(union))


_REQUESTS: Final[Decoder[Request]] = codec.decoder_of(Request)
_PUSHES: Final[Decoder[Push]] = codec.decoder_of(Push)
_REQUEST_NAMES: Final = _names(Request)
_PUSH_NAMES: Final = _names(Push)


def _judge(data: bytes, type_: type[FrameT], names: frozenset[str]) -> FrameT:
    """Say what is wrong with bytes that are no frame of ours."""
    value = codec.decode(data)
    if isinstance(value, list) and value and isinstance(value[0], str) and value[0] not in names:
        raise UnknownFrameError("a frame of this name is not known here")
    return codec.validate(value, type_)
