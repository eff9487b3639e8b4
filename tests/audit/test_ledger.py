"""The auditor's recomputation: an honest ledger holds, and every way to cheat is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from kurir_audit import ledger
from kurir_audit.cli import run
from kurir_billing.charge import lock_of
from kurir_billing.errors import LedgerError
from kurir_billing.invoice_file import to_json
from kurir_billing.kinds import Category, Class
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import adjust_hash, entry_hash
from kurir_billing.ledger_file import Closed, Part, PriceList, read_part, write_part
from tests.frauds.ledgers import bill, entries, export, honest
from tests.frauds.world import adjusted, line, made, world
from tests.protocol.make import (
    TODAY,
    TestBusiness,
    TestRelay,
    b32,
    make_hashes,
    make_leaf,
    make_line,
)

RELAY, OTHER_RELAY = TestRelay(), TestRelay("other relay")
ONE, TWO = TestBusiness(), TestBusiness("second business")


def leaves_of(day: int) -> list[Leaf]:
    """Six of a day, of two businesses, in the order of the tree."""
    found = [
        make_leaf(RELAY, ONE, f"a{day}", day=day),
        make_leaf(RELAY, ONE, f"b{day}", make_line("DE"), day=day),
        make_leaf(RELAY, ONE, f"c{day}", make_line(klass=Class.IN_WINDOW), day=day),
        make_leaf(RELAY, ONE, f"d{day}", day=day),
        make_leaf(RELAY, TWO, f"e{day}", day=day),
        make_leaf(RELAY, TWO, f"f{day}", make_line("DE"), day=day),
    ]
    return sorted(found, key=lambda leaf: entry_hash(leaf, RELAY.id))


Days = list[tuple[int, list[Leaf]]]
DAYS: Days = [(day, leaves_of(day)) for day in (TODAY - 1, TODAY, TODAY + 20)]


def parts_of(days: Days = DAYS, relay: TestRelay = RELAY) -> list[Part]:
    """What a relay exports that signs whatever it has."""
    parts: list[Part] = [relay.cert(), PriceList(relay.rate_card()[0])]
    hashes: list[bytes] = []
    for day, leaves in days:
        parts += leaves
        hashes += (entry_hash(leaf, relay.id) for leaf in leaves)
        parts.append(Closed(day, relay.note(hashes)))
    return parts


def write(path: Path, parts: Sequence[Part]) -> Path:
    path.write_bytes(b"".join(map(write_part, parts)))
    return path


def fault(folder: Path, parts: Sequence[Part]) -> str:
    account = ledger.examine(write(folder / "export", parts))
    assert account.fault is not None
    return account.fault


def changed(day: int, number: int, leaf: Leaf, *, sort: bool = True) -> Days:
    """A relay that puts another leaf there, and signs that."""
    days = [(when, list(leaves)) for when, leaves in DAYS]
    leaves = days[day][1]
    leaves[number] = leaf
    if sort:
        leaves.sort(key=lambda one: entry_hash(one, RELAY.id))
    return days


def test_an_honest_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(tmp_path / "export", parts_of())
    account = ledger.examine(file)
    assert account.fault is None
    assert (len(account.hashes), account.checkpoints) == (18, 3)
    assert run(["ledger", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "18 settled charges, 3 checkpoints" in shown
    assert "every bill recomputed" in shown
    assert run(["ledger", str(file), "--json"]) == 0
    (value,) = json.loads(capsys.readouterr().out)["files"]
    totals = {
        (line["business"], line["month"], line["market"], line["class"]): line
        for line in value["totals"]
    }
    first = totals[ONE.id.hex(), "2026-01", "ID", "out_of_window"]
    assert (first["count"], first["micro_usd"]) == (4, 100_000)
    assert totals[TWO.id.hex(), "2026-02", "DE", "out_of_window"]["micro_usd"] == 55_000
    assert totals[ONE.id.hex(), "2026-01", "ID", "in_window"]["micro_usd"] == 0
    assert sum(line["count"] for line in value["totals"]) == 18
    january = next(line for line in value["bills"] if line["business"] == ONE.id.hex())
    assert january == {
        "business": ONE.id.hex(),
        "month": "2026-01",
        "count": 8,
        "subtotal_micro_usd": 2 * (2 * 25_000 + 55_000),
        "fee_micro_usd": 0,
        "adjustments_micro_usd": 0,
        "total_micro_usd": 2 * (2 * 25_000 + 55_000),
    }


def test_bills_after_quotas_fees_and_adjustments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same to the micro-unit as the invoice, which a second command line compares."""
    parts, invoice = honest()
    file = write(tmp_path / "export", parts)
    target = tmp_path / "invoice.json"
    target.write_bytes(to_json(invoice))
    assert run(["ledger", str(file), "--invoice", str(target), "--json"]) == 0
    (value,) = json.loads(capsys.readouterr().out)["files"]
    assert (value["adjustments"], value["fault"]) == (2, None)
    bills = {(line["business"], line["month"]): line for line in value["bills"]}
    head = invoice.head
    found = bills[ONE.id.hex(), "2026-01"]
    assert found["total_micro_usd"] == head.total_micro_usd
    assert found["fee_micro_usd"] == head.fee_micro_usd > 0
    assert found["adjustments_micro_usd"] == head.adjustments_micro_usd > 0
    assert run(["ledger", str(file), "--invoice", str(target)]) == 0
    assert f"{head.total_micro_usd:,}" in capsys.readouterr().out
    # One that holds by itself, and is not what the ledger has.
    fewer = bill(list(invoice.leaves[1:]), [])
    target.write_bytes(to_json(fewer))
    assert run(["ledger", str(file), "--invoice", str(target)]) == 1
    assert "lines: the ledger has charge" in " ".join(capsys.readouterr().out.split())
    assert run(["ledger", str(file), "--invoice", str(file)]) == 2
    assert run(["ledger", str(file), "--invoice", str(tmp_path / "none")]) == 2
    short = write(tmp_path / "short", [*parts[:2], *days_of(parts, 3)])
    target.write_bytes(to_json(invoice))
    assert run(["ledger", str(short), "--invoice", str(target)]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "take a newer export" in said
    assert "these do not agree" in said
    # With a newer one beside it, in any order, nobody is to blame.
    for files in ((short, file), (file, short)):
        assert run(["ledger", *map(str, files), "--invoice", str(target)]) == 0


def test_an_invoice_of_part_of_a_month_and_one_of_another_ledger(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts, whole = honest()
    file = write(tmp_path / "export", parts)
    target = tmp_path / "invoice.json"
    day = TODAY - 2
    part = bill([leaf for leaf in whole.leaves if leaf.settled_day <= day], [], through=day)
    assert 0 < part.head.count < whole.head.count
    target.write_bytes(to_json(part))
    assert run(["ledger", str(file), "--invoice", str(target)]) == 0
    # As good a month, proved by a ledger that is not this one.
    forked = sorted(make_hashes(RELAY, whole.leaves, before=40))
    adjustments = world(flat=True).adjustments
    forked += [adjust_hash(adjust, RELAY.id) for adjust, _, _ in adjustments]
    target.write_bytes(to_json(bill(list(whole.leaves), list(adjustments), hashes=forked)))
    longer = write(tmp_path / "longer", export([*entries(), *more_leaves(40)]))
    capsys.readouterr()
    assert run(["ledger", str(longer), "--invoice", str(target)]) == 1
    assert "is of another ledger than yours" in " ".join(capsys.readouterr().out.split())


def more_leaves(count: int) -> list[Leaf]:
    """Of later, so that the ledger is as long as another."""
    return [
        make_leaf(RELAY, TWO, f"more {n}", line("reply-2018"), TODAY + 30) for n in range(count)
    ]


def test_an_adjustment_of_the_same_day_may_stand_before_its_charge(tmp_path: Path) -> None:
    for number in range(8):
        line_ = line("message-2026", Category.UTILITY)
        leaf = made(f"same day {number}", line_, TODAY, ONE)
        adjust = adjusted(leaf, day=TODAY)[0]
        account = ledger.examine(write(tmp_path / "export", export([leaf, adjust])))
        assert account.fault is None
        assert account.bills[ONE.id, 202601].sums.total == 41_100


def days_of(parts: Sequence[Part], count: int) -> Sequence[Part]:
    closed = [n for n, part in enumerate(parts) if isinstance(part, Closed)]
    return parts[2 : closed[count - 1] + 1]


def test_no_leaves_at_all(tmp_path: Path) -> None:
    assert ledger.examine(write(tmp_path / "export", [RELAY.cert()])).fault is None
    assert "no certificate" in fault(tmp_path, [])


# The export is not what the relay signed


def test_a_dropped_leaf(tmp_path: Path) -> None:
    parts = parts_of()
    del parts[4]
    assert fault(tmp_path, parts) == "line 8: the relay signed 6 entries where 5 are here"


def test_a_leaf_in_the_place_of_another(tmp_path: Path) -> None:
    parts = parts_of()
    parts[2:8] = sorted(
        [*parts[3:8], make_leaf(RELAY, TWO, "invented", day=TODAY - 1)],
        key=lambda leaf: entry_hash(leaf, RELAY.id),  # type: ignore[arg-type]
    )
    assert "do not give the root" in fault(tmp_path, parts)


def test_a_reordered_tree(tmp_path: Path) -> None:
    parts = parts_of()
    parts[3], parts[4] = parts[4], parts[3]
    assert fault(tmp_path, parts) == "line 5: this leaf does not stand where its hash says"
    turned = [(day, leaves[::-1]) for day, leaves in DAYS]
    assert "where its hash says" in fault(tmp_path, parts_of(turned)), "though signed as such"


def test_days_out_of_order(tmp_path: Path) -> None:
    assert "closed before" in fault(tmp_path, parts_of([DAYS[1], DAYS[0]]))
    again = (TODAY - 1, [DAYS[1][1][0]])
    assert "closed before" in fault(tmp_path, parts_of([DAYS[0], again]))
    moved = (TODAY + 1, DAYS[1][1])
    assert "with an entry of" in fault(tmp_path, parts_of([DAYS[0], moved]))


def test_what_follows_the_last_checkpoint(tmp_path: Path) -> None:
    assert "2 entries follow" in fault(tmp_path, [*parts_of(), *leaves_of(TODAY + 30)[:2]])
    again = parts_of()
    assert "without new entries" in fault(tmp_path, [*again, again[-1]])


def test_checkpoints_of_others(tmp_path: Path) -> None:
    parts = parts_of()
    assert isinstance(parts[8], Closed)
    hashes = [entry_hash(leaf, RELAY.id) for leaf in DAYS[0][1]]
    parts[8] = Closed(TODAY - 1, OTHER_RELAY.note(hashes))
    assert "of another relay" in fault(tmp_path, parts)


# The relay signed what it should not have


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda leaf: replace(leaf, signature=bytes(64)), "never signed this line"),
        (lambda leaf: replace(leaf, lane=TWO.lane()), "never signed this line"),
        (lambda leaf: replace(leaf, secret=b32("x")), "settled without the secret"),
        (lambda leaf: replace(leaf, lock=lock_of(b32("x")), secret=b32("x")), "never signed"),
        (lambda leaf: replace(leaf, line=replace(leaf.line, list_price=9)), "never signed"),
        (lambda leaf: replace(leaf, lane=replace(leaf.lane, not_after=1)), "lane"),
    ],
)
def test_an_altered_leaf(tmp_path: Path, change: Callable[[Leaf], Leaf], what: str) -> None:
    number = next(n for n, leaf in enumerate(DAYS[1][1]) if leaf.lane == ONE.lane())
    days = changed(1, number, change(DAYS[1][1][number]))
    assert what in fault(tmp_path, parts_of(days))


def test_prices(tmp_path: Path) -> None:
    """Signed by the business, and still not what the card says."""
    dear = make_leaf(RELAY, ONE, "dear", make_line(price=25_001), day=TODAY)
    assert "price is 25001 where the rate card says 25000" in fault(
        tmp_path, parts_of(changed(1, 0, dear))
    )
    strange = make_line()
    strange = replace(strange, rate_card=b32("no card"))
    unknown = make_leaf(RELAY, ONE, "unknown", strange, day=TODAY)
    assert "not in this file" in fault(tmp_path, parts_of(changed(1, 0, unknown)))
    parts = parts_of()
    parts[1] = PriceList(OTHER_RELAY.rate_card()[0])
    assert fault(tmp_path, parts).startswith("line 2: ")


def test_a_replayed_charge(tmp_path: Path) -> None:
    """On the same day it would be the same leaf; on another it is another."""
    leaf = DAYS[0][1][2]
    again = replace(leaf, settled_day=TODAY)
    assert "the same charge is entry 2 already" in fault(tmp_path, parts_of(changed(1, 0, again)))
    twice = [*DAYS[0][1][:3], *DAYS[0][1][2:]]
    assert "the same charge is entry 2" in fault(tmp_path, parts_of([(TODAY - 1, twice)]))


# Two ledgers of one relay


def test_forks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = write(tmp_path / "whole", parts_of())
    short = write(tmp_path / "short", parts_of(DAYS[:2]))
    for files in ([short, whole], [whole, short], [whole, whole]):
        assert run(["ledger", *map(str, files)]) == 0
    other = make_leaf(RELAY, TWO, "elsewhere", day=TODAY)
    fork = write(tmp_path / "fork", parts_of(changed(1, 3, other)))
    assert ledger.examine(fork).fault is None, "each by itself holds"
    capsys.readouterr()
    assert run(["ledger", str(short), str(fork)]) == 1
    assert "two ledgers of one relay" in " ".join(capsys.readouterr().out.split())
    assert run(["ledger", str(whole), str(fork), "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["forks"]
    assert "differ from entry" in found
    foreign = write(tmp_path / "foreign", [OTHER_RELAY.cert()])
    assert run(["ledger", str(whole), str(foreign)]) == 0


def test_checkpoints_that_others_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts, other = parts_of(), make_leaf(RELAY, TWO, "elsewhere", day=TODAY)
    notes: list[Path] = []
    for part in parts:
        if isinstance(part, Closed):
            notes.append(tmp_path / f"note {len(notes)}")
            notes[-1].write_bytes(part.note)
    kept = [word for note in notes for word in ("--checkpoint", str(note))]
    whole = write(tmp_path / "whole", parts)
    assert run(["ledger", str(whole), *kept]) == 0
    for file, what in (
        (write(tmp_path / "short", parts_of(DAYS[:2])), "is signed over 18 entries"),
        (write(tmp_path / "fork", parts_of(changed(1, 3, other))), "are two ledgers of one relay"),
        (write(tmp_path / "foreign", [OTHER_RELAY.cert()]), "of another relay's ledger"),
    ):
        capsys.readouterr()
        assert run(["ledger", str(file), *kept]) == 1
        assert what in " ".join(capsys.readouterr().out.split())
    assert run(["ledger", str(whole), "--checkpoint", str(tmp_path / "none")]) == 2


# The form


def test_lines_have_one_spelling(tmp_path: Path) -> None:
    for part in parts_of():
        line = write_part(part)
        assert read_part(line) == part
        value: dict[str, Any] = json.loads(line)
        for other in (
            line[:-1],
            line + b"\n",
            b" " + line,
            json.dumps(value, separators=(",", ":")).encode() + b"\n",
            json.dumps(value | {"more": 1}).encode() + b"\n",
            json.dumps(dict.fromkeys(value, 1)).encode() + b"\n",
            json.dumps({name: f"{text}=" for name, text in value.items()}).encode() + b"\n",
        ):
            with pytest.raises(LedgerError):
                read_part(other)
    for line in (b"", b"\n", b"[]\n", b"\xff\n", b"[" * 50_000, b'{"leaf": "kA=="}\n'):
        with pytest.raises(LedgerError):
            read_part(line)


def test_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ledger", str(tmp_path / "nothing")]) == 2
    assert "kurir-relay ledger export" in capsys.readouterr().err
    noise = tmp_path / "noise"
    noise.write_bytes(bytes(100_000))
    assert run(["ledger", str(noise)]) == 1
    assert "line 1: is not a line of a ledger file" in " ".join(capsys.readouterr().out.split())
    parts = parts_of()
    assert "a second certificate" in fault(tmp_path, [parts[0], *parts])
    assert "certificate comes first" in fault(tmp_path, parts[1:])
