"""What is signed together: the charges of one frame, unless the business is a small one."""

from __future__ import annotations

import pytest

from kurir_billing.kinds import RefusalCode
from kurir_client.pause import PACE, Pause
from kurir_client.schema import Status
from kurir_wire import codes
from kurir_wire.cards import TIER_SMALL
from tests.client.pair import Pair
from tests.client.verdicts import answer, hashed, many, receipt, refusal, say, status


@pytest.mark.parametrize("count", [1, 2, 3, 64, 65])
def test_what_leaves_in_one_frame_is_signed_together(pair: Pair, count: int) -> None:
    _, siti = pair.open_shop()
    for customer in many(pair, siti, count):
        say(pair, pair.bob, customer, "news")
    frames = []
    while ready := pair.prepare(pair.bob):
        frames.append(len(ready))
        named = [hashed(pair, item) for item in ready]  # each signature checked alone
        charges = [item for item, _ in named]
        if len(ready) == 1:
            assert charges[0].listed is None
        else:
            by_index = {item.listed.index: name for item, name in named if item.listed}
            # An index says nothing of when a message was written.
            assert [by_index[index] for index in range(len(ready))] == sorted(by_index.values())
            assert len({item.signature for item in charges}) == 1
        again = pair.prepare(pair.bob)  # durable: a retry is the same to the byte
        assert [item.submission for item in again] == [item.submission for item in ready]
        for item in ready:
            answer(pair, item, receipt(pair, item))
    assert frames == [min(count, 64), *([count - 64] if count > 64 else [])]
    assert {row.state for row in pair.bob.store.charges()} == {"accepted"}


@pytest.mark.parametrize("tariff", ["flat", "reply-2018"])
def test_a_small_business_signs_each_message_alone(pair: Pair, tariff: str) -> None:
    _, siti = pair.open_shop(tariff)
    with pair.bob.store.transaction():
        pair.bob.store.put("terms", pair.agree(tariff, TIER_SMALL))
    for customer in many(pair, siti, 5):
        say(pair, pair.bob, customer, "your answer")
    ready = pair.prepare(pair.bob)
    assert len(ready) == 5
    charges = [hashed(pair, item)[0] for item in ready]  # each signature checked alone
    assert [charge.listed for charge in charges] == [None] * 5
    assert len({charge.signature for charge in charges}) == 5
    numbers = [charge.lane_seq for charge in charges]
    assert numbers == sorted(set(numbers)), "the lane counts in the order in which they go"


def test_who_is_made_small_meanwhile_asks_for_the_terms_and_signs_singly(pair: Pair) -> None:
    _, siti = pair.open_shop()
    inner_ids = [say(pair, pair.bob, one, "answer") for one in many(pair, siti, 2)]
    ready = pair.prepare(pair.bob)
    charges = [hashed(pair, item)[0] for item in ready]
    assert all(charge.listed for charge in charges)
    for item, charge in zip(ready, charges, strict=True):
        said = refusal(pair, item, RefusalCode.BAD_PARAMETER, charge.line)
        assert answer(pair, item, said) == Pause(PACE, codes.RATE)
    assert pair.bob.store.get("terms_wanted")
    with pair.bob.store.transaction():
        pair.bob.store.put("terms", pair.agree("reply-2018", TIER_SMALL))
    again = pair.prepare(pair.bob)
    assert [hashed(pair, item)[0].listed for item in again] == [None, None]
    assert {status(pair.bob, inner_id) for inner_id in inner_ids} == {Status.QUEUED}


def test_a_crash_between_signing_and_sending_repeats_the_list(pair: Pair) -> None:
    _, siti = pair.open_shop()
    for customer in many(pair, siti, 5):
        say(pair, pair.bob, customer, "news")
    first = pair.prepare(pair.bob)
    answer(pair, first[2], receipt(pair, first[2]))
    pair.bob = pair.reopen(pair.bob)
    second = pair.prepare(pair.bob)
    rest = [item.submission for number, item in enumerate(first) if number != 2]
    assert [item.submission for item in second] == rest
    for item in second:
        hashed(pair, item)  # stands alone, whatever became of the others


def test_one_that_cannot_be_signed_does_not_spoil_the_list(pair: Pair) -> None:
    _, siti = pair.open_shop()
    customers = many(pair, siti, 3)
    with pair.bob.store.transaction():
        pair.bob.store.set_contact(customers[1].id, permit=None)  # would cost
    ids = [say(pair, pair.bob, customer, "news") for customer in customers]
    assert len(pair.prepare(pair.bob)) == 2
    assert [status(pair.bob, item) for item in ids] == [
        Status.QUEUED,
        Status.FAILED,
        Status.QUEUED,
    ]
