"""Hours of a busy relay, and what its database then has of messages and of their answers."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from kurir_billing.charge import open_charge
from kurir_billing.grant import Grant
from kurir_billing.kinds import PassKind
from kurir_billing.leaf import open_leaf
from kurir_billing.ledger import entry_hash
from kurir_billing.listed import Listed
from kurir_wire.ids import HOUR, MINUTE
from kurir_wire.limits import ADDRESS_BUCKETS, BUCKETS
from tests.audit.joins import Pair, Value
from tests.audit.pages import spots
from tests.server.customers import Customer, customer
from tests.server.helpers import Box, Draft, Shop, Signed, body, receipt_of
from tests.server.rig import START, Rig

SPAN: Final = 3 * HOUR
CUSTOMERS: Final = 55
"""Of each of the three businesses."""
FRIENDS: Final = 40
LIST_EVERY: Final = 30 * MINUTE
COARSE: Final = (
    "envelopes.expires_hour",
    "charges.accepted_hour",
    "charges.until_day",
    "used_envelopes.until_day",
    "marks.until_hour",
    "starts.until_hour",
    "leaves.settled_day",
    "mailboxes.next_n",
    "mailboxes.depth",
    "mailboxes.handed_n",
    "mailboxes.debt",
    "mailboxes.keep_until",
)
"""Whole hours and days, and counts of a mailbox. A message of the ninth hour is not answered in the
eighth, and what was answered long ago has mostly been read: that much they tell, so candidates are
those that agree in them."""


@dataclass
class Talk:
    """A customer's latest message, and the first answer to it."""

    customer: Customer
    message: bytes = b""
    answer: Signed | None = None


@dataclass
class World:
    """``in_order``: a list of charges has the order in which the messages came."""

    rig: Rig
    draw: random.Random
    in_order: bool = False
    talks: list[Talk] = field(default_factory=list)
    _plan: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=count)
    _listed: list[tuple[Talk, Draft]] = field(default_factory=list)

    def after(self, seconds: float, what: Callable[[], None]) -> None:
        at = self.rig.now + max(1, round(seconds))
        heapq.heappush(self._plan, (at, next(self._numbers), what))

    def late(self, mean: float, share: float, what: Callable[[], None]) -> None:
        """In a share of cases, some time later."""
        if self.draw.random() < share:
            self.after(self.draw.expovariate(1 / mean), what)

    def live(self) -> None:
        """Three hours of three businesses and of some friends."""
        # Nobody cuts the power here, and where rows lie does not depend on it.
        self.rig.store.connection.execute("PRAGMA synchronous = OFF")
        bot = self.rig.shop()
        desk = self.rig.shop(tariff="conversation-2022")
        sender = self.rig.shop(starts=10_000)
        answers = (
            (bot, "reply-2018", self._at_once),
            (desk, "conversation-2022", self._by_agents),
            (sender, "reply-2018", self._in_a_list),
        )
        for shop, tariff, answer in answers:
            for _ in range(CUSTOMERS):
                self.after(
                    self.draw.uniform(0, SPAN),
                    lambda s=shop, t=tariff, a=answer: self._comes(s, t, a),  # type: ignore[misc]
                )
        for _ in range(FRIENDS):
            self.after(self.draw.uniform(0, SPAN), self._befriends)
        for part in range(1, SPAN // LIST_EVERY + 1):
            self.after(part * LIST_EVERY - 1, self._sends_list)
        end = self.rig.now + SPAN
        while self._plan and self._plan[0][0] <= end:
            at, _, what = heapq.heappop(self._plan)
            self.rig.now, self.rig.tick = int(at), self.rig.tick + 6
            what()
        self.rig.tidy()
        self.rig.store.checkpoint()

    def _comes(self, shop: Shop, tariff: str, answer: Callable[[Talk, Grant], None]) -> None:
        talk = Talk(customer(self.rig, shop, tariff))
        self.talks.append(talk)
        self._writes(talk, answer)
        self.late(1_500, 0.25, lambda: self._writes(talk, answer))
        self.late(2_400, 0.5, lambda: self._reads(talk))

    def _writes(self, talk: Talk, answer: Callable[[Talk, Grant], None]) -> None:
        written = talk.customer.shop.address.write(self.draw.choice(ADDRESS_BUCKETS))
        assert self.rig.submit(written) == [None]
        talk.message, talk.answer = written.envelope_id, None
        answer(talk, talk.customer.grant())
        shop = talk.customer.shop
        self.late(3_600, 0.3, lambda: _done(self.rig.ack(shop.address, written.envelope_id)))

    def _at_once(self, talk: Talk, grant: Grant) -> None:
        self.after(1, lambda: self._answers(talk, grant))
        self.late(40, 0.2, lambda: self._answers(talk, grant))

    def _by_agents(self, talk: Talk, grant: Grant) -> None:
        self.late(600, 0.9, lambda: self._answers(talk, grant))

    def _answers(self, talk: Talk, grant: Grant) -> None:
        signed, _ = talk.customer.sent(grant=grant, payload=self._text())
        talk.answer = talk.answer or signed

    def _in_a_list(self, talk: Talk, grant: Grant) -> None:
        """Half of them as if the grant were lost: out of the window, a start."""
        who, shown = talk.customer, grant if self.draw.random() < 0.5 else None
        line = who.shop.line(is_open=shown is not None)
        beacon = self.rig.beacon
        draft = who.shop.draft(who.box, who.opening, line, beacon, shown, payload=self._text())
        self._listed.append((talk, draft))

    def _sends_list(self) -> None:
        waiting, self._listed = self._listed, []
        if not self.in_order:
            # As kurir's client has them.
            waiting.sort(key=lambda item: item[1].hash)
        if not waiting:
            return
        shop = waiting[0][0].customer.shop
        signed = shop.sign_list([draft for _, draft in waiting])
        for (talk, _), one in sorted(
            zip(waiting, signed, strict=True), key=lambda item: item[0][1].charge.lane_seq
        ):
            receipt_of(self.rig.submit(one.submission)[0])
            talk.answer = talk.answer or one

    def _reads(self, talk: Talk) -> None:
        who = talk.customer
        secrets = {} if talk.answer is None else {talk.answer.submission.envelope_id: talk.answer}
        for delivery in self.rig.waiting(who.box):
            signed = secrets.get(delivery.envelope_id)
            self.rig.ack(who.box, delivery.envelope_id, signed.secret if signed else None)

    def _befriends(self) -> None:
        friend = self.rig.personal()
        for _ in range(self.draw.randrange(1, 5)):
            self.late(1_200, 1, lambda: self._chats(friend))

    def _chats(self, friend: Box) -> None:
        written = friend.write(self.draw.choice(BUCKETS))
        assert self.rig.submit(written) == [None]
        self.late(300, 0.7, lambda: _done(self.rig.ack(friend, written.envelope_id)))

    def _text(self) -> bytes:
        return body(self.draw.choice((2_048, 2_048, 4_096, 16_384)))


def _listed_in(answer: dict[str, Value]) -> Listed | None:
    """Where an answer's charge stands in a list, while the charge or its leaf is there."""
    body, leaf = answer.get("charges.body"), answer.get("leaves.leaf")
    if isinstance(body, bytes):
        return open_charge(body).listed
    return open_leaf(leaf).listed if isinstance(leaf, bytes) else None


def _done(result: object) -> None:
    assert result is None, result


def pairs_of(rig: Rig, seed: int, *, in_order: bool = False) -> list[Pair]:
    """Hours of traffic; then the message and the answer of each customer whose message waits."""
    rig.now = START + HOUR - START % HOUR
    world = World(rig, random.Random(seed), in_order)
    world.live()
    path = Path(rig.store.connection.execute("PRAGMA database_list").fetchone()[2])
    look = Look(rig, path)
    found = (look.pair(seed, talk) for talk in world.talks)
    return [pair for pair in found if pair is not None]


class Look:
    """Reads the file of a relay, as somebody who took it."""

    def __init__(self, rig: Rig, path: Path) -> None:
        self._rig = rig
        self._spots = spots(path)

    def pair(self, seed: int, talk: Talk) -> Pair | None:
        """``None`` if the message is gone, or not answered yet."""
        message = self._row("envelopes", "id", talk.message)
        if talk.answer is None or not message:
            return None
        keys, who, charge = self._rig.keys, talk.customer, talk.answer.hash
        envelope_id = talk.answer.submission.envelope_id
        names: list[tuple[str, str, bytes]] = [
            ("mailboxes", "id", who.box.id),
            ("envelopes", "id", envelope_id),
            ("charges", "hash", charge),
            ("used_envelopes", "tag", keys.envelope_tag(who.box.id, envelope_id)),  # type: ignore[arg-type]
            ("marks", "tag", keys.mark_tag(PassKind.CONVERSATION, who.box.id)),
            ("starts", "tag", keys.start_tag(who.shop.id, who.box.id)),
            ("leaves", "charge", charge),
        ]
        leaf = self._row("leaves", "charge", charge).get("leaves.leaf")
        if isinstance(leaf, bytes):
            names.append(("pending", "hash", entry_hash(open_leaf(leaf), keys.relay_id)))
        answer: dict[str, Value] = {}
        for table, column, name in names:
            answer |= self._row(table, column, name)
        listed = _listed_in(answer)
        if listed is not None:
            answer["listed.index"] = listed.index
        coarse = [answer.get(name) for name in COARSE]
        # One signature over a list says that its charges were sent together.
        together = talk.answer.charge.signature if talk.answer.charge.listed else None
        hour = message["envelopes.expires_hour"]
        stratum = (seed, who.shop.id, hour, *coarse, together)
        message |= self._places([talk.message])
        answer |= self._places([name for _, _, name in names])
        return Pair(stratum, message, answer)

    def _row(self, table: str, column: str, name: bytes) -> dict[str, Value]:
        cursor = self._rig.store.connection.execute(
            f"SELECT * FROM {table} WHERE {column} = ?",
            (name,),
        )
        found: Any = cursor.fetchone()
        if found is None:
            return {}
        columns = [f"{table}.{entry[0]}" for entry in cursor.description]
        return {c: v for c, v in zip(columns, found, strict=True) if v is not None}

    def _places(self, names: list[bytes]) -> dict[str, Value]:
        return {
            tree: places[name]
            for tree, places in self._spots.items()
            for name in names
            if name in places
        }
