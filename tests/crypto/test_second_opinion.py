"""A second reader, written from docs/protocol.md ("Encryption") and not from the code.

It opens what kurir_crypto makes, from the secret keys alone. If this test and the package disagree,
a derivation, a label or a layout has changed, which takes a new suite id.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from nacl import bindings

from kurir_crypto import message as ours
from kurir_crypto import vault
from kurir_crypto.invite import InviteSecret
from kurir_crypto.keys import IdentityKeyPair
from kurir_crypto.sealing import MailboxKey, seal_symmetric
from tests.crypto.parties import BINDING, Party, only


def d(name: str) -> bytes:
    return f"kurir/{name}/1".encode() + b"\0"


def h(name: str, *fields: bytes) -> bytes:
    return sha(d(name) + b"".join(fields))


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def mac(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(ikm: bytes, info: bytes, n: int = 32, salt: bytes = bytes(32)) -> bytes:
    """RFC 5869."""
    prk, out, block = mac(salt, ikm), b"", b""
    for counter in range(1, -(-n // 32) + 1):
        block = mac(prk, block + info + bytes([counter]))
        out += block
    return out[:n]


def x(secret: bytes, public: bytes) -> bytes:
    key = X25519PrivateKey.from_private_bytes(secret)
    return key.exchange(X25519PublicKey.from_public_bytes(public))


def public_of(secret: bytes) -> bytes:
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def xchacha(key: bytes, sealed: bytes, ad: bytes) -> bytes:
    return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed[24:], ad, sealed[:24], key)


def unpad(padded: bytes) -> bytes:
    stripped = padded.rstrip(b"\0")
    assert stripped[-1:] == b"\x80"
    return stripped[:-1]


class Cut:
    """Cuts fields off the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __call__(self, n: int) -> bytes:
        piece, self.data = self.data[:n], self.data[n:]
        assert len(piece) == n
        return piece


@dataclass
class Bob:
    """Bob's secret keys, and his end of one session with Alice."""

    sign_pk: bytes
    dh_secret: bytes
    prekeys: dict[tuple[str, int, int], bytes]
    ad: bytes = b""
    root: bytes = b""
    ratchet_secret: bytes = b""
    peer: bytes = b""
    chain: bytes = b""
    number: int = 0

    def handshake(self, suite: bytes, session_id: bytes, header: bytes) -> None:
        cut = Cut(header)
        sign_a, dh_a, _signature, ek = cut(32), cut(32), cut(64), cut(32)
        started, signed_id = cut(4), int.from_bytes(cut(4), "big")
        has_one_time, one_time_id = cut(1)[0], int.from_bytes(cut(4), "big")
        kem_kind, kem_id = cut(1)[0], int.from_bytes(cut(4), "big")
        ct = cut(1_568)
        assert cut.data == b""
        spk = self.prekeys["ec", 0, signed_id]
        kem = MLKEM1024PrivateKey.from_seed_bytes(self.prekeys["kem", kem_kind, kem_id])
        parts = [x(spk, dh_a), x(self.dh_secret, ek), x(spk, ek)]
        if has_one_time:
            parts.append(x(self.prekeys["ec", 1, one_time_id], ek))
        pq = kem.public_key().public_bytes_raw()
        who = [sign_a, dh_a, self.sign_pk, public_of(self.dh_secret)]
        self.ad = h("session", suite, session_id, started, *who, pq)
        ikm = b"\xff" * 32 + b"".join(parts) + kem.decapsulate(ct)
        secret = hkdf(ikm, d("pqxdh") + suite + self.ad)
        self.root = hkdf(secret, d("ratchet-ec"))
        self.ratchet_secret = spk

    def message_key(self, header: bytes) -> bytes:
        """For messages that come in order."""
        cut = Cut(header)
        peer, _pn, n = cut(32), cut(4), int.from_bytes(cut(4), "big")
        if peer != self.peer:
            both = hkdf(x(self.ratchet_secret, peer), d("ratchet-root"), 64, salt=self.root)
            self.root, self.chain, self.peer, self.number = both[:32], both[32:], peer, 0
        assert n == self.number
        key = mac(self.chain, b"\x01")
        self.chain, self.number = mac(self.chain, b"\x02"), n + 1
        return key

    def open(self, message: bytes, b: bytes) -> bytes:
        cut = Cut(message)
        suite, slots, flags = cut(1), cut(1), cut(1)
        assert (suite, slots) == (b"\1", b"\1")
        session_id, ratchet = cut(16), cut(40)
        handshake = cut(1_746) if flags == b"\1" else b""
        head = flags + session_id + ratchet + handshake
        wrapped, commitment, c = cut(48), cut(32), cut.data
        if handshake and not self.ad:
            self.handshake(suite, session_id, handshake)
        payload = h("payload", suite, sha(b), commitment, sha(c))
        kw = hkdf(self.message_key(ratchet), d("entry-key") + suite, 44)
        entry_ad = h("entry", self.ad, sha(head), payload)
        k = AESGCM(kw[:32]).decrypt(kw[32:], wrapped, entry_ad)
        assert mac(k, d("content-commitment") + suite) == commitment
        kc = hkdf(k, d("content-key") + suite, 44)
        return AESGCM(kc[:32]).decrypt(kc[32:], c, d("content") + suite + sha(b))

    def answer(self, content: bytes, b: bytes, session_id: bytes) -> bytes:
        """The first message of Bob's first sending chain."""
        suite, k = b"\1", b"k" * 32
        self.ratchet_secret = b"r" * 32
        both = hkdf(x(self.ratchet_secret, self.peer), d("ratchet-root"), 64, salt=self.root)
        self.root, chain = both[:32], both[32:]
        kc = hkdf(k, d("content-key") + suite, 44)
        c = AESGCM(kc[:32]).encrypt(kc[32:], content, d("content") + suite + sha(b))
        commitment = mac(k, d("content-commitment") + suite)
        payload = h("payload", suite, sha(b), commitment, sha(c))
        head = b"\0" + session_id + public_of(self.ratchet_secret) + bytes(8)
        kw = hkdf(mac(chain, b"\x01"), d("entry-key") + suite, 44)
        entry_ad = h("entry", self.ad, sha(head), payload)
        wrapped = AESGCM(kw[:32]).encrypt(kw[32:], k, entry_ad)
        return suite + b"\1" + head + wrapped + commitment + c


def second_bob(bob: Party) -> Bob:
    """Bob's stored secrets, read as "Stored keys" says."""
    stored = bob.identity.to_bytes()
    prekeys = {}
    ec = [*bob.signed.values(), *bob.one_time.values()]
    named = [("ec", own.to_bytes(), 32) for own in ec]
    named += [("kem", own.to_bytes(), 64) for own in bob.kem.values()]
    for name, data, length in named:
        assert data[0] == 1
        prekeys[name, data[1], int.from_bytes(data[2:6], "big")] = data[6 : 6 + length]
    return Bob(bob.identity.public.sign_pk, stored[33:], prekeys)


@pytest.mark.parametrize("stock", [0, 1])
def test_it_opens_a_conversation(stock: int) -> None:
    alice, bob = Party(), Party()
    bob.stock(stock)
    second = second_bob(bob)
    session = alice.start(bob.bundle())
    for content in (b"first", b"second, the handshake repeated", b""):
        assert second.open(alice.send(content), BINDING) == content
    answer = second.answer(b"from the second Bob", BINDING, session.id)
    assert alice.receive(answer) == b"from the second Bob"
    assert only(alice).confirmed
    for content in (b"a new ratchet key", b"and the next"):
        assert second.open(alice.send(content), BINDING) == content


def test_it_reads_the_identity() -> None:
    identity = IdentityKeyPair.generate()
    data = identity.to_bytes()
    assert public_of(data[33:]) == identity.public.dh_pk
    public, _ = bindings.crypto_sign_seed_keypair(data[1:33])
    assert public == identity.public.sign_pk
    binding = bindings.crypto_sign_open(
        identity.public.binding + d("identity") + identity.public.dh_pk, public
    )
    assert binding == d("identity") + identity.public.dh_pk


def mailbox_chain(key: bytes, week: int, weeks: int) -> bytes:
    for w in range(week, week + weeks):
        key = hkdf(key, d("mailbox-week") + (w + 1).to_bytes(4, "big"))
    return key


@pytest.mark.parametrize("weeks", [0, 1, 3])
def test_it_opens_a_mailbox_body(weeks: int) -> None:
    key = MailboxKey(2_900, b"m" * 32)
    body = seal_symmetric(key, 2_900 + weeks, BINDING, b"message", 2_048)
    skey = hkdf(mailbox_chain(b"m" * 32, 2_900, weeks), d("mailbox-seal") + b"\1")
    ad = d("sealed-mailbox") + b"\1" + (2_900 + weeks).to_bytes(4, "big") + BINDING
    assert unpad(xchacha(skey, body, ad)) == b"message"


def test_it_reads_an_invite() -> None:
    secret = InviteSecret(b"s" * 32)
    assert secret.token() == hkdf(b"s" * 32, d("invite-token"))
    week = (2_900).to_bytes(4, "big")
    key = hkdf(b"s" * 32, d("invite-mailbox") + week)
    assert secret.mailbox_key(2_900).to_bytes() == b"\1" + week + key
    card_key = hkdf(b"s" * 32, d("invite-card"))
    assert unpad(xchacha(card_key, secret.seal_card(b"card"), d("sealed-card"))) == b"card"


def test_it_unlocks_a_vault() -> None:
    header, key = vault.create("pass", vault.Cost(2, 16))
    cut = Cut(header)
    head = cut(38)
    assert head[:22] == d("vault") + (2).to_bytes(4, "big") + (16).to_bytes(4, "big")
    sealed, check = cut(72), cut(16)
    assert sha(header[:110])[:16] == check
    wrapping = bindings.crypto_pwhash_alg(
        32, b"pass", head[22:], 2, 16 * 1_024, bindings.crypto_pwhash_ALG_ARGON2ID13
    )
    assert xchacha(wrapping, sealed, head) == key


@pytest.mark.parametrize("devices", [2, 5])
def test_unused_slots_look_as_the_document_says(devices: int) -> None:
    alice, others = Party(), [Party() for _ in range(devices)]
    for other in others:
        alice.start(other.bundle())
    _, message = ours.encrypt(alice.all_sessions(), b"", BINDING)
    entries = ours.inspect(message)[devices:]
    assert len(entries) == {2: 2, 5: 3}[devices]
    for entry in entries:
        assert entry.handshake is None
        x(b"x" * 32, entry.head.ratchet.public)
        assert (entry.head.ratchet.previous, entry.head.ratchet.number) == (0, 0)
    assert len({entry.wrapped for entry in entries}) == len(entries)
