"""The inputs of the vectors, made fresh; :mod:`.make` freezes them with what the code gives."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any, Final

from msgspec.structs import replace

from kurir_crypto import curve, kem, message, sealing
from kurir_crypto.keys import IdentityKeyPair, OwnKemPreKey, SigningKeyPair
from kurir_crypto.layout import parse
from kurir_crypto.ratchet import DoubleRatchet
from kurir_crypto.sealing import EnvelopeKeyPair
from kurir_crypto.session import Session
from kurir_crypto.sparse import SparseRatchet
from kurir_crypto.suite import CURRENT_SUITE as SUITE
from tests.vectors.conversation import STARTED, WEEK, Device, binding_of, quiet_session
from tests.vectors.inner import Held
from tests.vectors.values import Json, run, to_json, x

Case = tuple[str, str, Json]
P: Final = 2**255 - 19


def fresh(count: int = 32) -> str:
    return os.urandom(count).hex()


def little(number: int) -> str:
    return number.to_bytes(32, "little").hex()


def _place() -> Json:
    return {"mailbox_id": fresh(), "envelope_id": fresh(16), "label_hash": fresh()}


def _held(device: Device, *, one_time: bool = True) -> Json:
    record = device.record
    names = ("identity", "signed", "kem")
    held = {name: record[name] for name in names}
    return {**held, "one_time": record["one_time"] if one_time else None}


def keys() -> Iterator[Case]:
    """Sections "Checks on public keys" and "Stored keys"."""
    checks = "Checks on public keys: "
    order = 325606250916557431795983626356110631294008115727848805560023387167927233504
    other = 39382357235489614581723060781553021112529911719440698176882885853963445705823
    points = [(little(value), f"small order, {value}") for value in (0, 1, order, other)]
    points += [(little(P - 1), "small order, p - 1"), (little(P), "p is not below p")]
    points += [(little(P + 9), "not below p"), (little(9 + 2**255), "the top bit is set")]
    points += [(little(9), "the base point"), (little(P - 2), "p - 2"), (fresh(31), "31 bytes")]
    for public, why in points:
        yield f"{checks}X25519, {why}", "check-x25519", {"public": public}
    secret, peer = fresh(), curve.generate_x25519()[1].hex()
    yield "Notation: X(sk, pk)", "x25519", {"secret": secret, "peer": peer}
    rfc = {
        "secret": "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        "peer": "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
    }
    yield "Notation: X(sk, pk), the keys of RFC 7748, section 6.1", "x25519", rfc
    prekey = OwnKemPreKey.generate(IdentityKeyPair.generate(), 1, 1).public
    for name, valid in (("768", kem.generate_768()[1]), ("1024", prekey.public)):
        wrong = b"\xff\xff\xff" + valid[3:]
        # Valid ones of ML-KEM-1024 stand among the stored keys.
        for value, why in ((valid, "valid"), (wrong, "a coefficient is 4,095")):
            if name == "768" or value == wrong:
                yield f"{checks}ML-KEM-{name}, {why}", f"check-kem-{name}", {"public": value.hex()}
        short = {"public": "00" * 32}
        yield f"{checks}ML-KEM-{name}, 32 bytes", f"check-kem-{name}", short
    signer, text = SigningKeyPair.generate(), b"kurir/identity/1\0" + os.urandom(32)
    neutral = (b"\1" + bytes(31)).hex()
    signature = signer.sign(text).hex()
    for public, signed, why in (
        (signer.public.hex(), signature, "valid"),
        (signer.public.hex(), fresh(64), "another signature"),
        (neutral, neutral + bytes(32).hex(), "the neutral point signs everything"),
    ):
        given = {"public": public, "message": text.hex(), "signature": signed}
        yield f"{checks}Ed25519, {why}", "check-ed25519", given
    drawn = {"seed": fresh(), "secret": fresh()}
    yield "Stored keys: identity, and its binding", "identity", drawn
    own = run("identity", drawn)["stored"]
    for kind in (0, 1):
        made = {"identity": own, "kind": kind, "id": 0x01020304 + kind, "secret": fresh()}
        yield f"Stored keys: X25519 prekey of kind {kind}", "ec-prekey", made
    key = OwnKemPreKey.generate(IdentityKeyPair.from_bytes(x(own)), 2, 0x0A0B0C0D)
    stored = {"identity": own, "stored": key.to_bytes().hex()}
    yield "Stored keys: last-resort KEM prekey", "kem-prekey", stored
    yield "Stored keys: envelope key", "envelope-key", {"seed": fresh(64), "secret": fresh()}
    yield "Stored keys: mailbox key", "mailbox-key", {"week": WEEK, "key": fresh()}


def handshakes() -> Iterator[Case]:
    """Section "Handshake (PQXDH)"."""
    name = "Handshake (PQXDH): "
    alice, bob, header = Device.fresh(), Device.fresh(), ""
    for one_time in (True, False):
        held = _held(bob, one_time=one_time)
        bundle = Held(held).bundle(bob.identity.public)
        shared, ciphertext = kem.encapsulate_1024(bundle.kem.public)
        given = {
            "identity": alice.record["identity"],
            "bundle": to_json(bundle),
            "suite": SUITE,
            "session_id": fresh(16),
            "started": STARTED,
            "ephemeral_secret": fresh(),
            "ss": shared.hex(),
            "ct": ciphertext.hex(),
        }
        which = "with" if one_time else "without"
        if one_time:
            yield f"{name}Alice, {which} a one-time prekey", "pqxdh-initiate", given
        header = run("pqxdh-initiate", given)["header"]
        session = {"suite": SUITE, "session_id": given["session_id"], "header": header}
        yield f"{name}Bob, {which} a one-time prekey", "pqxdh-respond", {**held, **session}
    start = header[: 2 * 178]
    yield f"{name}the header is well formed", "handshake-header", {"start": start}
    for at, value, why in (
        (168, "02", "the flag is neither 0 nor 1"),
        (172, "01", "an absent id is not 0"),
        (173, "00", "the kind is neither 1 nor 2"),
    ):
        changed = start[: 2 * at] + value + start[2 * at + 2 :]
        yield f"{name}{why}", "handshake-header", {"start": changed}


def ratchets() -> Iterator[Case]:
    """Section "Ratchet"."""
    double, post = "Double Ratchet: ", "Sparse post-quantum ratchet: "
    secret, chain = os.urandom(32), fresh()
    spk, public = curve.generate_x25519()
    given = {"sk": secret.hex(), "own_secret": spk.hex()}
    yield "Ratchet: the first roots of both ratchets", "first-roots", given
    begin = {"sk": secret.hex(), "own_secret": fresh(), "peer_public": public.hex()}
    yield f"{double}Alice begins", "ec-start", begin
    rk = {"root": fresh(), "own_secret": spk.hex(), "peer_public": curve.generate_x25519()[1].hex()}
    yield f"{double}KDF_RK", "kdf-rk", rk
    yield "Ratchet: KDF_CK", "kdf-ck", {"chain": chain}

    alice = DoubleRatchet.start_initiator(secret, curve.check_x25519_public(public))
    bob = DoubleRatchet.start_responder(secret, spk, public)
    headers = []
    for _ in range(4):
        alice, header, _ = alice.send()
        headers.append(header)

    def receive(state: DoubleRatchet, header: Any) -> Json:
        return {"state": to_json(state), "header": to_json(header)}

    yield (
        f"{double}a new ratchet key, two are stored",
        "ec-receive",
        receive(bob, headers[2]),
    )
    bob, _ = bob.receive(headers[2])
    yield f"{double}a stored key is used", "ec-receive", receive(bob, headers[0])
    yield f"{double}a number that was used", "ec-receive", receive(bob, headers[2])
    turned = {"state": to_json(bob), "drawn": [fresh()]}
    yield f"{double}a turn", "ec-send", turned
    far = headers[3]._replace(number=25_004)
    yield f"{double}a leap over 25,001 messages", "ec-receive", receive(bob, far)
    bob, header, _ = bob.send()
    yield f"{double}no turn", "ec-send", {"state": to_json(bob), "drawn": []}
    alice, _ = alice.receive(header)
    alice, header, _ = alice.send()
    yield f"{double}PN leaves keys of the former chain", "ec-receive", receive(bob, header)
    both = header._replace(previous=bob.received + 25_000)
    together = receive(bob, both._replace(number=1))
    yield f"{double}a leap over 25,001 in two chains", "ec-receive", together
    bob, _ = bob.receive(header)
    yield f"{double}a former ratchet key, nothing stored", "ec-receive", receive(bob, headers[2])
    yield from _epochs(post)


def _epochs(name: str) -> Iterator[Case]:
    secret = os.urandom(32)
    alice = SparseRatchet.start(secret, initiator=True)
    bob = SparseRatchet.start(secret, initiator=False)

    def receive(state: SparseRatchet, header: Any) -> Json:
        return {"state": to_json(state), "header": to_json(header)}

    def send(state: SparseRatchet, *drawn: str, answer: tuple[bytes, bytes] | None = None) -> Json:
        encapsulated = answer and [part.hex() for part in answer]
        given = {"state": to_json(state), "turned": True, "room": True}
        return {**given, "drawn": list(drawn), "encapsulated": encapsulated}

    yield f"{name}Alice has nothing to ask", "pq-send", send(alice)
    yield f"{name}Bob asks at his first turn", "pq-send", send(bob, fresh(64))
    bob = bob.send(turned=True, room=False)[0]
    bob, ask, _ = bob.send(turned=False, room=True)
    yield f"{name}an ask is heard, one key is stored", "pq-receive", receive(alice, ask)
    alice, _ = alice.receive(ask)
    assert bob.asking is not None
    pair = kem.encapsulate_768(kem.check_768_public(bob.asking.public))
    yield f"{name}Alice answers and enters epoch 1", "pq-send", send(alice, answer=pair)
    given = {"epoch": 1, "root": bob.root.hex(), "seed": bob.asking.seed.hex()}
    change = {**given, "ek": bob.asking.public.hex(), "ct": pair[1].hex()}
    yield f"{name}the keys of epoch 1", "epoch-change", change
    bob, behind, _ = bob.send(turned=False, room=False)
    alice, answer, _ = alice.send(turned=True, room=True)
    yield f"{name}an answer is heard", "pq-receive", receive(bob, answer)
    yield f"{name}one of the former epoch", "pq-receive", receive(alice, behind)
    bob, _ = bob.receive(answer)
    bob, heard, _ = bob.send(turned=True, room=True)
    yield f"{name}the former chain is closed at PN", "pq-receive", receive(alice, heard)
    alice, _ = alice.receive(heard)
    yield f"{name}a stored key of the former epoch", "pq-receive", receive(alice, behind)
    yield f"{name}a number that was used", "pq-receive", receive(alice, heard)
    yield (
        f"{name}an older message, nothing stored",
        "pq-receive",
        receive(alice, ask._replace(ask=None)),
    )
    wrong = heard._replace(number=heard.number + 1, ask=ask.ask)
    yield f"{name}an ask out of turn", "pq-receive", receive(alice, wrong)
    unasked = heard._replace(epoch=2, number=0)
    yield f"{name}an epoch that nobody asked for", "pq-receive", receive(alice, unasked)


def messages() -> Iterator[Case]:
    """Sections "Messages", "Sessions" and the stored form of a session."""
    binding = binding_of(_place()).hex()
    content_keys = {"suite": SUITE, "content_key": fresh()}
    yield "Messages: kc and commitment of K", "content-keys", content_keys
    sealed = {"suite": SUITE, "binding": binding, "content": b"a text".hex()}
    keys_of = run("content-keys", content_keys)
    yield "Messages: C and payload", "payload", {**sealed, **keys_of}
    ec = {"public": fresh(), "previous": 0x01020304, "number": 0x05060708}
    pq = {"epoch": 0x090A0B0C, "previous": 0x0D0E0F10, "number": 0x11121314}
    given = {"session_id": fresh(16), "ec": ec, "pq": {**pq, "ask": None, "answer": None}}
    yield "Messages: head with flags 0", "head", {**given, "handshake": None}

    alice, bob = Device.fresh(), Device.fresh()
    held = _held(bob)
    ours = Session.initiate(alice.identity, Held(held).bundle(bob.identity.public), STARTED)
    bound, text = bytes.fromhex(binding), b"first"
    [ours], data = message.encrypt([ours], text, bound)
    opening = {**held, "binding": binding, "message": data.hex()}
    yield "Messages: 1 slot, with handshake", "accept", opening
    theirs = message.accept(bob.identity, Held(held), data, bound).session

    def opened(session: Session, data: bytes) -> Json:
        return {"state": to_json(session), "binding": binding, "message": data.hex()}

    [theirs], data = message.encrypt([theirs], b"with an ask", bound)
    bare = replace(ours, handshake=None)  # it is long, and not needed to open something
    yield "Messages: 1 slot, with an ask", "open-message", opened(bare, data)
    ours, _ = message.decrypt(ours, data, bound)
    [ours], data = message.encrypt([ours], b"with an answer", bound)
    yield "Messages: 1 slot, with an answer", "open-message", opened(theirs, data)
    theirs, _ = message.decrypt(theirs, data, bound)
    [theirs], data = message.encrypt([theirs], b"plain", bound)
    ours, _ = message.decrypt(ours, data, bound)
    [theirs], data = message.encrypt([theirs], b"plain", bound)
    yield "Messages: 1 slot, plain", "open-message", opened(ours, data)
    layout = parse(data)
    elsewhere = {**opened(ours, data), "binding": binding_of(_place()).hex()}
    yield "Messages: in another place", "open-message", elsewhere
    for value, why in (
        (b"\1" + data[1:], "suite 1"),
        (data[:1] + b"\2" + data[2:], "2 slots"),
        (data[:2] + b"\3" + data[3:], "flags 3"),
        (data[:40] + b"\xff" + data[41:], "another ratchet key"),
        (layout._replace(commitment=bytes(32)).to_bytes(), "another commitment"),
    ):
        yield f"Messages: {why}", "open-message", opened(ours, value)
    ours, _ = message.decrypt(ours, data, bound)
    given = {"state": to_json(ours), "binding": binding, "content": b"made".hex()}
    yield "Messages: a turn, 1 slot, as made", "encrypt", {**given, "drawn": [fresh(), fresh()]}
    yield "Stored forms: a session", "session-stored", {"stored": ours.to_bytes().hex()}
    quiet = [quiet_session(alice.identity) for _ in range(5)]
    for devices, slots in ((2, 4), (5, 8)):
        moved, data = message.encrypt([*quiet[:devices], ours], b"to several", bound)
        quiet[:devices], ours = moved[:-1], moved[-1]
        yield (
            f"Messages: {slots} slots",
            "open-message",
            opened(theirs, data),
        )
    again = Session.initiate(alice.identity, Held(held).bundle(bob.identity.public), STARTED + 1)
    _, data = message.encrypt([quiet[0], again], b"to several", bound)
    first = {**opening, "message": data.hex()}
    yield "Messages: 4 slots, one with handshake", "accept", first
    restart_keys = {**_held(bob), "binding": binding}
    yield "Sessions: restart request", "restart-request", restart_keys


def sealings() -> Iterator[Case]:
    """Sections "Padding", "Sealing" and "Invites"."""
    for content in ("", "80", "800000"):
        yield "Padding: to 8 bytes", "pad", {"message": content, "length": 8}
    yield "Padding: one byte does not fit", "pad", {"message": "00" * 8, "length": 8}
    for padded, why in (("0000", "only zeros"), ("", "nothing"), ("808000", "two times 0x80")):
        yield f"Padding: {why}", "unpad", {"padded": padded}
    for into, unconfirmed, devices, pieces, limits in (
        ("mailbox", False, 1, 1, (656, 2_704, 14_992, 64_144)),
        ("mailbox", True, 1, 1, (94, 2_142, 14_430, 63_582)),
        ("address", False, 1, 1, (1_046, 13_334, 62_486)),
        ("mailbox", False, 2, None, (1_169,)),
        ("mailbox", True, 4, 2, (8_841,)),
        ("mailbox", False, 8, 2, (701,)),
        ("mailbox", False, 8, 3, (11_805,)),
    ):
        given = {"into": into, "unconfirmed": unconfirmed, "devices": devices, "pieces": pieces}
        for limit in limits:
            for length in (limit, limit + 1):
                yield "Padding: bucket", "bucket", {**given, "content_length": length}
    place = _place()
    yield "Sealing: the binding", "binding", place
    yield "Sealing: the binding, no label", "binding", {**place, "label_hash": "00" * 32}
    bound = binding_of(place).hex()
    key = {"week": WEEK, "key": fresh()}
    for to in (WEEK, WEEK + 1, WEEK + 5):
        yield f"Sealing: key of {to - WEEK} weeks later", "mailbox-week", {**key, "to": to}
    sealed = {**key, "binding": bound, "message": b"a message".hex(), "length": 256}
    yield "Sealing: into a mailbox", "mailbox-seal", {**sealed, "nonce": fresh(24)}
    later = {"week": WEEK + 2, "key": run("mailbox-week", {**key, "to": WEEK + 2})["key"]}
    made = {**sealed, **later, "nonce": fresh(24)}
    opening = {**key, "binding": bound, "body": run("mailbox-seal", made)["body"]}
    for now, why in ((2, "two weeks old key"), (1, "of the week after"), (0, "two weeks ahead")):
        yield f"Sealing: a body, {why}", "mailbox-open", {**opening, "now_week": WEEK + now}
    own = EnvelopeKeyPair.generate()
    body = sealing.seal_to_address(own.public, x(bound), b"a message", 1_280)
    sealed = {"envelope_key": own.to_bytes().hex(), "binding": bound, "body": body.hex()}
    yield "Sealing: to an address", "address-open", sealed
    link = {"secret": fresh()}
    yield "Invites: keys of a secret", "invite", {**link, "week": WEEK}
    card = {"card": b"a card".hex(), "nonce": fresh(24)}
    yield "Invites: a sealed card", "card-seal", {**link, **card}


def others() -> Iterator[Case]:
    """Sections "Settlement and franking", "Safety number" and "Vault"."""
    name, header = "Settlement and franking: ", ""
    paid = {"kf": fresh(), "envelope_id": fresh(16)}
    yield f"{name}settlement secret", "settle", paid
    ids = {"relay_id": fresh(), "business_id": fresh(), "mailbox_id": fresh()}
    content = {"category": 2, "content": b"canonical content".hex()}
    yield f"{name}franking tag", "frank", {**paid, **ids, **content}
    for _ in range(2):
        pair = [to_json(IdentityKeyPair.generate().public) for _ in range(2)]
        yield "Safety number", "safety-number", {"own": pair[0], "peer": pair[1]}
    passphrase = "Zürich, grüezi"
    for text, why in ((passphrase, "NFC"), (unicodedata.normalize("NFD", passphrase), "NFD")):
        given = {"passphrase": text, "passes": 2, "memory_kib": 64, "key": fresh()}
        given |= {"salt": fresh(16), "nonce": fresh(24)}
        yield f"Vault: a header, the passphrase typed as {why}", "vault-create", given
        header = run("vault-create", given)["header"]
        opening = {"header": header, "passphrase": passphrase}
        yield f"Vault: a header, made with {why}", "vault-unlock", opening
    wrong = {"header": header, "passphrase": passphrase + "."}
    yield "Vault: another passphrase", "vault-unlock", wrong
    end = "00" if header[-2:] != "00" else "01"
    damaged = {"header": header[:-2] + end, "passphrase": passphrase}
    yield "Vault: damage", "vault-unlock", damaged


FILES: Final[dict[str, Callable[[], Iterator[Case]]]] = {
    "keys": keys,
    "handshake": handshakes,
    "ratchet": ratchets,
    "messages": messages,
    "sealing": sealings,
    "other": others,
}
