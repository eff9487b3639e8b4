"""Vectors' values as the code's and back: hex as bytes, states by their fields, refusals as words.

A *step* is a function from the ``in`` of a vector to its ``out``.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, Final
from unittest import mock

from msgspec import Struct, structs

from kurir_crypto import errors
from kurir_crypto.ratchet import DoubleRatchet, RatchetHeader
from kurir_crypto.session import Session
from kurir_crypto.sparse import Asking, Former, SparseHeader, SparseRatchet
from kurir_wire.errors import WireError
from kurir_wire.prekeys import IdentityPublic

Json = dict[str, Any]
Step = Callable[[Json], Json]
x = bytes.fromhex

_REFUSALS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (errors.ReplayError, "replay"),
    (errors.UnknownSuiteError, "suite"),
    (errors.MalformedMessageError, "malformed"),
    (errors.InvalidKeyError, "key"),
    (errors.CommitmentError, "commitment"),
    (errors.AuthenticationError, "authentication"),
    (errors.SkippedTooFarError, "too far"),
    (errors.MessageTooLongError, "too long"),
    (errors.WrongPassphraseError, "passphrase"),
    (errors.DamagedVaultError, "damaged"),
    (errors.DamagedStateError, "damaged"),
    (WireError, "signature"),
)
_STATES: Final[dict[str, type[Struct]]] = {
    "peer": IdentityPublic,
    "ratchet": DoubleRatchet,
    "sparse": SparseRatchet,
    "former": Former,
    "asking": Asking,
}


@contextlib.contextmanager
def drawing(*values: bytes) -> Iterator[None]:
    """Random bytes are these, in this order; others are an error, as are some left over."""
    left = list(values)

    def draw(count: int) -> bytes:
        value = left.pop(0)
        assert len(value) == count, "another length is drawn"
        return value

    with mock.patch.object(os, "urandom", draw):
        yield
    assert not left, "fewer values are drawn"


def to_json(value: Any) -> Any:
    """A state, header or key as JSON."""
    match value:
        case bytes():
            return value.hex()
        case Struct():
            return {name: to_json(part) for name, part in structs.asdict(value).items()}
        case tuple() if hasattr(value, "_asdict"):
            return {name: to_json(part) for name, part in value._asdict().items()}
        case dict():
            return {key.hex(): part.hex() for key, part in value.items()}
        case list():
            return [to_json(part) for part in value]
        case _:
            return value


def from_json(name: str, value: Any) -> Any:
    """The inverse, for the state called ``name`` (:data:`_STATES`)."""
    match value:
        case str():
            return x(value)
        case dict() if name in _STATES:
            return _STATES[name](**{key: from_json(key, part) for key, part in value.items()})
        case dict():
            return {x(key): x(part) for key, part in value.items()}
        case list():
            return [from_json(name, part) for part in value]
        case _:
            return value


def changed(before: Json, after: Struct) -> Json:
    """The fields of a state that are other than before."""
    return {name: part for name, part in to_json(after).items() if part != before[name]}


def session_of(value: Json) -> Session:
    """A session from its fields."""
    return Session(**{name: from_json(name, part) for name, part in value.items()})


def optional(value: str | None) -> bytes | None:
    """Bytes of hex, if there are any."""
    return None if value is None else x(value)


def curve_header(value: Json) -> RatchetHeader:
    return RatchetHeader(x(value["public"]), value["previous"], value["number"])


def sparse_header(value: Json) -> SparseHeader:
    return SparseHeader(
        value["epoch"],
        value["previous"],
        value["number"],
        optional(value["ask"]),
        optional(value["answer"]),
    )


STEPS: Final[dict[str, Step]] = {}
"""By name: what the vectors call them."""


def step(function: Step) -> Step:
    """Register a step under its function's name."""
    STEPS[function.__name__.replace("_", "-")] = function
    return function


def run(name: str, given: Json) -> Json:
    """The output of a step, or ``refused`` with the reason."""
    try:
        return STEPS[name](given)
    except (errors.CryptoError, WireError) as error:
        for kind, word in _REFUSALS:
            if isinstance(error, kind):
                return {"refused": word}
        raise
