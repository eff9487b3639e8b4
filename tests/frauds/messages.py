"""Frauds inside a message: a business seals and signs what its customer cannot check until it is
open. Neither shown nor settled, it earns nothing, and the customer is told why.
"""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from kurir_client.schema import Contact
from tests.client.lies import lying
from tests.client.pair import Pair
from tests.client.verdicts import say
from tests.frauds.registry import Caught, fraud


@cache
def shop() -> tuple[Pair, Contact]:
    """One for all cases: a business, and its customer who wrote."""
    stack = ExitStack()
    atexit.register(stack.close)
    pair = Pair(Path(stack.enter_context(TemporaryDirectory())))
    stack.callback(pair.close)
    return pair, pair.open_shop()[1]


def received(text: str, lie: str | None = None) -> tuple[list[str], bool]:
    """What the customer sees of a message of the business, and whether it is settled."""
    pair, siti = shop()
    say(pair, pair.bob, siti, text)
    if lie is None:
        (ack,) = pair.carry(pair.bob, pair.alice)
    else:
        with lying(lie):
            (ack,) = pair.carry(pair.bob, pair.alice)
    store = pair.alice.store
    seen = store.unread()
    with store.transaction():
        for item in seen:
            store.mark_read(item.n)
    return [item.text for item in seen], ack.secret is not None


def told(rng: Random, lie: str) -> Caught:
    where = f"a message from Shop could not be read: {lie}"
    true = f"message {rng.random()}"
    before = received(true)  # what came before this case was no lie, and could be read
    seen, settled = received("a lie", lie)
    is_told = before == ([true], True) and len(seen) == 1 and not settled
    return Caught(where, seen[0] if is_told else None)


@fraud(20)
def label_and_message_disagree(rng: Random) -> Caught:
    return told(rng, "the message says another category inside than outside")


@fraud(20)
def a_tag_that_cannot_be_reported(rng: Random) -> Caught:
    return told(rng, "the message could not be reported: its tag is not the label's")


@fraud(20)
def a_lock_that_no_message_opens(rng: Random) -> Caught:
    return told(rng, "the message cannot be settled: its lock is not the label's")


def honest() -> tuple[list[str], bool]:
    """The same way without the fraud."""
    return received("welcome")
