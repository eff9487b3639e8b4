"""Frauds on the ledger, by a relay that signs whatever it has: an auditor finds them in the export,
alone or beside an invoice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from msgspec import structs

from kurir_audit import ledger, ledger_invoice
from kurir_billing.adjust import Adjust
from kurir_billing.charge import lock_of
from kurir_billing.invoice import Invoice
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import adjust_hash, entry_hash
from kurir_billing.ledger_file import Closed, Part, PriceList, write_part
from kurir_billing.ratecard import RateCard, canonical, rate_card_hash
from kurir_wire.ids import Hash
from tests.frauds.registry import Caught, fraud
from tests.frauds.world import (
    BUSINESS,
    CARD,
    LAST_DAY,
    MONTH,
    OTHER,
    OTHER_RELAY,
    RELAY,
    Adjusted,
    adjusted,
    coming,
    in_order,
    made,
    signed_card,
    world,
)
from tests.protocol.make import TODAY, in_file_order, make_invoice, make_leaf

Entry = Leaf | Adjust


def tree_hash(entry: Entry) -> Hash:
    if isinstance(entry, Leaf):
        return entry_hash(entry, RELAY.id)
    return adjust_hash(entry, RELAY.id)


def day_of(entry: Entry) -> int:
    return entry.settled_day if isinstance(entry, Leaf) else entry.day


@cache
def entries() -> tuple[Entry, ...]:
    """What truly is in the ledger: the world's, and some of another business."""
    one = world(flat=True)
    others = [
        make_leaf(RELAY, OTHER, f"other {n}", leaf.line, leaf.settled_day)
        for n, leaf in enumerate(one.leaves[:6])
    ]
    return (*one.before, *one.leaves, *(entry[0] for entry in one.adjustments), *others)


def export(found: Iterable[Entry], cards: Iterable[RateCard] = (CARD,)) -> list[Part]:
    """The relay puts these into its tree as it should, and signs the states."""
    days: dict[int, list[Entry]] = {}
    for entry in found:
        days.setdefault(day_of(entry), []).append(entry)
    parts: list[Part] = [RELAY.cert()]
    parts += [PriceList(signed_card(canonical(card))[0]) for card in cards]
    hashes: list[Hash] = []
    for day in sorted(days):
        inside = sorted(days[day], key=tree_hash)
        parts += inside
        hashes += map(tree_hash, inside)
        parts.append(Closed(day, RELAY.note(hashes)))
    return parts


def examined(parts: Iterable[Part], invoice: Invoice | None = None) -> str | None:
    """The line that the auditor names, or where the invoice differs."""
    wanted = [ledger_invoice.name_of(invoice)] if invoice else []
    with TemporaryDirectory() as folder:
        file = Path(folder, "ledger")
        file.write_bytes(b"".join(map(write_part, parts)))
        account = ledger.examine(file, wanted)
        if account.fault is not None or invoice is None:
            return None if account.fault is None else account.fault.partition(":")[0]
        found = ledger_invoice.difference(account, invoice)
    return None if found is None else found.partition(":")[0]


def at(parts: list[Part], part: Part) -> str:
    return f"line {parts.index(part) + 1}"


def put(rng: Random, change: Callable[[Leaf], Entry], *, beside: bool = False) -> Caught:
    """A leaf gives way to something else, or gets it beside itself."""
    leaf = rng.choice([entry for entry in entries() if isinstance(entry, Leaf)])
    new = change(leaf)
    found = [entry for entry in entries() if beside or entry != leaf]
    parts = export([*found, new])
    if beside and day_of(new) < day_of(leaf):
        return Caught(at(parts, leaf), examined(parts))
    return Caught(at(parts, new), examined(parts))


@fraud()
def a_leaf_that_no_business_signed(rng: Random) -> Caught:
    return put(rng, lambda leaf: structs.replace(leaf, signature=rng.randbytes(64)))


@fraud()
def a_leaf_with_another_price(rng: Random) -> Caught:
    price = rng.randrange(10**7, 10**9)
    if rng.random() < 0.5:
        return put(
            rng,
            lambda leaf: structs.replace(leaf, line=structs.replace(leaf.line, list_price=price)),
        )
    # The business signed it, and it is not the card's all the same.
    return put(
        rng,
        lambda leaf: make_leaf(
            RELAY,
            BUSINESS,
            f"{rng.random()}",
            structs.replace(leaf.line, list_price=price),
            leaf.settled_day,
        ),
    )


@fraud()
def a_leaf_by_a_card_before_its_day(rng: Random) -> Caught:
    """The business signed by next month's prices today, and so the price is that card's."""
    old = rng.choice([leaf for leaf in world(flat=True).leaves if leaf.line.list_price == 25_000])
    later = coming(old.settled_day + 1 + rng.randrange(30), 25_001 + rng.randrange(9_999))
    what = structs.replace(
        old.line,
        rate_card=rate_card_hash(canonical(later)),
        list_price=later.markets["ID"].utility,
    )
    new = make_leaf(RELAY, BUSINESS, f"{rng.random()}", what, old.settled_day)
    parts = export([*entries(), new], [CARD, later])
    return Caught(at(parts, new), examined(parts))


@fraud()
def a_leaf_that_was_never_opened(rng: Random) -> Caught:
    def close(leaf: Leaf) -> Leaf:
        secret = rng.randbytes(32)
        lock = leaf.lock if rng.random() < 0.5 else lock_of(secret)
        return structs.replace(leaf, secret=secret, lock=lock)

    return put(rng, close)


@fraud()
def a_leaf_twice(rng: Random) -> Caught:
    def move(leaf: Leaf) -> Leaf:
        days = [day for day in range(TODAY - 9, TODAY + 3) if day != leaf.settled_day]
        return structs.replace(leaf, settled_day=rng.choice(days))

    return put(rng, move, beside=True)


@fraud()
def an_entry_that_is_gone(rng: Random) -> Caught:
    """Out of the export, while the states that were signed had it."""
    parts = export(entries())
    places = [n for n, part in enumerate(parts) if isinstance(part, Leaf)]
    gone = rng.choice(places)
    after = next(n for n in range(gone, len(parts)) if isinstance(parts[n], Closed))
    leaf = parts[gone]
    assert isinstance(leaf, Leaf)
    adjusts = {part.leaf: n for n, part in enumerate(parts) if isinstance(part, Adjust)}
    named = min(after, adjusts.get(leaf.hash(RELAY.id), after))
    first = gone + 1 if isinstance(parts[gone + 1], Closed) and len(inside(parts, gone)) == 1 else 0
    del parts[gone]
    # A day of which nothing is left has a state without entries.
    return Caught(f"line {first or named}", examined(parts))


def inside(parts: list[Part], place: int) -> list[Part]:
    """The entries of one day."""
    first = last = place
    while isinstance(parts[first - 1], Leaf | Adjust):
        first -= 1
    while isinstance(parts[last], Leaf | Adjust):
        last += 1
    return parts[first:last]


@fraud()
def entries_in_another_order(rng: Random) -> Caught:
    parts = export(entries())
    places = [
        n
        for n in range(len(parts) - 1)
        if isinstance(parts[n], Leaf) and isinstance(parts[n + 1], Leaf)
    ]
    place = rng.choice(places)
    parts[place], parts[place + 1] = parts[place + 1], parts[place]
    return Caught(f"line {place + 2}", examined(parts))


@fraud()
def a_state_that_was_never_signed(rng: Random) -> Caught:
    parts = export(entries())
    place = rng.choice([n for n, part in enumerate(parts) if isinstance(part, Closed)])
    old = parts[place]
    assert isinstance(old, Closed)
    signer = rng.choice([RELAY, OTHER_RELAY])
    parts[place] = Closed(old.day, signer.note([Hash(rng.randbytes(32))]))
    return Caught(f"line {place + 1}", examined(parts))


def closing(parts: list[Part], entry: Part) -> str:
    """Where an adjustment is judged: at the checkpoint behind it."""
    first = parts.index(entry)
    closed = next(n for n in range(first, len(parts)) if isinstance(parts[n], Closed))
    return f"line {closed + 1}"


@fraud()
def an_adjustment_that_follows_from_nothing(rng: Random) -> Caught:
    one = world(flat=True)
    taken = {entry[0].leaf for entry in one.adjustments}
    free = [
        leaf
        for leaf in one.leaves
        if leaf.line.category == 2 and leaf.hash(RELAY.id) not in taken and leaf.settled_day < TODAY
    ]
    leaf = rng.choice(free)
    changes: list[Callable[[], Adjusted]] = [
        lambda: adjusted(leaf, signer=OTHER_RELAY.operator),
        lambda: adjusted(leaf, delta_micro_usd=rng.randrange(1, 10_000)),
        lambda: adjusted(leaf, business_id=OTHER.id),
    ]
    entry = rng.choice(changes)()[0]
    parts = export([*entries(), entry])
    return Caught(closing(parts, entry), examined(parts))


@fraud(20)
def an_adjustment_of_a_charge_that_is_not_there(rng: Random) -> Caught:
    """Or not yet."""
    leaf = rng.choice([leaf for leaf in world().leaves if leaf.line.category == 2])
    if rng.random() < 0.5:
        entry = adjusted(leaf, day=leaf.settled_day - 1)[0]
    else:
        what = made(f"{rng.random()}", leaf.line, TODAY - 1)
        entry = adjusted(what, day=TODAY + rng.randrange(3))[0]
    parts = export([*entries(), entry])
    return Caught(closing(parts, entry), examined(parts))


@fraud(20)
def an_adjustment_of_the_same_charge(rng: Random) -> Caught:
    again = adjusted(rng.choice(world(flat=True).adjustments)[1], day=TODAY + 2 + rng.randrange(9))
    parts = export([*entries(), again[0]])
    return Caught(closing(parts, again[0]), examined(parts))


@fraud()
def an_invoice_that_is_not_the_ledgers(rng: Random) -> Caught:
    """It holds by itself: whoever has only the ledger finds it."""
    one = world(flat=True)
    leaves, adjustments = list(one.leaves), list(one.adjustments)
    match rng.randrange(3):
        case 0:
            where = "lines"
            adjusted_ones = {entry[1] for entry in adjustments}
            leaves.remove(rng.choice([leaf for leaf in leaves if leaf not in adjusted_ones]))
        case 1:
            where = "adjustments"
            del adjustments[rng.randrange(2)]
        case _:
            where = "charged"
    invoice = bill(leaves, adjustments, carried=where != "charged")
    return Caught(where, examined(export(entries()), invoice))


def bill(
    leaves: list[Leaf],
    adjustments: list[Adjusted],
    *,
    carried: bool = True,
    through: int = LAST_DAY,
    hashes: list[Hash] | None = None,
) -> Invoice:
    """An invoice with proofs from the ledger of :func:`export`, or from another."""
    if hashes is None:
        parts = export(entries())
        hashes = [tree_hash(part) for part in parts if isinstance(part, Leaf | Adjust)]
    before = world(flat=True).before if carried else ()
    return make_invoice(
        RELAY,
        BUSINESS,
        in_file_order(RELAY, leaves),
        month=MONTH,
        through=through,
        adjustments=in_order(adjustments),
        charged=[leaf.charge_hash(RELAY.id) for leaf in before],
        cards=[signed_card(canonical(CARD))],
        hashes=hashes,
    )


def honest() -> tuple[list[Part], Invoice]:
    """The export, and the invoice that agrees with it."""
    one = world(flat=True)
    return export(entries()), bill(list(one.leaves), list(one.adjustments))
