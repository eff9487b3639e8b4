"""The rules of a relay over a real database, without a process, a socket or a clock."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from kurir_billing.charge import Line
from kurir_billing.grant import Grant
from kurir_server import admin, keyfiles
from kurir_server.blob_rows import BlobRows, BlobStore
from kurir_server.blob_writer import blobs_file
from kurir_server.blobs import Blobs, Room
from kurir_server.connection import Connection
from kurir_server.housekeeping import Step, tidy
from kurir_server.hub import Hub
from kurir_server.keys import RelayKeys
from kurir_server.ledger import Ledger
from kurir_server.mailboxes import Mailboxes
from kurir_server.meter import Meter
from kurir_server.pace import Deed
from kurir_server.reading import Batch, Reading
from kurir_server.registry import Registry
from kurir_server.rows import Moment, Rows
from kurir_server.services import Services
from kurir_server.store import Store
from kurir_server.store.blobs import SqlBlobStore
from kurir_server.submitting import Submitted, Submitting
from kurir_server.work import BlobJob, Failed, Output
from kurir_wire.beacons import Beacon
from kurir_wire.entries import Ack, Delivery, Result, Submission
from kurir_wire.frames import Push, Register, Request, decode_push, encode
from kurir_wire.ids import DAY, MINUTE, BusinessId
from tests.server.helpers import Box, Shop, Signed
from tests.server.replies import code_of

T = TypeVar("T")
START = 1_800_000_000
"""A Friday in 2027, on a whole minute."""
OTHER_NONCE = bytes(reversed(range(32)))
"""Of another connection than the rig's."""
NETWORK = b"net"
"""The name of the network that everybody comes from."""
ROOM = Room(quota=1 << 30, reserve=0)


@dataclass
class Rig:
    """``now``, ``tick``, ``doubt`` and ``room`` are set by the test; ``free`` is the disk's room
    for blobs."""

    keys: RelayKeys
    store: Store
    now: int = START
    tick: float = 0.0
    doubt: int = 0
    room: Room = ROOM
    free: int = 1 << 40
    takes_blobs: bool = True
    blob_store: BlobStore | None = None

    def __post_init__(self) -> None:
        self.nonce = bytes(range(32))
        self.restart()

    def restart(self) -> None:
        """Forget all that lives in memory."""
        self.meter = Meter(self.keys)
        self.mailboxes = Mailboxes(self.keys.relay_id)
        self.submitting = Submitting(self.meter)
        self.reading = Reading(self.keys.relay_id, self.meter)
        self.registry = Registry(self.keys, self.mailboxes)
        self.ledger = Ledger(self.keys)
        self.hub = Hub()
        self.blobs = Blobs(self.keys.relay_id, self.room, lambda: self.free)

    @property
    def moment(self) -> Moment:
        return Moment(self.now, self.tick, self.doubt)

    @property
    def beacon(self) -> Beacon:
        return self.keys.beacon(self.now // MINUTE)

    def run(self, work: Callable[[Rows], T]) -> T:
        return self.store.transact(work)

    def run_blobs(self, work: Callable[[BlobRows], T]) -> T:
        assert self.blob_store is not None
        return self.blob_store.transact(work)

    def do_blobs(self, job: BlobJob) -> None:
        job.done(self.run_blobs(lambda rows: job.run(rows, self.moment)))

    def make(self, box: Box) -> int:
        """:returns: its row"""
        new = box.new(self.nonce)
        made = self.run(lambda rows: self.mailboxes.make(rows, self.moment, self.nonce, new))
        assert made is None, made
        mailbox = self.run(lambda rows: rows.mailbox(box.id))
        assert mailbox is not None
        return mailbox.row

    def personal(self) -> Box:
        box = Box.personal(self.keys.relay_id, self.now)
        self.make(box)
        return box

    def shop(
        self, tier: str | None = "platform", tariff: str = "reply-2018", starts: int | None = None
    ) -> Shop:
        shop = Shop(self.keys.relay_id, self.now)
        request = Register(1, shop.card(), shop.address.new(self.nonce))
        done = self.run(lambda rows: self.registry.register(rows, self.moment, self.nonce, request))
        assert done is None, done
        if tier is not None:
            self.approve(shop, tier, tariff, starts)
        return shop

    def approve(
        self, shop: Shop, tier: str, tariff: str = "reply-2018", starts: int | None = None
    ) -> None:
        self.approve_id(shop.id, tier, tariff, starts)

    def approve_id(
        self, business_id: BusinessId, tier: str, tariff: str, starts: int | None = None
    ) -> None:
        def work(rows: Rows) -> None:
            before = rows.business(business_id)
            assert before is not None
            number, name = admin.TIERS[tier], "PT Metro Bus"
            done = admin.approval(self.keys, before, number, tariff, starts, name, self.now)
            badge = self.keys.badge(business_id, number, name, self.now + DAY)
            rows.approve(
                business_id,
                replace(done, badge_not_after=badge.not_after, badge_signature=badge.signature),
            )

        self.run(work)

    def customer(self, shop: Shop, market: str = "ID") -> tuple[Box, bytes]:
        """A mailbox into which a business pays, opened once as a client does."""
        box, opening = shop.customer(self.now, market)
        self.make(box)
        openings = [box.opening(self.nonce)]
        self.run(lambda rows: self.reading.open(rows, self.moment, self.nonce, openings))
        return box, opening

    def submit(self, *submissions: Submission) -> list[Result | None]:
        return self.submitted(*submissions).results

    def submitted(self, *submissions: Submission, is_read: bool = False) -> Submitted:
        return self.run(
            lambda rows: self.submitting.submit(
                rows, self.moment, submissions, NETWORK, lambda row: is_read
            )
        )

    def charge(
        self,
        shop: Shop,
        box: Box,
        opening: bytes,
        line: Line,
        grant: Grant | None = None,
        **evidence: Any,
    ) -> Signed:
        """:param evidence: see :meth:`Shop.draft`"""
        return shop.sign(box, opening, line, self.beacon, grant, **evidence)

    def row(self, box: Box) -> int:
        mailbox = self.run(lambda rows: rows.mailbox(box.id))
        assert mailbox is not None
        return mailbox.row

    def fetch(self, box: Box, after: int = 0) -> Batch:
        row = self.row(box)
        (batch,) = self.run(
            lambda rows: self.reading.fetch(rows, self.moment, [(row, after)], 1_000, 10**9)
        )
        return batch

    def waiting(self, box: Box) -> list[Delivery]:
        return self.fetch(box).deliveries

    def ack(self, box: Box, envelope_id: bytes, secret: bytes | None = None) -> Result | None:
        row = self.row(box)
        ack = Ack(box.id, envelope_id, secret)
        (result,) = self.run(lambda rows: self.reading.ack(rows, self.moment, [(row, ack)]))
        return result

    def use_up(self, deed: Deed, count: int, network: bytes = NETWORK) -> None:
        """As if somebody else of a network had done so much of something."""
        bucket = self.hub.networks.bucket(deed, network, self.moment)
        assert bucket is not None
        assert bucket.take(self.tick, count) is None

    def tidy(self) -> list[int]:
        """A whole round of housekeeping; the mailboxes that went."""
        step, gone = Step(), []
        while not step.is_done:
            here = step
            done = self.run(lambda rows: tidy(rows, self.moment, self.meter, self.ledger, here))  # noqa: B023
            step = done.next
            gone += done.gone
        return gone

    def count(self, table: str) -> int:
        found = self.store.connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        return int(found[0])

    def connection(self, network: bytes = NETWORK, nonce: bytes | None = None) -> Talk:
        """:param nonce: of this connection; all have the same one unless a test says otherwise"""
        services = Services(
            self.keys,
            self.mailboxes,
            self.submitting,
            self.reading,
            self.registry,
            self.ledger,
            self.hub,
            self.blobs if self.takes_blobs else None,
        )
        return Talk(self, Connection(services, nonce or self.nonce, network))

    def proved(self, shop: Shop) -> Talk:
        """A connection on which a business has proved itself."""
        talk = self.connection()
        assert code_of(talk.send(shop.prove(self.nonce))) == "ok"
        return talk

    def dump(self) -> list[str]:
        """All that the databases say, that of blobs as well."""
        said = list(self.store.connection.iterdump())
        if self.blob_store is not None:
            (_, _, db), *_ = self.store.connection.execute("PRAGMA database_list")
            with closing(sqlite3.connect(blobs_file(Path(db)))) as blobs:
                said += blobs.iterdump()
        return said


class Talk:
    """A sans-I/O connection with the rig as its writer."""

    def __init__(self, rig: Rig, connection: Connection) -> None:
        self.rig = rig
        self.connection = connection
        self.is_failing = False
        self.output = Output()

    def send(self, request: Request) -> list[Push]:
        return self.raw(encode(request))

    def raw(self, data: bytes | str) -> list[Push]:
        """One message; all frames that come of it, deliveries included."""
        self.connection.receive(data, self.rig.moment)
        return self.collect()

    def collect(self) -> list[Push]:
        frames: list[Push] = []
        while True:
            self.output = self.connection.take()
            frames += [decode_push(frame) for frame in self.output.frames]
            if not (self.output.jobs or self.output.blob_jobs):
                return frames
            for blob_job in self.output.blob_jobs:
                if self.is_failing:
                    blob_job.done(Failed())
                else:
                    self.rig.do_blobs(blob_job)
            for job in self.output.jobs:
                if self.is_failing:
                    job.done(Failed())
                else:
                    job.done(self.rig.run(lambda rows: job.run(rows, self.rig.moment)))  # noqa: B023


@contextmanager
def rig_in(folder: Path) -> Iterator[Rig]:
    """A fresh rig."""
    db = folder / "rig.db"
    keys = admin.init(db, keyfiles.default_folder(db), START)
    store = Store.open(db)
    blob_store = SqlBlobStore.open(blobs_file(db), keys.relay_id)
    rig = Rig(keys, store, blob_store=blob_store)
    try:
        yield rig
    finally:
        store.close()
        # A test may have opened it anew.
        (rig.blob_store or blob_store).close()
