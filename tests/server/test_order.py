"""Order within a mailbox: what was put off is not overtaken within its frame."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kurir_billing.kinds import RefusalCode
from kurir_server import submitting
from kurir_server.errors import StorageError
from kurir_server.limits import PAIR_RATE
from kurir_wire import codes
from kurir_wire.entries import Result
from tests.server.helpers import receipt_of, refusal_of
from tests.server.rig import Rig


def codes_of(results: list[Result | None]) -> list[str]:
    return [result.code if result else "ok" for result in results]


def test_nothing_goes_past_what_a_full_mailbox_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitting, "MAX_BYTES_MAILBOX", 6 * 2_048)
    box, other = rig.personal(), rig.personal()
    there, large, small = box.write(), box.write(16_384), box.write()
    assert rig.submit(there) == [None]
    results = rig.submit(large, small, there, other.write())
    assert codes_of(results) == [codes.FULL, codes.FULL, "ok", "ok"], "what it has, it has"
    assert [d.envelope_id for d in rig.waiting(box)] == [there.envelope_id]
    assert codes_of(rig.submit(small)) == ["ok"], "by itself it fits"


def test_what_gets_another_envelope_is_not_overtaken(rig: Rig) -> None:
    box = rig.personal()
    first = box.write()
    assert rig.submit(first) == [None]
    other = box.write(envelope_id=first.envelope_id)
    conflict, behind = rig.submit(other, box.write())
    assert codes_of([conflict, behind]) == [codes.CONFLICT, codes.RATE]
    assert behind is not None
    assert behind.retry_after == 1


def test_what_can_never_be_taken_holds_nothing_up(rig: Rig) -> None:
    box = rig.personal()
    results = rig.submit(box.write(2_049), box.write())
    assert codes_of(results) == [codes.MALFORMED, "ok"]
    wrong = msgspec.structs.replace(box.write(), token=bytes(32))
    assert codes_of(rig.submit(wrong, box.write())) == [codes.NO_MAILBOX, "ok"]


def test_charges_wait_behind_one_that_came_too_fast_or_at_another_price(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    right = shop.line(is_open=False)
    cheap = rig.charge(shop, box, opening, shop.line(is_open=False, price=1))
    behind = rig.charge(shop, box, opening, right)
    refused, put_off = rig.submit(cheap.submission, behind.submission)
    assert refusal_of(refused).quote is not None
    assert put_off is not None
    assert (put_off.code, put_off.retry_after, put_off.data) == (codes.RATE, 1, None)
    receipt = rig.submit(behind.submission)[0]
    receipt_of(receipt)
    # Refused again in front of one that was taken before: that has its receipt.
    cheap = rig.charge(shop, box, opening, shop.line(is_open=False, price=1))
    assert rig.submit(cheap.submission, behind.submission)[1] == receipt
    for _ in range(PAIR_RATE.burst - 1):
        receipt_of(rig.submit(rig.charge(shop, box, opening, right).submission)[0])
    late = [rig.charge(shop, box, opening, right).submission for _ in range(2)]
    results = rig.submit(*late)
    assert [refusal_of(r).code for r in results] == [RefusalCode.PAIR_RATE] * 2
    # One that is put off is not written: it has neither a receipt nor a number.
    rig.tick += 6
    receipt_of(rig.submit(late[1])[0])


def test_a_charge_that_never_came_to_the_disk_used_no_pace(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    line = shop.line(is_open=False)

    def full(self: Any) -> None:
        raise StorageError("SQLITE_FULL")

    with monkeypatch.context() as patch:
        patch.setattr(type(rig.store), "commit", full)
        for _ in range(PAIR_RATE.burst + 1):
            with pytest.raises(StorageError):
                rig.submit(rig.charge(shop, box, opening, line).submission)
    for _ in range(PAIR_RATE.burst):
        receipt_of(rig.submit(rig.charge(shop, box, opening, line).submission)[0])
    (result,) = rig.submit(rig.charge(shop, box, opening, line).submission)
    assert refusal_of(result).code == RefusalCode.PAIR_RATE, "given back once, not more"


def test_a_look_at_a_business_that_failed_used_no_prekeys_rate(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = rig.shop()

    def ask() -> Any:
        return rig.run(lambda rows: rig.registry.get_business(rows, rig.moment, 1, shop.id))

    one_time = rig.registry._one_time
    before = one_time.look(shop.id, rig.tick, one_time.rate.burst)
    with monkeypatch.context() as patch:
        patch.setattr(type(rig.store), "commit", lambda self: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            ask()
    assert one_time.look(shop.id, rig.tick, one_time.rate.burst) == before
    ask()
    assert one_time.look(shop.id, rig.tick, one_time.rate.burst) != before
