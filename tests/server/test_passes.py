"""Conversations: what is open is what the relay's mark says, to the second, once."""

from __future__ import annotations

import sqlite3

import pytest
from msgspec import structs

from kurir_billing.kinds import Class, PassKind, RefusalCode
from kurir_billing.passes import Pass
from kurir_wire import codes
from kurir_wire.ids import DAY, HOUR, MINUTE
from tests.server.customers import Customer, customer, pass_of
from tests.server.helpers import receipt_of, refusal_of
from tests.server.rig import START, Rig

TARIFF = "conversation-2022"
MARKETING, UTILITY = 41_100, 25_000


@pytest.fixture
def ani(rig: Rig) -> Customer:
    return customer(rig, rig.shop(tariff=TARIFF), TARIFF)


def test_the_opening_message_earns_a_pass(ani: Customer) -> None:
    rig = ani.rig
    rig.now += 17
    signed = ani.sign(ani.line(Class.OUT_OF_WINDOW, MARKETING))
    earned = pass_of(ani.received(signed))
    assert (earned.kind, earned.opener) == (PassKind.CONVERSATION, signed.hash)
    assert (earned.opened_at, earned.until) == (rig.now, rig.now + DAY)
    assert earned.klass == Class.OUT_OF_WINDOW
    earned.verify(rig.keys.cert.receipt_pk, rig.keys.relay_id, ani.shop.id, ani.box.id)


@pytest.mark.parametrize(
    ("after", "is_covered"), [(0, True), (86_399, True), (86_400, False), (86_401, False)]
)
def test_a_conversation_runs_for_24_hours_from_its_acceptance(
    ani: Customer, after: int, is_covered: bool
) -> None:
    ani.rig.now += 31
    opened, receipt = ani.sent()
    held = pass_of(receipt)
    ani.rig.now += after
    covered = ani.line(Class.OUT_OF_WINDOW, MARKETING, opener=opened.hash)
    if is_covered:
        assert ani.taken(covered, held=held).earned is None
        return
    refusal = ani.refused(covered, held=held)
    assert (refusal.code, refusal.held) == (RefusalCode.BAD_PARAMETER, None)
    assert refusal.quote is not None
    assert refusal.quote.line == ani.line(Class.OUT_OF_WINDOW, MARKETING)
    second = pass_of(ani.taken(refusal.quote.line))
    assert second.opened_at == ani.rig.now
    assert second != held


def test_who_opened_it_decides_the_class_of_all_in_it(ani: Customer) -> None:
    rig = ani.rig
    grant = ani.grant()
    opened, receipt = ani.sent(grant=grant)
    assert opened.charge.line == ani.line(Class.IN_WINDOW, UTILITY)
    rig.now = START + DAY - 1  # the grant's window is open for one more second
    assert receipt.earned is not None
    line = ani.line(Class.IN_WINDOW, UTILITY, opener=opened.hash)
    ani.taken(line, grant, held=receipt.earned)
    ani.taken(line, held=receipt.earned)  # and is not asked for
    # The other way round: what a business opened stays business-initiated.
    budi = customer(rig, ani.shop, TARIFF)
    opened, receipt = budi.sent()
    line = budi.line(Class.OUT_OF_WINDOW, MARKETING, opener=opened.hash)
    budi.taken(line, budi.grant(), held=receipt.earned)
    refusal = budi.refused(budi.line(Class.IN_WINDOW, UTILITY), budi.grant())
    assert refusal.code == RefusalCode.BAD_PARAMETER, "the customer did write"
    assert refusal.held == receipt.earned


def test_a_second_opener_gets_the_same_pass(ani: Customer) -> None:
    first, receipt = ani.sent()
    held = pass_of(receipt)
    again = ani.line(Class.OUT_OF_WINDOW, MARKETING)
    right = structs.replace(again, opener=first.hash)
    for line in (again, again, right):  # the line alone does not name the pass
        refusal = ani.refused(line)
        assert (refusal.code, refusal.held) == (RefusalCode.BAD_PARAMETER, held)
        assert refusal.quote is not None
        assert refusal.quote.line == right
    assert ani.taken(right, held=held).earned is None
    assert ani.rig.count("marks") == 1


def test_two_openers_in_one_frame(ani: Customer) -> None:
    line = ani.line(Class.OUT_OF_WINDOW, MARKETING)
    one, two = ani.sign(line), ani.sign(line)
    first, second = ani.rig.submit(one.submission, two.submission)
    assert refusal_of(second).held == pass_of(receipt_of(first))


def named(held: Pass, ani: Customer) -> dict[str, Pass]:
    """Passes that are not the one that is open for this customer."""
    rig = ani.rig
    stranger = customer(rig, ani.shop, TARIFF)
    rival = customer(rig, rig.shop(tariff=TARIFF), TARIFF)
    return {
        "of another mailbox": pass_of(stranger.sent()[1]),
        "of another business": pass_of(rival.sent()[1]),
        "forged": structs.replace(held, signature=bytes(64)),
        "stretched": structs.replace(held, until=held.until + 1),
        "of another class": structs.replace(held, klass=Class.IN_WINDOW),
        "of another kind": structs.replace(held, kind=PassKind.ENTRY),
    }


def test_only_the_open_pass_counts(ani: Customer) -> None:
    opened, receipt = ani.sent()
    held = pass_of(receipt)
    line = ani.line(Class.OUT_OF_WINDOW, MARKETING, opener=opened.hash)
    for what, other in named(held, ani).items():
        refusal = ani.refused(line, held=other)
        assert (refusal.code, refusal.held) == (RefusalCode.BAD_PARAMETER, held), what
    # An expired one, and any where none is open.
    ani.rig.now += DAY
    opening = ani.line(Class.OUT_OF_WINDOW, MARKETING)
    for what, other in {"expired": held, **named(held, ani)}.items():
        refusal = ani.refused(opening, held=other)
        assert (refusal.code, refusal.held) == (RefusalCode.BAD_PARAMETER, None), what
        assert refusal.quote is not None
        assert refusal.quote.line == opening
    again = pass_of(ani.taken(opening))
    refusal = ani.refused(structs.replace(opening, opener=again.opener), held=held)
    assert refusal.held == again


def test_a_retry_of_the_opener_gets_the_pass_while_it_holds(ani: Customer) -> None:
    rig = ani.rig
    rig.now += 29
    signed = ani.sign(ani.line(Class.OUT_OF_WINDOW, MARKETING))
    first = ani.submit(signed)
    covered, _ = ani.sent()
    rig.now += 2 * HOUR
    rig.tidy()
    rig.restart()
    assert ani.submit(signed) == first, "byte for byte"
    assert ani.received(covered).earned is None
    rig.now = START + 29 + DAY - 1
    assert ani.submit(signed) == first
    rig.now += 1
    late = ani.received(signed)
    assert (late.accepted_at, late.earned) == (START // HOUR * HOUR, None)
    pass_of(ani.sent()[1])
    assert ani.received(signed) == late, "the pass of a later opener is not its own"


def test_marks_go_when_they_end_and_say_nothing_meanwhile(ani: Customer) -> None:
    rig = ani.rig
    signed, receipt = ani.sent()
    held = pass_of(receipt)
    rows: sqlite3.Cursor = rig.store.connection.execute("SELECT tag, until_hour, pass FROM marks")
    ((tag, until_hour, sealed),) = rows.fetchall()
    assert len(tag) == 16
    assert until_hour == -(-held.until // HOUR)
    for secret in (ani.box.id, ani.shop.id, signed.hash, held.opened_at.to_bytes(8, "big")):
        assert secret not in tag + sealed
        assert secret[-5:] not in sealed
    # Another kind and another mailbox open nothing of it.
    stranger = customer(rig, ani.shop, TARIFF)
    for kind, box in ((PassKind.ENTRY, ani.box), (PassKind.CONVERSATION, stranger.box)):
        assert rig.keys.mark_tag(kind, box.id) != tag
        with pytest.raises(Exception, match="Decryption failed"):
            rig.keys.open_mark(kind, box.id, sealed)
    rig.now = until_hour * HOUR - 1
    rig.tidy()
    assert rig.count("marks") == 1
    rig.now += 1
    rig.tidy()
    assert rig.count("marks") == 0


def test_a_refused_or_unwritten_charge_opens_nothing(ani: Customer) -> None:
    ani.refused(ani.line(Class.IN_WINDOW, 0))
    assert ani.rig.count("marks") == 0
    signed = ani.sign(ani.line(Class.OUT_OF_WINDOW, MARKETING))
    connection = ani.rig.store.connection
    connection.execute("UPDATE mailboxes SET depth = 4096")
    result = ani.submit(signed)
    assert result is not None
    assert result.code == codes.FULL
    assert ani.rig.count("marks") == 0
    connection.execute("UPDATE mailboxes SET depth = 0")
    pass_of(ani.received(signed))


def test_under_other_tariffs_a_conversation_pass_is_none(ani: Customer) -> None:
    opened, receipt = ani.sent()
    rig = ani.rig
    rig.approve(ani.shop, "platform", "reply-2018")
    ani.tariff = "reply-2018"
    refusal = ani.asked()
    assert (refusal.held, refusal.quote is not None) == (None, True)
    ani.taken(ani.line(Class.OUT_OF_WINDOW, UTILITY))
    # Back again, the conversation still runs.
    rig.approve(ani.shop, "platform", TARIFF)
    ani.tariff = TARIFF
    line = ani.line(Class.OUT_OF_WINDOW, MARKETING, opener=opened.hash)
    ani.taken(line, held=receipt.earned)


def test_a_clock_that_goes_back_across_a_restart(ani: Customer) -> None:
    """Relay time falls then by less than a minute. What was opened is not opened, and paid,
    again."""
    rig = ani.rig
    rig.now = START + MINUTE - 1
    opened, receipt = ani.sent(grant=ani.grant())
    rig.restart()
    rig.now = START
    assert ani.asked().held == receipt.earned
    line = ani.line(Class.IN_WINDOW, UTILITY, opener=opened.hash)
    ani.taken(line, held=receipt.earned)
