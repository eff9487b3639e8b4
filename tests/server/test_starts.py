"""How many customers a business may write to, and who takes no marketing."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from kurir_billing.kinds import Category, Class, RefusalCode
from kurir_server.limits import SMALL_CUSTOMERS
from kurir_server.store import SqlRows
from kurir_wire import codes
from kurir_wire.entries import Result
from kurir_wire.frames import Open, Results, SetRefused, TermsAre
from kurir_wire.ids import DAY, HOUR, MINUTE, BusinessId
from tests.server.customers import Customer, customer
from tests.server.helpers import refusal_of
from tests.server.rig import START, Rig, rig_in

PRICE = 25_000
UT, MK, SV = Category.UTILITY, Category.MARKETING, Category.SERVICE


def paid(ani: Customer) -> Result | None:
    """What becomes of a message outside the window."""
    ani.rig.tick += 6
    return ani.submit(ani.sign(ani.line(Class.OUT_OF_WINDOW, PRICE)))


def is_ok(result: Result | None) -> bool:
    assert result is not None
    if result.code == codes.OK:
        return True
    assert refusal_of(result).code == RefusalCode.RATE_LIMIT, result
    return False


@pytest.fixture
def three(rig: Rig) -> list[Customer]:
    """Customers of a business that may start two."""
    rig.now = START + 100
    shop = rig.shop(starts=2)
    return [customer(rig, shop, "reply-2018") for _ in range(3)]


def test_one_more_than_the_limit_is_refused(three: list[Customer]) -> None:
    ani, budi, citra = three
    rig = ani.rig
    assert is_ok(paid(ani))
    assert is_ok(paid(budi))
    assert is_ok(paid(ani)), "the same customer is no further start"
    result = paid(citra)
    refusal = refusal_of(result)
    assert refusal.code == RefusalCode.RATE_LIMIT
    refusal.verify(rig.keys.cert.receipt_pk, rig.keys.relay_id, citra.shop.id)
    assert result is not None
    # A place comes free with the first whole hour after 24 hours.
    free_at = START + DAY + HOUR
    assert (result.retry_after, result.left) == (free_at - rig.now, 0)
    assert result.detail.startswith("130429: 2 customers")
    rig.now = free_at - 1
    result = paid(citra)
    assert not is_ok(result)
    assert result is not None
    assert result.retry_after == 1
    rig.now += 1
    assert is_ok(paid(citra))
    assert is_ok(paid(budi))
    assert not is_ok(paid(ani)), "who was started a day ago is a start again"


def test_a_start_in_a_whole_hour_ends_after_exactly_24(rig: Rig) -> None:
    shop = rig.shop(starts=1)
    ani, budi = (customer(rig, shop, "reply-2018") for _ in range(2))
    assert is_ok(paid(ani))
    rig.now = START + DAY - 1
    assert not is_ok(paid(budi))
    rig.now += 1
    assert is_ok(paid(budi))


def test_a_customer_who_is_started_again_counts_again(rig: Rig) -> None:
    """Also where the first start was not swept yet."""
    shop = rig.shop(starts=1)
    ani, budi = (customer(rig, shop, "reply-2018") for _ in range(2))
    assert is_ok(paid(ani))
    rig.now += DAY + HOUR
    assert is_ok(paid(ani))
    assert not is_ok(paid(budi))


def test_rows_are_counted_seldom(three: list[Customer], monkeypatch: pytest.MonkeyPatch) -> None:
    """A business at its limit that goes on trying must not keep the store busy."""
    counted = 0
    real = SqlRows.starts

    def counting(rows: SqlRows, business_id: BusinessId, hour: int) -> tuple[int, int]:
        nonlocal counted
        counted += 1
        return real(rows, business_id, hour)

    monkeypatch.setattr(SqlRows, "starts", counting)
    ani, budi, citra = three
    for _ in range(3):
        assert is_ok(paid(ani))
        assert is_ok(paid(budi))
        assert not is_ok(paid(citra))
    assert counted == 1, "the first"
    ani.rig.now += 1
    for _ in range(3):
        assert not is_ok(paid(citra))
    assert counted == 2


def test_answers_are_no_starts(three: list[Customer]) -> None:
    ani, budi, citra = three
    rig = ani.rig
    assert is_ok(paid(ani))
    assert is_ok(paid(budi))
    citra.taken(citra.line(Class.IN_WINDOW, 0), citra.grant())
    assert not is_ok(paid(citra))
    assert rig.count("starts") == 2
    # Nor is an entry, or what a conversation of the customer's covers.
    shop = rig.shop(tariff="message-2025", starts=0)
    dewi = customer(rig, shop, "message-2025")
    ticket = rig.keys.ticket(shop.id, bytes(16), rig.now + DAY)
    dewi.sent(MK, dewi.grant(ticket), entry=dewi.entry(ticket))
    eka = customer(rig, rig.shop(tariff="conversation-2022", starts=0), "conversation-2022")
    eka.sent(grant=eka.grant())
    eka.sent()


def test_a_refused_charge_is_no_start(three: list[Customer]) -> None:
    for ani in three:
        ani.refused(ani.line(Class.OUT_OF_WINDOW, PRICE + 1))
    assert three[0].rig.count("starts") == 0
    assert is_ok(paid(three[0]))
    assert is_ok(paid(three[1]))


def test_limits_outlive_a_restart_and_are_of_one_business(three: list[Customer]) -> None:
    ani, budi, citra = three
    rig = ani.rig
    assert is_ok(paid(ani))
    rig.restart()
    assert is_ok(paid(budi))
    assert not is_ok(paid(citra))
    rig.restart()
    assert not is_ok(paid(citra))
    other = customer(rig, rig.shop(starts=1), "reply-2018")
    assert is_ok(paid(other))
    # The operator raises the limit while the relay runs, and lowers it.
    rig.approve(ani.shop, "platform", starts=3)
    assert is_ok(paid(citra))
    rig.approve(ani.shop, "platform", starts=1)
    dewi = customer(rig, ani.shop, "reply-2018")
    assert not is_ok(paid(dewi))
    assert is_ok(paid(ani)), "within what was begun"
    rig.approve(ani.shop, "platform", starts=None)
    assert is_ok(paid(dewi))


def test_starts_are_swept_and_name_nobody(three: list[Customer]) -> None:
    ani = three[0]
    rig = ani.rig
    assert is_ok(paid(ani))
    ((tag, business, until),) = rig.store.connection.execute("SELECT * FROM starts").fetchall()
    assert len(tag) == 16
    assert business == ani.shop.id
    assert tag != rig.keys.start_tag(rig.shop().id, ani.box.id)
    assert until == START // HOUR + 25
    rig.now = until * HOUR - 1
    rig.tidy()
    assert rig.count("starts") == 1
    rig.now += 1
    rig.tidy()
    assert rig.count("starts") == 0


def test_an_unlimited_business_leaves_no_trace(rig: Rig) -> None:
    ani = customer(rig, rig.shop(starts=None), "reply-2018")
    assert is_ok(paid(ani))
    assert rig.count("starts") == 0


def test_what_is_left_is_told_with_the_terms(three: list[Customer]) -> None:
    ani, budi, citra = three
    rig = ani.rig

    def left() -> int | None:
        reply = rig.run(lambda rows: rig.registry.terms(rows, rig.moment, ani.shop.id, 1))
        assert isinstance(reply, TermsAre)
        return reply.starts_left

    assert left() == 2
    paid(ani)
    paid(ani)
    assert left() == 1
    paid(budi)
    paid(citra)
    assert left() == 0
    rig.now += DAY + HOUR
    assert left() == 2
    for tier, starts, expected in (("platform", None, None), ("small", 0, 0)):
        rig.approve(ani.shop, tier, starts=starts)
        assert left() == expected


def test_a_small_business_writes_to_256_customers_a_day(rig: Rig) -> None:
    shop = rig.shop("small", starts=0)
    customers = [customer(rig, shop, "reply-2018") for _ in range(SMALL_CUSTOMERS + 1)]

    def answered(ani: Customer) -> Result | None:
        rig.tick += 6
        return ani.submit(ani.sign(ani.line(Class.IN_WINDOW, 0), ani.grant()))

    assert all(is_ok(answered(ani)) for ani in customers[:-1])
    assert is_ok(answered(customers[0]))
    result = answered(customers[-1])
    assert not is_ok(result)
    assert result is not None
    assert (result.retry_after, result.left) == (DAY, 0)
    rig.now += DAY
    assert is_ok(answered(customers[-1]))


class Starting(RuleBasedStateMachine):
    """The counters in memory against a plain list of all that was accepted."""

    @initialize(limit=st.integers(0, 4))
    def begin(self, limit: int) -> None:
        self.stack = ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.rig = self.stack.enter_context(rig_in(Path(folder)))
        self.limit = limit
        self.shop = self.rig.shop(starts=limit)
        self.customers = [customer(self.rig, self.shop, "reply-2018") for _ in range(6)]
        self.ends: dict[int, int] = {}

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            self.stack.close()

    @rule(number=st.integers(0, 5))
    def write(self, number: int) -> None:
        now = self.rig.now
        counted = {who for who, end in self.ends.items() if end > now}
        expected = number in counted or len(counted) < self.limit
        result = paid(self.customers[number])
        assert is_ok(result) == expected
        if not expected:
            free_at = min(
                (self.ends[who] for who in counted), default=-(-(now + DAY) // HOUR) * HOUR
            )
            assert result is not None
            assert result.retry_after == free_at - now
        elif number not in counted:
            self.ends[number] = -(-(now + DAY) // HOUR) * HOUR

    @rule(seconds=st.sampled_from([1, MINUTE, HOUR - 1, HOUR, 6 * HOUR, DAY - 1]))
    def wait(self, seconds: int) -> None:
        self.rig.now += seconds

    @rule()
    def restart(self) -> None:
        self.rig.restart()

    @rule()
    def tidy(self) -> None:
        self.rig.tidy()

    @rule(limit=st.integers(0, 4))
    def other_terms(self, limit: int) -> None:
        self.limit = limit
        self.rig.approve(self.shop, "platform", starts=limit)


TestStarting = Starting.TestCase
TestStarting.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


# Who takes no marketing


def test_a_mailbox_that_takes_no_marketing(rig: Rig) -> None:
    shop = rig.shop(tariff="message-2025")
    ani = customer(rig, shop, "message-2025")
    reader = rig.connection()
    line = ani.line(Class.OUT_OF_WINDOW, 41_100, MK)
    marketing = 1 << MK

    def refuse(categories: int) -> str:
        (reply,) = reader.send(SetRefused(2, ani.box.id, categories))
        assert isinstance(reply, Results)
        (result,) = reply.results
        return "ok" if result is None else result.code

    assert refuse(marketing) == codes.NOT_AUTHORISED, "its reader alone"
    reader.send(Open(1, [ani.box.opening(rig.nonce)]))
    ani.taken(line)
    assert refuse(marketing) == "ok"
    refusal = ani.refused(line)
    assert (refusal.code, refusal.quote) == (RefusalCode.STOPPED_MARKETING, None)
    rig.restart()
    # Also in the window, in an entry window, and whatever the line says.
    ticket = rig.keys.ticket(shop.id, bytes(16), rig.now + DAY)
    shown = ani.came_by(ticket)
    assert ani.refused(ani.line(Class.ENTRY, 0, MK), **shown).code == 131_050
    ani.taken(ani.line(Class.OUT_OF_WINDOW, PRICE, UT))
    ani.taken(ani.line(Class.IN_WINDOW, 0, SV), ani.grant())
    # Others are not concerned, and it can be taken back.
    customer(rig, shop, "message-2025").sent(MK)
    assert refuse(0) == "ok"
    ani.taken(line)


@pytest.mark.parametrize("categories", [1, 2, 4, 16, 32, 128, 255])
def test_only_marketing_can_be_refused(rig: Rig, categories: int) -> None:
    ani = customer(rig, rig.shop(), "reply-2018")
    reader = rig.connection()
    reader.send(Open(1, [ani.box.opening(rig.nonce)]))
    (reply,) = reader.send(SetRefused(2, ani.box.id, categories))
    assert isinstance(reply, Results)
    (result,) = reply.results
    assert result is not None
    assert result.code == codes.MALFORMED
    ani.taken(ani.line(Class.OUT_OF_WINDOW, PRICE))


def test_where_no_category_is_named_it_changes_nothing(rig: Rig) -> None:
    ani = customer(rig, rig.shop(), "reply-2018")
    row = rig.row(ani.box)
    rig.run(lambda rows: rig.mailboxes.set_refused(rows, row, 1 << MK))
    ani.taken(ani.line(Class.OUT_OF_WINDOW, PRICE))
    refusal = ani.refused(ani.line(Class.OUT_OF_WINDOW, PRICE, MK))
    assert (refusal.code, refusal.quote is not None) == (RefusalCode.BAD_PARAMETER, True)
    rig.run(lambda rows: rig.mailboxes.delete(rows, [row]))
    gone = rig.run(lambda rows: rig.mailboxes.set_refused(rows, row, 0))
    assert gone is not None
    assert gone.code == codes.NO_MAILBOX
