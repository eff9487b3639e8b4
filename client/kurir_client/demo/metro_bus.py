"""Metro Bus: a bot that sells bus tickets, and reminds each customer a day later.

``python -m kurir_client.demo.metro_bus --home DIR``, where DIR is a profile that was registered as
a business. What it says is in :mod:`kurir_client.demo.tickets`; here is what surrounds that: the
messages, a file that remembers each customer, the clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import msgspec

from kurir_client.bot import Bot, Incoming
from kurir_client.clock import Clock, demo_clock, system_clock
from kurir_client.demo.disguise import disguise
from kurir_client.demo.tickets import Step, Talk, answer, reminder
from kurir_client.errors import ClientError
from kurir_client.files import write_private

REMIND_AFTER: Final = 24 * 3_600
"""Seconds after a customer's last message; by then an answer is no longer free."""
LOOK_EVERY: Final = 0.2
"""Seconds between looks at the clock."""
MEMORY: Final = "metro-bus.json"
CODE_LETTERS: Final = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
"""Without 0, 1, I and O, which are read as one another."""

log = logging.getLogger("kurir.metro-bus")


@dataclass(slots=True)
class Known:
    """What the bot remembers of one customer."""

    talk: Talk = field(default_factory=Talk)
    wrote_at: int = 0
    reminded: bool = False


class MetroBus:
    """The bot's shell.

    :param disguised: customers write in disguise, and are answered in it: see
        :mod:`kurir_client.demo.disguise`
    """

    def __init__(self, home: Path, clock: Clock, *, disguised: bool) -> None:
        self._file, self._clock, self._disguised = home / MEMORY, clock, disguised
        self._known: dict[str, Known] = {}
        with contextlib.suppress(FileNotFoundError):
            self._known = msgspec.json.decode(self._file.read_bytes(), type=dict[str, Known])
        self._bot = Bot(home, clock=clock)
        self._bot.message(self.answer)

    async def run(self) -> None:
        """Until SIGTERM."""
        reminding = asyncio.create_task(self._remind())
        try:
            await self._bot.serve()
        finally:
            reminding.cancel()

    async def answer(self, message: Incoming) -> None:
        """Exactly one answer for each message."""
        name = message.customer.name
        known = self._known.setdefault(name, Known())
        reply = answer(known.talk, self._edge(message.text), self._edge(name), self._sold(), code)
        known.talk, known.wrote_at, known.reminded = reply.talk, self._clock(), False
        # Remembered first: after a crash the answer comes again, and no seat is sold twice.
        self._remember()
        await message.reply(self._edge(reply.text))

    async def _remind(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            for name, known in self._known.items():
                if known.reminded or self._clock() - known.wrote_at < REMIND_AFTER:
                    continue
                try:
                    price = self._bot.offer(name).price_micro_usd or 0
                    # Remembered first: a reminder that is lost annoys less than one paid twice.
                    known.reminded = True
                    self._remember()
                    text = reminder(known.talk, self._edge(name))
                    await self._bot.send(name, self._edge(text), max_price=price)
                except ClientError as error:
                    log.warning("no reminder: %s", error.what)

    def _sold(self) -> frozenset[tuple[str, str]]:
        talks = (known.talk for known in self._known.values())
        return frozenset((talk.departure, talk.seat) for talk in talks if talk.step is Step.DONE)

    def _edge(self, text: str) -> str:
        """To and from the disguise; the same either way."""
        return disguise(text) if self._disguised else text

    def _remember(self) -> None:
        write_private(self._file, msgspec.json.encode(self._known))


def code() -> str:
    """The code of a ticket."""
    letters = "".join(secrets.choice(CODE_LETTERS) for _ in range(8))
    return f"MB-{letters[:4]}-{letters[4:]}"


@click.command()
@click.option("--home", type=click.Path(path_type=Path), required=True)
@click.option("--disguised", is_flag=True, hidden=True)
def main(home: Path, disguised: bool) -> None:
    """Sell bus tickets until SIGTERM."""
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.INFO)
    file = os.environ.get("KURIR_DEMO_CLOCK")
    clock = demo_clock(Path(file)) if file else system_clock
    try:
        asyncio.run(MetroBus(home, clock, disguised=disguised).run())
    except ClientError as error:
        hint = f"\nhint: {error.hint}" if error.hint else ""
        raise SystemExit(f"error: {error.what}{hint}") from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
