"""``kurir-audit bill``: the files that it reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kurir_audit.cli import run
from tests.audit.trace import T, sent, wrote


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
        ('{"k":"dlv","id":"x","t":1,"biz":"b"}', "unknown field `biz`"),
        ('{"k":"dlv","id":"x","t":1,"\x1b[2J":"b"}', "is not JSON"),
        ('{"k":"dlv","id":"x","t":1,"\\u001b[2J":"b"}', "is not JSON"),
        ('{"k":"in","id":"x","biz":"b","usr":"u","t":1,"ref":1}', "`$.ref`"),
        ('{"k":"out","id":"x","biz":"b","usr":"u","t":1,"cls":"promo","cc":"ID"}', "'promo'"),
        ('{"k":"out","id":"x","biz":"b","usr":"u","t":1,"cls":"utility"}', "`cc`"),
        ('{"k":"out","id":"x","biz":"b","usr":"u","t":1,"cls":"utility","cc":"I"}', "`$.cc`"),
        ('{"k":"out","id":"x","biz":"b","usr":"u","t":1,"cc":"ID"}', "needs the category"),
        ('{"k":"out","id":"m","biz":"b","usr":"v","t":1,"cls":"utility","cc":"ID"}', "differs"),
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
    assert run(["bill", "no-such-file", "--tariff", "flat"]) == 2
    assert "cannot read no-such-file" in capsys.readouterr().err
