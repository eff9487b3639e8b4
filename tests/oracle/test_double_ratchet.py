"""The Double Ratchet against another author's: same keys in thousands of random conversations."""

from __future__ import annotations

from hypothesis import settings

from tests.oracle.libraries import STORED_KEYS
from tests.oracle.pair import Message, Schedule, ends

LONG = settings.get_current_profile_name() == "long"
SCHEDULES = 20_000 if LONG else 2_000
LOSSY = 200 if LONG else 10


def test_the_two_agree_whatever_the_schedule() -> None:
    opened = late = turned = 0
    for seed in range(SCHEDULES):
        schedule = Schedule(seed)
        try:
            schedule.run()
        except Exception as error:
            raise AssertionError(f"schedule {seed}: {error}") from error
        opened += schedule.opened
        late += schedule.late
        turned += len(schedule.keys) >= 6
    # The schedules go where it is interesting.
    assert opened > 12 * SCHEDULES
    assert late > SCHEDULES
    assert turned > SCHEDULES // 5


def test_the_two_agree_when_hundreds_are_lost() -> None:
    for seed in range(LOSSY):
        Schedule(seed, steps=40, loss=0.9, burst=120).run()


def test_the_two_forget_the_same_keys() -> None:
    """More than can be stored, over two chains: both refuse exactly the oldest."""
    for ours_starts in (True, False):
        sender, receiver = ends(ours_starts=ours_starts)
        first = sender.send()
        assert receiver.receive(first)
        early = [sender.send() for _ in range(30)]
        assert receiver.receive(sender.send())
        assert sender.receive(receiver.send())
        later: list[Message] = [sender.send() for _ in range(STORED_KEYS - 9)]
        assert receiver.receive(later[-1])
        # 30 and 1,990 keys were stored, so 20 are gone.
        assert [receiver.receive(message) for message in early] == [False] * 20 + [True] * 10
        assert all(receiver.receive(message) for message in later[:-1])
        assert not any(receiver.receive(message) for message in early + later[:50])
