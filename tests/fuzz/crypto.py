"""Targets in kurir_crypto: messages, sessions, what is sealed, what is stored."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from typing import Final

from kurir_crypto import vault
from kurir_crypto.errors import (
    AuthenticationError,
    DamagedStateError,
    DamagedVaultError,
    InvalidKeyError,
    MalformedMessageError,
    MissingPreKeyError,
    ReplayError,
    SkippedTooFarError,
    StartedLaterError,
    UnknownSessionError,
    UntrustedKeyError,
    VaultError,
    WrongPassphraseError,
)
from kurir_crypto.handshake import HANDSHAKE_BYTES, Handshake
from kurir_crypto.invite import MAX_CARD_CONTENT
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.layout import parse
from kurir_crypto.message import Accepted, accept, decrypt, inspect
from kurir_crypto.padding import pad, unpad
from kurir_crypto.restart import REQUEST_BYTES, is_request, open_request
from kurir_crypto.safety import format_groups, matches, qr_text
from kurir_crypto.sealing import (
    ENVELOPE_PUBLIC_BYTES,
    EnvelopeKeyPair,
    MailboxKey,
    open_at_address,
    open_with,
    seal_to_address,
)
from kurir_crypto.session import Headers, Session
from kurir_crypto.skipped import MAX_SKIPPED
from kurir_wire.ids import digest, domain
from kurir_wire.prekeys import (
    IdentityPublic,
    PreKeyBundle,
    ec_prekey_message,
    identity_binding,
    kem_prekey_message,
)
from kurir_wire.signing import message_to_sign
from tests.fuzz.mutate import field_at, msgpack_tree, of_words, some_bytes
from tests.fuzz.recorded import BINDING, INVITE, MINUTE, PASSPHRASE, WEEK, Device, load
from tests.fuzz.target import CORPUS, Target, attempt

MAX_STATE: Final = MAX_SKIPPED * (36 + 8 + 2 * 36) + 6_000
"""What a stored session may come to: in both ratchets the names and keys of all messages skipped,
each with its length, and a state without any."""
OPENING = (
    UnknownSessionError, ReplayError, AuthenticationError, SkippedTooFarError, InvalidKeyError,
    MalformedMessageError,
)  # fmt: skip
ACCEPTING = (*OPENING, MissingPreKeyError, StartedLaterError)
PAYLOAD = bytes(32)
RECEIVING = (ReplayError, AuthenticationError, SkippedTooFarError, InvalidKeyError)

device: Callable[[], Device] = functools.cache(load)


# Messages


def message(data: bytes) -> bool:
    """Taking a message apart; its bytes are one spelling of what is in them."""
    entries = attempt(MalformedMessageError, lambda: inspect(data))
    if entries is None:
        attempt(MalformedMessageError, lambda: Handshake.from_bytes(data))
        return False
    assert not is_request(data)
    assert parse(data).to_bytes() == data
    for entry in entries:
        if entry.handshake is not None:
            assert entry.handshake.to_bytes() == entry.head.handshake
    return True


def decrypt_(data: bytes) -> bool:
    """With the tags in force: only what the peer wrote opens, and nothing else moves the state."""
    opened = False
    for session in device().sessions:
        before = session.to_bytes()
        found = attempt(OPENING, lambda session=session: decrypt(session, data, BINDING))  # type: ignore[misc]
        assert session.to_bytes() == before
        if found is not None:
            opened = True
            assert found[1] in device().contents
            assert found[0].to_bytes() != before
    return opened


def accept_(data: bytes) -> bool:
    """As a first message; then each handshake in it again, as if its sender had signed it."""
    own = device()
    found = attempt(ACCEPTING, lambda: _accept(data, set()))
    if found is not None:
        assert found.content in own.contents
        again = {found.session.id}
        assert attempt(ReplayError, lambda: _accept(data, again)) is None
        assert found.used_one_time_ec in (None, 2)
        assert found.used_one_time_kem in (None, 3)
    layout = attempt(MalformedMessageError, lambda: parse(data))
    for entry in layout.entries if layout else ():
        header = entry.handshake
        if header is not None:
            _respond(header, entry.head.headers, entry.session_id)
    return found is not None


def _accept(data: bytes, known: set[bytes]) -> Accepted:
    own = device()
    return accept(own.identity, own, data, BINDING, known_sessions=known, latest_start=MINUTE + 5)


def _respond(header: Handshake, headers: Headers, session_id: bytes) -> None:
    own = device()
    claimed = _signed_identity(header.initiator)
    signed = Handshake(
        claimed, header.ephemeral, header.started, header.signed_id, header.one_time_id,
        header.kem_kind, header.kem_id, header.ciphertext,
    )  # fmt: skip
    session = attempt(
        (MissingPreKeyError, InvalidKeyError),
        lambda: Session.respond(own.identity, own, signed, 2, session_id),
    )
    if session is not None:
        _heard(session, headers)


def ratchet(data: bytes) -> bool:
    """Each entry's header, one after the other, as if its tag had matched: what a peer can do who
    keeps the keys and breaks the rules."""
    layout = attempt(MalformedMessageError, lambda: parse(data))
    if layout is None:
        return False
    heard = False
    for session in device().sessions:
        state = session
        for entry in layout.entries:
            after = _heard(state, entry.head.headers)
            heard = heard or after is not None
            state = after or state
    return heard


def _heard(session: Session, headers: Headers) -> Session | None:
    before = session.to_bytes()
    found = attempt(RECEIVING, lambda: session.receive(headers, PAYLOAD))
    assert session.to_bytes() == before
    if found is None:
        return None
    after, key = found
    assert len(key) == 32
    stored = after.to_bytes()
    assert len(stored) <= MAX_STATE
    assert Session.from_bytes(stored).to_bytes() == stored
    try:
        after.receive(headers, PAYLOAD)
    except ReplayError:
        pass
    else:
        raise AssertionError("one message was received twice")
    # Whatever the peer said, one can go on talking.
    moved, _, _ = after.send(PAYLOAD)
    moved.send(PAYLOAD)
    return after


# Restart requests


def restart(data: bytes) -> bool:
    """As it is, and with its signatures made right."""
    errors = (MalformedMessageError, UntrustedKeyError)
    peer = device().peer.public
    found = attempt(errors, lambda: open_request(peer, data, BINDING))
    if is_request(data):
        assert attempt(MalformedMessageError, lambda: inspect(data)) is None
    if len(data) == REQUEST_BYTES and data[:1] == b"\0":
        right = _signed_request(data)
        bundle = attempt(errors, lambda: open_request(peer, right, BINDING))
        stranger = device().identity.public
        assert attempt(errors, lambda: open_request(stranger, right, BINDING)) is None
        if bundle is not None:
            started = attempt(InvalidKeyError, lambda: _initiate(bundle))
            assert started is None or started.peer == peer
    return found is not None


def _initiate(bundle: PreKeyBundle) -> Session:
    return Session.initiate(device().identity, bundle, MINUTE)


def _signed_request(data: bytes) -> bytes:
    peer = device().peer
    at = 2 + 128
    body = [data[:2], peer.public.sign_pk + peer.public.dh_pk + peer.public.binding]
    for kind in (0, 1):
        key_id, public = data[at : at + 4], data[at + 4 : at + 36]
        signed = ec_prekey_message(kind, int.from_bytes(key_id), public)
        body.append(key_id + public + peer.sign(signed))
        at += 100
    key_id, public = data[at : at + 4], data[at + 4 : at + 4 + 1_568]
    body.append(key_id + public + peer.sign(kem_prekey_message(1, int.from_bytes(key_id), public)))
    text = b"".join(body)
    return text + peer.sign(message_to_sign("restart", digest("restart-place", BINDING), text))


def _signed_identity(identity: IdentityPublic) -> IdentityPublic:
    peer = device().peer
    return IdentityPublic(
        peer.public.sign_pk, identity.dh_pk, peer.sign(identity_binding(identity.dh_pk))
    )


# What is sealed


def sealed(data: bytes) -> bool:
    """A body in a mailbox, a body at an address, and the padding within."""
    own = device()
    bodies = (
        attempt(
            (AuthenticationError, MalformedMessageError),
            lambda: open_with(own.mailbox, WEEK, BINDING, data),
        ),
        attempt(
            (AuthenticationError, MalformedMessageError),
            lambda: open_at_address(own.envelope, BINDING, data),
        ),
    )
    for body in bodies:
        assert body in (None, b"message", b"")
    plain = attempt(MalformedMessageError, lambda: unpad(data))
    if plain is not None:
        assert pad(plain, len(data)) == data
    return plain is not None or any(body is not None for body in bodies)


def envelope_key(data: bytes) -> bool:
    """A card's envelope key, which a sender uses as it came."""
    body = attempt(InvalidKeyError, lambda: seal_to_address(data, BINDING, b"hello", 4_096))
    assert body is None or len(data) == ENVELOPE_PUBLIC_BYTES
    assert body is None or len(body) == 4_096
    return body is not None


def invite_card(data: bytes) -> bool:
    """A blob from the relay; and any card, sealed and opened."""
    opened = attempt((AuthenticationError, MalformedMessageError), lambda: INVITE.open_card(data))
    if len(data) <= MAX_CARD_CONTENT:
        assert INVITE.open_card(INVITE.seal_card(data)) == data
    return opened is not None


# What is stored


def session(data: bytes) -> bool:
    found = attempt(DamagedStateError, lambda: Session.from_bytes(data))
    if found is None:
        return False
    again = found.to_bytes()
    assert Session.from_bytes(again).to_bytes() == again
    assert repr(found) == "<Session>"
    return True


def stored_key(data: bytes) -> bool:
    """All kinds of keys; their stored forms differ in length, or in nothing."""
    found = False
    kinds: tuple[
        type[IdentityKeyPair | OwnEcPreKey | OwnKemPreKey | MailboxKey | EnvelopeKeyPair], ...
    ]
    kinds = (IdentityKeyPair, OwnEcPreKey, OwnKemPreKey, MailboxKey, EnvelopeKeyPair)
    for kind in kinds:
        key = attempt(DamagedStateError, lambda kind=kind: kind.from_bytes(data))  # type: ignore[misc]
        if key is not None:
            found = True
            assert key.to_bytes() == data
            assert data.hex()[10:] not in repr(key)
    return found


def vault_(data: bytes) -> bool:
    """The header as it is; and with its check sum made right, if it asks for little work."""
    found = attempt(VaultError, lambda: _unlock(data))
    head = len(domain("vault"))
    operations, memory = (int.from_bytes(data[at : at + 4]) for at in (head, head + 4))
    dear = operations <= vault.MAX_OPERATIONS and 64 < memory <= vault.MAX_MEMORY_KIB
    if len(data) == vault.HEADER_BYTES and not dear:
        right = data[:-16] + hashlib.sha256(data[:-16]).digest()[:16]
        attempt((WrongPassphraseError, DamagedVaultError), lambda: _unlock(right))
    return found is not None


def _unlock(header: bytes) -> bytes:
    key = vault.unlock(header, PASSPHRASE)
    assert len(key) == 32
    return key


# Safety numbers


NUMBER: Final = "12345" * 12


def safety(data: bytes) -> bool:
    """What was scanned or typed, and a number to show."""
    text = data.decode("utf-8", "surrogateescape")
    same = matches(NUMBER, text)
    assert not same or "".join(text.split()).endswith(NUMBER)
    shown = attempt(ValueError, lambda: qr_text(text))
    if shown is not None:
        assert matches(text, shown)
        assert matches(text, format_groups(text))
    return same


def _samples(name: str) -> Callable[[], Mapping[str, bytes]]:
    """Those that were recorded with the device."""
    return lambda: {path.name: path.read_bytes() for path in (CORPUS / name).glob("valid-*")}


_HEAD = (2, 3, 19, 51, 55, 59, 63, 67, 71)
"""Where the fields of a message's first entry begin."""
_FIRST = (
    *_HEAD, 103, 135, 199, 231, 235, 239, 240, 244, 245, 249, 71 + HANDSHAKE_BYTES,
    71 + HANDSHAKE_BYTES + 48,
)  # fmt: skip
_REQUEST = (0, 1, 2, 34, 66, 130, 134, 166, 230, 234, 266, 330, 334, 1_902, 1_966)
MESSAGE = (field_at(*_HEAD, 119, 151), field_at(*_FIRST), some_bytes)
TARGETS = (
    Target("message", message, _samples("message"), MESSAGE, mutations=6_000),
    Target("decrypt", decrypt_, _samples("decrypt"), MESSAGE, mutations=800),
    Target("accept", accept_, _samples("accept"), MESSAGE, mutations=500),
    Target("ratchet", ratchet, _samples("ratchet"), MESSAGE, mutations=400),
    Target(
        "restart", restart, _samples("restart"),
        (field_at(*_REQUEST), field_at(*_REQUEST), some_bytes), max_bytes=2_100, mutations=400,
    ),
    Target("sealed", sealed, _samples("sealed"), (some_bytes,), max_bytes=4_200, mutations=800),
    Target(
        "envelope_key", envelope_key, _samples("envelope_key"), (field_at(0, 1_184), some_bytes),
        max_bytes=1_300, mutations=800,
    ),
    Target(
        "invite_card", invite_card, _samples("invite_card"), (some_bytes,), max_bytes=16_500,
    ),
    Target(
        "session", session, _samples("session"), (msgpack_tree, msgpack_tree, some_bytes),
        mutations=3_000,
    ),
    Target(
        "stored_key", stored_key, _samples("stored_key"),
        (field_at(0, 1, 2, 6, 38, 70), some_bytes), max_bytes=200,
    ),
    Target(
        "vault", vault_, _samples("vault"), (field_at(0, 14, 18, 22, 38, 110), some_bytes),
        max_bytes=200, mutations=1_000,
    ),
    Target(
        "safety", safety,
        lambda: {
            "valid-qr": b"KURIR-SAFETY-1:" + NUMBER.encode(),
            "valid-groups": b"12345 " * 12,
            "digits": "\u0661".encode() * 60,
        },
        (some_bytes, of_words((b"KURIR-SAFETY-1:", b"12345", b" ", "\u2007".encode()))),
        max_bytes=300,
    ),
)  # fmt: skip
