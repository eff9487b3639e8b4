"""What came back over a connection of the rig, for tests."""

from __future__ import annotations

from kurir_wire.entries import Result
from kurir_wire.frames import Deliver, Error, Push, Results


def result_of(pushed: list[Push]) -> Result | None:
    """The one result or error of the one reply; none for a reply that brings something."""
    (reply,) = [push for push in pushed if not isinstance(push, Deliver)]
    match reply:
        case Error():
            return reply.result
        case Results():
            (result,) = reply.results
            return result
        case _:
            return None


def code_of(pushed: list[Push]) -> str:
    """Its code; ``ok`` for success."""
    result = result_of(pushed)
    return "ok" if result is None else result.code


def codes_of(pushed: list[Push]) -> list[str]:
    """The codes of the one reply that answers entry by entry."""
    (reply,) = [push for push in pushed if isinstance(push, Results)]
    return ["ok" if result is None else result.code for result in reply.results]
