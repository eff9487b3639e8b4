"""Frauds inside a message: a business seals and signs what its customer cannot check until it is
open. Neither shown nor settled, it earns nothing, and the customer is told why. And by a relay,
before a message is sealed at all.
"""

from __future__ import annotations

import atexit
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import msgspec

from kurir_billing.dates import show_day
from kurir_billing.ratecard import (
    bundled,
    canonical,
    rate_card_message,
    signed_rate_card,
)
from kurir_client.schema import Contact
from kurir_wire.ids import DAY
from kurir_wire.limits import CLOCK_SKEW
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


@fraud(20)
def a_card_handed_out_before_its_day(rng: Random) -> Caught:
    """Next month's dearer prices today: a business that accepts them does not sign all the same."""
    pair, siti = shop()
    store = pair.bob.store
    true = store.need("rate_card")
    early = CLOCK_SKEW + rng.randrange(1, 30 * DAY)
    later = msgspec.structs.replace(bundled(), version=2, effective_from=pair.clock.now + early)
    body = canonical(later)
    message = rate_card_message(pair.relay.id, body)
    with store.transaction():
        store.put("rate_card", signed_rate_card(body, pair.relay.operator.sign(message)))
    say(pair, pair.bob, siti, "hello", 10**6)
    sent = pair.prepare(pair.bob)
    with store.transaction():
        store.put("rate_card", true)
    day = show_day(later.effective_from // DAY)
    where = f"the relay hands out version 2 of its rate card, which is in force only from {day}"
    return Caught(where, None if sent else where if where in store.unread()[-1].text else "")


def honest() -> tuple[list[str], bool]:
    """The same way without the fraud."""
    return received("welcome")
