"""Lists of charges, and how many signatures the relay checks and makes for what it takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs
from nacl import bindings

from kurir_billing.charge import charge_message, packed
from kurir_billing.kinds import Category, Class, RefusalCode
from kurir_billing.leaf import open_leaf
from kurir_billing.listed import MAX_LISTED
from kurir_server.limits import GRANT_CACHE
from kurir_wire.entries import Result, Submission
from kurir_wire.ids import DAY, NO_HASH
from tests.server.customers import Customer, customer
from tests.server.helpers import Draft, Shop, Signed, receipt_of, refusal_of
from tests.server.rig import Rig

PRICE = 25_000


class Counter:
    """Signatures checked, and made, by libsodium."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.checked = self.made = 0
        check, make = bindings.crypto_sign_open, bindings.crypto_sign

        def counting_check(*given: Any) -> Any:
            self.checked += 1
            return check(*given)

        def counting_make(*given: Any) -> Any:
            self.made += 1
            return make(*given)

        monkeypatch.setattr(bindings, "crypto_sign_open", counting_check)
        monkeypatch.setattr(bindings, "crypto_sign", counting_make)

    def of(self, work: Callable[[], object]) -> tuple[int, int]:
        """How many ``work`` takes: checked, made."""
        before = self.checked, self.made
        work()
        return self.checked - before[0], self.made - before[1]


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


def drafts(rig: Rig, shop: Shop, size: int) -> list[Draft]:
    """Charges to as many customers, at list price."""
    line = shop.line(is_open=False)
    return [shop.draft(*rig.customer(shop), line, rig.beacon) for _ in range(size)]


def to_one(ani: Customer, size: int, **shown: Any) -> list[Draft]:
    """Charges to one customer, which open its window."""
    line = ani.line(Class.IN_WINDOW, 0)
    rig = ani.rig
    return [ani.shop.draft(ani.box, ani.opening, line, rig.beacon, **shown) for _ in range(size)]


def received(results: list[Result | None], signed: list[Signed]) -> None:
    names = [receipt_of(result).charge for result in results]
    assert names == [one.hash for one in signed]


def test_each_charge_of_a_list_is_taken_and_provable_alone(rig: Rig) -> None:
    shop = rig.shop()
    ani = customer(rig, shop, "reply-2018")
    signed = shop.sign_list(to_one(ani, 7, grant=ani.grant()))
    received(rig.submit(*(one.submission for one in signed)), signed)
    for one in signed:
        ani.settled(one)
    leaves = rig.run(lambda rows: rows.leaves(shop.id, rig.now // DAY, NO_HASH, 10))
    assert len(leaves) == 7
    for leaf in map(open_leaf, leaves):
        leaf.check_signature(rig.keys.relay_id)
        leaf.check_settlement()
        assert leaf.listed is not None
        assert leaf.listed.size == 7


def test_a_list_in_any_order_and_part_by_part(rig: Rig) -> None:
    """Numbers of a lane rise, so what is left behind is signed anew."""
    shop = rig.shop()
    signed = shop.sign_list(drafts(rig, shop, 5))
    received(rig.submit(signed[1].submission, signed[3].submission), [signed[1], signed[3]])
    rig.restart()
    received(rig.submit(signed[4].submission, signed[1].submission), [signed[4], signed[1]])
    (result,) = rig.submit(signed[0].submission)
    refusal = refusal_of(result)
    assert refusal.code == RefusalCode.BAD_PARAMETER
    assert refusal.quote is not None
    assert refusal.quote.line == signed[0].charge.line


def test_the_longest_list_is_one_frame(rig: Rig, count: Counter) -> None:
    shop = rig.shop()
    signed = shop.sign_list(drafts(rig, shop, MAX_LISTED))
    submissions = [one.submission for one in signed]
    results: list[Result | None] = []
    checked, _ = count.of(lambda: results.extend(rig.submit(*submissions)))
    received(results, signed)
    assert checked == 2, "the list, and its lane"


def alone(signed: Signed, **changes: Any) -> Submission:
    charge = structs.replace(signed.charge, **changes)
    return structs.replace(signed.submission, charge=packed(charge))


def test_what_does_not_stand_in_the_list_is_refused(rig: Rig) -> None:
    shop = rig.shop()
    signed = shop.sign_list(drafts(rig, shop, 4))
    received(rig.submit(signed[0].submission), signed[:1])  # its root is known now
    last = signed[3]
    place = last.charge.listed
    assert place is not None
    outside = drafts(rig, shop, 1)[0]
    for wrong in (
        alone(last, listed=structs.replace(place, index=2)),
        alone(last, listed=structs.replace(place, size=5)),
        alone(last, listed=structs.replace(place, proof=place.proof[:-1])),
        alone(last, listed=structs.replace(place, proof=[*place.proof, NO_HASH])),
        alone(last, listed=None),
        alone(last, signature=bytes(64)),
        outside.signed(last.charge.signature, place).submission,
        outside.signed(last.charge.signature).submission,
    ):
        (result,) = rig.submit(wrong)
        refusal = refusal_of(result)
        assert (refusal.code, refusal.quote) == (RefusalCode.BAD_PARAMETER, None)
    received(rig.submit(last.submission), [last])


def test_a_list_of_another_lane(rig: Rig) -> None:
    """The root is signed by the lane that each of its charges names."""
    shop, rival = rig.shop(), rig.shop()
    signed = shop.sign_list(drafts(rig, shop, 2))
    place = signed[1].charge.listed
    theirs = rival.sign_list([*drafts(rig, rival, 1), *drafts(rig, shop, 1)])
    for wrong in (
        alone(signed[1], lane=rival.lane),
        alone(signed[1], signature=theirs[1].charge.signature),
        theirs[1].submission,
    ):
        (result,) = rig.submit(wrong)
        assert result is not None
        assert result.data is not None
        assert refusal_of(result).code in (
            RefusalCode.BAD_PARAMETER,
            RefusalCode.UNDELIVERABLE,
        )
    assert place is not None
    received(rig.submit(signed[0].submission), signed[:1])


@pytest.mark.parametrize("size", [1, 2, 10])
def test_a_small_business_signs_each_message_alone(rig: Rig, size: int) -> None:
    """No bulk sending: not under one signature either, be the list as short as it may."""
    shop = rig.shop("small")
    customers = [customer(rig, shop, "reply-2018") for _ in range(size)]
    answers = [to_one(ani, 1, grant=ani.grant())[0] for ani in customers]
    signed = shop.sign_list(answers)
    for result, one in zip(rig.submit(*(each.submission for each in signed)), signed, strict=True):
        assert result is not None
        assert result.detail.startswith("100: a business of tier small signs each message alone")
        refusal = refusal_of(result)
        assert (refusal.code, refusal.charge) == (RefusalCode.BAD_PARAMETER, one.hash)
        assert refusal.quote is not None
        assert refusal.quote.line == one.charge.line, "it is the signature that is wrong"
    assert rig.count("charges") == 0
    alone = [draft.signed(shop.lane_key.sign(charge_message(*draft.fields))) for draft in answers]
    received(rig.submit(*(one.submission for one in alone)), alone)
    # Once it is of tier platform it may.
    rig.approve(shop, "platform")
    lists = shop.sign_list([to_one(ani, 1, grant=ani.grant())[0] for ani in customers])
    received(rig.submit(*(one.submission for one in lists)), lists)


def test_the_rest_of_a_list_is_refused_once_the_tier_is_small(rig: Rig) -> None:
    shop = rig.shop()
    ani = customer(rig, shop, "reply-2018")
    first, second = shop.sign_list(to_one(ani, 2, grant=ani.grant()))
    received(rig.submit(first.submission), [first])
    rig.approve(shop, "small")
    received(rig.submit(first.submission), [first])  # accepted is accepted
    (result,) = rig.submit(second.submission)
    assert refusal_of(result).code == RefusalCode.BAD_PARAMETER


def test_other_reasons_come_before_the_list(rig: Rig) -> None:
    """As docs/protocol.md, "Charges", orders them: window and line first, the lane after."""
    shop = rig.shop("small")
    ani = customer(rig, shop, "reply-2018")
    late, wrong = to_one(ani, 1), to_one(ani, 1, grant=ani.grant())
    priced = structs.replace(ani.line(Class.IN_WINDOW, 0), list_price=1)
    wrong[0] = shop.draft(ani.box, ani.opening, priced, rig.beacon, ani.grant())
    for (draft,), code, says in (
        (late, RefusalCode.OUTSIDE_WINDOW, "24 hours"),
        (wrong, RefusalCode.BAD_PARAMETER, "the line is not the one that is due now"),
    ):
        (result,) = rig.submit(shop.sign_list([draft])[0].submission)
        assert result is not None
        assert refusal_of(result).code == code
        assert says in result.detail
    ani.taken(ani.line(Class.IN_WINDOW, 0), ani.grant())
    used = shop.draft(
        ani.box, ani.opening, ani.line(Class.IN_WINDOW, 0), rig.beacon, ani.grant(), seq=shop.seq
    )
    (result,) = rig.submit(shop.sign_list([used])[0].submission)
    assert result is not None
    assert "signs each message alone" in result.detail


def test_how_many_signatures_are_checked(rig: Rig, count: Counter) -> None:
    shop = rig.shop()
    customers = [customer(rig, shop, "reply-2018") for _ in range(3)]
    ani, budi, citra = customers

    def send(one: Customer, size: int = 1, **shown: Any) -> tuple[int, int]:
        """Signatures that the relay checks and makes for some charges, each with its own."""
        signed = [
            draft.signed(shop.lane_key.sign(charge_message(*draft.fields)))
            for draft in to_one(one, size, **shown)
        ]
        results: list[Result | None] = []
        took = count.of(lambda: results.extend(rig.submit(*(s.submission for s in signed))))
        received(results, signed)
        return took

    grants = [one.grant() for one in customers]
    assert send(ani, grant=grants[0]) == (3, 1), "lane, charge, grant; and the receipt"
    assert send(budi, grant=grants[1]) == (2, 1), "charge and a new grant"
    assert send(ani, grant=grants[0]) == (1, 1), "a grant that was checked costs nothing"
    assert send(budi, 10, grant=grants[1]) == (10, 10)

    # A list of 64 under grants that were checked: one signature for all.
    lists = [
        *to_one(ani, 30, grant=grants[0]),
        *to_one(budi, 30, grant=grants[1]),
        *to_one(citra, 4, grant=grants[2]),
    ]
    signed = shop.sign_list(lists)
    results: list[Result | None] = []
    took = count.of(lambda: results.extend(rig.submit(*(one.submission for one in signed))))
    received(results, signed)
    assert took == (2, 64), "the list, and the one grant that is new"

    # Repeated, nothing is checked; after a restart everything once.
    submissions = [one.submission for one in signed]
    assert count.of(lambda: rig.submit(*submissions)) == (0, 64)
    rig.restart()
    assert send(ani, grant=grants[0]) == (3, 1)


def test_an_entry_is_checked_once_and_a_pass_never(rig: Rig, count: Counter) -> None:
    shop = rig.shop(tariff="message-2025")
    ani = customer(rig, shop, "message-2025")
    ticket = rig.keys.ticket(shop.id, bytes(16), rig.now + DAY)
    shown = ani.came_by(ticket)
    line = ani.line(Class.ENTRY, 0, Category.MARKETING)
    opening = ani.sign(line, **shown)
    results: list[Result | None] = []
    took = count.of(lambda: results.extend(rig.submit(opening.submission)))
    held = receipt_of(results[0]).earned
    assert held is not None
    assert took == (4, 2), "lane, charge, grant, ticket; and pass and receipt"
    again = ani.sign(line, held=held, **shown)
    assert count.of(lambda: rig.submit(again.submission)) == (1, 1)
    bare = ani.sign(line, held=held)
    assert count.of(lambda: rig.submit(bare.submission)) == (1, 1)


def test_what_was_checked_is_remembered_within_bounds(
    rig: Rig, count: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kurir_server.evidence.GRANT_CACHE", 2)
    rig.restart()
    assert GRANT_CACHE > 2
    shop = rig.shop()
    customers = [customer(rig, shop, "reply-2018") for _ in range(3)]
    grants = [one.grant() for one in customers]

    def checks(number: int) -> int:
        ani = customers[number]
        signed = ani.sign(ani.line(Class.IN_WINDOW, 0), grants[number])
        return count.of(lambda: rig.submit(signed.submission))[0]

    assert [checks(number) for number in (0, 1, 0, 2, 2, 0)] == [3, 2, 1, 2, 1, 2]


def test_a_lane_that_ends_is_checked_for_its_time_also_when_it_is_known(rig: Rig) -> None:
    shop = rig.shop()
    shop.lane = shop.enrol(rig.now + 10)
    ani = customer(rig, shop, "reply-2018")
    line = ani.line(Class.OUT_OF_WINDOW, PRICE)
    rig.now += 9
    ani.taken(line)
    rig.now += 1
    assert ani.refused(line).code == RefusalCode.BAD_PARAMETER
