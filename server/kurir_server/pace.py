"""How fast one connection may go, and all connections of one network together.

Who goes too fast is told when to go on. A connection's own rate comes first: what that refuses
takes nothing from others of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from kurir_server import limits
from kurir_server.limits import MAX_BUCKETS
from kurir_server.rates import ROUNDING, Allowance, Buckets, Rate, Toll, TooFast, admit
from kurir_server.rows import Moment
from kurir_wire import codes
from kurir_wire.entries import Result, Submission


class Deed(StrEnum):
    """What has a pace."""

    CREATE = "making mailboxes"
    WRITE_ADDRESS = "envelopes to addresses"
    WRITE_PERSONAL = "envelopes by token"
    CHARGE = "charges that are refused"
    STORE = "bytes left here without a charge"
    SIGN = "signatures to check"
    ASK = "questions that anybody may ask"
    LOOK_UP = "businesses"
    FETCH_CARD = "cards"
    LEDGER = "proofs about the ledger"
    REPORT = "reports to the operator"
    CHUNK = "chunks of blobs, either way"

    # Enum's own is written in Python, and each envelope asks for several.
    __hash__ = str.__hash__


Cost: TypeAlias = tuple[tuple[Deed, int], ...]
"""What one thing counts for."""


@dataclass(frozen=True, slots=True)
class Limit:
    """``None``: no limit of this kind."""

    connection: Rate | None
    network: Rate | None


LIMITS: Final = {
    Deed.CREATE: Limit(None, limits.CREATE_RATE),
    Deed.WRITE_ADDRESS: Limit(limits.ADDRESS_RATE, limits.ADDRESS_NETWORK_RATE),
    Deed.WRITE_PERSONAL: Limit(limits.PERSONAL_RATE, None),
    Deed.CHARGE: Limit(limits.REFUSED_RATE, limits.REFUSED_NETWORK_RATE),
    Deed.STORE: Limit(limits.STORE_RATE, limits.STORE_NETWORK_RATE),
    Deed.SIGN: Limit(limits.SIGNATURE_RATE, limits.SIGNATURE_NETWORK_RATE),
    Deed.ASK: Limit(limits.QUESTION_RATE, None),
    Deed.LOOK_UP: Limit(limits.DIRECTORY_RATE, limits.DIRECTORY_NETWORK_RATE),
    Deed.FETCH_CARD: Limit(limits.CARD_RATE, limits.CARD_NETWORK_RATE),
    Deed.LEDGER: Limit(limits.LEDGER_RATE, limits.LEDGER_NETWORK_RATE),
    Deed.REPORT: Limit(limits.REPORT_RATE, limits.REPORT_NETWORK_RATE),
    Deed.CHUNK: Limit(None, limits.BLOB_TRAFFIC_RATE),
}


class Networks:
    """What the connections of one network share, by a name that is a keyed hash."""

    def __init__(self) -> None:
        self._buckets: dict[Deed, Buckets[bytes]] = {
            deed: Buckets(limit.network, MAX_BUCKETS)
            for deed, limit in LIMITS.items()
            if limit.network is not None
        }

    def bucket(self, deed: Deed, network: bytes, moment: Moment) -> Allowance | None:
        """The bucket of a network, if this deed has one."""
        buckets = self._buckets.get(deed)
        return buckets.of(network, moment.tick) if buckets is not None else None

    def prune(self, tick: float) -> None:
        """Forget those that have run full again."""
        for buckets in self._buckets.values():
            buckets.prune(tick)

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))


class Pace:
    """What one connection may still do now.

    :param network: the name of the network that it comes from
    """

    def __init__(self, networks: Networks, network: bytes) -> None:
        self.network = network
        self._networks = networks
        self._own: dict[Deed, Allowance] = {}

    def all_or_none(self, moment: Moment, each: Cost, count: int = 1) -> TooFast | None:
        """Let ``count`` things through that cost ``each``, or none of them."""
        tolls = self._tolls(moment, each)
        left: list[float] = []
        for toll in tolls:
            level = toll.bucket.level(moment.tick) - toll.count * count
            if level + ROUNDING < 0:
                return self._short(moment, tolls, count)
            left.append(level)
        for toll, level in zip(tolls, left, strict=True):
            toll.bucket.leave(moment.tick, level)
        return None

    def _short(self, moment: Moment, tolls: Sequence[Toll], count: int) -> TooFast:
        """Why ``count`` things are not let through that take these tolls each."""
        levels = [(toll, toll.bucket.level(moment.tick)) for toll in tolls]
        short = [each for each in levels if each[1] + ROUNDING < each[0].count * count]
        return TooFast(
            max(toll.bucket.wait_for(toll.count * count - level) for toll, level in short),
            min(int((level + ROUNDING) / toll.count) for toll, level in short),
        )

    def in_order(self, moment: Moment, costs: Sequence[Cost]) -> list[TooFast | None]:
        """Let as many through as may go, first come, first served.

        :returns: a refusal, or ``None`` for what was let through
        """
        if self.all_or_none(moment, _sum(costs)) is None:
            return [None] * len(costs)
        return self._admit(moment, costs)

    def limit(self, submissions: Sequence[Submission], moment: Moment) -> list[Submission | Result]:
        """Put a result in the place of each that is too fast."""
        costs = [_cost(entry) for entry in submissions]
        if self.all_or_none(moment, _sum(costs)) is None:
            return list(submissions)
        slow = self._admit(moment, costs)
        return [
            too_fast(refusal) if refusal else entry
            for entry, refusal in zip(submissions, slow, strict=True)
        ]

    def give_back(self, moment: Moment, deed: Deed, count: int) -> None:
        """What was taken and came to nothing."""
        if not count:
            return
        for toll in self._tolls(moment, ((deed, -count),)):
            toll.bucket.spend(moment.tick, toll.count)

    def _admit(self, moment: Moment, costs: Sequence[Cost]) -> list[TooFast | None]:
        return admit([self._tolls(moment, cost) for cost in costs], moment.tick)

    def _tolls(self, moment: Moment, cost: Cost) -> list[Toll]:
        tolls: list[Toll] = []
        for deed, count in cost:
            if count == 0:
                continue
            rate = LIMITS[deed].connection
            if rate is not None:
                own = self._own.get(deed)
                if own is None:
                    own = self._own[deed] = Allowance(rate)
                tolls.append(Toll(own, count))
            shared = self._networks.bucket(deed, self.network, moment)
            if shared is not None:
                tolls.append(Toll(shared, count))
        return tolls


def too_fast(slow: TooFast) -> Result:
    """The result of an entry that came too fast."""
    return Result(codes.RATE, "too fast; retry later", slow.retry_after, slow.left)


def _sum(costs: Sequence[Cost]) -> Cost:
    if len(costs) == 1:
        return costs[0]
    total: dict[Deed, int] = {}
    for cost in costs:
        for deed, count in cost:
            total[deed] = total.get(deed, 0) + count
    return tuple(total.items())


def _cost(entry: Submission) -> Cost:
    if entry.charge is not None:
        return ((Deed.CHARGE, 1),)
    deed = Deed.WRITE_ADDRESS if entry.token is None else Deed.WRITE_PERSONAL
    return ((deed, 1), (Deed.STORE, len(entry.body)))
