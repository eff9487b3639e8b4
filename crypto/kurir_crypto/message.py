"""Messages between sessions: content encrypted once, its key wrapped for each device.

A fresh content key encrypts the content; each entry wraps that key under one session's next message
key. A public commitment ties the content key to the message, so that two devices cannot be shown
two contents (AES-GCM alone does not commit to its key). Each entry is bound to its session, to its
own header and to the whole payload, so that a device which learns the content key cannot put other
content under the sender's name to the other devices.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from kurir_crypto.aead import gcm_decrypt, gcm_encrypt
from kurir_crypto.curve import generate_x25519
from kurir_crypto.errors import (
    CommitmentError,
    CryptoError,
    MissingPreKeyError,
    ReplayError,
    UnknownSessionError,
)
from kurir_crypto.handshake import SESSION_ID_BYTES, PreKeyStore
from kurir_crypto.hidden import Hidden
from kurir_crypto.kdf import hkdf, same
from kurir_crypto.keys import IdentityKeyPair
from kurir_crypto.layout import (
    CONTENT_KEY_BYTES,
    WRAPPED_BYTES,
    Entry,
    EntryHead,
    Layout,
    least_pieces,
    parse,
    slots_for,
)
from kurir_crypto.ratchet import RatchetHeader
from kurir_crypto.session import MAX_STARTED, Headers, Session, check_start
from kurir_crypto.sparse import SparseHeader
from kurir_wire.ids import domain, u8
from kurir_wire.prekeys import PREKEY_ONE_TIME

_CONTENT_KEY: Final = domain("content-key")
_CONTENT: Final = domain("content")
_PAYLOAD: Final = domain("payload")
_ENTRY: Final = domain("entry")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Accepted(Hidden):
    """A first message, opened. Store the session and delete the named one-time keys together."""

    session: Session
    content: bytes
    used_one_time_ec: int | None
    used_one_time_kem: int | None


def encrypt(
    sessions: Sequence[Session], content: bytes, binding: bytes
) -> tuple[list[Session], bytes]:
    """One message to the devices at the other end of ``sessions``.

    :param binding: where the message will lie, :class:`~kurir_crypto.sealing.Binding`; the reader
        must give the same
    :return: the sessions after it, in the same order, and the message. Store them before the
        message leaves
    :raises ValueError: none or more than 8 sessions, one of them twice, or of different suites
    """
    slots = slots_for(len(sessions))
    suite = sessions[0].suite
    if len({session.id for session in sessions}) != len(sessions):
        raise ValueError("a session stands in the list twice")
    if any(session.suite != suite for session in sessions):
        raise ValueError("the sessions have different suites")

    content_key = os.urandom(CONTENT_KEY_BYTES)
    cipher_key, commitment = _content_keys(suite, content_key)
    ciphertext = gcm_encrypt(cipher_key, content, _content_associated(suite, binding))
    payload = _payload_hash(suite, binding, commitment, ciphertext)

    crowded = _without_room(sessions)
    after = []
    entries = []
    for session in sessions:
        moved, headers, key = session.send(payload, room=session.id not in crowded)
        head = EntryHead(session.id, headers, session.handshake)
        wrapped = gcm_encrypt(key, content_key, _entry_associated(session, head))
        after.append(moved)
        entries.append(Entry(head, wrapped))
    entries += [_dummy() for _ in range(slots - len(sessions))]
    return after, Layout(suite, tuple(entries), commitment, ciphertext).to_bytes()


def pieces(sessions: Sequence[Session]) -> int:
    """For how many asks and answers of the post-quantum ratchet a message to ``sessions`` has room.

    Answers have to go along until they are heard; beside them one more entry has its turn, so that
    a device that went away with an answer unheard does not keep the others from healing.
    """
    answers = sum(session.must_carry for session in sessions)
    return min(len(sessions), max(least_pieces(len(sessions)), answers + 1))


def _without_room(sessions: Sequence[Session]) -> set[bytes]:
    """The ids of the sessions whose ask or answer has to wait for another message."""
    waiting = [session for session in sessions if session.would_carry and not session.must_carry]
    if waiting:
        waiting.remove(max(waiting, key=lambda session: session.sparse.waited))
    return {session.id for session in waiting}


def inspect(message: bytes) -> list[Entry]:
    """The entries of a message, each with ``session_id`` and ``handshake``. Nothing is verified:
    use them only to find the session.

    :raises MalformedMessageError: not a message; UnknownSuiteError: of a newer version
    """
    return list(parse(message).entries)


def decrypt(session: Session, message: bytes, binding: bytes) -> tuple[Session, bytes]:
    """Open a message by a known session.

    :return: the session after it and the content. ``session`` itself is never altered; whatever is
        raised, it is still the state to keep
    :raises UnknownSessionError: no entry for this session
    :raises ReplayError: opened before, or its key is forgotten
    :raises AuthenticationError: changed, bound elsewhere, or for another state of the session
    :raises SkippedTooFarError: more than 25,000 messages are missing before it
    :raises InvalidKeyError: the ratchet key in it is one that no honest party makes
    :raises MalformedMessageError: not a message
    """
    layout = parse(message)
    if layout.suite == session.suite:
        for entry in layout.entries:
            if entry.session_id == session.id:
                return _open(session, entry, layout, binding)
    raise UnknownSessionError


def accept(
    own: IdentityKeyPair,
    prekeys: PreKeyStore,
    message: bytes,
    binding: bytes,
    *,
    known_sessions: Container[bytes] = (),
    latest_start: int = MAX_STARTED,
) -> Accepted:
    """Open a first message, as the responder.

    :param known_sessions: ids of all sessions held, archived or deleted in the past weeks. A
        last-resort prekey does not go away, so only this list stops a replayed first message from
        making a second session
    :param latest_start: unix minute, now plus the clock skew that is tolerated
    :raises UnknownSessionError: no entry carries a handshake
    :raises ReplayError: the session is known; open the message with :func:`decrypt`
    :raises MissingPreKeyError: it uses a prekey that is not held
    :raises AuthenticationError: changed, bound elsewhere, or made for another identity
    :raises StartedLaterError: it starts after ``latest_start``
    :raises SkippedTooFarError: it claims to come after more than 25,000 others
    :raises UntrustedKeyError: the initiator's two keys are not tied together
    :raises InvalidKeyError: a key in it is one that no honest party makes
    :raises MalformedMessageError: not a message
    """
    layout = parse(message)
    failure: CryptoError = UnknownSessionError()
    for entry in layout.entries:
        header = entry.handshake
        if header is None:
            continue
        if entry.session_id in known_sessions:
            raise ReplayError
        # An entry does not say which device it is for; the others' do not open here.
        try:
            check_start(header, latest_start)
            fresh = Session.respond(own, prekeys, header, layout.suite, entry.session_id)
            session, content = _open(fresh, entry, layout, binding)
        except CommitmentError:
            raise
        except CryptoError as error:
            # Of several failures the telling one: other devices' prekeys are never held here.
            if isinstance(failure, UnknownSessionError | MissingPreKeyError):
                failure = error
            continue
        return Accepted(
            session,
            content,
            header.one_time_id,
            header.kem_id if header.kem_kind == PREKEY_ONE_TIME else None,
        )
    raise failure


def choose_session(sessions: Iterable[Session]) -> Session:
    """The session to send on, out of all with one device: the greatest (started, id).

    Both sides hold the same sessions once their first messages have crossed, so both choose the
    same one; a fresh handshake after a restored backup wins because it started later
    (:func:`~kurir_crypto.session.next_start` makes sure of it).

    :raises UnknownSessionError: there is none
    """
    best = max(sessions, key=lambda session: (session.started, session.id), default=None)
    if best is None:
        raise UnknownSessionError
    return best


def _open(session: Session, entry: Entry, layout: Layout, binding: bytes) -> tuple[Session, bytes]:
    suite = layout.suite
    payload = _payload_hash(suite, binding, layout.commitment, layout.ciphertext)
    moved, key = session.receive(entry.head.headers, payload)
    content_key = gcm_decrypt(key, entry.wrapped, _entry_associated(session, entry.head))
    cipher_key, commitment = _content_keys(suite, content_key)
    if not same(commitment, layout.commitment):
        raise CommitmentError
    content = gcm_decrypt(cipher_key, layout.ciphertext, _content_associated(suite, binding))
    return moved, content


def _content_keys(suite: int, content_key: bytes) -> tuple[bytes, bytes]:
    """The key that encrypts the content, and the public commitment to it: 32 bytes each."""
    both = hkdf(content_key, _CONTENT_KEY + u8(suite), 64)
    return both[:32], both[32:]


def _content_associated(suite: int, binding: bytes) -> bytes:
    return _CONTENT + u8(suite) + binding


def _payload_hash(suite: int, binding: bytes, commitment: bytes, ciphertext: bytes) -> bytes:
    state = hashlib.sha256(_PAYLOAD + u8(suite) + hashlib.sha256(binding).digest() + commitment)
    state.update(ciphertext)
    return state.digest()


def _entry_associated(session: Session, head: EntryHead) -> bytes:
    return _ENTRY + session.associated + head.to_bytes()


def _dummy() -> Entry:
    """Fills a slot. It hides the number of devices from whoever sees only the length."""
    headers = Headers(RatchetHeader(generate_x25519()[1], 0, 0), SparseHeader(0, 0, 0))
    return Entry(EntryHead(os.urandom(SESSION_ID_BYTES), headers), os.urandom(WRAPPED_BYTES))
