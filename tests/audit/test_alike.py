"""The relay prices as the replay does, and both as a plain oracle: the same events through all.

``KURIR_CASES`` says how many messages (``make alike``: 100,000); a few thousand otherwise.
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from kurir_audit.card_files import Cards
from kurir_audit.events import read_events
from kurir_audit.replay import Billed, Refused, replay
from kurir_billing.answers import open_receipt
from kurir_billing.charge import Line
from kurir_billing.grant import Grant
from kurir_billing.head import open_head
from kurir_billing.kinds import Category, Class, PassKind, RefusalCode
from kurir_billing.passes import Pass
from kurir_billing.ratecard import bundled
from kurir_billing.tariffs import TARIFFS, Facts, Price, price
from kurir_billing.ticket import Entry
from kurir_billing.windows import SETTLE_WITHIN
from kurir_server.rows import Moment, Rows, Swept
from kurir_wire import codes
from kurir_wire.entries import Ack, Result
from kurir_wire.frames import InvoiceIs
from kurir_wire.ids import DAY, HOUR, MINUTE, NO_HASH
from tests.audit.replay_oracle import Row, expected
from tests.server.helpers import CARD_HASH, Box, Shop, Signed, refusal_of
from tests.server.rig import START, Rig, rig_in

CASES = int(os.environ.get("KURIR_CASES", "3000"))
PER_CHAT = 12
CARD = bundled()
MONTH_END = int(datetime(2027, 1, 31, tzinfo=UTC).timestamp())
EDGES = (0, 1, 59, 60, 61, 3_599, 86_340, 86_399, 86_400, 86_401, 259_199, 259_200, 259_201)
SETTLED = (0, 1, 59, HOUR, DAY, 29 * DAY, SETTLE_WITHIN + DAY)
ORDER = {"in": 0, "block": 1, "out": 2, "dlv": 3}


def in_time(event: Row) -> tuple[int, int, bool]:
    """In the second in which a customer comes by a link, the message that names it is the first."""
    return event["t"], ORDER[event["k"]], not event.get("ref")


def chat(draw: random.Random, name: str, market: str | None) -> list[Row]:
    """One customer and one business: what a relay can see happen.

    The customer writes in whole minutes, as beacons are; comes by a link within the first day of
    the mailbox, if at all, perhaps after having written without one; and who blocks deletes the
    mailbox, with all that waits in it, and stays away.
    """
    born = MONTH_END - draw.choice((0, 3, 30)) * DAY + draw.randrange(0, DAY, HOUR)
    whom: Row = {"biz": "shop", "usr": name}
    cc = market or draw.choice(("ID", "DE", "US", "OTHER"))
    rows: list[Row] = []
    times = [born]
    comes_by = draw.choice((None, 0, 60, DAY - 60)) if draw.random() < 0.6 else None
    if comes_by is not None:
        times += [born + comes_by] * 2
    blocked = draw.choice((2, 4, 8)) * DAY + born if draw.random() < 0.1 else None
    for number in range(PER_CHAT):
        t = max(born, draw.choice(times[-4:]) + draw.choice((1, 1, -1)) * draw.choice(EDGES))
        times.append(t)
        if draw.random() < 0.5:
            minute = max(born, t - draw.choice(EDGES)) // MINUTE * MINUTE
            rows.append({**whom, "k": "in", "id": f"{name}i{number}", "t": minute, "ref": False})
        cls = draw.choice(("service", "utility", "marketing", "authentication"))
        sent = {**whom, "k": "out", "id": f"{name}m{number}", "t": t, "cls": cls, "cc": cc}
        rows.append(sent)
        if draw.random() < 0.9:
            rows.append({"k": "dlv", "id": sent["id"], "t": t + draw.choice(SETTLED)})
    if comes_by is not None:
        first = {**whom, "k": "in", "id": f"{name}ref", "t": born + comes_by, "ref": True}
        # A second link does nothing.
        rows += [first, {**first, "id": f"{name}again", "t": first["t"] + 2 * MINUTE}]
    if blocked is not None:
        rows.append({**whom, "k": "block", "t": blocked})
    return rows


@dataclass
class Chat:
    """What customer and business know."""

    box: Box
    opening: bytes
    grants: list[Grant] = field(default_factory=list)
    entry: tuple[Grant, Entry] | None = None
    held: Pass | None = None


@dataclass
class Ledger:
    """What became of each message at the relay."""

    refused: dict[str, int] = field(default_factory=dict)
    signed: dict[str, Signed] = field(default_factory=dict)
    settled: set[str] = field(default_factory=set)


class Business:
    """A business and its customers at one relay, all in one transaction."""

    def __init__(self, rig: Rig, shop: Shop, tariff: str, draw: random.Random) -> None:
        self.rig, self.shop, self.tariff, self.draw = rig, shop, tariff, draw
        self.ticket = rig.keys.ticket(shop.id, bytes(16), MONTH_END + 90 * DAY)
        self.chats: dict[str, Chat] = {}
        self.ledger = Ledger()
        self.tick = 0.0

    def live(self, rows: Rows, events: list[Row], owner: dict[str, str]) -> None:
        """Go through all events in order of time."""
        for event in sorted(events, key=in_time):
            self.tick += 6
            moment = Moment(event["t"], self.tick)
            name = event.get("usr") or owner[event["id"]]
            if name not in self.chats:
                self.chats[name] = self.meet(rows, moment, event)
            if self.draw.random() < 0.05:
                rows.sweep(Swept.MARKS, None, 10_000, moment.now // HOUR)
            known = self.chats[name]
            match event["k"]:
                case "in":
                    self.write(known, event)
                case "block":
                    mailbox = rows.mailbox(known.box.id)
                    assert mailbox is not None
                    self.rig.mailboxes.delete(rows, [mailbox.row])
                case "out":
                    self.send(rows, moment, known, event)
                case "dlv":
                    self.settle(rows, moment, known, event["id"])

    def meet(self, rows: Rows, moment: Moment, event: Row) -> Chat:
        market = event.get("market", "ID")
        box, opening = self.shop.customer(moment.now, market)
        new = box.new(self.rig.nonce)
        assert self.rig.mailboxes.make(rows, moment, self.rig.nonce, new) is None
        return Chat(box, opening)

    def write(self, known: Chat, event: Row) -> None:
        """As a client does, which names the ticket in its first message or never."""
        beacon = self.rig.keys.beacon(event["t"] // MINUTE)
        if event["ref"] and not known.grants:
            grant = known.box.grant(self.shop.id, beacon, self.ticket)
            known.entry = grant, Entry(self.ticket, known.box.born_hour)
        else:
            grant = known.box.grant(self.shop.id, beacon)
        known.grants.append(grant)

    def send(self, rows: Rows, moment: Moment, known: Chat, event: Row) -> None:
        """Sign what the business thinks is due; it has to be right, unless it lost its pass."""
        now = moment.now
        if self.draw.random() < 0.1:
            known.held = None
        if known.held is not None and not known.held.is_open(now):
            known.held = None
        grant, entry = self.evidence(known, now)
        facts = self.facts(known, event, grant, entry, now)
        line = self.line(facts, known.held)
        shown = {"entry": entry, "held": known.held}
        signed, result = self.submit(rows, moment, known, line, grant, **shown)
        if result.code == codes.REFUSED and (held := refusal_of(result).held) is not None:
            assert known.held is None, "nothing was lost"
            known.held = held
            quote = refusal_of(result).quote
            assert quote is not None
            facts = self.facts(known, event, grant, entry, now)
            assert quote.line == self.line(facts, held)
            shown["held"] = held
            signed, result = self.submit(rows, moment, known, quote.line, grant, **shown)
        if result.code != codes.OK:
            self.ledger.refused[event["id"]] = refusal_of(result).code
            return
        assert result.data is not None
        receipt = open_receipt(result.data)
        known.held = receipt.earned or known.held
        self.ledger.signed[event["id"]] = signed
        if self.draw.random() < 0.1:
            assert self.sent(rows, moment, signed) == result

    def submit(
        self,
        rows: Rows,
        moment: Moment,
        known: Chat,
        line: Line,
        grant: Grant | None,
        **shown: object,
    ) -> tuple[Signed, Result]:
        beacon = self.rig.keys.beacon(moment.now // MINUTE)
        signed = self.shop.sign(known.box, known.opening, line, beacon, grant, **shown)
        return signed, self.sent(rows, moment, signed)

    def sent(self, rows: Rows, moment: Moment, signed: Signed) -> Result:
        (result,) = self.rig.submitting.submit(
            rows, moment, [signed.submission], b"here", lambda row: False
        ).results
        assert result is not None
        return result

    def evidence(self, known: Chat, now: int) -> tuple[Grant | None, Entry | None]:
        """The entry until it has opened, then the newest grant, open or not."""
        if known.entry is not None and known.held is None and known.entry[0].is_open(now):
            if PassKind.ENTRY in TARIFFS[self.tariff].passes or self.draw.random() < 0.5:
                return known.entry
            return known.entry[0], None
        newest = max(known.grants, key=lambda grant: grant.minute, default=None)
        return newest, None

    def facts(
        self, known: Chat, event: Row, grant: Grant | None, entry: Entry | None, now: int
    ) -> Facts:
        tariff, held = TARIFFS[self.tariff], known.held
        category = Category[event["cls"].upper()] if tariff.asks_category else Category.NONE
        is_open = grant is not None and grant.is_open(now)
        return Facts(
            event["cc"],
            category,
            is_open,
            entry_granted=is_open and entry is not None and held is None,
            entry_open=held is not None and held.kind == PassKind.ENTRY,
            conversation=Class(held.klass) if held and held.kind == PassKind.CONVERSATION else None,
        )

    def line(self, facts: Facts, held: Pass | None) -> Line:
        due = price(self.tariff, facts, CARD)
        if isinstance(due, RefusalCode):
            due = Price(Class.IN_WINDOW, 0)
        opener = NO_HASH if held is None or not due.covered else held.opener
        values = (CARD_HASH, facts.category, due.klass, due.micro_usd, opener)
        return Line(facts.market, self.tariff, *values)

    def settle(self, rows: Rows, moment: Moment, known: Chat, name: str) -> None:
        signed = self.ledger.signed.get(name)
        mailbox = rows.mailbox(known.box.id)
        if signed is None or mailbox is None:
            return
        ack = Ack(known.box.id, signed.submission.envelope_id, signed.secret)
        (result,) = self.rig.reading.ack(rows, moment, [(mailbox.row, ack)])
        if result is None:
            self.ledger.settled.add(name)


def heads(rig: Rig, shop: Shop) -> dict[int, tuple[int, int]]:
    """Count and total of each month, as the operator signs them."""
    moment = Moment(MONTH_END + 100 * DAY, 0)
    found = {}
    for month in (202701, 202702, 202703, 202704):
        reply = rig.run(lambda rows: rig.registry.invoice(rows, moment, shop.id, 1, month))  # noqa: B023
        assert isinstance(reply, InvoiceIs)
        head = open_head(reply.head)
        found[month] = (head.count, head.total_micro_usd)
    return found


@dataclass
class Trial:
    """A relay that lived through the events of many chats, and what the others say of them."""

    business: Business
    chats: list[list[Row]]

    @property
    def rows(self) -> list[Row]:
        return [row for one in self.chats for row in one]


def trial(rig: Rig, tariff: str, seed: str, cases: int, market: str | None = None) -> Trial:
    draw = random.Random(seed)
    shop = rig.shop(tariff=tariff)
    shop.lane = shop.enrol(MONTH_END + 90 * DAY)
    business = Business(rig, shop, tariff, draw)
    chats = [chat(draw, f"u{n:05}", market) for n in range(max(1, cases // PER_CHAT))]
    owner = {row["id"]: row["usr"] for one in chats for row in one if row["k"] == "out"}
    events = [dict(row) for one in chats for row in one]
    of_chat = {row["usr"]: row["cc"] for row in events if row["k"] == "out"}
    for event in events:
        name = event.get("usr") or owner[event["id"]]
        event["market"] = of_chat[name]
    rig.run(lambda rows: business.live(rows, events, owner))
    return Trial(business, chats)


def outcomes(trial: Trial) -> dict[str, Row]:
    """By message: what the relay's lines say it is and costs. Of a conversation only one line is
    due, which is seen to below."""
    ledger, tariff = trial.business.ledger, trial.business.tariff
    found: dict[str, Row] = {
        name: {"id": name, "refused": code} for name, code in ledger.refused.items()
    }
    for row in trial.rows:
        name = row.get("id")
        if row["k"] != "out" or name not in ledger.settled:
            continue
        line = ledger.signed[name].charge.line
        kind = "regular" if line.list_price else "free_customer_service"
        kind = "free_entry_point" if line.klass == Class.ENTRY else kind
        kind = "covered" if tariff == "flat" else kind
        found[name] = {
            "id": name,
            "type": kind,
            "category": row["cls"],
            "cc": row["cc"],
            "micro_usd": line.list_price,
        }
    return found


def conversations(trial: Trial) -> Iterator[list[str]]:
    """Settled messages by the charge that opened their conversation."""
    groups: defaultdict[bytes, list[str]] = defaultdict(list)
    for name in sorted(trial.business.ledger.settled):
        signed = trial.business.ledger.signed[name]
        opener = signed.charge.line.opener
        groups[signed.hash if opener == NO_HASH else opener].append(name)
    yield from groups.values()


def month_totals(rows: list[Row], found: dict[str, Row]) -> dict[int, tuple[int, int]]:
    count: Counter[int] = Counter()
    due: Counter[int] = Counter()
    for row in rows:
        if row["k"] == "dlv" and "micro_usd" in found.get(row["id"], {}):
            month = int(datetime.fromtimestamp(row["t"], UTC).strftime("%Y%m"))
            count[month] += 1
            due[month] += found[row["id"]]["micro_usd"]
    return {month: (count[month], due[month]) for month in (202701, 202702, 202703, 202704)}


@pytest.fixture
def alike(tmp_path: Path) -> Iterator[Rig]:
    with rig_in(tmp_path) as rig:
        rig.now = START - 10 * DAY
        yield rig


def without_quota(monkeypatch: pytest.MonkeyPatch, tariff: str, count: int) -> None:
    quota = TARIFFS[tariff].quota
    if quota is not None:
        few = replace(TARIFFS[tariff], quota=replace(quota, count=count))
        monkeypatch.setitem(TARIFFS, tariff, few)


@pytest.mark.parametrize("tariff", sorted(TARIFFS))
def test_each_message_at_the_relay_against_the_oracle(
    alike: Rig, monkeypatch: pytest.MonkeyPatch, tariff: str
) -> None:
    without_quota(monkeypatch, tariff, 0)
    lived = trial(alike, tariff, tariff, CASES // len(TARIFFS))
    oracle = {row["id"]: row for one in lived.chats for row in expected(one, tariff, 0)}
    found = outcomes(lived)
    if tariff == "conversation-2022":
        for group in conversations(lived):
            prices = {found[name]["micro_usd"] for name in group}
            (due,) = (name for name in group if oracle[name]["type"] == "regular")
            assert prices == {oracle[due]["micro_usd"]}
            for name in group:
                found[name].update(type="covered", micro_usd=0)
            found[due].update(type="regular", micro_usd=prices.pop())
    assert found == oracle
    assert heads(alike, lived.business.shop) == month_totals(lived.rows, oracle)
    seen = Counter(row.get("type") or row["refused"] for row in found.values())
    if tariff.startswith("message"):
        assert {131_026, 131_047, "free_entry_point", "regular"} <= set(seen)
    if tariff == "conversation-2022":
        assert {131_026, "covered", "regular"} <= set(seen)


@pytest.mark.parametrize("tariff", ["flat", "reply-2018", "message-2025", "message-2026"])
def test_months_at_the_relay_against_the_replay(
    alike: Rig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tariff: str
) -> None:
    """With a quota, in one market: there the order within a day changes nothing."""
    without_quota(monkeypatch, tariff, 20)
    lived = trial(alike, tariff, f"months {tariff}", CASES // len(TARIFFS), "ID")
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n".join(msgspec.json.encode(row) for row in lived.rows))
    rule = TARIFFS[tariff]
    events = read_events(file, asks_category=rule.asks_category)
    found = replay(events, rule, Cards([CARD]))
    refused = {one.id: one.refused for one in found if isinstance(one, Refused)}
    assert refused == lived.business.ledger.refused
    billed = {str(one.id): {"micro_usd": one.micro_usd} for one in found if isinstance(one, Billed)}
    assert set(billed) == lived.business.ledger.settled
    assert heads(alike, lived.business.shop) == month_totals(lived.rows, billed)


def test_a_difference_would_show(alike: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    without_quota(monkeypatch, "message-2026", 0)
    lived = trial(alike, "message-2026", "difference", 60)
    other = {row["id"]: row for one in lived.chats for row in expected(one, "message-2025", 0)}
    assert outcomes(lived) != other
