"""The façade that command line, bots and everything else use: one profile, one relay.

Commands that only need the store (contacts, history, queueing a message) work without a relay;
:meth:`Messenger.online` connects, sends what waits and takes in what has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kurir_billing.kinds import Category
from kurir_client import business, inbox, mailboxes, outbox, sending, upkeep
from kurir_client.backoff import Backoff
from kurir_client.content import MAX_TEXT, TEXT
from kurir_client.errors import OfflineError, PeerError, RelayError, UsageError
from kurir_client.link import Link, open_link
from kurir_client.meeting import accept_invite, add_business, make_invite
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Message, Status
from kurir_crypto.safety import safety_number
from kurir_wire import codes, entries, frames
from kurir_wire.codec import unpack
from kurir_wire.ids import DAY
from kurir_wire.limits import MAX_ITEMS
from kurir_wire.links import BusinessLink, InviteLink, pin_of
from kurir_wire.prekeys import IdentityPublic

IDLE_LIMIT: Final = 10.0
"""Seconds without progress after which a relay that announced envelopes counts as stuck."""
BACKOFF: Final = (1.0, 60.0)
"""Seconds before the first and the last kind of reconnect; doubled in between, with jitter."""
ACK_AGAIN: Final = 5.0
"""Seconds until acknowledgements that the relay could not write down are sent again."""
WATCH: Final = 0.3
"""Seconds between looks at whether another process has queued something."""

OnChange = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Messenger:
    """A profile at work.

    :ivar profile: the unlocked home
    :ivar on_change: awaited after something arrived and was stored
    :ivar on_connect: awaited at each connection, after mailboxes were opened
    """

    profile: Profile
    on_change: OnChange | None = None
    on_connect: Callable[[Link], Awaitable[None]] | None = None
    _link: Link | None = field(default=None, repr=False)
    _arrived: asyncio.Queue[entries.Delivery] = field(default_factory=asyncio.Queue, repr=False)
    _taker: asyncio.Task[None] | None = field(default=None, repr=False)
    _waiting: int = 0
    _progress: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    _changed: bool = False
    _kept_up_on: int = 0

    # without a relay

    def contact(self, name: str) -> Contact:
        """By name.

        :raises UsageError: there is nobody of that name
        """
        found = self.profile.store.contact_named(name)
        if found is None:
            raise UsageError(
                f"there is no contact {name!r}",
                "see who there is: kurir contacts; who accepted an invite comes with: kurir read",
            )
        return found

    def queue_text(
        self,
        contact: Contact,
        text: str,
        max_price: int = 0,
        inner_id: bytes | None = None,
        category: Category = Category.NONE,
    ) -> bytes:
        """Put a text into the outbox.

        :param max_price: micro-USD that a business accepts to pay for it
        :param inner_id: 16 bytes that name what is said; the same again is not said twice
        :param category: what a business says that it is, where its tariff asks
        :returns: its inner id
        :raises UsageError: empty, or longer than a message may be
        :raises PeerError: the contact's keys changed
        """
        if not text.strip():
            raise UsageError("there is nothing to send")
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise UsageError("the text is not valid UTF-8") from error
        if size > MAX_TEXT:
            raise UsageError(f"a message has at most {MAX_TEXT} bytes; send it in parts")
        if contact.state != "active":
            why = "key changed" if contact.state == "changed" else "number was not the same"
            raise PeerError(
                f"{contact.name}'s {why}; message not sent",
                f"compare the numbers first: kurir verify {contact.name!r}",
            )
        now = self.profile.clock()
        with self.profile.store.transaction():
            inner_id = outbox.queue(
                self.profile.store, contact.id, TEXT, text, now, max_price, inner_id, category
            )
        self._changed = True
        self._progress.set()
        return inner_id

    def can_send(self, contact: Contact) -> bool:
        """Whether there are keys to write to them; else what is queued waits for fresh ones."""
        return bool(self.profile.store.live_sessions(contact.id))

    def unread(self) -> list[Message]:
        """What has not been shown yet, oldest first. Call :meth:`shown` for each that was."""
        return self.profile.store.unread()

    def shown(self, message: Message) -> None:
        """A message is on the screen."""
        with self.profile.store.transaction():
            self.profile.store.mark_read(message.n)

    def safety_number(self, contact: Contact) -> str:
        """60 digits, the same at the other end.

        :raises PeerError: nothing was heard of them yet
        """
        if contact.identity is None:
            raise PeerError(f"{contact.name} has not answered yet", "try again when they have")
        peer = unpack(contact.identity, IdentityPublic)
        return safety_number(self.profile.identity.public, peer)

    def set_verified(self, contact: Contact, verified: bool) -> None:
        """The person compared the numbers. If they are not the same, nothing more is sent; if they
        are, a contact whose key changed is written to again."""
        store, now = self.profile.store, self.profile.clock()
        with store.transaction():
            store.set_contact(
                contact.id,
                verified_on=now if verified else None,
                state="active" if verified else "mistrusted",
            )
            words = "verified" if verified else "not verified"
            store.add_message(contact.id, None, "note", f"{contact.name} {words}", now, Status.READ)

    # with a relay

    @property
    def link(self) -> Link:
        """:raises OfflineError: not connected"""
        if self._link is None or not self._link.is_open:
            raise OfflineError("not connected to the relay")
        return self._link

    @contextlib.asynccontextmanager
    async def online(self, *, reading: bool = True) -> AsyncIterator[Link]:
        """Connect; with ``reading``, open all mailboxes and take in what comes.

        :raises UsageError: the profile has no relay yet
        :raises OfflineError: the relay cannot be reached
        :raises RelayError: it is not the pinned one
        """
        profile = self.profile
        if profile.relay is None:
            raise UsageError(
                "this profile has no relay yet",
                "name one with: kurir init --relay HOST:PORT, or add somebody by their link",
            )
        with contextlib.ExitStack() as locks:
            if reading:
                locks.enter_context(mailboxes.lock_for_reading(profile.home))
            async with open_link(
                profile.relay, profile.relay_pin, self._on_deliver, profile.ca_file
            ) as link:
                self._meet(link)
                self._link, self._arrived, self._waiting = link, asyncio.Queue(), 0
                if reading:
                    self._taker = asyncio.create_task(self._take_in(link))
                try:
                    if reading:
                        await self._open_live()
                    await business.greet(profile, link)
                    if self.on_connect is not None:
                        await self.on_connect(link)
                    yield link
                finally:
                    taker, self._taker, self._link = self._taker, None, None
                    if taker is not None:
                        taker.cancel()
                        with contextlib.suppress(asyncio.CancelledError, OfflineError):
                            await taker

    def _meet(self, link: Link) -> None:
        """Remember the relay, and forget ids and keys for what can no longer come."""
        store = self.profile.store
        upkeep.tell_of_clock(self.profile, upkeep.compare_clocks(self.profile, link.relay_now))
        with store.transaction():
            if self.profile.relay_pin is None:
                store.put("relay_pin", pin_of(link.relay_id))
            if store.get("relay_id") is None:
                store.put("relay_id", link.relay_id)
        self._kept_up_on = upkeep.forget(self.profile)
        business.renew_keys(self.profile)

    async def _keep_up(self) -> None:
        """Each day of a long connection, forget as at its beginning."""
        if self.profile.clock() // DAY != self._kept_up_on:
            await upkeep.fresh_beacon(self.profile, self.link)  # if it was the clock that jumped
            self._kept_up_on = upkeep.forget(self.profile)

    async def flush(self) -> None:
        """Send what waits, until nothing more can go now; see :func:`.sending.flush`."""
        await sending.flush(self.profile, self.link)

    async def caught_up(self) -> None:
        """Return when all that waited at the relay has been taken in, and answers to it went out.

        :raises OfflineError: the relay announced more than it delivers
        """
        while True:
            while self._waiting > 0:
                try:
                    await self._next_progress(IDLE_LIMIT)
                except TimeoutError:
                    raise OfflineError("the relay announced more than it delivers") from None
            await self._tend()
            if self._waiting <= 0:
                return

    async def follow(self, said: Callable[[str], None]) -> None:
        """Stay connected: send what waits and take in what comes, until cancelled.

        :param said: told what the link does: ``online``, ``reconnecting in 4 s: …`` with the
            reason, or what the relay puts off
        :raises RelayError: the relay is not the pinned one, or breaks the protocol
        """
        backoff = Backoff(*BACKOFF)
        while True:
            why, asked = "", 0.0
            try:
                async with self.online():
                    said("online")
                    await self._stay(said, backoff.reset)
            except OfflineError as error:
                why = error.what
            except RelayError as error:
                if error.retry_after is None:
                    raise
                why, asked = error.what, error.retry_after  # its disk is full, or it is too busy
            pause = max(asked, backoff.pause())
            said(f"reconnecting in {math.ceil(pause)} s: {why}")
            await asyncio.sleep(pause)

    async def invite(self, label: str) -> InviteLink:
        """Make a single-use link for one person; see :func:`.meeting.make_invite`."""
        return await make_invite(self.profile, self.link, label)

    async def add(
        self, link: InviteLink | BusinessLink, name: str | None = None, country: str | None = None
    ) -> Contact:
        """Accept an invite, or open a chat with a business; see :mod:`.meeting`."""
        if isinstance(link, InviteLink):
            contact = await accept_invite(self.profile, self.link, link, name)
        else:
            contact = await add_business(self.profile, self.link, link, name, country)
        await self.flush()
        return contact

    # inside

    async def _on_deliver(self, deliveries: list[entries.Delivery]) -> None:
        for delivery in deliveries if self._taker is not None else ():
            self._arrived.put_nowait(delivery)

    async def _take_in(self, link: Link) -> None:
        """Store each delivery, then acknowledge; several at once where several have come. What the
        relay could not take note of is acknowledged again."""
        late: list[entries.Ack] = []
        while True:
            batch = await self._next_arrivals(ACK_AGAIN if late else None)
            now = self.profile.clock()
            acks = late + [inbox.receive(self.profile, delivery, now) for delivery in batch]
            part, late = acks[:MAX_ITEMS], acks[MAX_ITEMS:]
            results = await link.results(
                lambda n, part=part: frames.Acks(n, part),  # type: ignore[misc]
                len(part),
            )
            late += [
                ack
                for ack, result in zip(part, results, strict=True)
                if result is not None and result.code == codes.UNAVAILABLE
            ]
            with contextlib.suppress(RelayError):  # the next flush asks again, and says why not
                await sending.renew_rates(self.profile, link)
            self._waiting -= len(batch)
            if batch:
                self._progress.set()
                if self.on_change is not None:
                    await self.on_change()

    async def _next_arrivals(self, timeout: float | None) -> list[entries.Delivery]:
        """What has come, at least one, or nothing for ``timeout`` seconds."""
        try:
            batch = [await asyncio.wait_for(self._arrived.get(), timeout)]
        except TimeoutError:
            return []
        while len(batch) < MAX_ITEMS and not self._arrived.empty():
            batch.append(self._arrived.get_nowait())
        return batch

    async def _next_progress(self, timeout: float | None) -> None:
        """Wait until something was taken in.

        :raises TimeoutError: nothing was, for ``timeout`` seconds
        :raises ClientError: what stopped the taking in
        """
        waiter = asyncio.create_task(self._progress.wait())
        ended = asyncio.create_task(self.link.wait_closed())
        watched: set[asyncio.Task[Any]] = {waiter, ended}
        if self._taker is not None:
            watched.add(self._taker)
        try:
            done, _ = await asyncio.wait(
                watched, timeout=timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            waiter.cancel()
            ended.cancel()
        self._progress.clear()
        if self._taker is not None and self._taker in done:
            self._taker.result()
        if ended in done:
            raise OfflineError("the connection to the relay has ended")
        if not done:
            raise TimeoutError

    async def _open_live(self) -> None:
        # Added only afterwards: what arrives meanwhile is subtracted as it is taken in.
        waiting = await mailboxes.open_live(self.profile, self.link)
        self._waiting += waiting

    async def _tend(self) -> None:
        await mailboxes.tend(self.profile, self.link)
        await self._open_live()
        await self.flush()

    async def _stay(self, said: Callable[[str], None], on_settled: Callable[[], None]) -> None:
        """:param on_settled: called when this connection has been of use"""
        version, again, put_off = -1, 0.0, ""
        clock = asyncio.get_running_loop().time
        while True:
            try:
                await self._keep_up()
                if version == -1:
                    await self.caught_up()
                changed = self.profile.store.version() != version or self._changed
                if changed or 0 < again <= clock():
                    self._changed, again = False, 0.0
                    version = self.profile.store.version()
                    await self._tend()
                    due = self.profile.store.next_due(self.profile.clock())
                    if due is not None:
                        again = clock() + min(due - self.profile.clock(), BACKOFF[1])
                    if put_off:
                        put_off = ""
                        said("online")
                on_settled()
            except RelayError as error:
                if error.retry_after is None:
                    raise
                # What the relay put off is tried again then; all else goes on meanwhile.
                again = clock() + min(error.retry_after, BACKOFF[1])
                version = self.profile.store.version()
                if error.what != put_off:
                    put_off = error.what
                    said(f"{put_off}; trying again")
            with contextlib.suppress(TimeoutError):
                await self._next_progress(WATCH)
                self._changed = True
