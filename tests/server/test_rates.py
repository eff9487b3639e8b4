"""Token buckets: the burst at once, then the steady rate, to the second."""

from __future__ import annotations

from kurir_server.rates import Allowance, Buckets, Rate, TooFast

RATE = Rate(per_second=0.5, burst=4)


def test_an_allowance_gives_what_there_is() -> None:
    allowance = Allowance(RATE)
    assert allowance.take_up_to(100.0, 3) == (3, None)
    assert allowance.take_up_to(100.0, 3) == (1, TooFast(2, 0))
    assert allowance.take_up_to(101.9, 1) == (0, TooFast(1, 0)), "half a token is none"
    assert allowance.take_up_to(102.0, 1) == (1, None)
    assert allowance.take_up_to(102.0, 1) == (0, TooFast(2, 0))
    assert allowance.take_up_to(106.0, 9) == (2, TooFast(2, 0))
    assert allowance.take_up_to(10_000.0, 9) == (4, TooFast(2, 0)), "never above the burst"
    assert allowance.take_up_to(9_000.0, 1) == (0, TooFast(2, 0)), "a clock that goes back"


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
