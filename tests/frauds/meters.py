"""Frauds at the meter, the mailbox and the operator's desk: by a business that shows what it has
not, by a customer who reads and never settles, and by one who reports what was never sent.
"""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from msgspec import structs

from kurir_billing.charge import packed
from kurir_billing.errors import EvidenceError
from kurir_billing.grant import Grant
from kurir_billing.kinds import Category, Class
from kurir_billing.report import check_report
from kurir_server.limits import MAX_UNSETTLED
from kurir_wire.entries import Result
from kurir_wire.ids import DAY, MINUTE
from tests.frauds.registry import Caught, fraud
from tests.frauds.world import RELAY, world
from tests.server.customers import Customer, customer
from tests.server.helpers import Shop
from tests.server.rig import Rig, rig_in

NOT_SIGNED = "the grant was not signed for this business by this mailbox's reader"
NO_BEACON = "the grant rests on a beacon that this relay never gave out"


@cache
def relay() -> tuple[Rig, Shop, Shop]:
    """One for all cases, each of which has its own customer; and two businesses."""
    stack = ExitStack()
    atexit.register(stack.close)
    rig = stack.enter_context(rig_in(Path(stack.enter_context(TemporaryDirectory()))))
    return rig, rig.shop(), rig.shop(tariff="message-2025")


def someone() -> Customer:
    rig, shop, _ = relay()
    return customer(rig, shop, "reply-2018")


def told(result: Result | None) -> str | None:
    """Why it was refused; nothing if it was taken."""
    return None if result is None or result.code == "ok" else result.detail


def shown(ani: Customer, grant: Grant) -> str | None:
    """A free answer that rests on this grant."""
    return told(ani.submit(ani.sign(ani.line(Class.IN_WINDOW, 0), grant)))


@fraud(20)
def a_forged_grant(rng: Random) -> Caught:
    ani = someone()
    true = ani.grant()
    if rng.random() < 0.5:
        forged = structs.replace(true, signature=rng.randbytes(64))
    else:  # by a key of the business's own
        box, _ = ani.shop.customer(ani.rig.now)
        box.gate, box.born_hour = ani.box.gate, ani.box.born_hour
        forged = box.grant(ani.shop.id, ani.rig.beacon)
    return Caught(f"100: {NOT_SIGNED}", shown(ani, forged))


@fraud(20)
def a_moved_grant(rng: Random) -> Caught:
    ani, other = someone(), someone()
    if rng.random() < 0.5:  # of another customer
        return Caught(f"100: {NOT_SIGNED}", shown(ani, other.grant()))
    grant = ani.box.grant(relay()[2].id, ani.rig.beacon)  # to another business
    return Caught(f"100: {NOT_SIGNED}", shown(ani, grant))


@fraud(20)
def a_stretched_grant(rng: Random) -> Caught:
    """The window is over; the business makes it begin later."""
    ani = someone()
    old = ani.rig.keys.beacon((ani.rig.now - DAY) // MINUTE - rng.randrange(1, 600))
    true = ani.grant(beacon=old)
    minute = ani.rig.now // MINUTE - rng.randrange(600)
    if rng.random() < 0.5:
        return Caught(f"100: {NO_BEACON}", shown(ani, structs.replace(true, minute=minute)))
    nonce = ani.rig.keys.beacon_nonce(minute)
    later = structs.replace(true, minute=minute, nonce=nonce)
    return Caught(f"100: {NOT_SIGNED}", shown(ani, later))


@fraud(20)
def an_entry_grant_shown_twice(rng: Random) -> Caught:
    """As if the first answer had not been given, so that its window would begin anew."""
    rig, _, shop = relay()
    ani = customer(rig, shop, "message-2025")
    ticket = rig.keys.ticket(shop.id, rng.randbytes(16), rig.now + DAY)
    evidence = ani.came_by(ticket)
    line = ani.line(Class.ENTRY, 0, rng.choice([Category.UTILITY, Category.MARKETING]))
    ani.taken(line, **evidence)
    again = told(ani.submit(ani.sign(line, **evidence)))
    return Caught("100: another pass is open for this customer; name that one", again)


@fraud(20)
def a_charge_replayed_at_the_relay(rng: Random) -> Caught:
    """One signature, and another message, mailbox or body under it."""
    ani = someone()
    grant = ani.grant()
    signed = ani.sign(ani.line(Class.IN_WINDOW, 0), grant)
    ani.received(signed)
    true = signed.submission
    if rng.random() < 0.5:
        where = "100: the charge: the signature does not match"
        other = structs.replace(true, envelope_id=rng.randbytes(16))
    else:
        where = "this envelope id was used with another charge"
        other = structs.replace(true, body=rng.randbytes(len(true.body)))
    (result,) = ani.rig.submit(other)
    return Caught(where, told(result))


@fraud(20)
def a_line_altered_after_it_was_signed(rng: Random) -> Caught:
    ani = someone()
    signed = ani.sign(ani.line(Class.OUT_OF_WINDOW, 25_000))
    price = rng.randrange(25_000)
    charge = structs.replace(
        signed.charge, line=structs.replace(signed.charge.line, list_price=price)
    )
    (result,) = ani.rig.submit(structs.replace(signed.submission, charge=packed(charge)))
    return Caught("100: the charge: the signature does not match", told(result))


@fraud(10)
def a_client_that_reads_and_never_settles(rng: Random) -> Caught:
    ani = someone()
    grant = ani.grant()
    sent = [ani.sign(ani.line(Class.IN_WINDOW, 0), grant) for _ in range(MAX_UNSETTLED + 3)]
    for one in sent:
        ani.received(one)
    read = 0
    while waiting := ani.rig.waiting(ani.box):
        read += len(waiting)
        for delivery in waiting:
            wrong = rng.choice([None, rng.randbytes(32)])
            ani.rig.ack(ani.box, delivery.envelope_id, wrong)
        if read > len(sent):
            break
    stopped = ani.rig.fetch(ani.box).blocked
    return Caught("delivery stops after 8", f"delivery stops after {read}" if stopped else None)


@fraud(40)
def a_forged_report(rng: Random) -> Caught:
    """Of a message that was never sent so: other words, another label, another key."""
    _, leaf, report = rng.choice(world(flat=True).adjustments)
    tag = "the business never sent this message: the tag it signed is another"
    match rng.randrange(5):
        case 0:
            where, forged = tag, structs.replace(report, kf=rng.randbytes(32))
        case 1:
            where, forged = tag, structs.replace(report, content=report.content + b"!")
        case 2:
            where, forged = tag, structs.replace(report, place=rng.randbytes(32))
        case 3:
            where = "the charge has another category than the report says"
            forged = structs.replace(report, category=int(Category.MARKETING))
        case _:
            where = "the charge is of another message"
            forged = structs.replace(report, lock=rng.randbytes(32))
    try:
        check_report(forged, leaf, RELAY.id)
    except EvidenceError as error:
        return Caught(where, str(error))
    return Caught(where, None)


def honest() -> str | None:
    """The same ways without the fraud: taken, delivered, settled, and a report that holds."""
    ani = someone()
    grant = ani.grant()
    for _ in range(MAX_UNSETTLED + 3):
        signed = ani.sign(ani.line(Class.IN_WINDOW, 0), grant)
        ani.received(signed)
        ani.settled(signed)
    rig, _, shop = relay()
    by_link = customer(rig, shop, "message-2025")
    ticket = rig.keys.ticket(shop.id, bytes(16), rig.now + DAY)
    _, receipt = by_link.sent(Category.UTILITY, **by_link.came_by(ticket))
    _, leaf, report = world(flat=True).adjustments[0]
    check_report(report, leaf, RELAY.id)
    return None if receipt.earned is not None else "no pass"
