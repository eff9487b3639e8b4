"""The relay and its businesses through two months: charges are judged, recorded and settled by the
real meter over a real database; days are closed.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from bench.million.business import Business, Customer, Sent, new_business
from bench.million.plan import BEGIN, END_DAY, ROUNDS, SENDING_DAYS, Plan, price_lists
from kurir_billing.adjust import Adjust, delta_for, packed_adjust
from kurir_billing.answers import open_receipt, open_refusal
from kurir_billing.kinds import Category, Class, RefusalCode
from kurir_billing.leaf import open_leaf, packed_leaf
from kurir_billing.ledger import adjust_hash
from kurir_billing.passes import pass_kind
from kurir_billing.ratecard import RateCard, canonical, rate_card_hash
from kurir_billing.report import Report
from kurir_billing.tariffs import TARIFFS
from kurir_crypto.keys import SigningKeyPair
from kurir_server import admin, keyfiles
from kurir_server.keys import RelayKeys
from kurir_server.ledger import Ledger
from kurir_server.ledger_rows import StoredAdjust
from kurir_server.mailboxes import Mailboxes
from kurir_server.meter import Judged, Meter
from kurir_server.registry import Registry
from kurir_server.rows import Moment, Rows, StoredRateCard
from kurir_server.store import Store
from kurir_wire import codes
from kurir_wire.beacons import Beacon
from kurir_wire.cards import TIER_PLATFORM
from kurir_wire.entries import NewMailbox, Result
from kurir_wire.gates import payer_gate
from kurir_wire.ids import DAY, HOUR, MINUTE, Hash, business_id_of, mailbox_id_of
from kurir_wire.proofs import create_message

NONCE: Final = bytes(32)
STARTS: Final = 100_000
WRITES, BY_LINK = 0.25, 0.3
REPEATED, WRONG, REPORTED = 0.01, 0.01, 0.004
UNREAD, UNLOCKED = 0.04, 0.01
"""Shares of charges: never settled, and acknowledged with another secret."""
DELAYS: Final = (0, 0, 0, 0, 1, 1, 2, 3, 5, 6)
"""Days until a message is read."""
Progress = Callable[[str, float], None]


@dataclass(slots=True)
class Lived:
    """What is left of the two months. ``seconds``: CPU of each party."""

    keys: RelayKeys
    db: Path
    store: Store
    registry: Registry
    ledger: Ledger
    cards: dict[Hash, RateCard]
    businesses: list[Business]
    counts: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)


class Clock:
    """CPU seconds of this process, booked to one party after another."""

    def __init__(self, seconds: Counter[str]) -> None:
        self._seconds = seconds
        self._last = time.process_time()

    def book(self, party: str) -> None:
        """What passed since the last call was this party's."""
        now = time.process_time()
        self._seconds[party] += now - self._last  # type: ignore[assignment]
        self._last = now


def live(plan: Plan, folder: Path, progress: Progress) -> Lived:
    """Two months in a new database in ``folder``, whose commits are not synced: speed of a disk is
    not what is measured here."""
    life = _Life(plan, folder)
    days = range(BEGIN // DAY, END_DAY + 1)
    for place, day in enumerate(days):
        life.day(day)
        progress("charges and settlements", (place + 1) / len(days))
    return life.lived


class _Life:
    def __init__(self, plan: Plan, folder: Path) -> None:
        db = folder / "million.db"
        keys = admin.init(db, keyfiles.default_folder(db), BEGIN - HOUR)
        store = Store.open(db)
        store.connection.execute("PRAGMA synchronous = OFF")
        meter = Meter(keys)
        self.plan, self.draw, self.meter = plan, Random(plan.seed), meter
        self.mailboxes = Mailboxes(keys.relay_id)
        bodies = [canonical(card) for card in price_lists()]
        self.cards = [
            (card, rate_card_hash(body)) for card, body in zip(price_lists(), bodies, strict=True)
        ]
        named = {name: card for card, name in self.cards}
        self.lived = Lived(keys, db, store, Registry(keys, self.mailboxes), Ledger(keys), named, [])
        self.clock = Clock(self.lived.seconds)
        self.reading: defaultdict[int, list[tuple[Business, Sent]]] = defaultdict(list)
        self.complaints: list[tuple[Business, Hash, Report, int]] = []
        store.transact(lambda rows: self._begin(rows, bodies))

    def _begin(self, rows: Rows, bodies: list[bytes]) -> None:
        keys, draw = self.lived.keys, self.draw
        for (card, name), body in zip(self.cards, bodies, strict=True):
            # The bundled card came with the database as version 1.
            begins = card.effective_from
            rows.add_rate_card(StoredRateCard(card.version, name, begins, keys.rate_card(body)))
        tariffs = list(TARIFFS)
        for number in range(self.plan.businesses):
            root, lane_key, lane = new_business(keys.relay_id, draw, END_DAY * DAY)
            tariff = tariffs[number % len(tariffs)]
            ticket = keys.ticket(business_id_of(root.public), draw.randbytes(16), END_DAY * DAY)
            terms = keys.terms(business_id_of(root.public), tariff, TIER_PLATFORM, STARTS, BEGIN)
            one = Business(keys.relay_id, root, lane_key, lane, terms, ticket)
            self.lived.businesses.append(one)
            rows.put_business(one.id, 1, b"", END_DAY * DAY, tariff)
            before = rows.business(one.id)
            assert before is not None
            legal = f"Business {number}"
            rows.approve(
                one.id,
                admin.approval(keys, before, TIER_PLATFORM, tariff, STARTS, legal, BEGIN),
            )
        self.clock.book("setting up")

    def day(self, day: int) -> None:
        """One day: readers come, businesses send, the day before is closed."""
        store, ledger = self.lived.store, self.lived.ledger
        while store.transact(lambda rows: ledger.close_day(rows, _at(day * DAY))):
            pass
        self.clock.book("relay: ledger")
        if day < BEGIN // DAY + SENDING_DAYS:
            for second in ROUNDS:
                now = day * DAY + second
                store.transact(lambda rows: self._round(rows, now))  # noqa: B023
        if day < END_DAY:
            store.transact(lambda rows: self._read(rows, _at(day * DAY + 20 * HOUR)))

    def _round(self, rows: Rows, now: int) -> None:
        """Customers write, businesses sign, the relay takes it: each for all businesses, as a look
        at the clock of the CPU costs more than a charge on some machines."""
        self.clock.book("relay: other")
        beacon, moment = self.lived.keys.beacon(now // MINUTE), _at(now)
        card = max((each for each in self.cards if each[0].effective_from <= now), key=_version)
        chosen = [
            (business, self._customers(rows, moment, self.plan.share(number), business, beacon))
            for number, business in enumerate(self.lived.businesses)
        ]
        self.clock.book("customers")
        sent = [
            (business, self._signed(business, customers, card, beacon, now))
            for business, customers in chosen
        ]
        self.clock.book("business: signs")
        for business, signed in sent:
            for one in signed:
                self._submit(rows, moment, business, one)
        self.clock.book("relay: meter")

    def _customers(
        self, rows: Rows, moment: Moment, size: int, business: Business, beacon: Beacon
    ) -> list[Customer]:
        """Those to whom a business writes in a round; some are new, some have just written."""
        draw, age = self.draw, (moment.now - BEGIN) // DAY
        # Four times as many customers as messages of a round, five times in the end.
        while len(business.customers) < 4 * size + age * size // SENDING_DAYS + 1:
            business.customers.append(self._meet(rows, moment, business))
            if draw.random() < BY_LINK:
                business.permit(business.customers[-1], beacon, by_link=True)
        chosen = draw.sample(business.customers, size)
        for customer in chosen:
            if draw.random() < WRITES:
                business.permit(customer, beacon, by_link=False)
        return chosen

    def _signed(
        self,
        business: Business,
        customers: list[Customer],
        card: tuple[RateCard, Hash],
        beacon: Beacon,
        now: int,
    ) -> list[Sent]:
        draw = self.draw
        return business.sign(
            [
                business.draft(
                    draw,
                    customer,
                    card,
                    beacon,
                    now,
                    wrongly=draw.random() < WRONG,
                    reported=draw.random() < REPORTED,
                )
                for customer in customers
            ]
        )

    def _submit(self, rows: Rows, moment: Moment, business: Business, sent: Sent) -> None:
        counts, customer, keys = self.lived.counts, sent.customer, self.lived.keys
        counts["signed"] += 1
        judged = self.meter.judge(rows, moment, customer.mailbox, sent.sealed.submission)
        if not isinstance(judged, Judged):
            assert judged.code == codes.REFUSED, judged
            assert judged.data is not None
            refusal = open_refusal(judged.data)
            assert refusal.code == RefusalCode.BAD_PARAMETER, refusal
            counts["refused"] += 1
            return
        result = self.meter.record(rows, moment, customer.mailbox, judged)
        assert result.data is not None
        receipt = open_receipt(result.data)
        counts["accepted"] += 1
        if receipt.earned is not None:
            receipt.verify(keys.cert.receipt_pk)
            kind = pass_kind(receipt.earned)
            assert kind is not None
            customer.passes[kind] = receipt.earned
        draw = self.draw.random()
        if draw < REPEATED:
            again = self.meter.judge(rows, moment, customer.mailbox, sent.sealed.submission)
            assert again == result, "a retry is answered as the first time"
            counts["repeated"] += 1
        if self.draw.random() < UNREAD:
            counts["never settled"] += 1
        else:
            self.reading[moment.now // DAY + self.draw.choice(DELAYS)].append((business, sent))

    def _read(self, rows: Rows, moment: Moment) -> None:
        day, counts = moment.now // DAY, self.lived.counts
        for business, sent in self.reading.pop(day, []):
            secret = sent.secret if self.draw.random() >= UNLOCKED else bytes(32)
            settled = self.meter.settle(rows, moment, sent.name, secret)
            assert settled == (secret is sent.secret)
            counts["settled" if settled else "never settled"] += 1
            if settled and self.draw.random() < REPEATED:
                assert not self.meter.settle(rows, moment, sent.name, secret)
                counts["settled twice"] += 1
            if settled and sent.report is not None:
                self.complaints.append((business, sent.name, sent.report, day))
        self.clock.book("relay: settles")
        ripe = [one for one in self.complaints if one[3] + 2 <= day or day + 1 == END_DAY]
        self.complaints = [one for one in self.complaints if one not in ripe]
        for business, name, report, settled_day in ripe:
            self._uphold(rows, day, business, name, report, settled_day)
        self.clock.book("relay: other")

    def _uphold(
        self,
        rows: Rows,
        day: int,
        business: Business,
        name: Hash,
        report: Report,
        settled_day: int,
    ) -> None:
        """As ``kurir-relay report uphold`` does, with marketing as what it should have been."""
        keys = self.lived.keys
        stored = rows.leaf(business.id, settled_day, name)
        assert stored is not None
        leaf = open_leaf(stored)
        line, cheap = leaf.line, (Category.UTILITY, Category.AUTHENTICATION)
        card = self.lived.cards[Hash(line.rate_card)]
        dear = card.rates(line.market).marketing
        if line.category not in cheap or line.klass == Class.ENTRY or line.list_price >= dear:
            return
        delta = delta_for(leaf, Category.MARKETING, card)
        leaf_hash = leaf.hash(keys.relay_id)
        adjust = keys.adjust(
            Adjust(business.id, leaf_hash, day, Category.MARKETING, delta, report.hash, bytes(64))
        )
        entry = adjust.hash(keys.relay_id)
        packed = packed_adjust(adjust), packed_leaf(leaf)
        rows.add_adjust(StoredAdjust(business.id, day, entry, leaf_hash, *packed, b""))
        rows.add_pending(day, adjust_hash(adjust, keys.relay_id))
        business.rulings.append((adjust, report))
        self.lived.counts["adjusted"] += 1

    def _meet(self, rows: Rows, moment: Moment, business: Business) -> Customer:
        """A new mailbox, as its owner's device makes it."""
        keys, draw = self.lived.keys, self.draw
        market = draw.choice(list(self.cards[0][0].markets))
        key, opening = SigningKeyPair.from_seed(draw.randbytes(32)), draw.randbytes(32)
        gate, hour = payer_gate(business.id, market, opening), moment.now // HOUR
        signature = key.sign(create_message(keys.relay_id, NONCE, gate, hour))
        new = NewMailbox(key.public, gate, hour, signature)
        made: Result | None = self.mailboxes.make(rows, moment, NONCE, new)
        assert made is None, made
        mailbox = rows.mailbox(mailbox_id_of(keys.relay_id, key.public, gate, hour))
        assert mailbox is not None
        return Customer(key, mailbox, opening, hour, market)


def _at(now: int) -> Moment:
    return Moment(now, float(now))


def _version(card: tuple[RateCard, Hash]) -> int:
    return card[0].version
