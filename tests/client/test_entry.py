"""Entry links: the first message names the ticket, and the business shows it with the hour in which
the mailbox was born."""

from __future__ import annotations

from dataclasses import replace

from kurir_billing.charge import Charge
from kurir_billing.grant import Grant
from kurir_billing.kinds import Category, Class, GrantKind, PassKind
from kurir_billing.ticket import Ticket, check_entry, packed_ticket, ticket_hash, ticket_message
from kurir_client import outbox
from kurir_client.addresses import destination
from kurir_client.mailboxes import gate_of
from kurir_client.offers import offer
from kurir_client.schema import CameBy, Contact
from kurir_wire.codec import unpack
from kurir_wire.ids import DAY, HOUR, MINUTE, BusinessId, MailboxId
from tests.client.pair import START, Pair
from tests.client.verdicts import hashed, pass_of, receipt, say

ENTRY_ID = bytes(range(16))


def came(pair: Pair, not_after: int = START + 7 * DAY, *, known: bool = True) -> Contact:
    """Alice comes by an entry link before she has written.

    :param known: the business has fetched its ticket
    """
    shop, _ = pair.open_shop("message-2026")
    business_id = BusinessId(shop.business_id or b"")
    name = ticket_hash(pair.relay.id, business_id, ENTRY_ID, not_after)
    with pair.alice.store.transaction():
        pair.alice.store.set_came_by(CameBy(shop.id, name, not_after, None))
    signed = ticket_message(pair.relay.id, business_id, ENTRY_ID, not_after)
    ticket = Ticket(ENTRY_ID, not_after, pair.relay.operator.sign(signed))
    if known:
        with pair.bob.store.transaction():
            pair.bob.store.put_ticket(name, packed_ticket(ticket), not_after)
            # What open_shop said before: as if this were the first.
            pair.bob.store._run("UPDATE contact SET permit = NULL")
    return shop


def write(pair: Pair, shop: Contact, text: str = "hello") -> None:
    with pair.alice.store.transaction():
        outbox.queue(pair.alice.store, shop.id, 1, text, pair.clock.now)


def grant_of(pair: Pair) -> Grant:
    (siti,) = pair.bob.store.contacts()
    assert siti.permit is not None
    return unpack(siti.permit, Grant)


def answered(pair: Pair, max_price: int = 0) -> Charge:
    (siti,) = pair.bob.store.contacts()
    say(pair, pair.bob, siti, "welcome", max_price)
    (ready,) = pair.prepare(pair.bob)
    charge, _ = hashed(pair, ready)
    return charge


def test_only_the_first_message_names_the_ticket(pair: Pair) -> None:
    shop = came(pair)
    write(pair, shop, "one")
    write(pair, shop, "two")
    pair.carry(pair.alice, pair.bob)
    (siti,) = pair.bob.store.contacts()
    assert siti.entry_permit is not None
    assert unpack(siti.entry_permit, Grant).kind == GrantKind.ENTRY
    pair.clock.now += MINUTE
    write(pair, shop, "three")
    pair.carry(pair.alice, pair.bob)
    assert grant_of(pair).kind == GrantKind.SERVICE  # a later one extends the window as always
    assert pair.bob.store.contacts()[0].entry_permit == siti.entry_permit


def test_a_first_message_that_is_encrypted_anew_names_it_again(pair: Pair) -> None:
    shop = came(pair)
    write(pair, shop)
    pair.prepare(pair.alice)
    pair.clock.now += 2 * HOUR
    pair.carry(pair.alice, pair.bob)
    assert grant_of(pair).kind == GrantKind.ENTRY


def test_a_link_that_has_ended_opens_nothing(pair: Pair) -> None:
    """The beacon decides, which is that of the minute."""
    shop = came(pair, not_after=START + HOUR)
    pair.clock.now += HOUR + MINUTE
    write(pair, shop)
    pair.carry(pair.alice, pair.bob)
    assert grant_of(pair).kind == GrantKind.SERVICE


def test_who_writes_a_day_after_adding_the_business_has_no_entry_window(pair: Pair) -> None:
    shop = came(pair)
    pair.clock.now += DAY
    write(pair, shop)
    pair.carry(pair.alice, pair.bob)
    assert grant_of(pair).kind == GrantKind.SERVICE


def test_the_first_answer_shows_the_ticket_and_what_follows_the_pass(pair: Pair) -> None:
    shop = came(pair)
    write(pair, shop)
    pair.carry(pair.alice, pair.bob)
    (siti,) = pair.bob.store.contacts()
    due = offer(pair.bob.store, siti, pair.clock.now, Category.MARKETING)
    assert (due.price_micro_usd, due.klass) == (0, Class.ENTRY)
    assert due.window is not None
    assert (due.window.kind, due.first_answer_until) == ("entry", due.window.closes_at)
    say(pair, pair.bob, siti, "welcome")
    say(pair, pair.bob, siti, "and more")
    (ready,) = pair.prepare(pair.bob)  # the second waits for the pass
    charge, _ = hashed(pair, ready)
    assert charge.line.klass == Class.ENTRY
    assert charge.grant is not None
    assert charge.entry is not None
    there = destination(siti)
    own = pair.alice.store.mailbox(there.mailbox_id)
    assert own is not None
    check_entry(
        charge.entry,
        charge.grant,
        pair.relay.id,
        pair.relay.operator.public,
        charge.business_id,
        MailboxId(there.mailbox_id),
        there.read_pk or b"",
        gate_of(pair.alice, own),
    )
    earned = pass_of(pair, ready, PassKind.ENTRY, Class.ENTRY)
    outbox.answered(pair.bob, ready, receipt(pair, ready, earned), pair.relay.cert)
    (second,) = pair.prepare(pair.bob)
    charge, _ = hashed(pair, second)
    assert (charge.line.klass, charge.pass_hash, charge.entry) == (Class.ENTRY, earned.hash, None)
    with pair.bob.store.transaction():
        pair.bob.store.drop_outgoing(second.row.n)
    for after, service, marketing in ((DAY, None, 0), (3 * DAY - 1, None, 0), (3 * DAY, None, 1)):
        now = START // MINUTE * MINUTE + MINUTE + after if after == DAY else START + after
        assert offer(pair.bob.store, siti, now).price_micro_usd is service
        price = offer(pair.bob.store, siti, now, Category.MARKETING).price_micro_usd
        assert (price == 0) is (marketing == 0)


def test_without_the_ticket_at_hand_it_is_a_window_like_any_other(pair: Pair) -> None:
    shop = came(pair, known=False)
    pair.clock.now += MINUTE
    write(pair, shop)
    pair.carry(pair.alice, pair.bob)
    assert grant_of(pair).kind == GrantKind.ENTRY
    assert pair.bob.store.get("terms_wanted")  # the connection fetches it before anybody answers
    charge = answered(pair, 25_000)
    assert (charge.entry, charge.line.klass) == (None, Class.IN_WINDOW)
    assert charge.grant is not None


def test_where_the_tariff_has_no_entry_windows_the_ticket_is_not_shown(pair: Pair) -> None:
    shop = came(pair)
    with pair.bob.store.transaction():
        pair.bob.store.put("terms", pair.agree("reply-2018"))
    write(pair, shop)
    pair.carry(pair.alice, pair.bob)
    charge = answered(pair)
    assert (charge.entry, charge.line.list_price) == (None, 0)


def test_a_second_entry_grant_does_not_replace_the_first(pair: Pair) -> None:
    """The relay takes one; which one must not depend on what the customer's device says later."""
    shop = came(pair)
    write(pair, shop)
    pair.carry(pair.alice, pair.bob)
    first = pair.bob.store.contacts()[0].entry_permit
    known = pair.alice.store.came_by(shop.id)
    assert known is not None
    with pair.alice.store.transaction():
        pair.alice.store.set_came_by(replace(known, seq=None))
    pair.clock.now += HOUR
    write(pair, shop, "again")
    pair.carry(pair.alice, pair.bob)
    assert grant_of(pair).kind == GrantKind.ENTRY
    assert pair.bob.store.contacts()[0].entry_permit == first
