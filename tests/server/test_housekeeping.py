"""What has come to its end goes: to the hour or day, in steps, and never early."""

from __future__ import annotations

from pathlib import Path

import pytest

from kurir_server import admin, housekeeping, seconds
from kurir_server.errors import ConfigError
from kurir_server.housekeeping import Step, tidy
from kurir_server.limits import ACCEPTED_SECOND_HOURS, MAX_UNSETTLED, SETTLE_DAYS
from kurir_server.rows import Swept
from kurir_wire import codes
from kurir_wire.entries import Submission
from kurir_wire.frames import GetCard, Open, PutCard, Register
from kurir_wire.ids import DAY, HOUR
from tests.server.helpers import Box, Shop, Signed, body, receipt_of, until
from tests.server.process import running
from tests.server.rig import START, Rig
from tests.server.test_ledger import settle


def accept(rig: Rig) -> tuple[Shop, Box, Signed]:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    signed = rig.charge(shop, box, opening, shop.line(is_open=False))
    receipt_of(rig.submit(signed.submission)[0])
    return shop, box, signed


@pytest.mark.parametrize("into", [0, 17, HOUR - 1])
def test_the_second_of_acceptance_is_told_for_one_to_two_hours(rig: Rig, into: int) -> None:
    rig.now = START + into
    _, _, signed = accept(rig)
    rig.now = START + ACCEPTED_SECOND_HOURS * HOUR - 1
    rig.tidy()
    assert receipt_of(rig.submit(signed.submission)[0]).accepted_at == START + into
    rig.now += 1  # housekeeping has not come yet
    assert receipt_of(rig.submit(signed.submission)[0]).accepted_at == START // HOUR * HOUR
    rig.now -= 1
    assert receipt_of(rig.submit(signed.submission)[0]).accepted_at == START + into
    rig.now += 1
    rig.meter.prune(rig.moment)
    rig.now -= 1
    assert receipt_of(rig.submit(signed.submission)[0]).accepted_at == START // HOUR * HOUR
    assert rig.count("charges") == 1


def test_no_second_of_acceptance_comes_to_the_disk(rig: Rig) -> None:
    shop = rig.shop()
    box, opening = rig.customer(shop)
    rig.now = START + 17
    signed = rig.charge(shop, box, opening, shop.line(is_open=False))
    assert receipt_of(rig.submit(signed.submission)[0]).accepted_at == START + 17
    for said in (str(START + 17), (START + 17).to_bytes(4, "big").hex()):
        assert not [line for line in rig.dump() if said in line.lower()]


def test_of_many_charges_the_seconds_of_the_latest_are_told(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seconds, "MAX_SECONDS", 2)
    rig.now = START + 17
    first, second, third = (accept(rig)[2].submission for _ in range(3))
    assert receipt_of(rig.submit(first)[0]).accepted_at == START
    assert receipt_of(rig.submit(second)[0]).accepted_at == START + 17
    assert receipt_of(rig.submit(third)[0]).accepted_at == START + 17


def test_charges_and_marks_stay_for_as_long_as_they_can_settle(rig: Rig) -> None:
    _, _, signed = accept(rig)
    day = START // DAY
    rig.now = (day + SETTLE_DAYS + 2) * DAY - 1
    rig.tidy()
    assert rig.count("charges") == rig.count("used_envelopes") == 1
    receipt_of(rig.submit(signed.submission)[0])
    rig.now += 1
    rig.tidy()
    assert rig.count("charges") == rig.count("used_envelopes") == 0


def test_settling_in_the_last_second_and_one_later(rig: Rig) -> None:
    for late in (False, True):
        rig.now = START
        _, box, signed = accept(rig)
        rig.fetch(box)
        rig.now = START // HOUR * HOUR + SETTLE_DAYS * DAY - (0 if late else 1)
        result = rig.ack(box, signed.submission.envelope_id, signed.secret)
        assert (result is None) is not late
        assert rig.count("leaves") == 1
        if late:
            assert result is not None
            assert result.left == MAX_UNSETTLED - 1


def test_the_number_of_a_lane_outlives_the_lane(rig: Rig) -> None:
    shop = rig.shop()
    shop.lane = shop.enrol(START + DAY)
    box, opening = rig.customer(shop)
    receipt_of(rig.submit(rig.charge(shop, box, opening, shop.line(is_open=False)).submission)[0])
    rig.now = shop.lane.not_after - 1
    rig.tidy()
    assert rig.count("lanes") == 1
    rig.now = (shop.lane.not_after // DAY + 1) * DAY - 1
    rig.tidy()
    assert rig.count("lanes") == 1
    rig.now += 1
    rig.tidy()
    assert rig.count("lanes") == 0
    forever = rig.shop()
    forever.lane = forever.enrol(2**63 - 1)
    box, opening = rig.customer(forever)
    line = forever.line(is_open=False)
    receipt_of(rig.submit(rig.charge(forever, box, opening, line).submission)[0])


def test_cards_go_to_the_hour(rig: Rig) -> None:
    box = rig.personal()
    assert box.token is not None
    talk = rig.connection()
    talk.send(Open(1, [box.opening(rig.nonce)]))
    talk.send(PutCard(2, box.id, b"sealed"))
    rig.now = START // HOUR * HOUR + 720 * HOUR - 1
    rig.tidy()
    assert rig.count("cards") == 1
    rig.now += 1
    (reply,) = rig.connection().send(GetCard(3, box.id, box.token))
    assert type(reply).__name__ == "Error", "not handed out, though nobody has tidied"
    rig.tidy()
    assert rig.count("cards") == 0


def test_small_steps_do_all_of_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "TIDY_ROWS", 3)
    kept = rig.personal()
    talk = rig.connection()
    talk.send(Open(1, [kept.opening(rig.nonce)]))
    for _ in range(7):
        box = rig.personal()
        assert rig.submit(box.write(), box.write()) == [None, None]
        accept(rig)
    for table in ("envelopes", "mailboxes", "charges", "used_envelopes"):
        assert rig.count(table) >= 7
    rig.now += 24 * HOUR
    rig.tidy()
    assert rig.count("envelopes") == 0
    rig.now += HOUR
    assert len(rig.tidy()) == 14, "personal ones and addresses; customers and one were opened"
    rig.now += 33 * DAY
    rig.tidy()
    for kind in Swept:
        assert rig.run(lambda rows, kind=kind: rows.sweep(kind, None, 1, 0)) is None, "empty"  # type: ignore[misc]


def test_exactly_full_steps_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "TIDY_ROWS", 2)
    boxes = [rig.personal() for _ in range(4)]
    for box in boxes:
        assert rig.submit(box.write()) == [None]
    rig.now += 26 * HOUR
    assert len(rig.tidy()) == 4


def test_one_that_is_read_at_its_end_is_kept(rig: Rig) -> None:
    box = rig.personal()
    row = rig.row(box)
    rig.now += 26 * HOUR
    done = rig.run(
        lambda rows: tidy(rows, rig.moment, rig.meter, rig.ledger, Step(None, -1), [row])
    )
    assert done.gone == []
    mailbox = rig.run(lambda rows: rows.mailbox(box.id))
    assert mailbox is not None
    assert mailbox.keep_until == (rig.now // DAY + 91) * 24


def test_a_reader_finds_its_mailbox_through_ninety_whole_days(rig: Rig) -> None:
    box = rig.personal()
    rig.connection().send(Open(1, [box.opening(rig.nonce)]))
    rig.now = (START // DAY + 91) * DAY - 1
    assert rig.tidy() == []
    rig.now += 1
    assert len(rig.tidy()) == 1


def test_counters_of_a_mailbox_follow_what_goes(rig: Rig) -> None:
    box = rig.personal()
    assert rig.submit(box.write(), box.write(4_096)) == [None, None]
    row = rig.row(box)
    rig.run(lambda rows: rows.keep_mailbox(row, START // HOUR + 99))
    rig.now += 24 * HOUR
    rig.tidy()
    mailbox = rig.run(lambda rows: rows.mailbox(box.id))
    assert mailbox is not None
    assert (mailbox.depth, mailbox.size, mailbox.next_n) == (0, 0, 3)


def prekeys(rig: Rig, shop: Shop) -> None:
    added = rig.run(
        lambda rows: rig.registry.put_prekeys(rows, shop.id, [shop.ec(1)], [shop.kem(1)])
    )
    assert added.code == codes.OK


def test_businesses_that_nobody_approved_go_with_all_that_is_theirs(rig: Rig) -> None:
    new, approved, customer_of = rig.shop(tier=None), rig.shop(), rig.shop()
    settle(rig, customer_of)
    for shop in (new, approved):
        prekeys(rig, shop)
        rig.connection().send(Open(1, [shop.address.opening(rig.nonce)]))
    address = rig.row(new.address)
    rig.run(lambda rows: rows.revoke(customer_of.id))
    rig.now = new.issued + 30 * DAY - 1
    waiting = Submission(new.address.id, bytes(16), body(4_096), 24)
    assert rig.submit(waiting) == [None]
    rig.tidy()
    assert rig.count("businesses") == 3
    rig.now += 1
    assert address in rig.tidy(), "so that nobody is left reading it"
    ids = [business.id for business in rig.run(lambda rows: rows.businesses())]
    assert sorted(ids) == sorted([approved.id, customer_of.id]), "what settled stays provable"
    assert rig.count("prekeys") == 2
    assert rig.count("envelopes") == 0
    assert rig.run(lambda rows: rows.mailbox(new.address.id)) is None
    assert rig.run(lambda rows: rows.mailbox(approved.address.id)) is not None


def test_none_goes_by_a_clock_in_doubt(rig: Rig) -> None:
    shop = rig.shop(tier=None)
    rig.now, rig.doubt = shop.issued + 30 * DAY, 3 * DAY
    rig.tidy()
    assert rig.count("businesses") == 1
    rig.doubt = 0
    rig.tidy()
    assert rig.count("businesses") == 0


def test_one_that_connects_again_in_time_stays(rig: Rig) -> None:
    shop = rig.shop(tier=None)
    rig.now += 29 * DAY
    shop.issued = rig.now
    request = Register(1, shop.card(version=2), shop.address.new(rig.nonce))
    address = rig.row(shop.address)
    rig.run(lambda rows: rows.keep_mailbox(address, rig.now // HOUR + 999))
    assert rig.run(lambda rows: rig.registry.register(rows, rig.moment, rig.nonce, request)) is None
    rig.now += 2 * DAY
    rig.tidy()
    assert rig.count("businesses") == 1


def test_a_business_whose_address_is_gone_already(rig: Rig) -> None:
    rig.shop(tier=None)
    rig.now += 2 * DAY
    assert len(rig.tidy()) == 1, "never opened"
    rig.now += 29 * DAY
    assert rig.tidy() == []
    assert rig.count("businesses") == 0


def test_the_operator_removes_a_business(rig: Rig) -> None:
    db = rig.store.path
    new, approved, settled = rig.shop(tier=None), rig.shop(), rig.shop()
    settle(rig, settled)
    prekeys(rig, new)
    with pytest.raises(ConfigError, match="is approved") as caught:
        admin.remove(db, approved.id)
    assert "revoke it first" in str(caught.value.hint)
    admin.revoke(db, approved.id)
    admin.remove(db, approved.id)
    admin.revoke(db, settled.id)
    with pytest.raises(ConfigError, match="has settled charges"):
        admin.remove(db, settled.id)
    admin.remove(db, new.id)
    assert [view.id for view in admin.businesses(db)] == [settled.id]
    assert rig.count("prekeys") == 0
    assert rig.run(lambda rows: rows.mailbox(new.address.id)) is None
    with pytest.raises(ConfigError, match="no business of this id"):
        admin.remove(db, new.id)


async def test_a_running_relay_forgets_businesses_too(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("0")
    with running(tmp_path, "--demo-clock", str(clock)) as relay:
        async with relay.client() as client:
            shop = Shop(client.relay_id, client.now)
            assert await client.register(shop, shop.card()) == "ok"
        assert shop.id.hex() in relay.run("business", "list").stdout
        clock.write_text(str(30 * DAY))
        await until(lambda: relay.run("business", "list").stdout == "")
