"""A replay of generated events against a plain oracle."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from kurir_audit.card_files import Cards as CardsInTime
from kurir_audit.errors import AuditError
from kurir_audit.events import read_events
from kurir_audit.replay import replay
from kurir_billing.ratecard import RateCard, bundled
from kurir_billing.tariffs import TARIFFS
from tests.audit.replay_oracle import ONE_CARD, Cards, expected
from tests.audit.trace import ASKING, COVERED, DAY, ENTRY, FREE, HOUR, NEW_YEAR, Row, kinds

EDGES = (0, 1, 59, 60, 61, 86_399, 86_400, 86_401, 259_199, 259_200, 259_201)
SETTLED = (0, 1, 59, 60, HOUR, 2_591_999, 2_592_000, 2_592_001, -1)


def generated(draw: random.Random, messages: int) -> list[Row]:
    """A few chats whose events lie an edge apart, forwards and backwards, around a month's end."""
    times = [NEW_YEAR + draw.choice((-1, 0, 1)) - draw.choice((0, 0, 86_399, 86_400, 259_200))]
    rows: list[Row] = []
    sure = draw.random()
    for n in range(messages):
        t = draw.choice(times[-4:]) + draw.choice((1, 1, 1, -1)) * draw.choice(EDGES)
        times.append(t)
        chat = {"biz": draw.choice("aab"), "usr": draw.choice("xxy"), "t": t}
        for _ in range(draw.choice((0, 0, 1, 2))):
            at = t - draw.choice(EDGES)
            rows.append(
                {**chat, "k": "in", "id": f"i{len(rows)}", "t": at, "ref": draw.random() < sure}
            )
        if draw.random() < 0.1:
            rows.append({**chat, "k": draw.choice(("block", "unblock"))})
        cls = draw.choice(("service", "utility", "marketing", "authentication"))
        cc = draw.choice(("ID", "DE", "ca", "FR"))
        rows.append({**chat, "k": "out", "id": f"m{n}", "cls": cls, "cc": cc})
        if draw.random() < 0.9:
            rows += [
                {"k": "dlv", "id": f"m{n}", "t": t + draw.choice(SETTLED)}
                for _ in range(draw.choice((1, 1, 1, 2, 3)))
            ]
    rows += draw.sample(rows, k=len(rows) // 10)
    rows += [elsewhen(draw, row) for row in draw.sample(unlike(rows), k=len(rows) // 10)]
    draw.shuffle(rows)
    return rows


def unlike(rows: list[Row]) -> list[Row]:
    """One of each kind and id, and all that have no id."""
    return list({(row["k"], row.get("id", n)): row for n, row in enumerate(rows)}.values())


def elsewhen(draw: random.Random, row: Row) -> Row:
    """Another line of the same id in another second, often with other content."""
    other = {**row, "t": row["t"] + draw.choice((-DAY, -1, 1, DAY))}
    changes: Row = {"usr": "y", "biz": "a", "cc": "DE", "cls": "marketing", "ref": True}
    if row["k"] in ("in", "out"):
        names = [name for name in changes if name in row and draw.random() < 0.3]
        other |= {name: changes[name] for name in names}
    return other


def some_cards(draw: random.Random, rows: list[Row]) -> Cards:
    """Up to three rate cards that come into force at an event or between."""
    versions = draw.sample((1, 2, 3), k=draw.choice((1, 2, 3)))
    return {
        version: (max(0, draw.choice(rows)["t"] + draw.choice((-1, 0, 1))), 10**version)
        for version in versions
    }


def dearer(version: int, since: int, times: int) -> RateCard:
    card = bundled()
    markets = {
        name: structs.replace(
            rates,
            marketing=rates.marketing * times,
            utility=rates.utility * times,
            authentication=rates.authentication * times,
        )
        for name, rates in card.markets.items()
    }
    return structs.replace(card, version=version, effective_from=since, markets=markets)


def replayed(
    folder: Path, rows: list[Row], tariff: str, quota: int, cards: Cards = ONE_CARD
) -> list[Row]:
    """What the replay makes of them, with a quota that a few messages reach."""
    file = folder / "events.jsonl"
    file.write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    rule = TARIFFS[tariff]
    if rule.quota is not None:
        rule = replace(rule, quota=replace(rule.quota, count=quota))
    events = read_events(file, asks_category=rule.asks_category)
    known = CardsInTime([dearer(version, *card) for version, card in cards.items()])
    return [msgspec.to_builtins(row) for row in replay(events, rule, known)]


@pytest.mark.parametrize("tariff", TARIFFS)
def test_25_000_messages_at_the_edges_against_the_oracle(tmp_path: Path, tariff: str) -> None:
    draw = random.Random(tariff)
    cases = 0
    seen: set[object] = set()
    while cases < 25_000:
        rows = generated(draw, 25)
        quota = draw.choice((0, 1, 2, 5))
        cards = some_cards(draw, rows) if draw.random() < 0.3 else ONE_CARD
        found = replayed(tmp_path, rows, tariff, quota, cards)
        assert found == expected(rows, tariff, quota, cards)
        cases += 25
        seen.update(kinds(found).values())
    if tariff in ASKING:
        assert {131_026, 131_047, ENTRY, FREE, 41_100, 25_000} <= seen
    if tariff == "conversation-2022":
        assert {131_026, COVERED, FREE, 41_100, 25_000} <= seen


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.sampled_from(sorted(TARIFFS)))
def test_order_and_copies_of_lines_change_nothing(
    tmp_path: Path, draw: random.Random, tariff: str
) -> None:
    rows = generated(random.Random(draw.randrange(10_000)), 12)
    cards = some_cards(draw, rows)
    first = replayed(tmp_path, rows, tariff, 2, cards)
    again = rows + draw.choices(rows, k=10)
    draw.shuffle(again)
    versions = list(cards)
    draw.shuffle(versions)
    mixed = {version: cards[version] for version in versions}
    assert replayed(tmp_path, again, tariff, 2, mixed) == first


def test_a_difference_would_show(tmp_path: Path) -> None:
    rows = generated(random.Random(1), 25)
    assert replayed(tmp_path, rows, "message-2025", 1) != expected(rows, "message-2026", 1)
    with pytest.raises(AuditError):
        replayed(tmp_path, [*rows, {"k": "dlv", "id": "m0", "t": -1}], "flat", 1)
