"""Long lists are worked off in parts, with what others ask for in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kurir_server.limits import PROOFS_AT_ONCE, SIGNATURES_AT_ONCE
from kurir_server.work import Failed, Job
from kurir_wire import codes
from kurir_wire.entries import Result
from kurir_wire.frames import (
    Create,
    Deliver,
    Error,
    GetInclusion,
    InclusionIs,
    Open,
    Push,
    PutPreKeys,
    Register,
    Request,
    Results,
    Submit,
    decode_push,
    encode,
)
from kurir_wire.ids import DAY
from tests.server.helpers import Box, Key, Shop
from tests.server.replies import codes_of, result_of
from tests.server.rig import Rig, Talk
from tests.server.test_ledger import settle


def done(rig: Rig, job: Job) -> Any:
    """What a job comes to."""
    return rig.run(lambda rows: job.run(rows, rig.moment))


def in_parts(
    talk: Talk, request: Request, between: Callable[[int], bool | None] = lambda count: None
) -> tuple[int, list[Push]]:
    """Do one job after another.

    :param between: called before each with the number of those done; true: the disk fails
    :returns: how many jobs there were that others waited for, and all frames
    """
    rig, rounds, pushed = talk.rig, 0, list[Push]()
    talk.connection.receive(encode(request), rig.moment)
    while True:
        outstanding = talk.connection.outstanding
        output = talk.connection.take()
        pushed += [decode_push(frame) for frame in output.frames]
        if not output.jobs:
            assert talk.connection.barriers == talk.connection.outstanding == 0
            return rounds, pushed
        assert outstanding <= 1, "one at a time"
        rounds += outstanding
        fails = between(rounds - 1)
        for job in output.jobs:
            outcome = Failed() if fails else done(rig, job)
            job.done(outcome)


def test_opening_many_loses_nothing_that_comes_meanwhile(rig: Rig) -> None:
    boxes = [rig.personal() for _ in range(2 * SIGNATURES_AT_ONCE + 6)]
    talk, writer = rig.connection(), rig.connection()
    sent: list[bytes] = []

    def write(count: int) -> None:
        assert talk.connection.outstanding == 0 or talk.connection.barriers == 1
        entries = [box.write() for box in (boxes[0], boxes[-1])]
        sent.extend(entry.envelope_id for entry in entries)
        assert codes_of(writer.send(Submit(1, entries))) == ["ok"] * 2

    request = Open(9, [box.opening(rig.nonce) for box in boxes])
    rounds, pushed = in_parts(talk, request, write)
    assert rounds >= 3
    (results,) = [push for push in pushed if isinstance(push, Results)]
    assert len(results.results) == len(boxes)
    assert {result.code for result in results.results if result} <= {codes.OK}
    seen = [
        delivery.envelope_id
        for push in pushed
        if isinstance(push, Deliver)
        for delivery in push.deliveries
    ]
    assert sorted(seen) == sorted(sent)


def test_making_many(rig: Rig) -> None:
    boxes = [Box.personal(rig.keys.relay_id, rig.now) for _ in range(2 * SIGNATURES_AT_ONCE)]
    new = [box.new(rig.nonce) for box in boxes]
    new[40] = boxes[40].new(bytes(32))
    talk = rig.connection()

    def waits(count: int) -> None:
        assert talk.connection.barriers == 1, "what comes next may rest on all of it"

    rounds, pushed = in_parts(talk, Create(1, new), waits)
    assert rounds == 2
    assert codes_of(pushed) == ["ok"] * 40 + [codes.NOT_AUTHORISED] + ["ok"] * 23
    assert rig.count("mailboxes") == 63


def test_a_disk_that_fails_in_between_refuses_only_that_part(rig: Rig) -> None:
    boxes = [Box.personal(rig.keys.relay_id, rig.now) for _ in range(3 * SIGNATURES_AT_ONCE)]
    request = Create(1, [box.new(rig.nonce) for box in boxes])
    _, pushed = in_parts(rig.connection(), request, lambda count: count == 1)
    size = SIGNATURES_AT_ONCE
    assert codes_of(pushed) == ["ok"] * size + [codes.UNAVAILABLE] * size + ["ok"] * size
    for box in boxes[size : 2 * size]:
        rig.make(box)
    opening = Open(2, [box.opening(rig.nonce) for box in boxes])
    _, pushed = in_parts(rig.connection(), opening, lambda count: count == 1)
    assert codes_of(pushed) == ["ok"] * size + [codes.UNAVAILABLE] * size + ["ok"] * size
    assert len(rig.hub.read_rows()) == 2 * size


def test_a_client_that_leaves_in_between_reads_nothing(rig: Rig) -> None:
    boxes = [rig.personal() for _ in range(3 * SIGNATURES_AT_ONCE)]
    talk = rig.connection()

    def leave(count: int) -> None:
        if count == 1:
            talk.connection.close()

    talk.connection.receive(encode(Open(1, [box.opening(rig.nonce) for box in boxes])), rig.moment)
    for number in range(2):
        (job,) = talk.connection.take().jobs
        leave(number)
        job.done(done(rig, job))
    assert rig.hub.read_rows() == []
    assert talk.connection.take().jobs == []


def test_many_prekeys_are_checked_in_turns_and_kept_at_once(rig: Rig) -> None:
    shop, rival = rig.shop(), rig.shop()
    ec, kem = [shop.ec(n) for n in range(60)], [shop.kem(n) for n in range(40)]
    talk = rig.proved(shop)
    for bad in (PutPreKeys(1, [*ec, rival.ec(70)], kem), PutPreKeys(1, ec, [*kem, rival.kem(70)])):
        rounds, pushed = in_parts(talk, bad)
        assert rounds <= 4
        assert codes_of(pushed) == [codes.NOT_AUTHORISED]
        assert rig.count("prekeys") == 0
    _, pushed = in_parts(talk, PutPreKeys(2, ec, kem), lambda count: count == 2)
    assert codes_of(pushed) == [codes.UNAVAILABLE]
    assert rig.count("prekeys") == 0
    rounds, pushed = in_parts(talk, PutPreKeys(3, ec, kem))
    assert rounds == 5
    assert result_of(pushed) == Result(codes.OK, left=40)
    assert rig.count("prekeys") == 100


@pytest.mark.parametrize("when", [2, 4])
def test_prekeys_of_an_identity_that_changed_meanwhile_are_not_kept(rig: Rig, when: int) -> None:
    shop = rig.shop()
    keys = [shop.ec(n) for n in range(100)]

    def change(count: int) -> None:
        if count == when:
            renew(rig, shop, Key(), 2)

    _, pushed = in_parts(rig.proved(shop), PutPreKeys(1, keys, []), change)
    assert codes_of(pushed) == [codes.NOT_AUTHORISED]
    assert rig.count("prekeys") == 0


def test_prekeys_of_two_identities_are_not_kept(rig: Rig) -> None:
    """Each part is right when it is checked, and they never were all at once."""
    shop = rig.shop()
    first, second = shop.identity, Key()
    keys = [shop.ec(n) for n in range(SIGNATURES_AT_ONCE)]
    shop.identity = second
    keys += [shop.ec(n) for n in range(SIGNATURES_AT_ONCE, 2 * SIGNATURES_AT_ONCE)]
    shop.identity = first

    def change(count: int) -> None:
        if count:
            renew(rig, shop, second if count == 1 else first, 1 + count)

    _, pushed = in_parts(rig.proved(shop), PutPreKeys(1, keys, []), change)
    assert codes_of(pushed) == [codes.NOT_AUTHORISED]
    assert rig.count("prekeys") == 0


def renew(rig: Rig, shop: Shop, identity: Key, version: int) -> None:
    """A card of another identity."""
    shop.identity = identity
    request = Register(1, shop.card(version), shop.address.new(rig.nonce))
    assert codes_of(rig.connection().send(request)) == ["ok"]


def test_many_proofs_are_those_of_few(rig: Rig) -> None:
    shop = rig.shop()
    leaves = settle(rig, shop, PROOFS_AT_ONCE + 4)
    day = rig.now // DAY
    rig.now += DAY
    names = [leaf.charge_hash(rig.keys.relay_id) for leaf in leaves]
    talk = rig.proved(shop)
    rounds, (whole,) = in_parts(talk, GetInclusion(1, len(names), day, list(names)))
    assert rounds == 2
    assert isinstance(whole, InclusionIs)
    for number, name in enumerate(names):
        (one,) = talk.send(GetInclusion(2, len(names), day, [name]))
        assert isinstance(one, InclusionIs)
        assert one.places == [whole.places[number]]
    rounds, (refused,) = in_parts(talk, GetInclusion(3, len(names), day, [bytes(32), *names]))
    assert rounds == 1, "the first that cannot be proved ends it"
    assert isinstance(refused, Error)
    assert refused.result.code == codes.NOT_FOUND
