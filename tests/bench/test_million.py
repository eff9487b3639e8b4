"""Three totals of many charges agree; and change one thing at one party, and they do not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from msgspec import structs

from bench.million import __main__ as million
from bench.million.life import Lived, live
from bench.million.plan import Plan
from bench.million.totals import (
    Totals,
    auditor_says,
    businesses_say,
    compare,
    export,
    own_total,
    relay_says,
)
from kurir_billing.errors import InvoiceError
from kurir_billing.leaf import open_leaf, packed_leaf
from kurir_billing.ledger_file import read_part, write_part
from kurir_billing.tariffs import TARIFFS
from kurir_billing.total import Why


def quiet(what: str, share: float) -> None:
    """No bar."""


def test_a_short_run_meets_everything_and_agrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "new" / "million.json"
    small = ["million", "--charges", "12000", "--businesses", "10", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", small)
    million.main()
    report = json.loads(out.read_text())
    assert report["agree"]
    totals = report["micro_usd"]
    assert totals["relay"] == totals["business"] == totals["auditor"] > 0
    assert set(report["tariffs"]) == set(TARIFFS)
    assert all(sums["auditor"] > 0 for sums in report["tariffs"].values())
    assert report["came_to_nothing"] == []
    assert set(report["lines"]) == {why.value for why in Why}, "tiers and quotas bite"
    assert report["never_met"] == []
    counts = report["counts"]
    for what in ("refused", "repeated", "never settled", "settled twice", "adjusted"):
        assert counts[what] > 0, what
    assert counts["signed"] == counts["accepted"] + counts["refused"] >= 11_000
    assert counts["accepted"] == counts["settled"] + counts["never settled"]
    assert sum(report["lines"].values()) == counts["settled"]


def test_a_run_that_is_too_short_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With fewer conversations than are free in a month, 0 agrees with 0 whatever the rules are."""
    out = tmp_path / "million.json"
    tiny = ["million", "--charges", "1500", "--businesses", "5", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", tiny)
    million.main()
    report = json.loads(out.read_text())
    assert report["agree"]
    assert report["came_to_nothing"] == ["conversation-2022"]
    assert set(report["tariffs"]["conversation-2022"].values()) == {0}
    assert Why.QUOTA.value not in report["never_met"]
    said = capsys.readouterr().out
    assert "0 = 0 = 0 says little: conversation-2022; more charges may mend it" in said


@dataclass
class World:
    """A small honest world, and what all say of it."""

    lived: Lived
    relay: Totals
    heads: dict[tuple[bytes, int], bytes]
    business: Totals
    file: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("million")
    lived = live(Plan(1_500, 5, "small"), folder, quiet)
    relay, heads = relay_says(lived, quiet)
    business, _ = businesses_say(lived, heads, quiet)
    export(lived, folder / "ledger")
    yield World(lived, relay, heads, business, folder / "ledger")
    lived.store.close()


def test_the_small_world_is_honest(world: World) -> None:
    auditor, fault = auditor_says(world.lived, world.file)
    assert fault is None
    assert compare(world.relay, world.business, auditor) == []
    assert sum(auditor.values()) > 0


def test_a_leaf_that_the_relay_changed(world: World) -> None:
    """The relay bills by what stands in its database; the business by what it signed."""
    store = world.lived.store
    query = "SELECT business, settled_day, charge, leaf FROM leaves"
    found = ((row, open_leaf(row[3])) for row in store.connection.execute(query).fetchall())
    row, leaf = next(each for each in found if each[1].line.list_price)
    line = structs.replace(leaf.line, list_price=leaf.line.list_price + 1)
    change = "UPDATE leaves SET leaf = ? WHERE business = ? AND settled_day = ? AND charge = ?"
    store.connection.execute(change, (packed_leaf(structs.replace(leaf, line=line)), *row[:3]))
    try:
        relay, heads = relay_says(world.lived, quiet)
        assert {one.business for one in compare(relay, world.business, world.business)} <= {row[0]}
        with pytest.raises((InvoiceError, KeyError, AssertionError)):
            businesses_say(world.lived, heads, quiet)
    finally:
        store.connection.execute(change, (row[3], *row[:3]))


def test_a_line_that_differs_in_the_records(world: World) -> None:
    one = next(each for each in world.lived.businesses if each.terms.tariff == "reply-2018")
    month = 202702
    name = next(n for n, day in one.settled.items() if one.signed[n].list_price)
    true = one.signed[name]
    one.signed[name] = structs.replace(true, list_price=0, klass=0)
    try:
        sums = sum(own_total(one, each, world.lived.cards) for each in (202701, month))
        assert sums < sum(world.business[one.id, each] for each in (202701, month))
    finally:
        one.signed[name] = true


def test_another_quota_at_the_auditor(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    known = TARIFFS["conversation-2022"]
    assert known.quota is not None
    fewer = replace(known, quota=replace(known.quota, count=1))
    monkeypatch.setitem(TARIFFS, known.name, fewer)
    auditor, fault = auditor_says(world.lived, world.file)
    assert fault is None
    shop = next(each for each in world.lived.businesses if each.terms.tariff == known.name)
    found = compare(world.relay, world.business, auditor)
    assert {one.business for one in found} == {shop.id}
    assert all(one.auditor > one.relay == one.business_says for one in found)
    assert "micro-USD" in str(found[0])


def test_a_leaf_that_differs_in_the_export(world: World, tmp_path: Path) -> None:
    lines = world.file.read_bytes().splitlines(keepends=True)
    place = next(n for n, line in enumerate(lines) if line.startswith(b'{"leaf"'))
    leaf = read_part(lines[place])
    changed = structs.replace(leaf, settled_day=leaf.settled_day + 1)  # type: ignore[type-var,union-attr]
    lines[place] = write_part(changed)
    other = tmp_path / "other"
    other.write_bytes(b"".join(lines))
    auditor, fault = auditor_says(world.lived, other)
    assert fault is not None
    assert compare(world.relay, world.business, auditor)
