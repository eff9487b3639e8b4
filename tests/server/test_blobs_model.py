"""Blobs in every order that hypothesis can think of, beside a model that is as plain as the
document: dictionaries, and no store."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kurir_server.blobs import Room
from kurir_server.limits import BLOB_UPLOAD_HOURS
from kurir_server.store.blobs import SqlBlobStore
from kurir_wire.blob_frames import BlobStatusIs
from kurir_wire.ids import HOUR
from kurir_wire.limits import CHUNK_BYTES
from tests.server.blob_client import Attachment
from tests.server.rig import Rig, rig_in
from tests.server.test_blobs import Blobby, sweep

QUOTA = 8
WHICH = st.integers(0, 3)
SIZES, LIVES = (1, 2, 3, 5), (1, 2, 30, 720)


@dataclass
class Modelled:
    """``end`` in hours."""

    end: int
    chunks: dict[int, bytes] = field(default_factory=dict)
    is_whole: bool = False


class BlobMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.context = rig_in(self.folder)
        self.rig: Rig = self.context.__enter__()
        self.rig.room = Room(QUOTA * CHUNK_BYTES, 0)
        self.restart()
        self.all = [
            Attachment(self.rig.keys.relay_id, size, life, bytes([n]) * 32, bytes([99 - n]) * 32)
            for n, (size, life) in enumerate(zip(SIZES, LIVES, strict=True))
        ]
        self.model: dict[int, Modelled] = {}
        self.held: dict[int, int] = {}
        """Chunks for which room is kept until the next sweep, by number of what was made."""
        self.made: dict[int, int] = {}
        self.count = 0

    def teardown(self) -> None:
        if hasattr(self, "context"):
            self.context.__exit__(None, None, None)
            shutil.rmtree(self.folder)

    @property
    def hour(self) -> int:
        return self.rig.now // HOUR

    def alive(self, which: int) -> Modelled | None:
        found = self.model.get(which)
        return found if found is not None and found.end > self.hour else None

    @rule()
    def restart(self) -> None:
        """The process forgets, the file does not."""
        self.rig.restart()
        self.someone = Blobby(self.rig)

    @rule()
    def reopen(self) -> None:
        store = self.rig.blob_store
        assert isinstance(store, SqlBlobStore)
        store.close()
        self.rig.blob_store = SqlBlobStore.open(self.folder / "rig.blobs", self.rig.keys.relay_id)

    @rule(which=WHICH)
    def new(self, which: int) -> None:
        one = self.all[which]
        (result,) = self.someone.new(one)
        if self.alive(which) is not None:
            assert result is None
        elif sum(self.held.values()) + one.chunks > QUOTA:
            assert result is not None
            assert (result.code, result.left) == ("full", QUOTA - sum(self.held.values()))
        else:
            assert result is None
            self.count += 1
            self.made[which] = self.count
            self.held[self.count] = one.chunks
            self.model[which] = Modelled(self.hour + 1 + BLOB_UPLOAD_HOURS)

    @rule(which=WHICH, index=st.integers(0, 5), letter=st.sampled_from(b"aaab"))
    def put(self, which: int, index: int, letter: int) -> None:
        one, found = self.all[which], self.alive(which)
        data = bytes([letter]) * CHUNK_BYTES
        (code,) = self.someone.put(one, index, data=data)
        if found is None:
            assert code == "not-found"
        elif index >= one.chunks:
            assert code == "malformed"
        elif found.chunks.setdefault(index, data) != data:
            assert code == "conflict"
        else:
            assert code == "ok"
            self.finish(which, found)

    @rule(which=WHICH)
    def put_rest(self, which: int) -> None:
        one, found = self.all[which], self.alive(which)
        if found is not None:
            todo = [index for index in range(one.chunks) if index not in found.chunks]
            for index in todo:
                assert self.someone.put(one, index, data=bytes(CHUNK_BYTES)) == ["ok"]
                found.chunks[index] = bytes(CHUNK_BYTES)
            if todo:
                self.finish(which, found)

    def finish(self, which: int, found: Modelled) -> None:
        one = self.all[which]
        if len(found.chunks) == one.chunks and not found.is_whole:
            found.is_whole = True
            found.end = self.hour + 1 + one.life

    @rule(which=WHICH, first=st.integers(0, 5), count=st.integers(1, 4))
    def get(self, which: int, first: int, count: int) -> None:
        one, found = self.all[which], self.alive(which)
        got = self.someone.get(one, first, count)
        if found is None or len(found.chunks) < one.chunks:
            assert got == "not-found"
        elif first >= one.chunks:
            assert got == "malformed"
        else:
            assert got == [found.chunks[i] for i in range(first, min(first + count, one.chunks))]

    @rule(which=WHICH)
    def status(self, which: int) -> None:
        one, found = self.all[which], self.alive(which)
        status = self.someone.status(one)
        if found is None:
            assert status == "not-found"
        else:
            assert isinstance(status, BlobStatusIs)
            there = sum(1 << index for index in found.chunks).to_bytes(1)
            assert (status.there, status.end) == (there, found.end * HOUR)

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        expected = "not-found" if self.alive(which) is None else "ok"
        assert self.someone.delete(self.all[which].key) == [expected]
        self.model.pop(which, None)

    @rule(hours=st.sampled_from([1, 2, 23, 30, 100, 700]))
    def time_passes(self, hours: int) -> None:
        self.rig.now += hours * HOUR
        self.rig.tick += hours * HOUR

    @rule()
    def housekeeping(self) -> None:
        sweep(self.rig)
        kept = {self.made[which] for which in self.model if self.alive(which) is not None}
        self.held = {number: size for number, size in self.held.items() if number in kept}

    @invariant()
    def room_is_counted_exactly(self) -> None:
        if hasattr(self, "held"):
            reserved = self.rig.run_blobs(lambda rows: rows.reserved())
            assert reserved == sum(self.held.values())


TestBlobs = BlobMachine.TestCase
TestBlobs.settings = settings(max_examples=25, stateful_step_count=40, deadline=None)
