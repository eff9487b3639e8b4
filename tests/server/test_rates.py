"""Token buckets: the burst at once, then the steady rate, to the second, and true refusals."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kurir_server.pace import LIMITS
from kurir_server.rates import Allowance, Buckets, Rate, Toll, TooFast, admit
from kurir_wire.limits import BUCKETS, MAX_FRAME, MAX_ITEMS

RATE = Rate(per_second=0.5, burst=4)
RULES = settings(max_examples=300, deadline=None, derandomize=True)

rates = st.builds(
    Rate,
    per_second=st.sampled_from([0.001, 1 / 86.4, 1 / 40, 1 / 6, 0.3, 0.5, 1.0, 5.0, 65_536.0]),
    burst=st.integers(8, 100),
)
times = st.floats(0, 1e6)


def test_an_allowance() -> None:
    allowance = Allowance(RATE)
    assert allowance.take(100.0, 3) is None
    assert allowance.take(100.0, 2) == TooFast(2, 1)
    assert allowance.take(100.0) is None
    assert allowance.take(101.9) == TooFast(1, 0), "half a token is none"
    assert allowance.take(102.0) is None
    assert allowance.take(10_000.0, 5) == TooFast(2, 4), "never above the burst"
    assert allowance.take(10_000.0, 4) is None
    assert allowance.take(9_000.0) == TooFast(2, 0), "a clock that goes back"
    allowance.spend(10_000.0, -9)
    assert allowance.take(10_000.0, 5) == TooFast(2, 4), "what is given back is no more than all"


def test_buckets_give_all_or_nothing() -> None:
    buckets: Buckets[str] = Buckets(RATE, 10)
    assert buckets.take("a", 0.0, 5) == TooFast(2, 4)
    assert buckets.take("a", 0.0, 4) is None
    assert buckets.take("b", 0.0, 4) is None, "each has its own"
    assert buckets.look("a", 0.0) == TooFast(2, 0)
    assert buckets.look("a", 0.0, 4) == TooFast(8, 0)
    assert buckets.look("a", 1.9) == TooFast(1, 0)
    assert buckets.look("a", 2.0) is None
    assert buckets.look("a", 2.0) is None, "looking takes nothing"
    assert buckets.take("a", 2.0) is None
    assert buckets.take("a", 2.0) == TooFast(2, 0)


def test_buckets_are_bounded_and_full_ones_forgotten() -> None:
    buckets: Buckets[int] = Buckets(RATE, 3)
    for key in range(5):
        assert buckets.take(key, float(key), 4) is None
    assert len(buckets) == 3
    assert buckets.look(1, 4.0) is None, "the one unused for longest is forgotten"
    assert buckets.look(4, 4.0) is not None
    buckets.prune(10.0)
    assert len(buckets) == 2
    buckets.prune(12.0)
    assert len(buckets) == 0


def test_full_buckets_are_forgotten_as_others_are_used() -> None:
    buckets: Buckets[str] = Buckets(RATE, 10)
    for key, now in (("a", 0.0), ("b", 1.0), ("c", 1.9)):
        assert buckets.take(key, now) is None
    assert len(buckets) == 3, "none is full yet"
    assert buckets.take("d", 3.0) is None
    assert len(buckets) == 2, "a and b are full again"
    assert buckets.look("c", 3.0, 4) is not None


def test_who_is_refused_keeps_its_place() -> None:
    narrow, wide = Allowance(RATE), Allowance(Rate(10.0, 100))
    queue = [
        [Toll(narrow, 3), Toll(wide, 1)],
        [Toll(narrow, 2)],
        [Toll(narrow, 1)],
        [Toll(wide, 9)],
    ]
    assert admit(queue, 0.0) == [None, TooFast(2, 0), TooFast(4, 1), None]
    assert narrow.level(0.0) == 1
    assert wide.level(0.0) == 90


def test_what_floating_point_loses_is_not_held_against_anybody() -> None:
    allowance = Allowance(Rate(0.3, 10))
    assert allowance.take(9_999.7, 10) is None
    assert allowance.take(10_007.7, 4) == TooFast(6, 2)
    assert allowance.take(10_007.7, 2) is None
    slow = allowance.look(10_007.7, 4)
    assert slow is not None
    assert allowance.take(10_007.7 + slow.retry_after, 4) is None
    allowance = Allowance(Rate(1 / 86.4, 10))
    assert allowance.take(0.1, 10) is None
    assert allowance.take(93.1, 1) is None
    slow = allowance.look(93.1, 4)
    assert slow == TooFast(339, 0)
    assert allowance.take(93.1 + 339, 4) is None


@RULES
@given(rate=rates, start=times, spent=st.integers(0, 100), count=st.integers(1, 8))
def test_whoever_waits_as_told_is_let_through(
    rate: Rate, start: float, spent: int, count: int
) -> None:
    allowance = Allowance(rate)
    allowance.spend(start, spent)
    slow = allowance.take(start, count)
    if slow is None:
        return
    assert slow.left < count
    if slow.left:
        assert allowance.look(start, slow.left) is None, "what is said to be left is there"
    assert allowance.look(start, slow.left + 1) is not None, "and no more"
    assert slow.retry_after == 1 or allowance.look(start + slow.retry_after - 1, count) is not None
    assert allowance.take(start + slow.retry_after, count) is None


@RULES
@given(
    pair=st.tuples(rates, rates),
    start=times,
    spent=st.tuples(st.integers(0, 100), st.integers(0, 100)),
    costs=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)).filter(any), max_size=8),
)
def test_a_whole_queue_gets_through_when_told(
    pair: tuple[Rate, Rate],
    start: float,
    spent: tuple[int, int],
    costs: list[tuple[int, int]],
) -> None:
    buckets = [Allowance(rate) for rate in pair]
    for bucket, count in zip(buckets, spent, strict=True):
        bucket.spend(start, count)
    before = [bucket.level(start) for bucket in buckets]
    queue = [
        [Toll(bucket, n) for bucket, n in zip(buckets, cost, strict=True) if n] for cost in costs
    ]
    answers = admit(queue, start)
    taken = [
        sum(cost[i] for cost, answer in zip(costs, answers, strict=True) if answer is None)
        for i in range(2)
    ]
    for bucket, level, count in zip(buckets, before, taken, strict=True):
        assert level - count > -1e-5, "nothing is let through that was not there"
        assert abs(bucket.level(start) - max(0.0, level - count)) < 1e-5
    waiting = [(tolls, slow) for tolls, slow in zip(queue, answers, strict=True) if slow]
    if waiting and waiting[0][1].left:
        tolls, slow = waiting[0]
        assert not any(toll.bucket.look(start, slow.left * toll.count) for toll in tolls)
    # Each again at its own time, as a client does that keeps several in flight.
    for tolls, slow in sorted(waiting, key=lambda item: item[1].retry_after):
        assert admit([tolls], start + slow.retry_after) == [None]


def test_every_rate_lets_the_largest_request_through() -> None:
    """Otherwise it would be told to come again for ever."""
    assert max(BUCKETS) < MAX_FRAME
    for deed, limit in LIMITS.items():
        largest = MAX_FRAME if deed.name == "STORE" else 1
        if deed.name in ("CREATE", "SIGN"):
            largest = MAX_ITEMS
        for rate in (limit.connection, limit.network):
            assert rate is None or rate.burst >= largest, deed
