"""One client of the soak, in a process of its own: ``python -m tests.faults.actor HOME LOG``.

Its home is a real one, and so is what drives it: a messenger that follows, or a bot. It writes up
to as many messages to each contact as the file ``goal`` beside its log says, and notes what it was
told and what it showed. It may be killed at any moment: the system has by then what it noted.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

from kurir_client.bot import Bot, Incoming
from kurir_client.cli.session import CLOCK_VARIABLE, PASSPHRASE_VARIABLE
from kurir_client.clock import demo_clock
from kurir_client.errors import OfflineError
from kurir_client.messenger import Messenger
from kurir_client.profile import Profile
from kurir_client.schema import Kind, Status
from kurir_wire.ids import digest, u32

AT_ONCE: Final = 8
"""Messages queued together."""
PAUSE: Final = 0.05
MAX_PRICE: Final = 25_000
NOBODY: Final = "-"
"""Who wrote what the messenger itself says."""


def text_of(name: str, number: int) -> str:
    return f"{name} {number}"


def inner_id(name: str, to: str, number: int) -> bytes:
    return digest("soak", name.encode(), to.encode(), u32(number))[:16]


class Notes:
    """A line of JSON each: a word, and what it is about."""

    def __init__(self, file: Path) -> None:
        self._fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def __call__(self, *words: object) -> None:
        os.write(self._fd, (json.dumps(words) + "\n").encode())


class Person:
    """Writes to each contact, shows what comes."""

    def __init__(self, profile: Profile, goal: Path, note: Notes) -> None:
        self.messenger = Messenger(profile, on_change=self.show)
        self.profile, self.goal, self.note = profile, goal, note
        self.names = [c.name for c in profile.store.contacts() if c.kind != Kind.CUSTOMER]
        self.told = dict.fromkeys(self.names, 0)
        self.queued = dict.fromkeys(self.names, 0)

    async def show(self) -> None:
        for message in self.messenger.unread():
            who = NOBODY
            if message.contact is not None and message.direction == "in":
                who = self.profile.store.contact(message.contact).name
            self.note("shown", message.n, who, message.text)
            self.messenger.shown(message)

    async def write(self) -> None:
        while True:
            wanted = int(self.goal.read_text() or 0)
            for name in self.names:
                contact = self.messenger.contact(name)
                until = min(wanted, self.queued[name] + AT_ONCE)
                for number in range(self.queued[name], until):
                    said = inner_id(self.profile.name, name, number)
                    text = text_of(self.profile.name, number)
                    self.messenger.queue_text(contact, text, inner_id=said)
                self.queued[name] = max(self.queued[name], until)
                self._tell(name)
            await asyncio.sleep(PAUSE)

    def _tell(self, name: str) -> None:
        """Note each that has its tick."""
        while self.told[name] < self.queued[name]:
            said = inner_id(self.profile.name, name, self.told[name])
            sent = self.profile.store.message_sent(said)
            if sent is None or sent.status is not Status.STORED:
                return
            self.note("stored", name, self.told[name])
            self.told[name] += 1

    async def run(self) -> None:
        await self.show()
        jobs = [
            asyncio.create_task(self.messenger.follow(lambda state: self.note("link", state))),
            asyncio.create_task(self.write()),
        ]
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, jobs[0].cancel)
        try:
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                if not job.cancelled():
                    job.result()
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            self.profile.close()


async def answer(home: Path, note: Notes) -> None:
    """A shop: one answer to each message, at whatever it costs."""
    bot = Bot(home, os.environ[PASSPHRASE_VARIABLE], demo_clock(Path(os.environ[CLOCK_VARIABLE])))

    @bot.message
    async def handle(message: Incoming) -> None:
        note("shown", message.id.hex(), message.customer.name, message.text)
        await message.reply(f"re {message.text}", MAX_PRICE)

    await bot.serve()


def main() -> None:
    home, log = Path(sys.argv[1]), Path(sys.argv[2])
    note = Notes(log)
    note("begun")
    profile = Profile.open(
        home, os.environ[PASSPHRASE_VARIABLE], demo_clock(Path(os.environ[CLOCK_VARIABLE]))
    )
    try:
        if profile.store.get("business_root_pk") is not None:
            profile.close()
            asyncio.run(answer(home, note))
        else:
            asyncio.run(Person(profile, log.with_name("goal"), note).run())
    except OfflineError as error:  # only while it is being stopped
        note("link", error.what)


if __name__ == "__main__":
    main()
