"""Whatever is sent, lost from sight, copied and put back in whatever order: it heals by itself."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from kurir_client import sessions
from tests.client.copies import NAMES, Copies, Copy, other

WHO = st.sampled_from(NAMES)
STEP = st.one_of(
    st.tuples(st.just("say"), WHO),
    st.tuples(st.just("send"), WHO),
    st.tuples(st.just("take"), WHO, st.integers(0, 3)),
    st.tuples(st.just("copy"), WHO),
    st.tuples(st.just("put back"), WHO, st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([60, 3_600, 7_000])),
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(STEP, min_size=5, max_size=40))
def test_after_any_schedule_all_that_is_said_arrives_once(steps: list[tuple]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = Copies(Path(folder))
        try:
            _run(world, steps)
        finally:
            world.close()


def _run(world: Copies, steps: list[tuple]) -> None:
    kept: dict[str, list[Copy]] = {name: [world.copy(name)] for name in NAMES}
    trust = {name: _trust(world, name) for name in NAMES}
    said = 0
    silent = False
    expected: dict[str, set[str]] = {name: set() for name in NAMES}
    for step in steps:
        match step:
            case ("say", name):
                said += 1
                world.say(name, f"number {said}")
                expected[other(name)].add(f"number {said}")
            case ("send", name):
                world.send(name)
            case ("take", name, at) if at < len(world.on_the_way[name]):
                world.take(name, at)
            case ("copy", name):
                kept[name].append(world.copy(name))
            case ("put back", name, with_mark):
                event(f"put back with_mark={with_mark}")
                world.put_back(name, kept[name][said % len(kept[name])], with_mark=with_mark)
                # Not noticed with its mark, nor if it has only read since: no key was used up.
                silent |= not world.contact(name).wants_session
                expected[other(name)] &= _said(world, name)
            case ("wait", seconds):
                world.clock.now += seconds
        for name in NAMES:
            shown = world.texts(name)
            assert len(shown) == len(set(shown)), "shown twice"
    # After quiet, one message each way shows to whoever was set back unnoticed that it was.
    for number in range(2):
        world.settle()
        world.clock.now += 3_600
        for name in NAMES:
            world.say(name, f"are you there? {number}")
    world.settle()
    for name in NAMES:
        shown = world.texts(name)
        assert len(shown) == len(set(shown)), "shown twice"
        # A home that was set back without a trace cannot know what it has heard and lost since.
        assert silent or expected[name] <= set(shown), "lost"
    before = {name: world.texts(name) for name in NAMES}
    for number in range(3):
        for name in NAMES:
            world.say(name, f"after all {number}")
        world.settle()
    for name in NAMES:
        assert world.texts(name) == before[name] + [f"after all {number}" for number in range(3)]
        assert _trust(world, name) == trust[name]
        assert world.profile(name).store.queued() == 0
        assert not world.contact(name).wants_session
    chosen = [_session(world, name) for name in NAMES]
    assert chosen[0] == chosen[1]


def _session(world: Copies, name: str) -> bytes | None:
    profile = world.profile(name)
    with profile.store.transaction():
        session = sessions.to_send_on(profile.store, world.contact(name).id, world.clock.now)
    return None if session is None else session.id


def _trust(world: Copies, name: str) -> tuple[object, ...]:
    contact = world.contact(name)
    assert contact.identity is not None
    assert contact.sign_pk == world.profile(other(name)).identity.public.sign_pk
    return contact.name, contact.identity, contact.verified_on, contact.state


def _said(world: Copies, name: str) -> set[str]:
    """What ``name`` still knows to have said."""
    rows = world.profile(name).store.history(world.contact(name).id, 10_000)
    return {row.text for row in rows if row.direction == "out"}
