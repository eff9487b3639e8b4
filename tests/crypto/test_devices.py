"""One message to several devices: who opens it, its length, who gets the room for ratchet keys."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from kurir_crypto import message as message_module
from kurir_crypto.aead import gcm_encrypt
from kurir_crypto.curve import check_x25519_public
from kurir_crypto.errors import CommitmentError, CryptoError, UnknownSessionError
from kurir_crypto.handshake import HANDSHAKE_BYTES
from kurir_crypto.layout import (
    ENTRY_BYTES,
    FRAME_BYTES,
    MAX_DEVICES,
    SLOTS,
    Entry,
    EntryHead,
    Layout,
    parse,
    slots_for,
)
from kurir_crypto.message import encrypt, pieces
from kurir_crypto.padding import bucket_for, max_content
from kurir_crypto.ratchet import RatchetHeader
from kurir_crypto.sealing import EnvelopeKeyPair, MailboxKey, seal_symmetric, seal_to_address
from kurir_crypto.session import Session
from kurir_crypto.sparse import ANSWER_BYTES, ASK_BYTES, SparseHeader
from tests.crypto.parties import BINDING, Party, only

MAILBOX_KEY = MailboxKey.generate(1)
ENVELOPE_KEY = EnvelopeKeyPair.generate()


class Group:
    """One device that writes to several; ``devices[n]`` stands for the n-th of its sessions."""

    def __init__(self, count: int, *, confirmed: bool = True) -> None:
        self.sender = Party()
        self.devices = [Party() for _ in range(count)]
        self.ids = [self.sender.start(device.bundle()).id for device in self.devices]
        if confirmed:
            self.deliver(self.send(b"hello"))
            self.answer()

    def sessions(self, which: Iterable[int] | None = None) -> list[Session]:
        chosen = range(len(self.ids)) if which is None else which
        return [Session.from_bytes(self.sender.sessions[self.ids[n]]) for n in chosen]

    def send(self, content: bytes, which: Iterable[int] | None = None) -> bytes:
        after, message = encrypt(self.sessions(which), content, BINDING)
        for session in after:
            self.sender.store(session)
        return message

    def deliver(self, message: bytes, which: Iterable[int] | None = None) -> set[bytes]:
        chosen = range(len(self.ids)) if which is None else which
        return {self.devices[n].receive(message) for n in chosen}

    def answer(self, which: Iterable[int] | None = None) -> None:
        chosen = range(len(self.ids)) if which is None else which
        for n in chosen:
            self.sender.receive(self.devices[n].send(b"answer"))

    def quiet(self, n: int) -> None:
        """Go on until that session has nothing to carry."""
        for _ in range(200):
            if not self.sessions([n])[0].would_carry:
                return
            self.deliver(self.send(b"go on"))
            self.answer()
        raise AssertionError("it never comes to rest")


def carried(message: bytes) -> list[str]:
    """What the entries of a message carry."""
    found = []
    for entry in parse(message).entries:
        sparse = entry.head.headers.sparse
        if entry.handshake is not None:
            found.append("handshake")
        if sparse.ask is not None:
            found.append("ask")
        if sparse.answer is not None:
            found.append("answer")
    return found


EXTRA = {"handshake": HANDSHAKE_BYTES, "ask": ASK_BYTES, "answer": ANSWER_BYTES}


@pytest.mark.parametrize("count", range(1, MAX_DEVICES + 1))
def test_each_device_opens_each_message(count: int) -> None:
    group = Group(count)
    seen = set()
    for number in range(30):
        content = str(number).encode()
        message = group.send(content)
        assert group.deliver(message) == {content}
        seen.update(carried(message))
        assert len(carried(message)) <= min(count, 2)
        with pytest.raises(CryptoError):
            Party().receive(message)
        group.answer()
    assert seen >= {"answer"}
    assert min(session.sparse.epoch for session in group.sessions()) >= 1


@pytest.mark.parametrize("count", range(1, MAX_DEVICES + 1))
@pytest.mark.parametrize("length", [0, 1, 1_000])
def test_the_length_depends_on_slots_content_and_what_is_carried(count: int, length: int) -> None:
    """Two and four devices, five and eight: nobody who sees only a length can tell them apart."""
    group = Group(count, confirmed=False)
    for number in range(12):
        message = group.send(b"x" * length)
        fixed = FRAME_BYTES + slots_for(count) * ENTRY_BYTES + length
        assert len(message) == fixed + sum(EXTRA[kind] for kind in carried(message))
        assert carried(message).count("handshake") == (count if number == 0 else 0)
        group.deliver(message)
        group.answer()


@pytest.mark.parametrize("count", [2, 3, 5, 6, 7])
def test_what_fills_the_slots_looks_like_an_entry_and_is_never_twice_the_same(count: int) -> None:
    group = Group(count)
    seen: set[bytes] = set()
    filled = slots_for(count) - count
    for _ in range(5):
        entries = parse(group.send(b"x")).entries
        assert len(entries) in SLOTS
        dummies = [entry for entry in entries if entry.session_id not in group.ids]
        assert len(dummies) == filled
        for dummy in dummies:
            curve, sparse = dummy.head.headers
            check_x25519_public(curve.public)
            assert curve == RatchetHeader(curve.public, 0, 0)
            assert sparse == SparseHeader(0, 0, 0)
            seen |= {dummy.session_id, curve.public, dummy.wrapped}
    assert len(seen) == 5 * 3 * filled


def test_a_device_that_lost_its_session_does_not_stop_the_others() -> None:
    group = Group(4)
    group.devices[1].sessions.clear()
    message = group.send(b"x")
    with pytest.raises(UnknownSessionError):
        group.devices[1].receive(message)
    assert group.deliver(message, [0, 2, 3]) == {b"x"}


def test_a_device_that_was_set_back_does_not_stop_the_others() -> None:
    group = Group(4)
    old = dict(group.devices[1].sessions)
    for _ in range(3):
        group.deliver(group.send(b"x"))
        group.answer()
    group.devices[1].sessions = old
    before = group.devices[1].snapshot()
    for _ in range(15):
        message = group.send(b"y")
        with pytest.raises(CryptoError):
            group.devices[1].receive(message)
        assert group.deliver(message, [0, 2, 3]) == {b"y"}
        group.answer([0, 2, 3])
    assert group.devices[1].snapshot() == before


def test_devices_open_in_any_order_and_one_comes_late() -> None:
    group = Group(3)
    late = []
    for number in range(40):
        message = group.send(str(number).encode())
        late.append(message)
        group.deliver(message, [2, 0])
        group.answer([0, 2])
    for number in reversed(range(40)):
        assert group.deliver(late[number], [1]) == {str(number).encode()}


# room


@pytest.mark.parametrize("count", [2, 4, 8])
def test_two_entries_carry_ratchet_keys_and_each_gets_its_turn(count: int) -> None:
    group = Group(count)
    carriers = set()
    for _ in range(25 * count):
        message = group.send(b"x")
        assert len(carried(message)) <= 2
        for entry in parse(message).entries:
            if entry.head.headers.sparse.answer is not None:
                carriers.add(entry.session_id)
        group.deliver(message)
        group.answer()
    assert carriers == set(group.ids)
    assert min(session.sparse.epoch for session in group.sessions()) >= 3


@pytest.mark.parametrize(("count", "rounds"), [(1, 6), (2, 6), (4, 6), (5, 6), (8, 9)])
def test_an_epoch_ends_within_so_many_rounds(count: int, rounds: int) -> None:
    """Each waits its turn, so that how long a stolen state is good for has a bound."""
    group = Group(count)
    epochs = [session.sparse.epoch for session in group.sessions()]
    since = [0] * count
    for number in range(1, 80):
        group.deliver(group.send(b"x"))
        group.answer()
        for n, session in enumerate(group.sessions()):
            if session.sparse.epoch > epochs[n]:
                epochs[n], since[n] = session.sparse.epoch, number
            assert number - since[n] <= rounds
    assert min(epochs) >= 8


def overlapping() -> Group:
    """Answers for two sessions are held at once: given to one device in a message that another
    was not a reader of."""
    group = Group(4)
    group.send(b"lost", [0])
    group.send(b"lost", [1])
    assert [session.sparse.must_attach for session in group.sessions()] == [
        True,
        True,
        False,
        False,
    ]
    return group


def test_several_answers_go_together_where_they_must() -> None:
    group = overlapping()
    assert pieces(group.sessions()) == 3
    assert pieces(group.sessions([0, 1])) == 2
    assert pieces(group.sessions([0, 2])) == 2
    assert pieces(group.sessions([2, 3])) == 2
    assert pieces(group.sessions([0])) == pieces(group.sessions([3])) == 1
    message = group.send(b"x")
    assert carried(message) == ["answer", "answer", "answer"]
    assert group.deliver(message) == {b"x"}
    group.answer()
    assert pieces(group.sessions()) == 2


@pytest.mark.parametrize("held", range(9))
def test_the_padding_has_room_for_all_answers_that_are_held(held: int) -> None:
    group = Group(8)
    for n in range(held):
        group.send(b"lost", [n])
    sessions = group.sessions()
    room = pieces(sessions)
    assert room == min(8, max(2, held + 1))
    bucket = bucket_for(0, address=False, handshake=False, devices=8, pieces=room)
    most = longest(bucket, pieces=room)
    _, message = encrypt(sessions, b"x" * most, BINDING)
    assert carried(message) == ["answer"] * min(8, held + 1)
    assert len(seal_symmetric(MAILBOX_KEY, 1, BINDING, message, bucket)) == bucket


def longest(bucket: int, *, pieces: int) -> int:
    """The longest content that goes to eight devices in a bucket."""
    low, high = 0, bucket
    while low < high:
        middle = (low + high + 1) // 2
        same = bucket_for(middle, address=False, handshake=False, devices=8, pieces=pieces)
        low, high = (middle, high) if same == bucket else (low, middle - 1)
    return low


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_the_padding_is_the_same_for_none_and_for_one_answer(count: int) -> None:
    group = Group(count)
    idle = Group(count, confirmed=False).sessions()
    group.send(b"lost", [0])
    assert group.sessions()[0].must_carry
    assert not any(session.must_carry for session in idle)
    assert pieces(group.sessions()) == pieces(idle) == min(count, 2)


@pytest.mark.parametrize("count", range(1, MAX_DEVICES + 1))
@pytest.mark.parametrize("address", [False, True])
def test_new_and_old_sessions_together_fit(count: int, address: bool) -> None:
    """Handshakes for some, an answer for another: at most a handshake's room for each slot."""
    if address and count == MAX_DEVICES:
        count = 7
    group = Group(count)
    for _ in range(MAX_DEVICES - count if not address else 1):
        group.devices.append(Party())
        group.ids.append(group.sender.start(group.devices[-1].bundle()).id)
    sessions = group.sessions()
    handshake = not all(session.confirmed for session in sessions)
    most = max_content(address=address, handshake=handshake, devices=len(sessions))
    _, message = encrypt(sessions, b"x" * most, BINDING)
    assert "answer" in carried(message)
    bucket = bucket_for(most, address=address, handshake=handshake, devices=len(sessions))
    if address:
        body = seal_to_address(ENVELOPE_KEY.public, BINDING, message, bucket)
    else:
        body = seal_symmetric(MAILBOX_KEY, 1, BINDING, message, bucket)
    assert len(body) == bucket


# a device that is away


def healed_beside(group: Group, away: int) -> int:
    """The least epoch that the others reach in a long conversation while one never answers."""
    others = [n for n in range(len(group.ids)) if n != away]
    for _ in range(40 * len(others)):
        group.deliver(group.send(b"x"), others)
        group.answer(others)
    return min(session.sparse.epoch for session in group.sessions(others))


def test_a_device_that_never_came_does_not_keep_others_from_healing() -> None:
    group = Group(3, confirmed=False)
    group.deliver(group.send(b"hello"), [0, 1])
    group.answer([0, 1])
    assert healed_beside(group, away=2) >= 3


def test_a_device_that_went_at_rest_does_not_keep_others_from_healing() -> None:
    group = Group(3)
    group.quiet(2)
    assert healed_beside(group, away=2) >= 3


def test_a_device_that_went_with_an_ask_unanswered_does_not_keep_others_from_healing() -> None:
    """Its answer stands in every message until it is heard: that must not take all the room."""
    group = Group(3)
    assert group.sessions([2])[0].sparse.asked is not None
    assert healed_beside(group, away=2) >= 3


# one content


def two_contents(group: Group, commitment_to: int) -> bytes:
    """A sender who gives each device a content key of its own, and commits to one of them."""
    keys = [b"0" * 32, b"1" * 32]
    pairs = [message_module._content_keys(2, key) for key in keys]
    associated = message_module._content_associated(2, BINDING)
    ciphertext = gcm_encrypt(pairs[commitment_to][0], b"x", associated)
    commitment = pairs[commitment_to][1]
    payload = message_module._payload_hash(2, BINDING, commitment, ciphertext)
    entries = []
    for session, content_key in zip(group.sessions(), keys, strict=True):
        _, headers, key = session.send(payload, room=False)
        head = EntryHead(session.id, headers, session.handshake)
        bound = message_module._entry_associated(session, head)
        entries.append(Entry(head, gcm_encrypt(key, content_key, bound)))
    entries += [message_module._dummy() for _ in range(2)]
    return Layout(2, tuple(entries), commitment, ciphertext).to_bytes()


@pytest.mark.parametrize("chosen", [0, 1])
def test_two_devices_cannot_be_shown_two_contents(chosen: int) -> None:
    """AES-GCM does not commit to its key, so a ciphertext can be made that opens under two keys;
    the commitment leaves one of them."""
    group = Group(2)
    message = two_contents(group, chosen)
    before = group.devices[1 - chosen].snapshot()
    with pytest.raises(CommitmentError):
        group.devices[1 - chosen].receive(message)
    assert group.devices[1 - chosen].snapshot() == before
    assert group.devices[chosen].receive(message) == b"x"


def test_all_devices_have_the_same_message_before_them() -> None:
    """The entries are bound to commitment and ciphertext: neither can be another's."""
    group = Group(2)
    first, second = parse(group.send(b"first")), parse(group.send(b"other"))
    for mixed in (
        first._replace(commitment=second.commitment),
        first._replace(ciphertext=second.ciphertext),
        first._replace(commitment=second.commitment, ciphertext=second.ciphertext),
        first._replace(entries=(first.entries[0], second.entries[1], *first.entries[2:])),
    ):
        data = mixed.to_bytes()
        refused = 0
        for device in group.devices:
            before = device.snapshot()
            try:
                device.receive(data)
            except CryptoError:
                refused += 1
                assert device.snapshot() == before
        assert refused == 2 or (mixed.entries != first.entries and refused == 1)
    assert only(group.devices[0]).confirmed
