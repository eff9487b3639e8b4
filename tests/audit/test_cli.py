"""The command line: exit codes, and errors in the house form."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from kurir_audit.capture import CaptureWriter, Direction, Kind, Record
from kurir_audit.cli import run
from tests.audit import databases


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What two runs left: words, database, log and capture, and those of a baseline."""
    (tmp_path / "words").write_text("\nKopernikus \n  to the sun\n\nno\n")
    for name in (".", "baseline"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        databases.fill(folder / "relay.db")
        (folder / "relay.log").write_text('{"time": "x", "level": "info", "event": "ready"}\n')
        with CaptureWriter(folder / "capture") as writer:
            for way in Direction:
                writer.write(Record(1, way, Kind.RAW, -1, b"GET / HTTP/1.1\r\n\r\n"))
                writer.write(Record(1, way, Kind.PAYLOAD, 9, b"control-ping"))
    return tmp_path


def canary(files: Path, *more: str) -> int:
    return run(
        [
            *("canary", "--words", str(files / "words"), "--db", str(files / "relay.db")),
            *("--log", str(files / "relay.log"), "--capture", str(files / "capture")),
            *("--control", "control-ping", *more),
        ]
    )


def test_the_exit_codes_of_a_search(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ("--baseline", str(files / "baseline"))
    assert canary(files, *base) == 0
    assert "clean: 0 occurrences of 3 terms beyond" in capsys.readouterr().out
    assert canary(files, *base, "--control-log", "never") == 3
    assert "blind" in capsys.readouterr().out
    with (files / "relay.log").open("a") as log:
        log.write("kopernikus\n")
    assert canary(files, *base, "--json") == 1
    outcome = json.loads(capsys.readouterr().out)
    assert [leak["where"] for leak in outcome["leaks"]] == ["relay.log, byte 49"]
    assert (outcome["clean"], outcome["exit_code"]) == (False, 1)


def test_a_baseline_file_by_file(files: Path) -> None:
    folder = files / "baseline"
    single = [
        *("--baseline-db", str(folder / "relay.db")),
        *("--baseline-log", str(folder / "relay.log")),
        *("--baseline-capture", str(folder / "capture")),
    ]
    assert canary(files, *single) == 0
    assert canary(files, *single, "--baseline", str(folder)) == 2


def test_without_a_baseline_the_outcome_says_so(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (files / "words").write_text("Kopernikus\nAlice\n")
    assert canary(files) == 0
    assert "clean: 0 occurrences of 2 terms" in capsys.readouterr().out
    log = (files / "relay.log").read_text()
    (files / "relay.log").write_text(log + '{"event": "ready", "time": "Bob"}\n')
    (files / "words").write_text("Kopernikus\nBob\n")
    assert canary(files) == 3
    out = capsys.readouterr().out
    assert "found, not judged: 1 of 2 terms" in out
    assert "clean" not in out
    assert canary(files, "--json") == 3
    outcome = json.loads(capsys.readouterr().out)
    assert [finding["term"] for finding in outcome["unjudged"]] == ["Bob"]
    assert not outcome["clean"]
    with (files / "relay.log").open("a") as more:
        more.write('{"event": "ready", "time": "Alice"}\n' * 5)
    (files / "words").write_text("Alice\n")
    assert canary(files) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["canary"],
        ["canary", "--words", "absent", "--db", "absent"],
        ["inventory", "--db", "absent"],
        ["inventory", "--db"],
        ["stored", "--db", "absent", "--rows", "x"],
        ["stored", "--db", "absent", "--rows", "-1"],
        ["tap", "--listen", "0.0.0.0:0", "--upstream", "127.0.0.1:1", "--out", "x"],
        ["tap", "--listen", "127.0.0.1:0", "--upstream", "example.org:1", "--out", "x"],
        ["tap", "--listen", "127.0.0.1:0", "--upstream", "127.0.0.1:1", "--out", "absent/x"],
        ["ping", "--relay", "127.0.0.1:1", "--word", "x" * 126],
        ["ping", "--relay", "127.0.0.1:1", "--word", ""],
        ["ping", "--relay", "ws://example.org", "--word", "x"],
    ],
)
def test_errors_are_two_lines_and_exit_2(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[0].startswith("error: ")
    assert not lines[0].endswith(".")
    assert all(line.startswith("hint: ") for line in lines[1:])
    assert len(lines) <= 2
    assert "Traceback" not in err


def test_words_must_be_words(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for data in (b"", b"\n \n", b"\xff\xfe\x00"):
        (files / "words").write_bytes(data)
        assert canary(files) == 2
    (files / "baseline" / "relay.log").unlink()
    (files / "words").write_text("kopernikus")
    assert canary(files, "--baseline", str(files / "baseline")) == 2
    assert "holds 0 files called relay.log" in capsys.readouterr().err


def test_a_ping_to_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    assert run(["ping", "--relay", f"127.0.0.1:{port}", "--word", "x"]) == 2
    assert "connection refused" in capsys.readouterr().err


def test_help_and_metadata(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["metadata"]) == 0
    assert capsys.readouterr().out.startswith("<!-- Printed by")
    assert run(["--help"]) == 0
    assert "3 the search was blind" in capsys.readouterr().out
    assert run([]) == 2
