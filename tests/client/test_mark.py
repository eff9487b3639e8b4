"""The mark outside the home: an old copy is told from the home, and nothing else is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kurir_client import mark as module
from kurir_client import outbox
from kurir_client.errors import ProfileError
from kurir_client.mark import Mark, encryptions
from kurir_client.profile import Profile
from kurir_client.store import Store
from tests.client.copies import Copies
from tests.client.pair import PASSPHRASE, Pair


def archived(profile: Profile) -> list[int]:
    return [row[0] for row in profile.store._all("SELECT archived FROM session")]


def was_restored(profile: Profile) -> bool:
    told = [item.text for item in profile.store.unread() if "restored from a copy" in item.text]
    assert set(archived(profile)) <= ({1} if told else {0})
    return bool(told)


def test_a_home_that_goes_on_is_not_taken_for_a_copy(copies: Copies) -> None:
    copies.talk("hello")
    copies.alice = copies.reopen(copies.alice)
    assert not was_restored(copies.alice)
    assert copies.alice.mark.read() == encryptions(copies.alice.store) > 0


def test_nothing_leaves_that_the_mark_does_not_count(copies: Copies) -> None:
    before = copies.alice.mark.read() or 0
    for number in range(3):
        copies.say("alice", f"number {number}")
    assert len(copies.prepare(copies.alice)) == 3
    assert copies.alice.mark.read() == before + 3


def test_after_a_crash_between_encrypting_and_the_mark_it_is_made_good(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies.say("alice", "hello")
    with monkeypatch.context() as patch:
        patch.setattr(Mark, "raise_to", lambda *_: (_ for _ in ()).throw(ProfileError("killed")))
        with pytest.raises(ProfileError):
            copies.prepare(copies.alice)
    copies.alice = copies.reopen(copies.alice)
    assert not was_restored(copies.alice)
    assert (copies.alice.mark.read() or 0) < encryptions(copies.alice.store)
    assert len(copies.prepare(copies.alice)) == 1
    assert copies.alice.mark.read() == encryptions(copies.alice.store)


def test_an_old_copy_is_noticed_once(copies: Copies) -> None:
    old = copies.copy("alice")
    copies.talk("hello")
    copies.put_back("alice", old)
    assert was_restored(copies.alice)
    told = len(copies.notes("alice"))
    copies.alice = copies.reopen(copies.alice)
    assert len(copies.notes("alice")) == told


def test_a_copy_of_the_present_state_is_the_home(copies: Copies) -> None:
    copies.talk("hello")
    copies.put_back("alice", copies.copy("alice"))
    assert not was_restored(copies.alice)


def test_the_same_copy_is_noticed_each_time_it_is_put_back(copies: Copies) -> None:
    old = copies.copy("alice")
    copies.talk("hello")
    for _ in range(2):
        copies.put_back("alice", old)
        assert was_restored(copies.alice)


def test_a_copy_made_after_the_restore_that_sent_nothing_is_the_home(copies: Copies) -> None:
    old = copies.copy("alice")
    copies.talk("hello")
    copies.put_back("alice", old)
    told = copies.notes("alice")
    copies.put_back("alice", copies.copy("alice"))
    assert copies.notes("alice") == told


@pytest.mark.parametrize("damage", [b"", b"x" * 48, None])
def test_a_home_without_its_mark_is_an_old_copy(copies: Copies, damage: bytes | None) -> None:
    file = copies.alice.mark.file
    file.unlink()
    if damage is not None:
        file.write_bytes(damage)
    copies.alice = copies.reopen(copies.alice)
    assert was_restored(copies.alice)
    assert copies.alice.mark.read() == encryptions(copies.alice.store)


def test_another_homes_mark_is_none(copies: Copies) -> None:
    shutil.copy(copies.bob.mark.file, copies.alice.mark.file)
    copies.alice = copies.reopen(copies.alice)
    assert was_restored(copies.alice)


def test_a_restored_home_that_is_killed_on_the_way_is_still_restored(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies.alice.mark.file.unlink()
    copies.alice.close()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "put", lambda *_: (_ for _ in ()).throw(ProfileError("killed")))
        with pytest.raises(ProfileError):
            Profile.open(copies.alice.home, PASSPHRASE, copies.clock)
    honest = Mark.raise_to

    def killed_after(mark: Mark, count: int) -> None:
        honest(mark, count)
        raise ProfileError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Mark, "raise_to", killed_after)
        with pytest.raises(ProfileError):
            Profile.open(copies.alice.home, PASSPHRASE, copies.clock)
    copies.alice = Profile.open(copies.alice.home, PASSPHRASE, copies.clock)
    assert was_restored(copies.alice)


def test_two_processes_notice_it_once(copies: Copies) -> None:
    old = copies.copy("alice")
    copies.talk("hello")
    copies.put_back("alice", old)
    second = Profile.open(copies.alice.home, PASSPHRASE, copies.clock)
    try:
        assert sum("restored from a copy" in note for note in copies.notes("alice")) == 1
    finally:
        second.close()


def test_of_two_processes_that_notice_it_at_once_one_deals_with_it(
    copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies.alice.mark.file.unlink()
    copies.alice.close()
    honest = Mark.read
    others: list[Profile] = []

    def overtaken(mark: Mark) -> int | None:
        found = honest(mark)
        monkeypatch.undo()
        others.append(Profile.open(copies.alice.home, PASSPHRASE, copies.clock))
        copies.settle_with(others[0])
        return found

    monkeypatch.setattr(Mark, "read", overtaken)
    copies.alice = Profile.open(copies.alice.home, PASSPHRASE, copies.clock)
    others[0].close()
    assert sorted(archived(copies.alice)) == [0, 1]


def test_the_mark_is_never_lowered(pair: Pair) -> None:
    mark = pair.alice.mark
    mark.raise_to(7)
    mark.raise_to(5)
    assert mark.read() == 7


def test_two_processes_raise_it_together(copies: Copies) -> None:
    second = Profile.open(copies.alice.home, PASSPHRASE, copies.clock)
    try:
        copies.say("alice", "one")
        copies.prepare(copies.alice)
        copies.say("alice", "two")
        beacon = copies.relay.beacon(copies.clock.now)
        assert len(outbox.prepare(second, beacon, copies.clock.now)) == 2
        copies.prepare(copies.alice)
        assert copies.alice.mark.read() == encryptions(copies.alice.store)
    finally:
        second.close()


def test_nobody_reads_from_it_how_much_was_written(copies: Copies) -> None:
    first = copies.alice.mark.file.read_bytes()
    copies.talk("hello")
    second = copies.alice.mark.file.read_bytes()
    assert len(first) == len(second) == 48
    assert first[:24] != second[:24]
    assert (copies.alice.mark.read() or 0).to_bytes(8, "big") not in second
    assert copies.alice.mark.file.stat().st_mode & 0o777 == 0o600
    assert copies.alice.mark.file.parent.stat().st_mode & 0o777 == 0o700
    assert "Mark(" in repr(copies.alice.mark)
    assert copies.alice.mark._key.hex() not in repr(copies.alice.mark)


def test_where_no_mark_can_be_written_is_said(
    copies: Copies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(ProfileError) as caught:
        Profile.create(tmp_path / "carol", PASSPHRASE, "Carol")
    assert str(tmp_path / "file") in caught.value.what
    assert "XDG_STATE_HOME" in caught.value.hint
    monkeypatch.undo()
    copies.say("alice", "hello")

    def full(*_: object, **__: object) -> None:
        raise ProfileError("cannot write the mark: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_private", full)
        with pytest.raises(ProfileError) as caught:
            copies.prepare(copies.alice)
    assert "XDG_STATE_HOME" in caught.value.hint


def test_marks_lie_in_the_state_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pair: Pair
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    pair.alice = pair.reopen(pair.alice)
    assert was_restored(pair.alice)
    assert [file.parent for file in (tmp_path / "state").rglob("*") if file.is_file()] == [
        tmp_path / "state" / "kurir" / "marks"
    ]
