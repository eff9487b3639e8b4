"""Messages: one content, several devices; commitment; bindings; layout."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kurir_crypto import message as message_module
from kurir_crypto.aead import gcm_decrypt, gcm_encrypt
from kurir_crypto.errors import (
    AuthenticationError,
    CommitmentError,
    CryptoError,
    MalformedMessageError,
    MissingPreKeyError,
    ReplayError,
    UnknownSessionError,
    UnknownSuiteError,
)
from kurir_crypto.handshake import HANDSHAKE_BYTES
from kurir_crypto.layout import ENTRY_BYTES, FRAME_BYTES, Entry, EntryHead, Layout, parse
from kurir_crypto.message import accept, choose_session, decrypt, encrypt, inspect
from kurir_crypto.sealing import Binding
from kurir_crypto.session import Session
from kurir_crypto.sparse import ANSWER_BYTES, ASK_BYTES
from kurir_wire.ids import EnvelopeId, Hash, MailboxId
from tests.crypto.parties import BINDING, NOW, Party, only, talking


@given(content=st.binary(max_size=3_000))
def test_content_comes_back(content: bytes) -> None:
    alice, bob = TALKING
    assert bob.receive(alice.send(content)) == content


TALKING = talking()


def test_lengths() -> None:
    alice, bob = talking()
    assert (ENTRY_BYTES, FRAME_BYTES) == (117, 50)
    assert len(alice.send(b"x" * 100)) == 267 + ANSWER_BYTES
    assert len(bob.send(b"x" * 100)) == 267 + ASK_BYTES
    bob.receive(alice.send(b"x"))
    assert len(bob.send(b"x" * 100)) == 267
    first = Party()
    first.start(Party().bundle())
    assert len(first.send(b"x" * 100)) == 267 + HANDSHAKE_BYTES == 267 + 1_746


def test_no_bit_of_a_message_can_change() -> None:
    alice, bob = talking()
    message = alice.send(b"hello")
    session = only(bob)
    before = session.to_bytes()
    for bit in range(len(message) * 8):
        data = bytearray(message)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CryptoError):
            decrypt(session, bytes(data), BINDING)
    assert session.to_bytes() == before
    assert decrypt(session, message, BINDING)[1] == b"hello"


def test_no_length_of_a_message_can_change() -> None:
    alice, bob = talking()
    message = alice.send(b"hello")
    for end in range(len(message)):
        with pytest.raises(CryptoError):
            decrypt(only(bob), message[:end], BINDING)
    with pytest.raises(AuthenticationError):
        decrypt(only(bob), message + b"\0", BINDING)


OTHER_PLACES = [
    b"",
    Binding(MailboxId(b"n" * 32), EnvelopeId(b"e" * 16)),
    Binding(MailboxId(b"m" * 32), EnvelopeId(b"f" * 16)),
    Binding(MailboxId(b"m" * 32), EnvelopeId(b"e" * 16), Hash(b"l" * 32)),
]


@pytest.mark.parametrize("place", OTHER_PLACES)
def test_a_message_opens_only_where_it_belongs(place: bytes) -> None:
    alice, bob = talking()
    message = alice.send(b"x")
    before = bob.snapshot()
    with pytest.raises(AuthenticationError):
        bob.receive(message, place)
    assert bob.snapshot() == before
    assert bob.receive(message) == b"x"
    first, second = Party(), Party()
    first.start(second.bundle())
    with pytest.raises(AuthenticationError):
        second.receive(first.send(b"x"), place)


def test_a_replay_is_an_error_of_its_own_and_changes_nothing() -> None:
    alice, bob = talking()
    message = alice.send(b"x")
    bob.receive(message)
    before = bob.snapshot()
    with pytest.raises(ReplayError):
        bob.receive(message)
    assert bob.snapshot() == before
    assert not issubclass(ReplayError, AuthenticationError)


def test_ones_own_message_does_not_come_back_as_the_peers() -> None:
    alice, bob = talking()
    message = alice.send(b"x")
    with pytest.raises(CryptoError):
        alice.receive(message)
    first = Party()
    first.start(bob.bundle())
    with pytest.raises(CryptoError):
        first.receive(first.send(b"x"))


def with_devices(count: int) -> tuple[Party, list[Party]]:
    alice = Party()
    devices = [Party() for _ in range(count)]
    for device in devices:
        alice.start(device.bundle())
    return alice, devices


@pytest.mark.parametrize(("count", "slots"), [(1, 1), (2, 4), (4, 4), (5, 8), (8, 8)])
def test_several_devices(count: int, slots: int) -> None:
    alice, devices = with_devices(count)
    for content in (b"first", b"second"):
        after, message = encrypt(alice.all_sessions(), content, BINDING)
        assert [session.id for session in after] == [s.id for s in alice.all_sessions()]
        for session in after:
            alice.store(session)
        assert len(inspect(message)) == slots
        for device in devices:
            assert device.receive(message) == content
    for device in devices:
        alice.receive(device.send(b"answer"))
    after, message = encrypt(alice.all_sessions(), b"third", BINDING)
    # All have asked for an epoch; one message answers one of them.
    plain = FRAME_BYTES + slots * ENTRY_BYTES + len(b"third")
    assert len(message) == plain + ANSWER_BYTES
    for device in devices:
        assert device.receive(message) == b"third"
    with pytest.raises(UnknownSessionError):
        Party().receive(message)


def test_one_device_missing_or_out_of_date_does_not_stop_the_others() -> None:
    alice, [one, two, gone] = with_devices(3)
    gone.signed.clear()
    _, message = encrypt(alice.all_sessions(), b"x", BINDING)
    assert one.receive(message) == b"x"
    assert two.receive(message) == b"x"
    with pytest.raises(MissingPreKeyError):
        gone.receive(message)


def test_misuse_is_a_value_error() -> None:
    alice, _ = with_devices(1)
    session = only(alice)
    for sessions in (
        [],
        [session] * 2,
        [replace(session, id=bytes([n]) * 16) for n in range(9)],
    ):
        with pytest.raises(ValueError, match=r"devices|twice"):
            encrypt(sessions, b"", BINDING)
    other = replace(session, id=bytes(16), suite=3)
    with pytest.raises(ValueError, match="suites"):
        encrypt([session, other], b"", BINDING)


def test_a_session_of_another_suite_does_not_open_a_message() -> None:
    alice, bob = talking()
    with pytest.raises(UnknownSessionError):
        decrypt(replace(only(bob), suite=3), alice.send(b"x"), BINDING)


def test_an_unknown_suite_says_so() -> None:
    alice, _ = talking()
    for suite in (0, 1, 3, 255):
        with pytest.raises(UnknownSuiteError, match=f"suite {suite}"):
            parse(bytes([suite]) + alice.send(b"x")[1:])


@pytest.mark.parametrize("slots", [0, 2, 3, 5, 9, 255])
def test_other_numbers_of_slots_are_malformed(slots: int) -> None:
    with pytest.raises(MalformedMessageError):
        parse(bytes([2, slots]) + bytes(2_000))


def test_unknown_flags_are_malformed() -> None:
    alice, _ = talking()
    message = alice.send(b"x")
    for flags in (0x03, 0x05, 0x06, 0x07, 0x08, 0x80, 0xFE):
        with pytest.raises(MalformedMessageError):
            parse(message[:2] + bytes([flags]) + message[3:])


@given(st.binary(max_size=400))
def test_arbitrary_messages_raise_nothing_else(data: bytes) -> None:
    for message in (
        data,
        b"\2\1" + data,
        *(bytes([2, 1, n]) + data + bytes(2_000) for n in (1, 2, 4)),
    ):
        with pytest.raises(CryptoError):
            decrypt(TALKING_SESSION, message, BINDING)
        with pytest.raises(CryptoError):
            accept(TALKING[0].identity, TALKING[0], message, BINDING)


TALKING_SESSION = only(TALKING[0])


def dishonest(
    sessions: list[Session], keys: list[bytes], commitment: bytes, ciphertext: bytes
) -> bytes:
    """What a sender makes who follows the layout but wraps keys of its own choice."""
    payload = message_module._payload_hash(2, BINDING, commitment, ciphertext)
    entries = []
    for session, content_key in zip(sessions, keys, strict=True):
        _, headers, key = session.send(payload)
        head = EntryHead(session.id, headers, session.handshake)
        associated = message_module._entry_associated(session, head)
        wrapped = gcm_encrypt(key, content_key, associated)
        entries.append(Entry(head, wrapped))
    return Layout(2, tuple(entries), commitment, ciphertext).to_bytes()


def test_the_content_key_is_committed_to() -> None:
    alice, bob = talking()
    key, other = b"k" * 32, b"o" * 32
    cipher_key, honest = message_module._content_keys(2, key)
    associated = message_module._content_associated(2, BINDING)
    ciphertext = gcm_encrypt(cipher_key, b"x", associated)
    bob.receive(alice.send(b"her turn begins"))
    assert bob.receive(dishonest([only(alice)], [key], honest, ciphertext)) == b"x"
    alice.send(b"one lost")
    before = bob.snapshot()
    for wrong in (message_module._content_keys(2, other)[1], bytes(32), key):
        with pytest.raises(CommitmentError):
            bob.receive(dishonest([only(alice)], [key], wrong, ciphertext))
    with pytest.raises(CommitmentError):
        bob.receive(dishonest([only(alice)], [other], honest, ciphertext))
    assert bob.snapshot() == before
    stranger, bob = Party(), Party()
    stranger.start(bob.bundle())
    with pytest.raises(CommitmentError):
        bob.receive(dishonest([only(stranger)], [other], honest, ciphertext))
    assert not bob.sessions


def test_a_content_key_of_another_length_is_refused() -> None:
    alice, bob = talking()
    with pytest.raises(CryptoError):
        bob.receive(dishonest([only(alice)], [b""], bytes(32), bytes(16)))


def test_a_device_that_knows_the_key_cannot_speak_for_the_sender() -> None:
    """Entries are bound to the payload: other content under the same content key does not open."""
    alice, [one, two] = with_devices(2)
    _, message = encrypt(alice.all_sessions(), b"pay 10", BINDING)
    layout = parse(message)
    # What device one learns:
    accepted_key = content_key_of(one, message)
    cipher_key, _ = message_module._content_keys(2, accepted_key)
    associated = message_module._content_associated(2, BINDING)
    forged = gcm_encrypt(cipher_key, b"pay 99", associated)
    with pytest.raises(AuthenticationError):
        two.receive(layout._replace(ciphertext=forged).to_bytes())
    assert two.receive(message) == b"pay 10"


def content_key_of(device: Party, message: bytes) -> bytes:
    layout = parse(message)
    entry = layout.entries[0]
    assert entry.handshake is not None
    session = Session.respond(device.identity, device, entry.handshake, 2, entry.session_id)
    payload = message_module._payload_hash(2, BINDING, layout.commitment, layout.ciphertext)
    _, key = session.receive(entry.head.headers, payload)
    associated = message_module._entry_associated(session, entry.head)
    return gcm_decrypt(key, entry.wrapped, associated)


def test_the_failure_that_is_reported_is_the_telling_one() -> None:
    alice, devices = with_devices(3)
    _, message = encrypt(alice.all_sessions(), b"x", BINDING)
    # To a device without any of the keys all that can be said is that they are missing.
    empty = Party()
    empty.signed.clear()
    with pytest.raises(MissingPreKeyError):
        empty.receive(message)
    # A damaged message is not a missing key, whichever entry is looked at last.
    with pytest.raises(AuthenticationError):
        devices[0].receive(message[:-1] + bytes([message[-1] ^ 1]))
    for party in devices:
        assert party.receive(message) == b"x"


def test_choose_session_takes_the_latest_start_then_the_greatest_id() -> None:
    alice, _ = with_devices(1)
    session = only(alice)
    a = replace(session, started=NOW, id=b"\xff" * 16)
    b = replace(session, started=NOW + 1, id=b"\x00" * 16)
    c = replace(session, started=NOW + 1, id=b"\x01" * 16)
    for sessions in ([a, b, c], [c, b, a], [b, c, a]):
        assert choose_session(sessions) is c
    with pytest.raises(UnknownSessionError):
        choose_session([])
