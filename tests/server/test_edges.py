"""100,000 cases around the edges of windows, passes, beacons and months, against a calendar
(``edges.py``): at times of the relay's own clock, while the machine's clock steps ahead and back.
"""

from __future__ import annotations

import io
import itertools
import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from msgspec import structs

from kurir_billing.charge import Charge
from kurir_billing.dates import month_of_day
from kurir_billing.errors import EvidenceError
from kurir_billing.grant import Grant
from kurir_billing.kinds import Category, Class, PassKind, RefusalCode
from kurir_billing.leaf import open_leaf
from kurir_billing.passes import Pass
from kurir_billing.quotas import Due, Settled, amounts_due
from kurir_billing.ratecard import Step, bundled
from kurir_billing.tariffs import TARIFFS, Price
from kurir_billing.ticket import Entry
from kurir_server.clock import Clock
from kurir_server.evidence import Evidence
from kurir_server.log import Log
from kurir_server.marks import Marks
from kurir_server.pricing import Pricing
from kurir_server.refusals import RefusedError
from kurir_server.rows import Moment, Rows
from kurir_wire.ids import DAY, NO_HASH, Hash
from tests.server.clocks import Both
from tests.server.customers import customer
from tests.server.edges import Opened, Right, Wrote, right, when
from tests.server.helpers import Box, Shop
from tests.server.rig import START, Rig

CHARGES, SETTLEMENTS = 70_000, 30_000
VISITS, MONTHS_RUNS = CHARGES // 14, SETTLEMENTS // 3_000
MONTH_ENDS = [
    int(datetime(year, month, 1, tzinfo=UTC).timestamp())
    for year, month in ((2027, 2), (2027, 3), (2028, 1), (2028, 3), (2028, 5))
]
"""The first seconds after January, a short February, a year, a leap day, and 30 days of April."""
CATEGORIES = ("service", "utility", "marketing", "authentication")
CLASSES = {Class.IN_WINDOW: "in", Class.OUT_OF_WINDOW: "out", Class.ENTRY: "entry"}
KINDS = {PassKind.CONVERSATION: "conversation", PassKind.ENTRY: "entry"}


@dataclass
class RelayTime:
    """The relay's clock, and what its time should be: the latest that the machine's clock said."""

    both: Both
    draw: random.Random
    latest: int

    def __post_init__(self) -> None:
        self.both.wall = float(self.latest)
        self.clock = Clock(Log(io.StringIO()))
        self.clock.start(self.latest)

    def at(self, second: int) -> Moment:
        """The machine's clock says this second, or some part of it later."""
        self.both.steady += max(0.0, second - self.both.wall)
        self.both.wall = second + self.draw.choice((0.0, 0.5, 0.999))
        self.latest = max(self.latest, second)
        moment = self.clock.moment()
        assert moment.now == self.latest
        return moment

    def restart(self) -> None:
        """Time may fall then, to the begin of the minute: no finer one is on disk. It falls no
        further, though the machine may have started with a clock that is behind."""
        self.latest -= self.latest % 60
        self.__post_init__()
        self.both.wall -= self.draw.choice((0, 1, 3_600, 86_400))

    def stray(self) -> None:
        """Now and then the machine's clock is set back, or the relay starts again."""
        chance = self.draw.random()
        if chance < 0.25:
            back = self.draw.choice((1, 59, 60, 3_600, 86_399, 86_400, 86_401, 30 * 86_400))
            self.at(self.latest - back)
        elif chance < 0.35:
            self.restart()


@dataclass
class Visit:
    """One customer of a business: what was written and opened, and charges around all its edges."""

    rig: Rig
    rows: Rows
    shop: Shop
    template: Charge
    time: RelayTime
    tariff: str
    met: Counter[object]
    wrote: list[tuple[Wrote, Grant, Entry | None]] = field(default_factory=list)
    opened: Opened | None = None
    held: Pass | None = None

    def begin(self, moment: Moment, box: Box, nonce: bytes) -> None:
        made = self.rig.mailboxes.make(self.rows, moment, nonce, box.new(nonce))
        assert made is None, made
        found = self.rows.mailbox(box.id)
        assert found is not None
        self.box, self.mailbox = box, found
        self.marks = Marks(self.rig.keys)
        self.pricing, self.evidence = Pricing(self.marks), Evidence(self.rig.keys)

    def write(self, now: int, *, by_link: bool) -> None:
        """The customer writes, on the newest beacon."""
        keys = self.rig.keys
        ticket = keys.ticket(self.shop.id, bytes(16), now + DAY) if by_link else None
        grant = self.box.grant(self.shop.id, keys.beacon(now // 60), ticket)
        entry = None if ticket is None else Entry(ticket, self.box.born_hour)
        self.wrote.append((Wrote(now, by_link), grant, entry))

    def edges(self) -> list[int]:
        """Where something may change, from now on: a day or three after the minute or the second of
        what was written and opened."""
        since = {second for wrote, _, _ in self.wrote for second in (wrote.second, _minute(wrote))}
        if self.opened is not None:
            since.add(self.opened.second)
        near = (since_ + days * 86_400 for since_ in since for days in (0, 1, 3))
        return sorted(edge for edge in near if edge >= self.time.latest - 2)

    def charge(self, moment: Moment, category: str) -> bool:
        """One case. :returns: whether the relay says what is right"""
        draw, now = self.time.draw, moment.now
        wrote, grant, entry = draw.choice([*self.wrote, (None, None, None)])
        charge = structs.replace(self.template, grant=grant, entry=entry)
        expected = right(self.tariff, category, wrote, self.opened, now)
        self.met[self.tariff, expected.klass] += 1
        if grant is not None and wrote is not None:
            assert grant.is_open(now) == wrote.is_answered_free(now)
        shown = self.evidence.shown(charge, self.mailbox, now)
        asked = category if TARIFFS[self.tariff].asks_category else "none"
        line = structs.replace(self.template.line, category=Category[asked.upper()])
        try:
            due = self.pricing.due(self.rows, now, self.mailbox, self.tariff, line, shown)
        except RefusedError as refused:
            return expected.klass == "shut" and refused.code is RefusalCode.OUTSIDE_WINDOW
        is_over = self.opened is None or self.opened.is_over(now)
        told = due.line
        found = Right(
            CLASSES[Class(told.klass)],
            told.list_price,
            told.opener,
            None if due.opens is None else KINDS[due.opens],
        )
        is_right = found == expected and due.held == (None if is_over else self.held)
        if self.held is not None and self.opened is not None and now >= self.opened.second:
            is_right &= self.held.is_open(now) != is_over
        if due.opens is not None:
            self._open(due.opens, Class(told.klass), wrote, now)
        return is_right

    def _open(self, kind: PassKind, klass: Class, wrote: Wrote | None, now: int) -> None:
        """The message was accepted."""
        opener = Hash(self.time.draw.randbytes(32))
        self.held = self.marks.earn(
            self.rows, self.shop.id, self.mailbox.id, kind, opener, klass, now
        )
        is_in = wrote is not None and wrote.is_answered_free(now)
        self.opened = Opened(KINDS[kind], now, opener, is_in)
        self.met[kind] += 1

    def is_fresh_right(self, now: int) -> bool:
        """A beacon of a minute around now, or around a day ago: good for 24 hours."""
        minute = (now - self.time.draw.choice((0, 86_400))) // 60 + self.time.draw.randrange(-1, 2)
        nonce = self.rig.keys.beacon_nonce(minute)
        charge = structs.replace(self.template, beacon_minute=minute, beacon_nonce=nonce)
        age = (when(now) - when(minute * 60)).total_seconds()
        try:
            self.evidence.check_beacon(charge, now)
        except EvidenceError:
            return not 0 <= age <= 24 * 60 * 60
        return 0 <= age <= 24 * 60 * 60


def _minute(wrote: Wrote) -> int:
    return int(when(wrote.second).replace(second=0).timestamp())


def visit(rig: Rig, rows: Rows, both: Both, draw: random.Random, made: Made) -> int:
    """:returns: how many of 14 charges were wrong"""
    begin = draw.choice(MONTH_ENDS) - draw.choice((0, 1, 2, 3)) * 86_400 + draw.randrange(-130, 131)
    time = RelayTime(both, draw, begin)
    box, _ = made.shop.customer(begin)
    tariff = draw.choice(made.tariffs)
    one = Visit(rig, rows, made.shop, made.template, time, tariff, made.met)
    one.begin(time.at(begin), box, rig.nonce)
    one.write(begin, by_link=draw.random() < 0.5)
    wrong = 0
    for number in range(14):
        near = draw.choice(one.edges()[:2] or [time.latest])
        moment = time.at(max(near + draw.randrange(-2, 3), time.latest - draw.randrange(2)))
        time.stray()
        moment = time.clock.moment()
        assert moment.now == time.latest
        if number in (4, 8) and draw.random() < 0.5:
            one.write(moment.now, by_link=False)
        wrong += not one.charge(moment, draw.choice(CATEGORIES))
        wrong += not one.is_fresh_right(moment.now)
    return wrong


@dataclass
class Made:
    shop: Shop
    template: Charge
    met: Counter[object] = field(default_factory=Counter)
    tariffs: tuple[str, ...] = (
        *("flat", "reply-2018", "reply-2018", "conversation-2022", "conversation-2022"),
        *("message-2025", "message-2025", "message-2026", "message-2026"),
    )


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Both:
    return Both(monkeypatch)


def test_charges_around_the_edges_of_windows_passes_and_beacons(rig: Rig, both: Both) -> None:
    shop, draw = rig.shop(), random.Random(2018)
    box, opening = shop.customer(START)
    made = Made(shop, shop.draft(box, opening, shop.line(is_open=False), rig.beacon).charge)
    assert set(made.tariffs) == set(TARIFFS)
    wrong = rig.run(lambda rows: sum(visit(rig, rows, both, draw, made) for _ in range(VISITS)))
    assert wrong == 0
    ways = {way for way in made.met if isinstance(way, tuple)}
    assert ways == {
        ("flat", "in"),
        *itertools.product(("reply-2018", "conversation-2022"), ("in", "out")),
        *itertools.product(("message-2025", "message-2026"), ("in", "out", "entry", "shut")),
    }
    assert min(made.met.values()) > 500, made.met


def stepped(card_steps: list[Step], price: int, before: int) -> int:
    """Volume tiers read aloud: ``above`` of a month's messages cost the list price."""
    prices = [price, *(step.micro_usd for step in card_steps if before + 1 > step.above)]
    return prices[-1]


def test_settlements_around_the_ends_of_months_quotas_and_tiers(both: Both) -> None:
    draw, wrong = random.Random(2022), 0
    plain = bundled()
    steps = [Step(20, 20_000), Step(100, 15_000)]
    card = structs.replace(
        plain, markets={"ID": structs.replace(plain.markets["ID"], utility_steps=steps)}
    )
    for number in range(MONTHS_RUNS):
        end = MONTH_ENDS[number % len(MONTH_ENDS)]
        tariff = "message-2026" if number % 2 else "conversation-2022"
        quota = {"message-2026": "service", "conversation-2022": "none"}[tariff]
        time = RelayTime(both, draw, end - 1_600)
        settled, due = [], []
        free: Counter[str] = Counter()
        before: Counter[str] = Counter()
        for _ in range(3_000):
            if draw.random() < 0.03:
                time.stray()
            moment = time.at(time.latest + draw.choice((0, 1, 1, 2, 2)))
            category = draw.choice(("service",) * 4 + ("utility",)) if number % 2 else "none"
            month = when(time.latest).strftime("%Y%m")
            settled.append(
                Settled(
                    TARIFFS[tariff],
                    "ID",
                    Category[category.upper()],
                    Price(Class.IN_WINDOW, 25_000),
                    month_of_day(moment.now // DAY),
                    card,
                )
            )
            if category == quota and free[month] < 1_000:
                free[month] += 1
                due.append((Due.FREE_CUSTOMER_SERVICE, 0))
                continue
            is_stepped = category == "utility"
            price = stepped(steps, 25_000, before[month]) if is_stepped else 25_000
            before[month] += is_stepped
            due.append((Due.REGULAR, price))
        assert len(free) == 2, "the month ended in between"
        assert set(free.values()) == {1_000}, "and both quotas with it"
        found = list(amounts_due(settled))
        wrong += sum(one != other for one, other in zip(found, due, strict=True))
    assert wrong == 0


def test_the_day_of_a_settlement_is_that_of_the_relays_clock(rig: Rig, both: Both) -> None:
    draw, end = random.Random(31), MONTH_ENDS[0]
    shop = rig.shop()
    rig.now = end - 3_600
    ani = customer(rig, shop, "reply-2018")
    time = RelayTime(both, draw, end - 40)
    settled: dict[Hash, str] = {}
    for number in range(100):
        rig.now = time.at(time.latest + draw.randrange(3)).now
        signed = ani.sign(ani.line(Class.IN_WINDOW, 0), ani.grant())
        ani.received(signed)
        if number % 5 == 0:
            time.stray()
        moment = time.clock.moment()
        rig.now, rig.doubt = moment.now, moment.doubt
        ani.settled(signed)
        settled[signed.hash] = when(time.latest).strftime("%Y-%m-%d")
    assert set(settled.values()) == {"2027-01-31", "2027-02-01"}
    for day, name in ((end // DAY - 1, "2027-01-31"), (end // DAY, "2027-02-01")):
        leaves = rig.run(lambda rows: rows.leaves(shop.id, day, NO_HASH, 200))  # noqa: B023
        found = {open_leaf(leaf).charge_hash(rig.keys.relay_id) for leaf in leaves}
        assert found == {charge for charge, date in settled.items() if date == name}
