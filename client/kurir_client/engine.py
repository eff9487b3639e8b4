"""From content to envelope and back: sans-I/O. Values go in, values come out; nothing is stored.

What the relay may see is decided here and nowhere else: a submission holds a mailbox, an envelope
id, a sealed body that fills its bucket, a life, and what opens the gate.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Final, Protocol

from kurir_billing import charge as charges
from kurir_billing.grant import Grant, grant_message
from kurir_billing.kinds import Category, GrantKind
from kurir_billing.report import Report, frank_tag, place_hash
from kurir_client import content as contents
from kurir_client.content import Content
from kurir_crypto import message, padding, restart, sealing
from kurir_crypto.handshake import PreKeyStore
from kurir_crypto.keys import IdentityKeyPair, SigningKeyPair
from kurir_crypto.restart import REQUEST_BYTES, OneUseKeys
from kurir_crypto.sealing import Binding, EnvelopeKeyPair, MailboxKey
from kurir_crypto.session import Session
from kurir_crypto.settlement import settlement_secret
from kurir_wire.beacons import Beacon
from kurir_wire.entries import Delivery, Label, Submission
from kurir_wire.errors import MalformedError
from kurir_wire.ids import (
    HOUR,
    MINUTE,
    NO_HASH,
    BusinessId,
    EnvelopeId,
    Hash,
    MailboxId,
    RelayId,
)
from kurir_wire.limits import BUCKETS, CLOCK_SKEW, DEFAULT_LIFE_HOURS
from kurir_wire.prekeys import IdentityPublic

ENVELOPE_ID_BYTES: Final = 16
STARTS_AHEAD: Final = CLOCK_SKEW + HOUR
"""Seconds by which a session may seem to start in the future. Of several that one starts within a
minute each counts as a minute later, and up to 30 requests may wait for a contact who was away."""
_REQUEST_BUCKET: Final = next(
    bucket for bucket in BUCKETS if bucket > REQUEST_BYTES + padding.MAILBOX_SEAL_BYTES
)


@dataclass(frozen=True, slots=True)
class PersonRoute:
    """Into a personal mailbox: its token, and its sealing key."""

    mailbox_id: MailboxId
    token: bytes = field(repr=False)
    key: MailboxKey


@dataclass(frozen=True, slots=True)
class AddressRoute:
    """To the public address of a business: its envelope key."""

    mailbox_id: MailboxId
    envelope_pk: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A submission, and the session as it must be stored before the submission leaves."""

    session: Session
    submission: Submission
    charge_hash: Hash | None = None


class Keys(Protocol):
    """What opening an envelope needs of the store."""

    @property
    def identity(self) -> IdentityKeyPair:
        """Our own identity."""

    @property
    def prekeys(self) -> PreKeyStore:
        """Our own prekeys."""

    def session(self, session_id: bytes) -> Session | None:
        """A session by its id."""

    def known_sessions(self) -> Container[bytes]:
        """Ids of all sessions ever held, against replayed first messages."""


@dataclass(frozen=True, slots=True)
class Unsealed:
    """An envelope without its outer layer, made by somebody who may write into this mailbox."""

    delivery: Delivery
    relay_id: RelayId
    binding: Binding
    data: bytes = field(repr=False)

    @property
    def is_request(self) -> bool:
        """Whether it asks for a fresh session; else it is a message."""
        return restart.is_request(self.data)


@dataclass(frozen=True, slots=True)
class Opened:
    """An envelope, opened and checked.

    ``fresh``: a handshake made this session just now. ``secret`` settles the envelope. ``report``
    would show it to the operator, if it has a category that could be wrong.
    """

    session: Session
    content: Content
    fresh: bool
    used_ec: int | None
    used_kem: int | None
    secret: bytes | None = field(repr=False)
    report: Report | None

    @property
    def peer(self) -> IdentityPublic:
        """Who sent it."""
        return self.session.peer


def make_grant(
    relay_id: RelayId,
    business_id: BusinessId,
    mailbox_id: MailboxId,
    read_key: SigningKeyPair,
    beacon: Beacon,
    ticket: bytes | None = None,
) -> Grant:
    """The customer's permission to answer for a day, counted from the beacon.

    :param ticket: the hash of the entry ticket by which the customer came, if this is to say so
    """
    kind = GrantKind.SERVICE if ticket is None else GrantKind.ENTRY
    named = ticket or NO_HASH
    signed = grant_message(
        relay_id, business_id, mailbox_id, kind, beacon.minute, beacon.nonce, named
    )
    return Grant(kind, beacon.minute, beacon.nonce, named, read_key.sign(signed))


def seal_personal(session: Session, content: Content, route: PersonRoute, now: int) -> Sealed:
    """An envelope for a person.

    :raises MessageTooLongError: the text does not fit the largest bucket
    """
    envelope_id = EnvelopeId(os.urandom(ENVELOPE_ID_BYTES))
    binding = Binding(route.mailbox_id, envelope_id)
    after, data, bucket = encrypt(session, content, binding, address=False)
    body = seal_body(route.key, now, binding, data, bucket)
    submission = Submission(
        route.mailbox_id, envelope_id, body, DEFAULT_LIFE_HOURS, token=route.token
    )
    return Sealed(after, submission)


def seal_to_business(session: Session, content: Content, route: AddressRoute) -> Sealed:
    """An envelope for a business's address.

    :raises MessageTooLongError: the text does not fit the largest bucket
    """
    envelope_id = EnvelopeId(os.urandom(ENVELOPE_ID_BYTES))
    binding = Binding(route.mailbox_id, envelope_id)
    after, data, bucket = encrypt(session, content, binding, address=True)
    body = sealing.seal_to_address(route.envelope_pk, binding, data, bucket)
    return Sealed(after, Submission(route.mailbox_id, envelope_id, body, DEFAULT_LIFE_HOURS))


def seal_request(
    own: IdentityKeyPair, keys: OneUseKeys, route: PersonRoute, now: int
) -> Submission:
    """An envelope that asks a person for a fresh session. To the relay it is like any other."""
    envelope_id = EnvelopeId(os.urandom(ENVELOPE_ID_BYTES))
    binding = Binding(route.mailbox_id, envelope_id)
    data = restart.request(own, keys, binding)
    body = seal_body(route.key, now, binding, data, _REQUEST_BUCKET)
    return Submission(route.mailbox_id, envelope_id, body, DEFAULT_LIFE_HOURS, token=route.token)


def unseal(
    delivery: Delivery,
    seal: MailboxKey | EnvelopeKeyPair,
    relay_id: RelayId,
    payer: BusinessId | None,
    now: int,
) -> Unsealed:
    """Take off the outer layer.

    :param seal: the mailbox's sealing key, or the envelope key of our address
    :param payer: the business that pays for this mailbox, if one does
    :raises CryptoError: it does not open
    :raises MalformedError: its label is not of this payer
    """
    mailbox_id, envelope_id = MailboxId(delivery.mailbox_id), EnvelopeId(delivery.envelope_id)
    label = delivery.label
    if (label is None) != (payer is None) or (label and label.business_id != payer):
        raise MalformedError("the envelope's label names another payer than this mailbox's")
    label_hash = charges.label_hash(label, relay_id, mailbox_id, envelope_id) if label else NO_HASH
    binding = Binding(mailbox_id, envelope_id, label_hash)
    if isinstance(seal, MailboxKey):
        data = sealing.open_with(seal, sealing.week_of(now), binding, delivery.body)
    else:
        data = sealing.open_at_address(seal, binding, delivery.body)
    return Unsealed(delivery, relay_id, binding, data)


def open_message(unsealed: Unsealed, keys: Keys, now: int) -> Opened:
    """Open a message and check everything that can be checked without a store.

    :raises CryptoError: it does not open, was opened before, or comes from nobody we know
    :raises MalformedError: opened, but not a content; or its label does not fit it
    """
    label = unsealed.delivery.label
    opened = _decrypt(unsealed.data, keys, unsealed.binding, now)
    session, used_ec, used_kem, fresh, plain = opened
    content = contents.decode(plain)
    if label is None and (content.category is not None or content.settle_key is not None):
        raise MalformedError("the message claims that a business pays for it; nobody does")
    secret, report = _check_label(content, label, unsealed) if label else (None, None)
    return Opened(session, content, fresh, used_ec, used_kem, secret, report)


def encrypt(
    session: Session, content: Content, binding: Binding, *, address: bool
) -> tuple[Session, bytes, int]:
    """:returns: the session after it, the bytes to seal, and the bucket that they go into
    :raises MessageTooLongError: the text does not fit the largest bucket"""
    plain = contents.encode(content)
    handshake = session.initiated and not session.confirmed
    bucket = padding.bucket_for(len(plain), address=address, handshake=handshake)
    (after,), data = message.encrypt([session], plain, binding)
    return after, data, bucket


def seal_body(key: MailboxKey, now: int, binding: Binding, data: bytes, bucket: int) -> bytes:
    """The outer layer, with the key of this week."""
    week = max(sealing.week_of(now), key.week)
    return sealing.seal_symmetric(key, week, binding, data, bucket)


def _decrypt(
    data: bytes, keys: Keys, binding: Binding, now: int
) -> tuple[Session, int | None, int | None, bool, bytes]:
    for entry in message.inspect(data):
        session = keys.session(entry.session_id)
        if session is not None:
            after, plain = message.decrypt(session, data, binding)
            return after, None, None, False, plain
    accepted = message.accept(
        keys.identity,
        keys.prekeys,
        data,
        binding,
        known_sessions=keys.known_sessions(),
        latest_start=(now + STARTS_AHEAD) // MINUTE,
    )
    return (
        accepted.session,
        accepted.used_one_time_ec,
        accepted.used_one_time_kem,
        True,
        accepted.content,
    )


def _check_label(content: Content, label: Label, unsealed: Unsealed) -> tuple[bytes, Report | None]:
    """:returns: the settlement secret, and what would show this message to the operator"""
    delivery = unsealed.delivery
    mailbox_id, envelope_id = MailboxId(delivery.mailbox_id), EnvelopeId(delivery.envelope_id)
    settle_key, business_id = content.settle_key, BusinessId(label.business_id)
    if settle_key is None or content.category != label.category:
        raise MalformedError("the message says another category inside than outside")
    secret = settlement_secret(settle_key, envelope_id)
    if not hmac.compare_digest(charges.lock_of(secret), label.lock):
        raise MalformedError("the message cannot be settled: its lock is not the label's")
    frank = frank_of(
        content,
        settle_key,
        unsealed.relay_id,
        business_id,
        mailbox_id,
        envelope_id,
        label.category,
    )
    if not hmac.compare_digest(frank, label.frank):
        raise MalformedError("the message could not be reported: its tag is not the label's")
    if label.category == Category.NONE:
        return secret, None
    place, franked = place_hash(mailbox_id, envelope_id), contents.franked_bytes(content)
    report = Report(business_id, place, label.category, franked, settle_key, label.lock)
    return secret, report


def frank_of(
    content: Content,
    settle_key: bytes,
    relay_id: RelayId,
    business_id: BusinessId,
    mailbox_id: MailboxId,
    envelope_id: EnvelopeId,
    category: int,
) -> bytes:
    place, franked = place_hash(mailbox_id, envelope_id), contents.franked_bytes(content)
    return frank_tag(settle_key, relay_id, business_id, place, category, franked)
