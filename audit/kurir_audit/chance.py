"""Chance: how improbable a number of occurrences is, given a baseline run.

A word of three bytes stands in a few megabytes of ciphertext by accident, sometimes twice. Whether
there are *more* than accident explains is a question of probability, and these are its formulas.
All err towards the higher probability, that is, against raising an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

FALSE_ALARM: Final = 1e-6
"""Chance of one false alarm in a whole search, however many terms and places it has."""
FALSE_DOUBT: Final = 1e-2
"""Chance that a whole search without a baseline leaves a mere accident in ciphertext unjudged."""
TEXT_SYMBOLS: Final = 16
"""Text is taken to have no more different characters than this (and numbers ten), all of them
equally frequent: that makes accidents more frequent than they are in most text."""
TOLERANCE: Final = 2.0
"""Two runs of one demo differ in their mixture of text and ciphertext, so a word may be up to this
much more frequent in the one than in the other before anything follows from it."""


def pair_tail(count: int, size: int, base_count: int, base_size: int) -> float:
    """An upper bound of the chance that of ``count + base_count`` occurrences at least ``count``
    fall into this run, if they fall by accident.

    Two Poisson counts with their sum given: the first is binomial with the share of the run's size.
    The bound is Chernoff's, ``exp(-n KL(k/n, share))``.
    """
    total = count + base_count
    if total == 0:
        return 1.0
    share = TOLERANCE * size / (TOLERANCE * size + base_size) if base_size else 1.0
    observed = count / total
    if observed <= share:
        return 1.0
    divergence = observed * math.log(observed / share)
    if observed < 1.0:
        divergence += (1.0 - observed) * math.log((1.0 - observed) / (1.0 - share))
    return math.exp(-total * divergence)


def model_tail(count: int, expected: float) -> float:
    """The chance of ``count`` or more where ``expected`` are expected from a rate that itself is
    only an estimate: a Poisson count whose rate is exponentially distributed is geometric."""
    rate = TOLERANCE * expected
    return (rate / (1.0 + rate)) ** count


def expected_in_ciphertext(length: int, size: int) -> float:
    """Occurrences of a word of ``length`` bytes in ``size`` uniformly random ones."""
    return size * 256.0**-length


def expected_in_text(needle: bytes, size: int) -> float:
    """Occurrences to expect in ``size`` bytes of text of which nothing is known, rather too many.
    A guess: fewer than that prove nothing, so they are no reason to call a word an accident."""
    symbols = 10 if needle.isdigit() else TEXT_SYMBOLS
    return size * float(symbols) ** -len(needle)


def expected_by_model(
    needle: bytes, size: int, base_size: int, base_count: Callable[[bytes], int]
) -> float:
    """Occurrences to expect in ``size`` bytes of a word that the baseline never showed, from how
    often the baseline has its pairs of neighbouring bytes (a first-order Markov chain).

    Pairs, because a place is a mixture: digits follow digits in text, and anything follows anything
    in ciphertext. ``base_count`` counts in the baseline only, so that what was planted in the run
    cannot excuse itself.
    """
    if not needle or base_size == 0:
        return 0.0

    def frequency(data: bytes) -> float:
        # At least half an occurrence: absence from a finite baseline is not impossibility.
        return max(float(base_count(data)), 0.5)

    if len(needle) == 1:
        return frequency(needle) * size / base_size
    expected = frequency(needle[:2])
    for at in range(1, len(needle) - 1):
        middle = needle[at : at + 1]
        expected *= min(1.0, frequency(needle[at : at + 2]) / frequency(middle))
    return expected * size / base_size
