"""Mailboxes over the sans-I/O connection: who may do what, order, retries, limits."""

from __future__ import annotations

import secrets

import msgspec
import pytest

from kurir_server import delivery, limits, submitting
from kurir_server.pace import Deed
from kurir_server.work import Failed
from kurir_wire import codes
from kurir_wire.entries import Ack, Delivery, NewMailbox, Opening
from kurir_wire.frames import (
    Acks,
    CardIs,
    Create,
    Delete,
    Deliver,
    Error,
    GetCard,
    Open,
    Push,
    PutCard,
    Register,
    Results,
    Submit,
    encode,
)
from kurir_wire.gates import OPEN_GATE
from kurir_wire.ids import DAY, HOUR, RelayId
from kurir_wire.proofs import create_message, open_message
from tests.server.helpers import Box, Shop, body
from tests.server.replies import codes_of
from tests.server.rig import START, Rig, Talk


def delivered(frames: list[Push]) -> list[Delivery]:
    return [d for frame in frames if isinstance(frame, Deliver) for d in frame.deliveries]


def open_box(rig: Rig, box: Box, talk: Talk | None = None) -> tuple[Talk, list[Delivery]]:
    talk = talk or rig.connection()
    frames = talk.send(Open(1, [box.opening(rig.nonce)]))
    assert codes_of(frames) == ["ok"]
    return talk, delivered(frames)


# Who may do what


def test_creating_needs_the_read_keys_signature_of_this_connection(rig: Rig) -> None:
    talk = rig.connection()
    box = Box.personal(rig.keys.relay_id, rig.now)
    good = box.new(rig.nonce)
    other_relay = RelayId(bytes(32))
    attempts = [
        box.new(bytes(32)),
        msgspec.structs.replace(good, signature=bytes(64)),
        msgspec.structs.replace(good, gate=secrets.token_bytes(32)),
        msgspec.structs.replace(good, read_pk=bytes(32)),
        NewMailbox(
            good.read_pk,
            good.gate,
            good.born_hour,
            box.key.sign(create_message(other_relay, rig.nonce, box.gate, box.born_hour)),
        ),
    ]
    assert codes_of(talk.send(Create(1, attempts))) == [codes.NOT_AUTHORISED] * len(attempts)
    assert rig.count("mailboxes") == 0
    assert codes_of(talk.send(Create(2, [good, good]))) == ["ok", "ok"]
    assert codes_of(talk.send(Create(3, [good]))) == ["ok"]
    assert rig.count("mailboxes") == 1


def test_the_hour_of_birth_is_this_one_or_a_neighbour(rig: Rig) -> None:
    talk = rig.connection()
    for shift, code in ((-2, codes.STALE), (-1, "ok"), (0, "ok"), (1, "ok"), (2, codes.STALE)):
        box = Box.personal(rig.keys.relay_id, rig.now + shift * HOUR)
        assert codes_of(talk.send(Create(1, [box.new(rig.nonce)]))) == [code]
    # Again, much later: it is there, so this is success.
    box = rig.personal()
    rig.now += 9 * HOUR
    assert codes_of(talk.send(Create(1, [box.new(rig.nonce)]))) == ["ok"]


def test_an_address_comes_only_with_a_business(rig: Rig) -> None:
    box = Box(rig.keys.relay_id, OPEN_GATE, rig.now // HOUR)
    frames = rig.connection().send(Create(1, [box.new(rig.nonce)]))
    assert codes_of(frames) == [codes.NOT_AUTHORISED]


def test_opening_needs_the_stored_key_and_this_nonce(rig: Rig) -> None:
    box, other = rig.personal(), rig.personal()
    stranger = Box.personal(rig.keys.relay_id, rig.now)
    message = open_message(RelayId(bytes(32)), rig.nonce, box.id)
    attempts = [
        box.opening(bytes(32)),
        Opening(box.id, other.key.sign(open_message(rig.keys.relay_id, rig.nonce, box.id))),
        Opening(box.id, box.key.sign(message)),
        Opening(box.id, other.opening(rig.nonce).signature),
        stranger.opening(rig.nonce),
    ]
    frames = rig.connection().send(Open(1, attempts))
    assert codes_of(frames) == [codes.NOT_AUTHORISED] * len(attempts)


def test_what_needs_an_open_mailbox(rig: Rig) -> None:
    box = rig.personal()
    envelope = box.write()
    rig.submit(envelope)
    reader, _ = open_box(rig, box)
    stranger, _ = open_box(rig, rig.personal())
    for talk in (stranger, rig.connection()):
        for request in (
            Acks(1, [Ack(box.id, envelope.envelope_id)]),
            Delete(2, [box.id]),
            PutCard(3, box.id, b"card"),
        ):
            assert codes_of(talk.send(request)) == [codes.NOT_AUTHORISED]
    assert rig.count("envelopes") == 1
    assert codes_of(reader.send(PutCard(3, box.id, b"card"))) == ["ok"]
    assert codes_of(reader.send(Delete(4, [box.id, secrets.token_bytes(32)]))) == [
        "ok",
        codes.NOT_AUTHORISED,
    ]
    assert rig.count("envelopes") == rig.count("cards") == 0
    assert codes_of(reader.send(Acks(5, [Ack(box.id, envelope.envelope_id)]))) == [
        codes.NOT_AUTHORISED
    ]


def test_writing_needs_the_token_and_does_not_tell_what_is_wrong(rig: Rig) -> None:
    box, other = rig.personal(), rig.personal()
    shop = rig.shop()
    good = box.write()
    attempts = [
        msgspec.structs.replace(good, token=other.token),
        msgspec.structs.replace(good, token=bytes(32)),
        msgspec.structs.replace(good, token=None, body=body(4_096)),
        msgspec.structs.replace(good, mailbox_id=secrets.token_bytes(32)),
        msgspec.structs.replace(good, mailbox_id=shop.address.id, token=bytes(32)),
    ]
    frames = rig.connection().send(Submit(1, attempts))
    assert codes_of(frames) == [codes.NO_MAILBOX] * len(attempts)
    (results,) = [frame for frame in frames if isinstance(frame, Results)]
    assert len(set(results.results)) == 1
    assert rig.count("envelopes") == 0


def test_cards_are_fetched_by_token(rig: Rig) -> None:
    box = rig.personal()
    assert box.token is not None
    asks = rig.connection()
    (reply,) = asks.send(GetCard(1, box.id, box.token))
    assert isinstance(reply, Error)
    assert (reply.n, reply.result.code) == (1, codes.NOT_FOUND)
    reader, _ = open_box(rig, box)
    reader.send(PutCard(2, box.id, b"first"))
    reader.send(PutCard(3, box.id, b"second"))
    assert asks.send(GetCard(4, box.id, box.token)) == [CardIs(4, b"second")]
    for mailbox_id, token in ((box.id, bytes(32)), (bytes(32), box.token)):
        (reply,) = asks.send(GetCard(5, mailbox_id, token))
        assert isinstance(reply, Error)
        assert reply.result.code == codes.NO_MAILBOX
    rig.now += 31 * DAY
    (reply,) = asks.send(GetCard(6, box.id, box.token))
    assert isinstance(reply, Error)
    rig.tidy()
    assert rig.count("cards") == 0


# Writing


def test_a_retry_is_harmless_and_other_bytes_are_a_conflict(rig: Rig) -> None:
    box = rig.personal()
    talk = rig.connection()
    one = box.write()
    other = msgspec.structs.replace(one, body=body())
    assert codes_of(talk.send(Submit(1, [one, one, other]))) == ["ok", "ok", codes.CONFLICT]
    assert codes_of(talk.send(Submit(2, [one, other]))) == ["ok", codes.CONFLICT]
    assert rig.count("envelopes") == 1
    elsewhere = rig.personal().write(envelope_id=one.envelope_id)
    assert codes_of(talk.send(Submit(3, [elsewhere]))) == ["ok"]


def test_bodies_have_one_of_the_buckets(rig: Rig) -> None:
    box, shop = rig.personal(), rig.shop()
    talk = rig.connection()
    entries = [box.write(size) for size in (2_048, 2_049, 4_096, 65_535, 65_536)]
    assert codes_of(talk.send(Submit(1, entries))) == [
        "ok",
        codes.MALFORMED,
        "ok",
        codes.MALFORMED,
        "ok",
    ]
    entries = [shop.address.write(size) for size in (2_048, 4_096, 16_384, 65_536)]
    assert codes_of(talk.send(Submit(2, entries))) == [codes.MALFORMED, "ok", "ok", "ok"]


def test_a_full_mailbox(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submitting, "MAX_DEPTH_MAILBOX", 3)
    box = rig.personal()
    entries = [box.write() for _ in range(4)]
    talk = rig.connection()
    assert codes_of(talk.send(Submit(1, entries))) == ["ok", "ok", "ok", codes.FULL]
    assert codes_of(talk.send(Submit(2, entries))) == ["ok", "ok", "ok", codes.FULL]
    rig.ack(box, entries[0].envelope_id)
    assert codes_of(talk.send(Submit(3, entries[3:]))) == ["ok"]
    monkeypatch.setattr(submitting, "MAX_BYTES_MAILBOX", 4 * 2_048)
    monkeypatch.setattr(submitting, "MAX_DEPTH_MAILBOX", 99)
    assert codes_of(talk.send(Submit(4, [box.write(), box.write()]))) == ["ok", codes.FULL]


def test_rates_of_a_connection(rig: Rig) -> None:
    shop, talk = rig.shop(), rig.connection()
    many = [shop.address.write(4_096) for _ in range(120)]
    frames = talk.send(Submit(1, many))
    assert codes_of(frames) == ["ok"] * 100 + [codes.RATE] * 20
    (results,) = [frame for frame in frames if isinstance(frame, Results)]
    waits = [result.retry_after for result in results.results[100:] if result is not None]
    assert waits == [1] * 5 + [2] * 5 + [3] * 5 + [4] * 5, "each in its turn"
    assert {result.left for result in results.results[100:] if result is not None} == {0}
    rig.tick += 4
    assert codes_of(talk.send(Submit(2, many[100:]))) == ["ok"] * 20
    assert codes_of(rig.connection().send(Submit(3, many[:1]))) == ["ok"]


def test_rates_of_a_network(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    def new(count: int) -> Create:
        boxes = [Box.personal(rig.keys.relay_id, rig.now) for _ in range(count)]
        return Create(1, [box.new(rig.nonce) for box in boxes])

    rig.use_up(Deed.CREATE, limits.CREATE_RATE.burst - 2)
    first = rig.connection()
    assert codes_of(first.send(new(3))) == [codes.RATE] * 3
    assert codes_of(first.send(new(2))) == ["ok"] * 2
    assert codes_of(rig.connection().send(new(1))) == [codes.RATE]
    assert codes_of(rig.connection(b"elsewhere").send(new(1))) == ["ok"]
    shop = Shop(rig.keys.relay_id, rig.now)
    register = Register(9, shop.card(), shop.address.new(rig.nonce))
    assert codes_of(first.send(register)) == [codes.RATE]
    rig.tick += 87
    assert codes_of(first.send(register)) == ["ok"]


# Delivery


def test_delivery_is_in_order_and_until_acknowledged(rig: Rig) -> None:
    box = rig.personal()
    early = [box.write() for _ in range(3)]
    rig.submit(*early)
    reader, first = open_box(rig, box)
    assert [d.envelope_id for d in first] == [e.envelope_id for e in early]
    later = [box.write() for _ in range(3)]
    writer = rig.connection()
    writer.send(Submit(1, later))
    assert rig.hub.touched == {reader.connection, writer.connection}
    pushed = delivered(reader.collect())
    assert [d.body for d in pushed] == [e.body for e in later]
    # A new connection gets all again, until it acknowledges.
    second, again = open_box(rig, box)
    assert [d.envelope_id for d in again] == [e.envelope_id for e in early + later]
    acks = [Ack(box.id, e.envelope_id) for e in early + later]
    assert codes_of(second.send(Acks(2, [*acks, acks[0]]))) == ["ok"] * 7
    assert rig.count("envelopes") == 0
    assert open_box(rig, box)[1] == []


def test_the_newer_connection_takes_over(rig: Rig) -> None:
    box = rig.personal()
    old, _ = open_box(rig, box)
    new, _ = open_box(rig, box)
    envelope = box.write()
    rig.connection().send(Submit(1, [envelope]))
    assert delivered(old.collect()) == []
    assert len(delivered(new.collect())) == 1
    # The old one may still acknowledge what it has.
    assert codes_of(old.send(Acks(2, [Ack(box.id, envelope.envelope_id)]))) == ["ok"]
    old.connection.close()
    rig.connection().send(Submit(3, [box.write()]))
    assert len(delivered(new.collect())) == 1
    new.connection.close()
    rig.connection().send(Submit(4, [box.write()]))
    assert rig.hub.read_rows() == []


def test_what_is_not_acknowledged_is_bounded_and_the_rest_drains(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "MAX_UNACKED", 10)
    monkeypatch.setattr(delivery, "DRAIN_ENVELOPES", 4)
    boxes = [rig.personal(), rig.personal()]
    sent: dict[bytes, list[bytes]] = {box.id: [] for box in boxes}

    def submit(count: int) -> None:
        entries = [boxes[index % 2].write() for index in range(count)]
        for entry in entries:
            sent[entry.mailbox_id].append(entry.envelope_id)
        assert set(codes_of(rig.connection().send(Submit(1, entries)))) == {"ok"}

    submit(30)
    reader = rig.connection()
    frames = reader.send(Open(1, [box.opening(rig.nonce) for box in boxes]))
    unacked = delivered(frames)
    seen = list(unacked)
    while unacked:
        assert len(unacked) <= 10
        ack = Ack(unacked[0].mailbox_id, unacked[0].envelope_id)
        del unacked[0]
        got = delivered(reader.send(Acks(2, [ack])))
        if len(seen) == 20:
            submit(20)  # arrivals while others wait do not overtake
            got += delivered(reader.collect())
        unacked += got
        seen += got
    assert len(seen) == 50
    for box in boxes:
        assert [d.envelope_id for d in seen if d.mailbox_id == box.id] == sent[box.id]
    assert rig.count("envelopes") == 0


def test_large_bodies_are_spread_over_frames(rig: Rig) -> None:
    box = rig.personal()
    rig.submit(*(box.write(65_536) for _ in range(20)))
    reader = rig.connection()
    frames = [f for f in reader.send(Open(1, [box.opening(rig.nonce)])) if isinstance(f, Deliver)]
    assert sum(len(frame.deliveries) for frame in frames) == 20
    assert len(frames) > 1


def test_a_failed_read_is_tried_again(rig: Rig) -> None:
    box = rig.personal()
    entry = box.write()
    rig.submit(entry)
    reader = rig.connection()
    reader.connection.receive(encode(Open(1, [box.opening(rig.nonce)])), rig.moment)
    (opening,) = reader.connection.take().jobs
    opening.done(rig.run(lambda rows: opening.run(rows, rig.moment)))
    (reading,) = reader.connection.take().jobs
    reading.done(Failed())
    assert [d.body for d in delivered(reader.collect())] == [entry.body]


def test_too_many_mailboxes(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    from kurir_server import connection

    monkeypatch.setattr(connection, "MAX_OPEN_MAILBOXES", 2)
    talk = rig.connection()
    openings = [rig.personal().opening(rig.nonce) for _ in range(3)]
    assert codes_of(talk.send(Open(1, openings))) == ["ok", "ok", codes.TOO_MANY]
    assert codes_of(talk.send(Open(2, openings[:2]))) == ["ok", "ok"]
    assert codes_of(talk.send(Open(3, openings[2:]))) == [codes.TOO_MANY]


# Ends


def test_lives_end_by_the_hour_and_never_early(rig: Rig) -> None:
    box = rig.personal()
    rig.now += 1
    entry = msgspec.structs.replace(box.write(), life=1)
    rig.submit(entry)
    rig.now += HOUR - 1
    assert len(rig.waiting(box)) == 1
    rig.tidy()
    assert len(rig.waiting(box)) == 1
    rig.now = START + 2 * HOUR
    assert rig.waiting(box) == []
    rig.tidy()
    assert rig.count("envelopes") == 0
    mailbox = rig.run(lambda rows: rows.mailbox(box.id))
    assert mailbox is not None
    assert (mailbox.depth, mailbox.size) == (0, 0)


def test_unused_and_unread_mailboxes_go(rig: Rig) -> None:
    unused, read = rig.personal(), rig.personal()
    rows = {box.id: rig.row(box) for box in (unused, read)}
    open_box(rig, read)
    rig.submit(unused.write())
    rig.now += DAY
    assert rig.tidy() == []
    rig.now += 2 * HOUR
    assert rig.tidy() == [rows[unused.id]]
    assert rig.count("envelopes") == 0
    rig.now = START + 90 * DAY
    assert rig.tidy() == []
    rig.now = START + 92 * DAY
    assert rig.tidy() == [rows[read.id]]


def test_a_mailbox_that_is_open_or_acknowledged_counts_as_read(rig: Rig) -> None:
    box = rig.personal()
    row = rig.row(box)
    open_box(rig, box)
    rig.now += 80 * DAY
    envelope = box.write()
    rig.submit(envelope)
    rig.ack(box, envelope.envelope_id)
    rig.now += 80 * DAY
    assert rig.tidy() == []
    from kurir_server.housekeeping import Step, tidy

    rig.now += 20 * DAY
    step = Step(None, -1)
    done = rig.run(lambda rows: tidy(rows, rig.moment, rig.meter, rig.ledger, step, [row]))
    assert done.gone == []
    rig.now += 80 * DAY
    assert rig.tidy() == []


@pytest.mark.parametrize("how", ["deleted", "taken over"])
def test_a_mailbox_that_is_gone_leaves_its_room_to_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(delivery, "MAX_UNACKED", 2)
    first, second = rig.personal(), rig.personal()
    rig.submit(*(first.write() for _ in range(4)))
    rig.submit(second.write(), second.write())
    talk, got = open_box(rig, first)
    assert len(got) == 2
    if how == "deleted":
        assert codes_of(talk.send(Delete(2, [first.id]))) == ["ok"]
        assert rig.hub.read_rows() == []
    else:
        open_box(rig, first)
    _, got = open_box(rig, second, talk)
    assert [d.mailbox_id for d in got] == [second.id] * 2, "and nothing more of the other"
