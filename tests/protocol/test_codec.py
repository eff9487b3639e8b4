"""The decoder: whatever the bytes, a value or a MalformedError, and never much memory."""

from __future__ import annotations

import contextlib
import tracemalloc
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, get_args, get_origin, get_type_hints

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Meta, Struct

from kurir_billing.answers import Receipt, Refusal
from kurir_billing.charge import Charge, Line
from kurir_billing.head import InvoiceHead
from kurir_billing.lane import Lane
from kurir_billing.leaf import Leaf
from kurir_wire import codec, entries, frames
from kurir_wire.cards import BusinessCard, PersonCard, Signed
from kurir_wire.errors import MalformedError, TooLargeError, UnknownFrameError
from kurir_wire.limits import MAX_DEPTH, MAX_FRAME, MAX_ITEMS
from tests.protocol.anything import any_of

FRAMES = [*get_args(frames.Request), *get_args(frames.Push)]
STRUCTS = [
    *FRAMES,
    *(Charge, Lane, Line, Receipt, Refusal, Leaf, InvoiceHead),
    *(BusinessCard, PersonCard, Signed),
]
DECODERS = [frames.decode_request, frames.decode_push]


@pytest.mark.parametrize("type_", STRUCTS)
@settings(max_examples=25)
@given(data=st.data())
def test_round_trip(type_: type[Struct], data: st.DataObject) -> None:
    value = data.draw(any_of(type_))
    assert codec.unpack(codec.pack(value), type_) == value


@pytest.mark.parametrize("type_", get_args(frames.Request))
@settings(max_examples=25)
@given(data=st.data())
def test_requests_come_back_as_themselves(type_: type[Struct], data: st.DataObject) -> None:
    value = data.draw(any_of(type_))
    packed = frames.encode(value)
    found = frames.decode_request(packed)
    assert type(found) is type_
    assert found == value
    with pytest.raises(UnknownFrameError):
        frames.decode_push(packed)


@pytest.mark.parametrize("type_", get_args(frames.Push))
@settings(max_examples=25)
@given(data=st.data())
def test_pushes_come_back_as_themselves(type_: type[Struct], data: st.DataObject) -> None:
    value = data.draw(any_of(type_))
    packed = frames.encode(value)
    found = frames.decode_push(packed)
    assert type(found) is type_
    assert found == value
    with pytest.raises(UnknownFrameError):
        frames.decode_request(packed)


def test_names_of_frames_are_those_of_the_documentation() -> None:
    documented = frames.__doc__ or ""
    names = [type_.__struct_config__.tag for type_ in FRAMES]
    assert len(set(names)) == len(names)
    for name in names:
        assert str(name) in documented.replace(",", " ").replace(".", " ").split(), name


@given(data=st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    for decode in DECODERS:
        with contextlib.suppress(MalformedError):
            decode(data)


msgpack_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(),
        st.text(max_size=20),
        st.binary(max_size=70),
        st.sampled_from([str(type_.__struct_config__.tag) for type_ in FRAMES]),
        st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=4)),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=8), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(value=msgpack_values)
def test_any_msgpack(value: object) -> None:
    data = msgpack.packb(value)
    for type_ in (frames.Request, frames.Push, Charge, Leaf, BusinessCard):
        with contextlib.suppress(MalformedError):
            codec.unpack(data, type_)  # type: ignore[arg-type]


@pytest.mark.parametrize("type_", STRUCTS)
@settings(max_examples=25)
@given(data=st.data())
def test_damaged_frames(type_: type[Struct], data: st.DataObject) -> None:
    good = bytearray(codec.pack(data.draw(any_of(type_))))
    for _ in range(data.draw(st.integers(1, 3))):
        match data.draw(st.sampled_from(["flip", "cut", "insert", "swap"])):
            case "flip" if good:
                # Structure is at the start more often than in the filling.
                place = data.draw(st.integers(0, min(len(good), 60) - 1))
                good[place] = data.draw(st.integers(0, 255))
            case "cut":
                del good[data.draw(st.integers(0, len(good))) :]
            case "insert":
                good += data.draw(st.binary(min_size=1, max_size=3))
            case _:
                place = data.draw(st.integers(0, len(good)))
                good = good[place:] + good[:place]
    damaged = bytes(good)
    with contextlib.suppress(MalformedError):
        codec.unpack(damaged, type_)
    for decode in DECODERS:
        with contextlib.suppress(MalformedError):
            decode(damaged)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x92\xa6beacon",
        b"\x92\xa6beacon\x01\x00",
        b"\x92\xa6beac\xffn\x01",
        b"\x92\xc4\x06beacon\x01",
        b"\x93\xa6beacon\x01\x02",
        b"\x91\xa6beacon",
        b"\x92\xa6beacon\xc3",
        b"\x92\xa6beacon\xff",
        b"\x92\xa6beacon\xa1\x31",
        b"\x92\xa6beacon\xcb\x3f\xf0\0\0\0\0\0\0",
        b"\x92\xa6beacon\xcf\x00\x00\x00\x01\x00\x00\x00\x00",
        b"\x92\xa6beacon\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x81\xa4type\xa6beacon",
        b"\x82\xa4type\xa6beacon\xa1n\x01",
        b"\xa6beacon",
    ],
    ids=lambda data: data.hex()[:40] or "empty",
)
def test_not_a_request(data: bytes) -> None:
    with pytest.raises(MalformedError):
        frames.decode_request(data)


def test_the_smallest_request() -> None:
    assert frames.decode_request(b"\x92\xa6beacon\x01") == frames.GetBeacon(1)


def test_extensions_are_refused_even_where_they_look_like_an_array() -> None:
    # An extension decodes to a pair (number, bytes).
    class Pair(Struct, array_like=True):
        number: int
        data: bytes

    assert codec.unpack(b"\x92\x05\xc4\x00", Pair) == Pair(5, b"")
    for data in (b"\xc7\x00\x05", b"\xd4\x05\x00", b"\xc7\x00\xff", b"\xd6\xff\0\0\0\0"):
        with pytest.raises(MalformedError):
            codec.unpack(data, Pair)


def test_text_does_not_pass_for_bytes() -> None:
    # msgspec would read it as base64, and one frame would have two spellings.
    with pytest.raises(MalformedError):
        codec.unpack(msgpack.packb(["AAAA", "A" * 86 + "=="]), Signed)
    with pytest.raises(MalformedError):
        frames.decode_request(msgpack.packb(["rate_card", 1, "A" * 43 + "="]))


@pytest.mark.parametrize(
    "head",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x05",
        b"\xdc\xff\xff",
        b"\xde\xff\xff",
    ],
    ids=lambda head: head.hex(),
)
@pytest.mark.parametrize("prefix", [b"", b"\x92\xa6beacon", b"\x93\xa6submit\x01\x91"])
def test_declared_lengths_are_not_allocated(head: bytes, prefix: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(MalformedError):
            frames.decode_request(prefix + head)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_frame_size() -> None:
    with pytest.raises(TooLargeError):
        frames.decode_request(bytes(MAX_FRAME + 1))
    with pytest.raises(TooLargeError):
        codec.unpack(b"\xc4\x01a", bytes, limit=2)
    assert codec.unpack(b"\xc4\x01a", bytes, limit=3) == b"a"


def test_list_length() -> None:
    assert codec.decode(codec.pack([0] * MAX_ITEMS)) == [0] * MAX_ITEMS
    with pytest.raises(MalformedError):
        codec.decode(codec.pack([0] * (MAX_ITEMS + 1)))
    with pytest.raises(MalformedError):
        codec.decode(codec.pack({str(n): 0 for n in range(MAX_ITEMS + 1)}))


def lists_in(hint: object, limit: int | None = None) -> Iterator[int | None]:
    """The limits of all lists within a type; ``None`` for one without."""
    if get_origin(hint) is Annotated:
        inner, *extras = get_args(hint)
        limits = [extra.max_length for extra in extras if isinstance(extra, Meta)]
        yield from lists_in(inner, next((found for found in limits if found is not None), None))
        return
    if get_origin(hint) is list:
        yield limit
    for part in get_args(hint):
        yield from lists_in(part)


@pytest.mark.parametrize("type_", STRUCTS)
def test_every_list_has_a_limit_of_its_own(type_: type[Struct]) -> None:
    # What is decoded at once is bounded by its type and by nothing else.
    for name, hint in get_type_hints(type_, include_extras=True).items():
        assert all(limit is not None and limit <= MAX_ITEMS for limit in lists_in(hint)), name
        assert "dict" not in repr(hint), name
        assert "Any" not in repr(hint), name


@given(data=st.data())
def test_at_once_accepts_nothing_else_than_in_two_steps(data: st.DataObject) -> None:
    packed = bytearray(codec.pack(data.draw(any_of(data.draw(st.sampled_from(STRUCTS))))))
    for _ in range(data.draw(st.integers(0, 3))):
        place = data.draw(st.integers(0, len(packed) - 1))
        packed[place] = data.draw(st.integers(0, 255))
    changed = bytes(packed)
    for type_ in (frames.Request, frames.Push, *STRUCTS):
        found: object = codec.at_once(changed, codec.decoder_of(type_))
        if found is not None:
            assert codec.validate(codec.decode(changed), type_) == found


def test_depth() -> None:
    def nested(depth: int) -> bytes:
        return b"\x91" * (depth - 1) + b"\x90"

    codec.decode(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 600, 100_000):
        with pytest.raises(MalformedError):
            codec.decode(nested(depth))
        with pytest.raises(MalformedError):
            codec.unpack(nested(depth), frames.Submit)
    with pytest.raises(MalformedError):
        codec.decode(b"\x81\xa1a" * MAX_DEPTH + b"\x90")


def test_the_deepest_frame_fits() -> None:
    data = b"\x93\xa6submit\x01\x91\x94\xc4\x20" + bytes(32) + b"\xc4\x10" + bytes(16)
    data += b"\xc5\x08\x00" + bytes(2_048) + b"\x01"
    found = frames.decode_request(data)
    assert isinstance(found, frames.Submit)
    assert found.submissions[0].life == 1


def test_errors_never_quote_the_content() -> None:
    secret = "do not log this"
    for value in ([secret, 1], [secret], ["beacon", secret], ["put_card", 1, secret, b""]):
        with pytest.raises(MalformedError) as caught:
            frames.decode_request(msgpack.packb(value))
        assert secret not in str(caught.value)
        assert len(str(caught.value)) < 300


def test_a_name_that_is_none_of_several_is_not_quoted() -> None:
    class Colour(StrEnum):
        RED = "red"

    with pytest.raises(MalformedError) as caught:
        codec.unpack(codec.pack("do not log this"), Colour)
    assert str(caught.value) == "an unknown value"


def test_unknown_frames_are_told_from_malformed_ones() -> None:
    with pytest.raises(UnknownFrameError):
        frames.decode_request(msgpack.packb(["later", 1]))
    with pytest.raises(MalformedError) as caught:
        frames.decode_request(msgpack.packb(["beacon", -1]))
    assert type(caught.value) is MalformedError


@pytest.mark.parametrize("length", [0, 2_047, 2_049, 4_095, 32_768, 65_535])
def test_only_buckets(length: int) -> None:
    with pytest.raises(MalformedError):
        entries.check_bucket(bytes(length))


@pytest.mark.parametrize("length", [2_048, 4_096, 16_384, 65_536])
def test_buckets(length: int) -> None:
    entries.check_bucket(bytes(length))


@pytest.mark.parametrize("life", [0, 721, -1])
def test_life_is_bounded(life: int) -> None:
    submission = entries.Submission(bytes(32), bytes(16), bytes(2_048), life)
    with pytest.raises(MalformedError):
        frames.decode_request(frames.encode(frames.Submit(1, [submission])))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_ids_have_their_length(size: int) -> None:
    with pytest.raises(MalformedError):
        frames.decode_request(frames.encode(frames.GetBusiness(1, bytes(size))))


def test_requests_are_not_empty() -> None:
    for empty in (
        frames.Create(1, []),
        frames.Open(1, []),
        frames.Delete(1, []),
        frames.Submit(1, []),
        frames.Acks(1, []),
    ):
        with pytest.raises(MalformedError):
            frames.decode_request(frames.encode(empty))


def test_fifteen_of_the_largest_envelopes_fit_a_frame() -> None:
    delivery = entries.Delivery(bytes(32), bytes(16), bytes(65_536), None)
    assert len(frames.encode(frames.Deliver([delivery] * 15))) <= MAX_FRAME
    small = entries.Delivery(bytes(32), bytes(16), bytes(2_048), None)
    assert len(frames.encode(frames.Deliver([small] * MAX_ITEMS))) <= MAX_FRAME


def test_bombs_take_no_memory() -> None:
    """Large counts, deep nests, and a megabyte of tiny lists: refused before they are built."""
    few, many = b"\xdc\x01\x00", 256
    bombs = [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * MAX_FRAME,
        b"\x9e" + (few + (few + b"\x90" * many) * many) * 14,
        b"\x9e" + (few + (few + b"\x80" * many) * many) * 14,
        b"\x9e" + (few + (few + b"\x91\xc0" * 120) * many) * 14,
    ]
    for bomb in bombs:
        tracemalloc.start()
        with pytest.raises(MalformedError):
            codec.decode(bomb[:MAX_FRAME])
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1_048_576, bomb[:8]


def test_lists_are_counted_at_any_depth() -> None:
    inner: list[list[int]] = [[]] * 250
    assert codec.decode(codec.pack([inner] * 4)) == [inner] * 4
    with pytest.raises(MalformedError):
        codec.decode(codec.pack([inner] * 5))
    with pytest.raises(MalformedError):
        codec.decode(codec.pack([[{} for _ in range(250)]] * 5))
