"""Businesses: registering, cards, the directory, and one-time prekeys."""

from __future__ import annotations

import secrets

import pytest

from kurir_client.bot import RENEW_EVERY
from kurir_client.business import PREKEY_STOCK
from kurir_server import registry as registry_module
from kurir_server.limits import DIRECTORY_NETWORK_RATE, DIRECTORY_RATE, ONE_TIME_RATE
from kurir_wire import codes
from kurir_wire.entries import NewMailbox, Result
from kurir_wire.frames import BusinessIs, GetBusiness, PutPreKeys, Register
from kurir_wire.ids import DAY, HOUR, MINUTE, RelayId
from kurir_wire.limits import MAX_PREKEYS
from kurir_wire.prekeys import PREKEY_LAST_RESORT
from tests.server.helpers import Box, Key, Shop
from tests.server.replies import code_of, result_of
from tests.server.rig import OTHER_NONCE, START, Rig


def test_registering(rig: Rig) -> None:
    shop = Shop(rig.keys.relay_id, rig.now)
    talk = rig.connection()

    def register(card: bytes, address: NewMailbox | None = None) -> str:
        return code_of(talk.send(Register(1, card, address or shop.address.new(rig.nonce))))

    card, other = shop.card(2), Shop(rig.keys.relay_id, rig.now)
    assert register(b"no card") == codes.MALFORMED
    assert register(card[:-1] + bytes([card[-1] ^ 1])) == codes.NOT_AUTHORISED
    assert register(card, other.address.new(rig.nonce)) == codes.MALFORMED
    personal = Box.personal(rig.keys.relay_id, rig.now)
    assert register(card, personal.new(rig.nonce)) == codes.MALFORMED
    assert register(card, shop.address.new(OTHER_NONCE)) == codes.NOT_AUTHORISED
    assert rig.count("businesses") == rig.count("mailboxes") == 0
    assert register(card) == register(card) == "ok"
    assert register(shop.card(1)) == codes.STALE
    assert register(shop.card(2)) == codes.CONFLICT, "other bytes under the same version"
    rig.approve(shop, "platform")
    assert register(shop.card(3, "Metro Bus Jakarta")) == "ok"
    stored = rig.run(lambda rows: rows.business(shop.id))
    assert stored is not None
    assert (stored.version, stored.tier, stored.legal_name) == (3, 2, "PT Metro Bus")


def test_cards_of_another_relay_or_time(rig: Rig) -> None:
    talk = rig.connection()
    alien = Shop(RelayId(bytes(32)), rig.now)
    alien.address.relay_id = rig.keys.relay_id
    assert code_of(talk.send(Register(1, alien.card(), alien.address.new(rig.nonce)))) == (
        codes.MALFORMED
    )
    for shift, code in (
        (-30 * DAY, codes.STALE),
        (-30 * DAY + 1, "ok"),
        (300, "ok"),
        (301, codes.STALE),
    ):
        shop = Shop(rig.keys.relay_id, rig.now)
        shop.issued = rig.now + shift
        request = Register(1, shop.card(), shop.address.new(rig.nonce))
        assert code_of(talk.send(request)) == code, shift


def test_the_address_is_made_in_its_hour(rig: Rig) -> None:
    shop = Shop(rig.keys.relay_id, rig.now)
    request = Register(1, shop.card(), shop.address.new(rig.nonce))
    rig.now += 2 * HOUR
    assert code_of(rig.connection().send(request)) == codes.STALE
    assert rig.count("businesses") == 0


def test_one_time_prekeys_are_handed_out_once(rig: Rig) -> None:
    shop = rig.shop()
    talk, asks = rig.proved(shop), rig.connection()
    ec, kem = [shop.ec(n) for n in (5, 3)], [shop.kem(4)]
    refill = PutPreKeys(1, ec, kem)
    assert result_of(talk.send(refill)) == Result(codes.OK, left=MAX_PREKEYS - 2)
    assert result_of(talk.send(refill)) == Result(codes.OK, left=MAX_PREKEYS - 2)
    got: list[tuple[int | None, int | None]] = []
    for _ in range(3):
        (reply,) = asks.send(GetBusiness(2, shop.id))
        assert isinstance(reply, BusinessIs)
        got.append(
            (
                reply.one_time.key_id if reply.one_time else None,
                reply.kem.key_id if reply.kem else None,
            )
        )
    assert got == [(3, 4), (5, None), (None, None)]


def test_prekeys_are_checked_all_or_none(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    shop, rival = rig.shop(), rig.shop()
    talk = rig.proved(shop)
    for bad, code in (
        (PutPreKeys(1, [shop.ec(1), rival.ec(2)], []), codes.NOT_AUTHORISED),
        (PutPreKeys(1, [shop.ec(1)], [shop.kem(2, PREKEY_LAST_RESORT)]), codes.MALFORMED),
        (PutPreKeys(1, [shop.ec(1), shop.ec(2), shop.ec(1)], []), codes.MALFORMED),
    ):
        assert code_of(talk.send(bad)) == code
        assert rig.count("prekeys") == 0
    monkeypatch.setattr(registry_module, "MAX_PREKEYS", 2)
    assert code_of(talk.send(PutPreKeys(1, [shop.ec(n) for n in range(3)], []))) == codes.TOO_MANY
    assert rig.count("prekeys") == 0
    assert result_of(talk.send(PutPreKeys(1, [shop.ec(n) for n in range(2)], []))) == (
        Result(codes.OK, left=0)
    )


@pytest.mark.parametrize(
    ("field", "value", "left"),
    [
        ("identity", Key(), 0),
        ("dh", bytes(range(32)), 0),
        ("signed_public", bytes(range(32)), 0),
        ("sessions_from", START // MINUTE, 0),
        ("issued", START - 1, 2),
    ],
    ids=["identity", "agreement key", "signed prekey", "lost sessions", "only newer"],
)
def test_one_time_prekeys_stay_as_long_as_the_keys_that_they_go_with(
    rig: Rig, field: str, value: object, left: int
) -> None:
    shop, rival = rig.shop(), rig.shop()
    for one in (shop, rival):
        rig.proved(one).send(PutPreKeys(1, [one.ec(1)], [one.kem(1)]))
    setattr(shop, field, value)
    request = Register(2, shop.card(2), shop.address.new(rig.nonce))
    assert code_of(rig.connection().send(request)) == "ok"
    assert rig.count("prekeys") == 2 + left
    refill = PutPreKeys(3, [shop.ec(1)], [shop.kem(1)])
    again = result_of(rig.proved(shop).send(refill))
    assert again is not None
    # The ids of keys that were dropped are free for others; of those that stayed they are not.
    assert again.code == (codes.MALFORMED if left else codes.OK)


def test_a_card_that_is_refused_drops_no_prekeys(rig: Rig) -> None:
    shop = rig.shop()
    rig.proved(shop).send(PutPreKeys(1, [shop.ec(1)], [shop.kem(1)]))
    shop.sessions_from = START // MINUTE
    for version, address in ((0, shop.address), (1, shop.address), (2, rig.shop().address)):
        request = Register(2, shop.card(version), address.new(rig.nonce))
        assert code_of(rig.connection().send(request)) != "ok"
    shop.sessions_from = START // MINUTE + 6
    request = Register(2, shop.card(2), shop.address.new(rig.nonce))
    assert code_of(rig.connection().send(request)) == codes.MALFORMED
    assert rig.count("prekeys") == 2


def test_the_directory(rig: Rig) -> None:
    shop, plain = rig.shop(), rig.shop(tier=None)
    talk = rig.connection()
    (reply,) = talk.send(GetBusiness(1, shop.id))
    assert isinstance(reply, BusinessIs)
    assert reply.badge is not None
    reply.badge.verify(rig.keys.cert.operator_pk, rig.keys.relay_id, shop.id, rig.now)
    (reply,) = talk.send(GetBusiness(2, plain.id))
    assert isinstance(reply, BusinessIs)
    assert reply.badge is None
    assert code_of(talk.send(GetBusiness(3, bytes(32)))) == codes.NOT_FOUND
    rig.now += DAY  # the badge of the rig
    (reply,) = talk.send(GetBusiness(4, shop.id))
    assert isinstance(reply, BusinessIs)
    assert reply.badge is None
    rig.now = START + 30 * DAY - 1
    assert isinstance(talk.send(GetBusiness(5, shop.id))[0], BusinessIs)
    rig.now += 1
    assert code_of(talk.send(GetBusiness(6, shop.id))) == codes.NOT_FOUND


def test_the_directory_has_a_pace(rig: Rig) -> None:
    shop, talk = rig.shop(), rig.connection()
    for _ in range(DIRECTORY_RATE.burst):
        assert isinstance(talk.send(GetBusiness(1, shop.id))[0], BusinessIs)
    slow = result_of(talk.send(GetBusiness(1, shop.id)))
    assert slow is not None
    assert (slow.code, slow.retry_after, slow.left) == (codes.RATE, 2, 0)
    rig.tick += 2
    assert isinstance(talk.send(GetBusiness(1, shop.id))[0], BusinessIs)


def test_further_connections_of_a_network_share_its_pace(rig: Rig) -> None:
    shop, eager = rig.shop(), rig.connection()
    for _ in range(DIRECTORY_NETWORK_RATE.burst):
        eager.send(GetBusiness(1, shop.id))
    # What its own rate refused, a connection did not take from the others of its network.
    for _ in range(DIRECTORY_NETWORK_RATE.burst - DIRECTORY_RATE.burst):
        assert isinstance(rig.connection().send(GetBusiness(1, shop.id))[0], BusinessIs)
    slow = result_of(rig.connection().send(GetBusiness(1, shop.id)))
    assert slow == Result(codes.RATE, "too fast; retry later", 1, 0)
    elsewhere = rig.connection(b"another network")
    assert isinstance(elsewhere.send(GetBusiness(1, shop.id))[0], BusinessIs)
    rig.tick += 1
    assert isinstance(rig.connection().send(GetBusiness(1, shop.id))[0], BusinessIs)


def handed_out(rig: Rig, shop: Shop) -> tuple[bool, bool]:
    """Whether somebody new gets one-time prekeys with the card: EC, KEM."""
    (reply,) = rig.connection(secrets.token_bytes(8)).send(GetBusiness(1, shop.id))
    assert isinstance(reply, BusinessIs), "the card is never refused"
    return reply.one_time is not None, reply.kem is not None


def stocked(rig: Rig) -> Shop:
    """A business that left as many one-time prekeys as a bot does."""
    shop = rig.shop()
    ids = range(1, PREKEY_STOCK + 1)
    refill = PutPreKeys(1, [shop.ec(n) for n in ids], [shop.kem(n) for n in ids])
    assert code_of(rig.proved(shop).send(refill)) == "ok"
    return shop


def test_beyond_its_rate_a_card_comes_without_one_time_prekeys(rig: Rig) -> None:
    shop, other = stocked(rig), stocked(rig)
    for _ in range(ONE_TIME_RATE.burst):
        assert handed_out(rig, shop) == (True, True)
    before = rig.count("prekeys")
    for _ in range(3):
        assert handed_out(rig, shop) == (False, False)
    assert rig.count("prekeys") == before
    assert handed_out(rig, other) == (True, True), "each business has its own"
    rig.tick += 1 / ONE_TIME_RATE.per_second
    assert handed_out(rig, shop) == (True, True)
    assert handed_out(rig, shop) == (False, False)


def test_a_flood_does_not_empty_the_stock_before_it_is_refilled(rig: Rig) -> None:
    shop = stocked(rig)
    for _ in range(2 * PREKEY_STOCK):
        handed_out(rig, shop)
    steps = 2 * PREKEY_STOCK
    for _ in range(steps):
        rig.tick += RENEW_EVERY / steps
        handed_out(rig, shop)
    assert rig.count("prekeys") > 0
