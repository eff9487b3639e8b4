"""``python -m bench.metering``: what metering costs the relay, in CPU for each message.

Metered and unmetered envelopes of one size go through one relay process in turn, round by round;
each metered one is accepted, delivered and settled. What is shown is the median of the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import uvloop

from bench.driver import Counter, _keep_sending, opened
from bench.drivers.kurir import KurirPair
from bench.drivers.metered import MeteredPair
from bench.drivers.pair import Pair
from bench.million.business import Business, Sent, new_business
from bench.process import cpu_of_machine, pin
from bench.servers import Relay
from kurir_billing.kinds import PassKind
from kurir_billing.ratecard import bundled, canonical, rate_card_hash
from kurir_server import admin, keyfiles
from kurir_server.keys import RelayKeys
from kurir_server.writer import offline
from kurir_wire.cards import TIER_PLATFORM
from kurir_wire.ids import DAY, MINUTE, business_id_of

OUT: Final = Path(__file__).parent / "out" / "metering.json"
BYTES: Final = 2_048
EACH: Final = 32
"""Messages into one mailbox: its pace allows a burst of 45."""
WINDOW: Final = 4
PATIENCE: Final = 120
SETTLES: Final = 0.3
"""Seconds in which the last acknowledgements are written."""
CARD: Final = bundled()
CARD_HASH: Final = rate_card_hash(canonical(CARD))
KINDS: Final = {
    "unmetered": "one by one",
    "new grant": "one by one",
    "cached grant": "one by one",
    "pass": "one by one",
    "unmetered, many": "many",
    "list of 32": "many",
}
AIMS: Final = {"new grant": 250.0, "cached grant": 150.0, "list of 32": 150.0}
"""µs of CPU more than an unmetered one."""


class MeteredRelay(Relay):
    """A relay with approved businesses, of which the load has the keys."""

    def __init__(self, businesses: int) -> None:
        super().__init__()
        self._count = businesses
        self.businesses: dict[str, list[Business]] = {}
        self.keys: RelayKeys | None = None

    def prepare(self, port: int) -> None:
        db, now = self.folder / "relay.db", int(time.time())
        self.keys = keys = admin.init(db, keyfiles.default_folder(db), now)
        draw = Random(os.urandom(16))
        with offline(db) as store:
            for tariff in ("reply-2018", "conversation-2022"):
                for number in range(self._count):
                    root, lane_key, lane = new_business(keys.relay_id, draw, now + DAY)
                    name = business_id_of(root.public)
                    terms = keys.terms(name, tariff, TIER_PLATFORM, None, now)
                    ticket = keys.ticket(name, bytes(16), now + DAY)
                    one = Business(keys.relay_id, root, lane_key, lane, terms, ticket)
                    self.businesses.setdefault(tariff, []).append(one)
                    store.transact(
                        lambda rows: rows.put_business(name, 1, b"", now + DAY, tariff)  # noqa: B023
                    )
                    before = store.read(lambda rows: rows.business(name))  # noqa: B023
                    assert before is not None
                    word = admin.approval(
                        keys, before, TIER_PLATFORM, tariff, None, f"Business {number}", now
                    )
                    store.transact(lambda rows: rows.approve(name, word))  # noqa: B023


class Run:
    """One relay, and pairs that are new in each measurement."""

    def __init__(self, relay: MeteredRelay, pairs: int) -> None:
        self._relay, self._pairs = relay, pairs
        self._draw = Random(os.urandom(16))
        self._number = 0

    async def measure(self, kind: str) -> dict[str, float]:
        """:returns: µs of the relay's CPU for each message, and what others took"""
        relay, many = self._relay, KINDS[kind] == "many"
        pairs = self._new(kind)
        await asyncio.gather(*(each.make() for each in pairs))
        await opened(pairs, sender=True, reader=True)
        metered = [pair for pair in pairs if isinstance(pair, MeteredPair)]
        if metered:
            # The first message to each customer: it warms caches, and earns the pass.
            for pair in metered:
                pair.load(self._signed(pair, 1, new_grants=False, listed=False))
            await _exchange(pairs, 1, 1)
            for pair in metered:
                assert pair.customer is not None
                earned = pair.receipts[-1].earned
                if earned is not None:
                    pair.customer.passes[PassKind.CONVERSATION] = earned
            for pair in metered:
                pair.load(self._signed(pair, EACH, new_grants=kind == "new grant", listed=many))
        cpu, machine, own = relay.cpu, cpu_of_machine(), time.process_time()
        await _exchange(pairs, EACH, EACH if many else WINDOW)
        took = relay.cpu - cpu
        used = cpu_of_machine() - machine - took - (time.process_time() - own)
        for each in pairs:
            each.close()
        return {"us": took / (EACH * len(pairs)) * 1e6, "others": max(0.0, used)}

    def _new(self, kind: str) -> list[Pair]:
        first, self._number = self._number, self._number + self._pairs
        numbers = range(first, first + self._pairs)
        address = self._relay.address
        if kind.startswith("unmetered"):
            return [KurirPair(address, number, BYTES) for number in numbers]
        tariff = "conversation-2022" if kind == "pass" else "reply-2018"
        businesses = self._relay.businesses[tariff]
        return [
            MeteredPair(address, number, BYTES, businesses[place])
            for place, number in enumerate(numbers)
        ]

    def _signed(
        self, pair: MeteredPair, each: int, *, new_grants: bool, listed: bool
    ) -> list[Sent]:
        """Charges of one business at what is due.

        :param listed: one signature for all of them
        """
        keys, now, customer = self._relay.keys, int(time.time()), pair.customer
        assert keys is not None
        assert customer is not None
        minute, drafts, business = now // MINUTE, [], pair.business
        beacon, card = keys.beacon(minute), (CARD, CARD_HASH)
        for number in range(each):
            if customer.permit is None or new_grants:
                business.permit(customer, keys.beacon(minute - 1 - number), by_link=False)
            drafts.append(
                business.draft(
                    self._draw, customer, card, beacon, now, wrongly=False, reported=False
                )
            )
        if listed:
            return business.sign(drafts)
        return [one for draft in drafts for one in business.sign([draft])]


async def _exchange(pairs: Sequence[Pair], each: int, window: int) -> None:
    total = Counter(each * len(pairs))
    for pair in pairs:
        _keep_sending(pair, each, window, total)
    async with asyncio.timeout(PATIENCE):
        await total.done.wait()
    await asyncio.sleep(SETTLES)


async def run(pairs: int, rounds: int) -> dict[str, object]:
    """All kinds in turn, ``rounds`` times."""
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    others = 0.0
    with MeteredRelay(pairs) as relay:
        one = Run(relay, pairs)
        await one.measure("cached grant")  # what a process does once
        for _ in range(rounds):
            for kind in KINDS:
                figures = await one.measure(kind)
                found[kind].append(figures["us"])
                others += figures["others"]
    medians = {kind: statistics.median(values) for kind, values in found.items()}
    base = {"one by one": medians["unmetered"], "many": medians["unmetered, many"]}
    more = {kind: medians[kind] - base[way] for kind, way in KINDS.items()}
    return {
        "pairs": pairs,
        "rounds": rounds,
        "messages_each": EACH * pairs,
        "cpu_us": {kind: round(value, 1) for kind, value in medians.items()},
        "more_us": {kind: round(value, 1) for kind, value in more.items()},
        "lowest_us": {kind: round(min(values), 1) for kind, values in found.items()},
        "aims": {
            kind: {"at_most": aim, "reached": more[kind] <= aim} for kind, aim in AIMS.items()
        },
        "others_cpu_seconds": round(others, 1),
    }


def main() -> None:
    """Print a table, write bench/out/metering.json."""
    parser = argparse.ArgumentParser(prog="make bench-metering")
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    pin(os.getpid(), server=False)
    report = uvloop.run(run(options.pairs, options.rounds))
    cpu, more, aims = report["cpu_us"], report["more_us"], report["aims"]
    assert isinstance(cpu, dict)
    assert isinstance(more, dict)
    assert isinstance(aims, dict)
    print(f"{'µs of CPU a message':22}{'median':>10}{'more':>10}{'aim':>10}")
    for kind in KINDS:
        aim = aims.get(kind)
        said = ""
        if aim is not None:
            said = f"{aim['at_most']:>10,.0f}  {'reached' if aim['reached'] else 'MISSED'}"
        print(f"{kind:22}{cpu[kind]:>10,.0f}{more[kind]:>10,.0f}{said}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
