"""The demo as a stranger runs it, and a leak that its search has to find."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LIMIT = 120.0


def demo(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kurir_client.cli", "demo", *options],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"NO_COLOR": "1"},
    )


def pids_of(*words: str) -> list[int]:
    """Processes whose command lines contain all these words."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if all(word in line for word in words):
            found.append(int(file.parent.name))
    return found


def processes_under(folder: Path) -> list[int]:
    """What a demo has left running: processes that name its folder."""
    return pids_of(str(folder))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One demo with the bundled transcript, kept."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    done = demo("--out", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "output.txt").write_text(done.stdout)
    assert processes_under(folder) == []
    return folder


def test_three_panels_and_a_verdict(kept: Path) -> None:
    shown = (kept / "output.txt").read_text()
    assert "reminder: your bus to Jakarta leaves at 06.40" in shown
    assert "paid by Metro Bus" in shown
    assert "sealed, 2048 bytes" in shown
    assert "out of window" in shown
    assert "25,000 micro-USD" in shown
    assert "clean: 0 occurrences" in shown
    shown, _, commands = shown.partition("kept in ")
    assert max(map(len, shown.splitlines())) <= 100
    assert "kurir-audit inventory" in commands


def test_the_invoice_charges_the_reminder_and_nothing_else(kept: Path) -> None:
    invoice = json.loads((kept / "invoice.json").read_text())
    prices = sorted(line["list_price_micro_usd"] for line in invoice["lines"])
    assert prices == [0] * (len(prices) - 1) + [25_000]
    assert invoice["total_micro_usd"] == 25_000


def test_the_inventory_knows_every_column(kept: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "kurir_audit", "inventory"),
            *("--db", str(kept / "relay" / "relay.db")),
        ],
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mailboxes" in done.stdout


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_relay_that_logs_one_word_is_found(kept: Path, tmp_path: Path, encoding: str) -> None:
    leaky = tmp_path / "leaky"
    shutil.copytree(kept, leaky)
    with (leaky / "relay" / "relay.log").open("ab") as log:
        log.write('{"event": "window"}'.encode(encoding) + b"\n")
    done = search(leaky)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "window" in done.stdout


def test_without_its_control_word_the_search_says_that_it_is_blind(kept: Path) -> None:
    assert search(kept, "a-control-word-that-nobody-sent").returncode == 3


def search(folder: Path, control: str | None = None) -> subprocess.CompletedProcess[str]:
    """What the demo tells to run: the same search over kept files."""
    options = [
        *("--words", str(folder / "words.txt")),
        *("--db", str(folder / "relay" / "relay.db")),
        *("--log", str(folder / "relay" / "relay.log")),
        *("--capture", str(folder / "capture")),
        *("--baseline-db", str(folder / "baseline" / "relay" / "relay.db")),
        *("--baseline-log", str(folder / "baseline" / "relay" / "relay.log")),
        *("--baseline-capture", str(folder / "baseline" / "capture")),
    ]
    if control is not None:
        options += ["--control", control]
    return subprocess.run(
        [sys.executable, "-m", "kurir_audit", "canary", *options],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def test_an_odd_transcript_ends_well(tmp_path: Path) -> None:
    """One-letter words, other scripts, junk, a very long line, a command: all are text."""
    lines = [
        b"a b c I",
        "Apa kabar? 你好 привет 🚌".encode(),
        b"\xff\xfe\x00 junk \x1b[31m red",
        b"long " * 2_000,
        b"/quit",
        b"",
        b"09.15",
        b"5B",
    ]
    file = tmp_path / "odd.txt"
    file.write_bytes(b"\n".join(lines))
    done = demo("--transcript", str(file))
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr
    assert "\x1b[31m" not in done.stdout


def test_an_empty_transcript_ends_well(tmp_path: Path) -> None:
    file = tmp_path / "empty.txt"
    file.write_bytes(b"")
    done = demo("--transcript", str(file))
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demo_that_is_interrupted_leaves_nobody_running(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    file, folder = tmp_path / "long.txt", tmp_path / "out"
    file.write_text("again\n" * 500)
    command = [sys.executable, "-m", "kurir_client.cli", "demo"]
    running = subprocess.Popen(
        [*command, "--transcript", str(file), "--out", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        # A shell that runs the tests in the background makes them, and this, deaf to SIGINT.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )
    deadline = time.monotonic() + LIMIT
    while not (folder / "customer" / "vault").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(number)
    assert running.wait(timeout=LIMIT) == code
    assert processes_under(folder) == []


def test_a_party_that_dies_is_named_with_its_last_words(tmp_path: Path) -> None:
    """Whoever the demo needs and loses: it says so, and does not wait for answers."""
    file, folder = tmp_path / "long.txt", tmp_path / "out"
    file.write_text("again\n" * 500)
    command = [sys.executable, "-m", "kurir_client.cli", "demo"]
    running = subprocess.Popen(
        [*command, "--transcript", str(file), "--out", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + LIMIT
    while not (folder / "bot" / "metro-bus.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    (relay,) = pids_of(" serve ", str(folder / "relay" / "relay.db"))
    os.kill(relay, signal.SIGKILL)
    _, said = running.communicate(timeout=LIMIT)
    assert running.returncode == 1
    assert "error: the relay failed: it ended with exit code -9" in said
    assert "hint: " in said
    assert processes_under(folder) == []


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    done = demo("--out", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_missing_transcript_says_so(tmp_path: Path) -> None:
    done = demo("--transcript", str(tmp_path / "none.txt"))
    assert done.returncode == 2
    assert "cannot read" in done.stderr
