"""The rules of blobs over a real store: who may do what, how much, for how long."""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from kurir_server import blobs as blobs_module
from kurir_server.blob_rows import BlobStore
from kurir_server.blobs import Room
from kurir_server.errors import DatabaseError, StorageError
from kurir_server.limits import (
    BLOB_SPACE_RATE,
    BLOB_TIDY_CHUNKS,
    BLOB_TRAFFIC_RATE,
    BLOB_UPLOAD_HOURS,
    TIDY_SECONDS,
)
from kurir_server.store.blobs import SqlBlobStore
from kurir_server.work import NO_ROOM
from kurir_wire import codes
from kurir_wire.blob_frames import (
    BlobChunksAre,
    BlobDelete,
    BlobGet,
    BlobKey,
    BlobNew,
    BlobPut,
    BlobRequest,
    BlobStatus,
    BlobStatusIs,
    Chunk,
)
from kurir_wire.entries import Result
from kurir_wire.frames import Error, Results, encode
from kurir_wire.ids import DAY, HOUR
from kurir_wire.limits import CHUNK_BYTES, CHUNKS_AT_ONCE, MAX_BLOB_CHUNKS
from tests.server import blob_client
from tests.server.blob_client import Attachment, BlobRefused
from tests.server.rig import START, Rig, Talk


class Blobby:
    """A connection of some network that does things with blobs, and content to do them with."""

    def __init__(self, rig: Rig, network: bytes = b"net") -> None:
        self.rig = rig
        self.talk: Talk = rig.connection(network)
        self.waited = 0

    async def ask(self, request: BlobRequest) -> Any:
        (reply,) = self.talk.send(request)
        return reply

    async def wait(self, seconds: int) -> None:
        self.waited += seconds
        self.rig.tick += seconds
        self.rig.now += seconds
        assert self.waited < 10_000_000, "waits for ever"

    def new(self, *attachments: Attachment) -> list[Result | None]:
        (reply,) = self.talk.send(BlobNew(1, [one.new for one in attachments]))
        assert isinstance(reply, Results)
        return reply.results

    def put(self, one: Attachment, *indexes: int, data: bytes | None = None) -> list[str]:
        chunks = [Chunk(index, data or chunk(one, index)) for index in indexes]
        (reply,) = self.talk.send(BlobPut(1, one.id, one.write, chunks))
        assert isinstance(reply, Results)
        return ["ok" if result is None else result.code for result in reply.results]

    def fill(self, one: Attachment) -> Attachment:
        assert self.new(one) == [None]
        for index in range(one.chunks):
            assert self.put(one, index) == ["ok"]
        return one

    def get(self, one: Attachment, first: int = 0, count: int = 1) -> list[bytes] | str:
        (reply,) = self.talk.send(BlobGet(1, one.id, one.read, first, count))
        if isinstance(reply, Error):
            return reply.result.code
        assert isinstance(reply, BlobChunksAre)
        assert reply.size == one.chunks
        return reply.chunks

    def status(self, one: Attachment) -> BlobStatusIs | str:
        (reply,) = self.talk.send(BlobStatus(1, one.id, one.write))
        return reply.result.code if isinstance(reply, Error) else reply  # type: ignore[return-value]

    def delete(self, *keys: BlobKey) -> list[str]:
        (reply,) = self.talk.send(BlobDelete(1, list(keys)))
        assert isinstance(reply, Results)
        return ["ok" if result is None else result.code for result in reply.results]


def chunk(one: Attachment, index: int) -> bytes:
    """Bytes that no other chunk has."""
    return (one.read + index.to_bytes(32, "big")) * (CHUNK_BYTES // 64)


def store_of(rig: Rig) -> BlobStore:
    assert rig.blob_store is not None
    return rig.blob_store


def sweep(rig: Rig) -> int:
    """A whole round of housekeeping.

    :returns: how many steps it took
    """
    steps = 1
    while rig.run_blobs(lambda rows: rig.blobs.sweep(rows, rig.moment)):
        steps += 1
    return steps


@pytest.fixture
def some(rig: Rig) -> Blobby:
    return Blobby(rig)


@pytest.fixture
def three(rig: Rig) -> Attachment:
    return Attachment(rig.keys.relay_id, 3)


async def test_up_and_down_again(rig: Rig, some: Blobby) -> None:
    one = Attachment(rig.keys.relay_id, 2 * CHUNKS_AT_ONCE + 3)
    await blob_client.create(some.ask, one)
    await blob_client.upload(some.ask, one, lambda index: chunk(one, index), some.wait)
    other = Blobby(rig, b"somewhere else")
    got = [data async for data in blob_client.download(other.ask, one.id, one.read, other.wait)]
    assert got == [chunk(one, index) for index in range(one.chunks)]
    await blob_client.delete(some.ask, one)
    with pytest.raises(BlobRefused, match="not-found"):
        await anext(blob_client.download(other.ask, one.id, one.read, other.wait))


def test_the_tokens_open_what_they_are_for_and_nothing_else(
    rig: Rig, some: Blobby, three: Attachment
) -> None:
    some.fill(three)
    other = some.fill(Attachment(rig.keys.relay_id, 3))
    wrong = [bytes(32), three.read, other.write, secrets.token_bytes(32), bytes(three.id)]
    for token in wrong:
        thief = Attachment(rig.keys.relay_id, 3, 24, token, token)
        key = BlobKey(three.id, token)
        (put,) = some.talk.send(BlobPut(1, three.id, token, [Chunk(0, bytes(CHUNK_BYTES))]))
        assert isinstance(put, Results)
        (status,) = some.talk.send(BlobStatus(1, three.id, token))
        replies = [put.results[0], status.result if isinstance(status, Error) else None]
        assert [reply.code if reply else "ok" for reply in replies] == ["not-found"] * 2
        assert some.delete(key) == ["not-found"]
        assert some.get(thief) == "not-found"
    for token in (bytes(32), three.write, other.read, secrets.token_bytes(32)):
        (reply,) = some.talk.send(BlobGet(1, three.id, token, 0, 1))
        assert isinstance(reply, Error)
        assert reply.result.code == codes.NOT_FOUND
    assert some.get(three, 0, 4) == [chunk(three, index) for index in range(3)]


def test_the_gates_in_the_file_are_hashes_and_no_tokens_themselves(
    rig: Rig, some: Blobby, three: Attachment, tmp_path: Path
) -> None:
    some.fill(three)
    store_of(rig).checkpoint()
    data = (tmp_path / "rig.blobs").read_bytes()
    assert three.new.write_gate in data
    assert three.write not in data
    for gate in (three.new.write_gate, three.new.read_gate):
        (reply,) = some.talk.send(BlobGet(1, three.id, gate, 0, 1))
        assert isinstance(reply, Error)
    assert some.delete(BlobKey(three.id, three.new.write_gate)) == ["not-found"]


def test_one_that_is_not_whole_is_not_read(some: Blobby, three: Attachment) -> None:
    assert some.new(three) == [None]
    assert some.put(three, 2, 0) == ["ok", "ok"]
    assert some.get(three) == "not-found"
    status = some.status(three)
    assert isinstance(status, BlobStatusIs)
    assert (status.chunks, status.there) == (3, bytes([0b101]))
    assert some.put(three, 1) == ["ok"]
    assert some.get(three, 1, 2) == [chunk(three, 1), chunk(three, 2)]
    assert some.get(three, 2, 4) == [chunk(three, 2)]
    assert some.get(three, 3) == codes.MALFORMED


def test_the_bits_of_a_status(rig: Rig, some: Blobby) -> None:
    one = Attachment(rig.keys.relay_id, 17)
    some.new(one)
    assert some.put(one, 0, 7, 8, 16) == ["ok"] * 4
    status = some.status(one)
    assert isinstance(status, BlobStatusIs)
    assert status.there == bytes([0b1000_0001, 0b1, 0b1])


def test_the_same_again_is_harmless_and_something_else_is_not(
    some: Blobby, three: Attachment
) -> None:
    assert some.new(three, three) == [None, None]
    assert some.put(three, 0, 0, 0) == ["ok"] * 3
    assert some.put(three, 0, data=bytes(CHUNK_BYTES)) == ["conflict"]
    assert some.put(three, 3) == ["malformed"]
    assert some.put(three, 1, 2) == ["ok", "ok"]
    assert some.put(three, 1) == ["ok"], "also when it is whole"
    assert some.put(three, 1, data=bytes(CHUNK_BYTES)) == ["conflict"]
    assert some.new(three) == [None]
    assert some.get(three, 0, 3) == [chunk(three, index) for index in range(3)]


def test_an_id_stands_for_one_size_and_life_at_one_relay(three: Attachment) -> None:
    variants = {
        Attachment(three.relay_id, 4, 24, three.write, three.read).id,
        Attachment(three.relay_id, 3, 25, three.write, three.read).id,
        Attachment(three.relay_id, 3, 24, three.read, three.write).id,
        Attachment(type(three.relay_id)(bytes(32)), 3, 24, three.write, three.read).id,
        three.id,
    }
    assert len(variants) == 5


def test_life_begins_when_it_is_whole_and_ends_to_the_hour(
    rig: Rig, some: Blobby, three: Attachment
) -> None:
    some.new(three)
    some.put(three, 0, 1)
    rig.now += 5 * HOUR
    some.put(three, 2)
    status = some.status(three)
    assert isinstance(status, BlobStatusIs)
    assert status.end == (START // HOUR + 5 + 1 + 24) * HOUR
    rig.now = status.end - 1
    sweep(rig)
    assert some.get(three) == [chunk(three, 0)]
    rig.now += 1
    assert some.get(three) == some.status(three) == "not-found", "though nobody has swept"
    assert some.put(three, 0) == ["not-found"]
    assert some.delete(three.key) == ["not-found"]
    sweep(rig)
    assert rig.run_blobs(lambda rows: rows.reserved()) == 0
    some.fill(three)
    assert some.get(three) == [chunk(three, 0)], "the same may be made again"


def test_none_ends_by_a_clock_in_doubt(rig: Rig, some: Blobby, three: Attachment) -> None:
    some.fill(three)
    rig.now, rig.doubt = START + 3 * DAY, 3 * DAY
    sweep(rig)
    assert some.get(three) == [chunk(three, 0)]
    assert some.new(three) == [None], "it is there still"
    assert some.get(three) == [chunk(three, 0)]
    rig.doubt = 0
    assert some.get(three) == "not-found"
    sweep(rig)
    assert rig.run_blobs(lambda rows: rows.reserved()) == 0


def test_the_same_can_be_made_again_before_the_old_one_was_swept(
    rig: Rig, some: Blobby, three: Attachment
) -> None:
    some.fill(three)
    rig.now += 26 * HOUR
    assert some.new(three) == [None]
    status = some.status(three)
    assert isinstance(status, BlobStatusIs)
    assert status.there == b"\0", "what was there is not part of it"
    sweep(rig)
    assert some.put(three, 0, 1, 2) == ["ok"] * 3
    assert rig.run_blobs(lambda rows: rows.reserved()) == 3


def test_an_upload_that_was_given_up_goes_after_a_day(
    rig: Rig, some: Blobby, three: Attachment
) -> None:
    some.new(three)
    some.put(three, 0)
    rig.now = (START // HOUR + 1 + BLOB_UPLOAD_HOURS) * HOUR - 1
    sweep(rig)
    assert some.put(three, 1) == ["ok"]
    assert some.new(three) == [None]
    rig.now += 1
    sweep(rig)
    assert some.status(three) == "not-found"
    assert rig.run_blobs(lambda rows: rows.reserved()) == 0


def test_the_quota_is_for_all(rig: Rig, some: Blobby) -> None:
    rig.room = Room(quota=10 * CHUNK_BYTES + 1, reserve=0)
    rig.restart()
    some = Blobby(rig)
    six, four, one = (Attachment(rig.keys.relay_id, n) for n in (6, 4, 1))
    assert some.new(six) == [None]
    (full,) = some.new(Attachment(rig.keys.relay_id, 5))
    assert full is not None
    assert (full.code, full.left) == (codes.FULL, 4)
    assert full.retry_after == HOUR - START % HOUR + TIDY_SECONDS
    assert [r.code if r else "ok" for r in some.new(four, one, six)] == ["ok", "full", "ok"]
    assert some.delete(six.key) == ["ok"]
    (full,) = some.new(one)
    assert full is not None, "room is free when the bytes are gone"
    sweep(rig)
    assert some.new(one) == [None]


def test_the_disk_keeps_a_reserve(rig: Rig, some: Blobby, three: Attachment) -> None:
    rig.room = Room(quota=1 << 30, reserve=5 * CHUNK_BYTES)
    rig.restart()
    some = Blobby(rig)
    rig.free = 7 * CHUNK_BYTES
    (full,) = some.new(three)
    assert full is not None
    assert (full.code, full.left) == (codes.FULL, 2)
    rig.free = 8 * CHUNK_BYTES
    assert some.new(three) == [None]
    rig.free = 6 * CHUNK_BYTES - 1
    assert some.put(three, 0) == ["full"]
    rig.free += 1
    assert some.put(three, 0, 1, 2) == ["ok"] * 3
    rig.free = 0
    assert some.get(three) == [chunk(three, 0)], "readers go on"
    assert some.delete(three.key) == ["ok"], "and what is deleted makes room"


def test_a_disk_for_readers_only_takes_no_blobs(rig: Rig, some: Blobby, three: Attachment) -> None:
    """Whatever reserve the operator gave."""
    assert some.new(three) == [None]
    some.fill(three)
    rig.hub.has_room = False
    other = Attachment(rig.keys.relay_id, 2)
    assert some.new(other, other) == [NO_ROOM] * 2
    assert some.put(three, 0, 1) == [codes.UNAVAILABLE] * 2
    assert some.get(three) == [chunk(three, 0)], "readers go on"
    assert some.delete(three.key) == ["ok"]
    rig.hub.has_room = True
    assert some.new(other) == [None]


def test_one_network_takes_its_share_of_space_only(rig: Rig) -> None:
    some, other = Blobby(rig), Blobby(rig, b"other")
    rig.room = Room(quota=1 << 40, reserve=0)
    rig.restart()
    some, other = Blobby(rig), Blobby(rig, b"other")
    hours = 720 + BLOB_UPLOAD_HOURS
    large = [Attachment(rig.keys.relay_id, MAX_BLOB_CHUNKS, 720) for _ in range(4)]
    fit = BLOB_SPACE_RATE.burst // (MAX_BLOB_CHUNKS * hours)
    assert fit == 1
    done = some.new(*large)
    assert [result.code if result else "ok" for result in done] == ["ok"] * fit + ["rate"] * 3
    slow = done[-1]
    assert slow is not None
    assert slow.left is not None
    assert slow.left > 0
    assert some.new(Attachment(rig.keys.relay_id, slow.left, 720)) == [None], "left is true"
    (slow,) = some.new(large[1])
    assert slow is not None
    assert slow.retry_after is not None
    assert other.new(large[1]) == [None], "others have their own share"
    rig.tick += slow.retry_after - 1
    assert some.new(large[2]) != [None]
    rig.tick += 1
    assert some.new(large[2]) == [None], "retry_after is true"
    assert BLOB_SPACE_RATE.per_second * HOUR * CHUNK_BYTES < 2.5 * (1 << 30), "as the table says"


def test_refused_for_space_costs_nothing(rig: Rig) -> None:
    rig.room = Room(quota=CHUNK_BYTES, reserve=0)
    rig.restart()
    some = Blobby(rig)
    for _ in range(200):
        (full,) = some.new(Attachment(rig.keys.relay_id, 1_000, 720))
        assert full is not None
        assert full.code == codes.FULL
        rig.tick += 1


async def test_traffic_of_a_network_has_a_rate(rig: Rig, three: Attachment) -> None:
    some, same, other = Blobby(rig), Blobby(rig), Blobby(rig, b"other")
    some.fill(three)
    gets = 0
    while some.get(three, 0, 4) != codes.RATE:
        gets += 1
    assert gets == (BLOB_TRAFFIC_RATE.burst - 1 - 3) // 4
    (reply,) = same.talk.send(BlobGet(1, three.id, three.read, 0, 4))
    assert isinstance(reply, Error)
    assert (reply.result.retry_after, reply.result.left) == (1, 0)
    assert some.put(three, 0) == ["rate"]
    assert some.status(three) == some.get(three) == codes.RATE
    assert some.delete(three.key, three.key) == ["rate", "rate"]
    assert [result.code if result else "ok" for result in some.new(three)] == ["rate"]
    assert other.get(three) == [chunk(three, 0)]
    got = [data async for data in blob_client.download(some.ask, three.id, three.read, some.wait)]
    assert len(got) == 3
    assert some.waited == 1


def test_waiting_as_long_as_told_is_enough_for_any_request(rig: Rig) -> None:
    some = Blobby(rig)
    three = some.fill(Attachment(rig.keys.relay_id, 3))
    for count in (4, 1, 2, 3) * 900:
        (reply,) = some.talk.send(BlobGet(1, three.id, three.read, 0, count))
        if isinstance(reply, Error):
            assert reply.result.retry_after is not None
            rig.tick += reply.result.retry_after
            assert some.get(three, 0, count) != codes.RATE


def test_what_is_deleted_or_over_is_gone_from_the_file(
    rig: Rig, some: Blobby, tmp_path: Path
) -> None:
    gone, over, kept = (some.fill(Attachment(rig.keys.relay_id, 3, life)) for life in (720, 1, 720))

    def everywhere() -> bytes:
        return b"".join(path.read_bytes() for path in tmp_path.glob("rig.blobs*"))

    store_of(rig).checkpoint()
    for one in (gone, over, kept):
        assert everywhere().count(one.read) > 2 * 1_024
    assert some.delete(gone.key) == ["ok"]
    assert some.get(gone) == "not-found", "at once"
    rig.now += 3 * HOUR
    sweep(rig)
    store_of(rig).checkpoint()
    left = everywhere()
    for one in (gone, over):
        assert one.read not in left
        assert bytes(one.id) not in left
        assert one.new.write_gate not in left
    assert kept.read in left
    assert some.get(kept, 0, 3) == [chunk(kept, index) for index in range(3)]


def test_housekeeping_removes_in_small_steps(rig: Rig, some: Blobby) -> None:
    one = some.fill(Attachment(rig.keys.relay_id, BLOB_TIDY_CHUNKS * 2 + 1, 1))
    some.fill(Attachment(rig.keys.relay_id, 5, 1))
    kept = some.fill(Attachment(rig.keys.relay_id, 5, 9))
    rig.now += 3 * HOUR
    assert sweep(rig) == 3
    assert rig.run_blobs(lambda rows: rows.reserved()) == 5
    assert some.get(one) == "not-found"
    assert some.get(kept, 4) == [chunk(kept, 4)]


def test_many_ended_ones_without_chunks_go_as_well(
    rig: Rig, some: Blobby, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blobs_module, "BLOB_TIDY_CHUNKS", 4)
    some.new(*(Attachment(rig.keys.relay_id, 2) for _ in range(9)))
    rig.now += 26 * HOUR
    assert sweep(rig) == 3
    assert rig.run_blobs(lambda rows: rows.reserved()) == 0


@pytest.mark.parametrize("what", ["data", "sum", "moved"])
def test_a_wrong_byte_is_never_handed_out(
    rig: Rig, some: Blobby, three: Attachment, what: str, tmp_path: Path
) -> None:
    some.fill(three)
    database = sqlite3.connect(tmp_path / "rig.blobs", isolation_level=None)
    places = [found for (found,) in database.execute("SELECT place FROM chunks ORDER BY place")]
    if what == "moved":
        database.execute(
            "UPDATE chunks SET (sum, data) = (SELECT sum, data FROM chunks WHERE place = ?) "
            "WHERE place = ?",
            (places[0], places[1]),
        )
    else:
        (value,) = database.execute(
            f"SELECT {what} FROM chunks WHERE place = ?", (places[1],)
        ).fetchone()
        flipped = bytes([value[0] ^ 1]) + value[1:]
        database.execute(f"UPDATE chunks SET {what} = ? WHERE place = ?", (flipped, places[1]))
    database.close()
    assert some.get(three, 0) == [chunk(three, 0)]
    assert some.get(three, 1) == some.get(three, 0, 3) == "not-found"
    assert store_of(rig).take_damaged() == 2
    assert store_of(rig).take_damaged() == 0
    healed = some.put(three, 1)
    assert healed == (["ok"] if what == "data" else ["conflict"])
    if what == "data":
        assert some.get(three, 0, 3) == [chunk(three, index) for index in range(3)]


def test_nothing_holds_of_what_was_not_committed(rig: Rig, some: Blobby, three: Attachment) -> None:
    some.talk.is_failing = True
    (failed,) = some.new(three)
    assert failed is not None
    assert (failed.code, failed.retry_after) == (codes.UNAVAILABLE, 5)
    assert some.get(three) == codes.UNAVAILABLE
    some.talk.is_failing = False
    some.new(three)

    def fails(rows: Any) -> None:
        assert rows.put_chunk(rows.blob(three.id).row, 0, chunk(three, 0)).value == "added"
        rows.end_blob(rows.blob(three.id).row)
        raise KeyError

    with pytest.raises(KeyError):
        rig.run_blobs(fails)
    status = some.status(three)
    assert isinstance(status, BlobStatusIs)
    assert status.there == b"\0"


def test_a_relay_that_takes_no_blobs_says_so(rig: Rig, three: Attachment) -> None:
    rig.takes_blobs = False
    talk = rig.connection()
    (reply,) = talk.send(BlobNew(1, [three.new]))
    assert isinstance(reply, Error)
    assert reply.result.code == codes.UNSUPPORTED


def test_a_reply_to_one_who_has_gone_hurts_nobody(rig: Rig, some: Blobby) -> None:
    talk = some.talk
    one = Attachment(rig.keys.relay_id, 1)
    assert some.new(one) == [None]
    talk.connection.receive(
        encode(BlobPut(2, one.id, one.write, [Chunk(0, chunk(one, 0))])), rig.moment
    )
    output = talk.connection.take()
    assert (talk.connection.outstanding, talk.connection.barriers) == (1, 1)
    talk.connection.close()
    for job in output.blob_jobs:
        rig.do_blobs(job)
    assert (talk.connection.outstanding, talk.connection.barriers) == (0, 0)
    assert Blobby(rig).get(one) == [chunk(one, 0)]
    assert talk.connection not in rig.hub.touched


# The file


def test_the_file_is_made_once_and_belongs_to_one_relay(tmp_path: Path) -> None:
    path = tmp_path / "relay.blobs"
    SqlBlobStore.open(path, bytes(32)).close()
    assert path.stat().st_mode & 0o777 == 0o600
    SqlBlobStore.open(path, bytes(32)).close()
    with pytest.raises(DatabaseError, match="belongs to another relay"):
        SqlBlobStore.open(path, bytes(31) + b"x")
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("UPDATE meta SET value = '9' WHERE key = 'schema_version'")
    database.close()
    with pytest.raises(DatabaseError, match="another version"):
        SqlBlobStore.open(path, bytes(32))
    path.write_bytes(secrets.token_bytes(9_000))
    with pytest.raises(DatabaseError, match="cannot use") as caught:
        SqlBlobStore.open(path, bytes(32))
    assert "move it" in str(caught.value.hint)
    path.unlink()
    path.mkdir()
    with pytest.raises(DatabaseError, match="cannot use"):
        SqlBlobStore.open(path, bytes(32))


def test_a_file_of_which_a_crash_left_the_beginning_is_finished(tmp_path: Path) -> None:
    path = tmp_path / "relay.blobs"
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = WAL").fetchall()
    database.close()
    assert path.stat().st_size > 0
    SqlBlobStore.open(path, bytes(32)).close()


def test_errors_of_the_file_are_named_without_values(tmp_path: Path) -> None:
    store = SqlBlobStore.open(tmp_path / "relay.blobs", bytes(32))
    other = sqlite3.connect(tmp_path / "relay.blobs", isolation_level=None, timeout=0)
    other.execute("BEGIN IMMEDIATE")
    store._connection.execute("PRAGMA busy_timeout = 1")
    with pytest.raises(StorageError, match="SQLITE_BUSY"):
        store.transact(lambda rows: rows.reserved())
    other.execute("ROLLBACK")
    other.close()
    assert store.transact(lambda rows: rows.reserved()) == 0
    assert store.free_bytes() > 0
    store.close()
