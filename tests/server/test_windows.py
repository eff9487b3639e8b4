"""Windows at the relay, to the second, under every tariff."""

from __future__ import annotations

import pytest

from kurir_billing.kinds import Category, Class, RefusalCode
from kurir_wire.ids import DAY, HOUR, MINUTE
from tests.server.customers import customer
from tests.server.rig import START, Rig

OPEN = {
    "flat": (Class.IN_WINDOW, 0, 0),
    "reply-2018": (Class.IN_WINDOW, 0, 25_000),
    "conversation-2022": (Class.IN_WINDOW, 25_000, 41_100),
    "message-2025": (Class.IN_WINDOW, 0, 25_000),
    "message-2026": (Class.IN_WINDOW, 25_000, 25_000),
}
"""Per tariff: class and price of a utility message inside the window, and the price outside."""


@pytest.mark.parametrize("tariff", OPEN)
@pytest.mark.parametrize(
    ("after", "is_open"), [(0, True), (86_399, True), (86_400, False), (86_401, False)]
)
def test_windows_count_from_the_start_of_the_beacons_minute(
    rig: Rig, tariff: str, after: int, is_open: bool
) -> None:
    klass, inside, outside = OPEN[tariff]
    ani = customer(rig, rig.shop(tariff=tariff), tariff)
    category = Category.UTILITY if tariff.startswith("message") else Category.NONE
    rig.now = START + MINUTE - 1
    grant = ani.grant()  # the customer writes in the last second of the minute
    assert grant.opens_at == START
    rig.now = START + after
    right = ani.line(klass, inside, category)
    if not is_open and tariff != "flat":
        refusal = ani.refused(right, grant)
        assert refusal.code == RefusalCode.OUTSIDE_WINDOW
        right = ani.line(Class.OUT_OF_WINDOW, outside, category)
        assert refusal.quote is not None
        assert refusal.quote.line == right
    ani.taken(right, grant)


@pytest.mark.parametrize("tariff", ["message-2025", "message-2026"])
@pytest.mark.parametrize(("after", "is_open"), [(86_399, True), (86_400, False), (86_401, False)])
def test_service_is_sold_inside_the_window_only(
    rig: Rig, tariff: str, after: int, is_open: bool
) -> None:
    ani = customer(rig, rig.shop(tariff=tariff), tariff)
    grant = ani.grant()
    rig.now = START + after
    price = 0 if tariff == "message-2025" else 25_000
    line = ani.line(Class.IN_WINDOW, price, Category.SERVICE)
    if is_open:
        ani.taken(line, grant)
        return
    refusal = ani.refused(line, grant)
    assert (refusal.code, refusal.quote) == (RefusalCode.OUTSIDE_WINDOW, None)
    ani.taken(line, ani.grant())


def test_a_newer_grant_extends_and_an_older_one_shortens_nothing(rig: Rig) -> None:
    ani = customer(rig, rig.shop(), "reply-2018")
    old = ani.grant()
    rig.now = START + HOUR
    new = ani.grant()
    free, late = ani.line(Class.IN_WINDOW, 0), ani.line(Class.OUT_OF_WINDOW, 25_000)
    rig.now = START + DAY
    ani.taken(late, old)
    ani.taken(free, new)
    ani.taken(late, old)
    ani.taken(free, new)
    rig.now = START + DAY + HOUR
    ani.taken(late, new)


def test_a_grant_for_a_minute_to_come_opens_nothing(rig: Rig) -> None:
    """Nobody can make one, as its beacon is not out; if somebody could, it would not be open."""
    ani = customer(rig, rig.shop(), "reply-2018")
    early = ani.grant(beacon=rig.keys.beacon(START // MINUTE + 1))
    free = ani.line(Class.IN_WINDOW, 0)
    rig.now = START + MINUTE - 1
    assert ani.refused(free, early).code == RefusalCode.OUTSIDE_WINDOW
    rig.now += 1
    ani.taken(free, early)
