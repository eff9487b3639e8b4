"""A running relay for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import Person, Relay


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    running = Relay(tmp_path / "relay")
    running.init()
    running.start()
    yield running
    if running.process is not None and running.process.poll() is None:
        assert running.stop() == 0, running.log.read_text()[-2_000:]
    assert "Traceback" not in running.log.read_text()


@pytest.fixture
def alice(tmp_path: Path, relay: Relay) -> Person:
    person = Person(tmp_path / "alice", relay)
    person.init("Alice", "--relay", relay.address)
    return person


@pytest.fixture
def bob(tmp_path: Path, relay: Relay) -> Person:
    person = Person(tmp_path / "bob", relay)
    person.init("Bob")
    return person


@pytest.fixture
def shop(tmp_path: Path, relay: Relay) -> Person:
    person = Person(tmp_path / "shop", relay)
    person.init("Metro Bus", "--relay", relay.address)
    registered = person.run("business", "register", "--legal-name", "PT Metro Bus")[0]
    relay.approve(registered["business_id"], "PT Metro Bus")
    return person


@pytest.fixture
def customer(tmp_path: Path, relay: Relay, shop: Person) -> Person:
    person = Person(tmp_path / "customer", relay)
    person.init("Siti", "--market", "ID")
    added = person.run("add", shop.run("business", "link")[0]["link"])[0]
    assert added["legal_name"] == "PT Metro Bus"
    assert added["tier"] == "platform"
    return person
