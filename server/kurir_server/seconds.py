"""The seconds in which charges were accepted, to answer a retry with the same receipt.

In memory alone, bounded, for at most two hours: on disk they would order a business's answers, and
that order is mostly the one of its customers' messages. After a restart a receipt names the hour.
"""

from __future__ import annotations

from collections import OrderedDict

from kurir_server.limits import ACCEPTED_SECOND_HOURS, MAX_SECONDS
from kurir_wire.ids import HOUR, Hash


class Seconds:
    """What is remembered; of more than ``MAX_SECONDS`` the oldest is forgotten."""

    def __init__(self) -> None:
        self._of: OrderedDict[Hash, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._of)

    def note(self, charge: Hash, now: int) -> None:
        """A charge is accepted now. Should that not come to the disk, nobody will ask."""
        self._of[charge] = now
        self._of.move_to_end(charge)
        if len(self._of) > MAX_SECONDS:
            self._of.popitem(last=False)

    def find(self, charge: Hash, now: int) -> int | None:
        """When it was accepted, if that may still be said."""
        second = self._of.get(charge)
        return None if second is None or _is_over(second, now) else second

    def prune(self, now: int) -> None:
        """Forget what may not be said any more."""
        while self._of and _is_over(next(iter(self._of.values())), now):
            self._of.popitem(last=False)


def _is_over(second: int, now: int) -> bool:
    return now // HOUR >= second // HOUR + ACCEPTED_SECOND_HOURS
