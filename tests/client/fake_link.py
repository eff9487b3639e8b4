"""A link whose relay is a function from request to answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kurir_client.errors import RelayError
from kurir_client.link import refused_by_relay
from kurir_wire import entries
from kurir_wire.frames import Error, Request, Results
from tests.client.pair import Pair

Answer = Callable[[Request], Any]


class FakeLink:
    """Answers with what ``answer`` returns: a frame, or results; None is success for everything."""

    def __init__(self, pair: Pair, answer: Answer) -> None:
        self.cert, self.relay_id = pair.relay.cert, pair.relay.id
        self.nonce, self.relay_now = bytes(32), pair.clock.now
        self.opened: set[bytes] = set()
        self.asked: list[Request] = []
        self.is_open = True
        self._pair, self._answer = pair, answer

    async def fresh_beacon(self, now: int) -> Any:
        return self._pair.relay.beacon(now)

    async def request(self, make: Callable[[int], Request], reply: Any) -> Any:
        self.asked.append(made := make(1))
        answer = self._answer(made)
        if isinstance(answer, Error):
            raise refused_by_relay(answer.result)
        if not isinstance(answer, reply):
            raise RelayError("the relay answered with a frame that does not belong there")
        return answer

    async def results(self, make: Callable[[int], Request], count: int) -> list[Any]:
        self.asked.append(made := make(1))
        answer = self._answer(made)
        if isinstance(answer, Error):
            raise refused_by_relay(answer.result)
        if answer is None:
            return [None] * count
        assert isinstance(answer, Results)
        assert len(answer.results) == count
        return answer.results

    async def one(self, make: Callable[[int], Request]) -> Any:
        (result,) = await self.results(make, 1)
        if result is not None and result.code != "ok":
            raise refused_by_relay(result)
        return result

    def of(self, type_: type[Any]) -> list[Any]:
        """The requests of one kind, so far."""
        return [item for item in self.asked if isinstance(item, type_)]


def results(*entries: entries.Result | None) -> Results:
    return Results(1, list(entries))
