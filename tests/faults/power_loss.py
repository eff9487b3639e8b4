"""The power goes: whatever the relay said is on disk, is; whatever it had not synced may be gone.

A real relay works over a recorded disk while clients note, for each thing that they were told, how
long the record was then. Cuts are made at random places of the record, and a relay looks at what is
left. ``python -m tests.faults.power_loss --cycles 50``, or ``make power-loss``, does so with
another life each time.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import structs

from kurir_audit.ledger import examine
from kurir_billing.ledger import Checkpoint, open_checkpoint
from kurir_server import keyfiles
from kurir_server.errors import DatabaseError
from kurir_server.export import export_ledger
from kurir_server.store import Store
from kurir_wire.entries import Ack, Result, Submission
from kurir_wire.frames import CheckpointIs, GetCheckpoint
from kurir_wire.ids import DAY, HOUR, MINUTE, Hash
from kurir_wire.relaycert import RelayCert
from tests.faults.disk import Disk, built, preloaded, put, recorded
from tests.server.client import Client
from tests.server.helpers import Box, Shop, Signed, receipt_of
from tests.server.process import RelayProcess
from tests.server.rig import Rig

LOG_LIMIT = 30.0
"""Seconds within which housekeeping cuts the log; a second or two on a machine that is free."""


@dataclass
class Told:
    """What clients were told, and how long the record was when they were."""

    log: Path
    stored: dict[bytes, tuple[int, Box, Submission]] = field(default_factory=dict)
    acking: dict[bytes, int] = field(default_factory=dict)
    acked: dict[bytes, int] = field(default_factory=dict)
    receipts: dict[bytes, tuple[int, Result, Signed]] = field(default_factory=dict)
    charged: dict[bytes, Signed] = field(default_factory=dict)
    settled: dict[bytes, int] = field(default_factory=dict)
    minutes: list[tuple[int, int]] = field(default_factory=list)
    checkpoints: list[tuple[int, Checkpoint]] = field(default_factory=list)

    @property
    def now(self) -> int:
        return self.log.stat().st_size


@dataclass
class Recording:
    """A relay with its clients; its disk from the moment when they began."""

    relay: RelayProcess
    told: Told
    before: bytes
    shop: Shop


async def record(
    folder: Path, seed: int, command: Sequence[str] = ("-m", "kurir_server.cli")
) -> Recording:
    """Some seconds of a relay's life: letters, charges, settlements, two days' ends, a restart."""
    rng = random.Random(seed)
    log, clock = folder / "record", folder / "clock"
    library = built(folder)
    clock.write_text("0")
    relay = RelayProcess(folder, "--demo-clock", str(clock)).init().start()
    async with relay.client() as client:
        shop = Shop(client.relay_id, client.now)
        boxes = [Box.personal(client.relay_id, client.now) for _ in range(3)]
        paid, opening = shop.customer(client.now)
        assert await client.register(shop, shop.card()) == "ok"
        assert set(await client.create(*boxes, paid)) == {"ok"}
        assert set(await client.open(*boxes, paid)) == {"ok"}
    relay.approve(shop)
    assert relay.stop() == 0
    before = relay.db.read_bytes()
    relay.prefix = (*preloaded(library, relay.db, log=log), sys.executable, *command)
    relay.start()
    told = Told(log)
    for day in range(2):
        async with relay.client() as client:
            await _a_day(rng, client, told, shop, boxes, paid, opening)
        clock.write_text(str((day + 1) * DAY))
        async with relay.client() as client:
            await client.ask(GetCheckpoint(client.next()))  # the day is closed with this
            await _checkpoint(client, told)
        await _log_is_cut(relay)
        if day == 0:
            assert relay.stop() == 0
            relay.start()
    async with relay.client() as client:
        await _a_day(rng, client, told, shop, boxes, paid, opening)
    relay.kill()
    return Recording(relay, told, before, shop)


async def _log_is_cut(relay: RelayProcess) -> None:
    """Housekeeping does it after a jump."""
    async with asyncio.timeout(LOG_LIMIT):
        while Path(f"{relay.db}-wal").stat().st_size:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)


async def _a_day(
    rng: random.Random,
    client: Client,
    told: Told,
    shop: Shop,
    boxes: Sequence[Box],
    paid: Box,
    opening: bytes,
) -> None:
    await client.open(*boxes, paid)
    beacon = await client.beacon()
    told.minutes.append((told.now, beacon.minute))
    for number in range(24):
        letters = [
            (box, structs.replace(box.write(rng.choice((2_048, 4_096, 16_384))), life=720))
            for box in rng.choices(boxes, k=rng.randint(1, 4))
        ]
        results = await client.submit(*(letter for _, letter in letters))
        assert results == [None] * len(letters), results
        for box, letter in letters:
            told.stored[letter.envelope_id] = (told.now, box, letter)
        if number % 4 == 0:
            signed = shop.sign(paid, opening, shop.line(is_open=False), beacon)
            (receipt,) = await client.submit(signed.submission)
            assert receipt is not None
            assert receipt.code == "ok", receipt
            told.receipts[signed.hash] = (told.now, receipt, signed)
            told.stored[signed.submission.envelope_id] = (told.now, paid, signed.submission)
            told.charged[signed.submission.envelope_id] = signed
        if number % 3 == 0:
            await _acknowledge(client, told)
    while told.charged.keys() - told.acked.keys():  # they live for a day
        if not client.delivered:
            await client.read()
        await _acknowledge(client, told)


async def _acknowledge(client: Client, told: Told) -> None:
    delivered, client.delivered = client.delivered, []
    delivered = [d for d in delivered if d.envelope_id not in told.acked]
    some = [d for d in delivered if d.label is not None] or delivered[::2]
    if not some:
        return
    for delivery in some:
        told.acking[delivery.envelope_id] = told.now
    acks = [
        Ack(d.mailbox_id, d.envelope_id, signed.secret if signed else None)
        for d in some
        for signed in [told.charged.get(d.envelope_id)]
    ]
    assert await client.ack(*acks) == [None] * len(acks)
    for ack in acks:
        told.acked[ack.envelope_id] = told.now
        if ack.envelope_id in told.charged:
            told.settled[told.charged[ack.envelope_id].hash] = told.now


async def _checkpoint(client: Client, told: Told) -> None:
    reply = await client.ask(GetCheckpoint(client.next()))
    assert isinstance(reply, CheckpointIs)
    cert = client.welcome.cert
    note = open_checkpoint(reply.note, cert.checkpoint_pk, cert.relay_id)
    told.checkpoints.append((told.now, note))


def losses(recording: Recording, end: int, folder: Path) -> list[str]:
    """What the relay had told by ``end`` of the record and does not know any more."""
    told, db = recording.told, folder / "relay.db"
    keys = keyfiles.load(keyfiles.default_folder(recording.relay.db))
    try:
        store = Store.open(db)
    except DatabaseError as error:
        return [f"does not open: {error}"]
    try:
        return _compared(Rig(keys, store), told, end) + _audited(db, keys.cert, folder / "ledger")
    except Exception as error:  # of whatever kind, such a database is no good
        return [f"is damaged: {error!r}"]
    finally:
        store.close()


def _compared(rig: Rig, told: Told, end: int) -> list[str]:
    (sound,) = rig.store.connection.execute("PRAGMA integrity_check").fetchone()
    if sound != "ok":
        return [sound]
    rig.now = max(minute for _, minute in told.minutes) * MINUTE
    lost = _mail(rig, told, end) + _money(rig, told, end)
    last = rig.store.origin()[1]
    lost += ["a minute" for at, minute in told.minutes if at <= end and last < minute]
    notes = rig.run(lambda rows: rows.checkpoints())
    key = rig.keys.cert.checkpoint_pk
    known = [open_checkpoint(stored.note, key, rig.keys.relay_id) for stored in notes]
    lost += ["a checkpoint" for at, note in told.checkpoints if at <= end and note not in known]
    return lost


def _audited(db: Path, cert: RelayCert, export: Path) -> list[str]:
    export.unlink(missing_ok=True)
    export_ledger(db, cert, export)
    fault = examine(export).fault
    return [f"the ledger: {fault}"] if fault else []


def _mail(rig: Rig, told: Told, end: int) -> list[str]:
    lost: list[str] = []
    query = "SELECT body FROM envelopes WHERE id = ?"
    for envelope_id, (at, _, entry) in told.stored.items():
        found = rig.store.connection.execute(query, (envelope_id,)).fetchone()
        if found is not None and found[0] != entry.body:
            lost.append("the bytes of an envelope")
        if at <= end and told.acking.get(envelope_id, end + 1) > end and found is None:
            lost.append("an envelope")
        if told.acked.get(envelope_id, end + 1) <= end and found is not None:
            lost.append("an acknowledgement")
    for row, depth, size in rig.store.connection.execute("SELECT row, depth, size FROM mailboxes"):
        there = rig.store.connection.execute(
            "SELECT count(*), coalesce(sum(length(body)), 0) FROM envelopes WHERE place >> 26 = ?",
            (row,),
        ).fetchone()
        if there != (depth, size):
            lost.append("the count of a mailbox")
    return lost


def _money(rig: Rig, told: Told, end: int) -> list[str]:
    lost: list[str] = []
    for name, (at, receipt, _) in told.receipts.items():
        charge = Hash(name)
        stored = rig.run(lambda rows: rows.charge(charge))  # noqa: B023
        hour = receipt_of(receipt).accepted_at // HOUR
        if at <= end and (stored is None or stored.accepted_hour != hour):
            lost.append("a receipt")
        leaves = rig.store.connection.execute(
            "SELECT count(*) FROM leaves WHERE charge = ?", (name,)
        ).fetchone()[0]
        if leaves != 1 and told.settled.get(name, end + 1) <= end:
            lost.append("a settlement")
        if leaves > 1:
            lost.append("the count of a settlement")
    return lost


def cuts(recording: Recording, folder: Path, count: int, seed: int) -> list[list[str]]:
    """Cut the power ``count`` times at random places of a record.

    :param folder: to look at what is left in; the last cut's files stay
    :returns: what was lost, each time
    """
    rng = random.Random(seed)
    changes = recorded(recording.told.log)
    places = sorted(rng.choices(range(1, len(changes) + 1), k=count))
    disk, played = Disk({"d": recording.before}), 0
    db = folder / "relay.db"
    found: list[list[str]] = []
    for place in places:
        while played < place:
            disk.play(changes[played])
            played += 1
        put(disk.cut(rng), db)
        found.append(losses(recording, changes[place - 1].end, folder))
    return found


def start_again(recording: Recording, folder: Path) -> None:
    """A relay starts on what the last cut left."""
    keyfiles.default_folder(recording.relay.db).rename(keyfiles.default_folder(folder / "relay.db"))
    again = RelayProcess(folder, *recording.relay.options).start()
    assert again.stop() == 0
    assert "Traceback" not in again.log.read_text()


def _cycle(seed: int, count: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder, after = Path(temporary), Path(temporary) / "after"
        after.mkdir()
        recording = asyncio.run(record(folder, seed))
        found = cuts(recording, after, count, seed)
        assert found == [[]] * count, f"seed {seed}: {found}"
        start_again(recording, after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cycles", type=int, default=50)
    parser.add_argument("--cuts", type=int, default=20, help="of each life  [default: 20]")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    options = parser.parse_args()
    for cycle in range(options.cycles):
        seed = options.seed + cycle
        _cycle(seed, options.cuts)
        print(f"{cycle + 1} of {options.cycles}: nothing lost, seed {seed}", flush=True)


if __name__ == "__main__":
    main()
