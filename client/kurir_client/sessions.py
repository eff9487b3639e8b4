"""The sessions with a contact, as they are stored: which to send on, and what a new one changes.

Of all sessions with a contact some are *archived*: for receiving only, since they came from an old
copy of the home or cannot be read. All functions work inside the running transaction.
"""

from __future__ import annotations

import contextlib

from kurir_client.engine import STARTS_AHEAD
from kurir_client.mark import COUNTER
from kurir_client.store import Store
from kurir_crypto.errors import DamagedStateError
from kurir_crypto.keys import IdentityKeyPair
from kurir_crypto.message import choose_session
from kurir_crypto.session import Session, next_start, surplus
from kurir_wire.ids import DAY, MINUTE
from kurir_wire.prekeys import PreKeyBundle


def start(
    store: Store,
    own: IdentityKeyPair,
    contact: int,
    bundle: PreKeyBundle,
    now: int,
    earliest: int = 0,
) -> Session:
    """Start a session that wins over all others with this contact, and go on with it.

    Those that seem to start in the future, by a clock that was ahead, are archived: a session that
    wins over them would not be accepted.

    :param earliest: unix minute; the contact has lost the sessions that started before
    :raises InvalidKeyError: a key or signature in the bundle is wrong
    """
    others = _all(store, contact)
    for session in others:
        if is_early(session, now):
            store.archive_session(session.id)
    timely = [session for session in others if not is_early(session, now)]
    started = max(next_start(timely, now // MINUTE), earliest)
    session = Session.initiate(own, bundle, started)
    add(store, contact, session, now)
    return session


def is_early(session: Session, now: int) -> bool:
    """Whether it seems to start in the future, so that nobody would accept it now."""
    return session.started > (now + STARTS_AHEAD) // MINUTE


def started_since(store: Store, contact: int, since: int, now: int) -> int:
    """How many sessions we have started with a contact since a second."""
    return sum(
        session.initiated and session.started >= since // MINUTE and not is_early(session, now)
        for session in _all(store, contact)
    )


def add(store: Store, contact: int, session: Session, now: int) -> None:
    """Keep a session that is new here. What waits goes out on it; where to answer is said again;
    the oldest sessions go if there are too many."""
    store.put_session(session.id, contact, session.to_bytes())
    store.set_contact(contact, wants_session=False, introduced=False)
    store.drop_requests(contact)
    store.encrypt_anew(contact)
    for old in surplus(_all(store, contact)):
        store.delete_session(old.id, now // DAY)


def to_send_on(store: Store, contact: int, now: int) -> Session | None:
    """The session to send on; None if there is none, so that what waits has to wait."""
    sessions = []
    for session_id, state in store.live_sessions(contact):
        try:
            sessions.append(Session.from_bytes(state))
        except DamagedStateError:
            _set_aside(store, contact, session_id, now)
    return choose_session(sessions) if sessions else None


def sent_on(store: Store, contact: int, after: Session) -> None:
    """Store a session that encrypted a message, and count it."""
    store.put_session(after.id, contact, after.to_bytes())
    store.count_up(COUNTER)


def _all(store: Store, contact: int) -> list[Session]:
    sessions = []
    for state in store.sessions(contact):
        with contextlib.suppress(DamagedStateError):
            sessions.append(Session.from_bytes(state))
    return sessions


def _set_aside(store: Store, contact: int, session_id: bytes, now: int) -> None:
    store.archive_session(session_id)
    store.set_contact(contact, wants_session=True)
    name = store.contact(contact).name
    text = f"the keys shared with {name} are damaged here; fresh ones are being agreed"
    store.add_note(contact, text, now)
