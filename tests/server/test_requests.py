"""Every request in the right state and in wrong ones, over the sans-I/O connection."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import get_args

import msgspec
import pytest

from kurir_billing.charge import packed
from kurir_billing.head import open_head
from kurir_billing.ratecard import open_rate_card
from kurir_client.bot import RENEW_EVERY
from kurir_client.business import PREKEY_STOCK
from kurir_server import connection as connection_module
from kurir_server import registry as registry_module
from kurir_server.limits import (
    CREATE_RATE,
    DIRECTORY_NETWORK_RATE,
    DIRECTORY_RATE,
    MAX_BAD_FRAMES,
    ONE_TIME_RATE,
)
from kurir_server.pace import Deed
from kurir_server.work import RETRY_SECONDS
from kurir_wire import codes, frames
from kurir_wire.blob_frames import (
    BlobDelete,
    BlobGet,
    BlobKey,
    BlobNew,
    BlobPut,
    BlobRequest,
    BlobStatus,
    Chunk,
    NewBlob,
)
from kurir_wire.codec import pack
from kurir_wire.entries import Ack, NewMailbox, Result
from kurir_wire.frames import (
    Acks,
    BeaconIs,
    BusinessIs,
    CardIs,
    Create,
    Delete,
    Error,
    GetAdjustments,
    GetBeacon,
    GetBusiness,
    GetCard,
    GetCheckpoint,
    GetConsistency,
    GetInclusion,
    GetInvoice,
    GetRateCard,
    GetSettlements,
    GetTerms,
    InvoiceIs,
    Open,
    Prove,
    Push,
    PutCard,
    PutPreKeys,
    RateCardIs,
    Register,
    Request,
    Results,
    SendReport,
    SetRefused,
    SettlementsAre,
    Submit,
)
from kurir_wire.gates import token_gate
from kurir_wire.ids import DAY, HOUR, MINUTE, NO_HASH, RelayId
from kurir_wire.limits import CHUNK_BYTES, MAX_PREKEYS, REPORT_SIZES
from kurir_wire.prekeys import PREKEY_LAST_RESORT
from kurir_wire.proofs import create_message, prove_message
from tests.server.helpers import CARD_HASH, Box, Key, Shop, body, receipt_of
from tests.server.rig import START, Rig, Talk

OTHER_NONCE = bytes(reversed(range(32)))
"""That of another connection."""


def result_of(pushed: list[Push]) -> Result | None:
    """The one result or error of the one reply."""
    (reply,) = [push for push in pushed if isinstance(push, Results | Error)]
    if isinstance(reply, Error):
        return reply.result
    (result,) = reply.results
    return result


def code_of(pushed: list[Push]) -> str:
    result = result_of(pushed)
    return "ok" if result is None else result.code


def codes_of(pushed: list[Push]) -> list[str]:
    (reply,) = [push for push in pushed if isinstance(push, Results)]
    return ["ok" if result is None else result.code for result in reply.results]


def prove(rig: Rig, shop: Shop, nonce: bytes | None = None, n: int = 1) -> Prove:
    message = prove_message(rig.keys.relay_id, nonce or rig.nonce, shop.id)
    return Prove(n, shop.id, packed(shop.lane), shop.lane_key.sign(message))


def proved(rig: Rig, shop: Shop) -> Talk:
    talk = rig.connection()
    assert code_of(talk.send(prove(rig, shop))) == "ok"
    return talk


def one_of_each(rig: Rig, box: Box, shop: Shop) -> dict[type[object], Request]:
    """A well-formed request of every kind."""
    ids = secrets.token_bytes(16)
    address = shop.address.new(rig.nonce)
    found: list[Request] = [
        GetBeacon(7),
        Create(7, [Box.personal(rig.keys.relay_id, rig.now).new(rig.nonce)]),
        Open(7, [box.opening(rig.nonce)]),
        Delete(7, [box.id]),
        Submit(7, [box.write()]),
        Acks(7, [Ack(box.id, ids)]),
        PutCard(7, box.id, b"card"),
        GetCard(7, box.id, box.token or b""),
        Register(7, shop.card(2), address),
        PutPreKeys(7, [shop.ec(9)], [shop.kem(9)]),
        GetBusiness(7, shop.id),
        prove(rig, shop, n=7),
        GetRateCard(7),
        GetSettlements(7, rig.now // DAY - 1, NO_HASH),
        GetInvoice(7, 202701),
        GetCheckpoint(7),
        GetInclusion(7, 1, rig.now // DAY - 1, [bytes(32)]),
        GetConsistency(7, 1, 1),
        GetTerms(7),
        SetRefused(7, box.id, 0),
        SendReport(7, body(REPORT_SIZES[0])),
        GetAdjustments(7, 202701, NO_HASH),
        BlobNew(7, [NewBlob(bytes(32), bytes(32), 1, 1)]),
        BlobPut(7, bytes(32), bytes(32), [Chunk(0, bytes(CHUNK_BYTES))]),
        BlobStatus(7, bytes(32), bytes(32)),
        BlobGet(7, bytes(32), bytes(32), 0, 1),
        BlobDelete(7, [BlobKey(bytes(32), bytes(32))]),
    ]
    return {type(request): request for request in found}


def names(union: object) -> set[type[object]]:
    return set(get_args(union))


def test_every_request_has_one_reply_that_repeats_its_number(rig: Rig) -> None:
    box, shop = rig.personal(), rig.shop()
    requests = one_of_each(rig, box, shop)
    assert set(requests) == names(Request)
    for request in requests.values():
        replies = [p for p in rig.connection().send(request) if not isinstance(p, frames.Deliver)]
        assert [getattr(reply, "n", None) for reply in replies] == [7], request


def test_a_fresh_connection_may_do_nothing_for_others(rig: Rig) -> None:
    box, shop = rig.personal(), rig.shop()
    requests = one_of_each(rig, box, shop)
    refused = {
        kind for kind, one in requests.items() if code_of_any(rig, one) == codes.NOT_AUTHORISED
    }
    of_readers = {Delete, Acks, PutCard, SetRefused}
    assert refused == of_readers | {
        PutPreKeys,
        GetSettlements,
        GetInvoice,
        GetInclusion,
        GetTerms,
        GetAdjustments,
    }


def code_of_any(rig: Rig, request: Request) -> str:
    pushed = rig.connection().send(request)
    return code_of(pushed) if any(isinstance(p, Results | Error) for p in pushed) else "ok"


def test_a_proof_of_another_connection_opens_nothing(rig: Rig) -> None:
    """0 accepted: every request that carries a proof, with the nonce of another connection."""
    box, shop = rig.personal(), rig.shop()
    fresh = Shop(rig.keys.relay_id, rig.now)
    stale: list[Request] = [
        Create(1, [Box.personal(rig.keys.relay_id, rig.now).new(OTHER_NONCE)]),
        Open(1, [box.opening(OTHER_NONCE)]),
        Register(1, fresh.card(), fresh.address.new(OTHER_NONCE)),
        prove(rig, shop, OTHER_NONCE),
    ]
    for request in stale:
        talk = rig.connection()
        assert code_of(talk.send(request)) == codes.NOT_AUTHORISED, request
        assert code_of(talk.send(Delete(2, [box.id]))) == codes.NOT_AUTHORISED
        assert code_of(talk.send(GetInvoice(3, 202701))) == codes.NOT_AUTHORISED
    # The same connection state with that nonce takes them.
    for request in stale:
        talk = rig.connection(nonce=OTHER_NONCE)
        assert code_of(talk.send(request)) == "ok", request


def test_who_speaks_for_a_business(rig: Rig) -> None:
    shop, rival = rig.shop(), rig.shop()
    unregistered = Shop(rig.keys.relay_id, rig.now)
    thief = Key()
    message = prove_message(rig.keys.relay_id, rig.nonce, shop.id)
    elsewhere = prove_message(RelayId(bytes(32)), rig.nonce, shop.id)
    expired, good = shop.enrol(rig.now), shop.lane
    attempts = [
        Prove(1, shop.id, packed(good), thief.sign(message)),
        Prove(1, shop.id, packed(good), shop.root.sign(message)),
        Prove(1, shop.id, packed(good), shop.lane_key.sign(elsewhere)),
        Prove(1, shop.id, packed(rival.lane), rival.lane_key.sign(message)),
        Prove(1, shop.id, packed(expired), shop.lane_key.sign(message)),
        Prove(1, shop.id, packed(good)[:-1], shop.lane_key.sign(message)),
        Prove(
            1,
            shop.id,
            packed(msgspec.structs.replace(good, lane_pk=thief.public)),
            thief.sign(message),
        ),
        prove(rig, unregistered),
    ]
    talk = rig.connection()
    for attempt in attempts:
        assert code_of(talk.send(attempt)) == codes.NOT_AUTHORISED
        assert code_of(talk.send(GetInvoice(2, 202701))) == codes.NOT_AUTHORISED
    assert code_of(talk.send(prove(rig, shop))) == "ok"
    assert code_of(talk.send(attempts[0])) == codes.NOT_AUTHORISED
    day = GetSettlements(3, rig.now // DAY - 1, NO_HASH)
    assert talk.send(day) == [SettlementsAre(3, [], False)], "a failed proof changes nothing"


def test_a_proof_shows_only_ones_own_bills(rig: Rig) -> None:
    shop, rival = rig.shop(), rig.shop()
    box, opening = rig.customer(shop)
    signed = rig.charge(shop, box, opening, shop.line(is_open=False))
    receipt_of(rig.submit(signed.submission)[0])
    rig.fetch(box)
    assert rig.ack(box, signed.submission.envelope_id, signed.secret) is None
    day, rig.now = rig.now // DAY, rig.now + DAY
    for one, count in ((shop, 1), (rival, 0)):
        talk = proved(rig, one)
        (leaves,) = talk.send(GetSettlements(2, day, NO_HASH))
        assert isinstance(leaves, SettlementsAre)
        assert len(leaves.leaves) == count
        (invoice,) = talk.send(GetInvoice(3, 202701))
        assert isinstance(invoice, InvoiceIs)
        assert open_head(invoice.head).count == count
    # One connection, two proofs: the later counts.
    talk = proved(rig, shop)
    assert code_of(talk.send(prove(rig, rival))) == "ok"
    assert talk.send(GetSettlements(2, day, NO_HASH)) == [SettlementsAre(2, [], False)]
    assert code_of(talk.send(GetSettlements(2, rig.now // DAY, NO_HASH))) == codes.NOT_FOUND
    assert code_of(talk.send(GetInvoice(2, 202713))) == codes.NOT_FOUND


# Businesses


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
    talk, asks = proved(rig, shop), rig.connection()
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
    talk = proved(rig, shop)
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
        proved(rig, one).send(PutPreKeys(1, [one.ec(1)], [one.kem(1)]))
    setattr(shop, field, value)
    request = Register(2, shop.card(2), shop.address.new(rig.nonce))
    assert code_of(rig.connection().send(request)) == "ok"
    assert rig.count("prekeys") == 2 + left
    refill = PutPreKeys(3, [shop.ec(1)], [shop.kem(1)])
    again = result_of(proved(rig, shop).send(refill))
    assert again is not None
    # The ids of keys that were dropped are free for others; of those that stayed they are not.
    assert again.code == (codes.MALFORMED if left else codes.OK)


def test_a_card_that_is_refused_drops_no_prekeys(rig: Rig) -> None:
    shop = rig.shop()
    proved(rig, shop).send(PutPreKeys(1, [shop.ec(1)], [shop.kem(1)]))
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
    assert code_of(proved(rig, shop).send(refill)) == "ok"
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


def test_prices_and_time(rig: Rig) -> None:
    talk = rig.connection()
    for request in (GetRateCard(1), GetRateCard(1, CARD_HASH)):
        (reply,) = talk.send(request)
        assert isinstance(reply, RateCardIs)
        _, name = open_rate_card(reply.card, rig.keys.cert.operator_pk, rig.keys.relay_id)
        assert name == CARD_HASH
    assert code_of(talk.send(GetRateCard(1, bytes(32)))) == codes.NOT_FOUND
    (beacon,) = talk.send(GetBeacon(1))
    assert isinstance(beacon, BeaconIs)
    assert beacon.beacon == rig.keys.beacon(START // MINUTE)


def test_the_greeting(rig: Rig) -> None:
    talk = rig.connection()
    talk.connection.greet(rig.now, rig.beacon)
    (welcome,) = talk.collect()
    assert welcome == frames.Welcome(1, rig.keys.cert, rig.nonce, rig.now, rig.beacon)
    assert isinstance(welcome, frames.Welcome)
    welcome.cert.verify(rig.now)
    welcome.beacon.verify(welcome.cert.beacon_pk, rig.keys.relay_id)


# Bounds and failures


def test_mailboxes_that_are_open_already_make_no_room_for_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_OPEN_MAILBOXES", 2)
    talk = rig.connection()
    a, b, c, d = (rig.personal().opening(rig.nonce) for _ in range(4))
    assert codes_of(talk.send(Open(1, [a, b]))) == ["ok", "ok"]
    assert codes_of(talk.send(Open(2, [c, a, d, b]))) == [
        codes.TOO_MANY,
        "ok",
        codes.TOO_MANY,
        "ok",
    ]
    assert len(rig.hub.read_rows()) == 2
    assert codes_of(talk.send(Delete(3, [a.mailbox_id]))) == ["ok"]
    assert codes_of(talk.send(Open(4, [c, c, d]))) == ["ok", "ok", codes.TOO_MANY]


def test_a_failing_disk_is_unavailable_for_every_request_and_accepts_nothing(rig: Rig) -> None:
    box, shop = rig.personal(), rig.shop()
    before = {table: rig.count(table) for table in ("mailboxes", "envelopes", "businesses")}
    talk = proved(rig, shop)
    talk.send(Open(1, [box.opening(rig.nonce)]))
    requests = one_of_each(rig, box, shop)
    talk.is_failing = True
    for request in requests.values():
        result = result_of(talk.send(request))
        assert result is not None
        assert (result.code, result.retry_after) == (codes.UNAVAILABLE, RETRY_SECONDS), request
    assert {table: rig.count(table) for table in before} == before
    talk.is_failing = False
    del requests[Delete]
    about_the_ledger = (GetCheckpoint, GetInclusion, GetConsistency)
    about_a_blob = (BlobPut, BlobStatus, BlobGet, BlobDelete)
    for request in requests.values():
        # Nothing has settled, so there is nothing to prove; and no blob is there.
        nothing = isinstance(request, (*about_the_ledger, *about_a_blob))
        expected = codes.NOT_FOUND if nothing else "ok"
        assert code_of_reply(talk.send(request)) == expected, request


def code_of_reply(pushed: list[Push]) -> str:
    for push in pushed:
        if isinstance(push, Results | Error):
            return code_of([push])
    return "ok"


def test_unknown_frames_are_unsupported(rig: Rig) -> None:
    talk = rig.connection()
    pushes = [kind.__struct_config__.tag for kind in get_args(Push)]
    for name in ("", "hello", "Submit", "submit ", *pushes):
        assert talk.raw(pack([name, 5])) == [
            Error(5, Result(codes.UNSUPPORTED, "a frame of this name is not known here"))
        ]


def test_too_many_bad_frames_close_one_connection(rig: Rig) -> None:
    talk, other = rig.connection(), rig.connection()
    for count in range(1, MAX_BAD_FRAMES + 1):
        bad: bytes | str = ("text", b"\xc1", pack(["hello", 1]))[count % 3]
        talk.connection.receive(bad, rig.moment)
        output = talk.connection.take()
        assert len(output.frames) == 1
        assert (output.close is not None) is (count == MAX_BAD_FRAMES)
        assert isinstance(talk.send(GetBeacon(1))[0], BeaconIs), "good ones in between do not help"
    other.connection.receive(b"\xc1", rig.moment)
    assert other.connection.take().close is None


def test_a_wrong_entry_refuses_its_whole_frame(rig: Rig) -> None:
    box = rig.personal()
    good = box.write()
    for bad in (
        msgspec.structs.replace(good, life=0),
        msgspec.structs.replace(good, life=721),
        msgspec.structs.replace(good, body=bytes(2_047)),
        msgspec.structs.replace(good, body=bytes(65_537)),
        msgspec.structs.replace(good, token=bytes(31)),
        msgspec.structs.replace(good, envelope_id=bytes(15)),
        msgspec.structs.replace(good, charge=b""),
    ):
        (reply,) = rig.connection().send(Submit(8, [good, bad]))
        assert isinstance(reply, Error)
        assert (reply.n, reply.result.code) == (8, codes.MALFORMED)
    assert rig.count("envelopes") == 0
    makers: list[Callable[[int], Request]] = [
        lambda n: Submit(1, [good] * n),
        lambda n: Acks(1, [Ack(box.id, bytes(16))] * n),
        lambda n: Open(1, [box.opening(rig.nonce)] * n),
        lambda n: Delete(1, [box.id] * n),
        lambda n: Create(1, [box.new(rig.nonce)] * n),
    ]
    for make in makers:
        for count in (0, 257):
            assert code_of(rig.connection().send(make(count))) == codes.MALFORMED
        assert len(codes_of(rig.connection().send(make(256)))) == 256
    with_text = ["delete", 1, ["x" * 32]]
    assert code_of(rig.connection().raw(pack(with_text))) == codes.MALFORMED


def test_registering_counts_as_making(rig: Rig) -> None:
    rig.use_up(Deed.CREATE, CREATE_RATE.burst)
    shop = Shop(rig.keys.relay_id, rig.now)
    request = Register(1, shop.card(), shop.address.new(rig.nonce))
    slow = result_of(rig.connection().send(request))
    assert slow == Result(codes.RATE, "too fast; retry later", 87, 0)


def test_a_signature_for_one_gate_makes_no_other(rig: Rig) -> None:
    box = Box.personal(rig.keys.relay_id, rig.now)
    signature = box.key.sign(
        create_message(rig.keys.relay_id, rig.nonce, box.gate, box.born_hour + 1)
    )
    for new in (
        NewMailbox(box.key.public, box.gate, box.born_hour, signature),
        NewMailbox(box.key.public, token_gate(bytes(32)), box.born_hour + 1, signature),
        NewMailbox(Key().public, box.gate, box.born_hour + 1, signature),
    ):
        assert code_of(rig.connection().send(Create(1, [new]))) == codes.NOT_AUTHORISED


def test_cards_come_with_the_token_only(rig: Rig) -> None:
    box, shop = rig.personal(), rig.shop()
    reader = rig.connection()
    reader.send(Open(1, [box.opening(rig.nonce), shop.address.opening(rig.nonce)]))
    assert code_of(reader.send(PutCard(2, box.id, b"sealed"))) == "ok"
    assert code_of(reader.send(PutCard(2, shop.address.id, b"sealed"))) == "ok"
    talk = rig.connection()
    assert box.token is not None
    assert talk.send(GetCard(3, box.id, box.token)) == [CardIs(3, b"sealed")]
    for token in (bytes(32), box.gate, box.token):
        assert code_of(talk.send(GetCard(4, shop.address.id, token))) == codes.NO_MAILBOX


def test_what_changes_rights_holds_up_the_next_frame(rig: Rig) -> None:
    shop = rig.shop()
    for kind in get_args(Request):
        box = rig.personal()
        request = one_of_each(rig, box, shop)[kind]
        talk = proved(rig, shop)
        talk.send(Open(1, [box.opening(rig.nonce)]))
        talk.connection.receive(frames.encode(request), rig.moment)
        assert talk.connection.outstanding == 1
        assert talk.connection.barriers == (kind in (Open, Delete, Prove, *get_args(BlobRequest)))
        talk.collect()
        assert (talk.connection.outstanding, talk.connection.barriers) == (0, 0)
