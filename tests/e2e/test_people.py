"""Two people on one relay, as they use it: the command line, offline half of the time, killed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.e2e.world import Person, Relay, meet, wait_for


def test_two_people_meet_verify_and_talk(relay: Relay, alice: Person, bob: Person) -> None:
    link = alice.run("invite", "for Bob")[0]["link"]
    assert [item["label"] for item in alice.run("contacts")] == ["for Bob"]
    assert bob.run("add", link)[0]["name"] == "Alice"
    assert [item["text"] for item in alice.run("read")] == ["Bob accepted your invite"]
    bob.run("read")

    ours = alice.run("verify", "bob")[0]["number"]
    assert len(ours) == 60
    assert bob.run("verify", "Alice")[0]["number"] == ours
    assert alice.run("verify", "Bob", "yes")[0]["trust"] == "verified"
    assert alice.run("contacts")[0]["trust"] == "verified"

    assert bob.run("send", "Alice", "Lunch?")[0]["status"] == "stored"
    assert alice.texts() == ["Lunch?"]
    assert alice.texts() == []
    alice.run("send", "Bob", "Noon", "works")
    assert bob.texts() == ["Noon works"]


def test_an_invite_works_once(relay: Relay, alice: Person, bob: Person, tmp_path: Path) -> None:
    link = alice.run("invite")[0]["link"]
    carol = Person(tmp_path / "carol", relay)
    carol.init("Carol")
    bob.run("add", link)
    alice.run("read")
    bob.run("read")
    alice.run("read")  # hears Bob where she asked him to write, and withdraws the invite
    refused = carol.run("add", link, code=6)[-1]
    assert refused["error"] == "this invite was used already, withdrawn, or has expired"


def test_the_second_of_two_who_race_for_an_invite_gets_nothing_in(
    relay: Relay, alice: Person, bob: Person, tmp_path: Path
) -> None:
    link = alice.run("invite")[0]["link"]
    carol = Person(tmp_path / "carol", relay)
    carol.init("Carol")
    bob.run("add", link)
    carol.run("add", link)
    carol.run("send", "Alice", "me too")
    shown = alice.run("read")
    assert shown[0]["text"] == "Bob accepted your invite"
    assert all("somebody else tried an invite" in item["text"] for item in shown[1:])
    assert [item["name"] for item in alice.run("contacts")] == ["Bob"]
    bob.run("read")
    alice.run("read")  # hears Bob at his own mailbox, and withdraws the invite
    told = carol.run("send", "Alice", "hello?", code=6)[-1]
    assert "the invite was used by somebody else" in told["error"]


def test_offline_half_of_the_time_and_killed_in_the_middle(
    relay: Relay, alice: Person, bob: Person
) -> None:
    meet(alice, bob)
    sent: list[str] = []
    shown: list[str] = []
    for turn in range(4):
        for number in range(5):
            text = f"turn {turn} number {number}"
            alice.run("send", "Bob", text)
            sent.append(text)
        if turn % 2:
            with bob.running("read", "--follow") as process:
                first = _next_text(process)
                process.kill()  # in the middle: some are on the screen, some are not
                shown.append(first)
                assert process.stdout is not None
                # Not communicate(), which leaves out what readline() has buffered.
                shown += _texts(process.stdout.read())
            shown += bob.texts()
    shown += bob.texts()
    # A kill between printing and noting it may show one message again; it never loses one.
    assert list(dict.fromkeys(shown)) == sent
    assert len(shown) - len(sent) <= 2
    bob.run("send", "Alice", "got them")
    assert alice.texts() == ["got them"]


def test_what_is_sent_while_the_relay_is_away_goes_later_in_order(
    relay: Relay, alice: Person, bob: Person
) -> None:
    meet(alice, bob)
    relay.kill()
    for number in range(3):
        answer = alice.run("send", "Bob", f"number {number}")[0]
        assert answer["status"] == "queued"
    assert alice.run("read", code=4)[-1]["error"].startswith("cannot reach the relay")
    history = alice.run("read", "--with", "Bob")
    assert [item["text"] for item in history if "text" in item][-3:] == [
        f"number {number}" for number in range(3)
    ]
    relay.start()
    assert alice.run("status")[0]["queued"] == 0
    assert bob.texts() == [f"number {number}" for number in range(3)]


def test_a_follower_sees_what_another_process_sends(
    relay: Relay, alice: Person, bob: Person
) -> None:
    meet(alice, bob)
    with bob.running("read", "--follow") as process:
        alice.run("send", "Bob", "hello there")
        assert _next_text(process) == "hello there"
        bob.run("send", "Alice", "from another terminal")
        assert "another kurir" in bob.run("read", code=2)[-1]["error"]
    assert alice.texts() == ["from another terminal"]


def test_both_invite_each_other_and_still_converge(
    relay: Relay, alice: Person, bob: Person
) -> None:
    bob.run("add", alice.run("invite")[0]["link"])
    alice.run("add", bob.run("invite")[0]["link"])
    for _ in range(3):
        alice.run("read")
        bob.run("read")
    alice.run("send", "Bob", "one")
    bob.run("send", "Alice", "two")
    assert (alice.texts(), bob.texts()) == (["two"], ["one"])
    alice.run("send", "Bob", "three")
    assert bob.texts() == ["three"]
    assert len(alice.run("contacts")) == len(bob.run("contacts")) == 1


def test_chat_sends_each_line_of_its_input(relay: Relay, alice: Person, bob: Person) -> None:
    meet(alice, bob)
    with bob.running("chat", "Alice") as process:
        alice.run("send", "Bob", "are you there?")
        assert _next_text(process) == "are you there?"
        process.communicate("yes\n\n/quit is only text here\n", timeout=60)
    assert alice.texts() == ["yes", "/quit is only text here"]


def test_clear_errors(relay: Relay, alice: Person, bob: Person) -> None:
    cases: list[tuple[int, str, tuple[str, ...]]] = [
        (2, "there is no contact 'Zoe'", ("send", "Zoe", "hi")),
        (1, "a kurir link starts with kurir://", ("add", "https://example.org/")),
        (1, "the link is incomplete", ("add", "kurir://127.0.0.1:1/i/")),
        (2, "Missing argument", ("send", "Bob")),
        (2, "there is nothing to send", ("send", "Alice", "  ")),
        (2, "is not a month", ("business", "invoice", "--month", "2026-13")),
        (2, "not a business", ("business", "link")),
    ]
    meet(alice, bob)
    for code, words, arguments in cases:
        answer = bob.run(*arguments, code=code)[-1]
        assert words.lower() in answer["error"].lower(), (arguments, answer)
    wrong = subprocess.run(
        bob.command("contacts"),
        env=bob.environment | {"KURIR_PASSPHRASE": "guess"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert wrong.returncode == 3
    assert json.loads(wrong.stderr)["error"] == "wrong passphrase"


def test_another_relay_at_the_same_address_is_refused(
    relay: Relay, alice: Person, bob: Person, tmp_path: Path
) -> None:
    meet(alice, bob)
    relay.stop()
    other = Relay(tmp_path / "other", relay.port)
    other.init()
    other.start()
    try:
        refused = alice.run("read", code=5)[-1]
        assert "not the relay" in refused["error"]
    finally:
        other.stop()


def _next_text(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    found: list[str] = []

    def look() -> bool:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "the process ended"
        found.extend(_texts(line))
        return bool(found)

    wait_for(look, "a message")
    return found[0]


def _texts(output: str) -> list[str]:
    lines = [json.loads(line) for line in output.splitlines() if line.endswith("}")]
    return [line["text"] for line in lines if line.get("event") == "message"]
