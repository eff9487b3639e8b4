"""A damaged database file: turned bits, holes and cuts. What was not sent is never delivered."""

from __future__ import annotations

import random
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kurir_server import keyfiles
from kurir_server.errors import StorageError
from kurir_server.keys import RelayKeys
from kurir_server.store import Store
from kurir_server.store.schema import PAGE_BYTES
from kurir_wire.entries import Label, Result, Submission
from kurir_wire.frames import Error, Open, Results, Submit
from kurir_wire.ids import DAY
from tests.server.helpers import Box, receipt_of
from tests.server.process import RelayProcess
from tests.server.rig import START, Rig, rig_in

ROUNDS = 200
SEED = 20_261_121


@dataclass
class Original:
    """A database, and what it holds. ``files``: the database and its write-ahead log."""

    keys: RelayKeys
    key_folder: Path
    files: dict[str, bytes]
    boxes: list[Box] = field(default_factory=list)
    sent: dict[bytes, tuple[Submission, Label | None]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Original:
    """Letters to twelve people, paid ones to four customers; some of it in the log."""
    with rig_in(tmp_path_factory.mktemp("original")) as rig:
        made = Original(rig.keys, keyfiles.default_folder(rig.store._path), {})
        shop = rig.shop()
        rng = random.Random(SEED)
        for number in range(12):
            box = rig.personal()
            made.boxes.append(box)
            letters = [box.write(rng.choice((2_048, 4_096, 16_384))) for _ in range(3)]
            assert rig.submit(*letters) == [None] * 3
            made.sent |= {letter.envelope_id: (letter, None) for letter in letters}
            if number % 3 == 0:
                paid, opening = rig.customer(shop)
                made.boxes.append(paid)
                for _ in range(3):
                    signed = rig.charge(shop, paid, opening, shop.line(is_open=False))
                    receipt_of(rig.submit(signed.submission)[0])
                    label = signed.charge.label()
                    made.sent[signed.submission.envelope_id] = (signed.submission, label)
            if number == 8:
                rig.store.checkpoint()
        for suffix in ("", "-wal"):
            made.files[suffix] = Path(f"{rig.store._path}{suffix}").read_bytes()
    return made


def harm(files: dict[str, bytes], rng: random.Random) -> dict[str, bytes]:
    """One kind of damage, to one file."""
    suffix = rng.choice(["", "", "", "-wal"])
    data = bytearray(files[suffix])
    at = rng.randrange(len(data))
    match rng.randrange(5):
        case 0:
            data[at] ^= 1 << rng.randrange(8)
        case 1:
            for _ in range(rng.randint(2, 64)):
                data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        case 2:
            end = min(len(data), at // PAGE_BYTES * PAGE_BYTES + PAGE_BYTES)
            data[at:end] = bytes(end - at)
        case 3:
            page = at // PAGE_BYTES * PAGE_BYTES
            other = rng.randrange(len(data) // PAGE_BYTES) * PAGE_BYTES
            # Written to the wrong place.
            data[page : page + PAGE_BYTES] = data[other : other + PAGE_BYTES]
        case _:
            del data[at:]
    return files | {suffix: bytes(data)}


def put(files: dict[str, bytes], db: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{db}{suffix}").unlink(missing_ok=True)
    for suffix, data in files.items():
        Path(f"{db}{suffix}").write_bytes(data)


def use(original: Original, db: Path) -> tuple[int, int]:
    """Serve from it all that there is. A request that fails in whatever way is refused: the writer
    of a relay sees to that, and to the others in its batch (tests/server/test_writer.py).

    :returns: how many envelopes were delivered, and how many requests refused
    """
    try:
        store = Store.open(db, bring_forward=True)
        relay_id, *_ = store.origin()
    except StorageError:
        return 0, 1
    delivered = refused = 0
    try:
        if relay_id != original.keys.relay_id:
            return 0, 1  # as App refuses it
        rig = Rig(original.keys, store, START + 60)
        for box in original.boxes:
            fresh = box.write()
            try:
                openings = [box.opening(rig.nonce)]
                rig.run(lambda rows: rig.reading.open(rows, rig.moment, rig.nonce, openings))  # noqa: B023
                (result,) = rig.submit(fresh) if box.token else (None,)
                refused += isinstance(result, Result)
                mailbox = rig.run(lambda rows: rows.mailbox(box.id))  # noqa: B023
                deliveries = [] if mailbox is None else rig.waiting(box)
            except Exception:
                refused += 1
                continue
            for delivery in deliveries:
                if delivery.envelope_id == fresh.envelope_id:
                    continue
                entry, label = original.sent[delivery.envelope_id]
                assert delivery.mailbox_id == entry.mailbox_id == box.id
                assert delivery.body == entry.body
                assert delivery.label == label
                delivered += 1
        try:
            rig.now += DAY
            rig.tidy()
            store.checkpoint()
        except Exception:
            refused += 1
    finally:
        store.close()
    return delivered, refused


def test_damage_is_refused_and_never_delivered(original: Original, tmp_path: Path) -> None:
    db = tmp_path / "relay.db"
    whole = len(original.sent)
    put(original.files, db)
    assert use(original, db) == (whole, 0)
    outcomes: list[tuple[int, int]] = []
    for number in range(ROUNDS):
        put(harm(original.files, random.Random(SEED + number)), db)
        try:
            outcomes.append(use(original, db))
        except Exception as error:
            error.add_note(f"damage {number} of seed {SEED}")
            raise
    # The damage is real, and most of what is whole is still served.
    assert sum(delivered < whole for delivered, _ in outcomes) > ROUNDS // 4
    assert sum(delivered > whole // 2 for delivered, _ in outcomes) > ROUNDS // 4


@pytest.mark.parametrize("number", range(4))
async def test_a_relay_on_a_damaged_file(original: Original, tmp_path: Path, number: int) -> None:
    """It says in a line that it cannot start, or it serves what is whole and goes on."""
    clock = tmp_path / "clock"
    clock.write_text(str(START - int(time.time())))
    relay = RelayProcess(tmp_path, "--demo-clock", str(clock))
    shutil.copytree(original.key_folder, keyfiles.default_folder(relay.db))
    put(harm(original.files, random.Random(number)), relay.db)
    try:
        relay.start()
    except AssertionError:
        assert relay.process is not None
        assert relay.process.wait() == 4
        assert "error: " in relay.log.read_text()
    else:
        await _read_all(original, relay)
        assert relay.stop() == 0
    assert "Traceback" not in relay.log.read_text()


async def _read_all(original: Original, relay: RelayProcess) -> None:
    for box in original.boxes:
        async with relay.client() as client:
            reply = await client.ask(Open(1, [box.opening(client.nonce)]))
            assert isinstance(reply, Error | Results)
            while True:
                try:
                    await client.read(0.1)
                except TimeoutError:
                    break
            for delivery in client.delivered:
                entry, label = original.sent[delivery.envelope_id]
                assert (delivery.mailbox_id, delivery.body) == (entry.mailbox_id, entry.body)
                assert delivery.label == label
    # Whoever comes now is served, whatever became of the others; or told that it cannot be.
    async with relay.client() as client:
        fresh = Box.personal(client.relay_id, client.now)
        assert await client.create(fresh) in (["ok"], ["unavailable"])
        assert await client.codes(Submit(9, [fresh.write()])) != []
