"""A home is put back from a copy, moved, or comes back with its whole computer: real processes."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.world import Person, Relay, meet


@dataclass
class Owner(Person):
    """Somebody with a computer of their own: a home, and the folder of its mark."""

    @property
    def state(self) -> Path:
        return self.home.with_name(self.home.name + "-state")

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"XDG_STATE_HOME": str(self.state)}

    def copy_away(self) -> None:
        for folder in (self.home, self.state):
            shutil.copytree(folder, _kept(folder))

    def put_back(self, *, with_mark: bool = False) -> None:
        for folder in (self.home, self.state) if with_mark else (self.home,):
            shutil.rmtree(folder)
            shutil.copytree(_kept(folder), folder)

    def notes(self) -> list[str]:
        return [line["text"] for line in self.run("read") if line.get("event") == "note"]

    def trust(self) -> list[tuple[str, str]]:
        return [(line["name"], line["trust"]) for line in self.run("contacts")]


def _kept(folder: Path) -> Path:
    return folder.with_name(folder.name + ".kept")


@pytest.fixture
def alice(tmp_path: Path, relay: Relay) -> Owner:
    person = Owner(tmp_path / "alice", relay)
    person.init("Alice", "--relay", relay.address)
    return person


@pytest.fixture
def bob(tmp_path: Path, relay: Relay) -> Owner:
    person = Owner(tmp_path / "bob", relay)
    person.init("Bob")
    return person


def befriend(alice: Owner, bob: Owner) -> None:
    meet(alice, bob)
    alice.run("verify", "Bob", "yes")
    bob.run("verify", "Alice", "yes")


def chat(alice: Owner, bob: Owner, text: str) -> None:
    for turn in range(2):
        assert alice.run("send", "Bob", f"{text} {turn}")[0]["status"] == "stored"
        assert bob.texts() == [f"{text} {turn}"]
        assert bob.run("send", "Alice", f"{text}, answered {turn}")[0]["status"] == "stored"
        assert alice.texts() == [f"{text}, answered {turn}"]


def test_a_home_put_back_from_a_copy_heals_by_itself(
    relay: Relay, alice: Owner, bob: Owner
) -> None:
    befriend(alice, bob)
    alice.copy_away()
    chat(alice, bob, "before")
    alice.put_back()
    sent = alice.run("send", "Bob", "are you there?")[0]
    assert sent["status"] == "queued"  # no key is used twice
    assert any("restored from a copy or moved here" in note for note in alice.notes())
    shown = bob.run("read")
    assert [line["text"] for line in shown if line["event"] == "message"] == []
    assert [line["text"] for line in shown if "asked for fresh keys" in line["text"]]
    # What Bob said since comes again by itself.
    assert alice.texts() == ["before, answered 0", "before, answered 1"]
    assert bob.texts() == ["are you there?"]
    chat(alice, bob, "after")
    assert alice.notes() == bob.notes() == []
    assert alice.trust() == [("Bob", "verified")]
    assert bob.trust() == [("Alice", "verified")]


def test_a_home_that_was_moved_heals_by_itself(relay: Relay, alice: Owner, bob: Owner) -> None:
    befriend(alice, bob)
    chat(alice, bob, "before")
    shutil.rmtree(bob.state)
    bob.run("send", "Alice", "from the new computer")
    assert any("restored from a copy or moved here" in note for note in bob.notes())
    assert alice.texts() == []
    assert bob.texts() == []
    assert alice.texts() == ["from the new computer"]
    chat(alice, bob, "after")


def test_a_computer_that_was_put_back_whole_is_noticed_by_the_peer(
    relay: Relay, alice: Owner, bob: Owner
) -> None:
    befriend(alice, bob)
    alice.copy_away()
    chat(alice, bob, "before")
    alice.put_back(with_mark=True)
    assert alice.run("send", "Bob", "are you there?")[0]["status"] == "stored"
    shown = bob.run("read")
    assert ["could not be read" in line["text"] for line in shown] == [True]
    assert any("asked for fresh keys" in note for note in alice.notes())
    assert bob.texts() == ["are you there?"]
    chat(alice, bob, "after")
    assert alice.trust() == [("Bob", "verified")]


def test_both_put_back_at_once_while_they_follow(relay: Relay, alice: Owner, bob: Owner) -> None:
    befriend(alice, bob)
    for person in (alice, bob):
        person.copy_away()
    chat(alice, bob, "before")
    for person in (alice, bob):
        person.put_back()
    alice.run("send", "Bob", "Alice is back")
    bob.run("send", "Alice", "Bob is back")
    for _ in range(2):
        alice.run("status")
        bob.run("status")
    heard: list[str] = []
    for _ in range(3):
        heard += alice.texts() + bob.texts()
    assert sorted(heard) == ["Alice is back", "Bob is back"]
    chat(alice, bob, "after")


def test_where_the_mark_cannot_be_written_is_said(relay: Relay, alice: Owner, bob: Owner) -> None:
    befriend(alice, bob)
    shutil.rmtree(alice.state)
    alice.state.write_bytes(b"not a folder")
    answer = alice.run("contacts", code=3)[-1]
    assert str(alice.state) in answer["error"]
    assert "XDG_STATE_HOME" in answer["hint"]
    os.unlink(alice.state)
    alice.run("contacts")


@pytest.fixture
def shop(tmp_path: Path, relay: Relay) -> Owner:
    person = Owner(tmp_path / "shop", relay)
    person.init("Metro Bus", "--relay", relay.address)
    registered = person.run("business", "register", "--legal-name", "PT Metro Bus")[0]
    relay.approve(registered["business_id"], "PT Metro Bus")
    return person


def ask_and_answer(bob: Owner, shop: Owner, text: str) -> None:
    assert bob.run("send", "Metro Bus", text)[0]["status"] == "stored"
    assert shop.texts() == [text]
    answered = shop.run("business", "send", "Bob", f"{text}: yes")[0]
    assert (answered["status"], answered["price_micro_usd"]) == ("stored", 0)
    assert bob.texts() == [f"{text}: yes"]


def test_a_customer_put_back_goes_on_at_once(relay: Relay, shop: Owner, bob: Owner) -> None:
    bob.run("add", shop.run("business", "link")[0]["link"])
    ask_and_answer(bob, shop, "at nine?")
    bob.copy_away()
    ask_and_answer(bob, shop, "at ten?")
    bob.put_back()
    assert any("restored from a copy" in note for note in bob.notes())
    ask_and_answer(bob, shop, "at eleven?")
    assert shop.trust() == [("Bob", "unverified")]


def test_a_business_put_back_gets_its_customers_back(relay: Relay, shop: Owner, bob: Owner) -> None:
    bob.run("add", shop.run("business", "link")[0]["link"])
    ask_and_answer(bob, shop, "at nine?")
    shop.copy_away()
    ask_and_answer(bob, shop, "at ten?")
    shop.put_back()
    assert any("restored from a copy" in note for note in shop.notes())
    relay.jump(86_400 + 60)  # until Bob's device looks at the card again
    ask_and_answer(bob, shop, "at eleven?")
