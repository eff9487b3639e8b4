"""Lies of a business about a message that it seals and signs: all of it binds, and none is true."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest import mock

import msgspec

from kurir_billing.kinds import Category
from kurir_client import paid
from kurir_client.content import Content
from kurir_client.engine import encrypt, frank_of


def _noise(*_: object) -> bytes:
    return os.urandom(32)


def _relabelled(call: Callable[..., Any], place: int) -> Callable[..., Any]:
    """The call, with another category in the content at this place of its arguments."""

    def changed(*given: Any, **named: Any) -> Any:
        content: Content = given[place]
        other = msgspec.structs.replace(content, category=int(Category.UTILITY))
        return call(*given[:place], other, *given[place + 1 :], **named)

    return changed


LIES: Final[dict[str, dict[str, Callable[..., Any]]]] = {
    # The tag is of what is inside, so that nothing but the category differs.
    "the message says another category inside than outside": {
        "encrypt": _relabelled(encrypt, 1),
        "frank_of": _relabelled(frank_of, 0),
    },
    "the message cannot be settled: its lock is not the label's": {"settlement_secret": _noise},
    "the message could not be reported: its tag is not the label's": {"frank_of": _noise},
}
"""What the customer is told of each, and what the business does otherwise than it should."""


@contextmanager
def lying(told: str) -> Iterator[None]:
    """Businesses of this process seal so, meanwhile."""
    with ExitStack() as lies:
        for name, lie in LIES[told].items():
            lies.enter_context(mock.patch.object(paid, name, lie))
        yield
