"""An honest month of one business: all tariffs, tiers, quota, conversations, fee, adjustments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from msgspec import structs
from nacl.signing import SigningKey

from kurir_billing.adjust import Adjust, adjust_message, delta_for
from kurir_billing.charge import Line
from kurir_billing.errors import InvoiceError
from kurir_billing.invoice import Invoice, Records
from kurir_billing.kinds import Category, Class
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import adjust_hash, entry_hash
from kurir_billing.ratecard import (
    RateCard,
    Step,
    bundled,
    canonical,
    rate_card_hash,
    rate_card_message,
    signed_rate_card,
)
from kurir_billing.report import Report
from kurir_billing.tariffs import price_of_class
from kurir_billing.verify import verify_invoice
from kurir_wire.ids import DAY, NO_HASH, Hash
from kurir_wire.merkle import Growing
from tests.protocol.make import (
    TODAY,
    TestBusiness,
    TestRelay,
    hash_of,
    in_file_order,
    make_invoice,
    make_leaf,
    make_records,
    sign,
)
from tests.protocol.reported import make_reported

RELAY, OTHER_RELAY = TestRelay(), TestRelay("other relay")
BUSINESS, OTHER = TestBusiness(), TestBusiness("other business")
MONTH, LAST_DAY = 202601, TODAY + 2
DECEMBER = TODAY - 20
FEE = 90_000_000

Adjusted = tuple[Adjust, Leaf, Report]
_REPORTS: dict[Hash, Report] = {}
"""What shows the messages of leaves, by the leaves' hashes."""


def card() -> RateCard:
    """The bundled one, with a tier and a monthly fee."""
    found = bundled()
    rates = structs.replace(found.markets["ID"], utility_steps=[Step(above=3, micro_usd=20_000)])
    markets = found.markets | {"ID": rates}
    since = DECEMBER * DAY  # before all that happens here
    return structs.replace(found, effective_from=since, markets=markets, flat_monthly_micro_usd=FEE)


def coming(day: int, utility: int) -> RateCard:
    """A dearer one that is in force from a day on."""
    rates = structs.replace(CARD.markets["ID"], utility=utility)
    markets = CARD.markets | {"ID": rates}
    return structs.replace(CARD, version=2, effective_from=day * DAY, markets=markets)


CARD = card()
CARD_NAME = rate_card_hash(canonical(CARD))


def signed_card(body: bytes, signer: SigningKey = RELAY.operator) -> tuple[bytes, Hash]:
    signature = sign(signer, rate_card_message(RELAY.id, body))
    return signed_rate_card(body, signature), rate_card_hash(body)


def line(
    tariff: str,
    category: Category = Category.NONE,
    klass: Class = Class.OUT_OF_WINDOW,
    market: str = "ID",
    opener: Hash = NO_HASH,
) -> Line:
    price = price_of_class(tariff, market, category, klass, CARD).micro_usd
    return Line(market, tariff, CARD_NAME, int(category), int(klass), price, opener)


def made(name: str, what: Line, day: int, business: TestBusiness = BUSINESS) -> Leaf:
    """A settled charge, of which its customer can show the message if it has a category."""
    if what.category == Category.NONE:
        return make_leaf(RELAY, business, name, what, day)
    reported = make_reported(RELAY, business, name, what, day)
    _REPORTS[reported.leaf.hash(RELAY.id)] = reported.report
    return reported.leaf


def adjusted(
    leaf: Leaf,
    category: Category = Category.MARKETING,
    day: int = TODAY,
    signer: SigningKey = RELAY.operator,
    **fields: Any,
) -> Adjusted:
    """The operator re-rates a line of :func:`made`; honestly, unless told otherwise."""
    name, report = leaf.hash(RELAY.id), _REPORTS[leaf.hash(RELAY.id)]
    delta = delta_for(leaf, category, CARD)
    honest = Adjust(BUSINESS.id, name, day, int(category), delta, report.hash, bytes(64))
    adjust = structs.replace(honest, **fields)
    signature = sign(signer, adjust_message(RELAY.id, adjust))
    return structs.replace(adjust, signature=signature), leaf, report


def in_order(adjustments: Collection[Adjusted]) -> list[Adjusted]:
    return sorted(adjustments, key=lambda entry: (entry[0].day, entry[0].hash(RELAY.id)))


@dataclass(frozen=True)
class World:
    """What truly happened: ``leaves`` of the month, ``before`` it; who re-rated what."""

    leaves: tuple[Leaf, ...]
    before: tuple[Leaf, ...]
    adjustments: tuple[Adjusted, ...]
    hashes: tuple[Hash, ...] = field(default=())

    @property
    def records(self) -> Records:
        """What the business kept of it."""
        kept = make_records(RELAY, BUSINESS, [*self.before, *self.leaves])
        reported = {Hash(adjust.leaf): adjust.day for adjust, _, _ in self.adjustments}
        return replace(kept, adjusted=reported, checkpoints={2: Growing(self.hashes[:2]).root()})

    @property
    def honest(self) -> Invoice:
        return self.bill()

    def bill(
        self,
        leaves: Sequence[Leaf] | None = None,
        adjustments: Sequence[Adjusted] | None = None,
        *,
        cards: Sequence[tuple[bytes, Hash]] | None = None,
        signer: SigningKey | None = None,
        ledger: Sequence[Hash] | None = None,
        **fields: Any,
    ) -> Invoice:
        """What the relay signs over these, true or not; its ledger holds what it bills."""
        lines = list(self.leaves) if leaves is None else in_file_order(RELAY, leaves)
        entries = list(self.adjustments) if adjustments is None else in_order(adjustments)
        if ledger is None:
            ledger = ledger_of(self.hashes, lines, entries)
        return make_invoice(
            RELAY,
            BUSINESS,
            lines,
            month=MONTH,
            through=LAST_DAY,
            adjustments=entries,
            charged=[leaf.charge_hash(RELAY.id) for leaf in self.before],
            cards=[signed_card(canonical(CARD))] if cards is None else cards,
            signer=signer,
            hashes=ledger,
            **fields,
        )


def ledger_of(
    known: Sequence[Hash], leaves: Sequence[Leaf], adjustments: Sequence[Adjusted]
) -> list[Hash]:
    """What a relay has to put into its tree to prove these, behind what it had."""
    wanted = [entry_hash(leaf, RELAY.id) for leaf in leaves]
    wanted += [adjust_hash(adjust, RELAY.id) for adjust, _, _ in adjustments]
    return list(dict.fromkeys([*known, *wanted]))


def named(invoice: Invoice, records: Records) -> str | None:
    """The place that verification names."""
    try:
        verify_invoice(invoice, records)
    except InvoiceError as error:
        return error.where
    return None


@cache
def world(*, flat: bool = False) -> World:
    """The same one for every case, for signing takes long."""

    opener = made("opener", line("conversation-2022"), DECEMBER)
    late = made("late", line("message-2026", Category.UTILITY), DECEMBER)
    carried = opener.charge_hash(RELAY.id)
    first = made("first", line("conversation-2022", klass=Class.IN_WINDOW), TODAY - 3)
    name = first.charge_hash(RELAY.id)
    leaves = [
        first,
        made("same", line("conversation-2022", klass=Class.IN_WINDOW, opener=name), TODAY - 1),
        made("carried", line("conversation-2022", opener=carried), TODAY - 5),
        made("entry", line("message-2026", Category.MARKETING, Class.ENTRY), TODAY),
        made("answer", line("reply-2018", klass=Class.IN_WINDOW), TODAY),
        made("answer 2", line("message-2025", Category.UTILITY, Class.IN_WINDOW), TODAY - 2),
        made("code", line("message-2026", Category.AUTHENTICATION, market="DE"), TODAY - 4),
        *(
            made(f"service {n}", line("message-2026", Category.SERVICE, Class.IN_WINDOW), TODAY - n)
            for n in range(3)
        ),
        *(
            made(f"utility {n}", line("message-2026", Category.UTILITY), TODAY - n)
            for n in range(6)
        ),
        *(made(f"late reply {n}", line("reply-2018", market="DE"), TODAY - n) for n in range(3)),
        *(made(f"news {n}", line("message-2025", Category.MARKETING), TODAY + n) for n in range(2)),
    ]
    if flat:
        leaves += [made(f"flat {n}", line("flat", klass=Class.IN_WINDOW), TODAY) for n in range(2)]
    leaves = in_file_order(RELAY, leaves)
    wrong = next(
        one
        for one in leaves
        if one.line.category == Category.UTILITY and one.settled_day < TODAY and one.line.list_price
    )
    adjustments = tuple(in_order([adjusted(wrong), adjusted(late, day=TODAY + 1)]))
    others = [hash_of(f"other {n}") for n in range(4)]
    hashes = ledger_of(others, [opener, late, *leaves], adjustments)
    return World(tuple(leaves), (opener, late), adjustments, tuple(hashes))
