"""One run of the demo in one folder: a relay, a tap before it, a bot, a customer.

::

    FOLDER/clock      seconds added to everybody's time
    FOLDER/relay/     relay.db, relay.keys, relay.log: all that the relay has
    FOLDER/capture    every byte that crossed its sockets
    FOLDER/bot/       Metro Bus's profile and memory
    FOLDER/customer/  the customer's profile
"""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import time
from asyncio.subprocess import Process
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kurir_billing.dates import month_of_day
from kurir_client.clock import Clock, demo_clock
from kurir_client.demo.chat import Chat, Said, Who, message_of, parsed
from kurir_client.demo.children import START_LIMIT, Children, command, failed, module
from kurir_client.demo.disguise import disguise
from kurir_wire.ids import DAY, HOUR, MINUTE

BUSINESS: Final = "Metro Bus"
CUSTOMER: Final = "Ayu Lestari"
MARKET: Final = "ID"
PASSPHRASE: Final = "demo"  # noqa: S105 - of profiles that anybody may look into
PAUSE: Final = 5 * MINUTE
"""Seconds that pass when a transcript is typed faster than the relay takes answers."""


@dataclass(slots=True)
class Stage:
    """One run.

    :ivar disguised: everything that is said is said in other words: the baseline run
    :ivar told: called with a sentence for each step
    """

    folder: Path
    children: Children
    disguised: bool
    told: Callable[[str], None]
    address: str = ""
    _offset: int = 0
    _relay: Process | None = None
    _tap: Process | None = None

    # where things are

    @property
    def db(self) -> Path:
        """The relay's database."""
        return self.folder / "relay" / "relay.db"

    @property
    def log(self) -> Path:
        """The relay's log."""
        return self.folder / "relay" / "relay.log"

    @property
    def chat_db(self) -> Path:
        """The relay's database as it was when the conversation had ended."""
        return self.folder / "relay" / "after-the-chat" / "relay.db"

    @property
    def capture(self) -> Path:
        """What crossed the relay's sockets."""
        return self.folder / "capture"

    @property
    def invoice_file(self) -> Path:
        """The business's invoice."""
        return self.folder / "invoice.json"

    @property
    def customer(self) -> str:
        """The customer's name in this run."""
        return self.edge(CUSTOMER)

    @property
    def clock(self) -> Clock:
        """The time in this run."""
        return demo_clock(self._clock_file)

    def edge(self, text: str) -> str:
        """To and from the words of this run; the same either way."""
        return disguise(text) if self.disguised else text

    # the steps

    async def open(self) -> None:
        """Start everybody, until the customer could type."""
        (self.folder / "relay").mkdir(parents=True)
        self._set_clock(0)
        # The customer's profile needs nobody; made meanwhile, it saves half a second.
        customer = asyncio.create_task(
            self._kurir(
                "customer", "init", "--name", self.customer, "--market", MARKET, *_QUICK_VAULT
            )
        )
        try:
            await self._start_relay()
            link = await self._start_bot()
        finally:
            await asyncio.gather(customer, return_exceptions=True)
        customer.result()
        self.told(f"{CUSTOMER} makes a profile and opens {BUSINESS}'s link: click to chat")
        await self._kurir("customer", "add", link)

    async def chat(self, see: Callable[[Said], None]) -> Chat:
        """The customer's open chat."""
        process = await self.children.talk(
            "--home", self.folder / "customer", "--json", "chat", BUSINESS, env=self._env
        )
        chat = Chat(process, self.clock, self.edge, see, self.children.check)
        chat.listen()
        return chat

    async def end_chat(self, chat: Chat) -> None:
        """The customer closes the app; the relay's files are copied as they are now, with all that
        the write-ahead log still holds of the conversation."""
        await chat.close()
        await self.children.stop(chat.process)
        copies = self.chat_db.parent
        copies.mkdir()
        for file in sorted(self.db.parent.glob("relay.db*")):
            shutil.copyfile(file, copies / file.name)

    async def ping(self, word: str) -> None:
        """Send a control word in the clear the way that all messages went; it comes back, too."""
        await self.children.run("kurir-audit", "ping", "--relay", self.address, "--word", word)

    def let_time_pass(self) -> None:
        """Some minutes go by."""
        self._set_clock(self._offset + PAUSE)

    def shut_window(self) -> None:
        """Jump to the first noon (UTC) at which the free 24 hours are over: far from midnight, so
        that nothing after it depends on the hour at which the demo is started."""
        shut = self.clock() + DAY + HOUR
        noon = shut // DAY * DAY + DAY // 2
        self._jump_to(noon if noon >= shut else noon + DAY)

    async def reminder_waits(self) -> dict[str, Any]:
        """Return once the bot's reminder waits at the relay, with what the relay stores then.

        :raises DemoError: it does not come
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + START_LIMIT
        while True:
            stored = await self.stored()
            tables = {table["name"]: table["rows"] for table in stored["tables"]}
            if tables.get("envelopes"):
                return stored
            if loop.time() > deadline:
                log = (self.folder / "bot.log").read_text(errors="replace")
                raise failed("Metro Bus's reminder", "it did not come to the relay", log)
            self.children.check()
            await asyncio.sleep(0.1)

    async def stored(self) -> dict[str, Any]:
        """What the relay stores and has logged now, from its files."""
        done = await self.children.run(
            "kurir-audit", "stored", "--db", self.db, "--log", self.log, "--json"
        )
        return dict(json.loads(done.out))

    async def open_reminder(self) -> list[Said]:
        """The customer's device fetches what waits, shows it and settles it."""
        done = await self._kurir("customer", "read")
        events = [event for line in done.splitlines() if (event := parsed(line))]
        return [
            message_of(event, self.edge)
            if event.get("event") == "message"
            else Said(Who.NOTE, str(event.get("text")), int(event.get("at", 0)))
            for event in events
            if event.get("event") in ("message", "note")
        ]

    async def fetch_invoice(self) -> str:
        """The next day the settlement is published: fetch the invoice of its month.

        :returns: the month, YYYY-MM
        """
        day = self.clock() // DAY
        year, number = divmod(month_of_day(day), 100)
        month = f"{year}-{number:02d}"
        self._jump_to((day + 1) * DAY + 10 * MINUTE)
        await self._kurir(
            "bot", "business", "invoice", "--month", month, "--out", self.invoice_file
        )
        return month

    async def verify_invoice(self) -> tuple[bool, str]:
        """Have the business's own records say whether the invoice is right.

        :returns: whether it is, and what the command said
        """
        done = await self.children.run(
            *("kurir", "--home", self.folder / "bot", "invoice", "verify", self.invoice_file),
            env=self._env,
            may_fail=True,
        )
        return done.code == 0, (done.out + done.err).strip()

    async def close(self) -> None:
        """End the tap in good order, and the relay without one: stopping would empty the
        write-ahead log, which the search is to see."""
        if self._tap is not None:
            await self.children.stop(self._tap)
        if self._relay is not None:
            await self.children.stop(self._relay, signal.SIGKILL)

    # inside

    @property
    def _clock_file(self) -> Path:
        return self.folder / "clock"

    @property
    def _env(self) -> dict[str, str]:
        return {
            "KURIR_PASSPHRASE": PASSPHRASE,
            "KURIR_DEMO_CLOCK": str(self._clock_file),
            "XDG_STATE_HOME": str(self.folder / "state"),  # the marks of profiles go with them
            "TZ": "UTC",
        }

    async def _start_relay(self) -> None:
        relay = self.folder / "relay"
        await self.children.run("kurir-relay", "init", "--db", self.db)
        serve = command(
            *("kurir-relay", "serve", "--db", self.db, "--listen", "127.0.0.1:0"),
            *("--ready-file", relay / "ready", "--demo-clock", self._clock_file),
        )
        self._relay, upstream = await self.children.serve(
            "the relay", serve, relay / "ready", self.log, self._env
        )
        self.told(f"the relay makes its keys and listens on {upstream}")
        tap = command(
            *("kurir-audit", "tap", "--listen", "127.0.0.1:0", "--upstream", upstream),
            *("--out", self.capture, "--ready-file", self.folder / "tap.ready"),
        )
        self._tap, self.address = await self.children.serve(
            "the tap", tap, self.folder / "tap.ready", self.folder / "tap.log", self._env
        )
        self.told(f"a tap before it, on {self.address}, records every byte of both directions")

    async def _start_bot(self) -> str:
        """:returns: the business's link"""
        await self._kurir("bot", "init", "--name", BUSINESS, "--relay", self.address, *_QUICK_VAULT)
        shown = parsed(await self._kurir("bot", "business", "register", "--legal-name", BUSINESS))
        if shown is None:
            raise failed("kurir business register", "it did not say its id", "")
        await self.children.run(
            *("kurir-relay", "business", "approve", str(shown["business_id"]), "--db", self.db),
            *("--tier", "platform", "--legal-name", BUSINESS),
        )
        bot = module("kurir_client.demo.metro_bus", "--home", self.folder / "bot")
        if self.disguised:
            bot.append("--disguised")
        await self.children.background(f"{BUSINESS}'s bot", bot, self.folder / "bot.log", self._env)
        self.told(f"{BUSINESS} registers, the operator certifies it, its bot starts")
        return str(shown["link"])

    async def _kurir(self, who: str, *arguments: str | Path) -> str:
        done = await self.children.run(
            "kurir", "--home", self.folder / who, "--json", *arguments, env=self._env
        )
        return done.out

    def _jump_to(self, second: int) -> None:
        self._set_clock(second - int(time.time()))

    def _set_clock(self, offset: int) -> None:
        self._offset = offset
        fresh = self.folder / "clock.new"
        fresh.write_text(f"{offset}\n", "ascii")
        fresh.replace(self._clock_file)


_QUICK_VAULT: Final = ("--vault-cost", "quick")
"""The demo's profiles are thrown away, and their passphrase is no secret."""
