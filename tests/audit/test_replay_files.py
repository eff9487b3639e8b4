"""``kurir-audit bill``: the files that it reads."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from itertools import combinations_with_replacement, permutations
from pathlib import Path

import pytest

from kurir_audit.cli import run
from kurir_audit.errors import EvidenceFileError
from kurir_audit.events import read_events
from tests.audit.trace import DAY, Bill, Row, T, block, kinds, sent, wrote

LENIENT = [
    ("in", {"cc": "ID", "cls": "utility"}),
    ("out", {"ref": True}),
    ("dlv", {"biz": "other", "usr": 1, "cc": "DE", "cls": "marketing"}),
    ("block", {"id": "x"}),
    ("unblock", {"id": 7}),
]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("{", "is not JSON"),
        ("\xff", "is not JSON"),
        ("[]", "expected `object`"),
        ('{"k":"in"}', "missing required field"),
        ('{"k":"write","id":"x","t":1}', "invalid value 'write'"),
        ('{"k":"dlv","id":"x","t":-1}', "`$.t`"),
        ('{"k":"dlv","id":"x","t":1.5}', "`$.t`"),
        ('{"k":"dlv","id":"x","t":"1"}', "`$.t`"),
        ('{"k":"dlv","id":"x","t":253402300800}', "`$.t`"),
        ('{"k":"dlv","id":null,"t":1}', "`$.id`"),
        ('{"k":"dlv","id":true,"t":1}', "`$.id`"),
        ('{"k":"dlv","id":"","t":1}', "`$.id`"),
        ('{"k":"dlv","id":"x","t":1,"bizz":"b"}', "unknown field `bizz`"),
        ('{"k":"dlv","id":"x","t":1,"ref":true}', "unknown field `ref`"),
        ('{"k":"dlv","id":"x","t":1,"biz":"b","cs":"utility"}', "unknown field `cs`"),
        ('{"k":"dlv","id":"x","t":1,"biz":"b"', "is not JSON"),
        ('{"k":"dlv","id":"x","t":1.5,"biz":"b"}', "`$.t`"),
        ('{"k":"dlv","id":"x","t":1e300}', "`$.t`"),
        ('{"k":"dlv","id":"x","t":1e999}', "out of range"),
        ('{"k":"dlv","id":"x","t":-1.0}', "`$.t`"),
        ('{"k":"dlv","id":"x","t":"1.0"}', "`$.t`"),
        ('{"k":"dlv","id":"x","t":true}', "`$.t`"),
        ('{"k":"dlv","id":1.0,"t":1}', "`$.id`"),
        ('{"k":"dlv","id":"x","t":1,"biz":"\xff"}', "is not JSON"),
        ('{"k":"dlv","id":"x","t":1,"biz":' + 9_999 * "[" + 9_999 * "]" + "}", "is not JSON"),
        ('{"k":["dlv"],"id":"x","t":1}', "`$.k`"),
        ('{"k":"block","biz":"b","usr":"u","t":1,"cc":"ID"}', "unknown field `cc`"),
        ('{"k":"in","id":"x","biz":"b","usr":"u","t":1,"cc":"ID","reff":true}', "`reff`"),
        ('\xef\xbb\xbf{"k":"dlv","id":"x","t":1}', "is not JSON"),
        ('{"k":"dlv","id":"x","t":1,"\x1b[2J":"b"}', "is not JSON"),
        ('{"k":"dlv","id":"x","t":1,"\\u001b[2J":"b"}', "is not JSON"),
        ('{"k":"in","id":"x","biz":"b","usr":"u","t":1,"ref":1}', "`$.ref`"),
        ('{"k":"out","id":"x","biz":"b","usr":"u","t":1,"cls":"promo","cc":"ID"}', "'promo'"),
        ('{"k":"out","id":"x","biz":"b","usr":"u","t":1,"cls":"utility"}', "`cc`"),
        ('{"k":"out","id":"x","biz":"b","usr":"u","t":1,"cls":"utility","cc":"I"}', "`$.cc`"),
        ('{"k":"out","id":"x","biz":"b","usr":"u","t":1,"cc":"ID"}', "needs the category"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_priced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, what: str
) -> None:
    file, out = tmp_path / "events.jsonl", tmp_path / "bill.jsonl"
    good = json.dumps(sent(T, "m")[0]) + "\n\n"
    file.write_bytes(good.encode() + line.encode("latin-1") + b"\n" + good.encode())
    assert run(["bill", str(file), "--tariff", "message-2025", "--out", str(out)]) == 2
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: events.jsonl, line 3: ")
    assert what in error
    assert error.isprintable()
    assert hint.startswith("hint: nothing was priced")
    assert not out.exists()


@pytest.mark.parametrize(
    ("tariff", "more", "what"),
    [
        ("reply-2019", (), "there is no tariff 'reply-2019'; known are flat, reply-2018"),
        ("flat", ("--out", "events.jsonl"), "is what is to be read"),
        ("flat", ("--card", "x", "--card", "empty.json", "--out", "empty.json"), "is to be read"),
        ("flat", ("--out", "no/such/folder"), "cannot write"),
        ("flat", ("--card", "no-such-card"), "cannot read"),
        ("flat", ("--card", "events.jsonl"), "is not a rate card"),
        ("flat", ("--card", "empty.json"), "no price for the market OTHER"),
    ],
)
def test_what_cannot_be_carried_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tariff: str,
    more: tuple[str, ...],
    what: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    events = Path("events.jsonl")
    events.write_text(json.dumps(wrote(T)))
    Path("empty.json").write_text('{"version":1,"currency":"USD","effective_from":0,"markets":{}}')
    assert run(["bill", "events.jsonl", "--tariff", tariff, *more]) == 2
    assert what in capsys.readouterr().err
    assert events.read_text() == json.dumps(wrote(T))
    assert Path("empty.json").read_text().startswith('{"version":1')
    assert run(["bill", "no-such-file", "--tariff", "flat"]) == 2
    assert "cannot read no-such-file" in capsys.readouterr().err


# Lines of the same k and id


@pytest.mark.parametrize(
    ("lines", "numbers"),
    [
        ([sent(T, "m")[0], sent(T, "m", cc="DE")[0]], (1, 2)),
        ([sent(T + 1, "m", "service")[0], sent(T, "m")[0], sent(T, "m", usr="v")[0]], (2, 3)),
        ([wrote(T), wrote(T), wrote(T, ref=True), wrote(T, usr="v")], (1, 3)),
        ([wrote(T, "a"), wrote(T, "b"), wrote(T, "b", usr="v"), wrote(T, "a", usr="v")], (2, 3)),
        ([sent(T, "m")[0], sent(T, "m", None)[0]], (1, 2)),
    ],
)
def test_lines_that_differ_in_their_first_second_break_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: list[Row], numbers: tuple[int, int]
) -> None:
    file, out = tmp_path / "events.jsonl", tmp_path / "bill.jsonl"
    command = ["bill", str(file), "--tariff", "flat", "--out", str(out)]
    for rows in (lines, lines[::-1]):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert run(command) == 2
        error, hint = capsys.readouterr().err.splitlines()
        if rows is lines:
            assert error.startswith(f"error: events.jsonl, lines {numbers[0]} and {numbers[1]}: ")
        assert "same k, id and t" in error
        assert hint.startswith("hint: nothing was priced")
    assert not out.exists()
    # An earlier line says what is right.
    earlier = {row["id"]: {**row, "t": T - 1} for row in lines}
    file.write_text("".join(json.dumps(row) + "\n" for row in [*lines, *earlier.values()]))
    assert run(command) == 0


def test_whether_a_file_is_broken_never_depends_on_the_order_of_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"

    def read(lines: tuple[Row, ...]) -> object:
        file.write_text("".join(json.dumps(row) + "\n" for row in lines))
        try:
            return read_events(file, asks_category=True)
        except EvidenceFileError:
            return None

    some = [sent(T + t, "m", cc=cc)[0] for t in (0, 1) for cc in ("ID", "DE")]
    broken = 0
    for chosen in combinations_with_replacement(some, 3):
        first, *others = [read(lines) for lines in permutations(chosen)]
        assert all(other == first for other in others)
        earliest = min(row["t"] for row in chosen)
        is_broken = len({row["cc"] for row in chosen if row["t"] == earliest}) > 1
        assert (first is None) == is_broken
        broken += is_broken
    assert broken == 6


# What is forgiven


@pytest.mark.parametrize("start", ["\ufeff", "\ufeff\n", "\ufeff  \n", "\n"])
def test_a_byte_order_mark(tmp_path: Path, start: str) -> None:
    file, out = tmp_path / "events.jsonl", tmp_path / "bill.jsonl"
    lines = "".join(json.dumps(row) + "\n" for row in sent(T, "m"))
    file.write_text(start + lines, encoding="utf-8")
    assert run(["bill", str(file), "--tariff", "flat", "--out", str(out)]) == 0
    assert len(out.read_text().splitlines()) == 1


def test_whole_seconds_as_floats(bill: Bill) -> None:
    rows = [wrote(T), *sent(T + 1, "a"), *sent(T + 9, "b"), block("block", T + 8)]
    found = bill("reply-2018", rows)
    assert [row["id"] for row in found] == ["a", "b"]
    assert bill("reply-2018", [{**row, "t": float(row["t"])} for row in rows]) == found
    # The same line in both spellings is the same line.
    assert bill("reply-2018", rows, [{**row, "t": float(row["t"])} for row in rows]) == found


@pytest.mark.parametrize(("k", "more"), LENIENT)
def test_known_fields_where_they_mean_nothing(bill: Bill, k: str, more: Row) -> None:
    rows = [wrote(T), *sent(T + 1, "a"), *sent(T + DAY, "b", cc="IN"), *sent(T + DAY + 9, "c")]
    rows += [block("block", T + DAY + 5), block("unblock", T + DAY + 6)]
    found = bill("reply-2018", rows)
    assert kinds(found) == {"a": "free_customer_service", "b": 1_400, "c": 25_000}
    full = [{**row, **more} if row["k"] == k else row for row in rows]
    assert full != rows
    assert bill("reply-2018", full) == found
    assert bill("reply-2018", full + rows) == found


def bill_it(file: Path, *options: str, most: int, to: Path | None = None) -> tuple[int, str]:
    """The command in a process of its own, which may write files of ``most`` bytes."""
    with (to or Path(os.devnull)).open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "kurir_audit", "bill", file, "--tariff", "flat", *options],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
            check=False,
        )
    return done.returncode, done.stderr


def test_what_cannot_be_written_is_said_and_leaves_what_was_there(tmp_path: Path) -> None:
    file, out = tmp_path / "events.jsonl", tmp_path / "bill.jsonl"
    rows = [row for n in range(2_000) for row in sent(T, f"m{n}")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out.write_text("the former\n")
    code, said = bill_it(file, "--out", str(out), most=10_000)
    assert code == 2
    assert said.startswith(f"error: cannot write {out}: ")
    assert said.count("\n") == 1
    assert out.read_text() == "the former\n"
    assert sorted(tmp_path.iterdir()) == [out, file]
    code, said = bill_it(file, most=10_000, to=tmp_path / "shown")
    assert (code, said) == (2, "error: cannot write the output: file too large\n")
    assert bill_it(file, "--out", str(out), most=10_000_000) == (0, "")
    assert len(out.read_text().splitlines()) == 2_000
    # What is no file is written to as it is.
    assert bill_it(file, "--out", os.devnull, most=10_000) == (0, "")
