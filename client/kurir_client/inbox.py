"""What arrives: opened, checked, stored and answered with an acknowledgement, each exactly once.

Plaintext, ratchet state and the seen-id go into one transaction, and only then is there an
acknowledgement to send. An envelope that cannot be opened is acknowledged without a settlement
secret, and the person is told.
"""

from __future__ import annotations

from typing import Final

from kurir_billing.errors import BillingError
from kurir_billing.report import packed_report
from kurir_client import healing, sessions
from kurir_client.content import HELLO, TEXT, Content, Destination
from kurir_client.engine import Opened, Unsealed, open_message, unseal
from kurir_client.errors import PeerError, RelayError
from kurir_client.evidence import forget, learn_grant
from kurir_client.outbox import queue
from kurir_client.profile import Keyring, Profile, clean_name
from kurir_client.schema import Contact, Kind, Mailbox, Role, Status
from kurir_client.store import Store
from kurir_crypto.errors import (
    AuthenticationError,
    CryptoError,
    MissingPreKeyError,
    ReplayError,
    SkippedTooFarError,
    StartedLaterError,
    UnknownSessionError,
)
from kurir_crypto.sealing import EnvelopeKeyPair, MailboxKey, week_of
from kurir_wire.codec import pack, unpack
from kurir_wire.entries import Ack, Delivery
from kurir_wire.errors import WireError
from kurir_wire.ids import DAY, BusinessId, business_id_of

OUT_OF_STEP: Final = (
    AuthenticationError,
    ReplayError,
    UnknownSessionError,
    SkippedTooFarError,
    MissingPreKeyError,
    StartedLaterError,
)
"""What an honest contact's message fails with if their sessions or ours were set back: their keys
repeat (a replay within a new envelope), or are of a state that is not here. Or if one of the clocks
was wrong when the session was started."""


def receive(profile: Profile, delivery: Delivery, now: int) -> Ack:
    """Deal with one delivery.

    :raises RelayError: it is for no mailbox of ours
    :raises ProfileError: it could not be stored; the relay will deliver it again
    """
    store = profile.store
    with store.transaction():
        seen = store.seen(delivery.mailbox_id, delivery.envelope_id)
        if seen is not None:
            return Ack(delivery.mailbox_id, delivery.envelope_id, seen[0])
        mailbox = store.mailbox(delivery.mailbox_id)
        if mailbox is None:
            raise RelayError("the relay delivered into a mailbox that is not ours")
        unsealed = secret = None
        try:
            with store.savepoint():
                unsealed = _unseal(profile, mailbox, delivery, now)
                secret = _take_in(profile, mailbox, unsealed, now)
        except (CryptoError, WireError, BillingError, PeerError) as error:
            # What opens at the outer layer was made by the contact whose mailbox it is.
            from_contact = unsealed is not None and mailbox.contact is not None
            if from_contact and isinstance(error, OUT_OF_STEP):
                _out_of_step(profile, mailbox, error, now)
            elif not isinstance(error, ReplayError):  # else it was shown before
                _unreadable(profile, mailbox, error, now)
        store.mark_seen(delivery.mailbox_id, delivery.envelope_id, secret, now // DAY)
    return Ack(delivery.mailbox_id, delivery.envelope_id, secret)


def _unseal(profile: Profile, mailbox: Mailbox, delivery: Delivery, now: int) -> Unsealed:
    store = profile.store
    payer = None
    if mailbox.role is Role.PAYER and mailbox.contact is not None:
        business_id = store.contact(mailbox.contact).business_id
        payer = None if business_id is None else BusinessId(business_id)
    if mailbox.role is not Role.ADDRESS:
        seal = MailboxKey.from_bytes(mailbox.seal)
        kept = seal.forget(week_of(now))
        if kept.week != seal.week:
            store.set_mailbox(mailbox.id, seal=kept.to_bytes())
        return unseal(delivery, kept, profile.relay_id, payer, now)
    failure: CryptoError | None = None
    for secret in store.envelope_keys():
        try:
            key = EnvelopeKeyPair.from_bytes(secret)
            return unseal(delivery, key, profile.relay_id, None, now)
        except CryptoError as error:
            failure = failure or error
    raise failure or PeerError("this profile has no envelope key")


def _take_in(profile: Profile, mailbox: Mailbox, unsealed: Unsealed, now: int) -> bytes | None:
    """:returns: the secret that settles the envelope, if it is to be settled"""
    if unsealed.is_request:
        if mailbox.contact is None:
            raise PeerError("somebody asks for fresh keys whom you do not know")
        contact = profile.store.contact(mailbox.contact)
        healing.answer(profile, contact, unsealed.data, unsealed.binding, now)
        return None
    opened = open_message(unsealed, Keyring(profile.store, profile.identity), now)
    # A copy of a message that was shown before is not paid for a second time.
    return opened.secret if _apply(profile, mailbox, opened, now) else None


def _apply(profile: Profile, mailbox: Mailbox, opened: Opened, now: int) -> bool:
    """:returns: whether the message is a new one"""
    store, content = profile.store, opened.content
    contact = _contact_of(profile, mailbox, opened)
    if opened.fresh:
        sessions.add(store, contact.id, opened.session, now)
    else:
        store.put_session(opened.session.id, contact.id, opened.session.to_bytes())
        if store.is_archived(opened.session.id):
            # They may prefer it to the fresh one: then each session would go one way for ever, and
            # neither would heal.
            _want_session(store, contact, now)
    store.drop_used(opened.used_ec, opened.used_kem)
    if opened.fresh:
        store.set_contact(contact.id, introduced=False)
    elif mailbox.id == contact.own_mailbox and not contact.introduced:
        store.set_contact(contact.id, introduced=True)
        for old in store.mailboxes("live"):
            if old.role is Role.INVITE and old.contact == contact.id:
                store.set_mailbox(old.id, state="closing")
    moved = content.intro is not None and _learn_address(profile, contact, content, now)
    if content.grant is not None and contact.kind == Kind.CUSTOMER:
        own = _own_business(profile)
        learn_grant(store, contact.id, content.grant, profile.relay_id, own)
    if not store.first_time(contact.id, content.inner_id, now // DAY):
        return False
    if content.kind == TEXT:
        number = store.add_message(
            contact.id,
            content.inner_id,
            "in",
            content.text,
            content.sent_at,
            Status.UNREAD,
            content.category,
        )
        if opened.report is not None:
            store.keep_reportable(number, packed_report(opened.report), now // DAY)
    elif content.kind != HELLO:
        text = "a message of a kind that this kurir does not know; update to read it"
        store.add_message(contact.id, content.inner_id, "note", text, now, Status.UNREAD)
    if moved and contact.kind == Kind.PERSON and contact.own_mailbox is not None:
        # Heard at the new place, the other side can close the invite's mailbox.
        queue(store, contact.id, HELLO, "", now)
    return True


def _contact_of(profile: Profile, mailbox: Mailbox, opened: Opened) -> Contact:
    store, peer = profile.store, opened.peer
    known = None if opened.fresh else store.session(opened.session.id)
    if known is not None:
        if mailbox.contact not in (None, known[0]):
            raise PeerError("a message came through somebody else's mailbox and was not shown")
        return store.contact(known[0])
    contact = store.contact_by_key(peer.sign_pk)
    if contact is not None and contact.identity != pack(peer):
        raise PeerError(f"{contact.name} came with another key; nothing was shown")
    if mailbox.contact is not None and (contact is None or contact.id != mailbox.contact):
        raise PeerError("somebody else used a way in that is another contact's")
    contact = contact or _new_contact(profile, mailbox, opened)
    accepted = mailbox.id if mailbox.role is Role.INVITE and mailbox.contact is None else None
    if accepted is None and opened.used_ec is not None:
        # Whoever knew another way to us already may come by that, with the invite's prekeys.
        invite = store.invite_with(opened.used_ec)
        accepted = None if invite is None else invite.mailbox
    if accepted is not None:
        store.set_mailbox(accepted, contact=contact.id)
        store.set_invite(accepted, used=True)
        text = f"{contact.name} accepted your invite"
        store.add_message(contact.id, None, "note", text, profile.clock(), Status.UNREAD)
    return contact


def _new_contact(profile: Profile, mailbox: Mailbox, opened: Opened) -> Contact:
    store, intro = profile.store, opened.content.intro
    if intro is None:
        raise PeerError("a stranger wrote without saying where to answer")
    kind = Kind.CUSTOMER if mailbox.role is Role.ADDRESS else Kind.PERSON
    contact = store.add_contact(
        clean_name(intro.name),
        kind,
        sign_pk=opened.peer.sign_pk,
        identity=pack(opened.peer),
        own_mailbox=mailbox.id if mailbox.role is Role.ADDRESS else None,
    )
    return contact


def _learn_address(profile: Profile, contact: Contact, content: Content, now: int) -> bool:
    """:returns: whether the mailbox is a new one"""
    if content.intro is None:
        return False
    address = content.intro.address
    if (address.market is not None) != (contact.kind == Kind.CUSTOMER):
        raise PeerError(f"{contact.name} asks for answers into a mailbox of the wrong kind")
    there = Destination.of(address, profile.relay_id, _own_business(profile))
    former = None if contact.address is None else unpack(contact.address, Destination)
    there, store = there.forward(week_of(now)), profile.store
    if former is None or not former.is_same_place(there):
        store.set_contact(contact.id, address=pack(there), market=address.market)
        forget(store, contact.id)
        return True
    if there.week < former.week:  # ours was of a wrong clock
        store.set_contact(contact.id, address=pack(there))
    return False


def _own_business(profile: Profile) -> BusinessId | None:
    root_pk = profile.store.get("business_root_pk")
    return None if root_pk is None else business_id_of(root_pk)


def _out_of_step(profile: Profile, mailbox: Mailbox, error: CryptoError, now: int) -> None:
    """A contact wrote what no key here opens: one of the two states was set back, so that fresh
    keys are needed. It may be our own, restored together with its mark."""
    store = profile.store
    if mailbox.contact is None:
        return
    contact = store.contact(mailbox.contact)
    if mailbox.role is Role.INVITE and isinstance(error, MissingPreKeyError):
        _unreadable(profile, mailbox, error, now)  # of the second one who tried this invite
        return
    _want_session(store, contact, now)
    if contact.kind == Kind.PERSON:
        then = "what they sent in the past week comes again by itself"
    else:
        then = "ask them to send it again if it matters"
    # The words must not change with each minute: the same note is kept once.
    is_early = isinstance(error, StartedLaterError)
    why = "their clock was ahead, or this one is behind" if is_early else str(error)
    text = (
        f"a message from {contact.name} could not be read: {why}. "
        f"Fresh keys are being agreed; {then}"
    )
    store.add_note(contact.id, text, now)


def _want_session(store: Store, contact: Contact, now: int) -> None:
    match contact.kind:
        case Kind.PERSON:
            healing.ask(store, contact, now)
        case Kind.BUSINESS:
            store.set_contact(contact.id, wants_session=True)
        case Kind.CUSTOMER:
            pass  # only they can start one: by our card, when they next look at it


def _unreadable(profile: Profile, mailbox: Mailbox, error: Exception, now: int) -> None:
    who = ""
    if mailbox.contact is not None:
        who = f" from {profile.store.contact(mailbox.contact).name}"
    text = f"a message{who} could not be read: {error}"
    if isinstance(error, MissingPreKeyError) and mailbox.role is Role.INVITE:
        text = "somebody else tried an invite that was used already; nothing was shown"
    profile.store.add_note(mailbox.contact, text, now)
