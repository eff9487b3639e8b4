"""What client keys sign: layouts spelled out byte for byte, so that a change is noticed."""

from __future__ import annotations

import hashlib

from kurir_billing import lane, ratecard
from kurir_wire import beacons, cards, gates, ids, prekeys, proofs, relaycert
from kurir_wire.ids import BusinessId, Hash, RelayId
from kurir_wire.signing import message_to_sign

R, N, G, M, B = (bytes([n]) * 32 for n in range(1, 6))


def test_proofs() -> None:
    relay = RelayId(R)
    assert proofs.create_message(relay, N, G, 5) == b"kurir/create/1\0" + R + N + G + b"\0\0\0\5"
    assert proofs.open_message(relay, N, M) == b"kurir/open/1\0" + R + N + M
    assert proofs.prove_message(relay, N, B) == b"kurir/prove/1\0" + R + N + B


def test_digest_and_message_share_their_layout() -> None:
    expected = hashlib.sha256(message_to_sign("test", b"a", b"bc")).digest()
    assert ids.digest("test", b"a", b"bc") == expected


def test_ids() -> None:
    def h(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    assert ids.relay_id_of(R) == h(b"kurir/relay/1\0" + R)
    assert ids.business_id_of(B) == h(b"kurir/business/1\0" + B)
    mailbox = ids.mailbox_id_of(RelayId(R), N, Hash(G), 0x01020304)
    assert mailbox == h(b"kurir/mailbox/1\0" + R + N + G + b"\1\2\3\4")
    assert gates.token_gate(N) == h(b"kurir/gate-token/1\0" + N)
    payer = gates.payer_gate(BusinessId(B), "ID", N)
    assert payer == h(b"kurir/gate-payer/1\0" + B + b"ID\0\0\0\0\0\0" + N)
    assert h(b"kurir/gate-open/1\0") == gates.OPEN_GATE


def test_integers_are_big_endian_and_fixed() -> None:
    assert ids.u8(1) == b"\1"
    assert ids.u16(0x0102) == b"\1\2"
    assert ids.u32(0x01020304) == b"\1\2\3\4"
    assert ids.u64(0x0102030405060708) == bytes(range(1, 9))


def test_what_relays_and_owners_sign() -> None:
    relay, business = RelayId(R), BusinessId(B)
    five, nine = bytes(7) + b"\5", bytes(7) + b"\x09"
    report_key = bytes(1_216)
    assert relaycert.relay_cert_message(N, G, M, R, report_key, 5, 9) == (
        b"kurir/relay-cert/1\0" + N + G + M + R + report_key + five + nine
    )
    assert beacons.beacon_message(relay, 5, N[:16]) == (
        b"kurir/beacon/1\0" + R + b"\0\0\0\5" + N[:16]
    )
    name = hashlib.sha256(b"kurir/legal-name/1\0caf\xc3\xa9").digest()
    assert cards.badge_message(relay, business, 2, "café", 5) == (
        b"kurir/badge/1\0" + R + B + b"\2" + name + five
    )
    assert cards.business_card_message(b"body") == b"kurir/business-card/1\0body"
    assert cards.person_card_message(b"body") == b"kurir/person-card/1\0body"
    assert cards.card_hash(b"body") == hashlib.sha256(b"kurir/card/1\0body").digest()
    assert prekeys.identity_binding(N) == b"kurir/identity/1\0" + N
    assert prekeys.ec_prekey_message(1, 5, N) == b"kurir/prekey-ec/1\0\1\0\0\0\5" + N
    assert prekeys.kem_prekey_message(2, 5, N) == b"kurir/prekey-kem/1\0\2\0\0\0\5" + N
    assert lane.lane_message(business, N, 5) == b"kurir/lane/1\0" + B + N + five
    card = hashlib.sha256(b"kurir/rate-card-hash/1\0body").digest()
    assert ratecard.rate_card_hash(b"body") == card
    assert ratecard.rate_card_message(relay, b"body") == b"kurir/rate-card/1\0" + R + card
