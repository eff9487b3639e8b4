"""Everything against a real relay: ``kurir-relay init`` and ``serve``, a real tap before it."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from nacl.signing import SigningKey
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from kurir_audit import inventory
from kurir_audit.capture import Direction, Kind, read_capture
from kurir_audit.cli import run
from kurir_audit.declaration import Group
from kurir_audit.declared_log import COMMON, LOG
from kurir_wire import entries, frames, proofs
from kurir_wire.gates import token_gate
from kurir_wire.ids import HOUR, mailbox_id_of
from kurir_wire.limits import SUBPROTOCOL

TOKEN = bytes(range(32))
WORDS = ("kopernikus", "to the sun", "MB-92KX7Q", "yes", "no", "I", "mailbox", "submit", "beacon")


@dataclass(frozen=True, slots=True)
class Files:
    """What one run leaves."""

    folder: Path

    @property
    def arguments(self) -> list[str]:
        return [
            *("--db", str(self.folder / "relay.db")),
            *("--log", str(self.folder / "relay.log")),
            *("--capture", str(self.folder / "capture")),
        ]


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> str:
    """The content of a ready file."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        assert process.poll() is None, "the process ended early"
        if path.exists() and (text := path.read_text().strip()):
            return text
        time.sleep(0.01)
    raise AssertionError(f"{path.name} did not appear")


def start(package: str, *arguments: str) -> subprocess.Popen[bytes]:
    code = f"from {package}.cli import main; main()"
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.DEVNULL)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        assert process.wait(15) == 0
    finally:
        process.kill()


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """A relay with a tap before it; the tap's address."""
    folder.mkdir()
    db, ready, tapped = str(folder / "relay.db"), folder / "ready", folder / "tapped"
    subprocess.run(
        [sys.executable, "-c", "from kurir_server.cli import main; main()", "init", "--db", db],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    relay = start(
        *("kurir_server", "serve", "--db", db, "--listen", "127.0.0.1:0"),
        *("--ready-file", str(ready), "--log-file", str(folder / "relay.log")),
    )
    try:
        tap = start(
            *("kurir_audit", "tap", "--listen", "127.0.0.1:0"),
            *("--upstream", wait_for(ready, relay), "--out", str(folder / "capture")),
            *("--ready-file", str(tapped)),
        )
        try:
            yield wait_for(tapped, tap)
        finally:
            stop(tap)
    finally:
        stop(relay)


def request(
    client: ClientConnection, frame: frames.Request
) -> frames.Results | frames.BeaconIs | frames.Error:
    client.send(frames.encode(frame))
    while True:
        data = client.recv(10)
        assert isinstance(data, bytes)
        push = frames.decode_push(data)
        if isinstance(push, frames.Results | frames.BeaconIs | frames.Error):
            return push


def converse(address: str, bodies: list[bytes]) -> None:
    """Make a mailbox, put bodies into it, leave them there."""
    key = SigningKey.generate()
    with connect(f"ws://{address}", subprotocols=[Subprotocol(SUBPROTOCOL)], proxy=None) as client:
        first = client.recv(10)
        assert isinstance(first, bytes)
        welcome = frames.decode_push(first)
        assert isinstance(welcome, frames.Welcome)
        relay_id, gate, hour = welcome.cert.relay_id, token_gate(TOKEN), welcome.now // HOUR
        read_pk = bytes(key.verify_key)
        signed = proofs.create_message(relay_id, welcome.nonce, gate, hour)
        new = entries.NewMailbox(read_pk, gate, hour, key.sign(signed).signature)
        assert request(client, frames.Create(1, [new])) == frames.Results(1, [None])
        mailbox = mailbox_id_of(relay_id, read_pk, gate, hour)
        for number, body in enumerate(bodies, 2):
            entry = entries.Submission(mailbox, secrets.token_bytes(16), body, 24, TOKEN)
            assert request(client, frames.Submit(number, [entry])) == frames.Results(number, [None])
            assert isinstance(request(client, frames.GetBeacon(number)), frames.BeaconIs)


def sealed(count: int) -> list[bytes]:
    return [secrets.token_bytes(2_048) for _ in range(count)]


@pytest.fixture(scope="module")
def make_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, list[bytes]], Files]:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "words").write_text("\n".join(WORDS))

    def made(name: str, bodies: list[bytes]) -> Files:
        with running(folder / name) as address:
            assert run(["ping", "--relay", address, "--word", "control-ping"]) == 0
            converse(address, bodies)
        return Files(folder / name)

    return made


@pytest.fixture(scope="module")
def baseline(make_run: Callable[[str, list[bytes]], Files]) -> Files:
    return make_run("baseline", sealed(20))


def search(files: Files, baseline: Files, *more: str) -> int:
    words, folder = str(files.folder.parent / "words"), str(baseline.folder)
    controls = ["--control", "control-ping", "--control-db", "relay_id", "--control-log", "ready"]
    return run(
        ["canary", "--words", words, "--baseline", folder, *files.arguments, *controls, *more]
    )


def test_a_sealed_run_is_clean(
    make_run: Callable[[str, list[bytes]], Files],
    baseline: Files,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Three times the traffic of the baseline must not matter.
    files = make_run("sealed", sealed(60))
    capsys.readouterr()
    code = search(files, baseline, "--json")
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["leaks"] == []
    assert outcome["blind"] == []
    assert code == 0
    assert {finding["term"] for finding in outcome["findings"]} >= {"mailbox", "submit", "beacon"}
    assert search(files, baseline, "--control", "never sent") == 3
    assert "blind" in capsys.readouterr().out


def test_words_in_the_clear_are_found_on_the_wire_and_on_the_disk(
    make_run: Callable[[str, list[bytes]], Files],
    baseline: Files,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = "Kopernikus goes to the sun with MB-92KX7Q".encode("utf-16-le").ljust(2_048, b"\x01")
    files = make_run("clear", [*sealed(10), b"kopernikus".ljust(2_048, b"\x01"), said])
    capsys.readouterr()
    assert search(files, baseline, "--json") == 1
    leaks = {
        (leak["term"], leak["encoding"], leak["place"])
        for leak in json.loads(capsys.readouterr().out)["leaks"]
    }
    for place in ("database, values", "database, files", "wire, client to relay, unmasked"):
        assert ("kopernikus", "utf-8", place) in leaks
        assert ("to the sun", "utf-16-le", place) in leaks
        assert ("MB-92KX7Q", "utf-16-le", place) in leaks
    assert not any(place == "wire, client to relay, raw" for _, _, place in leaks)
    assert search(files, baseline) == 1
    shown = capsys.readouterr().out
    assert all(len(line) <= 100 for line in shown.splitlines())
    assert "found: 3 of 9 terms" in shown


def test_inventory_and_log_of_a_relay_that_runs(tmp_path: Path) -> None:
    with running(tmp_path / "run") as address:
        converse(address, sealed(3))
        taken = inventory.take(tmp_path / "run" / "relay.db")
        assert (taken.unknown, taken.missing) == ((), ())
        assert {table.name: table.rows for table in taken.tables}["envelopes"] == 3
        converse(address, sealed(2))
    assert run(["inventory", "--db", str(tmp_path / "run" / "relay.db")]) == 0
    assert run(["stored", *Files(tmp_path / "run").arguments[:4]]) == 0
    declared: dict[str, Group] = {group.name: group for group in LOG}
    lines = (tmp_path / "run" / "relay.log").read_text().splitlines()
    assert lines
    for line in map(json.loads, lines):
        assert tuple(line) == (*COMMON.names, *declared[line["event"]].names)


def test_the_upgrade_says_no_more_than_declared(baseline: Files) -> None:
    """A header that the relay sends or our own client did would be a field on the wire as well."""
    heads = {
        direction: b"".join(
            record.data
            for record in read_capture(baseline.folder / "capture")
            if (record.connection, record.direction, record.kind) == (1, direction, Kind.RAW)
        ).partition(b"\r\n\r\n")[0]
        for direction in Direction
    }
    names = {
        direction: {line.partition(b":")[0].decode().lower() for line in head.split(b"\r\n")[1:]}
        for direction, head in heads.items()
    }
    assert names[Direction.TO_RELAY] <= {
        "host",
        "upgrade",
        "connection",
        "sec-websocket-key",
        "sec-websocket-version",
        "sec-websocket-protocol",
    }
    assert names[Direction.TO_CLIENT] <= {
        "date",
        "upgrade",
        "connection",
        "sec-websocket-accept",
        "sec-websocket-protocol",
    }
