"""The power goes: the short form of ``make power-loss``, and what shows that it is not blind."""

from __future__ import annotations

import random
from pathlib import Path

from tests.faults.disk import Change, Disk, put, recorded
from tests.faults.power_loss import cuts, record, start_again

CUTS = 20
SEED = 20_261_121
UNSAFE = """
from kurir_server.store import opening
settle = opening.settle
def unsafe(connection):
    settle(connection)
    connection.execute("PRAGMA synchronous = OFF")
opening.settle, opening.check = unsafe, lambda connection, path: None
from kurir_server.cli import main
main()
"""


async def test_what_was_told_survives_power_cuts(tmp_path: Path) -> None:
    recording = await record(tmp_path, SEED)
    kinds = {(change.what, change.file) for change in recorded(recording.told.log)}
    assert {("w", "w"), ("s", "w"), ("w", "d"), ("s", "d"), ("t", "w"), ("u", "w")} <= kinds
    assert ("s", "D") in kinds, "the folder in which the log was made"
    assert len(recording.told.stored) > 150
    after = tmp_path / "after"
    after.mkdir()
    assert cuts(recording, after, CUTS, SEED) == [[]] * CUTS, f"seed {SEED}"
    start_again(recording, after)


async def test_a_relay_that_does_not_sync_loses(tmp_path: Path) -> None:
    """The control: the same cuts find the losses of a relay whose commits are not on disk."""
    recording = await record(tmp_path, SEED, ("-c", UNSAFE))
    after = tmp_path / "after"
    after.mkdir()
    found = cuts(recording, after, 10, SEED)
    assert sum(bool(lost) for lost in found) >= 8
    assert any("an envelope" in lost for lost in found)


def test_the_record_of_a_disk_can_be_cut_anywhere(tmp_path: Path) -> None:
    """The model itself: synced is kept, the rest in any part; names like contents."""

    def change(what: str, file: str, offset: int = 0, data: bytes = b"") -> Change:
        return Change(what, file, offset, data, 0)

    disk = Disk({"d": b"a" * 2_048})
    disk.play(change("w", "d", 1_024, b"b" * 1_024))
    seen = {disk.cut(random.Random(seed))["d"] for seed in range(200)}
    assert {data[1_024:1_536] + data[1_536:] for data in seen} == {
        first * 512 + second * 512 for first in (b"a", b"b") for second in (b"a", b"b")
    }
    disk.play(change("s", "d"))
    assert {disk.cut(random.Random(seed))["d"][1_024:] for seed in range(50)} == {b"b" * 1_024}
    disk.play(change("o", "w"))
    disk.play(change("w", "w", 0, b"c"))
    disk.play(change("s", "w"))
    assert {disk.cut(random.Random(seed)).get("w") for seed in range(50)} == {None, b"c"}
    disk.play(change("s", "D"))
    assert {disk.cut(random.Random(seed)).get("w") for seed in range(50)} == {b"c"}
    disk.play(change("t", "w"))
    assert {disk.cut(random.Random(seed)).get("w") for seed in range(50)} == {b"", b"c"}
    disk.play(change("u", "w"))
    assert {disk.cut(random.Random(seed)).get("w") for seed in range(80)} == {None, b"", b"c"}
    put({"d": b"x", "w": b"y"}, tmp_path / "db")
    put({"d": b"x"}, tmp_path / "db")
    assert [path.name for path in tmp_path.iterdir()] == ["db"]
