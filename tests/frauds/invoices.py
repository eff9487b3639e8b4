"""Frauds on invoices: by a relay that signs whatever suits it, or by whoever edits the file. The
business finds them with its own records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from msgspec import structs

from kurir_billing.charge import lock_of
from kurir_billing.invoice import Invoice
from kurir_billing.kinds import Category, Class
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import PlaceInLedger, adjust_hash, entry_hash
from kurir_billing.party import Party
from kurir_billing.ratecard import canonical
from kurir_billing.report import Report
from kurir_billing.total import Why, in_order, items_due
from kurir_wire.ids import Hash
from tests.frauds.registry import Caught, fraud
from tests.frauds.world import (
    BUSINESS,
    CARD,
    CARD_NAME,
    DECEMBER,
    FEE,
    MONTH,
    OTHER,
    OTHER_RELAY,
    RELAY,
    World,
    adjusted,
    coming,
    line,
    made,
    named,
    signed_card,
    world,
)
from tests.protocol.make import TODAY, Tree, hash_of, in_file_order, make_leaf, make_standing


def any_world(rng: Random) -> World:
    return world(flat=rng.random() < 0.5)


def at(leaves: list[Leaf], leaf: Leaf) -> str:
    return f"line {in_file_order(RELAY, leaves).index(leaf) + 1}"


def changed(rng: Random, change: Callable[[Leaf], Leaf], *, of: Callable[[Leaf], bool]) -> Caught:
    """One line is another than the business signed; the relay signs that, or the file is edited."""
    true = any_world(rng)
    old = rng.choice([leaf for leaf in true.leaves if of(leaf)])
    new = change(old)
    assert new != old
    leaves = [new if leaf == old else leaf for leaf in true.leaves]
    if rng.random() < 0.5:
        return Caught(at(leaves, new), named(true.bill(leaves), true.records))
    honest = true.honest
    edited = replace(honest, leaves=tuple(leaves))
    return Caught(f"line {leaves.index(new) + 1}", named(edited, true.records))


def relined(leaf: Leaf, **fields: Any) -> Leaf:
    return structs.replace(leaf, line=structs.replace(leaf.line, **fields))


def always(leaf: Leaf) -> bool:
    return True


# Lines


@fraud()
def a_line_that_the_business_never_signed(rng: Random) -> Caught:
    true = any_world(rng)
    what = rng.choice(true.leaves).line
    name = f"invented {rng.random()}"
    invented = make_leaf(RELAY, BUSINESS, name, what, TODAY - rng.randrange(9))
    match rng.randrange(3):
        case 0:  # by a key that no lane of the business names
            invented = structs.replace(invented, signature=rng.randbytes(64))
        case 1:  # under a lane that somebody else made
            other = make_leaf(RELAY, OTHER, name, what, invented.settled_day)
            invented = structs.replace(other, lane=invented.lane)
        case _:  # as its very own, by a stolen key: only the records tell
            pass
    leaves = [*true.leaves, invented]
    return Caught(at(leaves, invented), named(true.bill(leaves), true.records))


@fraud()
def charged_although_the_business_signed_free(rng: Random) -> Caught:
    def charge(leaf: Leaf) -> Leaf:
        price = CARD.rates(leaf.line.market).utility
        return relined(leaf, klass=int(Class.OUT_OF_WINDOW), list_price=price)

    return changed(rng, charge, of=lambda leaf: leaf.line.list_price == 0)


@fraud()
def settled_without_the_secret(rng: Random) -> Caught:
    def settle(leaf: Leaf) -> Leaf:
        secret = rng.randbytes(32)
        if rng.random() < 0.5:
            return structs.replace(leaf, secret=secret)
        return structs.replace(leaf, secret=secret, lock=lock_of(secret))

    return changed(rng, settle, of=always)


@fraud()
def a_price_that_is_not_the_cards(rng: Random) -> Caught:
    return changed(
        rng,
        lambda leaf: relined(leaf, list_price=leaf.line.list_price + rng.randrange(1, 10**6)),
        of=always,
    )


@fraud()
def another_rate_card_than_signed(rng: Random) -> Caught:
    """Dearer, signed by the operator after the fact."""
    true = any_world(rng)
    rates = structs.replace(CARD.markets["ID"], utility=25_000 + rng.randrange(1, 9_999))
    dearer = structs.replace(CARD, version=2, markets=CARD.markets | {"ID": rates})
    new = signed_card(canonical(dearer))
    old = rng.choice([leaf for leaf in true.leaves if leaf.line.list_price == 25_000])
    leaf = relined(old, rate_card=new[1], list_price=rates.utility)
    leaves = [leaf if one == old else one for one in true.leaves]
    cards = [signed_card(canonical(CARD)), new]
    return Caught(at(leaves, leaf), named(true.bill(leaves, cards=cards), true.records))


@fraud()
def a_card_before_its_day(rng: Random) -> Caught:
    """The business signed by next month's prices, as the relay handed them out; this month it is
    billed for such a line, or for what the operator added to one of December."""
    true = any_world(rng)
    is_line = rng.random() < 0.5
    day = rng.randrange(TODAY - 9, TODAY + 3) if is_line else DECEMBER
    later = coming(day + 1 + rng.randrange(30), 25_001 + rng.randrange(9_999))
    cards = [signed_card(canonical(CARD)), signed_card(canonical(later))]
    dear = line("message-2026", Category.UTILITY)
    dear = structs.replace(dear, rate_card=cards[1][1], list_price=later.rates("ID").utility)
    leaf = made(f"{rng.random()}", dear, day)
    if is_line:
        lied = replace(true, leaves=tuple(in_file_order(RELAY, [*true.leaves, leaf])))
        where = at(list(lied.leaves), leaf)
        return Caught(where, named(lied.bill(cards=cards), lied.records))
    entry = adjusted(leaf)
    lied = replace(true, before=(*true.before, leaf), adjustments=(*true.adjustments, entry))
    invoice = lied.bill(cards=cards)
    number = number_of(invoice.adjustments, entry[2])
    return Caught(f"adjustment {number}", named(invoice, lied.records))


@fraud()
def a_relabelled_category(rng: Random) -> Caught:
    def relabel(leaf: Leaf) -> Leaf:
        price = CARD.rates(leaf.line.market).marketing
        return relined(leaf, category=int(Category.MARKETING), list_price=price)

    dear = (Category.NONE, Category.MARKETING)
    return changed(rng, relabel, of=lambda leaf: leaf.line.category not in dear)


@fraud()
def a_line_of_another_business(rng: Random) -> Caught:
    true = any_world(rng)
    what = rng.choice(true.leaves).line
    foreign = make_leaf(RELAY, OTHER, f"{rng.random()}", what, TODAY - rng.randrange(9))
    leaves = [*true.leaves, foreign]
    return Caught(at(leaves, foreign), named(true.bill(leaves), true.records))


@fraud()
def a_dropped_line(rng: Random) -> Caught:
    true = any_world(rng)
    gone = rng.randrange(len(true.leaves))
    leaves = [leaf for number, leaf in enumerate(true.leaves) if number != gone]
    if rng.random() < 0.5:
        return Caught("lines", named(true.bill(leaves), true.records))
    honest = true.honest
    assert honest.standing is not None
    places = honest.standing.places[:gone] + honest.standing.places[gone + 1 :]
    edited = replace(honest, leaves=tuple(leaves), standing=replace(honest.standing, places=places))
    return Caught("lines", named(edited, true.records))


@fraud()
def a_replayed_charge(rng: Random) -> Caught:
    true = any_world(rng)
    if rng.random() < 0.5:  # that stood in the invoice of the month before
        again = structs.replace(rng.choice(true.before), settled_day=TODAY - rng.randrange(9))
        leaves = [*true.leaves, again]
        return Caught(at(leaves, again), named(true.bill(leaves), true.records))
    old = rng.choice(true.leaves)
    days = [day for day in range(TODAY - 9, TODAY + 3) if day != old.settled_day]
    again = structs.replace(old, settled_day=rng.choice(days))
    leaves = in_file_order(RELAY, [*true.leaves, again])
    second = max(leaves.index(old), leaves.index(again))
    return Caught(f"line {second + 1}", named(true.bill(leaves), true.records))


@fraud()
def a_day_that_no_list_reported(rng: Random) -> Caught:
    true = any_world(rng)
    old = rng.choice(true.leaves)
    days = [day for day in range(TODAY - 9, TODAY + 3) if day != old.settled_day]
    moved = structs.replace(old, settled_day=rng.choice(days))
    leaves = [moved if leaf == old else leaf for leaf in true.leaves]
    return Caught(at(leaves, moved), named(true.bill(leaves), true.records))


@fraud()
def lines_in_another_order(rng: Random) -> Caught:
    true = any_world(rng)
    honest = true.honest
    assert honest.standing is not None
    turned = list(zip(honest.leaves, honest.standing.places, strict=True))
    while in_order([(one.settled_day, one.charge_hash(RELAY.id)) for one, _ in turned]) is None:
        rng.shuffle(turned)
    place = in_order([(one.settled_day, one.charge_hash(RELAY.id)) for one, _ in turned])
    assert place is not None
    edited = replace(
        honest,
        leaves=tuple(leaf for leaf, _ in turned),
        standing=replace(honest.standing, places=tuple(place for _, place in turned)),
    )
    cards = replace(edited, rate_cards=honest.rate_cards)
    return Caught(f"line {place + 1}", named(cards, true.records))


# Sums


@fraud()
def a_total_that_is_not_the_sum(rng: Random) -> Caught:
    true = any_world(rng)
    total = true.honest.head.total_micro_usd + rng.choice([-1, 1]) * rng.randrange(1, 10**5)
    return Caught("total", named(head_with(rng, true, total_micro_usd=total), true.records))


def head_with(rng: Random, true: World, **fields: Any) -> Invoice:
    """The relay signs it so, or the file says it."""
    if rng.random() < 0.5:
        return true.bill(**fields)
    honest = true.honest
    return replace(honest, head=structs.replace(honest.head, **fields))


def subtotal_above(rng: Random, why: Why) -> Caught:
    """The relay charges list price for lines that came to less, and adds up rightly."""
    true = any_world(rng)
    honest = true.honest
    items = items_due(honest.leaves, RELAY.id, MONTH, {CARD_NAME: CARD}, honest.charged)
    found = [item for item in items if item.why is why]
    some = rng.sample(found, rng.randrange(1, len(found) + 1))
    more = sum(item.leaf.line.list_price - item.micro_usd for item in some)
    assert more > 0
    sums: dict[str, Any] = {
        "subtotal_micro_usd": honest.head.subtotal_micro_usd + more,
        "total_micro_usd": honest.head.total_micro_usd + more,
    }
    return Caught("subtotal", named(true.bill(**sums), true.records))


@fraud()
def a_miscounted_quota(rng: Random) -> Caught:
    return subtotal_above(rng, Why.QUOTA)


@fraud()
def a_miscounted_tier(rng: Random) -> Caught:
    return subtotal_above(rng, Why.TIER)


@fraud()
def a_covered_line_charged(rng: Random) -> Caught:
    return subtotal_above(rng, Why.CONVERSATION)


@fraud()
def a_fee_without_a_tariff_that_has_one(rng: Random) -> Caught:
    true = any_world(rng)
    more = rng.choice([1, FEE, rng.randrange(1, 10**9)])
    head = true.honest.head
    sums: dict[str, Any] = {
        "fee_micro_usd": head.fee_micro_usd + more,
        "total_micro_usd": head.total_micro_usd + more,
    }
    return Caught("fee", named(true.bill(**sums), true.records))


@fraud()
def a_forged_list_of_conversations(rng: Random) -> Caught:
    true = any_world(rng)
    honest = true.honest
    match rng.randrange(3):
        case 0:  # the relay forgets that it was paid for
            forgot = replace(true, before=true.before[1:]).bill()
            assert forgot.charged == ()
            given = forgot if rng.random() < 0.5 else replace(forgot, charged=honest.charged)
        case 1:
            given = replace(honest, charged=())
        case _:  # the file names others
            given = replace(honest, charged=(*honest.charged, Hash(rng.randbytes(32))))
    return Caught("charged", named(given, true.records))


# Adjustments


def number_of(adjustments: tuple[Any, ...], report: Report) -> int:
    return next(n for n, item in enumerate(adjustments, 1) if item.report == report)


@fraud()
def a_forged_adjustment(rng: Random) -> Caught:
    true = any_world(rng)
    free = [leaf for leaf in true.leaves if 0 < leaf.line.category != Category.MARKETING]
    taken = {leaf.hash(RELAY.id) for _, leaf, _ in true.adjustments}
    leaf = rng.choice([one for one in free if one.hash(RELAY.id) not in taken and price(one)])
    match rng.randrange(5):
        case 0:
            entry = adjusted(leaf, signer=OTHER_RELAY.operator)
        case 1:
            entry = adjusted(leaf, delta_micro_usd=rng.randrange(10**6, 10**9))
        case 2:
            entry = adjusted(leaf, business_id=BUSINESS.id[::-1])
        case 3:  # it never was in a daily list
            entry = adjusted(leaf)
        case _:  # of a line that the business never signed
            what = line("message-2026", Category.UTILITY)
            entry = adjusted(made(f"{rng.random()}", what, TODAY - 1))
    invoice = true.bill(adjustments=[*true.adjustments, entry])
    number = number_of(invoice.adjustments, entry[2])
    return Caught(f"adjustment {number}", named(invoice, true.records))


def price(leaf: Leaf) -> bool:
    """Marketing would cost more."""
    return leaf.line.klass != Class.ENTRY


@fraud()
def an_adjustment_without_its_report(rng: Random) -> Caught:
    true = any_world(rng)
    honest = true.honest
    number = rng.randrange(len(honest.adjustments))
    items = list(honest.adjustments)
    items[number] = replace(items[number], report=_other(items[number].report, rng))
    edited = replace(honest, adjustments=tuple(items))
    return Caught(f"adjustment {number + 1}", named(edited, true.records))


def _other(report: Report | None, rng: Random) -> Report | None:
    """None at all, or one of another message."""
    assert report is not None
    return rng.choice([None, structs.replace(report, kf=rng.randbytes(32))])


@fraud()
def an_adjustment_twice(rng: Random) -> Caught:
    true = any_world(rng)
    old, leaf, report = rng.choice(true.adjustments)
    if rng.random() < 0.5:  # in this month
        again = adjusted(leaf, day=TODAY + rng.randrange(2, 3))
        entries = [*true.adjustments, again]
        invoice = true.bill(adjustments=entries)
        places = [n for n, item in enumerate(invoice.adjustments, 1) if item.report == report]
        # The first of them is as it was reported.
        return Caught(f"adjustment {places[1]}", named(invoice, true.records))
    # The month before had it, on another day.
    records = true.records
    reported = dict(records.adjusted or {}) | {Hash(old.leaf): old.day - 25}
    number = number_of(true.honest.adjustments, report)
    return Caught(f"adjustment {number}", named(true.honest, replace(records, adjusted=reported)))


# The head


@fraud()
def another_seller(rng: Random) -> Caught:
    true = any_world(rng)
    honest = true.honest
    changes: list[dict[str, Any]] = [
        {"legal_name": "Another Ltd"},
        {"notes": ["IBAN YY99"]},
        {"tax_id": ""},
        {"address": []},
    ]
    seller = structs.replace(honest.head.seller, **rng.choice(changes))
    records = replace(true.records, heads={honest.head.number: honest.head})
    if rng.random() < 0.5:  # two invoices of one number, both signed
        return Caught("number", named(true.bill(seller=seller), records))
    edited = replace(honest, head=structs.replace(honest.head, seller=seller))
    if rng.random() < 0.5:
        return Caught("seller", named(edited, records))
    return Caught("signature", named(edited, true.records))


@fraud()
def another_buyer(rng: Random) -> Caught:
    true = any_world(rng)
    return Caught(
        "buyer", named(head_with(rng, true, buyer=Party(rng.choice("ABC"))), true.records)
    )


@fraud()
def other_dates(rng: Random) -> Caught:
    true = any_world(rng)
    head = true.honest.head
    name, where, value = rng.choice(
        [
            ("issued_day", "issued", head.issued_day + rng.randrange(1, 200)),
            ("through_day", "through", head.through_day + rng.randrange(1, 13)),
            ("revision", "number", head.revision + rng.randrange(1, 50)),
        ]
    )
    edited = replace(true.honest, head=structs.replace(head, **{name: value}))
    return Caught(where, named(edited, true.records))


@fraud()
def signed_by_somebody_else(rng: Random) -> Caught:
    true = any_world(rng)
    signer = rng.choice([OTHER_RELAY.operator, RELAY.receipt_key, RELAY.root])
    return Caught("signature", named(true.bill(signer=signer), true.records))


@fraud(20)
def a_rate_card_signed_by_somebody_else(rng: Random) -> Caught:
    true = any_world(rng)
    card = signed_card(canonical(CARD), rng.choice([OTHER_RELAY.operator, RELAY.receipt_key]))
    given = replace(true.honest, rate_cards=(card[0],))
    return Caught("rate card 1", named(given, true.records))


@fraud(20)
def groups_that_are_not_the_lines(rng: Random) -> Caught:
    true = any_world(rng)
    honest = true.honest
    number = rng.randrange(len(honest.groups))
    group = honest.groups[number]
    other = rng.choice(
        [
            replace(group, count=group.count + 1),
            replace(group, unit=group.unit + 1),
            replace(group, market="MX"),
        ]
    )
    groups = (*honest.groups[:number], other, *honest.groups[number + 1 :])
    return Caught(f"group {number + 1}", named(replace(honest, groups=groups), true.records))


# The ledger


@fraud()
def two_ledgers(rng: Random) -> Caught:
    """The business has seen another one than the invoice shows."""
    true = any_world(rng)
    honest = true.honest
    place = rng.randrange(2)
    forked = [
        hash_of(f"{rng.random()}") if n == place else one for n, one in enumerate(true.hashes)
    ]
    # All of it is signed; yet the one did not grow from the other.
    if rng.random() < 0.5:
        return Caught("since", named(true.bill(ledger=forked), true.records))
    return Caught("growth", named(_grown_from(honest, forked), true.records))


def _grown_from(honest: Invoice, forked: list[Hash]) -> Invoice:
    """The checkpoint is the fork's, and what is to have grown into it is not."""
    standing = make_standing(RELAY, honest.leaves, forked, since=2)
    assert honest.standing is not None
    adjustments = tuple(
        replace(item, place=place)
        for item, place in zip(honest.adjustments, _places(honest, forked), strict=True)
    )
    return replace(
        honest, standing=replace(standing, since=honest.standing.since), adjustments=adjustments
    )


def _places(honest: Invoice, hashes: list[Hash]) -> list[PlaceInLedger]:
    tree = Tree(hashes)
    return [tree.place(adjust_hash(item.adjust, RELAY.id)) for item in honest.adjustments]


@fraud()
def a_line_that_is_not_in_the_ledger(rng: Random) -> Caught:
    true = any_world(rng)
    honest = true.honest
    assert honest.standing is not None
    number = rng.randrange(len(honest.leaves))
    without = [one for one in true.hashes if one != entry_hash(honest.leaves[number], RELAY.id)]
    rest = [leaf for n, leaf in enumerate(honest.leaves) if n != number]
    standing = make_standing(RELAY, rest, without, since=2)
    places = list(standing.places)
    places.insert(number, honest.standing.places[number])
    given = replace(honest, standing=replace(standing, places=tuple(places)))
    return Caught(f"line {number + 1}", named(given, true.records))


@fraud(20)
def an_adjustment_that_is_not_in_the_ledger(rng: Random) -> Caught:
    true = any_world(rng)
    honest = true.honest
    number = rng.randrange(len(honest.adjustments))
    items = list(honest.adjustments)
    items[number] = replace(items[number], place=items[number - 1].place)
    edited = replace(honest, adjustments=tuple(items))
    return Caught(f"adjustment {number + 1}", named(edited, true.records))
