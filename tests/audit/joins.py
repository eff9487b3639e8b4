"""An attempt to say which answer belongs to which message, from all that a database has of both.

Each column of a message's row is held against each of its answer's rows, over many pairs: values
in their order, blobs in theirs from either end, by length, and byte for byte; and where the rows
lie in the file. What is tested is the sum of products over the true pairs. Its mean and variance
under a random pairing within the strata are exact, its tail is taken as normal.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import mul
from typing import Final

from tests.audit.pages import Spot

Value = int | bytes | Spot
SIGNIFICANT: Final = 1e-3
WINDOW: Final = 8
"""Bytes that do not stand in two random blobs by chance."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A message and its answer: what stands in their rows, by name. Pairs of one stratum are those
    that an attacker could confuse: of one business, and alike in whole hours and counts."""

    stratum: tuple[object, ...]
    message: dict[str, Value]
    answer: dict[str, Value]


@dataclass(frozen=True, slots=True)
class Tie:
    """Two columns, how far the true pairs are from a random pairing in standard deviations, and the
    chance of being as far in any of the columns tried, at most."""

    message: str
    answer: str
    deviation: float
    chance: float


@dataclass(frozen=True, slots=True)
class _Column:
    """Centred within strata. ``squares`` are the sums of squares of the strata."""

    name: str
    is_byte: bool
    values: list[float]
    squares: list[float]


def ties(pairs: Sequence[Pair]) -> list[Tie]:
    """All pairs of columns that beat chance, the strongest first."""
    strata: dict[tuple[object, ...], list[int]] = {}
    for at, pair in enumerate(pairs):
        strata.setdefault(pair.stratum, []).append(at)
    groups = [group for group in strata.values() if len(group) > 1]
    free = [1 / (len(group) - 1) for group in groups]
    left = list(_columns([pair.message for pair in pairs], groups))
    right = list(_columns([pair.answer for pair in pairs], groups))
    found: list[tuple[float, str, str]] = []
    for one in left:
        weights = list(map(mul, one.squares, free))
        for other in right:
            if one.is_byte and other.is_byte:
                continue
            variance = sum(map(mul, weights, other.squares))
            if variance > 0:
                total = sum(map(mul, one.values, other.values))
                found.append((total / math.sqrt(variance), one.name, other.name))
    tried = len(found)
    chances = [
        Tie(one, other, z, min(1.0, tried * math.erfc(abs(z) / math.sqrt(2))))
        for z, one, other in found
    ]
    beat = [tie for tie in chances if tie.chance < SIGNIFICANT]
    return sorted(beat, key=lambda tie: -abs(tie.deviation))


def shared(pairs: Sequence[Pair]) -> list[str]:
    """Columns of messages that have bytes in common with their answers' rows."""
    found: list[str] = []
    for pair in pairs:
        answer = {
            window
            for value in pair.answer.values()
            if isinstance(value, bytes)
            for window in _windows(value)
        }
        found += [
            name
            for name, value in pair.message.items()
            if isinstance(value, bytes) and answer.intersection(_windows(value))
        ]
    return found


def _windows(value: bytes) -> Iterator[bytes]:
    for at in range(len(value) - WINDOW + 1):
        yield value[at : at + WINDOW]


def _columns(rows: Sequence[dict[str, Value]], groups: list[list[int]]) -> Iterator[_Column]:
    for name in sorted({name for row in rows for name in row}):
        for label, values in _numbers(name, [row.get(name) for row in rows]):
            column = _centred(label, values, groups)
            if any(column.squares):
                yield column


def _numbers(name: str, values: list[Value | None]) -> Iterator[tuple[str, list[float | None]]]:
    """What of a column can be put in an order; ``None`` where there is nothing."""
    spots = [value if isinstance(value, Spot) else None for value in values]
    blobs = [value if isinstance(value, bytes) else None for value in values]
    if any(spots):
        yield f"{name} page", _ranks([spot and spot.page for spot in spots])
        yield f"{name} overflow", _ranks([spot and (spot.overflow or None) for spot in spots])
        yield f"{name} offset", _within_pages(spots)
    elif any(blob is not None for blob in blobs):
        yield name, _ranks(blobs)
        yield f"{name} from its end", _ranks([blob and blob[::-1] for blob in blobs])
        yield f"{name} length", [None if blob is None else float(len(blob)) for blob in blobs]
        if name != "envelopes.body":  # the relay stores what clients encrypted
            for at in range(min(len(blob) for blob in blobs if blob is not None)):
                yield f"{name} byte {at}", [None if blob is None else blob[at] for blob in blobs]
    else:
        yield name, _ranks([value if isinstance(value, int) else None for value in values])


def _ranks(values: Sequence[int | bytes | None]) -> list[float | None]:
    place = {value: float(at) for at, value in enumerate(sorted({*values} - {None}))}  # type: ignore[type-var]
    return [None if value is None else place[value] for value in values]


def _within_pages(spots: Sequence[Spot | None]) -> list[float | None]:
    """Offsets against the mean of their page: pages lie in no order of one another."""
    pages: dict[int, list[int]] = {}
    for spot in spots:
        if spot is not None:
            pages.setdefault(spot.page, []).append(spot.offset)
    means = {page: sum(offsets) / len(offsets) for page, offsets in pages.items()}
    return [None if spot is None else spot.offset - means[spot.page] for spot in spots]


def _centred(name: str, values: list[float | None], groups: list[list[int]]) -> _Column:
    centred, squares = [0.0] * len(values), []
    for group in groups:
        there = [(at, value) for at in group if (value := values[at]) is not None]
        mean = sum(value for _, value in there) / len(there) if there else 0.0
        for at, value in there:
            centred[at] = value - mean
        squares.append(sum((value - mean) ** 2 for _, value in there))
    return _Column(name, " byte " in name, centred, squares)
