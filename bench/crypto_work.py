"""What is measured: set-ups, ping-pong and one way, and the bytes that a message grows by."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable
from statistics import mean
from typing import Final, NamedTuple, TypeVar

from bench.crypto_library import End, Keeper, Library, in_memory

CONTENT: Final = os.urandom(256)
_SET_UPS: Final = 5
_MESSAGES: Final = 20
_SETTLED: Final = 20
"""Messages of a conversation before it is measured: handshakes are no longer repeated, stored
states have their usual size."""
_COUNTED: Final = 240
"""Messages over which bytes are averaged: many epochs of the post-quantum ratchet."""

P = TypeVar("P")
S = TypeVar("S")
Work = Callable[[], int]
"""Does some work and says how many messages or set-ups it was."""
Prepare = Callable[[], Work]
"""Makes what the work needs; never timed."""


class Rate(NamedTuple):
    """Messages or set-ups per second, both ends' work in one: of CPU time, and of wall time."""

    cpu: float
    wall: float


def timed(prepare: Prepare, seconds: float) -> Rate:
    """Prepare and work in turns, until the work took ``seconds`` of CPU (or thrice that in all)."""
    gc.collect()
    count, cpu, wall = 0, 0.0, 0.0
    while cpu < seconds and wall < 3 * seconds:
        work = prepare()
        wall_begin, cpu_begin = time.perf_counter(), time.process_time()
        count += work()
        cpu += time.process_time() - cpu_begin
        wall += time.perf_counter() - wall_begin
    return Rate(count / cpu, count / wall)


def bare_set_ups(library: Library[P, S], keep: Keeper) -> Prepare:
    """Set-ups where prekeys, one a person, were made beforehand."""
    own = library.person(0)

    def prepare() -> Work:
        peers = [library.person(1) for _ in range(_SET_UPS)]
        offers = [library.offer(peer) for peer in peers]

        def work() -> int:
            for peer, offered in zip(peers, offers, strict=True):
                session, first = library.start(own, offered, CONTENT)
                keep(library, session, 0)
                opened, content = library.accept(peer, own, first)
                keep(library, opened, 1)
                _check(content)
            return _SET_UPS

        return work

    return prepare


def kept_set_ups(library: Library[P, S], keep: Keeper) -> Prepare:
    """Set-ups between people who hold the library's usual stock of prekeys and replace each that
    is used, so that one is made for each set-up."""
    own, peer = library.person(library.stock), library.person(library.stock)

    def prepare() -> Work:
        offered = library.offer(peer)

        def work() -> int:
            session, first = library.start(own, offered, CONTENT)
            keep(library, session, 0)
            opened, content = library.accept(peer, own, first)
            keep(library, opened, 1)
            library.refill(peer)
            _check(content)
            return 1

        return work

    return prepare


def ping_pong(library: Library[P, S], keep: Keeper, turn: int) -> Prepare:
    """Each message answers the one before."""
    one, other = _conversation(library, keep, turn)

    def work() -> int:
        for _ in range(_MESSAGES // 2):
            _check(other.decrypt(one.encrypt(CONTENT)))
            _check(one.decrypt(other.encrypt(CONTENT)))
        return _MESSAGES

    return lambda: work


def one_way(library: Library[P, S], keep: Keeper, turn: int) -> Prepare:
    """All messages go the same way and arrive in order."""
    one, other = _conversation(library, keep, turn)

    def work() -> int:
        for _ in range(_MESSAGES):
            _check(other.decrypt(one.encrypt(CONTENT)))
        return _MESSAGES

    return lambda: work


def overheads(library: Library[P, S]) -> dict[str, float]:
    """Bytes by which messages are longer than their content: the first one, later ones by what
    they carry, and the average of a long ping-pong after the first."""
    own, peer = library.person(0), library.person(1)
    session, first = library.start(own, library.offer(peer), CONTENT)
    opened, _ = library.accept(peer, own, first)
    found: dict[str, list[int]] = {}
    sender, receiver = in_memory(library, opened, 1), in_memory(library, session, 0)
    for _ in range(_COUNTED):
        data = sender.encrypt(CONTENT)
        _check(receiver.decrypt(data))
        sender, receiver = receiver, sender
        found.setdefault(library.carries(data), []).append(len(data) - len(CONTENT))
    sizes: dict[str, float] = {"first message": len(first) - len(CONTENT)}
    for carried, label in (
        ("nothing", "later message"),
        ("ask", "later message with an ask"),
        ("answer", "later message with an answer"),
    ):
        if carried in found:
            sizes[label] = mean(found[carried])
    all_sizes = [size for each in found.values() for size in each]
    sizes["average of a ping-pong"] = round(mean(all_sizes), 1)
    return sizes


def _conversation(library: Library[P, S], keep: Keeper, turn: int) -> tuple[End, End]:
    """Two ends that have talked; ``turn`` moves the phase of the post-quantum ratchet."""
    own, peer = library.person(0), library.person(1)
    session, first = library.start(own, library.offer(peer), CONTENT)
    opened, _ = library.accept(peer, own, first)
    one, other = keep(library, session, 0), keep(library, opened, 1)
    for _ in range(_SETTLED // 2 + turn):
        _check(one.decrypt(other.encrypt(CONTENT)))
        _check(other.decrypt(one.encrypt(CONTENT)))
    return one, other


def _check(content: bytes) -> None:
    if content != CONTENT:
        raise RuntimeError("a message did not come out as it went in")
