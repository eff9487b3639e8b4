"""A bot in a few lines: a registered business that answers.

::

    bot = Bot("./shop", passphrase)

    @bot.message
    async def answer(message):
        await message.reply(f"You said: {message.text}")

    bot.run()
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kurir_client import business
from kurir_client.clock import Clock, system_clock
from kurir_client.errors import (
    ClientError,
    OfflineError,
    ProfileError,
    RefusedError,
    RelayError,
    UsageError,
)
from kurir_client.link import Link
from kurir_client.messenger import Messenger
from kurir_client.offers import Offer, category_named, has_prices, offer, refused
from kurir_client.outbox import INNER_ID_BYTES
from kurir_client.process import no_core_dumps
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Message
from kurir_wire.ids import digest, u32

RENEW_EVERY: Final = 6 * 3_600.0
"""Seconds after which a connected bot looks at its card, prekeys and rate card again."""

log = logging.getLogger("kurir.bot")


@dataclass(frozen=True, slots=True)
class Customer:
    """Somebody who has written to the business."""

    name: str
    _bot: Bot = field(repr=False)

    @property
    def offer(self) -> Offer:
        """What an answer sent now would cost, and what is open."""
        return self._bot.offer(self.name)

    def price(self, category: str | None = None) -> Offer:
        """The same for a message of a category; see :meth:`Bot.offer`."""
        return self._bot.offer(self.name, category)

    async def send(self, text: str, max_price: int = 0, category: str | None = None) -> None:
        """Write to the customer.

        :param max_price: micro-USD that may be spent; 0 sends only what is free
        :param category: ``service``, ``utility``, ``marketing`` or ``authentication``; looked at
            where the tariff has categories, and ``service`` there if nothing is said
        :raises RefusedError: it would cost more, or cannot be sent now; ``quote_micro_usd`` says
            what it would cost
        """
        await self._bot.send(self.name, text, max_price, category=category)


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message of a customer.

    :ivar id: the same if the message comes again after a crash
    :ivar at: second at which it was written, by the customer's clock
    """

    text: str = field(repr=False)
    at: int
    customer: Customer
    id: bytes = field(repr=False)
    _replies: Iterator[int] = field(repr=False, default_factory=itertools.count)

    async def reply(self, text: str, max_price: int = 0, category: str | None = None) -> None:
        """Answer; free within 24 hours of the customer's message. See :meth:`Customer.send`.

        A bot that was killed gets the message again; its first reply to it, its second and so on
        are then not sent a second time.
        """
        reply_id = digest("bot-reply", self.id, u32(next(self._replies)))[:INNER_ID_BYTES]
        await self.customer._bot.send(self.customer.name, text, max_price, reply_id, category)


Handler = Callable[[Incoming], Awaitable[None]]


class Bot:
    """A business's profile that stays online and hands each message to its handler: once, or again
    if it was killed before the handler returned.

    :param home: the profile's folder, registered with ``kurir business register``
    :param passphrase: by default from ``KURIR_PASSPHRASE``
    """

    def __init__(
        self,
        home: str | Path,
        passphrase: str | None = None,
        clock: Clock = system_clock,
        ca_file: str | None = None,
    ) -> None:
        self._home, self._clock, self._ca_file = Path(home), clock, ca_file
        self._passphrase = passphrase
        self._handler: Handler | None = None
        self._messenger: Messenger | None = None
        self._wake = asyncio.Event()
        self._has_asked = False

    def message(self, handler: Handler) -> Handler:
        """Decorator: call this for each message of a customer, one at a time."""
        if not inspect.iscoroutinefunction(handler):
            raise UsageError("a handler is an async function: async def answer(message)")
        self._handler = handler
        return handler

    def offer(self, name: str, category: str | None = None) -> Offer:
        """What a message to this customer would cost now, and what is open.

        :raises UsageError: there is no such customer, or no such category
        :raises RefusedError: the operator has not approved the business
        """
        wanted = category_named(category)
        return offer(self._profile.store, self._contact(name), self._profile.clock(), wanted)

    async def send(
        self,
        name: str,
        text: str,
        max_price: int = 0,
        inner_id: bytes | None = None,
        category: str | None = None,
    ) -> None:
        """Write to a customer by name; it leaves at once, or as soon as the relay is there.

        :param inner_id: 16 bytes that name what is said; the same again is not said twice
        :raises RefusedError: it would cost more than ``max_price``, or cannot be sent now
        :raises UsageError: there is no such customer, or no such category
        """
        contact, due = self._contact(name), self.offer(name, category)
        if due.price_micro_usd is None or due.price_micro_usd > max_price:
            raise refused(due, contact.name)
        wanted = category_named(category)
        self._need().queue_text(contact, text, max_price, inner_id, wanted)

    def run(self) -> None:
        """Run until SIGTERM or Ctrl+C. What stops it is said in a line, not a traceback."""
        no_core_dumps()
        try:
            asyncio.run(self.serve())
        except KeyboardInterrupt:
            return
        except ClientError as error:
            hint = f"\nhint: {error.hint}" if error.hint else ""
            print(f"error: {error.what}{hint}", file=sys.stderr)
            raise SystemExit(error.exit_code) from None

    async def serve(self) -> None:
        """Stay online and answer, until cancelled or SIGTERM.

        :raises ProfileError: the profile cannot be opened
        :raises RelayError: the relay is another one, or does not believe that this is the business
        """
        passphrase = self._passphrase or os.environ.get("KURIR_PASSPHRASE")
        if passphrase is None:
            raise ProfileError("the bot has no passphrase", "set KURIR_PASSPHRASE")
        profile = Profile.open(self._home, passphrase, self._clock, self._ca_file)
        self._messenger = Messenger(profile, on_change=self._changed)
        self._messenger.on_connect = self._connected
        jobs = [
            asyncio.create_task(self._messenger.follow(lambda state: log.info("%s", state))),
            asyncio.create_task(self._answer()),
            asyncio.create_task(self._renew()),
        ]
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, jobs[0].cancel)
        try:
            self._wake.set()
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                if not job.cancelled():
                    job.result()
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)
            profile.close()

    async def _changed(self) -> None:
        self._wake.set()

    async def _connected(self, link: Link) -> None:
        await business.keep_fresh(self._profile, link)
        self._has_asked = True
        self._wake.set()

    async def _renew(self) -> None:
        """A connection may last for months; each new one renews by itself."""
        messenger = self._need()
        while True:
            await asyncio.sleep(RENEW_EVERY)
            try:
                await business.keep_fresh(messenger.profile, messenger.link)
            except (OfflineError, RelayError) as error:
                log.warning("not renewed for now: %s", error.what)

    async def _answer(self) -> None:
        messenger = self._need()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._has_asked and not has_prices(messenger.profile.store):
                continue  # nothing can be answered before the first connection has brought them
            for message in messenger.unread():
                await self._handle(message)
                # Marked only now: a bot that is killed in between sees the message again.
                messenger.shown(message)

    async def _handle(self, message: Message) -> None:
        if message.direction != "in" or message.contact is None:
            log.warning("%s", message.text)
            return
        contact = self._profile.store.contact(message.contact)
        incoming = Incoming(
            message.text, message.at, Customer(contact.name, self), message.inner_id or b""
        )
        if self._handler is None:
            return
        try:
            await self._handler(incoming)
        except (RefusedError, RelayError) as error:
            log.warning("an answer was refused: %s", error.what)
        except Exception:
            # One customer's odd message must not stop the answers to all others.
            log.exception("the handler failed")

    @property
    def _profile(self) -> Profile:
        return self._need().profile

    def _need(self) -> Messenger:
        if self._messenger is None:
            raise UsageError("the bot is not running", "call it from a handler, or while it serves")
        return self._messenger

    def _contact(self, name: str) -> Contact:
        return self._need().contact(name)
