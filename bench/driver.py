"""The load, as a process of its own: ``python -m bench.driver '{"system": "kurir", ...}'``.

It prints one JSON object. The parent pins it to another core than the server.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import uvloop

from bench.drivers.kurir import KurirPair
from bench.drivers.mqtt import MqttPair
from bench.drivers.pair import Pair
from bench.drivers.redis import RedisPair
from bench.drivers.xmpp import XmppPair
from bench.process import allow_many_files

SYSTEMS: Final[dict[str, type[Pair]]] = {
    "kurir": KurirPair,
    "forwarder": KurirPair,
    "redis": RedisPair,
    "mosquitto": MqttPair,
    "prosody": XmppPair,
}
OPEN_AT_ONCE: Final = 50
STORE_WINDOW: Final = 64
"""Messages of one sender that wait for the server's word while nobody reads."""
QUIET_SECONDS: Final = 2.0
"""So long nothing comes when nothing more will."""


@dataclass(frozen=True, slots=True)
class Load:
    """``pairs`` connections of each kind; ``messages`` in all; ``window`` unacknowledged per pair;
    ``rate`` messages a second in all; ``size`` bytes of each message."""

    system: str
    address: str
    scenario: str
    pairs: int
    messages: int
    size: int
    window: int = 1
    rate: float = 50.0


class Counter:
    """Done when so many have been counted."""

    def __init__(self, goal: int) -> None:
        self.goal = goal
        self.count = 0
        self.done = asyncio.Event()

    def add(self, count: int) -> None:
        """Count some more."""
        self.count += count
        if self.count >= self.goal:
            self.done.set()


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1_000) // 1_000) - 1)]


async def window(pairs: list[Pair], load: Load) -> dict[str, float]:
    """Everybody sends as soon as there is room in its window."""
    await opened(pairs, sender=True, reader=True)
    each = load.messages // len(pairs)
    total = Counter(each * len(pairs))
    start = time.perf_counter()
    for pair in pairs:
        _keep_sending(pair, each, load.window, total)
    await total.done.wait()
    seconds = time.perf_counter() - start
    return {"messages": total.count, "seconds": seconds}


def _keep_sending(pair: Pair, each: int, size: int, total: Counter) -> None:
    sent = flying = 0

    def go() -> None:
        nonlocal sent, flying
        room = min(size - flying, each - sent)
        if room > 0:
            pair.send(sent, room)
            sent += room
            flying += room

    def received(numbers: list[int]) -> None:
        nonlocal flying
        flying -= len(numbers)
        total.add(len(numbers))
        go()

    pair.received = received
    go()


async def latency(pairs: list[Pair], load: Load) -> dict[str, float]:
    """A low fixed rate: how long from sending to the reader."""
    await opened(pairs, sender=True, reader=True)
    total = Counter(load.messages)
    waits: list[float] = []
    clock = time.perf_counter

    def watch(pair: Pair) -> deque[float]:
        times: deque[float] = deque()

        def received(numbers: list[int]) -> None:
            now = clock()
            waits.extend(now - times.popleft() for _ in numbers)
            total.add(len(numbers))

        pair.received = received
        return times

    started = [watch(pair) for pair in pairs]
    begin = clock()
    for number in range(load.messages):
        await asyncio.sleep(max(0.0, begin + number / load.rate - clock()))
        place = number % len(pairs)
        started[place].append(clock())
        pairs[place].send(number // len(pairs), 1)
    await total.done.wait()
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    found = {name: percentile(waits, share) * 1_000 for name, share in shares.items()}
    return {"messages": len(waits), "seconds": clock() - begin, **found}


async def store(pairs: list[Pair], load: Load) -> dict[str, float]:
    """Nobody reads; then everybody reads what waits."""
    await opened(pairs, sender=True)
    each = load.messages // len(pairs)
    stored = Counter(each * len(pairs))
    start = time.perf_counter()
    for pair in pairs:
        _keep_storing(pair, each, stored)
    await stored.done.wait()
    middle = time.perf_counter()
    drained = Counter(stored.count)
    for pair in pairs:
        pair.received = lambda numbers: drained.add(len(numbers))
    await opened(pairs, reader=True)
    await drained.done.wait()
    return {
        "messages": stored.count,
        "seconds": middle - start,
        "drain_seconds": time.perf_counter() - middle,
    }


async def kill(pairs: list[Pair], load: Load) -> dict[str, Any]:
    """Store until the server is gone. Says so when it has begun."""
    taken = [0] * len(pairs)
    began = Counter(max(1, load.messages // 10))
    gone = asyncio.Event()
    await opened(pairs, sender=True)
    for place, pair in enumerate(pairs):
        counted = Counter(load.messages)
        pair.lost = gone.set
        _keep_storing(pair, load.messages, counted)
        store_more = pair.accepted

        def accepted(count: int, place: int = place, then: Any = store_more) -> None:
            taken[place] += count
            began.add(count)
            then(count)

        pair.accepted = accepted
    await began.done.wait()
    print(json.dumps({"ready": began.count}), flush=True)
    await gone.wait()
    await asyncio.sleep(QUIET_SECONDS / 4)  # what the kernel has still got for us
    return {"accepted": taken}


async def drain(pairs: list[Pair], load: Load) -> dict[str, Any]:
    """Read all that waits, until nothing came for a while."""
    found: list[set[int]] = [set() for _ in pairs]
    last = [time.monotonic()]
    for place, pair in enumerate(pairs):

        def received(numbers: list[int], place: int = place) -> None:
            found[place].update(numbers)
            last[0] = time.monotonic()

        pair.received = received
    await opened(pairs, reader=True)
    last[0] = time.monotonic()
    while (rest := last[0] + QUIET_SECONDS - time.monotonic()) > 0:  # noqa: ASYNC110
        await asyncio.sleep(rest)
    # A server may have taken more than it could say; what counts is what it said.
    return {"received": [sorted(numbers) for numbers in found]}


def _keep_storing(pair: Pair, each: int, stored: Counter) -> None:
    sent = flying = 0

    def go() -> None:
        nonlocal sent, flying
        room = min(STORE_WINDOW - flying, each - sent)
        if room >= min(STORE_WINDOW // 2, each - sent) > 0:
            pair.send(sent, room)
            sent += room
            flying += room

    def accepted(count: int) -> None:
        nonlocal flying
        flying -= count
        stored.add(count)
        go()

    pair.accepted = accepted
    go()


async def idle(pairs: list[Pair], load: Load) -> dict[str, float]:
    """Readers that wait. Says so on a line of its own, and goes when its input ends."""
    await opened(pairs, reader=True)
    print(json.dumps({"ready": len(pairs)}), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    return {"connections": len(pairs)}


async def opened(pairs: Sequence[Pair], *, sender: bool = False, reader: bool = False) -> None:
    """Connect, some at a time."""
    for start in range(0, len(pairs), OPEN_AT_ONCE):
        some = pairs[start : start + OPEN_AT_ONCE]
        # One after the other for each pair: a reader that is there gets messages at once.
        if reader:
            await asyncio.gather(*(pair.open_reader() for pair in some))
        if sender:
            await asyncio.gather(*(pair.open_sender() for pair in some))


SCENARIOS: Final[dict[str, Callable[[list[Pair], Load], Awaitable[dict[str, Any]]]]] = {
    "window": window,
    "latency": latency,
    "store": store,
    "idle": idle,
    "kill": kill,
    "drain": drain,
}


async def run(load: Load) -> dict[str, Any]:
    """Make the pairs, run the scenario, close."""
    asyncio.get_running_loop().set_exception_handler(_fail)
    make = SYSTEMS[load.system]
    pairs = [make(load.address, number, load.size) for number in range(load.pairs)]
    for start in range(0, len(pairs), OPEN_AT_ONCE):
        await asyncio.gather(*(pair.make() for pair in pairs[start : start + OPEN_AT_ONCE]))
    try:
        return await SCENARIOS[load.scenario](pairs, load)
    finally:
        for pair in pairs:
            pair.close()


def main() -> None:
    """Run what the argument says."""
    allow_many_files()
    fields: dict[str, Any] = json.loads(sys.argv[1])
    found = uvloop.run(run(Load(**fields)))
    print(json.dumps({**found, "driver_cpu": time.process_time()}), flush=True)


def _fail(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A fault in a callback must not leave the parent waiting."""
    error = context.get("exception")
    print(repr(error) if error else context["message"], file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
