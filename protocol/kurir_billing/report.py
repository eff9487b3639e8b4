"""Reports: a customer shows the operator one message, and proves who sent it under which label.

The franking tag that the business signed into the charge commits it to category and content under
``kf``, a key that only the message held. Whoever shows ``kf`` and the content shows that one
message and no other (Grubbs, Lu, Ristenpart, "Message Franking via Committing Authenticated
Encryption", 2017, for why an AEAD's own tag will not do). Source: docs/protocol.md, "Reports and
adjustments".
"""

from __future__ import annotations

import hmac
from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from kurir_billing.errors import EvidenceError
from kurir_billing.kinds import Category
from kurir_billing.leaf import Leaf
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import WireError
from kurir_wire.ids import BusinessId, EnvelopeId, Hash, MailboxId, RelayId, digest, domain, u8
from kurir_wire.limits import BUCKETS, MAX_REPORT_REASON
from kurir_wire.prekeys import U8, U63, Bytes16, Bytes32

REPORT_DAYS: Final = 60
"""Days after it came for which a customer keeps what a report of a message needs, and after its
settlement for which the operator looks for the charge."""
WAIT_DAYS: Final = 90
"""Days for which a report waits for the operator."""
ADJUST_DAYS: Final = REPORT_DAYS + WAIT_DAYS
"""Days after its settlement within which a charge may be re-rated."""

FrankedContent = Annotated[bytes, Meta(min_length=1, max_length=BUCKETS[-1])]


class Report(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What shows one message.

    ``place``: :func:`place_hash` of where it came. ``category``: its label. ``content``: the
    canonical content without ``kf``, its settlement key. ``lock``: finds the leaf of its charge.
    """

    business_id: Bytes32
    place: Bytes32
    category: U8
    content: FrankedContent
    kf: Bytes32
    lock: Bytes32

    def __repr__(self) -> str:
        return "<Report>"

    @property
    def hash(self) -> Hash:
        """``H(report-hash, …)`` over the packed report: what an adjustment names."""
        return digest("report-hash", pack(self))


class Complaint(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is sealed to the operator: the report, and what the customer says about it, which
    nothing proves. ``wanted``: the category that it should have had; NONE if not said."""

    report: Report
    wanted: U8 = Category.NONE
    reason: Annotated[str, Meta(max_length=MAX_REPORT_REASON)] = ""

    def __repr__(self) -> str:
        return "<Complaint>"


class Said(Struct, frozen=True, array_like=True):
    """The content of a message, as far as judging it needs: docs/protocol.md, "Content"."""

    kind: U8
    inner_id: Bytes16
    seq: U63
    sent_at: U63
    text: str = ""
    intro: Any = None
    grant: Any = None
    category: U8 | None = None

    def __repr__(self) -> str:
        return "<Said>"


def place_hash(mailbox_id: MailboxId, envelope_id: EnvelopeId) -> Hash:
    """``H(place)``: names the envelope to its two ends; the random id hides it from others."""
    return digest("place", mailbox_id, envelope_id)


def frank_tag(
    kf: bytes,
    relay_id: RelayId,
    business_id: BusinessId,
    place: Hash,
    category: int,
    content: bytes,
) -> bytes:
    """HMAC-SHA256(kf, "kurir/frank/1\\0" ‖ relay ‖ business ‖ place ‖ category ‖ content): 32
    bytes, part of the label and of the signed charge.

    :param kf: 32 bytes; shorter keys could stand for one another
    :param category: one byte
    :param content: the canonical content without ``kf``
    :raises ValueError: a wrong length
    """
    for field in (kf, relay_id, business_id, place):
        # A field of another width would move the ones after it.
        if len(field) != 32:
            raise ValueError(f"a field of 32 bytes has {len(field)}")
    if not 0 <= category <= 0xFF:
        raise ValueError("a category is one byte")
    message = domain("frank") + relay_id + business_id + place + u8(category) + content
    return hmac.digest(kf, message, "sha256")


def check_report(report: Report, leaf: Leaf, relay_id: RelayId) -> Said:
    """Check that the business of the leaf sent this message under the leaf's label, and that the
    customer's device opened it.

    :returns: what it said
    :raises EvidenceError: it does not prove that; the text says why
    """
    if report.business_id != leaf.lane.business_id:
        raise EvidenceError("the charge is of another business")
    if report.lock != leaf.lock:
        raise EvidenceError("the charge is of another message")
    if report.category != leaf.line.category:
        raise EvidenceError("the charge has another category than the report says")
    if report.category == Category.NONE:
        raise EvidenceError("the charge names no category, so that none can be wrong")
    leaf.check_signature(relay_id)
    leaf.check_settlement()
    tag = frank_tag(
        report.kf,
        relay_id,
        BusinessId(report.business_id),
        Hash(report.place),
        report.category,
        report.content,
    )
    if not hmac.compare_digest(tag, leaf.frank):
        raise EvidenceError("the business never sent this message: the tag it signed is another")
    try:
        said = unpack(report.content, Said, limit=BUCKETS[-1])
    except WireError as error:
        raise EvidenceError(f"what was sent is not a message: {error}") from error
    if said.category != report.category:
        raise EvidenceError("the message says another category inside than outside")
    return said


def open_report(data: bytes) -> Report:
    """:raises MalformedError: not a report"""
    return unpack(data, Report, limit=MAX_REPORT)


def open_complaint(data: bytes) -> Complaint:
    """:raises MalformedError: not a complaint"""
    return unpack(data, Complaint, limit=MAX_REPORT)


def packed_report(value: Report | Complaint) -> bytes:
    """The form that is sealed."""
    return pack(value)


MAX_REPORT: Final = BUCKETS[-1] + 2_048
"""Bytes of a packed complaint: the longest content, keys and hashes, 300 characters of reason."""
