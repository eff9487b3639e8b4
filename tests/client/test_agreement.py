"""Business and relay agree on every price: whatever the history, the line that the client signs is
the one that the relay's meter has due, and costs what was said before sending."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st

from kurir_billing.kinds import Category
from kurir_billing.tariffs import TARIFFS, tariff_named
from kurir_client import business, inbox, meeting, outbox
from kurir_client.offers import declared, offer
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Status
from kurir_server.rows import StoredTicket
from kurir_wire.entries import Delivery
from kurir_wire.ids import DAY, HOUR
from kurir_wire.links import BusinessLink, LinkEntry, RelayAddress, pin_of
from tests.client.pair import Pair
from tests.client.rig_link import RigLink, meet_relay
from tests.client.verdicts import say, status
from tests.server.rig import Rig, rig_in

PLENTY = 10**9
ENTRY_ID = bytes(range(16))
STEP = st.one_of(
    st.tuples(st.just("write")),
    st.tuples(st.just("send"), st.sampled_from(Category)),
    st.tuples(st.just("forget")),
    st.tuples(
        st.just("wait"),
        st.sampled_from([1, 59, 60, HOUR, 6 * HOUR, DAY - 60, DAY, DAY + 1, 2 * DAY, 3 * DAY]),
    ),
)


EACH = [("send", int(category)) for category in Category if category is not Category.NONE]
LONG = [
    *EACH,
    ("forget",),
    *EACH,
    *(("wait", DAY - 60), *EACH, ("wait", 120), *EACH, ("forget",), *EACH),
    *(("wait", 2 * DAY), *EACH, ("write",), *EACH),
]
"""In the window, at its end, after it; in an entry window, or a conversation, and after it."""


class Trade:
    """A shop and its customer over the rules of a real relay."""

    def __init__(self, folder: Path, rig: Rig, tariff: str, *, by_entry: bool) -> None:
        self.pair, self.rig = Pair(folder), rig
        self.pair.clock.now = rig.now
        self.shop, self.customer = self.pair.bob, self.pair.alice
        meet_relay(rig, self.shop, self.customer)
        asyncio.run(self._meet(tariff, by_entry=by_entry))

    async def _meet(self, tariff: str, *, by_entry: bool) -> None:
        link = RigLink(self.rig, self.pair.clock)
        await business.register(self.shop, link, "PT Metro Bus")  # type: ignore[arg-type]
        own = business.own_id(self.shop)
        self.rig.approve_id(own, "platform", tariff)
        entry = None
        if by_entry:
            ticket = self.rig.keys.ticket(own, ENTRY_ID, self.rig.now + 30 * DAY)
            stored = StoredTicket(ENTRY_ID, ticket.not_after, ticket.signature)
            self.rig.run(lambda rows: rows.add_ticket(own, stored))
            entry = LinkEntry(ENTRY_ID, ticket.not_after)
        await business.keep_fresh(self.shop, link)  # type: ignore[arg-type]
        await self.add(entry)

    async def add(self, entry: LinkEntry | None) -> None:
        relay = RelayAddress("localhost", 7474, tls=False)
        pin = pin_of(self.rig.keys.relay_id)
        to_shop = BusinessLink(relay, business.own_id(self.shop), pin, entry)
        link = RigLink(self.rig, self.pair.clock)
        await meeting.add_business(self.customer, link, to_shop, None, "ID")  # type: ignore[arg-type]

    def contact(self, who: Profile) -> Contact:
        (found,) = who.store.contacts()
        return found

    def wait(self, seconds: int) -> None:
        self.pair.clock.now += seconds
        self.rig.now, self.rig.tick = self.pair.clock.now, self.rig.tick + seconds

    def ready(self, who: Profile) -> list[outbox.Ready]:
        return outbox.prepare(who, self.rig.beacon, self.pair.clock.now)

    def write(self) -> None:
        say(self.pair, self.customer, self.contact(self.customer), "hello")
        for item in self.ready(self.customer):
            sent = item.submission
            delivery = Delivery(sent.mailbox_id, sent.envelope_id, sent.body)
            inbox.receive(self.shop, delivery, self.pair.clock.now)
            outbox.answered(self.customer, item, None, self.rig.keys.cert)

    def forget(self) -> None:
        """As in a copy that was put back: the passes are gone, the charges that opened them not."""
        with self.shop.store.transaction():
            self.shop.store.drop_passes(self.contact(self.shop).id)

    def send(self, category: Category, *, forgot: bool) -> bool:
        """:returns: whether it could be sent, so that the relay could say what it knows"""
        store, to, now = self.shop.store, self.contact(self.shop), self.pair.clock.now
        due = offer(store, to, now, category)
        inner_id = say(self.pair, self.shop, to, "news", PLENTY, category)
        answers = self._settle_with_relay()
        asks = tariff_named(due.tariff).asks_category
        if due.price_micro_usd is None:
            event("refused")
            assert declared(tariff_named(due.tariff), category) is Category.SERVICE
            assert due.window is None
            assert answers == []
            assert status(self.shop, inner_id) is Status.FAILED
            return False
        event(f"{due.tariff} {'free' if not due.price_micro_usd else 'paid'}")
        sent = store.message_sent(inner_id)
        assert sent is not None
        assert sent.status is Status.STORED, answers
        if forgot:  # the relay knew better: never dearer, and one more round
            assert sent.price is not None
            assert sent.price <= due.price_micro_usd
            assert len(answers) <= 2
        else:
            assert sent.price == due.price_micro_usd
            assert answers == ["ok"]
        assert sent.category == (due.category if asks else Category.NONE)
        return True

    def _settle_with_relay(self) -> list[str]:
        answers = []
        while ready := self.ready(self.shop):
            (item,) = ready
            (result,) = self.rig.submit(item.submission)
            assert result is not None
            answers.append(result.code)
            assert outbox.answered(self.shop, item, result, self.rig.keys.cert) is None
        return answers


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.sampled_from(list(TARIFFS)), st.booleans(), st.lists(STEP, min_size=8, max_size=25))
@example("flat", False, LONG)
@example("reply-2018", True, LONG)
@example("conversation-2022", True, LONG)
@example("message-2025", True, LONG)
@example("message-2026", True, LONG)
@example("message-2026", False, LONG)
def test_the_price_before_sending_is_the_price(
    tariff: str, by_entry: bool, steps: list[tuple[str] | tuple[str, int]]
) -> None:
    with tempfile.TemporaryDirectory() as folder, rig_in(Path(folder)) as rig:
        trade = Trade(Path(folder), rig, tariff, by_entry=by_entry)
        try:
            trade.write()  # the customer always writes first: that is how there is one
            forgot = False
            for step in steps:
                match step:
                    case ("write",):
                        trade.write()
                    case ("send", int(category)):
                        went = trade.send(Category(category), forgot=forgot)
                        forgot = forgot and not went
                    case ("forget",):
                        trade.forget()
                        forgot = True
                    case ("wait", int(seconds)):
                        trade.wait(seconds)
        finally:
            trade.pair.close()


def test_whoever_wrote_before_comes_by_no_entry_link(tmp_path: Path) -> None:
    entry = LinkEntry(ENTRY_ID, PLENTY * 10)
    with rig_in(tmp_path) as rig:
        trade = Trade(tmp_path, rig, "message-2026", by_entry=False)
        store = trade.customer.store
        asyncio.run(trade.add(entry))  # the link of the ad after the plain one, before a word
        assert store.came_by(trade.contact(trade.customer).id) is not None
        with store.transaction():
            store._run("DELETE FROM entry")
        trade.write()
        asyncio.run(trade.add(entry))
        assert store.came_by(trade.contact(trade.customer).id) is None
        trade.pair.close()
