"""What goes out: queued as plaintext, encrypted when the relay is there, resent byte for byte.

A row is *queued* until it is encrypted, then *wired*: its bytes and the advanced session are stored
in one transaction before they leave. What the relay has is off the outbox. Order within a contact
is the order in which the person wrote.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from kurir_billing import charge as charges
from kurir_billing.errors import BillingError
from kurir_billing.grant import Grant
from kurir_billing.kinds import REFUSAL_TEXT, RefusalCode
from kurir_client import sessions
from kurir_client.addresses import destination, forward_key, introduction
from kurir_client.content import HELLO, RESTART, Content
from kurir_client.engine import (
    AddressRoute,
    PaidRoute,
    PersonRoute,
    Sealed,
    Terms,
    make_grant,
    seal_paid,
    seal_personal,
    seal_request,
    seal_to_business,
)
from kurir_client.errors import PeerError, RefusedError, RelayError
from kurir_client.mail import NOT_SHOWN
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Kind, Outgoing, Status
from kurir_client.store import Store
from kurir_client.terms import charge_terms
from kurir_crypto.errors import CryptoError, MessageTooLongError
from kurir_crypto.keys import SigningKeyPair
from kurir_crypto.session import Session
from kurir_wire import codes
from kurir_wire.beacons import Beacon
from kurir_wire.cards import open_business_card
from kurir_wire.codec import pack, unpack
from kurir_wire.entries import Result, Submission
from kurir_wire.errors import ExpiredError, WireError
from kurir_wire.ids import DAY, HOUR, MailboxId, business_id_of
from kurir_wire.relaycert import RelayCert

REWIRE_AFTER: Final = HOUR
"""Seconds after which unanswered bytes are encrypted anew under the same inner id. Charges are not:
their signed bytes stay the same until the relay signs a refusal."""
STALE_AFTER: Final = DAY - HOUR
"""Seconds after which a refusal of a charge may be for the age of its beacon: it is signed anew."""
BATCH_BYTES: Final = 700_000
"""Bytes of one submit frame, well under the frame limit."""
BATCH: Final = 64
"""Envelopes of one submit frame."""
PACE: Final = 6
"""Seconds between two messages to one customer where the relay names no other pause."""
FULL_PAUSE: Final = 30
"""Seconds until a full mailbox is tried again: its reader has to come first."""
INNER_ID_BYTES: Final = 16
RETRY_CODES: Final = (codes.RATE, codes.FULL, codes.UNAVAILABLE)
"""What passes by itself: wait and send the same bytes."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A row whose bytes are durable and may leave."""

    row: Outgoing
    submission: Submission


@dataclass(frozen=True, slots=True)
class Pause:
    """Something passes by itself: wait so many seconds; ``code`` says what it is."""

    seconds: int
    code: str

    @property
    def why(self) -> str:
        """What happened, in words."""
        match self.code:
            case codes.UNAVAILABLE:
                return "the relay cannot write to its disk at present"
            case codes.FULL:
                return "their mailbox is full until they read it"
            case _:
                return "the relay asks to slow down"


def queue(
    store: Store,
    contact_id: int,
    kind: int,
    text: str,
    now: int,
    max_price: int = 0,
    inner_id: bytes | None = None,
) -> bytes:
    """Put a message into the outbox, inside the running transaction.

    :param inner_id: 16 bytes that name what is said; the same again is not said twice
    :returns: its inner id
    """
    if inner_id is None:
        inner_id = os.urandom(INNER_ID_BYTES)
    elif store.message_sent(inner_id) is not None:
        return inner_id
    store.add_outgoing(contact_id, inner_id, kind, text, now, max_price)
    if kind not in NOT_SHOWN:
        store.add_message(contact_id, inner_id, "out", text, now, Status.QUEUED)
    return inner_id


def prepare(profile: Profile, beacon: Beacon, now: int, slow: Collection[int] = ()) -> list[Ready]:
    """Encrypt what waits and can go, oldest first, up to one frame's worth.

    A contact whose next message cannot go holds back the later ones of that contact only.

    :param slow: contacts that the relay asked to leave alone for now
    :raises ProfileError: the disk fails; nothing may leave
    """
    ready: list[Ready] = []
    size = 0
    held: set[int] = set()
    for row in profile.store.outgoing(BATCH * 4, slow):
        if row.contact in held or len(ready) == BATCH:
            continue
        item = _wired(profile, row.n, beacon, now)
        if item is None:
            if profile.store.one_outgoing(row.n) is not None:
                held.add(row.contact)  # one that was given up holds nothing back
            continue
        if size + len(item.submission.body) > BATCH_BYTES:
            break
        size += len(item.submission.body)
        ready.append(item)
    if ready:
        profile.raise_mark()
    return ready


def answered(
    profile: Profile, ready: Ready, result: Result | None, cert: RelayCert
) -> Pause | None:
    """Take in what the relay said to one submission.

    :returns: how long to wait before going on, or None
    """
    store, row = profile.store, ready.row
    code = result.code if result else codes.OK
    with store.transaction():
        current = store.one_outgoing(row.n)
        if current is None or current.wire != row.wire:
            return None  # another process dealt with it
        if code == codes.OK:
            _stored(store, current, result, cert)
        elif result is not None and result.data is not None:  # a signed refusal
            if _refused(profile, current, result.data, cert):
                return Pause(result.retry_after or PACE, codes.RATE)
        elif code in RETRY_CODES and result is not None:
            return Pause(result.retry_after or FULL_PAUSE, code)
        elif _can_seal_anew(profile, current, code):
            store.wire_outgoing(row.n, None, None)
        else:
            detail = result.detail if result else ""
            contact = store.contact(current.contact)
            if code == codes.NO_MAILBOX and contact.kind == Kind.PERSON and _by_invite(contact):
                detail = "the invite was used by somebody else, or withdrawn; ask for a new one"
            _give_up(store, current, detail or f"the relay answered {code}")
            if current.kind == RESTART and code == codes.NO_MAILBOX:
                # There is no other way to them: what waits for fresh keys would wait for ever.
                for row in store.waiting_for(contact.id):
                    _give_up(store, row, "their mailbox is gone; meet again by a new invite")
    return None


def _wired(profile: Profile, n: int, beacon: Beacon, now: int) -> Ready | None:
    """:returns: None if the row cannot go now"""
    store = profile.store
    with store.transaction():
        row = store.one_outgoing(n)
        if row is None:
            return None
        old = row.wired_at is not None and now - row.wired_at >= REWIRE_AFTER
        if row.wire is not None and (not old or row.charge_hash is not None):
            return Ready(row, unpack(row.wire, Submission))
        contact = store.contact(row.contact)
        if contact.state != "active":
            return None
        contact = forward_key(store, contact, now)
        if row.kind == RESTART:
            submission = _seal_request(profile, contact, now)
            store.wire_outgoing(n, pack(submission), now)
            store.set_contact(contact.id, asked_at=now)
            return Ready(store.one_outgoing(n) or row, submission)
        session = sessions.to_send_on(store, contact.id, now)
        if session is None:
            return None
        try:
            with store.savepoint():
                sealed = _seal(profile, contact, session, row, beacon, now)
                sessions.sent_on(store, contact.id, sealed.session)
                wire = pack(sealed.submission)
                store.wire_outgoing(n, wire, now, sealed.charge_hash)
        except ExpiredError:
            return None  # it waits for a new card; each connection looks for one
        except (MessageTooLongError, RefusedError, PeerError, CryptoError, BillingError) as error:
            _give_up(store, row, str(error))
            return None
        row = store.one_outgoing(n)
    return None if row is None else Ready(row, sealed.submission)


def _seal_request(profile: Profile, contact: Contact, now: int) -> Submission:
    keys = profile.store.new_one_use_keys(profile.identity, now // DAY)
    return seal_request(profile.identity, keys, _to_person(contact), now)


def _to_person(contact: Contact) -> PersonRoute:
    there = destination(contact)
    return PersonRoute(MailboxId(there.mailbox_id), there.opening, there.mailbox_key)


def _seal(
    profile: Profile, contact: Contact, session: Session, row: Outgoing, beacon: Beacon, now: int
) -> Sealed:
    content = Content(
        row.kind, row.inner_id, row.seq, row.made_at, row.text, introduction(profile, contact, now)
    )
    match contact.kind:
        case Kind.PERSON:
            return seal_personal(session, content, _to_person(contact), now)
        case Kind.BUSINESS:
            return _seal_to_business(profile, contact, content, session, beacon, now)
        case Kind.CUSTOMER:
            return _seal_paid(profile, contact, content, session, row, beacon, now)


def _seal_to_business(
    profile: Profile, contact: Contact, content: Content, session: Session, beacon: Beacon, now: int
) -> Sealed:
    store = profile.store
    if contact.card is None or contact.own_mailbox is None:
        raise PeerError(f"{contact.name} is not set up; add it again by its link")
    own = store.mailbox(contact.own_mailbox)
    if own is None:
        raise PeerError(f"{contact.name} is not set up; add it again by its link")
    try:
        card = open_business_card(contact.card, now)
    except ExpiredError:
        raise
    except WireError as error:
        raise PeerError(f"{error}; add {contact.name} again by its link") from error
    grant = None
    if content.kind != HELLO:  # the window opens when the person writes, not when devices agree
        read_key = SigningKeyPair.from_seed(own.read_seed)
        grant = make_grant(profile.relay_id, card.business_id, MailboxId(own.id), read_key, beacon)
    full = Content(
        content.kind,
        content.inner_id,
        content.seq,
        content.sent_at,
        content.text,
        content.intro,
        grant,
    )
    return seal_to_business(session, full, AddressRoute(card.address_id, card.envelope_pk))


def _seal_paid(
    profile: Profile,
    contact: Contact,
    content: Content,
    session: Session,
    row: Outgoing,
    beacon: Beacon,
    now: int,
) -> Sealed:
    store = profile.store
    there = destination(contact)
    line = unpack(row.quote, charges.Line) if row.quote else None
    line, grant = charge_terms(store, contact, line, now)
    if line.list_price > row.max_price:
        code = RefusalCode.OUTSIDE_WINDOW
        raise RefusedError(REFUSAL_TEXT[code], "", code, line.list_price)
    lane = unpack(store.need("lane"), charges.Lane)
    lane_key = SigningKeyPair.from_seed(store.need("lane_seed"))
    seq = store.count_up("lane_seq")
    route = PaidRoute(MailboxId(there.mailbox_id), there.opening, there.mailbox_key)
    terms = Terms(line, grant, beacon, lane, lane_key, seq)
    sealed = seal_paid(session, content, route, terms, profile.relay_id, now)
    if sealed.charge_hash is not None:
        store.add_charge(sealed.charge_hash, row.inner_id, pack(line))
    return sealed


def _stored(store: Store, row: Outgoing, result: Result | None, cert: RelayCert) -> None:
    price = None
    if row.charge_hash is not None:
        if result is None or result.data is None:
            raise RelayError("the relay accepted a charge without a receipt")
        receipt = charges.open_receipt(result.data)
        receipt.verify(cert.receipt_pk)
        if receipt.charge != row.charge_hash:
            raise RelayError("the relay's receipt is for another charge")
        store.set_charge(row.charge_hash, "accepted", result.data)
        own = store.charge(row.charge_hash)
        price = unpack(own.line, charges.Line).list_price if own else None
    store.drop_outgoing(row.n)
    store.set_message(row.inner_id, Status.STORED, price)


def _refused(profile: Profile, row: Outgoing, data: bytes, cert: RelayCert) -> bool:
    """:returns: whether only time is missing"""
    store = profile.store
    refusal = charges.open_refusal(data)
    business_id = business_id_of(store.need("business_root_pk"))
    refusal.verify(cert.receipt_pk, profile.relay_id, business_id)
    if row.charge_hash is None or refusal.charge != row.charge_hash:
        raise RelayError("the relay refused another charge than the one that was sent")
    store.set_charge(row.charge_hash, "refused", data)
    quote = refusal.quote.line if refusal.quote else None
    if quote is not None and row.quote is None and _has_written_since(profile, row):
        store.wire_outgoing(row.n, None, None)
        return False
    if quote is not None and row.quote is None and quote.list_price <= row.max_price:
        # Whether the quote is right is checked when it is signed, under the card that it names.
        store.put("rate_card_wanted", quote.rate_card)
        store.accept_quote(row.n, pack(quote))
        return False
    code = RefusalCode(refusal.code)
    stale = row.wired_at is not None and refusal.now - row.wired_at >= STALE_AFTER
    if code in (RefusalCode.RATE_LIMIT, RefusalCode.PAIR_RATE) or stale:
        store.wire_outgoing(row.n, None, None)
        return not stale
    price = f"; it would cost {quote.list_price} micro-USD now" if quote else ""
    _give_up(store, row, f"{REFUSAL_TEXT[code]} ({code}){price}")
    return False


def _has_written_since(profile: Profile, row: Outgoing) -> bool:
    """Whether an open window is at hand that a refused charge did not rest on yet."""
    permit = profile.store.contact(row.contact).permit
    charge = unpack(row.wire, Submission).charge if row.wire is not None else None
    if permit is None or charge is None:
        return False
    grant, shown = unpack(permit, Grant), charges.open_charge(charge).grant
    return grant != shown and grant.is_open(profile.clock())


def _can_seal_anew(profile: Profile, row: Outgoing, code: str) -> bool:
    """Whether other bytes for the same message may succeed: under another envelope id, or into the
    mailbox that the contact has told since."""
    if code == codes.CONFLICT:
        return row.charge_hash is None
    contact = profile.store.contact(row.contact)
    if code != codes.NO_MAILBOX or row.wire is None or contact.kind != Kind.PERSON:
        return False
    return unpack(row.wire, Submission).mailbox_id != destination(contact).mailbox_id


def _by_invite(contact: Contact) -> bool:
    """Whether the invite is all that we know of where to write."""
    return contact.address is not None and destination(contact).read_pk is None


def _give_up(store: Store, row: Outgoing, why: str) -> None:
    store.drop_outgoing(row.n)
    if row.kind in NOT_SHOWN:
        return
    store.set_message(row.inner_id, Status.FAILED)
    name = store.contact(row.contact).name
    text = f"a message to {name} was not sent: {why}"
    store.add_message(row.contact, row.inner_id, "note", text, row.made_at, Status.UNREAD)
