"""A link to the rules of a real relay, over its database but without a process or a socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kurir_client.errors import OfflineError
from kurir_client.link import refused_by_relay
from kurir_client.profile import Profile
from kurir_wire.beacons import Beacon
from kurir_wire.frames import Error, Request, Results
from tests.client.pair import Clock
from tests.server.rig import Rig


class RigLink:
    """One connection; ``clock`` is everybody's.

    :ivar breaks_before: the connection ends before a request of this type comes to the relay
    :ivar breaks_after: the relay does it, but its answer is lost
    :ivar clock_of_relay: seconds by which the relay's clock is ahead
    """

    def __init__(self, rig: Rig, clock: Clock) -> None:
        self.cert, self.relay_id, self.nonce = rig.keys.cert, rig.keys.relay_id, rig.nonce
        self.relay_now = clock.now
        self.opened: set[bytes] = set()
        self.asked: list[Request] = []
        self.breaks_before: type[Any] | None = None
        self.breaks_after: type[Any] | None = None
        self.clock_of_relay = 0
        self._rig, self._clock = rig, clock
        self._talk = rig.connection()

    async def fresh_beacon(self, now: int) -> Beacon:
        return self._rig.beacon

    async def request(self, make: Callable[[int], Request], reply: Any) -> Any:
        answer = self._send(make)
        if isinstance(answer, Error):
            raise refused_by_relay(answer.result)
        assert isinstance(answer, reply)
        return answer

    async def results(self, make: Callable[[int], Request], count: int) -> list[Any]:
        answer = self._send(make)
        if isinstance(answer, Error):
            raise refused_by_relay(answer.result)
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

    def _send(self, make: Callable[[int], Request]) -> Any:
        asked = make(len(self.asked) + 1)
        self.asked.append(asked)
        if self.breaks_before is not None and isinstance(asked, self.breaks_before):
            raise OfflineError("the connection broke before")
        self._rig.now = self._clock.now + self.clock_of_relay
        (answer,) = self._talk.send(asked)
        if self.breaks_after is not None and isinstance(asked, self.breaks_after):
            raise OfflineError("the connection broke after")
        return answer


def meet_relay(rig: Rig, *profiles: Profile) -> None:
    """These profiles use this relay from now on."""
    for profile in profiles:
        with profile.store.transaction():
            profile.store.put("relay_id", rig.keys.relay_id)
