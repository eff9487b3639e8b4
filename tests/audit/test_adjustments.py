"""Adjustments in an exported ledger: honest ones add up, and each false one is named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kurir_audit import ledger
from kurir_audit.cli import run
from kurir_billing.adjust import Adjust
from kurir_billing.errors import LedgerError
from kurir_billing.kinds import Category
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import adjust_hash, entry_hash
from kurir_billing.ledger_file import Closed, Part, PriceList, read_part, write_part
from tests.audit.test_ledger import OTHER_RELAY, RELAY, TWO, fault, leaves_of, write
from tests.protocol.make import TODAY, TestBusiness, b32
from tests.protocol.reported import CARD, make_reported

SHOP = TestBusiness()
GOOD = make_reported(RELAY, SHOP, day=TODAY)
MARKETING = CARD.rates("ID").marketing
Entries = Sequence[Leaf | Adjust]


def tree_hash(entry: Leaf | Adjust) -> bytes:
    if isinstance(entry, Adjust):
        return adjust_hash(entry, RELAY.id)
    return entry_hash(entry, RELAY.id)


def parts_of(*days: tuple[int, Entries]) -> list[Part]:
    """What a relay exports that signs whatever it has."""
    parts: list[Part] = [RELAY.cert(), PriceList(RELAY.rate_card()[0])]
    hashes: list[bytes] = []
    for day, entries in days:
        ordered = sorted(entries, key=tree_hash)
        parts += ordered
        hashes += map(tree_hash, ordered)
        parts.append(Closed(day, RELAY.note(hashes)))
    return parts


def honest(*adjusts: Adjust) -> list[Part]:
    """A leaf among others, and adjustments of the day after."""
    return parts_of((TODAY, [*leaves_of(TODAY), GOOD.leaf]), (TODAY + 1, adjusts))


def test_an_adjustment_counts_in_the_month_of_its_ruling(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ruled = GOOD.adjust(day=TODAY + 40)
    parts = parts_of((TODAY, [*leaves_of(TODAY), GOOD.leaf]), (TODAY + 40, [ruled]))
    file = write(tmp_path / "export", parts)
    assert run(["ledger", str(file), "--json"]) == 0
    (value,) = json.loads(capsys.readouterr().out)["files"]
    assert (value["leaves"], value["adjustments"], value["checkpoints"]) == (7, 1, 2)
    bills = [bill for bill in value["bills"] if bill["business"] == SHOP.id.hex()]
    assert bills[1] == {
        "business": SHOP.id.hex(),
        "month": "2026-02",
        "count": 0,
        "subtotal_micro_usd": 0,
        "fee_micro_usd": 0,
        "adjustments_micro_usd": MARKETING,
        "total_micro_usd": MARKETING,
    }
    assert (bills[0]["month"], bills[0]["adjustments_micro_usd"]) == ("2026-01", 0)
    assert run(["ledger", str(file)]) == 0
    assert "7 settled charges, 1 adjustments, 2 checkpoints" in capsys.readouterr().out


@pytest.mark.parametrize("text", [f"offer {number}" for number in range(8)])
def test_one_of_the_same_day_may_stand_before_its_leaf(tmp_path: Path, text: str) -> None:
    """Within a day the order is that of hashes, whichever comes first."""
    made = make_reported(RELAY, SHOP, text, text=text)
    parts = parts_of((TODAY, [made.leaf, made.adjust(day=TODAY)]))
    account = ledger.examine(write(tmp_path / "export", parts))
    assert account.fault is None
    assert account.adjustments == 1


FALSE: dict[str, tuple[dict[str, Any], str]] = {
    "more than is due": ({"delta_micro_usd": MARKETING + 1}, "where the rate card says"),
    "of no leaf here": ({"leaf": b32("nowhere")}, "a charge that is not in this ledger"),
    "of another business": ({"business_id": TWO.id}, "of another charge"),
    "of its own category": ({"category": int(Category.UTILITY)}, "that the charge has"),
    "of an unknown category": ({"category": 99}, "no adjustment of the operator's"),
}


@pytest.mark.parametrize("what", FALSE)
def test_a_false_adjustment_is_named(tmp_path: Path, what: str) -> None:
    changes, why = FALSE[what]
    assert why in fault(tmp_path, honest(GOOD.adjust(**changes)))


def test_one_that_the_operator_did_not_sign(tmp_path: Path) -> None:
    adjust = GOOD.adjust()
    assert "no adjustment of the operator's" in fault(
        tmp_path, honest(replace(adjust, signature=bytes(64)))
    )
    stranger = make_reported(OTHER_RELAY, SHOP)
    assert "not in this ledger" in fault(tmp_path, honest(stranger.adjust()))


def test_a_charge_that_is_re_rated_twice(tmp_path: Path) -> None:
    twice = honest(GOOD.adjust(), GOOD.adjust(Category.AUTHENTICATION))
    assert "re-rates a charge that entry" in fault(tmp_path, twice)
    later = parts_of(
        (TODAY, [GOOD.leaf]),
        (TODAY + 1, [GOOD.adjust()]),
        (TODAY + 2, [GOOD.adjust(day=TODAY + 2)]),
    )
    assert "entry 2 re-rates a charge that entry" in fault(tmp_path, later)


def test_one_that_is_decided_too_late_or_too_early(tmp_path: Path) -> None:
    late = parts_of((TODAY, [GOOD.leaf]), (TODAY + 151, [GOOD.adjust(day=TODAY + 151)]))
    assert "150 days after the charge settled" in fault(tmp_path, late)
    early = parts_of((TODAY - 1, [GOOD.adjust(day=TODAY - 1)]), (TODAY, [GOOD.leaf]))
    assert "not in this ledger" in fault(tmp_path, early)


def test_one_that_is_not_what_the_relay_signed(tmp_path: Path) -> None:
    parts = honest(GOOD.adjust())
    place = next(n for n, part in enumerate(parts) if isinstance(part, Adjust))
    dropped = parts[:place] + parts[place + 1 :]
    assert "without new entries" in fault(tmp_path, dropped)
    changed = [*parts]
    changed[place] = GOOD.adjust(report=b32("other"))
    assert "do not give the root" in fault(tmp_path, changed)
    moved = parts_of((TODAY, [GOOD.leaf]), (TODAY + 1, [GOOD.adjust(day=TODAY + 2)]))
    assert "with an entry of" in fault(tmp_path, moved)


def test_an_adjustment_has_one_spelling(tmp_path: Path) -> None:
    line = write_part(GOOD.adjust())
    assert read_part(line) == GOOD.adjust()
    for wrong in (line.replace(b": ", b":"), line[:-1], line.replace(b'"adjust"', b'"adjusts"')):
        with pytest.raises(LedgerError):
            read_part(wrong)
    file = write(tmp_path / "export", honest(GOOD.adjust()))
    whole = file.read_bytes()
    at = whole.index(b'{"adjust"') + 30
    file.write_bytes(whole[:at] + b"!" + whole[at + 1 :])
    account = ledger.examine(file)
    assert account.fault is not None
    assert "is not a line of a ledger file" in account.fault
