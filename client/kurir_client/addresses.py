"""Where the two sides of a contact write to each other, and the keys to seal with there.

A mailbox's key goes forward each week, at both ends: who steals it cannot open what was sent in
weeks before, as far as the relay still has it.
"""

from __future__ import annotations

from kurir_client.content import Destination, Intro, ReturnAddress
from kurir_client.errors import PeerError
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Kind
from kurir_client.store import Store
from kurir_crypto.keys import SigningKeyPair
from kurir_crypto.sealing import MailboxKey, week_of
from kurir_wire.codec import pack, unpack


def destination(contact: Contact) -> Destination:
    """Where to write to them.

    :raises PeerError: they have not said so yet
    """
    if contact.address is None:
        raise PeerError(f"{contact.name} has not said yet where to write")
    return unpack(contact.address, Destination)


def forward_key(store: Store, contact: Contact, now: int) -> Contact:
    """Keep the key of their mailbox as of this week only, inside the running transaction."""
    if contact.address is None:
        return contact
    there = destination(contact)
    later = there.forward(week_of(now))
    if later == there:
        return contact
    store.set_contact(contact.id, address=pack(later))
    return store.contact(contact.id)


def forget_weeks(store: Store, now: int) -> None:
    """All keys of mailboxes, theirs and ours, go forward, inside the running transaction. Ours
    still open what may be under way."""
    for mailbox in store.mailboxes("new", "live", "closing"):
        seal = MailboxKey.from_bytes(mailbox.seal)
        kept = seal.forget(week_of(now))
        if kept.week != seal.week:
            store.set_mailbox(mailbox.id, seal=kept.to_bytes())
    for contact in store.contacts():
        forward_key(store, contact, now)


def introduction(profile: Profile, contact: Contact, now: int) -> Intro | None:
    """Who we are and where to answer, until they were heard there. The key is that of this week:
    they seal nothing in an earlier one."""
    if contact.introduced or contact.own_mailbox is None or contact.kind == Kind.CUSTOMER:
        return None
    own = profile.store.mailbox(contact.own_mailbox)
    if own is None:
        return None
    oldest = MailboxKey.from_bytes(own.seal)
    seal = oldest.at(max(week_of(now), oldest.week))
    public = SigningKeyPair.from_seed(own.read_seed).public
    state = seal.to_bytes()
    address = ReturnAddress(public, own.born_hour, own.opening, own.market, seal.week, state[-32:])
    return Intro(profile.name, address)
