"""Steps around messages: padding, sealing, invites, restart requests, settlement, safety number,
vault. README.md describes the fields."""

from __future__ import annotations

from kurir_billing.report import frank_tag, place_hash
from kurir_crypto import padding, restart, safety, sealing, settlement, vault
from kurir_crypto.invite import InviteSecret
from kurir_crypto.keys import IdentityKeyPair, OwnEcPreKey, OwnKemPreKey
from kurir_crypto.sealing import Binding, EnvelopeKeyPair, MailboxKey
from kurir_wire.ids import BusinessId, EnvelopeId, Hash, MailboxId, RelayId
from tests.vectors.values import Json, drawing, from_json, step, x


@step
def pad(given: Json) -> Json:
    padded = padding.pad(x(given["message"]), given["length"])
    assert padding.unpad(padded) == x(given["message"])
    return {"padded": padded.hex()}


@step
def unpad(given: Json) -> Json:
    return {"message": padding.unpad(x(given["padded"])).hex()}


@step
def bucket(given: Json) -> Json:
    return {
        "bucket": padding.bucket_for(
            given["content_length"],
            address=given["into"] == "address",
            handshake=given["unconfirmed"],
            devices=given["devices"],
            pieces=given["pieces"],
        )
    }


@step
def binding(given: Json) -> Json:
    place = MailboxId(x(given["mailbox_id"])), EnvelopeId(x(given["envelope_id"]))
    return {"binding": Binding(*place, Hash(x(given["label_hash"]))).hex()}


@step
def mailbox_week(given: Json) -> Json:
    key = MailboxKey(given["week"], x(given["key"])).at(given["to"])
    return {"key": key.to_bytes()[-32:].hex(), "sealing_key": key._sealing_key().hex()}


@step
def mailbox_seal(given: Json) -> Json:
    key = MailboxKey(given["week"], x(given["key"]))
    place, message = x(given["binding"]), x(given["message"])
    with drawing(x(given["nonce"])):
        body = sealing.seal_symmetric(key, given["week"], place, message, given["length"])
    return {"body": body.hex()}


@step
def mailbox_open(given: Json) -> Json:
    key = MailboxKey(given["week"], x(given["key"]))
    opened = sealing.open_with(key, given["now_week"], x(given["binding"]), x(given["body"]))
    return {"message": opened.hex()}


@step
def address_open(given: Json) -> Json:
    own = EnvelopeKeyPair.from_bytes(x(given["envelope_key"]))
    opened = sealing.open_at_address(own, x(given["binding"]), x(given["body"]))
    return {"message": opened.hex()}


@step
def invite(given: Json) -> Json:
    secret, week = InviteSecret(x(given["secret"])), given["week"]
    key = secret.mailbox_key(week)
    return {
        "token": secret.token().hex(),
        "mailbox_key": key.to_bytes()[-32:].hex(),
        "card_key": secret._card_key().hex(),
    }


@step
def card_seal(given: Json) -> Json:
    secret, card = InviteSecret(x(given["secret"])), x(given["card"])
    with drawing(x(given["nonce"])):
        blob = secret.seal_card(card)
    assert secret.open_card(blob) == card
    return {"blob": blob.hex()}


@step
def restart_request(given: Json) -> Json:
    prekeys = restart.OneUseKeys(
        OwnEcPreKey.from_bytes(x(given["signed"])),
        OwnEcPreKey.from_bytes(x(given["one_time"])),
        OwnKemPreKey.from_bytes(x(given["kem"])),
    )
    own, place = IdentityKeyPair.from_bytes(x(given["identity"])), x(given["binding"])
    request = restart.request(own, prekeys, place)
    assert restart.is_request(request)
    assert restart.open_request(own.public, request, place) == prekeys.bundle(own.public)
    return {"request": request.hex()}


@step
def settle(given: Json) -> Json:
    secret = settlement.settlement_secret(x(given["kf"]), EnvelopeId(x(given["envelope_id"])))
    return {"secret": secret.hex()}


@step
def frank(given: Json) -> Json:
    place = place_hash(MailboxId(x(given["mailbox_id"])), EnvelopeId(x(given["envelope_id"])))
    tag = frank_tag(
        x(given["kf"]),
        RelayId(x(given["relay_id"])),
        BusinessId(x(given["business_id"])),
        place,
        given["category"],
        x(given["content"]),
    )
    return {"place": place.hex(), "tag": tag.hex()}


@step
def safety_number(given: Json) -> Json:
    own, peer = from_json("peer", given["own"]), from_json("peer", given["peer"])
    number = safety.safety_number(own, peer)
    assert number == safety.safety_number(peer, own)
    shown = safety.format_groups(number)
    return {"number": number, "shown": shown, "qr": safety.qr_text(number)}


@step
def vault_create(given: Json) -> Json:
    cost = vault.Cost(given["passes"], given["memory_kib"])
    with drawing(x(given["key"]), x(given["salt"]), x(given["nonce"])):
        header, _ = vault.create(given["passphrase"], cost)
    return {"header": header.hex()}


@step
def vault_unlock(given: Json) -> Json:
    return {"key": vault.unlock(x(given["header"]), given["passphrase"]).hex()}
