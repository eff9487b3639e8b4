"""Fresh sessions with people, where the old ones are no good any more.

A home that was set back, or whose sessions are damaged, asks for one, and so does one that gets
what it cannot open: then the other side was set back without noticing. What is asked with are
prekeys for one use (:mod:`kurir_crypto.restart`); whoever is asked starts the session. If both ask
at once there are two sessions, and both sides choose the same one. Who the contact is and whether
they were verified is not touched by any of it.

Whoever starts the session sends again what they sent lately, under the same inner ids: the other
side shows what it has not shown yet, be it that it could not open it, or that it was set back to
before it came.

A business is not asked: its card has prekeys for everybody (:mod:`.meeting`).
"""

from __future__ import annotations

import os
from typing import Final

from kurir_client import sessions
from kurir_client.content import HELLO, RESTART
from kurir_client.errors import PeerError
from kurir_client.outbox import INNER_ID_BYTES, queue
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Kind
from kurir_client.store import Store
from kurir_crypto import restart
from kurir_crypto.sealing import Binding
from kurir_wire.codec import unpack
from kurir_wire.ids import DAY, HOUR, WEEK
from kurir_wire.prekeys import IdentityPublic

ANSWERS: Final = 3
"""Sessions that are started with one contact within an hour. A contact in need asks once an hour,
and once more if what they asked with was lost too; each answer sends much again, so that requests
without end would be a flood."""
ASK_AFTER: Final = HOUR
"""Seconds until one more message that does not open is a reason to ask again."""
REPEAT_AFTER: Final = DAY
"""Seconds until a request without an answer is repeated: it may have been lost, or come when the
contact did not trust our key. One waits 30 days at the relay, so more often is of no use."""
SEND_AGAIN: Final = WEEK
"""Seconds back from which messages are sent again with a fresh session. Duplicates are known for
longer than that."""
SEND_AGAIN_MOST: Final = 50
"""Messages that are sent again at most, so that one request cannot fill an outbox."""


def ask(store: Store, contact: Contact, now: int, again_after: int = ASK_AFTER) -> None:
    """Queue a request for a fresh session with a person, inside the running transaction; not if
    one waits, or went out a short while ago. To somebody who is not trusted it does not go out."""
    if contact.kind != Kind.PERSON or contact.address is None:
        return
    if contact.asked_at is not None and 0 <= now - contact.asked_at < again_after:
        return
    if not store.asks_for_session(contact.id):
        store.add_outgoing(contact.id, os.urandom(INNER_ID_BYTES), RESTART, "", now)


def ask_all(store: Store, now: int) -> None:
    """Ask everybody with whom there is no session to send on."""
    people = [contact for contact in store.contacts() if contact.kind == Kind.PERSON]
    wanting = [contact for contact in people if contact.wants_session]
    if wanting:
        with store.transaction():
            for contact in wanting:
                ask(store, store.contact(contact.id), now, REPEAT_AFTER)


def answer(profile: Profile, contact: Contact, data: bytes, binding: Binding, now: int) -> None:
    """Start the session that a contact asks for, inside the running transaction.

    :param data: the unsealed request
    :param binding: of the envelope in which it came
    :raises PeerError: from nobody with whom one talks
    :raises CryptoError: not a request of this contact for this envelope
    """
    store = profile.store
    if contact.kind != Kind.PERSON or contact.identity is None:
        raise PeerError("somebody asks for fresh keys who is not one of your people")
    peer = unpack(contact.identity, IdentityPublic)
    bundle = restart.open_request(peer, data, binding)
    if contact.state != "active":
        raise PeerError(f"{contact.name} asks for fresh keys, but you do not trust theirs")
    if sessions.started_since(store, contact.id, now - HOUR, now) >= ANSWERS:
        return  # one in need asks again
    sessions.start(store, profile.identity, contact.id, bundle, now)
    queue(store, contact.id, HELLO, "", now)
    again = store.send_again(contact.id, now - SEND_AGAIN, SEND_AGAIN_MOST)
    text = (
        f"{contact.name} asked for fresh keys, and they are agreed: one of you has restored an old "
        "copy of a profile, or lost messages"
    )
    if again:
        text += (
            ". What you sent in the past week goes out again; what is older may be missing there"
        )
    store.add_note(contact.id, text, now)
