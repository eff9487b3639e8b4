"""What a relay stored, as people see it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kurir_audit.cli import run
from kurir_audit.declaration import Content
from kurir_audit.stored import show
from kurir_billing.charge import Charge, Line, packed
from kurir_billing.lane import Lane
from kurir_billing.leaf import Leaf, packed_leaf
from tests.audit import databases

LOG = '{"time": "2026-11-21T08:15:02Z", "level": "info", "event": "started", "pid": 7}\nbroken\n'


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    (tmp_path / "relay.log").write_text(LOG)
    db = databases.fill(tmp_path / "relay.db")
    return ["--db", str(db), "--log", str(tmp_path / "relay.log")]


def test_the_panel(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stored", *files]) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 100 for line in text.splitlines())
    for words in (
        "sealed, 2048 bytes",
        "6d6d6d6d… 32 B",
        "Metro Bus Company",
        "delivery · This is the message.",
        "empty: cards",
        "started  pid=7",
        "relay_id",
    ):
        assert words in text


def test_the_same_for_programs(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stored", *files, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    tables = {table["name"]: table for table in found["tables"]}
    assert tables["envelopes"]["rows"][0]["body"] == "sealed, 2048 bytes"
    assert tables["envelopes"]["rows"][0]["charge"] == "–"
    assert found["log"][0]["event"] == "started"
    assert found["log"][1] == {"line": "broken"}


def test_a_log_line_that_is_no_json_of_ours(
    files: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["[" * 100_000, "[1]", "7", "{"]
    (tmp_path / "relay.log").write_text("\n".join(lines))
    assert run(["stored", *files, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["log"] == [{"line": line} for line in lines]


def test_values_are_short_and_harmless() -> None:
    assert show(None) == "–"
    assert show(b"") == "empty"
    assert show(b"\x01\x02") == "0102"
    assert show(b"\xab" * 32) == "abababab… 32 B"
    assert show(b"x" * 4096, Content.SEALED) == "sealed, 4096 bytes"
    assert show(b"junk" * 10, Content.SIGNED) == "not readable, 40 B"
    assert show("\x1b[31mred\x07") == "·[31mred·"
    assert len(show("x" * 500)) == 40
    assert show(12) == "12"


def test_more_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import sqlite3

    db = databases.make(tmp_path / "relay.db")
    with sqlite3.connect(db) as connection:
        for n in range(9):
            connection.execute("INSERT INTO lanes VALUES (?, 1, ?)", (bytes([n]) * 32, 1_000 + n))
    connection.close()
    assert run(["stored", "--db", str(db)]) == 0
    text = capsys.readouterr().out
    assert "1004" in text
    assert "1005" not in text
    assert "and 4 more" in text
    assert run(["stored", "--db", str(db), "--rows", "0"]) == 0
    assert "1008" in capsys.readouterr().out


def test_packed_structures_say_what_the_relay_can_read() -> None:
    line = Line("ID", "reply-2018", b"r" * 32, 2, 1, 25_000)
    lane = Lane(b"p" * 32, b"l" * 32, 1, b"s" * 64)
    leaf = packed_leaf(
        Leaf(line, 20_000, b"h" * 32, b"k" * 32, b"f" * 32, b"x" * 32, lane, None, b"s" * 64)
    )
    assert show(leaf, Content.SIGNED) == (
        f"ID utility out of window 25,000 micro-USD, {len(leaf)} B"
    )
    charge = Charge(
        Line("ID", "reply-2018", b"r" * 32, 0, 0, 0),
        b"o" * 32,
        b"f" * 32,
        b"k" * 32,
        b"x" * 32,
        b"y" * 32,
        1,
        b"n" * 16,
        lane,
        1,
        None,
        None,
        bytes(32),
        None,
        b"s" * 64,
    )
    assert show(packed(charge), Content.SIGNED).startswith("ID in window 0 micro-USD, no grant, ")


def test_times_are_shown_as_fine_as_they_are_stored() -> None:
    assert show(494_169, unit=3_600) == "2026-05-17 09h"
    assert show(20_590, unit=86_400) == "2026-05-17"
    assert show(1_779_008_401, unit=1) == "2026-05-17 09:00:01"
    assert show(2**62, unit=3_600) == str(2**62)
