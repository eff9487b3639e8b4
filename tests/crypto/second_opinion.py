"""A second implementation of encryption, written from docs/protocol.md, part three, and from
nothing else: it shares no code with kurir_crypto. It shows that the document suffices, and
disagrees where document and code part. Names in quotes are the document's sections. It is for
tests only: short, and not careful with secrets.
"""

import copy
import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric import mlkem
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from nacl import bindings as sodium
from nacl.exceptions import CryptoError
from nacl.signing import SigningKey, VerifyKey

SUITE = b"\x02"
P = 2**255 - 19
# "Checks on public keys"
SMALL_ORDER = {
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
}
MAX_STORED, MAX_LEAP, MAX_PAST = 2_000, 25_000, 64
# What follows the numbers in a head, by its flags ("Messages").
NOTHING, HANDSHAKE, ASK, ANSWER = 0, 1, 2, 4
PIECE_BYTES = {NOTHING: 0, HANDSHAKE: 1746, ASK: 1184, ANSWER: 1088}
BUCKETS = (2048, 4096, 16384, 65536)
HPKE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class RefusedError(Exception):
    """What came in must be refused."""


class ReplayError(RefusedError):
    """It was opened before, or its key is forgotten."""


# --- "Notation"


def u8(number: int) -> bytes:
    return number.to_bytes(1, "big")


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def domain(name: str) -> bytes:
    return f"kurir/{name}/1\0".encode("ascii")


def digest(name: str, *parts: bytes) -> bytes:
    return hashlib.sha256(domain(name) + b"".join(parts)).digest()


def hkdf(ikm: bytes, info: bytes, length: int = 32, salt: bytes = bytes(32)) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(ikm)


def public_of(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def check_public(public: bytes) -> None:
    number = int.from_bytes(public, "little")
    if len(public) != 32 or number >= P or number in SMALL_ORDER:
        raise RefusedError("X25519 public key")


def agree(secret: bytes, public: bytes) -> bytes:
    check_public(public)
    try:
        return X25519PrivateKey.from_private_bytes(secret).exchange(
            X25519PublicKey.from_public_bytes(public)
        )
    except ValueError:
        raise RefusedError("the agreement is all zero") from None


def verify(sign_pk: bytes, name: str, signed: bytes, signature: bytes) -> None:
    try:
        VerifyKey(sign_pk).verify(domain(name) + signed, signature)
    except CryptoError:
        raise RefusedError(name) from None


def gcm_open(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    try:
        # Every key is used once, so the nonce is zero ("Messages").
        return AESGCM(key).decrypt(bytes(12), sealed, associated)
    except Exception:
        raise RefusedError("tag") from None


class Draws:
    """All that is random: a recording is replayed by drawing from it."""

    def ratchet_secret(self) -> bytes:
        return secrets.token_bytes(32)

    def ephemeral_secret(self) -> bytes:
        return secrets.token_bytes(32)

    def kem_seed(self) -> bytes:
        return secrets.token_bytes(64)

    def encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        return mlkem.MLKEM768PublicKey.from_public_bytes(public).encapsulate()

    def encapsulate_handshake(self, public: bytes) -> tuple[bytes, bytes]:
        return mlkem.MLKEM1024PublicKey.from_public_bytes(public).encapsulate()


# --- "Stored keys", "Keys and cards"


class Identity(NamedTuple):
    sign_pk: bytes
    dh_pk: bytes
    binding: bytes

    def check(self) -> None:
        verify(self.sign_pk, "identity", self.dh_pk, self.binding)
        check_public(self.dh_pk)


class PreKey(NamedTuple):
    kind: int
    id: int
    public: bytes
    signature: bytes

    def check(self, sign_pk: bytes, name: str) -> None:
        signed = u8(self.kind) + u32(self.id) + self.public
        verify(sign_pk, name, signed, self.signature)


class Bundle(NamedTuple):
    identity: Identity
    signed: PreKey
    kem: PreKey
    one_time: PreKey | None


class OwnKeys:
    """A device's secret keys, of their stored forms."""

    def __init__(self, identity: bytes, signed: bytes, one_time: bytes, kem: bytes) -> None:
        signing = SigningKey(identity[1:33])
        self.dh_secret = identity[33:]
        dh_pk = public_of(self.dh_secret)
        binding = signing.sign(domain("identity") + dh_pk).signature
        self.identity = Identity(signing.verify_key.encode(), dh_pk, binding)
        self.signed_secret, self.one_time_secret = signed[6:38], one_time[6:38]
        self.kem_secret = mlkem.MLKEM1024PrivateKey.from_seed_bytes(kem[6:70])
        self.bundle = Bundle(
            self.identity,
            self._prekey(signed, public_of(self.signed_secret)),
            self._prekey(kem, self.kem_secret.public_key().public_bytes_raw()),
            self._prekey(one_time, public_of(self.one_time_secret)),
        )

    @staticmethod
    def _prekey(stored: bytes, public: bytes) -> PreKey:
        return PreKey(stored[1], int.from_bytes(stored[2:6], "big"), public, stored[-64:])


# --- "Ratchet"


def kdf_ck(chain: bytes) -> tuple[bytes, bytes]:
    """The message's key, and the next chain key."""
    return hmac.digest(chain, b"\x01", "sha256"), hmac.digest(chain, b"\x02", "sha256")


def walk(chain: bytes, first: int, until: int, prefix: bytes, stored: dict[bytes, bytes]) -> bytes:
    """Store the keys from ``first`` to before ``until``; the chain key after them."""
    for number in range(first, until):
        stored[prefix + u32(number)], chain = kdf_ck(chain)
        if len(stored) > MAX_STORED:
            del stored[next(iter(stored))]
    return chain


def check_leap(count: int) -> None:
    if count > MAX_LEAP:
        raise RefusedError("leaps too far")


@dataclass
class Curve:
    """The Double Ratchet. The sending chain is None where there is none or a turn is due."""

    root: bytes
    own_secret: bytes
    peer: bytes | None = None
    sending: bytes | None = None
    receiving: bytes | None = None
    sent: int = 0
    received: int = 0
    previous: int = 0
    past: list[bytes] = field(default_factory=list)
    stored: dict[bytes, bytes] = field(default_factory=dict)

    def step(self, peer: bytes) -> bytes:
        """KDF_RK: the new chain key."""
        shared = agree(self.own_secret, peer)
        both = hkdf(shared, domain("ratchet-root"), 64, self.root)
        self.root = both[:32]
        return both[32:]

    def send(self, draws: Draws) -> tuple[bytes, bytes, bool]:
        """Header, key, and whether this was a turn."""
        turn = self.sending is None
        if self.sending is None:
            assert self.peer is not None
            self.own_secret = draws.ratchet_secret()
            self.previous, self.sent = self.sent, 0
            self.sending = self.step(self.peer)
        header = public_of(self.own_secret) + u32(self.previous) + u32(self.sent)
        key, self.sending = kdf_ck(self.sending)
        self.sent += 1
        return header, key, turn

    def receive(self, public: bytes, previous: int, number: int) -> bytes:
        if public + u32(number) in self.stored:
            return self.stored.pop(public + u32(number))
        if public != self.peer:
            if public[:8] in self.past:
                raise ReplayError
            rest = previous - self.received if self.receiving else 0
            check_leap(max(rest, 0) + number)
            if self.peer is not None:
                if self.receiving is not None:
                    walk(self.receiving, self.received, previous, self.peer, self.stored)
                self.past = [*self.past, self.peer[:8]][-MAX_PAST:]
            self.receiving = self.step(public)
            self.peer, self.received, self.sending = public, 0, None
        if self.receiving is None or number < self.received:
            raise ReplayError
        check_leap(number - self.received)
        chain = walk(self.receiving, self.received, number, public, self.stored)
        key, self.receiving = kdf_ck(chain)
        self.received = number + 1
        return key


@dataclass
class Sparse:
    """The sparse post-quantum ratchet. ``former`` is a chain and the number of its next message,
    ``asking`` the seeds and public key of one's own ask."""

    initiator: bool
    root: bytes
    sending: bytes
    receiving: bytes
    epoch: int = 0
    sent: int = 0
    received: int = 0
    previous: int = 0
    turns: int = 4
    former: tuple[bytes, int] | None = None
    asking: tuple[bytes, bytes] | None = None
    asked: bytes | None = None
    answer: bytes | None = None
    stored: dict[bytes, bytes] = field(default_factory=dict)

    @classmethod
    def start(cls, initiator: bool, secret: bytes) -> "Sparse":
        keys = hkdf(secret, domain("ratchet-pq"), 96)
        a, b = keys[32:64], keys[64:]
        return cls(initiator, keys[:32], *((a, b) if initiator else (b, a)))

    def my_ask(self) -> bool:
        """For odd epochs the responder asks, for even ones the initiator."""
        return self.initiator == ((self.epoch + 1) % 2 == 0)

    def ask_due(self, turn: bool) -> bool:
        free = self.asking is None and self.answer is None
        return self.my_ask() and free and self.turns + turn >= 5

    def carries(self, turn: bool) -> bool:
        """Whether the next message has something to carry, if it has room."""
        held = self.answer is not None or self.asked is not None or self.asking is not None
        return held or self.ask_due(turn)

    def enter(self, secret: bytes, ask: bytes, answer: bytes) -> None:
        info = domain("ratchet-pq-root") + u32(self.epoch + 1)
        info += digest("ratchet-pq-kem", ask, answer)
        keys = hkdf(secret, info, 96, self.root)
        self.former = self.receiving, self.received
        self.root, a, b = keys[:32], keys[32:64], keys[64:]
        self.sending, self.receiving = (a, b) if self.initiator else (b, a)
        self.epoch += 1
        self.previous, self.sent, self.received, self.turns = self.sent, 0, 0, 0
        self.asking = self.asked = self.answer = None

    def send(self, draws: Draws, turn: bool, room: bool) -> tuple[bytes, int, bytes, bytes]:
        """The three numbers, the flag of the piece, the piece, and the key."""
        due = self.ask_due(turn)
        self.turns += turn
        if room and self.asked is not None:
            ask = self.asked
            secret, answer = draws.encapsulate(ask)
            self.enter(secret, ask, answer)
            self.answer = answer
        elif room and due:
            seed = draws.kem_seed()
            pair = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)
            self.asking = seed, pair.public_key().public_bytes_raw()
        flag, piece = NOTHING, b""
        if self.answer is not None:
            flag, piece = ANSWER, self.answer
        elif room and self.asking is not None:
            flag, piece = ASK, self.asking[1]
        numbers = u32(self.epoch) + u32(self.previous) + u32(self.sent)
        key, self.sending = kdf_ck(self.sending)
        self.sent += 1
        return numbers, flag, piece, key

    def receive(self, numbers: tuple[int, int, int], flag: int, piece: bytes) -> bytes:
        epoch, previous, number = numbers
        if u32(epoch) + u32(number) in self.stored:
            return self.stored.pop(u32(epoch) + u32(number))
        if epoch == self.epoch + 1:
            if self.asking is None or flag != ANSWER:
                raise RefusedError("not asked, or not answered")
            seed, ask = self.asking
            pair = mlkem.MLKEM768PrivateKey.from_seed_bytes(seed)
            self.enter(pair.decapsulate(piece), ask, piece)
        if epoch > self.epoch:
            raise RefusedError("a later epoch")
        if epoch == self.epoch - 1 and self.former is not None:
            key, chain = self._next(*self.former, epoch, number)
            self.former = chain, number + 1
            return key
        if epoch < self.epoch:
            raise ReplayError
        if self.former is not None:
            chain, first = self.former
            check_leap(max(previous - first, 0) + number)
            walk(chain, first, previous, u32(epoch - 1), self.stored)
            self.former = None
        key, self.receiving = self._next(self.receiving, self.received, epoch, number)
        self.received = number + 1
        if flag == ASK:
            if self.my_ask():
                raise RefusedError("not the peer's turn to ask")
            try:
                mlkem.MLKEM768PublicKey.from_public_bytes(piece)
            except ValueError:
                raise RefusedError("ML-KEM public key") from None
            self.asked = self.asked or piece
        self.answer = None
        return key

    def _next(self, chain: bytes, first: int, epoch: int, number: int) -> tuple[bytes, bytes]:
        if number < first:
            raise ReplayError
        check_leap(number - first)
        return kdf_ck(walk(chain, first, number, u32(epoch), self.stored))


# --- "Messages"


class Entry(NamedTuple):
    head: bytes
    wrapped: bytes

    @property
    def flags(self) -> int:
        return self.head[0]

    @property
    def session_id(self) -> bytes:
        return self.head[1:17]

    @property
    def piece(self) -> bytes:
        return self.head[69:]

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(int.from_bytes(self.head[i : i + 4], "big") for i in range(49, 69, 4))


def split(message: bytes) -> tuple[list[Entry], bytes, bytes]:
    """Entries, commitment and C."""
    if len(message) < 2 or message[:1] != SUITE or message[1] not in (1, 4, 8):
        raise RefusedError("suite or slots")
    entries, at = [], 2
    for _ in range(message[1]):
        if at >= len(message) or message[at] not in PIECE_BYTES:
            raise RefusedError("flags")
        end = at + 69 + PIECE_BYTES[message[at]]
        entries.append(Entry(message[at:end], message[end : end + 48]))
        at = end + 48
    if len(message) < at + 32 + 16:
        raise RefusedError("too short")
    return entries, message[at : at + 32], message[at + 32 :]


@dataclass
class Session:
    id: bytes
    peer: Identity
    started: int
    initiated: bool
    associated: bytes
    handshake: bytes | None
    curve: Curve
    sparse: Sparse

    def send(self, draws: Draws, payload: bytes, room: bool = True) -> tuple[bytes, bytes]:
        """Head and message key."""
        header, curve_key, turn = self.curve.send(draws)
        numbers, flags, piece, sparse_key = self.sparse.send(draws, turn, room)
        if self.handshake is not None:
            assert flags == NOTHING
            flags, piece = HANDSHAKE, self.handshake
        head = u8(flags) + self.id + header + numbers + piece
        return head, hkdf(curve_key, domain("entry-key") + SUITE + payload, 32, sparse_key)

    def receive(self, entry: Entry, payload: bytes) -> bytes:
        previous, number, *numbers = entry.numbers
        epoch, sparse_previous, sparse_number = numbers
        curve_key = self.curve.receive(entry.head[17:49], previous, number)
        sparse_key = self.sparse.receive(
            (epoch, sparse_previous, sparse_number), entry.flags, entry.piece
        )
        # The responder was heard: from now on no handshake ("Sessions").
        self.handshake = None
        return hkdf(curve_key, domain("entry-key") + SUITE + payload, 32, sparse_key)


def content_keys(key: bytes) -> tuple[bytes, bytes]:
    both = hkdf(key, domain("content-key") + SUITE, 64)
    return both[:32], both[32:]


def payload_of(binding: bytes, commitment: bytes, sealed: bytes) -> bytes:
    return digest("payload", SUITE, hashlib.sha256(binding).digest(), commitment, sealed)


def entry_associated(session: Session, head: bytes) -> bytes:
    return domain("entry") + session.associated + head


def write(
    sessions: Sequence[Session],
    content: bytes,
    binding: bytes,
    draws: Draws,
    content_key: bytes | None = None,
) -> bytes:
    """A message; advances the sessions."""
    key = content_key or secrets.token_bytes(32)
    kc, commitment = content_keys(key)
    sealed = AESGCM(kc).encrypt(bytes(12), content, domain("content") + SUITE + binding)
    # "Room": each answer that is held, and the piece of one session more.
    free = [
        s for s in sessions if s.sparse.answer is None and s.sparse.carries(s.curve.sending is None)
    ]
    chosen = secrets.choice(free) if free else None
    entries = []
    for session in sessions:
        room = session is chosen or session.sparse.answer is not None
        head, message_key = session.send(draws, payload_of(binding, commitment, sealed), room)
        associated = entry_associated(session, head)
        entries.append(head + AESGCM(message_key).encrypt(bytes(12), key, associated))
    slots = slots_for(len(sessions))
    while len(entries) < slots:
        filler = secrets.token_bytes(16) + public_of(secrets.token_bytes(32)) + bytes(20)
        entries.append(u8(NOTHING) + filler + secrets.token_bytes(48))
    return SUITE + u8(slots) + b"".join(entries) + commitment + sealed


class Opened(NamedTuple):
    session: Session
    entry: Entry
    content_key: bytes
    content: bytes


def open_entry(session: Session, entry: Entry, message: bytes, binding: bytes) -> Opened:
    """The given session stays as it is; the new state is in the answer."""
    _, commitment, sealed = split(message)
    after = copy.deepcopy(session)
    message_key = after.receive(entry, payload_of(binding, commitment, sealed))
    associated = entry_associated(after, entry.head)
    key = gcm_open(message_key, entry.wrapped, associated)
    kc, expected = content_keys(key)
    if not hmac.compare_digest(expected, commitment):
        raise RefusedError("commitment")
    content = gcm_open(kc, sealed, domain("content") + SUITE + binding)
    return Opened(after, entry, key, content)


def read(session: Session, message: bytes, binding: bytes) -> Opened:
    for entry in split(message)[0]:
        if entry.session_id == session.id:
            return open_entry(session, entry, message, binding)
    raise RefusedError("no entry for this session")


def accept(own: OwnKeys, message: bytes, binding: bytes) -> Opened:
    """A first message, as the responder."""
    reason = RefusedError("no entry with a handshake")
    for entry in split(message)[0]:
        if entry.flags == HANDSHAKE:
            try:
                return open_entry(respond(own, entry), entry, message, binding)
            except RefusedError as error:
                reason = error
    raise reason


# --- "Handshake (PQXDH)"


def agreed(
    session_id: bytes, started: int, a: Identity, b: Bundle, agreements: list[bytes], ss: bytes
) -> tuple[bytes, bytes]:
    """AD and SK."""
    names = a.sign_pk + a.dh_pk + b.identity.sign_pk + b.identity.dh_pk
    ad = digest("session", SUITE, session_id, u32(started), names, b.kem.public)
    ikm = b"\xff" * 32 + b"".join(agreements) + ss
    return ad, hkdf(ikm, domain("pqxdh") + SUITE + ad)


def initiate(own: OwnKeys, peer: Bundle, session_id: bytes, started: int, draws: Draws) -> Session:
    peer.identity.check()
    sign_pk = peer.identity.sign_pk
    peer.signed.check(sign_pk, "prekey-ec")
    peer.kem.check(sign_pk, "prekey-kem")
    if peer.signed.kind != 0 or peer.kem.kind not in (1, 2):
        raise RefusedError("kind")
    ephemeral = draws.ephemeral_secret()
    ss, ct = draws.encapsulate_handshake(peer.kem.public)
    agreements = [
        agree(own.dh_secret, peer.signed.public),
        agree(ephemeral, peer.identity.dh_pk),
        agree(ephemeral, peer.signed.public),
    ]
    one_time = u8(0) + u32(0)
    if peer.one_time is not None:
        peer.one_time.check(sign_pk, "prekey-ec")
        agreements.append(agree(ephemeral, peer.one_time.public))
        one_time = u8(1) + u32(peer.one_time.id)
    ad, secret = agreed(session_id, started, own.identity, peer, agreements, ss)
    header = b"".join(own.identity) + public_of(ephemeral) + u32(started) + u32(peer.signed.id)
    header += one_time + u8(peer.kem.kind) + u32(peer.kem.id) + ct
    curve = Curve(hkdf(secret, domain("ratchet-ec")), draws.ratchet_secret(), peer.signed.public)
    curve.sending = curve.step(peer.signed.public)
    sparse = Sparse.start(True, secret)
    return Session(session_id, peer.identity, started, True, ad, header, curve, sparse)


def respond(own: OwnKeys, entry: Entry) -> Session:
    header = entry.piece
    peer = Identity(header[:32], header[32:64], header[64:128])
    ephemeral, numbers = header[128:160], header[160:178]
    peer.check()
    started = int.from_bytes(numbers[:4], "big")
    bundle = own.bundle
    assert bundle.one_time is not None
    with_one_time = u8(1) + u32(bundle.one_time.id)
    if numbers[8:13] not in (with_one_time, bytes(5)):
        raise RefusedError("no such one-time prekey")
    kem = u8(bundle.kem.kind) + u32(bundle.kem.id)
    if numbers[4:8] != u32(bundle.signed.id) or numbers[13:] != kem:
        raise RefusedError("no such prekey")
    agreements = [
        agree(own.signed_secret, peer.dh_pk),
        agree(own.dh_secret, ephemeral),
        agree(own.signed_secret, ephemeral),
    ]
    if numbers[8:13] == with_one_time:
        agreements.append(agree(own.one_time_secret, ephemeral))
    ss = own.kem_secret.decapsulate(header[178:])
    ad, secret = agreed(entry.session_id, started, peer, bundle, agreements, ss)
    curve = Curve(hkdf(secret, domain("ratchet-ec")), own.signed_secret)
    sparse = Sparse.start(False, secret)
    return Session(entry.session_id, peer, started, False, ad, None, curve, sparse)


# --- "Padding", "Sealing"


def slots_for(devices: int) -> int:
    return next(slots for slots in (1, 4, 8) if slots >= devices)


def bucket_for(length: int, address: bool, devices: int, answers: int, unconfirmed: bool) -> int:
    slots = slots_for(devices)
    reserve = 1184 * min(devices, max(2, answers + 1))
    if address or unconfirmed:
        reserve = max(reserve, 1746 * slots)
    needed = length + 50 + 117 * slots + reserve + 1 + (1136 if address else 40)
    return next(bucket for bucket in BUCKETS if bucket >= needed and (bucket > 2048 or not address))


def pad(message: bytes, length: int) -> bytes:
    return (message + b"\x80").ljust(length, b"\0")


def unpad(padded: bytes) -> bytes:
    message = padded.rstrip(b"\0")
    if message[-1:] != b"\x80":
        raise RefusedError("no padding")
    return message[:-1]


def binding_of(mailbox_id: bytes, envelope_id: bytes, label_hash: bytes) -> bytes:
    return domain("binding") + mailbox_id + envelope_id + label_hash


class MailboxKey(NamedTuple):
    week: int
    key: bytes

    def at(self, week: int) -> "MailboxKey":
        key = self.key
        for later in range(self.week + 1, week + 1):
            key = hkdf(key, domain("mailbox-week") + u32(later))
        return MailboxKey(week, key)

    def _sealing(self, binding: bytes) -> tuple[bytes, bytes]:
        associated = domain("sealed-mailbox") + u8(1) + u32(self.week) + binding
        return hkdf(self.key, domain("mailbox-seal") + u8(1)), associated

    def seal(self, message: bytes, binding: bytes, bucket: int, nonce: bytes) -> bytes:
        key, associated = self._sealing(binding)
        padded = pad(message, bucket - 40)
        return nonce + sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
            padded, associated, nonce, key
        )

    def open(self, body: bytes, binding: bytes, now_week: int) -> tuple[int, bytes]:
        """The week whose key opened it, and the message."""
        for week in range(now_week + 1, self.week - 1, -1):
            key, associated = self.at(week)._sealing(binding)
            try:
                padded = sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
                    body[24:], associated, body[:24], key
                )
            except CryptoError:
                continue
            return week, unpad(padded)
        raise RefusedError("no week's key opens it")


def address_key(stored: bytes) -> hpke.MLKEM768X25519PrivateKey:
    return hpke.MLKEM768X25519PrivateKey(
        mlkem.MLKEM768PrivateKey.from_seed_bytes(stored[1:65]),
        X25519PrivateKey.from_private_bytes(stored[65:]),
    )


def open_address(stored: bytes, body: bytes, binding: bytes) -> bytes:
    info = domain("sealed-address") + u8(1) + binding
    try:
        return unpad(HPKE.decrypt(body, address_key(stored), info))
    except RefusedError:
        raise
    except Exception:
        raise RefusedError("does not open") from None


def seal_address(public: bytes, message: bytes, binding: bytes, bucket: int) -> bytes:
    check_public(public[1184:])
    key = hpke.MLKEM768X25519PublicKey(
        mlkem.MLKEM768PublicKey.from_public_bytes(public[:1184]),
        X25519PublicKey.from_public_bytes(public[1184:]),
    )
    info = domain("sealed-address") + u8(1) + binding
    return HPKE.encrypt(pad(message, bucket - 1136), key, info)
