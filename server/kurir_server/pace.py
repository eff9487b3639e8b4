"""The rates of one connection: who sends too fast is told when to go on."""

from __future__ import annotations

from kurir_server.limits import ADDRESS_RATE, PERSONAL_RATE
from kurir_server.rates import Allowance, Rate, TooFast
from kurir_server.rows import Moment
from kurir_wire import codes
from kurir_wire.entries import Result, Submission


class Pace:
    """What one connection may still do now."""

    def __init__(self) -> None:
        self._allowances: dict[Rate, Allowance] = {}

    def allow(self, rate: Rate, moment: Moment, count: int) -> tuple[int, TooFast | None]:
        """Take up to ``count``.

        :returns: how many were taken, and when to go on if that were not all
        """
        if count == 0:
            return 0, None
        if rate not in self._allowances:
            self._allowances[rate] = Allowance(rate)
        return self._allowances[rate].take_up_to(moment.tick, count)

    def limit(self, submissions: list[Submission], moment: Moment) -> list[Submission | Result]:
        """Put a result in the place of each that is too fast. Charges have a pace of their own."""
        entries: list[Submission | Result] = list(submissions)
        for rate, open_gate in ((ADDRESS_RATE, True), (PERSONAL_RATE, False)):
            concerned = [
                index
                for index, entry in enumerate(submissions)
                if entry.charge is None and (entry.token is None) is open_gate
            ]
            allowed, slow = self.allow(rate, moment, len(concerned))
            if slow is not None:
                for index in concerned[allowed:]:
                    entries[index] = too_fast(slow)
        return entries


def too_fast(slow: TooFast) -> Result:
    """The result of an entry that came too fast."""
    return Result(codes.RATE, "too fast; retry later", slow.retry_after, slow.left)
