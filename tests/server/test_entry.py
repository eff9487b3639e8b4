"""Entry windows: an ad or link that the operator signed for, a mailbox of less than a day, once."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from kurir_billing.kinds import Category, Class, PassKind, RefusalCode
from kurir_billing.ticket import Entry, Ticket
from kurir_wire.entries import NewMailbox
from kurir_wire.ids import DAY, HOUR, MINUTE
from kurir_wire.proofs import create_message
from tests.server.customers import Customer, customer, pass_of
from tests.server.helpers import Shop
from tests.server.rig import START, Rig

TARIFFS = ("message-2025", "message-2026")
MARKETING, UTILITY = 41_100, 25_000
MK, UT, SV = Category.MARKETING, Category.UTILITY, Category.SERVICE


def ticket(rig: Rig, shop: Shop, name: str = "t", until: int = START + 30 * DAY) -> Ticket:
    return rig.keys.ticket(shop.id, name.encode().ljust(16, b"\0"), until)


@pytest.fixture(params=TARIFFS)
def ani(rig: Rig, request: pytest.FixtureRequest) -> Customer:
    tariff: str = request.param
    return customer(rig, rig.shop(tariff=tariff), tariff)


def free(ani: Customer, category: Category = MK) -> Any:
    return ani.line(Class.ENTRY, 0, category)


def came(ani: Customer) -> dict[str, Any]:
    """The evidence of a customer who comes by a link now."""
    return ani.came_by(ticket(ani.rig, ani.shop))


@pytest.mark.parametrize("category", [SV, UT, MK, Category.AUTHENTICATION])
def test_the_first_answer_is_free_and_opens_72_hours(ani: Customer, category: Category) -> None:
    rig = ani.rig
    rig.now += 7
    signed, receipt = ani.sent(category, **came(ani))
    assert signed.charge.line == free(ani, category)
    earned = pass_of(receipt)
    assert (earned.kind, earned.opener, earned.klass) == (
        PassKind.ENTRY,
        signed.hash,
        Class.ENTRY,
    )
    assert (earned.opened_at, earned.until) == (rig.now, rig.now + 3 * DAY)
    earned.verify(rig.keys.cert.receipt_pk, rig.keys.relay_id, ani.shop.id, ani.box.id)
    # All of it is free now, with nothing but the pass.
    for other in (MK, UT, Category.AUTHENTICATION):
        assert ani.taken(free(ani, other), held=earned).earned is None


@pytest.mark.parametrize(
    ("after", "is_free"), [(0, True), (259_199, True), (259_200, False), (259_201, False)]
)
def test_the_pass_ends_to_the_second(ani: Customer, after: int, is_free: bool) -> None:
    ani.rig.now += 59
    held = pass_of(ani.sent(MK, **came(ani))[1])
    ani.rig.now += after
    refusal = ani.refused(ani.line(Class.OUT_OF_WINDOW, 1, MK), held=held)
    assert refusal.quote is not None
    expected = free(ani) if is_free else ani.line(Class.OUT_OF_WINDOW, MARKETING, MK)
    assert refusal.quote.line == expected
    assert refusal.held == (held if is_free else None)


@pytest.mark.parametrize(
    ("after", "is_free"), [(0, True), (86_399, True), (86_400, False), (86_401, False)]
)
def test_the_first_answer_has_24_hours(ani: Customer, after: int, is_free: bool) -> None:
    evidence = came(ani)
    ani.rig.now += after
    refusal = ani.asked(MK, **evidence)
    assert refusal.quote is not None
    assert (refusal.quote.line == free(ani)) == is_free
    assert ani.rig.count("marks") == 0


def test_free_form_answers_need_an_open_window_all_the_same(ani: Customer) -> None:
    evidence = came(ani)
    held = pass_of(ani.sent(MK, **evidence)[1])
    ani.taken(free(ani, SV), evidence["grant"], held=held)
    ani.rig.now = START + DAY
    refusal = ani.refused(free(ani, SV), evidence["grant"], held=held)
    assert (refusal.code, refusal.quote) == (RefusalCode.OUTSIDE_WINDOW, None)
    ani.taken(free(ani, SV), ani.grant(), held=held)


def test_an_entry_opens_once(ani: Customer) -> None:
    rig = ani.rig
    evidence = came(ani)
    held = pass_of(ani.sent(MK, **evidence)[1])
    # Shown again: the same pass, no other.
    refusal = ani.refused(free(ani), **evidence)
    assert (refusal.code, refusal.held) == (RefusalCode.BAD_PARAMETER, held)
    # By another link, in the same mailbox: the same.
    rig.now = START + 20 * HOUR
    other = ticket(rig, ani.shop, "other")
    late = ani.came_by(other)
    assert ani.refused(free(ani), **late).held == held
    # When the pass has ended, swept or not, neither opens another.
    for _ in range(2):
        rig.now = held.until
        for shown in (evidence, late):
            refusal = ani.asked(MK, **shown)
            assert refusal.held is None
            assert refusal.quote is not None
            assert refusal.quote.line == ani.line(Class.OUT_OF_WINDOW, MARKETING, MK)
        rig.now += HOUR
        rig.tidy()
        assert rig.count("marks") == 0


def test_the_last_grant_of_a_mailbox_cannot_outlast_the_mark_of_the_first(ani: Customer) -> None:
    """The mark is erased after 72 hours; by then no entry grant of this mailbox is open."""
    rig = ani.rig
    born = ani.box.born_hour * HOUR
    held = pass_of(ani.sent(MK, **came(ani))[1])
    rig.now = born + DAY - MINUTE  # the last beacon that counts
    last = came(ani)
    closes = last["grant"].closes_at
    assert held.until - closes > 22 * HOUR
    rig.now = closes - 1
    rig.tidy()
    assert ani.asked(MK, **last).held == held


def test_an_entry_is_only_what_the_business_shows_as_one(ani: Customer) -> None:
    """A customer who came by a link that ended has written all the same."""
    rig = ani.rig
    ended = ticket(rig, ani.shop, until=START)
    grant = ani.grant(ended)
    refusal = ani.refused(free(ani), grant, entry=ani.entry(ended))
    assert (refusal.code, refusal.quote) == (RefusalCode.BAD_PARAMETER, None)
    refusal = ani.asked(SV, grant)
    assert refusal.quote is not None
    assert refusal.quote.line.klass == Class.IN_WINDOW
    ani.taken(refusal.quote.line, grant)
    assert rig.count("marks") == 0


def test_evidence_that_proves_no_entry(ani: Customer) -> None:
    rig, shop = ani.rig, ani.shop
    rival = rig.shop(tariff=ani.tariff)
    elsewhere = customer(rig, shop, ani.tariff)
    shown = ticket(rig, shop)
    grant, entry = ani.grant(shown), ani.entry(shown)
    other = ticket(rig, shop, "other")
    foreign = ticket(rig, rival)
    future = rig.keys.beacon(rig.now // MINUTE + 1)
    cases: dict[str, tuple[Any, Any]] = {
        "no grant": (None, entry),
        "a grant of another kind": (ani.grant(), entry),
        "another ticket": (grant, ani.entry(other)),
        "forged": (grant, Entry(structs.replace(shown, signature=bytes(64)), entry.born_hour)),
        "stretched": (grant, Entry(structs.replace(shown, not_after=2**40), entry.born_hour)),
        "of another business": (ani.grant(foreign), ani.entry(foreign)),
        "another hour of birth": (grant, Entry(shown, entry.born_hour + 1)),
        "a grant of another mailbox": (elsewhere.grant(shown), elsewhere.entry(shown)),
        "kind without ticket": (structs.replace(grant, ticket=bytes(32)), entry),
        "ticket without kind": (structs.replace(grant, kind=0), entry),
    }
    for what, (with_grant, with_entry) in cases.items():
        refusal = ani.refused(free(ani), with_grant, entry=with_entry)
        assert (refusal.code, refusal.quote) == (RefusalCode.BAD_PARAMETER, None), what
    # In advance: in order, and not open yet.
    refusal = ani.asked(MK, ani.grant(shown, future), entry=entry)
    assert refusal.quote is not None
    assert refusal.quote.line.klass == Class.OUT_OF_WINDOW
    ani.taken(free(ani), grant, entry=entry)
    # What was found in order is of use nowhere else.
    refusal = elsewhere.refused(free(elsewhere), grant, entry=entry)
    assert refusal.code == RefusalCode.BAD_PARAMETER


@pytest.mark.parametrize(("before", "counts"), [(1, True), (0, False)])
def test_a_ticket_ends_to_the_second(ani: Customer, before: int, counts: bool) -> None:
    shown = ticket(ani.rig, ani.shop, until=START + before)
    refusal = ani.asked(MK, ani.grant(shown), entry=ani.entry(shown))
    assert (refusal.quote is not None) == counts


@pytest.mark.parametrize(
    ("after_birth", "counts"),
    [(0, True), (DAY - MINUTE, True), (DAY, False), (DAY + MINUTE, False)],
)
def test_the_mailbox_is_less_than_24_hours_old(
    ani: Customer, after_birth: int, counts: bool
) -> None:
    assert ani.box.born_hour * HOUR == START
    ani.rig.now = START + after_birth
    evidence = came(ani)
    ani.rig.now += 30  # within the minute of the beacon
    refusal = ani.asked(MK, **evidence)
    assert (refusal.quote is not None) == counts


def test_an_old_mailbox_with_a_false_hour_of_birth(ani: Customer) -> None:
    """The id commits to the hour in which the mailbox was made, so no other one can be shown; and a
    mailbox cannot be made for a later hour."""
    rig = ani.rig
    rig.now = START + DAY
    shown = ticket(rig, ani.shop)
    for born in (rig.now // HOUR, rig.now // HOUR - 1):
        refusal = ani.refused(free(ani), ani.grant(shown), entry=Entry(shown, born))
        assert (refusal.code, refusal.quote) == (RefusalCode.BAD_PARAMETER, None)
    born = rig.now // HOUR + 2
    box = ani.box
    message = create_message(rig.keys.relay_id, rig.nonce, box.gate, born)
    new = NewMailbox(box.key.public, box.gate, born, box.key.sign(message))
    result = rig.run(lambda rows: rig.mailboxes.make(rows, rig.moment, rig.nonce, new))
    assert result is not None
    assert result.code == "stale"


@pytest.mark.parametrize("tariff", ["flat", "reply-2018", "conversation-2022"])
def test_other_tariffs_have_no_entry_windows(rig: Rig, tariff: str) -> None:
    ani = customer(rig, rig.shop(tariff=tariff), tariff)
    signed, receipt = ani.sent(**came(ani))
    assert signed.charge.line.klass == Class.IN_WINDOW
    assert receipt.earned is None or receipt.earned.kind == PassKind.CONVERSATION


def test_a_retry_gets_the_entry_pass(ani: Customer) -> None:
    evidence = came(ani)
    signed = ani.sign(free(ani), **evidence)
    first = ani.submit(signed)
    ani.rig.now += 3 * DAY - 1
    ani.rig.tidy()
    assert ani.submit(signed) == first
    ani.rig.now += 1
    assert ani.received(signed).earned is None
