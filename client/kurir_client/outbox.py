"""What goes out: queued as plaintext, encrypted when the relay is there, resent byte for byte.

A row is *queued* until it is encrypted, then *wired*: its bytes and the advanced session are stored
in one transaction before they leave. What the relay has is off the outbox. Order within a contact
is the order in which the person wrote.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from kurir_billing.errors import BillingError
from kurir_billing.kinds import Category
from kurir_client import paid, sessions
from kurir_client import terms as own_terms
from kurir_client.addresses import destination, forward_key, introduction
from kurir_client.charging import opens_window, seal_for_customer, take_receipt, take_refusal
from kurir_client.content import HELLO, RESTART, Content
from kurir_client.engine import (
    AddressRoute,
    PersonRoute,
    Sealed,
    make_grant,
    seal_personal,
    seal_request,
    seal_to_business,
)
from kurir_client.errors import PeerError, RefusedError
from kurir_client.mail import NOT_SHOWN
from kurir_client.paid import Unsigned
from kurir_client.pause import FULL_PAUSE, Pause
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Kind, Mailbox, Outgoing, Status
from kurir_client.store import Store
from kurir_crypto.errors import CryptoError, MessageTooLongError
from kurir_crypto.keys import SigningKeyPair
from kurir_crypto.session import Session
from kurir_wire import codes
from kurir_wire.beacons import Beacon
from kurir_wire.cards import TIER_SMALL, open_business_card
from kurir_wire.codec import pack, unpack
from kurir_wire.entries import Result, Submission
from kurir_wire.errors import ExpiredError, WireError
from kurir_wire.ids import DAY, HOUR, MailboxId
from kurir_wire.relaycert import RelayCert

REWIRE_AFTER: Final = HOUR
"""Seconds after which unanswered bytes are encrypted anew under the same inner id. Charges are not:
their signed bytes stay the same until the relay signs a refusal."""
BATCH_BYTES: Final = 700_000
"""Bytes of one submit frame, well under the frame limit."""
BATCH: Final = 64
"""Envelopes of one submit frame."""
INNER_ID_BYTES: Final = 16
RETRY_CODES: Final = (codes.RATE, codes.FULL, codes.UNAVAILABLE)
"""What passes by itself: wait and send the same bytes."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A row whose bytes are durable and may leave."""

    row: Outgoing
    submission: Submission


def queue(
    store: Store,
    contact_id: int,
    kind: int,
    text: str,
    now: int,
    max_price: int = 0,
    inner_id: bytes | None = None,
    category: Category = Category.NONE,
) -> bytes:
    """Put a message into the outbox, inside the running transaction.

    :param inner_id: 16 bytes that name what is said; the same again is not said twice
    :returns: its inner id
    """
    if inner_id is None:
        inner_id = os.urandom(INNER_ID_BYTES)
    elif store.message_sent(inner_id) is not None:
        return inner_id
    store.add_outgoing(contact_id, inner_id, kind, text, now, max_price, category)
    if kind not in NOT_SHOWN:
        store.add_message(contact_id, inner_id, "out", text, now, Status.QUEUED)
    return inner_id


def prepare(profile: Profile, beacon: Beacon, now: int, slow: Collection[int] = ()) -> list[Ready]:
    """Encrypt what waits and can go, oldest first, up to one frame's worth. Charges of one frame
    are signed together.

    A contact whose next message cannot go holds back the later ones of that contact only.

    :param slow: contacts that the relay asked to leave alone for now
    :raises ProfileError: the disk fails; nothing may leave
    """
    store = profile.store
    batch: list[tuple[Outgoing, Submission | Unsigned]] = []
    size = 0
    held: set[int] = set()
    with store.transaction():
        for row in store.outgoing(BATCH * 4, now, slow):
            if row.contact in held or len(batch) == BATCH:
                continue
            item = _wired(profile, row, beacon, now)
            if item is None:
                if store.one_outgoing(row.n) is not None:
                    held.add(row.contact)  # one that was given up holds nothing back
                continue
            submission = item.submission if isinstance(item, Unsigned) else item
            if opens_window(item):
                held.add(row.contact)  # what follows is covered by it, once it is accepted
            batch.append((row, item))
            size += len(submission.body)
            if size >= BATCH_BYTES:
                break
        ready = _signed(store, batch, now)
    if ready:
        profile.raise_mark()
    return ready


def _signed(
    store: Store, batch: list[tuple[Outgoing, Submission | Unsigned]], now: int
) -> list[Ready]:
    """Sign what is not signed yet, and make it durable before it leaves."""
    unsigned = [(row, item) for row, item in batch if isinstance(item, Unsigned)]
    signed: dict[int, Submission] = {}
    if unsigned:
        lane_key = SigningKeyPair.from_seed(store.need("lane_seed"))
        items = [item for _, item in unsigned]
        terms = own_terms.known(store)
        is_small = terms is not None and terms.tier == TIER_SMALL  # its lists are refused
        sealed = [
            made
            for together in ([[item] for item in items] if is_small else [items])
            for made in paid.sign(lane_key, together)
        ]
        for (row, _), made in zip(unsigned, sealed, strict=True):
            store.wire_outgoing(row.n, pack(made.submission), now, made.charge_hash)
            signed[row.n] = made.submission
    ready = []
    for row, item in batch:
        submission = signed[row.n] if isinstance(item, Unsigned) else item
        ready.append(Ready(store.one_outgoing(row.n) or row, submission))
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
            _stored(profile, current, result, cert)
        elif result is not None and result.data is not None:  # a signed refusal
            verdict = take_refusal(profile, current, result, result.data, cert)
            if not isinstance(verdict, str):
                return verdict
            _give_up(store, current, verdict)
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


def _wired(
    profile: Profile, row: Outgoing, beacon: Beacon, now: int
) -> Submission | Unsigned | None:
    """Inside the running transaction.

    :returns: what may leave, or what is to be signed before; None if the row cannot go now
    """
    store, n = profile.store, row.n
    old = row.wired_at is not None and now - row.wired_at >= REWIRE_AFTER
    if row.wire is not None and (not old or row.charge_hash is not None):
        return unpack(row.wire, Submission)
    contact = store.contact(row.contact)
    if contact.state != "active":
        return None
    contact = forward_key(store, contact, now)
    if row.kind == RESTART:
        submission = _seal_request(profile, contact, now)
        store.wire_outgoing(n, pack(submission), now)
        store.set_contact(contact.id, asked_at=now)
        return submission
    session = sessions.to_send_on(store, contact.id, now)
    if session is None:
        return None
    try:
        with store.savepoint():
            sealed = _seal(profile, contact, session, row, beacon, now)
            sessions.sent_on(store, contact.id, sealed.session)
            if isinstance(sealed, Sealed):
                store.wire_outgoing(n, pack(sealed.submission), now)
    except ExpiredError:
        return None  # it waits for a new card; each connection looks for one
    except RefusedError as error:
        _give_up(store, row, f"{error.what}; {error.hint}" if error.hint else error.what)
        return None
    except (MessageTooLongError, PeerError, CryptoError, BillingError) as error:
        _give_up(store, row, str(error))
        return None
    return sealed if isinstance(sealed, Unsigned) else sealed.submission


def _seal_request(profile: Profile, contact: Contact, now: int) -> Submission:
    keys = profile.store.new_one_use_keys(profile.identity, now // DAY)
    return seal_request(profile.identity, keys, _to_person(contact), now)


def _to_person(contact: Contact) -> PersonRoute:
    there = destination(contact)
    return PersonRoute(MailboxId(there.mailbox_id), there.opening, there.mailbox_key)


def _seal(
    profile: Profile, contact: Contact, session: Session, row: Outgoing, beacon: Beacon, now: int
) -> Sealed | Unsigned:
    content = Content(
        row.kind, row.inner_id, row.seq, row.made_at, row.text, introduction(profile, contact, now)
    )
    match contact.kind:
        case Kind.PERSON:
            return seal_personal(session, content, _to_person(contact), now)
        case Kind.BUSINESS:
            return _seal_to_business(profile, contact, content, session, beacon, now)
        case Kind.CUSTOMER:
            return seal_for_customer(profile, contact, content, session, row, beacon, now)


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
        ticket = _ticket_to_name(store, contact, own, content.seq, beacon)
        grant = make_grant(
            profile.relay_id, card.business_id, MailboxId(own.id), read_key, beacon, ticket
        )
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


def _ticket_to_name(
    store: Store, contact: Contact, own: Mailbox, seq: int, beacon: Beacon
) -> bytes | None:
    """The entry ticket, in the first message of somebody who came by an entry link, while the link
    counts and their mailbox is new. The same message names it again if it is encrypted anew."""
    came = store.came_by(contact.id)
    if came is None or came.seq not in (None, seq):
        return None
    is_new = beacon.time < own.born_hour * HOUR + DAY
    if came.seq is None:
        store.set_came_by(replace(came, seq=seq))
    return came.ticket if is_new and beacon.time < came.not_after else None


def _stored(profile: Profile, row: Outgoing, result: Result | None, cert: RelayCert) -> None:
    store = profile.store
    price = category = None
    if row.charge_hash is not None:
        data = None if result is None else result.data
        price, category = take_receipt(profile, row, data, cert) or (None, None)
    store.drop_outgoing(row.n)
    store.set_message(row.inner_id, Status.STORED, price, category)


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
