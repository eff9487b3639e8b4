"""The formulas of chance, against exact values and simulation."""

from __future__ import annotations

import math
import random

import pytest

from kurir_audit.chance import TOLERANCE, expected_by_model, model_tail, pair_tail


def exact_tail(count: int, total: int, share: float) -> float:
    return sum(
        math.comb(total, k) * share**k * (1 - share) ** (total - k) for k in range(count, total + 1)
    )


@pytest.mark.parametrize(("count", "base"), [(1, 1), (3, 1), (12, 1), (40, 3), (90, 20), (5, 0)])
def test_the_pair_bound_is_never_below_the_exact_tail(count: int, base: int) -> None:
    share = TOLERANCE / (TOLERANCE + 1)
    bound = pair_tail(count, 1_000, base, 1_000)
    assert exact_tail(count, count + base, share) <= bound <= 1.0


def test_the_pair_bound_knows_sizes() -> None:
    assert pair_tail(40, 100, 4, 1_000) < pair_tail(40, 100, 4, 100) < 1
    assert pair_tail(40, 10_000, 4, 100) == 1.0
    assert pair_tail(0, 10, 0, 10) == 1.0
    assert pair_tail(1_000, 10, 1, 10) < 1e-100


def test_the_model_expects_what_ciphertext_has() -> None:
    rng = random.Random(5)
    base = rng.randbytes(1_000_000)
    found = [
        expected_by_model(rng.randbytes(3), 4_000_000, len(base), base.count) for _ in range(100)
    ]
    assert sum(found) / len(found) == pytest.approx(4_000_000 / 256**3, rel=0.2)


def test_the_model_knows_that_digits_follow_digits() -> None:
    rng = random.Random(5)
    base = " ".join(str(rng.randrange(10**6)) for _ in range(300)).encode()
    word = next(w for n in range(1_000, 10_000) if (w := str(n).encode()) not in base)
    expected = expected_by_model(word, len(base), len(base), base.count)
    assert 0.01 < expected < 5  # uniform bytes would give 5e-7


def test_the_model_tail() -> None:
    assert model_tail(1, 0.0) == 0.0
    assert model_tail(0, 0.0) == 1.0
    assert model_tail(1, 1e-6) == pytest.approx(2e-6, rel=1e-3)
    assert model_tail(3, 5.0) > 0.5
