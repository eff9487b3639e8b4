"""What the command line prints and when it ends, without a relay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kurir_client.cli import main, people
from kurir_client.cli.output import Output, clock_time
from kurir_client.cli.prices import tell_age
from kurir_client.errors import ProfileError, RelayError
from kurir_client.offers import PRICES_OF
from kurir_client.schema import Message, Status
from tests.client.pair import PASSPHRASE, Pair


@pytest.fixture(autouse=True)
def passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KURIR_PASSPHRASE", PASSPHRASE)


def kurir(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr("sys.argv", ["kurir", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("at", [0, 2**40, 2**62, 2**63 - 1])
def test_any_time_that_a_sender_claims_can_be_shown(
    capsys: pytest.CaptureFixture[str], at: int
) -> None:
    assert clock_time(at)
    message = Message(1, None, None, "in", "hello", at, Status.UNREAD, 99, None)
    Output(as_json=False, ascii_only=False).message(message, None)
    assert "hello" in capsys.readouterr().out


def test_json_carries_no_control_character_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\x9b2J\x7f\u202eevil\x1b[2J"
    message = Message(1, None, None, "in", text, 0, Status.UNREAD, None, None)
    Output(as_json=True, ascii_only=False).message(message, None)
    printed = capsys.readouterr().out
    assert printed.strip().isascii()
    assert json.loads(printed)["text"] == text


def test_prices_that_could_not_be_asked_for_say_of_which_day_they_are(
    pair: Pair, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.open_shop()
    out = Output(as_json=False, ascii_only=False)
    tell_age(out, pair.bob, "the relay does not answer")
    with pair.bob.store.transaction():
        pair.bob.store.put(PRICES_OF, b"1800000000")
    tell_age(out, pair.bob, "the relay does not answer")
    tell_age(out, pair.bob, "")
    assert capsys.readouterr().out.splitlines() == [
        "by the last known prices: the relay does not answer",
        "by the last known prices of 15 Jan 2027: the relay does not answer",
    ]


def test_a_wrong_relay_leaves_no_profile_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    arguments = ("--home", str(home), "init", "--name", "A", "--vault-cost", "quick")
    assert kurir(monkeypatch, *arguments, "--relay", "two words:1") == 2
    assert not home.exists()
    assert kurir(monkeypatch, *arguments) == 0
    assert kurir(monkeypatch, *arguments) == 3


@pytest.mark.parametrize("market", ["Indonesia", "I", "1D", "ÄÖ", ""])
def test_a_country_that_is_none_makes_no_profile(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    market: str,
) -> None:
    home = tmp_path / "home"
    arguments = ("--home", str(home), "init", "--name", "A", "--vault-cost", "quick")
    assert kurir(monkeypatch, *arguments, "--market", market) == 2
    assert "two letters" in capsys.readouterr().err
    assert not home.exists()
    assert kurir(monkeypatch, *arguments, "--market", "id") == 0


def test_the_relay_of_a_profile_may_change_until_it_was_met(pair: Pair) -> None:
    with pair.alice.store.transaction():
        pair.alice.store._run("DELETE FROM meta WHERE key = 'relay_id'")
    pair.alice.set_relay("127.0.0.1:1")
    pair.alice.set_relay("127.0.0.1:2")
    with pair.alice.store.transaction():
        pair.alice.store.put("relay_id", bytes(32))
    with pytest.raises(Exception, match="uses the relay"):
        pair.alice.set_relay("127.0.0.1:3")


def test_what_has_come_is_shown_even_if_the_relay_then_refuses(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pair.alice.store.transaction():
        pair.alice.store.add_message(None, None, "note", "something came", 0, Status.UNREAD)
    pair.alice.close()

    async def refuse(*_: object) -> None:
        raise RelayError("the relay asks to slow down", "", "rate", 9)

    monkeypatch.setattr(people, "_fetch", refuse)
    assert kurir(monkeypatch, "--home", str(pair.alice.home), "read") == 5
    assert "something came" in capsys.readouterr().out


def test_the_first_error_of_a_full_disk_is_the_one_that_is_told(pair: Pair) -> None:
    store = pair.alice.store

    def fail() -> None:
        with store.transaction(), store.savepoint():
            store._db.execute("ROLLBACK")  # SQLite does so by itself when the disk is full
            raise ProfileError("the disk is full")

    with pytest.raises(ProfileError, match="full"):
        fail()
    with store.transaction():
        store.put("name", b"A")


def test_a_refusal_gives_its_figures_to_programs(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pair.open_shop()
    pair.bob.close()
    arguments = ("--home", str(pair.bob.home), "--json", "business", "send", "Alice", "late")
    monkeypatch.setenv("KURIR_DEMO_CLOCK", "/nowhere")
    assert kurir(monkeypatch, *arguments) == 7
    told = json.loads(capsys.readouterr().err)
    assert (told["refusal_code"], told["quote_micro_usd"]) == (131_047, 25_000)
