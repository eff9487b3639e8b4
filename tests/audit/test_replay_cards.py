"""``kurir-audit bill``: by which rate card a message is priced."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from kurir_audit.cli import run
from kurir_billing.ratecard import bundled, canonical
from tests.audit.trace import DAY, FREE, HOUR, NEW_YEAR, Bill, Row, T, kinds, sent, wrote

Install = Callable[..., tuple[str, str]]


@pytest.fixture
def install(tmp_path: Path) -> Install:
    """Write a card that differs from the bundled one in the prices of ``ID``."""

    def written(version: int, since: int, utility: int, **more: Any) -> tuple[str, str]:
        value = json.loads(canonical(bundled()))
        value |= {"version": version, "effective_from": since}
        value["markets"]["ID"] |= {"utility": utility, "marketing": 2 * utility, **more}
        card = tmp_path / f"card-{version}-{since}.json"
        card.write_text(json.dumps(value, indent=2))
        return "--card", str(card)

    return written


def test_other_prices(bill: Bill, install: Install) -> None:
    more = install(1, 0, 25_000, utility_steps=[{"above": 1, "micro_usd": 5}])
    rows = [sent(T + n, str(n)) for n in range(3)]
    assert kinds(bill("message-2025", *rows, more=more)) == {"0": 25_000, "1": 5, "2": 5}
    assert kinds(bill("message-2025", *rows)) == {"0": 25_000, "1": 25_000, "2": 25_000}


def test_a_single_card_prices_everything(bill: Bill, install: Install) -> None:
    more = install(7, NEW_YEAR, 7)
    assert kinds(bill("reply-2018", sent(T, "m"), more=more)) == {"m": 7}


def test_a_message_is_priced_by_the_card_in_force_when_it_was_accepted(
    bill: Bill, install: Install
) -> None:
    cards = [install(3, T + 20, 3), install(2, T + 30, 2), install(1, T + 10, 1)]
    cards.append(install(4, T + 40, 4))
    out, settled = sent(T + 39, "39")
    late = [out, {**settled, "t": T + 5 * DAY}]
    rows = [late, *(sent(T + t, str(t)) for t in (0, 9, 10, 19, 20, 30, 40))]
    wanted = {"0": 1, "9": 1, "10": 1, "19": 1, "20": 3, "30": 3, "39": 3, "40": 4}
    for order in permutations(cards):
        more = tuple(part for card in order for part in card)
        assert kinds(bill("reply-2018", *rows, more=more)) == wanted


def test_of_cards_that_come_into_force_together_the_higher_version_counts(
    bill: Bill, install: Install
) -> None:
    for cards in permutations((install(1, T, 1), install(2, T, 2))):
        rows = [sent(T - 1, "before"), sent(T, "at")]
        found = bill("reply-2018", *rows, more=(*cards[0], *cards[1]))
        assert kinds(found) == {"before": 2, "at": 2}


def test_a_conversation_over_a_change_of_cards_costs_what_settles_first(
    bill: Bill, install: Install
) -> None:
    quota = [row for n in range(1_000) for row in sent(T, f"used {n}", usr=f"other {n}")]
    more = (*install(1, 0, 100), *install(2, T + 2 * HOUR, 30))
    talk = [sent(T + HOUR, "a"), sent(T + 2 * HOUR, "b")]
    found = kinds(bill("conversation-2022", quota, wrote(T), *talk, more=more))
    assert (found["a"], found["b"]) == (100, "covered")
    talk[0][1]["t"] = T + DAY
    found = kinds(bill("conversation-2022", quota, wrote(T), *talk, more=more))
    assert (found["a"], found["b"]) == ("covered", 30)


def test_quota_and_tiers_go_on_over_a_change_of_cards(bill: Bill, install: Install) -> None:
    def tiers(low: int) -> list[Row]:
        return [{"above": 2, "micro_usd": low}]

    more = (
        *install(1, 0, 100, utility_steps=tiers(10)),
        *install(2, T + 2, 50, utility_steps=tiers(5)),
    )
    rows = [sent(T + n, str(n)) for n in range(4)]
    assert kinds(bill("message-2025", *rows, more=more)) == {"0": 100, "1": 100, "2": 5, "3": 5}
    free = [sent(T, f"free {n}", "service") for n in range(999)]
    last, beyond = sent(T + 2, "last", "service"), sent(T + 3, "beyond", "service")
    found = kinds(bill("message-2026", wrote(T), *free, last, beyond, more=more))
    assert {name: kind for name, kind in found.items() if kind != FREE} == {"beyond": 50}


def test_a_country_belongs_to_the_market_of_the_card_in_force(bill: Bill, install: Install) -> None:
    more = (*install(1, 0, 100), *install(2, T, 50, countries=["ID", "SG"]))
    rows = [sent(T - 1, "before", cc="SG"), sent(T, "after", cc="SG")]
    assert kinds(bill("reply-2018", *rows, more=more)) == {"before": 7_700, "after": 50}


def test_two_cards_of_one_version_are_refused(
    tmp_path: Path, install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "events.jsonl").write_text("")
    cards = (*install(2, 0, 1), *install(1, 0, 1), *install(2, T, 2))
    command = ["bill", str(tmp_path / "events.jsonl"), "--tariff", "flat"]
    assert run([*command, *cards]) == 2
    error = capsys.readouterr().err.splitlines()[0]
    assert "card-2-0.json and " in error
    assert "card-2-" in error.split(" and ")[1]
    assert error.endswith("version 2")
    assert run([*command, *cards[:4]]) == 0
