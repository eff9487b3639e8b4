"""Steps inside the sealing: keys, handshake, ratchets, messages. README.md describes the fields."""

from __future__ import annotations

import hashlib
from unittest import mock

from kurir_crypto import curve, handshake, kem, message, sparse
from kurir_crypto.aead import gcm_decrypt, gcm_encrypt
from kurir_crypto.curve import CurveSecret
from kurir_crypto.kdf import chain_step
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.layout import EntryHead, parse
from kurir_crypto.ratchet import DoubleRatchet, _root_step
from kurir_crypto.sealing import EnvelopeKeyPair, MailboxKey
from kurir_crypto.session import Headers, Session
from kurir_crypto.sparse import Asking, SparseHeader, SparseRatchet
from kurir_wire import prekeys, signing
from tests.vectors.values import (
    Json,
    changed,
    curve_header,
    drawing,
    from_json,
    optional,
    session_of,
    sparse_header,
    step,
    to_json,
    x,
)

# Checks on public keys, stored keys


@step
def check_x25519(given: Json) -> Json:
    return {"accepted": bool(curve.check_x25519_public(x(given["public"])))}


@step
def check_kem_768(given: Json) -> Json:
    return {"accepted": bool(kem.check_768_public(x(given["public"])))}


@step
def check_kem_1024(given: Json) -> Json:
    return {"accepted": bool(kem.encapsulate_1024(x(given["public"])))}


@step
def check_ed25519(given: Json) -> Json:
    signing.verify(x(given["public"]), x(given["message"]), x(given["signature"]), "it")
    return {"accepted": True}


@step
def x25519(given: Json) -> Json:
    secret = CurveSecret(x(given["secret"]))
    peer = curve.check_x25519_public(x(given["peer"]))
    return {
        "public": curve.public_x25519(secret).hex(),
        "shared": curve.agree(secret, peer).hex(),
    }


@step
def identity(given: Json) -> Json:
    with drawing(x(given["seed"]), x(given["secret"])):
        own = IdentityKeyPair.generate()
    again = IdentityKeyPair.from_bytes(own.to_bytes()).public
    return {"stored": own.to_bytes().hex(), **to_json(again)}


@step
def ec_prekey(given: Json) -> Json:
    own = IdentityKeyPair.from_bytes(x(given["identity"]))
    with drawing(x(given["secret"])):
        key = OwnEcPreKey.generate(own, given["kind"], given["id"])
    again = OwnEcPreKey.from_bytes(key.to_bytes()).public
    return {"stored": key.to_bytes().hex(), **to_json(again)}


@step
def kem_prekey(given: Json) -> Json:
    own = IdentityKeyPair.from_bytes(x(given["identity"]))
    public = OwnKemPreKey.from_bytes(x(given["stored"])).public
    signed = prekeys.kem_prekey_message(public.kind, public.key_id, public.public)
    assert own.sign(signed) == public.signature
    return {
        **to_json(public),
        "stored": OwnKemPreKey.from_bytes(x(given["stored"])).to_bytes().hex(),
    }


@step
def envelope_key(given: Json) -> Json:
    with drawing(x(given["seed"]), x(given["secret"])):
        key = EnvelopeKeyPair.generate()
    again = EnvelopeKeyPair.from_bytes(key.to_bytes())
    return {"stored": key.to_bytes().hex(), "public": again.public.hex()}


@step
def mailbox_key(given: Json) -> Json:
    stored = MailboxKey(given["week"], x(given["key"])).to_bytes()
    return {"stored": MailboxKey.from_bytes(stored).to_bytes().hex()}


@step
def session_stored(given: Json) -> Json:
    state = to_json(Session.from_bytes(x(given["stored"])))
    assert session_of(state).to_bytes() == x(given["stored"])
    return state


# Handshake


class Held:
    """Prekeys from their stored forms."""

    def __init__(self, given: Json) -> None:
        self.signed = OwnEcPreKey.from_bytes(x(given["signed"]))
        self.kem = OwnKemPreKey.from_bytes(x(given["kem"]))
        one_time = given["one_time"]
        self.one_time = None if one_time is None else OwnEcPreKey.from_bytes(x(one_time))

    def signed_prekey(self, key_id: int) -> OwnEcPreKey | None:
        return self.signed if self.signed.public.key_id == key_id else None

    def one_time_prekey(self, key_id: int) -> OwnEcPreKey | None:
        held = self.one_time is not None and self.one_time.public.key_id == key_id
        return self.one_time if held else None

    def kem_prekey(self, kind: int, key_id: int) -> OwnKemPreKey | None:
        public = self.kem.public
        return self.kem if (public.kind, public.key_id) == (kind, key_id) else None

    def bundle(self, owner: prekeys.IdentityPublic) -> prekeys.PreKeyBundle:
        one_time = None if self.one_time is None else self.one_time.public
        return prekeys.PreKeyBundle(owner, self.signed.public, self.kem.public, one_time)


@step
def pqxdh_respond(given: Json) -> Json:
    own = IdentityKeyPair.from_bytes(x(given["identity"]))
    header = handshake.Handshake.from_bytes(x(given["header"]))
    _, agreed = handshake.respond(own, Held(given), header, given["suite"], x(given["session_id"]))
    return {"ad": agreed.associated.hex(), "sk": agreed.secret.hex()}


def bundle_of(value: Json) -> prekeys.PreKeyBundle:
    def ec(key: Json) -> prekeys.EcPreKey:
        return prekeys.EcPreKey(key["kind"], key["key_id"], x(key["public"]), x(key["signature"]))

    pq = value["kem"]
    return prekeys.PreKeyBundle(
        from_json("peer", value["identity"]),
        ec(value["signed"]),
        prekeys.KemPreKey(pq["kind"], pq["key_id"], x(pq["public"]), x(pq["signature"])),
        None if value["one_time"] is None else ec(value["one_time"]),
    )


@step
def pqxdh_initiate(given: Json) -> Json:
    own = IdentityKeyPair.from_bytes(x(given["identity"]))
    encapsulated = x(given["ss"]), x(given["ct"])
    with (
        drawing(x(given["ephemeral_secret"])),
        mock.patch.object(handshake, "encapsulate_1024", return_value=encapsulated),
    ):
        header, agreed = handshake.initiate(
            own,
            bundle_of(given["bundle"]),
            given["suite"],
            x(given["session_id"]),
            given["started"],
        )
    bytes_of = header.to_bytes().hex()
    return {"header": bytes_of, "ad": agreed.associated.hex(), "sk": agreed.secret.hex()}


@step
def handshake_header(given: Json) -> Json:
    header = handshake.Handshake.from_bytes(x(given["start"]) + bytes(1_568))
    return {"started": header.started, "one_time_id": header.one_time_id}


# Ratchet


@step
def first_roots(given: Json) -> Json:
    secret, own = x(given["sk"]), CurveSecret(x(given["own_secret"]))
    public = curve.public_x25519(own)
    alice = SparseRatchet.start(secret, initiator=True)
    assert alice.root == SparseRatchet.start(secret, initiator=False).root
    return {
        "ec_root": DoubleRatchet.start_responder(secret, own, public).root.hex(),
        "pq_root": alice.root.hex(),
        "ck_a": alice.send_chain.hex(),
        "ck_b": SparseRatchet.start(secret, initiator=False).send_chain.hex(),
    }


@step
def ec_start(given: Json) -> Json:
    peer = curve.check_x25519_public(x(given["peer_public"]))
    with drawing(x(given["own_secret"])):
        return to_json(DoubleRatchet.start_initiator(x(given["sk"]), peer))


@step
def kdf_rk(given: Json) -> Json:
    peer = curve.check_x25519_public(x(given["peer_public"]))
    root, chain = _root_step(x(given["root"]), CurveSecret(x(given["own_secret"])), peer)
    return {"root": root.hex(), "chain": chain.hex()}


@step
def kdf_ck(given: Json) -> Json:
    chain, key = chain_step(x(given["chain"]))
    return {"chain": chain.hex(), "key": key.hex()}


@step
def ec_send(given: Json) -> Json:
    with drawing(*map(x, given["drawn"])):
        state, header, key = from_json("ratchet", given["state"]).send()
    return {
        "changed": changed(given["state"], state),
        "header": to_json(header),
        "key": key.hex(),
    }


@step
def ec_receive(given: Json) -> Json:
    state, key = from_json("ratchet", given["state"]).receive(curve_header(given["header"]))
    return {"changed": changed(given["state"], state), "key": key.hex()}


@step
def epoch_change(given: Json) -> Json:
    seed, ask = x(given["seed"]), x(given["ek"])
    header = SparseHeader(given["epoch"], 0, 0, None, x(given["ct"]))
    root, chain, asking = x(given["root"]), bytes(32), Asking(seed, ask)
    before = given["epoch"] - 1
    alice, bob = (
        SparseRatchet(first, root, chain, chain, epoch=before, asking=asking).receive(header)[0]
        for first in (True, False)
    )
    assert alice.root == bob.root
    return {
        "ss": kem.decapsulate_768(kem.KemSeed(seed), x(given["ct"])).hex(),
        "root": alice.root.hex(),
        "ck_a": alice.send_chain.hex(),
        "ck_b": bob.send_chain.hex(),
    }


@step
def pq_send(given: Json) -> Json:
    encapsulated = given["encapsulated"] and tuple(map(x, given["encapsulated"]))
    with (
        drawing(*map(x, given["drawn"])),
        mock.patch.object(sparse, "encapsulate_768", return_value=encapsulated),
    ):
        state, header, key = from_json("sparse", given["state"]).send(
            turned=given["turned"], room=given["room"]
        )
    carries = "ask" if header.ask else "answer" if header.answer else None
    assert header.ask is None or header.ask == state.asking.public
    assert header.answer is None or header.answer == state.answer
    return {
        "changed": changed(given["state"], state),
        "header": {"epoch": header.epoch, "previous": header.previous, "number": header.number},
        "carries": carries,
        "key": key.hex(),
    }


@step
def pq_receive(given: Json) -> Json:
    state, key = from_json("sparse", given["state"]).receive(sparse_header(given["header"]))
    return {"changed": changed(given["state"], state), "key": key.hex()}


# Messages, sessions


@step
def content_keys(given: Json) -> Json:
    cipher, commitment = message._content_keys(given["suite"], x(given["content_key"]))
    return {"kc": cipher.hex(), "commitment": commitment.hex()}


@step
def payload(given: Json) -> Json:
    suite, binding = given["suite"], x(given["binding"])
    associated = message._content_associated(suite, binding)
    ciphertext = gcm_encrypt(x(given["kc"]), x(given["content"]), associated)
    hashed = message._payload_hash(suite, binding, x(given["commitment"]), ciphertext)
    return {"ad": associated.hex(), "c": ciphertext.hex(), "payload": hashed.hex()}


@step
def head(given: Json) -> Json:
    headers = Headers(curve_header(given["ec"]), sparse_header(given["pq"]))
    entry = EntryHead(x(given["session_id"]), headers, optional(given["handshake"]))
    return {"head": entry.to_bytes().hex()}


@step
def encrypt(given: Json) -> Json:
    with drawing(*map(x, given["drawn"])):
        _, data = message.encrypt(
            [session_of(given["state"])], x(given["content"]), x(given["binding"])
        )
    return {"message": data.hex()}


@step
def open_message(given: Json) -> Json:
    session, data, binding = session_of(given["state"]), x(given["message"]), x(given["binding"])
    _, content = message.decrypt(session, data, binding)
    layout = parse(data)
    at = [entry.session_id for entry in layout.entries].index(session.id)
    entry = layout.entries[at]
    hashed = message._payload_hash(layout.suite, binding, layout.commitment, layout.ciphertext)
    associated = message._entry_associated(session, entry.head)
    _, key = session.receive(entry.head.headers, hashed)
    return {
        "entry": at,
        "slots": len(layout.entries),
        "ec_key": session.ratchet.receive(entry.head.headers.curve)[1].hex(),
        "pq_key": session.sparse.receive(entry.head.headers.sparse)[1].hex(),
        "message_key": key.hex(),
        "payload": hashed.hex(),
        "entry_ad_sha256": hashlib.sha256(associated).hexdigest(),
        "content_key": gcm_decrypt(key, entry.wrapped, associated).hex(),
        "content": content.hex(),
    }


@step
def accept(given: Json) -> Json:
    own = IdentityKeyPair.from_bytes(x(given["identity"]))
    opened = message.accept(own, Held(given), x(given["message"]), x(given["binding"]))
    return {
        "session_id": opened.session.id.hex(),
        "ad": opened.session.associated.hex(),
        "one_time_id": opened.used_one_time_ec,
        "one_time_kem_id": opened.used_one_time_kem,
        "content": opened.content.hex(),
    }
