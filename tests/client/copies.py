"""Two people, a relay that keeps what it took, and copies of homes that are put back."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from kurir_client import healing, inbox, outbox, sessions
from kurir_client.profile import Profile
from kurir_client.schema import Contact
from kurir_wire.entries import Delivery
from tests.client.pair import PASSPHRASE, Pair

NAMES = ("alice", "bob")


@dataclass
class Copy:
    """A copy of a home, and of the mark that it had then."""

    home: Path
    mark: bytes


class Copies(Pair):
    """Alice and Bob, who have met; each message goes through queues that the test empties."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder
        self.befriend()
        self.on_the_way: dict[str, list[Delivery]] = {name: [] for name in NAMES}
        self._copies = 0

    def profile(self, name: str) -> Profile:
        found = getattr(self, name)
        assert isinstance(found, Profile)
        return found

    def contact(self, name: str) -> Contact:
        """What the other one is to ``name``."""
        (found,) = self.profile(name).store.contacts()
        return found

    def say(self, name: str, text: str) -> bytes:
        profile = self.profile(name)
        with profile.store.transaction():
            return outbox.queue(profile.store, self.contact(name).id, 1, text, self.clock.now)

    def send(self, name: str) -> int:
        """Leave all that can go with the relay."""
        profile, sent = self.profile(name), 0
        healing.ask_all(profile.store, self.clock.now)
        while ready := self.prepare(profile):
            for item in ready:
                self.on_the_way[other(name)].append(self.delivery(item))
                assert outbox.answered(profile, item, None, self.relay.cert) is None
            sent += len(ready)
        return sent

    def take(self, name: str, at: int = 0) -> None:
        """Take in one envelope."""
        delivery = self.on_the_way[name].pop(at)
        inbox.receive(self.profile(name), delivery, self.clock.now)

    def take_all(self, name: str) -> int:
        count = len(self.on_the_way[name])
        for _ in range(count):
            self.take(name)
        return count

    def settle(self) -> None:
        """Until there is nothing more to send and to take in."""
        for _ in range(20):
            moved = sum([*map(self.send, NAMES), *map(self.take_all, NAMES)])
            if not moved:
                return
        raise AssertionError("they go on and on")

    def settle_with(self, alice: Profile) -> None:
        """As :meth:`settle`, with another process of Alice's."""
        self.alice, closed = alice, self.alice
        self.settle()
        self.alice = closed

    def copy(self, name: str) -> Copy:
        profile = self.profile(name)
        self._copies += 1
        kept = self.folder / f"copy-{self._copies}"
        mark = profile.mark.file.read_bytes()
        profile.close()
        shutil.copytree(profile.home, kept)
        setattr(self, name, Profile.open(profile.home, PASSPHRASE, self.clock))
        return Copy(kept, mark)

    def put_back(self, name: str, copy: Copy, *, with_mark: bool = False) -> None:
        """Put a copy in place of the home; with its mark, too, as when a computer is restored."""
        profile = self.profile(name)
        profile.close()
        shutil.rmtree(profile.home)
        shutil.copytree(copy.home, profile.home)
        if with_mark:
            profile.mark.file.write_bytes(copy.mark)
        setattr(self, name, Profile.open(profile.home, PASSPHRASE, self.clock))

    def texts(self, name: str) -> list[str]:
        """What the other one said, as the history has it."""
        rows = self.profile(name).store.history(self.contact(name).id, 10_000)
        return [row.text for row in rows if row.direction == "in"]

    def notes(self, name: str) -> list[str]:
        return [row.text for row in self.profile(name).store.unread() if row.direction == "note"]

    def talk(self, text: str) -> None:
        """Both say something and hear it."""
        for name in NAMES:
            self.say(name, f"{text} of {name}")
        self.settle()
        for name in NAMES:
            assert self.texts(name)[-1] == f"{text} of {other(name)}"


def other(name: str) -> str:
    return NAMES[1 - NAMES.index(name)]


def set_back(copies: Copies, name: str = "alice", *, with_mark: bool = False) -> None:
    """To before both have talked."""
    old = copies.copy(name)
    copies.talk("hello")
    copies.talk("and again")
    copies.put_back(name, old, with_mark=with_mark)


def chosen(copies: Copies, name: str) -> bytes | None:
    profile = copies.profile(name)
    with profile.store.transaction():
        session = sessions.to_send_on(profile.store, copies.contact(name).id, copies.clock.now)
    return None if session is None else session.id
