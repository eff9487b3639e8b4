"""The soak: a relay, people, a shop and its customers, killed with SIGKILL again and again.

``python -m tests.faults.soak --cycles 200 --messages 20000 --seed 1``, or ``make soak``. At the end
each message whose sender was told that the relay has it was shown once and in its sender's order,
and every charge has settled once, stands in the invoice and in the ledger.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from pathlib import Path
from typing import Any, Final

from kurir_client.clock import demo_clock
from kurir_client.profile import Profile
from kurir_client.schema import Message
from tests.e2e.world import PASSPHRASE, Person, Relay, meet, wait_for
from tests.faults.actor import NOBODY, text_of

PAIRS: Final = 2
CUSTOMERS: Final = 2
SHOP: Final = "Metro Bus"
JUMP: Final = 4_500
"""Seconds that pass between two kills: 20 of them make a day's end."""
LONGEST: Final = 1.2
"""Seconds until the next kill, at most."""
DRAIN: Final = 900.0
DAY: Final = 86_400


@dataclass(frozen=True)
class Plan:
    """``messages`` in all, answers of the shop among them."""

    cycles: int
    messages: int
    seed: int

    def goal(self, cycle: int) -> int:
        """Messages from each person to each contact by then. A customer's message makes two."""
        ways = 2 * PAIRS + 2 * CUSTOMERS
        return -(-self.messages * cycle // (ways * self.cycles))


@dataclass
class Actor:
    """A client process, and its notes."""

    person: Person
    name: str
    log: Path
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self) -> None:
        errors = self.log.with_suffix(".err")
        with errors.open("ab") as error:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.actor", str(self.person.home), str(self.log)],
                env=self.person.environment,
                stderr=error,
                stdout=error,
            )
        self.starts += 1

    def kill(self) -> None:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.name} has ended:\n{self.errors}"
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0, self.errors

    @property
    def errors(self) -> str:
        return self.log.with_suffix(".err").read_text()[-2_000:]

    def notes(self, word: str) -> list[list[Any]]:
        lines = (json.loads(line) for line in self.log.read_text().splitlines())
        return [line[1:] for line in lines if line[0] == word]

    def open(self) -> Profile:
        clock = demo_clock(self.person.relay.clock)
        return Profile.open(self.person.home, PASSPHRASE, clock)


@dataclass
class World:
    """Who takes part. ``writes``: from whom to whom."""

    relay: Relay
    shop: Actor
    people: list[Actor]
    customers: list[Actor]
    writes: list[tuple[Actor, Actor]] = field(default_factory=list)

    @property
    def actors(self) -> list[Actor]:
        return [self.shop, *self.people, *self.customers]

    @property
    def goal(self) -> Path:
        return self.shop.log.with_name("goal")

    def set_goal(self, number: int) -> None:
        fresh = self.goal.with_suffix(".new")
        fresh.write_text(str(number))
        fresh.replace(self.goal)

    def end(self) -> None:
        """Whatever happened, leave no process."""
        for process in [self.relay.process, *(actor.process for actor in self.actors)]:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


def made(folder: Path) -> World:
    """A relay that runs, and everybody who has met."""
    relay = Relay(folder / "relay")
    relay.init()
    relay.start()

    def actor(name: str, *options: str) -> Actor:
        person = Person(folder / name.replace(" ", ""), relay)
        person.init(name, *options)
        return Actor(person, name, folder / f"{name.replace(' ', '')}.log")

    shop = actor(SHOP, "--relay", relay.address)
    registered = shop.person.run("business", "register", "--legal-name", "PT Metro Bus")[0]
    relay.approve(registered["business_id"], "PT Metro Bus")
    world = World(relay, shop, [], [])
    for number in range(PAIRS):
        one, other = actor(f"one{number}", "--relay", relay.address), actor(f"other{number}")
        meet(one.person, other.person)
        world.people += [one, other]
        world.writes += [(one, other), (other, one)]
    link = shop.person.run("business", "link")[0]["link"]
    for number in range(CUSTOMERS):
        customer = actor(f"customer{number}", "--market", "ID")
        customer.person.run("add", link)
        world.customers.append(customer)
        world.writes.append((customer, shop))
    world.set_goal(0)
    return world


def run(plan: Plan, folder: Path, say: Callable[[str], None]) -> None:
    """Do it all, in a folder.

    :raises AssertionError: a promise was not kept
    """
    began = time.monotonic()
    world = made(folder)
    try:
        for actor in world.actors:
            actor.start()
        _kill_again_and_again(world, plan, say)
        _drain(world, plan, say)
        for actor in world.actors:
            actor.stop()
        _check_mail(world, plan)
        count = _check_money(world, folder)
        assert world.relay.stop() == 0
        log = world.relay.log.read_text()
        for fault in ("Traceback", "internal-error", "data-damaged", "disk-failed"):
            assert fault not in log, log[-2_000:]
    except BaseException as error:
        error.add_note(f"seed {plan.seed}, in {folder}")
        raise
    finally:
        world.end()
    shown = sum(len(actor.notes("shown")) for actor in world.actors)
    say(
        f"{plan.cycles} kills, {shown} messages shown, {count} charges settled: nothing lost, "
        f"nothing twice, all in order ({time.monotonic() - began:.0f} s, seed {plan.seed})"
    )


def _kill_again_and_again(world: World, plan: Plan, say: Callable[[str], None]) -> None:
    rng = random.Random(plan.seed)
    killed: Counter[str] = Counter()
    for cycle in range(1, plan.cycles + 1):
        world.set_goal(plan.goal(cycle))
        time.sleep(rng.uniform(0.05, LONGEST))
        victim = rng.choice([None, None, None, *world.actors])
        if victim is None:
            world.relay.kill()
            world.relay.start()
        else:
            victim.kill()
            victim.start()
        killed["relay" if victim is None else victim.name] += 1
        world.relay.jump(JUMP)
        if cycle % 10 == 0 or cycle == plan.cycles:
            say(f"{cycle} of {plan.cycles} kills; {plan.goal(cycle)} messages from each to each")
    say("killed: " + ", ".join(f"{name} {count}" for name, count in sorted(killed.items())))


def _drain(world: World, plan: Plan, say: Callable[[str], None]) -> None:
    """Wait until everything is where it belongs. Time goes on, since paces need it."""
    goal = plan.goal(plan.cycles)
    last = [0.0]

    def is_done() -> bool:
        for actor in world.actors:
            assert actor.process is not None
            assert actor.process.poll() is None, f"{actor.name} has ended:\n{actor.errors}"
        missing = sum(goal - len({n for _, n in s.notes("stored")}) for s, _ in world.writes)
        for sender, reader in world.writes:
            seen = {note[2] for note in reader.notes("shown") if note[1] == sender.name}
            missing += goal - len(seen)
        for customer in world.customers:
            seen = {note[2] for note in customer.notes("shown") if note[1] == SHOP}
            missing += goal - len(seen)
        if time.monotonic() - last[0] > 2:
            last[0] = time.monotonic()
            world.relay.jump(60)
            say(f"waiting for {missing} more")
        time.sleep(0.2)
        return missing == 0

    wait_for(is_done, "the last messages", DRAIN)


def _check_mail(world: World, plan: Plan) -> None:
    goal = plan.goal(plan.cycles)
    expected: dict[str, dict[str, list[str]]] = {actor.name: {} for actor in world.actors}
    for sender, reader in world.writes:
        told = {number for _, number in sender.notes("stored")}
        assert told == set(range(goal))
        texts = [text_of(sender.name, number) for number in range(goal)]
        expected[reader.name][sender.name] = texts
    for customer in world.customers:
        texts = [f"re {text_of(customer.name, number)}" for number in range(goal)]
        expected[customer.name][SHOP] = texts
    for reader in world.actors:
        for who, texts in expected[reader.name].items():
            assert _came(reader, who) == texts, f"from {who} to {reader.name}"
        check_shown(reader, expected[reader.name])


def _came(reader: Actor, name: str) -> list[str]:
    """What the reader's history holds of a contact, in its order."""
    profile = reader.open()
    try:
        contact = profile.store.contact_named(name)
        assert contact is not None
        history: list[Message] = profile.store.history(contact.id, 1_000_000)
        notes = [message.text for message in history if message.direction == "note"]
        assert not any("could not be read" in note or "not sent" in note for note in notes), notes
        return [message.text for message in history if message.direction == "in"]
    finally:
        profile.close()


def check_shown(reader: Actor, expected: dict[str, list[str]]) -> None:
    """What each sender wrote came to the screen once and in its order, and so did each row of the
    relay's own; the one that was being shown when the process was killed, perhaps twice in a row.

    :param expected: by sender
    :raises AssertionError: it did not
    """
    notes = reader.notes("shown")
    repeated = 0
    for who in {who for _, who, _ in notes} | expected.keys():
        shown = [(row, text) for row, sender, text in notes if sender == who]
        once = [one for one, _ in groupby(shown)]
        repeated += len(shown) - len(once)
        assert len(set(once)) == len(once), f"{who} was shown twice to {reader.name}"
        if who != NOBODY:
            both = zip_longest([text for _, text in once], expected.get(who, []))
            wrong = [(text, due) for text, due in both if text != due]
            assert not wrong, f"{reader.name} showed of {who}: {wrong[0][0]}, due {wrong[0][1]}"
    assert repeated < reader.starts, f"{repeated} were shown again to {reader.name}"


def _check_money(world: World, folder: Path) -> int:
    """:returns: how many charges have settled"""
    answers = sum(len(_came(customer, SHOP)) for customer in world.customers)
    world.relay.jump(DAY)
    shop = world.shop.open()
    try:
        accepted = [charge for charge in shop.store.charges() if charge.state == "accepted"]
    finally:
        shop.close()
    assert len(accepted) == answers, "each answer was accepted under one charge"
    settled = charged = 0
    ends = time.time() + int(world.relay.clock.read_text()) - DAY
    months = {time.strftime("%Y-%m", time.gmtime(at)) for at in _days(time.time(), ends)}
    for month in sorted(months):
        file = str(folder / f"{month}.json")
        shown = world.shop.person.run("business", "invoice", "--month", month, "--out", file)[0]
        assert world.shop.person.run("invoice", "verify", file)[0]["verified"]
        settled += int(shown["count"])
        charged += int(shown["total_micro_usd"])
    assert settled == answers, "each charge settled, and once"
    export = folder / "ledger"
    world.relay.command("ledger", "export", str(export), "--db", str(world.relay.db))
    audit = [sys.executable, "-m", "kurir_audit", "ledger", str(export), "--json"]
    done = subprocess.run(audit, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads(done.stdout)["files"]
    assert found["leaves"] == answers
    assert sum(line["micro_usd"] for line in found["totals"]) == charged
    return settled


def _days(first: float, last: float) -> list[float]:
    return [first + DAY * number for number in range(int((last - first) // DAY) + 1)] + [last]


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or (number := int(text)) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a number from 1 up")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=_count, default=200)
    parser.add_argument("--messages", type=_count, default=20_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--folder", type=Path, help="where to work; kept  [default: removed]")
    options = parser.parse_args()
    plan = Plan(options.cycles, options.messages, options.seed)
    print(f"{plan.cycles} kills, {plan.messages} messages, seed {plan.seed}", flush=True)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")
        run(plan, folder, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
