"""The relay process: wires clock, store, writer, rules and listener together, and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import secrets
import signal
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from kurir_server import keyfiles
from kurir_server.blob_writer import BlobWriter, OpenBlobs, blobs_beside
from kurir_server.clock import Clock
from kurir_server.config import CANNOT_LISTEN, Config, shown, write_ready
from kurir_server.connection import Connection
from kurir_server.errors import ConfigError
from kurir_server.health import Facts, Health
from kurir_server.housekeeping import Step, Tidied, tidy
from kurir_server.hub import Hub
from kurir_server.keys import RelayKeys
from kurir_server.ledger import Ledger
from kurir_server.limits import TIDY_SECONDS
from kurir_server.listener import Listener
from kurir_server.log import Event, Log
from kurir_server.mailboxes import Mailboxes
from kurir_server.meter import Meter
from kurir_server.metrics import BlobFigures, Metrics, Sources, free_beside
from kurir_server.monitor import Monitor
from kurir_server.notify import ALIVE, READY, STOPPING, is_watched, notify
from kurir_server.peer import Peer
from kurir_server.reading import Reading
from kurir_server.registry import Registry
from kurir_server.reload import Reload
from kurir_server.rows import Moment, Rows
from kurir_server.services import Services
from kurir_server.session import Session
from kurir_server.startup import check_certificate, check_database, only_one, warn_of_end
from kurir_server.storage import AsyncStore
from kurir_server.store import Store, open_async
from kurir_server.submitting import Submitting
from kurir_server.tls import context_for
from kurir_server.work import Failed
from kurir_server.writer import Writer
from kurir_wire.ids import DAY, HOUR, MINUTE
from kurir_wire.limits import CHUNK_BYTES

NONCE_BYTES: Final = 32
TICK_SECONDS: Final = 1.0
"""How often the clock is looked at; also how soon delivery resumes after a disk failure."""
YOUNG_OBJECTS: Final = 10_000
"""Objects made and not freed after which cycles are looked for: more than a batch holds."""
JUMP_SECONDS: Final = 2 * TIDY_SECONDS
"""Relay time that moved so far at once came from the demo clock: then housekeeping is due."""


class App:
    """One running relay.

    :param minute: the last one on disk
    :param blobs: missing where the relay takes none
    """

    def __init__(
        self,
        keys: RelayKeys,
        store: AsyncStore,
        clock: Clock,
        log: Log,
        minute: int,
        blobs: OpenBlobs | None = None,
    ) -> None:
        self.clock = clock
        self.sessions: dict[Connection, Session] = {}
        self.tls_ends: int | None = None
        now = time.monotonic()
        self.health = Health(now, now)
        self._looked_hour: int | None = None
        self._log = log
        self._db = store.path
        self._hub = Hub()
        self._meter = Meter(keys)
        mailboxes = Mailboxes(keys.relay_id)
        self._ledger = Ledger(keys)
        self._services = Services(
            keys,
            mailboxes,
            Submitting(self._meter),
            Reading(keys.relay_id, self._meter),
            Registry(keys, mailboxes),
            self._ledger,
            self._hub,
            blobs.rules if blobs is not None else None,
        )
        self.tally = self._services.tally
        self.metrics = Metrics(self._sources())
        self.writer = Writer(store, clock, log, minute, self._flush, self.metrics.measured)
        self.blobs = BlobWriter(blobs, clock, log, self._flush) if blobs is not None else None
        self._blob_quota = blobs.rules.quota if blobs is not None else 0
        self._watch()

    @property
    def keys(self) -> RelayKeys:
        """With the certificate that new connections are greeted with."""
        return self._services.keys

    @property
    def now(self) -> int:
        """Relay time in seconds."""
        return self.clock.moment().now

    def use_certificate(self, keys: RelayKeys) -> None:
        """Greet with another certificate of the same working keys from now on."""
        self._services = replace(self._services, keys=keys)

    async def connect(self, peer: Peer) -> Session:
        """A new socket: greet it."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        connection = Connection(self._services, nonce, peer.network)
        # A job, so that the minute is on disk before its beacon goes out.
        now = await self.writer.call(lambda rows, moment: moment.now)
        if isinstance(now, Failed):
            now = self.writer.minute * MINUTE
        connection.greet(now, self.keys.beacon(now // MINUTE))
        session = Session(self, connection, peer)
        self.sessions[connection] = session
        session.flush()
        return session

    def turned_away(self, count: int) -> None:
        """There are ``count`` connections, and one more was refused."""
        self.tally.turned_away += 1
        self._log(Event.CONNECTIONS_FULL, connections=count)

    def _flush(self) -> None:
        # Who passes its turn on touches the next one.
        while self._hub.touched:
            touched, self._hub.touched = self._hub.touched, set()
            for connection in touched:
                session = self.sessions.get(connection)
                if session is not None:
                    session.flush()

    async def keep_house(self) -> None:
        """Every minute: remove what has come to its end, close days that are over, empty the log,
        forget old counters."""
        last = self.clock.moment()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            moment = self.clock.moment()
            if self.writer.is_failing:
                self._hub.wake_all()
                self._flush()
            await self.look_at_disk()
            is_due = moment.tick - last.tick >= TIDY_SECONDS
            if is_due or moment.now - last.now >= JUMP_SECONDS:
                last = moment
                await self.tidy()

    async def look_at_disk(self) -> None:
        """Whether anything new may come in."""
        has_room = await self.writer.has_room()
        if has_room != self._hub.has_room:
            self._hub.has_room = has_room
            self._log(Event.DISK_ROOMY if has_room else Event.DISK_LOW)

    async def tidy(self) -> None:
        """One round of housekeeping."""
        if self.blobs is not None:
            self.blobs.tidy()
        hour = self.now // HOUR
        step = Step(businesses=hour != self._looked_hour)
        self._looked_hour = hour
        while not step.is_done:
            tidied = await self.writer.call(self._tidy_step(step))
            if isinstance(tidied, Failed):
                self.tally.rounds_failed += 1
                break
            self._hub.gone(tidied.gone)
            step = tidied.next
        else:
            self.tally.rounds += 1
            self.health.tidied = time.monotonic()
        await self.learn()
        await self.writer.checkpoint()

    async def learn(self) -> None:
        """What monitoring says about the databases."""
        if self.blobs is not None:
            self.blobs.learn()
        facts = await self.writer.call(lambda rows, moment: _facts(rows, moment))
        if isinstance(facts, Facts):
            self.health.facts = facts

    async def watch(self) -> None:
        """Every second: say that the event loop turns, and say in the log when the relay can no
        longer do its work, and when it can again."""
        watched = is_watched()
        unready: list[str] = []
        day = self.now // DAY
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._watch()
            if self.now // DAY != day:
                day = self.now // DAY
                warn_of_end(self.keys, self.now, self._log)
            if watched:
                _tell(self._log, ALIVE)
            now_unready = self.health.unready(time.monotonic()) if self.health.is_serving else []
            if now_unready and not unready:
                self._log(Event.UNREADY, reason=now_unready[0])
            elif unready and not now_unready:
                self._log(Event.READY_AGAIN)
            unready = now_unready

    def _watch(self) -> None:
        health = self.health
        health.turned = time.monotonic()
        health.is_failing = self.writer.is_failing
        health.certificate_left = self.keys.cert.not_after - self.now
        health.behind = self.clock.behind
        health.free = free_beside(self._db)

    def _sources(self) -> Sources:
        return Sources(
            db=self._db,
            tally=self.tally,
            health=self.health,
            events=lambda: dict(self._log.counts),
            connections=lambda: len(self.sessions),
            queue=lambda: self.writer.waiting,
            blobs=self._blob_figures,
            tick=time.monotonic,
            now=lambda: self.clock.floor,
            tls_ends=lambda: self.tls_ends,
        )

    def _blob_figures(self) -> BlobFigures | None:
        if self.blobs is None:
            return None
        held = self.blobs.reserved * CHUNK_BYTES
        return BlobFigures(held, self._blob_quota, self.blobs.waiting)

    def _tidy_step(self, step: Step) -> Callable[[Rows, Moment], Tidied]:
        read_now = self._hub.read_rows() if step.mailboxes is not None else []

        def run(rows: Rows, moment: Moment) -> Tidied:
            if step.is_first:
                self._meter.prune(moment)
                self._services.submitting.prune(moment.tick)
            return tidy(rows, moment, self._meter, self._ledger, step, read_now)

        tick = self.clock.moment().tick
        self._hub.networks.prune(tick)
        return run


def _tell(log: Log, state: str) -> None:
    """Tell the service manager; a running relay does not stop because nobody listens."""
    try:
        notify(state)
    except ConfigError as error:
        log.internal(error)


def _facts(rows: Rows, moment: Moment) -> Facts:
    newest = rows.newest_checkpoint()
    pending = rows.oldest_pending_day()
    settled = (newest.size if newest else 0) + rows.count_pending()
    has_card = rows.rate_card_in_force(moment.now) is not None
    return Facts(has_card, settled, pending, newest.day if newest else None)


async def serve(config: Config, log: Log, opener: Callable[[Path], Store] = Store.open) -> None:
    """Run a relay until SIGTERM or SIGINT.

    :param opener: opens the database; tests put a faulty one here
    :raises RelayError: it cannot start
    """
    config.check()
    with only_one(config.db):
        if config.ready_file is not None:
            # One that a crash left names an address at which nobody accepts.
            config.ready_file.unlink(missing_ok=True)
        keys = keyfiles.load(config.keys)
        tls = context_for(*config.tls) if config.tls is not None else None
        # Before the database is brought forward, from which there is no way back.
        minute, sure = await asyncio.to_thread(_look_at_database, config, keys)
        clock = Clock(log, config.demo_clock)
        clock.start(minute * MINUTE, sure * MINUTE)
        check_certificate(keys, clock.moment().now, log)
        store = await open_async(config.db, opener)
        try:
            async with blobs_beside(config.db, keys.relay_id, config.blobs) as blobs:
                await _serve(config, log, keys, tls, store, blobs, clock, minute)
        finally:
            await store.close()


def _look_at_database(config: Config, keys: RelayKeys) -> tuple[int, int]:
    """:raises RelayError: as :func:`check_database`; nothing of the file has changed"""
    with contextlib.closing(Store.inspect(config.db, older=True)) as store:
        return check_database(store, config, keys)


async def _serve(
    config: Config,
    log: Log,
    keys: RelayKeys,
    tls: ssl.SSLContext | None,
    store: AsyncStore,
    blobs: OpenBlobs | None,
    clock: Clock,
    minute: int,
) -> None:
    log(Event.STARTED, version=version("kurir"), relay=keys.relay_id.hex(), pid=os.getpid())
    app = App(keys, store, clock, log, minute, blobs)
    reload = Reload(config, log, tls, app)
    stopped = _signals(log, reload)
    monitor = None
    if config.metrics is not None:
        monitor = Monitor(config.metrics, app.metrics.registry, app.health, time.monotonic)
        log(Event.METRICS, listen=monitor.address)
    listener = Listener(
        app.connect,
        log.internal,
        app.turned_away,
        secrets.token_bytes(32),
        config.behind_proxy,
    )
    await app.look_at_disk()
    others = [asyncio.create_task(work()) for work in (app.keep_house, app.watch)]
    writing = [asyncio.create_task(app.writer.run())]
    if app.blobs is not None:
        writing.append(asyncio.create_task(app.blobs.run()))
    try:
        await app.learn()
        try:
            address = shown(*await listener.start(config.host, config.port, tls))
        except ConfigError as refused:
            raise ConfigError(str(refused), refused.hint or CANNOT_LISTEN) from refused
        log(Event.READY, listen=address, tls=tls is not None)
        if config.ready_file is not None:
            write_ready(config.ready_file, address)
        app.health.is_serving = True
        notify(READY)
        await asyncio.wait(
            (asyncio.ensure_future(stopped), *writing, *others),
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        app.health.is_serving = False
        _tell(log, STOPPING)
        if config.ready_file is not None:
            config.ready_file.unlink(missing_ok=True)
        for task in others:
            task.cancel()
        await listener.stop()
        app.writer.stop()
        if app.blobs is not None:
            app.blobs.stop()
        for task in writing:
            await task
        await app.writer.checkpoint()
        if monitor is not None:
            await asyncio.to_thread(monitor.stop)
    if not stopped.done():
        for task in others:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error
    log(Event.STOPPED)


def run(config: Config, log: Log) -> None:
    """Run a relay, on uvloop where there is one.

    :raises RelayError: it cannot start
    """
    # Until it is handled, one that comes early must not end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # A batch makes and frees some thousand objects without cycles. To look through them for cycles,
    # and through all modules now and then, took a tenth of a message's time.
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.get_loop().set_exception_handler(
            lambda loop, context: log.internal(context.get("exception") or RuntimeError())
        )
        runner.run(serve(config, log))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def _signals(log: Log, reload: Reload) -> asyncio.Future[None]:
    """:returns: done when the relay is to stop"""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()

    def stop(name: str) -> None:
        if not stopped.done():
            log(Event.STOPPING, signal=name)
            stopped.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    loop.add_signal_handler(signal.SIGHUP, reload)
    return stopped
