"""The recorded conversation, opened and written again by an implementation that was made from
docs/protocol.md alone; and its own messages, read by the real one. What the recording's fields mean
stands in tests/vectors/README.md.
"""

import copy
import json
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgpack
import pytest
from cryptography.hazmat.primitives.asymmetric import mlkem

from kurir_crypto import errors
from kurir_crypto import keys as real_keys
from kurir_crypto import message as real_message
from kurir_crypto import padding as real_padding
from kurir_crypto import sealing as real_sealing
from kurir_crypto import session as real_session
from kurir_wire import prekeys as real_prekeys
from kurir_wire.ids import EnvelopeId, Hash, MailboxId
from tests.crypto import second_opinion as so

RECORDING = Path(__file__).parents[1] / "vectors" / "conversation.json"
RECORDED: dict[str, Any] = json.loads(RECORDING.read_text())
DEVICES, ENVELOPES = RECORDED["devices"], RECORDED["envelopes"]
SESSION_ID, STARTED = bytes.fromhex(RECORDED["session_id"]), RECORDED["started"]
# The recording has no clock. The week in which the session began is less than one behind.
WEEK = STARTED * 60 // 604_800


def other(name: str) -> str:
    return {"a": "b", "b": "a"}[name]


def keys_of(name: str) -> so.OwnKeys:
    fields = ("identity", "signed", "one_time", "kem")
    return so.OwnKeys(*(bytes.fromhex(DEVICES[name][field]) for field in fields))


def mailbox_key(name: str) -> so.MailboxKey:
    stored = DEVICES[name]["mailbox_key"]
    return so.MailboxKey(stored["week"], bytes.fromhex(stored["key"]))


def envelope_key(name: str) -> bytes:
    return bytes.fromhex(DEVICES[name]["envelope_key"])


def binding_of(envelope: dict[str, Any]) -> bytes:
    names = ("mailbox_id", "envelope_id", "label_hash")
    return so.binding_of(*(bytes.fromhex(envelope[name]) for name in names))


class RecordedDraws(so.Draws):
    """Gives what the device drew, in the same order."""

    def __init__(self, device: dict[str, Any]) -> None:
        fields = ["ephemeral_keys", "handshake_encapsulations", "ratchet_keys"]
        fields += ["ratchet_kem_keys", "ratchet_encapsulations"]
        self._left = {
            name: [(bytes.fromhex(x), bytes.fromhex(y)) for x, y in device[name]] for name in fields
        }

    def _pair(self, name: str) -> tuple[bytes, bytes]:
        return self._left[name].pop(0)

    def _curve(self, name: str) -> bytes:
        secret, public = self._pair(name)
        assert so.public_of(secret) == public
        return secret

    def ratchet_secret(self) -> bytes:
        return self._curve("ratchet_keys")

    def ephemeral_secret(self) -> bytes:
        return self._curve("ephemeral_keys")

    def kem_seed(self) -> bytes:
        seed, public = self._pair("ratchet_kem_keys")
        pair = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)
        assert pair.public_key().public_bytes_raw() == public
        return seed

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        return self._pair("ratchet_encapsulations")

    def encapsulate_handshake(self, public: bytes) -> tuple[bytes, bytes]:
        return self._pair("handshake_encapsulations")

    def all_used(self) -> bool:
        return not any(self._left.values())


class Replay:
    """One device through the conversation, from its own keys and what it drew."""

    def __init__(self, name: str) -> None:
        self.name, self.own, self.draws = name, keys_of(name), RecordedDraws(DEVICES[name])
        self.session: so.Session | None = None
        self.seen: set[str] = set()

    def run(self) -> so.Session:
        for event in RECORDED["events"]:
            who, verb, number = event.split()
            if who == self.name:
                {"opens": self.opens, "sends": self.sends}[verb](ENVELOPES[int(number)])
        assert self.draws.all_used()
        assert self.session is not None
        return self.session

    def unseal(self, envelope: dict[str, Any], binding: bytes) -> bytes:
        body = bytes.fromhex(envelope["body"])
        if envelope["mailbox_id"] == DEVICES[self.name]["address_id"]:
            self.seen.add("address")
            return so.open_address(envelope_key(self.name), body, binding)
        week, message = mailbox_key(self.name).open(body, binding, WEEK)
        assert week == envelope["week"]
        self.seen.add(f"week {week - WEEK}")
        return message

    def open(self, message: bytes, binding: bytes) -> so.Opened:
        if self.session is None:
            return so.accept(self.own, message, binding)
        return so.read(self.session, message, binding)

    def opens(self, envelope: dict[str, Any]) -> None:
        binding = binding_of(envelope)
        message = self.unseal(envelope, binding)
        before = copy.deepcopy(self.session)
        # Whatever is changed is refused, and leaves the state as it was ("Messages").
        elsewhere = binding[:-1] + bytes([binding[-1] ^ 1])
        with pytest.raises(so.RefusedError):
            self.unseal(envelope, elsewhere)
        changed = message[:-1] + bytes([message[-1] ^ 1])
        for wrong in ((message, elsewhere), (changed, binding)):
            with pytest.raises(so.RefusedError):
                self.open(*wrong)
        assert self.session == before

        opened = self.open(message, binding)
        self.session = opened.session
        assert opened.content.hex() == envelope["content"]
        assert opened.content_key.hex() == envelope["content_key"]
        assert opened.entry.numbers[2] == envelope["epoch"]
        assert message[1] == envelope["slots"]
        self.seen |= {f"flags {opened.entry.flags}", f"slots {message[1]}"}
        with pytest.raises(so.ReplayError):
            self.open(message, binding)

    def sends(self, envelope: dict[str, Any]) -> None:
        to = other(self.name)
        if self.session is None:
            bundle = keys_of(to).bundle
            self.session = so.initiate(self.own, bundle, SESSION_ID, STARTED, self.draws)
        binding, content = binding_of(envelope), bytes.fromhex(envelope["content"])
        answers = int(self.session.sparse.answer is not None)
        unconfirmed = self.session.handshake is not None
        key = bytes.fromhex(envelope["content_key"])
        message = so.write([self.session], content, binding, self.draws, key)
        head = so.split(message)[0][0].head
        assert self.session.sparse.epoch == envelope["epoch"]
        if envelope["body"] is None:
            return
        body = bytes.fromhex(envelope["body"])
        # Four slots hold two devices here.
        address, devices = envelope["into"] == "address", {1: 1, 4: 2}[envelope["slots"]]
        bucket = so.bucket_for(len(content), address, devices, answers, unconfirmed)
        assert len(body) == bucket
        if address:
            assert so.open_address(envelope_key(to), body, binding) == message
            return
        _, written = mailbox_key(to).open(body, binding, WEEK)
        entries = so.split(written)[0]
        assert head in [entry.head for entry in entries]
        if len(entries) == 1:
            sealing = mailbox_key(to).at(envelope["week"])
            assert sealing.seal(message, binding, bucket, body[:24]) == body


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("a", {"flags 0", "flags 2", "flags 4", "slots 1"}),
        ("b", {"flags 0", "flags 1", "flags 2", "flags 4", "slots 1", "slots 4", "address"}),
    ],
)
def test_recorded_conversation(name: str, seen: set[str]) -> None:
    replay = Replay(name)
    session = replay.run()
    assert session.sparse.epoch == 3
    assert replay.seen == seen | {"week 0", "week 1"}


def test_both_ends_agree() -> None:
    a, b = Replay("a").run(), Replay("b").run()
    assert a.associated == b.associated
    assert a.sparse.root == b.sparse.root
    assert a.sparse.sending == b.sparse.receiving


# --- With the real implementation.


def stored(session: so.Session) -> real_session.Session:
    """The real session in the same state, by its stored form (tests/vectors/README.md)."""
    curve, sparse = session.curve, session.sparse
    peer, own_public = session.peer, so.public_of(session.curve.own_secret)
    ratchet: list[Any] = [curve.root, curve.own_secret, own_public, curve.peer]
    ratchet += [curve.sending, curve.receiving, curve.sent, curve.received, curve.previous]
    ratchet += [curve.past, curve.stored]
    quantum: list[Any] = [sparse.initiator, sparse.root, sparse.sending, sparse.receiving]
    quantum += [sparse.epoch, sparse.sent, sparse.received, sparse.previous]
    quantum += [sparse.turns, sparse.former]
    quantum += [sparse.asking, sparse.asked, sparse.answer, sparse.stored, 0]
    fields: list[Any] = [so.SUITE[0], session.id, list(peer), session.started]
    fields += [session.initiated, session.handshake is None, session.associated, session.handshake]
    return real_session.Session.from_bytes(msgpack.packb([*fields, ratchet, quantum]))


def stored_twin(session: real_session.Session) -> so.Session:
    """The inverse of :func:`stored`."""
    _, session_id, peer, started, initiated, _, ad, handshake, ratchet, quantum = msgpack.unpackb(
        session.to_bytes()
    )
    root, own_secret, _, *curve = ratchet
    sparse = so.Sparse(*quantum[:-1])
    return so.Session(
        session_id,
        so.Identity(*peer),
        started,
        initiated,
        ad,
        handshake,
        so.Curve(root, own_secret, *curve),
        sparse,
    )


def new_binding(mailbox_id: bytes) -> real_sealing.Binding:
    envelope_id, label_hash = EnvelopeId(secrets.token_bytes(16)), Hash(secrets.token_bytes(32))
    return real_sealing.Binding(MailboxId(mailbox_id), envelope_id, label_hash)


@dataclass
class Pair:
    """The second implementation as one device, the real one as the other."""

    mine: so.Session
    real: real_session.Session
    week: int = WEEK

    def to_real(self, content: bytes, *, lost: bool = False) -> int:
        """Sealed into a mailbox, and opened; the flags of the entry."""
        binding = new_binding(bytes(32))
        answers = int(self.mine.sparse.answer is not None)
        unconfirmed = self.mine.handshake is not None
        bucket = so.bucket_for(len(content), False, 1, answers, unconfirmed)
        message = so.write([self.mine], content, binding, so.Draws())
        key = so.MailboxKey(WEEK - 1, b"k" * 32)
        body = key.at(self.week).seal(message, binding, bucket, secrets.token_bytes(24))
        assert len(body) == bucket
        if not lost:
            own = real_sealing.MailboxKey.from_bytes(b"\x01" + so.u32(key.week) + key.key)
            opened = real_sealing.open_with(own, self.week, binding, body)
            self.real, plain = real_message.decrypt(self.real, opened, binding)
            assert plain == content
        return so.split(message)[0][0].flags

    def to_mine(self, content: bytes) -> int:
        binding = new_binding(bytes(32))
        [self.real], message = real_message.encrypt([self.real], content, binding)
        own = so.MailboxKey(WEEK - 1, b"k" * 32)
        key = real_sealing.MailboxKey.from_bytes(b"\x01" + so.u32(own.week) + own.key)
        body = real_sealing.seal_symmetric(key, self.week, binding, message, 4096)
        week, opened = own.open(body, binding, self.week)
        assert week == self.week
        result = so.read(self.mine, opened, binding)
        self.mine = result.session
        assert result.content == content
        return result.entry.flags

    def talk(self, turns: int) -> set[int]:
        flags = set()
        for number in range(turns):
            self.to_real(b"lost", lost=True)
            flags.add(self.to_real(b"from the second, %d" % number))
            flags.add(self.to_mine(b"from the real one, %d" % number))
        return flags


@pytest.mark.parametrize("mine", ["a", "b"])
def test_real_one_continues_the_conversation(mine: str) -> None:
    pair = Pair(Replay(mine).run(), stored(Replay(other(mine)).run()))
    assert pair.talk(40) == {so.NOTHING, so.ASK, so.ANSWER}
    assert pair.mine.sparse.epoch >= 8
    assert stored(pair.mine).sparse.epoch == pair.real.sparse.epoch


@dataclass
class RealKeys:
    """The recorded device, held by the real implementation."""

    name: str

    def _of(self, make: Callable[[bytes], Any], field: str) -> Any:
        return make(bytes.fromhex(DEVICES[self.name][field]))

    def identity(self) -> real_keys.IdentityKeyPair:
        return self._of(real_keys.IdentityKeyPair.from_bytes, "identity")

    def signed_prekey(self, key_id: int) -> real_keys.OwnEcPreKey | None:
        return self._of(real_keys.OwnEcPreKey.from_bytes, "signed")

    def one_time_prekey(self, key_id: int) -> real_keys.OwnEcPreKey | None:
        return self._of(real_keys.OwnEcPreKey.from_bytes, "one_time")

    def kem_prekey(self, kind: int, key_id: int) -> real_keys.OwnKemPreKey | None:
        return self._of(real_keys.OwnKemPreKey.from_bytes, "kem")


def first_to_real(own: str, peer: str, one_time: bool = True) -> Pair:
    """A first message of the second implementation, sealed to an address."""
    bundle = keys_of(peer).bundle
    if not one_time:
        bundle = bundle._replace(one_time=None)
    session = so.initiate(keys_of(own), bundle, secrets.token_bytes(16), STARTED, so.Draws())
    binding = new_binding(b"a" * 32)
    message = so.write([session], b"hello", binding, so.Draws())
    address = real_sealing.EnvelopeKeyPair.from_bytes(envelope_key(peer))
    bucket = so.bucket_for(5, True, 1, 0, True)
    body = so.seal_address(address.public, message, binding, bucket)
    assert len(body) == bucket == 4096
    opened = real_sealing.open_at_address(address, binding, body)
    real = RealKeys(peer)
    accepted = real_message.accept(real.identity(), real, opened, binding)
    assert accepted.content == b"hello"
    return Pair(session, accepted.session)


@pytest.mark.parametrize("one_time", [True, False])
def test_real_one_accepts_a_first_message(one_time: bool) -> None:
    pair = first_to_real("a", "b", one_time)
    assert pair.to_real(b"the handshake again") == so.HANDSHAKE
    assert pair.to_mine(b"heard") == so.ASK
    assert pair.talk(12) == {so.NOTHING, so.ASK, so.ANSWER}
    assert pair.mine.sparse.epoch >= 2


def test_first_message_of_the_real_one_is_accepted() -> None:
    own = keys_of("b").bundle
    assert own.one_time is not None
    bundle = real_prekeys.PreKeyBundle(
        real_prekeys.IdentityPublic(*own.identity),
        real_prekeys.EcPreKey(*own.signed),
        real_prekeys.KemPreKey(*own.kem),
        real_prekeys.EcPreKey(*own.one_time),
    )
    session = real_session.Session.initiate(RealKeys("a").identity(), bundle, STARTED)
    binding = new_binding(b"a" * 32)
    [session], message = real_message.encrypt([session], b"hello", binding)
    opened = so.accept(keys_of("b"), message, binding)
    assert opened.content == b"hello"
    pair = Pair(opened.session, session)
    assert pair.talk(12) == {so.NOTHING, so.ASK, so.ANSWER}
    assert pair.mine.sparse.epoch >= 2


def check_room(message: bytes, held: list[bytes]) -> None:
    """Each answer that is held, and one piece more ("Room")."""
    carry = [entry.session_id for entry in so.split(message)[0] if entry.flags != so.NOTHING]
    assert set(held) <= set(carry)
    assert len(carry) <= len(held) + 1


def test_two_devices_in_four_slots() -> None:
    pairs = [first_to_real("a", "b"), first_to_real("b", "a")]
    for pair in pairs:
        pair.talk(2)
    for number in range(20):
        binding = new_binding(bytes(32))
        held = [pair.mine.id for pair in pairs if pair.mine.sparse.answer is not None]
        message = so.write([pair.mine for pair in pairs], b"to both", binding, so.Draws())
        assert message[1] == 4
        check_room(message, held)
        for pair in pairs:
            pair.real, content = real_message.decrypt(pair.real, message, binding)
            assert content == b"to both"
        held = [pair.real.id for pair in pairs if pair.real.must_carry]
        reals, message = real_message.encrypt([p.real for p in pairs], b"%d" % number, binding)
        check_room(message, held)
        for pair, real in zip(pairs, reals, strict=True):
            pair.real = real
            opened = so.read(pair.mine, message, binding)
            pair.mine = opened.session
            assert opened.content == b"%d" % number
    assert all(pair.mine.sparse.epoch >= 2 for pair in pairs)


def test_out_of_order() -> None:
    """Both ways, each message up to six late, some never: all that comes opens, once."""
    pair, draw = first_to_real("a", "b"), random.Random(1)
    ways: tuple[list[Any], list[Any]] = ([], [])
    for number in range(800):
        way, content = draw.randrange(2), b"%d" % number
        binding = new_binding(bytes(32))
        if way == 0:
            message = so.write([pair.mine], content, binding, so.Draws())
        else:
            [pair.real], message = real_message.encrypt([pair.real], content, binding)
        ways[way].append((message, binding, content))
        while len(ways[way]) > 6 or (ways[way] and draw.random() < 0.4):
            message, binding, content = ways[way].pop(draw.randrange(len(ways[way])))
            if draw.random() < 0.1:
                continue
            if way == 0:
                pair.real, opened = real_message.decrypt(pair.real, message, binding)
                with pytest.raises(errors.ReplayError):
                    real_message.decrypt(pair.real, message, binding)
            else:
                pair.mine, _, _, opened = so.read(pair.mine, message, binding)
                with pytest.raises(so.ReplayError):
                    so.read(pair.mine, message, binding)
            assert opened == content
    assert pair.mine.sparse.epoch >= 8


def test_limits_of_both() -> None:
    """2,000 stored keys, a leap of 25,000 messages at most ("Ratchet")."""
    pair, binding = first_to_real("a", "b"), new_binding(bytes(32))
    pair.to_mine(b"heard")
    pair.to_real(b"a chain begins")
    mine = stored_twin(pair.real)
    late = {}
    for number in range(25_002):
        if number in (22_999, 23_000, 25_000, 25_001):
            late[number] = so.write([pair.mine], b"%d" % number, binding, so.Draws())
        else:
            pair.mine.send(so.Draws(), bytes(32))
    with pytest.raises(errors.SkippedTooFarError):
        real_message.decrypt(pair.real, late[25_001], binding)
    with pytest.raises(so.RefusedError, match="leaps too far"):
        so.read(mine, late[25_001], binding)
    for number in (25_000, 23_000):
        pair.real, content = real_message.decrypt(pair.real, late[number], binding)
        mine, _, _, same = so.read(mine, late[number], binding)
        assert content == same == b"%d" % number
    with pytest.raises(errors.ReplayError):
        real_message.decrypt(pair.real, late[22_999], binding)
    with pytest.raises(so.ReplayError):
        so.read(mine, late[22_999], binding)


def test_wrong_commitment_is_refused_by_both(monkeypatch: pytest.MonkeyPatch) -> None:
    pair, binding = first_to_real("a", "b"), new_binding(bytes(32))
    twin, right = stored_twin(pair.real), so.content_keys
    with monkeypatch.context() as patch:
        patch.setattr(so, "content_keys", lambda key: (right(key)[0], bytes(32)))
        message = so.write([pair.mine], b"two contents", binding, so.Draws())
    with pytest.raises(errors.CryptoError):
        real_message.decrypt(pair.real, message, binding)
    with pytest.raises(so.RefusedError, match="commitment"):
        so.read(twin, message, binding)


def test_two_weeks_ahead_is_refused_by_both() -> None:
    key, binding = so.MailboxKey(WEEK, b"k" * 32), new_binding(bytes(32))
    own = real_sealing.MailboxKey.from_bytes(b"\x01" + so.u32(key.week) + key.key)
    body = key.at(WEEK + 2).seal(b"message", binding, 2048, bytes(24))
    assert key.open(body, binding, WEEK + 1) == (WEEK + 2, b"message")
    assert real_sealing.open_with(own, WEEK + 1, binding, body) == b"message"
    with pytest.raises(so.RefusedError):
        key.open(body, binding, WEEK)
    with pytest.raises(errors.AuthenticationError):
        real_sealing.open_with(own, WEEK, binding, body)


@pytest.mark.parametrize(
    ("address", "unconfirmed", "longest"),
    [
        (False, False, (656, 2_704, 14_992, 64_144)),
        (False, True, (94, 2_142, 14_430, 63_582)),
        (True, False, (-1, 1_046, 13_334, 62_486)),
    ],
)
def test_longest_contents(address: bool, unconfirmed: bool, longest: tuple[int, ...]) -> None:
    """The table in "Padding"."""
    for bucket, length in zip(so.BUCKETS, longest, strict=True):
        if length >= 0:
            assert so.bucket_for(length, address, 1, 0, unconfirmed) == bucket
        if bucket < so.BUCKETS[-1]:
            assert so.bucket_for(length + 1, address, 1, 0, unconfirmed) > bucket


@pytest.mark.parametrize("address", [True, False])
@pytest.mark.parametrize("unconfirmed", [True, False])
def test_buckets_for_several_devices(address: bool, unconfirmed: bool) -> None:
    for devices in range(1, 9):
        for answers in range(devices + 1):
            for length in range(0, 14_000, 97):
                pieces = min(devices, max(2, answers + 1))
                assert so.bucket_for(
                    length, address, devices, answers, unconfirmed
                ) == real_padding.bucket_for(
                    length, address=address, handshake=unconfirmed, devices=devices, pieces=pieces
                )
