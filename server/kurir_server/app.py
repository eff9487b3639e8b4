"""The relay process: wires clock, store, writer, rules and listener together, and stops them."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from kurir_server import keyfiles
from kurir_server.clock import Clock
from kurir_server.connection import Connection
from kurir_server.errors import ConfigError
from kurir_server.housekeeping import Step, Tidied, tidy
from kurir_server.hub import Hub
from kurir_server.keys import RelayKeys
from kurir_server.ledger import Ledger
from kurir_server.limits import MAX_OUTSTANDING, TIDY_SECONDS
from kurir_server.listener import Listener
from kurir_server.log import Event, Log
from kurir_server.meter import Meter
from kurir_server.peer import Peer
from kurir_server.registry import Registry
from kurir_server.relay import Relay
from kurir_server.rows import Moment, Rows
from kurir_server.services import Services
from kurir_server.store import AsyncStore, Store, open_async
from kurir_server.work import Failed
from kurir_server.writer import Writer
from kurir_wire.ids import DAY, MINUTE
from kurir_wire.limits import CLOCK_SKEW
from kurir_wire.links import is_loopback

NONCE_BYTES: Final = 32
TICK_SECONDS: Final = 1.0
"""How often the clock is looked at; also how soon delivery resumes after a disk failure."""
JUMP_SECONDS: Final = 2 * TIDY_SECONDS
"""Relay time that moved so far at once came from the demo clock: then housekeeping is due."""
CERT_WARNING_DAYS: Final = 30
"""Time for an operator to renew a certificate."""


@dataclass(frozen=True, slots=True)
class Config:
    """How to serve. ``host`` may be any address with TLS or a proxy, else only loopback."""

    db: Path
    host: str
    port: int
    keys: Path
    tls_cert: Path | None = None
    tls_key: Path | None = None
    behind_proxy: bool = False
    ready_file: Path | None = None
    demo_clock: Path | None = None

    def check(self) -> None:
        """:raises ConfigError: clients could be reached only in a way that shows the network what
        they fetch"""
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("a certificate needs its key", "give both --tls-cert and --tls-key")
        if self.tls_cert is None and not self.behind_proxy and not is_loopback(self.host):
            raise ConfigError(
                f"{self.host} can be reached from other machines, and without TLS the network "
                "would see which mailboxes are read and written",
                "give --tls-cert and --tls-key, or --behind-proxy if a proxy in front has TLS",
            )


class _Session:
    """Between one peer and its connection state."""

    __slots__ = ("_app", "_connection", "_peer", "_progress")

    def __init__(self, app: App, connection: Connection, peer: Peer) -> None:
        self._app = app
        self._connection = connection
        self._peer = peer
        self._progress = asyncio.Event()
        peer.on_taking = self.flush

    async def on_frame(self, data: bytes | str) -> None:
        self._connection.receive(data, self._app.clock.moment())
        output = self._connection.take()
        self._peer.emit(output.frames, output.close)
        for job in output.jobs:
            await self._app.writer.put(job)
        while self._connection.barriers or self._connection.outstanding >= MAX_OUTSTANDING:
            self._progress.clear()
            await self._progress.wait()

    def flush(self) -> None:
        """Send what a commit brought, and more from the disk if the client takes it."""
        self._connection.is_taking = self._peer.is_taking
        output = self._connection.take()
        self._peer.emit(output.frames, output.close)
        for job in output.jobs:
            self._app.writer.push(job)
        self._progress.set()

    def on_close(self) -> None:
        self._connection.close()
        self._app.sessions.pop(self._connection, None)


class App:
    """One running relay.

    :param minute: the last one on disk
    """

    def __init__(
        self, keys: RelayKeys, store: AsyncStore, clock: Clock, log: Log, minute: int
    ) -> None:
        self.clock = clock
        self.sessions: dict[Connection, _Session] = {}
        self._keys = keys
        self._log = log
        self._hub = Hub()
        self._meter = Meter(keys)
        relay = Relay(keys, self._meter)
        self._ledger = Ledger(keys)
        self._services = Services(keys, relay, Registry(keys, relay), self._ledger, self._hub)
        self.writer = Writer(store, clock, log, minute, self._flush)

    async def connect(self, peer: Peer) -> _Session:
        """A new socket: greet it."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        connection = Connection(self._services, nonce, peer.network)
        # A job, so that the minute is on disk before its beacon goes out.
        now = await self.writer.call(lambda rows, moment: moment.now)
        if isinstance(now, Failed):
            now = self.writer.minute * MINUTE
        connection.greet(now, self._keys.beacon(now // MINUTE))
        session = _Session(self, connection, peer)
        self.sessions[connection] = session
        session.flush()
        return session

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
        step = Step()
        while not step.is_done:
            tidied = await self.writer.call(self._tidy_step(step))
            if isinstance(tidied, Failed):
                break
            self._hub.gone(tidied.gone)
            step = tidied.next
        await self.writer.checkpoint()

    def _tidy_step(self, step: Step) -> Callable[[Rows, Moment], Tidied]:
        read_now = self._hub.read_rows() if step.mailboxes is not None else []

        def run(rows: Rows, moment: Moment) -> Tidied:
            if step == Step():
                self._meter.prune(moment.tick)
                self._services.relay.prune(moment.tick)
            return tidy(rows, moment, self._meter, self._ledger, step, read_now)

        tick = self.clock.moment().tick
        self._hub.networks.prune(tick)
        return run


async def serve(config: Config, log: Log, opener: Callable[[Path], Store] = Store.open) -> None:
    """Run a relay until SIGTERM or SIGINT.

    :param opener: opens the database; tests put a faulty one here
    :raises RelayError: it cannot start
    """
    config.check()
    with _only_one(config.db):
        if config.ready_file is not None:
            # One that a crash left names an address at which nobody accepts.
            config.ready_file.unlink(missing_ok=True)
        keys = keyfiles.load(config.keys)
        tls = _tls(config)
        store = await open_async(config.db, opener)
        try:
            await _serve(config, log, keys, tls, store)
        finally:
            await store.close()


@contextlib.contextmanager
def _only_one(db: Path) -> Iterator[None]:
    """Two relays on one database would not know of each other's readers, grants and paces.

    :raises ConfigError: another one serves it
    """
    if not db.exists():
        yield  # opening it says what is wrong
        return
    with db.open("rb") as file:
        try:
            # flock, not the kind of lock that SQLite takes: the operator's commands go on.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"another relay serves {db}", "stop it first, or give another database"
            ) from error
        yield


async def _serve(
    config: Config, log: Log, keys: RelayKeys, tls: ssl.SSLContext | None, store: AsyncStore
) -> None:
    relay_id, minute = await store.run(lambda opened: (opened.relay_id, opened.rows.minute()))
    if relay_id != keys.relay_id:
        raise ConfigError(
            f"{config.db} belongs to another relay than the keys in {config.keys}",
            "give the folder that was made with this database",
        )
    clock = Clock(log, config.demo_clock)
    clock.start(minute * MINUTE)
    now = clock.moment().now
    _check_certificate(keys, now, log)
    log(Event.STARTED, version=version("kurir"), relay=relay_id.hex(), pid=os.getpid())
    app = App(keys, store, clock, log, minute)
    listener = Listener(
        app.connect,
        log.internal,
        lambda count: log(Event.CONNECTIONS_FULL, connections=count),
        secrets.token_bytes(32),
        config.behind_proxy,
    )
    stopped = _stop_signal(log)
    await app.look_at_disk()
    writing = asyncio.create_task(app.writer.run())
    keeping = asyncio.create_task(app.keep_house())
    try:
        host, port = await listener.start(config.host, config.port, tls)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        log(Event.READY, listen=address, tls=tls is not None)
        _write_ready(config.ready_file, address)
        await asyncio.wait(
            (asyncio.ensure_future(stopped), writing, keeping),
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        if config.ready_file is not None:
            config.ready_file.unlink(missing_ok=True)
        keeping.cancel()
        await listener.stop()
        app.writer.stop()
        await writing
        await app.writer.checkpoint()
    if not stopped.done() and not keeping.cancelled() and (error := keeping.exception()):
        raise error
    log(Event.STOPPED)


def run(config: Config, log: Log) -> None:
    """Run a relay, on uvloop where there is one.

    :raises RelayError: it cannot start
    """
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


def _stop_signal(log: Log) -> asyncio.Future[None]:
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()

    def stop(name: str) -> None:
        if not stopped.done():
            log(Event.STOPPING, signal=name)
            stopped.set_result(None)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    return stopped


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.tls_cert is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(config.tls_cert, config.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"cannot use the TLS certificate {config.tls_cert} with its key",
            "both are PEM files, the certificate with its chain, the key without a passphrase",
        ) from error
    return context


def _check_certificate(keys: RelayKeys, now: int, log: Log) -> None:
    left = keys.cert.not_after - now
    if left <= 0 or now + CLOCK_SKEW < keys.cert.not_before:
        raise ConfigError(
            "the certificate of the relay's keys is not valid at this time",
            "compare the clock, or run: kurir-relay renew",
        )
    if left < CERT_WARNING_DAYS * DAY:
        log(Event.CERTIFICATE_ENDS, days=left // DAY)


def _write_ready(path: Path | None, address: str) -> None:
    """Whole or not at all: whoever sees the file can use it."""
    if path is None:
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}.new")
    try:
        partial.write_text(address + "\n", "ascii")
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from error
