"""What arrives: opened, checked, stored and answered with an acknowledgement, each exactly once.

Plaintext, ratchet state and the seen-id go into one transaction, and only then is there an
acknowledgement to send. An envelope that cannot be opened is acknowledged without a settlement
secret, and the person is told.
"""

from __future__ import annotations

from typing import Final

from kurir_billing.errors import BillingError
from kurir_billing.grant import Grant, check_grant
from kurir_client.content import HELLO, TEXT, Content, Destination
from kurir_client.engine import Opened, open_delivery
from kurir_client.errors import PeerError, RelayError
from kurir_client.outbox import queue
from kurir_client.profile import Keyring, Profile, clean_name
from kurir_client.schema import Contact, Kind, Mailbox, Role, Status
from kurir_crypto.errors import CryptoError, MissingPreKeyError, ReplayError
from kurir_crypto.sealing import EnvelopeKeyPair, MailboxKey, week_of
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import WireError
from kurir_wire.frames import Ack, Delivery
from kurir_wire.ids import DAY, BusinessId, MailboxId, business_id_of

ENVELOPE_KEYS: Final = ("envelope_key", "envelope_key_before")
"""``meta`` names of the envelope keys of our address: the current one, and the one before it."""


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
        try:
            with store.savepoint():
                opened = _open(profile, mailbox, delivery, now)
                # A copy of a message that was shown before is not paid for a second time.
                secret = opened.secret if _apply(profile, mailbox, opened, now) else None
        except ReplayError:
            secret = None  # it was shown before; showing a note for each would be a way to annoy
        except (CryptoError, WireError, BillingError, PeerError) as error:
            secret = None
            text = _unreadable(profile, mailbox, error)
            if isinstance(error, MissingPreKeyError) and mailbox.role is Role.INVITE:
                text = "somebody else tried an invite that was used already; nothing was shown"
            _note(profile, mailbox, text, now)
        store.mark_seen(delivery.mailbox_id, delivery.envelope_id, secret, now // DAY)
    return Ack(delivery.mailbox_id, delivery.envelope_id, secret)


def _open(profile: Profile, mailbox: Mailbox, delivery: Delivery, now: int) -> Opened:
    store = profile.store
    keyring = Keyring(store, profile.identity)
    payer = None
    if mailbox.role is Role.PAYER and mailbox.contact is not None:
        business_id = store.contact(mailbox.contact).business_id
        payer = None if business_id is None else BusinessId(business_id)
    if mailbox.role is not Role.ADDRESS:
        seal = MailboxKey.from_bytes(mailbox.seal)
        kept = seal.forget(week_of(now))
        if kept.week != seal.week:
            store.set_mailbox(mailbox.id, seal=kept.to_bytes())
        return open_delivery(delivery, keyring, kept, profile.relay_id, payer, now)
    failure: CryptoError | None = None
    for name in ENVELOPE_KEYS:
        if (secret := store.get(name)) is not None:
            try:
                key = EnvelopeKeyPair.from_bytes(secret)
                return open_delivery(delivery, keyring, key, profile.relay_id, None, now)
            except ReplayError:
                raise
            except CryptoError as error:
                failure = failure or error
    raise failure or PeerError("this profile has no envelope key")


def _apply(profile: Profile, mailbox: Mailbox, opened: Opened, now: int) -> bool:
    """:returns: whether the message is a new one"""
    store, content = profile.store, opened.content
    contact = _contact_of(profile, mailbox, opened)
    store.put_session(opened.session.id, contact.id, opened.session.to_bytes())
    if opened.used_ec is not None:
        store.drop_prekey("ec", 1, opened.used_ec)
    if opened.used_kem is not None:
        store.drop_prekey("kem", 1, opened.used_kem)
    if opened.fresh:
        store.set_contact(contact.id, introduced=False)
    elif mailbox.id == contact.own_mailbox and not contact.introduced:
        store.set_contact(contact.id, introduced=True)
        for old in store.mailboxes("live"):
            if old.role is Role.INVITE and old.contact == contact.id:
                store.set_mailbox(old.id, state="closing")
    moved = content.intro is not None and _learn_address(profile, contact, content)
    if content.grant is not None and contact.kind == Kind.CUSTOMER:
        _learn_grant(profile, contact.id, content.grant)
    if not store.first_time(contact.id, content.inner_id, now // DAY):
        return False
    if content.kind == TEXT:
        store.add_message(
            contact.id,
            content.inner_id,
            "in",
            content.text,
            content.sent_at,
            Status.UNREAD,
            content.category,
        )
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
    if mailbox.role is Role.INVITE and mailbox.contact is None:
        store.set_mailbox(mailbox.id, contact=contact.id)
        store.set_invite(mailbox.id, used=True)
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


def _learn_address(profile: Profile, contact: Contact, content: Content) -> bool:
    """:returns: whether the address is a new one"""
    if content.intro is None:
        return False
    address = content.intro.address
    if (address.market is not None) != (contact.kind == Kind.CUSTOMER):
        raise PeerError(f"{contact.name} asks for answers into a mailbox of the wrong kind")
    there = pack(Destination.of(address, profile.relay_id, _own_business(profile)))
    if contact.address == there:
        return False
    profile.store.set_contact(contact.id, address=there, market=address.market, permit=None)
    return True


def _learn_grant(profile: Profile, contact_id: int, grant: Grant) -> None:

    store = profile.store
    contact = store.contact(contact_id)
    if contact.address is None:
        raise PeerError(f"{contact.name} sent a permission to answer but no address")
    there = unpack(contact.address, Destination)
    business_id = _own_business(profile)
    if there.read_pk is None or business_id is None:
        raise PeerError(f"{contact.name} sent a permission that is not for us")
    # The relay checks the beacon as well; only it can tell the ones it gave out.
    check_grant(grant, profile.relay_id, business_id, MailboxId(there.mailbox_id), there.read_pk)
    # A later grant extends; an older one that arrives late never shortens.
    if contact.permit is None or unpack(contact.permit, Grant).minute < grant.minute:
        store.set_contact(contact_id, permit=pack(grant))


def _own_business(profile: Profile) -> BusinessId | None:
    root_pk = profile.store.get("business_root_pk")
    return None if root_pk is None else business_id_of(root_pk)


def _unreadable(profile: Profile, mailbox: Mailbox, error: Exception) -> str:
    """What the person is told; with a contact, also how to go on."""
    if mailbox.contact is None:
        return f"a message could not be read: {error}"
    name = profile.store.contact(mailbox.contact).name
    return (
        f"a message from {name} could not be read: {error}; if more follow, one of you has lost or "
        "restored a profile: meet again by a new invite or link"
    )


def _note(profile: Profile, mailbox: Mailbox, text: str, now: int) -> None:
    profile.store.add_message(mailbox.contact, None, "note", text, now, Status.UNREAD)
