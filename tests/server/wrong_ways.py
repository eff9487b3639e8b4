"""Every wrong way to ask a relay for something, as a table: for tests.

A wrong way is refused with its code. Unless it says otherwise, it comes over a connection that may
do nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from kurir_billing.charge import packed
from kurir_billing.kinds import Category
from kurir_wire import codes
from kurir_wire.blob_frames import BlobNew
from kurir_wire.entries import Ack, NewMailbox, Opening, Submission
from kurir_wire.frames import (
    Acks,
    Create,
    Delete,
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
    Open,
    Prove,
    PutCard,
    PutPreKeys,
    Register,
    Request,
    SendReport,
    SetRefused,
    Submit,
)
from kurir_wire.gates import OPEN_GATE, token_gate
from kurir_wire.ids import DAY, NO_HASH, BusinessId, RelayId
from kurir_wire.proofs import create_message, open_message, prove_message
from tests.server.helpers import Box, Key
from tests.server.replies import code_of
from tests.server.rig import OTHER_NONCE, Talk
from tests.server.world import World

OTHER_RELAY = RelayId(bytes(32))

NO_MARKETING = 1 << Category.MARKETING

OPEN_TO_ALL = {
    GetBeacon: "the same for everybody",
    GetRateCard: "public",
    GetCheckpoint: "public",
    GetConsistency: "public",
    GetBusiness: "a directory; what it hands out has a pace",
    SendReport: "whoever reports does not say who they are; a report has a pace",
    BlobNew: "whoever sends a file does not say who they are; room has a pace",
}
"""Requests that need neither proof nor token, and why."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """A way to ask that is refused."""

    name: str
    request: Request
    talk: Talk
    code: str = codes.NOT_AUTHORISED


# One connection that may do nothing yet, unless said otherwise.


def wrong_creations(world: World) -> Iterator[Wrong]:
    rig, nonce = world.rig, world.rig.nonce
    box = Box.personal(world.relay_id, rig.now)
    good = box.new(nonce)

    def signed(by: Key, relay_id: RelayId, nonce: bytes, gate: bytes, hour: int) -> NewMailbox:
        return replace(good, signature=by.sign(create_message(relay_id, nonce, gate, hour)))

    hour = box.born_hour
    ways = {
        "no proof": replace(good, signature=bytes(64)),
        "another key": signed(Key(), world.relay_id, nonce, box.gate, hour),
        "another connection's nonce": signed(box.key, world.relay_id, OTHER_NONCE, box.gate, hour),
        "another relay": signed(box.key, OTHER_RELAY, nonce, box.gate, hour),
        "another gate": signed(box.key, world.relay_id, nonce, token_gate(bytes(32)), hour),
        "another hour": signed(box.key, world.relay_id, nonce, box.gate, hour + 1),
        "a proof for reading": replace(good, signature=box.opening(nonce).signature),
        "somebody else's key": replace(good, read_pk=world.other.key.public),
        "a key under which all is valid": replace(good, read_pk=bytes(32), signature=bytes(64)),
    }
    for name, new in ways.items():
        yield Wrong(name, Create(7, [new]), world.talk())
    address = Box(world.relay_id, OPEN_GATE, hour)
    yield Wrong("an address without a business", Create(7, [address.new(nonce)]), world.talk())
    old = Box(world.relay_id, box.gate, hour - 2)
    yield Wrong("of another time", Create(7, [old.new(nonce)]), world.talk(), codes.STALE)


def wrong_openings(world: World) -> Iterator[Wrong]:
    box, mine, nonce = world.box, world.other, world.rig.nonce

    def signed(by: Key, relay_id: RelayId, nonce: bytes, mailbox_id: bytes) -> Opening:
        return Opening(box.id, by.sign(open_message(relay_id, nonce, mailbox_id)))

    ways = {
        "no proof": Opening(box.id, bytes(64)),
        "another key": signed(mine.key, world.relay_id, nonce, box.id),
        "another connection's nonce": box.opening(OTHER_NONCE),
        "another relay": signed(box.key, OTHER_RELAY, nonce, box.id),
        "another mailbox": signed(box.key, world.relay_id, nonce, mine.id),
        "the proof of another mailbox": replace(mine.opening(nonce), mailbox_id=box.id),
        "a proof for making": Opening(box.id, box.new(nonce).signature),
        "no such mailbox": Box.personal(world.relay_id, world.rig.now).opening(nonce),
    }
    for name, opening in ways.items():
        yield Wrong(name, Open(7, [opening]), world.talk())
        yield Wrong(f"{name}, beside one's own", Open(7, [opening]), world.talk(opened=(mine,)))


def readers(world: World, request: Request) -> Iterator[Wrong]:
    """What needs an open mailbox, asked about ``world.box``."""
    yield Wrong("not opened", request, world.talk())
    yield Wrong("another one opened", request, world.talk(opened=(world.other,)))
    world.talk(opened=(world.box,))
    yield Wrong("opened by another connection", request, world.talk())
    refused = world.talk()
    assert code_of(refused.send(Open(1, [world.box.opening(OTHER_NONCE)]))) != "ok"
    yield Wrong("not let in", request, refused)
    yield Wrong("proved to be a business", request, world.talk(proved=world.shop))


def wrong_deletions(world: World) -> Iterator[Wrong]:
    yield from readers(world, Delete(7, [world.box.id]))
    address = Delete(7, [world.shop.address.id])
    yield Wrong("a business by its lane", address, world.talk(proved=world.shop))


def wrong_acks(world: World) -> Iterator[Wrong]:
    yield from readers(world, Acks(7, [Ack(world.box.id, world.waiting.envelope_id)]))


def wrong_put_cards(world: World) -> Iterator[Wrong]:
    yield from readers(world, PutCard(7, world.box.id, b"another card"))


def wrong_wishes(world: World) -> Iterator[Wrong]:
    yield from readers(world, SetRefused(7, world.box.id, NO_MARKETING))
    more = SetRefused(7, world.box.id, NO_MARKETING | 1 << Category.UTILITY)
    talk = world.talk(opened=(world.box,))
    yield Wrong("more than can be refused", more, talk, codes.MALFORMED)


def wrong_get_cards(world: World) -> Iterator[Wrong]:
    box, other, paid = world.box, world.other, world.paid
    for name, mailbox, token in (
        ("a wrong token", box, bytes(32)),
        ("another's token", box, other.token),
        ("the gate itself", box, box.gate),
        ("the id itself", box, box.id),
        ("the opening of a paid one", paid, world.opening),
        ("any token, at an address", world.shop.address, box.token),
        ("no such mailbox", Box.personal(world.relay_id, world.rig.now), box.token),
    ):
        assert token is not None
        yield Wrong(name, GetCard(7, mailbox.id, token), world.talk(), codes.NO_MAILBOX)


def wrong_submissions(world: World) -> Iterator[Wrong]:
    box, paid, shop, rival = world.box, world.paid, world.shop, world.rival
    entry = box.write()
    address = shop.address.write(4_096)
    nothing = replace(entry, token=None)
    ways = {
        "no token": nothing,
        "a wrong token": replace(entry, token=bytes(32)),
        "another's token": replace(entry, token=world.other.token),
        "the gate itself": replace(entry, token=box.gate),
        "a token at an address": replace(address, token=box.token),
        "the gate of an address": replace(address, token=OPEN_GATE),
        "nothing, where a business pays": replace(nothing, mailbox_id=paid.id),
        "a token, where a business pays": replace(entry, mailbox_id=paid.id, token=world.opening),
        "no such mailbox": replace(entry, mailbox_id=bytes(32)),
        "a charge into a personal one": world.charge(box=box).submission,
        "another opening": world.charge(opening=bytes(32)).submission,
        "another market": world.charge(line=shop.line(is_open=False, market="BR")).submission,
        "another business pays": rival.sign(
            paid, world.opening, rival.line(is_open=False), world.rig.beacon
        ).submission,
    }
    for name, submission in ways.items():
        yield Wrong(name, Submit(7, [submission]), world.talk(), codes.NO_MAILBOX)
    both = replace(world.charge().submission, token=bytes(32))
    yield Wrong("a token and a charge", Submit(7, [both]), world.talk(), codes.MALFORMED)
    for name, submission in wrong_charges(world):
        yield Wrong(name, Submit(7, [submission]), world.talk(), codes.REFUSED)
        yield Wrong(
            f"{name}, by the business", Submit(7, [submission]), world.talk(proved=shop),
            codes.REFUSED,
        )  # fmt: skip


def wrong_charges(world: World) -> Iterator[tuple[str, Submission]]:
    """Into the mailbox of the shop's customer, whose gate they open."""
    rig, shop, rival, paid = world.rig, world.shop, world.rival, world.paid
    good = world.charge()

    def with_lane(lane: Any, key: Key) -> Submission:
        kept = shop.lane, shop.lane_key
        shop.lane, shop.lane_key = lane, key
        try:
            return world.charge().submission
        finally:
            shop.lane, shop.lane_key = kept

    thief = Key()
    yield "another envelope", replace(good.submission, envelope_id=bytes(16))
    yield "another body", replace(good.submission, body=bytes(2_048))
    yield "a longer life", replace(good.submission, life=25)
    yield (
        "no signature",
        replace(good.submission, charge=packed(replace(good.charge, signature=bytes(64)))),
    )
    yield "another key", with_lane(shop.lane, thief)
    yield "a lane that nobody enrolled", with_lane(replace(shop.lane, lane_pk=thief.public), thief)
    yield (
        "another business's lane",
        with_lane(replace(rival.lane, root_pk=shop.root.public), rival.lane_key),
    )
    yield "an expired lane", with_lane(shop.enrol(rig.now), shop.lane_key)
    yield (
        "another relay's beacon",
        world.charge(beacon=replace(rig.beacon, nonce=bytes(16))).submission,
    )
    yield "an old beacon", world.charge(beacon=rig.keys.beacon(rig.now // 60 - 1_441)).submission
    yield (
        "a beacon that is to come",
        world.charge(beacon=rig.keys.beacon(rig.now // 60 + 1)).submission,
    )
    for name, grant in {
        "a grant of another mailbox": world.box.grant(shop.id, rig.beacon),
        "a grant to another business": paid.grant(rival.id, rig.beacon),
        "a grant that nobody signed": replace(paid.grant(shop.id, rig.beacon), signature=bytes(64)),
    }.items():
        line = shop.line(is_open=True)
        yield name, world.charge(line=line, grant=grant).submission
    yield "no grant, where one is needed", world.charge(line=shop.line(is_open=True)).submission
    ended = paid.grant(shop.id, rig.keys.beacon((rig.now - DAY) // 60))
    yield (
        "a grant that has ended",
        world.charge(line=shop.line(is_open=True), grant=ended).submission,
    )
    yield "too low a price", world.charge(line=shop.line(is_open=False, price=1)).submission
    yield (
        "another rate card",
        world.charge(line=shop.line(is_open=False, rate_card=bytes(32))).submission,
    )
    yield "a number of the lane that was used", world.charge(seq=1).submission
    yield "a business that lost its tier", world.of_revoked


def wrong_registrations(world: World) -> Iterator[Wrong]:
    shop, rival, nonce = world.shop, world.rival, world.rig.nonce
    address, card, relay_id = shop.address, world.card, world.relay_id

    def signed(by: Key, relay_id: RelayId, nonce: bytes) -> NewMailbox:
        message = create_message(relay_id, nonce, address.gate, address.born_hour)
        return replace(address.new(nonce), signature=by.sign(message))

    for name, new in {
        "no proof for the address": replace(address.new(nonce), signature=bytes(64)),
        "another key": signed(Key(), relay_id, nonce),
        "the root's key": signed(shop.root, relay_id, nonce),
        "another connection's nonce": signed(address.key, relay_id, OTHER_NONCE),
        "another relay": signed(address.key, OTHER_RELAY, nonce),
    }.items():
        yield Wrong(name, Register(7, card, new), world.talk())
        yield Wrong(f"{name}, proved", Register(7, card, new), world.talk(proved=shop))
    others = Register(7, card, rival.address.new(nonce))
    yield Wrong("another's address", others, world.talk(), codes.MALFORMED)
    personal = Register(7, card, world.box.new(nonce))
    yield Wrong("a personal mailbox", personal, world.talk(), codes.MALFORMED)
    fresh = address.new(nonce)
    flipped = card[:-1] + bytes([card[-1] ^ 1])
    yield Wrong("a card that nobody signed", Register(7, flipped, fresh), world.talk())
    kept, shop.root = shop.root, rival.root
    stolen = shop.card(3)
    shop.root = kept
    by_rival = Register(7, stolen, fresh)
    # A card by another root is the card of another business, with this one's address.
    yield Wrong("another's card, proved", replace(by_rival, address=rival.address.new(nonce)),
                world.talk(proved=shop), codes.MALFORMED)  # fmt: skip
    older = Register(7, shop.card(0), fresh)
    yield Wrong("an older card", older, world.talk(), codes.STALE)
    same = Register(7, shop.card(1), fresh)
    yield Wrong("another card of this version", same, world.talk(), codes.CONFLICT)


def wrong_proofs(world: World) -> Iterator[Wrong]:
    shop, rival, nonce = world.shop, world.rival, world.rig.nonce
    message = prove_message(world.relay_id, nonce, shop.id)
    thief = Key()

    def asked(signature: bytes, lane: Any = shop.lane, business: BusinessId = shop.id) -> Prove:
        return Prove(7, business, packed(lane), signature)

    enrolled_itself = replace(shop.lane, lane_pk=thief.public)
    ways = {
        "no proof": asked(bytes(64)),
        "another key": asked(thief.sign(message)),
        "the root's key": asked(shop.root.sign(message)),
        "the identity's key": asked(shop.identity.sign(message)),
        "another connection's nonce": shop.prove(OTHER_NONCE, n=7),
        "another relay": asked(shop.lane_key.sign(prove_message(OTHER_RELAY, nonce, shop.id))),
        "another business's lane": asked(rival.lane_key.sign(message), rival.lane),
        "another business": asked(rival.lane_key.sign(message), rival.lane, shop.id),
        "a lane that nobody enrolled": asked(thief.sign(message), enrolled_itself),
        "an expired lane": asked(shop.lane_key.sign(message), shop.enrol(world.rig.now)),
        "nobody registered it": world.unknown.prove(nonce, n=7),
    }
    for name, request in ways.items():
        yield Wrong(name, request, world.talk())


def unproved(world: World, request: Request) -> Iterator[Wrong]:
    """What needs a proof, asked of the shop."""
    yield Wrong("not proved", request, world.talk())
    world.talk(proved=world.shop)
    yield Wrong("proved on another connection", request, world.talk())
    yield Wrong("its address opened", request, world.talk(opened=(world.shop.address,)))
    refused = world.talk()
    assert code_of(refused.send(world.shop.prove(OTHER_NONCE))) != "ok"
    yield Wrong("not believed", request, refused)


def wrong_prekeys(world: World) -> Iterator[Wrong]:
    shop, rival = world.shop, world.rival
    request = PutPreKeys(7, [shop.ec(1)], [shop.kem(1)])
    yield from unproved(world, request)
    yield Wrong("for another business", request, world.talk(proved=rival))
    mixed = PutPreKeys(7, [shop.ec(1), rival.ec(2)], [])
    yield Wrong("one of another business", mixed, world.talk(proved=shop))
    unsigned = PutPreKeys(7, [], [replace(shop.kem(1), signature=bytes(64))])
    yield Wrong("not signed", unsigned, world.talk(proved=shop))


def wrong_settlements(world: World) -> Iterator[Wrong]:
    yield from unproved(world, GetSettlements(7, world.day, NO_HASH))


def wrong_invoices(world: World) -> Iterator[Wrong]:
    yield from unproved(world, GetInvoice(7, 202701))


def wrong_terms(world: World) -> Iterator[Wrong]:
    yield from unproved(world, GetTerms(7))


def wrong_adjustments(world: World) -> Iterator[Wrong]:
    yield from unproved(world, GetAdjustments(7, 202701, NO_HASH))


def wrong_inclusions(world: World) -> Iterator[Wrong]:
    request = GetInclusion(7, 1, world.day, [world.settled])
    yield from unproved(world, request)
    talk = world.talk(proved=world.rival)
    yield Wrong("another business's charge", request, talk, codes.NOT_FOUND)


TABLE: dict[type, Callable[[World], Iterator[Wrong]]] = {
    Create: wrong_creations,
    Open: wrong_openings,
    Delete: wrong_deletions,
    Submit: wrong_submissions,
    Acks: wrong_acks,
    PutCard: wrong_put_cards,
    SetRefused: wrong_wishes,
    GetCard: wrong_get_cards,
    Register: wrong_registrations,
    PutPreKeys: wrong_prekeys,
    Prove: wrong_proofs,
    GetSettlements: wrong_settlements,
    GetInvoice: wrong_invoices,
    GetInclusion: wrong_inclusions,
    GetTerms: wrong_terms,
    GetAdjustments: wrong_adjustments,
}
