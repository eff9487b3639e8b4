"""Whatever bytes come: documented error frames, never an exception, and nobody else disturbed."""

from __future__ import annotations

from collections.abc import Iterator

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kurir_server.work import Failed
from kurir_wire import codes
from kurir_wire.codec import pack
from kurir_wire.frames import (
    Create,
    Deliver,
    Error,
    Open,
    Push,
    Request,
    Results,
    Submit,
    decode_push,
    encode,
)
from kurir_wire.limits import MAX_FRAME, MAX_TEXT_DETAIL
from tests.server.helpers import Box, Shop
from tests.server.one_of_each import one_of_each
from tests.server.rig import Rig, rig_in

CODES = {
    value
    for name, value in vars(codes).items()
    if isinstance(value, str) and not name.startswith("_") and value != codes.__doc__
}
RULES = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class World:
    """A rig with one of everything, shared by all examples: what a frame does must not hurt."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.box: Box = rig.personal()
        self.shop: Shop = rig.shop()
        paid, opening = rig.customer(self.shop)
        signed = rig.charge(self.shop, paid, opening, self.shop.line(is_open=False))
        requests: list[Request] = list(one_of_each(rig, self.box, self.shop).values())
        self.frames = [encode(one) for one in (*requests, Submit(7, [signed.submission]))]
        self.witness_box = rig.personal()
        self.witness = rig.connection(b"witness")
        self.witness.send(Open(1, [self.witness_box.opening(rig.nonce)]))

    def give(self, data: bytes | str) -> list[Push]:
        """One message to a connection that has opened and proved; faults are not hidden."""
        self.rig.hub.networks.prune(float("inf"))
        talk = self.rig.proved(self.shop)
        talk.send(Open(1, [self.box.opening(self.rig.nonce)]))
        talk.connection.receive(data, self.rig.moment)
        pushed: list[Push] = []
        while True:
            output = talk.connection.take()
            pushed += [decode_push(frame) for frame in output.frames]
            if not (output.jobs or output.blob_jobs):
                talk.connection.close()
                return pushed
            for blob_job in output.blob_jobs:
                self.rig.do_blobs(blob_job)
            for job in output.jobs:
                job.done(self.rig.run(lambda rows: job.run(rows, self.rig.moment)))  # noqa: B023

    def check(self, pushed: list[Push]) -> None:
        """Exactly one reply, with documented codes."""
        replies = [push for push in pushed if not isinstance(push, Deliver)]
        assert len(replies) == 1, replies
        (reply,) = replies
        if isinstance(reply, Error):
            assert reply.result.code in CODES - {codes.OK, codes.UNAVAILABLE}
            assert len(reply.result.detail) <= MAX_TEXT_DETAIL
        if isinstance(reply, Results):
            assert {r.code for r in reply.results if r is not None} <= CODES - {codes.UNAVAILABLE}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with rig_in(tmp_path_factory.mktemp("malformed")) as rig:
        yield World(rig)


def test_the_codes_are_those_of_the_document() -> None:
    assert len(CODES) == 14


@RULES
@given(data=st.binary(max_size=300))
def test_random_bytes(world: World, data: bytes) -> None:
    (reply,) = world.give(data)
    assert isinstance(reply, Error)
    world.check([reply])


@RULES
@given(text=st.text(max_size=50))
def test_text(world: World, text: str) -> None:
    (reply,) = world.give(text)
    assert isinstance(reply, Error)
    assert (reply.n, reply.result.code) == (None, codes.MALFORMED)


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=True)
    | st.binary(max_size=70)
    | st.text(max_size=40)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@RULES
@given(data=st.data())
def test_a_known_name_with_anything_after_it(world: World, data: st.DataObject) -> None:
    frame = data.draw(st.sampled_from(world.frames))
    name = msgpack.unpackb(frame)[0]
    tail = data.draw(st.lists(values, max_size=6))
    n = data.draw(st.none() | st.integers(0, 2**33) | values)
    world.check(world.give(msgpack.packb([name, n, *tail])))


@RULES
@given(data=st.data())
def test_valid_frames_with_bytes_changed(world: World, data: st.DataObject) -> None:
    frame = bytearray(data.draw(st.sampled_from(world.frames)))
    for _ in range(data.draw(st.integers(1, 4))):
        match data.draw(st.integers(0, 3)):
            case 0:
                # Near the front stand names, lengths and types.
                end = data.draw(st.sampled_from([8, 40, len(frame) - 1]))
                frame[data.draw(st.integers(0, min(end, len(frame) - 1)))] ^= data.draw(
                    st.integers(1, 255)
                )
            case 1:
                del frame[data.draw(st.integers(1, max(1, len(frame) - 1))) :]
            case 2:
                frame += data.draw(st.binary(min_size=1, max_size=8))
            case _:
                at = data.draw(st.integers(0, len(frame)))
                frame[at:at] = data.draw(st.binary(min_size=1, max_size=8))
    world.check(world.give(bytes(frame)))


def paths(value: object, here: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    yield here
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*here, index))


@RULES
@given(data=st.data())
def test_valid_frames_with_one_value_replaced(world: World, data: st.DataObject) -> None:
    value = msgpack.unpackb(data.draw(st.sampled_from(world.frames)))
    path = data.draw(st.sampled_from([path for path in paths(value) if path and path != (0,)]))
    *parents, last = path
    target = value
    for index in parents:
        target = target[index]
    match data.draw(st.integers(0, 2)):
        case 0:
            target[last] = data.draw(values)
        case 1:
            del target[last]
        case _:
            target.insert(last, data.draw(values))
    world.check(world.give(msgpack.packb(value)))


@RULES
@given(data=st.data())
def test_charges_with_one_value_replaced(world: World, data: st.DataObject) -> None:
    frame = msgpack.unpackb(world.frames[-1])
    charge = msgpack.unpackb(frame[2][0][5])
    path = data.draw(st.sampled_from([path for path in paths(charge) if path]))
    *parents, last = path
    target = charge
    for index in parents:
        target = target[index]
    target[last] = data.draw(values)
    frame[2][0][5] = msgpack.packb(charge)[:2_048] or b"\0"
    world.check(world.give(msgpack.packb(frame)))


def test_after_all_of_that_the_others_are_as_they_were(world: World) -> None:
    rig = world.rig
    entry = world.witness_box.write()
    rig.connection().send(Submit(1, [entry]))
    (pushed,) = world.witness.collect()
    assert isinstance(pushed, Deliver)
    assert [d.body for d in pushed.deliveries] == [entry.body]


def test_bombs(world: World) -> None:
    """Large counts, deep nests, extensions: refused before they are built."""
    for data in (
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\x91" * 100_000 + b"\xc0",
        b"\xc7\x00\x05",
        b"\xd4\x01\x00",
        b"\x92\xa6submit\xdd\x00\x10\x00\x00" + b"\xc0" * 0x100000,
        b"",
    ):
        (reply,) = world.give(data[: MAX_FRAME + 1])
        assert isinstance(reply, Error)
        assert reply.result.code in (codes.MALFORMED, codes.TOO_LARGE)
    (reply,) = world.give(bytes(MAX_FRAME + 1))
    assert isinstance(reply, Error)
    assert reply.result.code == codes.TOO_LARGE


def test_the_number_is_repeated_where_it_can_be_read(rig: Rig) -> None:
    talk = rig.connection()
    for n, repeated in (
        (5, 5),
        (0, 0),
        (2**32 - 1, 2**32 - 1),
        (2**32, None),
        (-1, None),
        (True, None),
        (5.0, None),
        ("5", None),
        (None, None),
    ):
        (reply,) = talk.raw(pack(["beacon", n, "too much"]))
        assert isinstance(reply, Error)
        assert (reply.n, reply.result.code) == (repeated, codes.MALFORMED)
    (reply,) = talk.raw(pack(["beacon"]))
    assert isinstance(reply, Error)
    assert reply.n is None


def test_errors_never_quote_what_came(rig: Rig) -> None:
    word = "canary-word"
    for data in (
        pack([word, 1]),
        pack([word]),
        pack(["beacon", word]),
        pack(["submit", 1, word]),
        pack(["create", 1, [[word]]]),
        pack(["get_card", 1, word.encode(), word]),
        pack({word: word}),
        pack(word),
        word.encode(),
    ):
        talk = rig.connection()
        talk.connection.receive(data, rig.moment)
        (frame,) = talk.connection.take().frames
        assert word.encode() not in frame


def test_a_connection_that_is_gone_stays_silent(rig: Rig) -> None:
    """Its work is done, nobody is told, and a late answer of the disk hurts nobody."""
    box = rig.personal()
    talk = rig.connection()
    requests: list[Request] = [
        Open(1, [box.opening(rig.nonce)]),
        Submit(2, [box.write()]),
        Create(3, [Box.personal(rig.keys.relay_id, rig.now).new(rig.nonce)]),
    ]
    for request in requests:
        talk.connection.receive(encode(request), rig.moment)
    jobs = talk.connection.take().jobs
    talk.connection.close()
    for job, fails in zip(jobs, (False, True, False), strict=True):
        job.done(Failed() if fails else rig.run(lambda rows: job.run(rows, rig.moment)))  # noqa: B023
    assert rig.hub.read_rows() == []
    assert rig.hub.touched == set()
    assert rig.count("mailboxes") == 2
