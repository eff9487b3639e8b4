"""Unmasking, checked against the frames of the websockets library."""

from __future__ import annotations

import zlib

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from kurir_audit.capture import Direction, Kind
from kurir_audit.unmask import MAX_PAYLOAD, Handshake, Piece, Unmasker, unmask

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n"
RESPONSE = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
DEFLATED = RESPONSE[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"


def to_relay() -> Unmasker:
    return Unmasker(Direction.TO_RELAY, Handshake())


def frame(opcode: Opcode, data: bytes, mask: bool = True, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=mask)


@given(st.binary(max_size=1_000), st.binary(min_size=4, max_size=4))
def test_unmask_is_its_own_inverse(data: bytes, key: bytes) -> None:
    assert unmask(unmask(data, key), key) == data
    assert unmask(data, key) == bytes(b ^ key[i % 4] for i, b in enumerate(data))


@given(
    st.lists(st.binary(max_size=300) | st.just(b"x" * 70_000), max_size=5),
    st.lists(st.integers(1, 500), min_size=1, max_size=20),
)
def test_any_cut_of_the_stream_gives_the_same_payloads(
    payloads: list[bytes], cuts: list[int]
) -> None:
    stream = REQUEST + b"".join(frame(Opcode.BINARY, data) for data in payloads)
    parser, turn = to_relay(), 0
    pieces: list[Piece] = []
    while stream:
        size = cuts[turn % len(cuts)] * (1 if len(stream) < 5_000 else 200)
        pieces += parser.feed(stream[:size])
        stream = stream[size:]
        turn += 1
    assert pieces == [Piece(Kind.PAYLOAD, 2, data) for data in payloads]
    assert list(parser.finish()) == []


def test_fragments_are_joined_also_around_a_ping() -> None:
    parser = to_relay()
    stream = (
        REQUEST
        + frame(Opcode.TEXT, b"koper", fin=False)
        + frame(Opcode.PING, b"ping")
        + frame(Opcode.CONT, b"nikus")
    )
    assert [(p.kind, p.opcode, p.data) for p in parser.feed(stream)] == [
        (Kind.PAYLOAD, 1, b"koper"),
        (Kind.PAYLOAD, 9, b"ping"),
        (Kind.PAYLOAD, 0, b"nikus"),
        (Kind.MESSAGE, 1, b"kopernikus"),
    ]


def test_compressed_messages_are_inflated_with_and_without_context() -> None:
    for fresh in (False, True):
        parser = Unmasker(Direction.TO_CLIENT, Handshake())
        list(parser.feed(DEFLATED))
        maker = zlib.compressobj(wbits=-15)
        for text in (b"kopernikus " * 5, b"kopernikus " * 9):
            if fresh:
                maker = zlib.compressobj(wbits=-15)
            packed = (maker.compress(text) + maker.flush(zlib.Z_SYNC_FLUSH))[:-4]
            data = bytes([0xC2, len(packed)]) + packed
            assert [(p.kind, p.data) for p in parser.feed(data)] == [
                (Kind.PAYLOAD, packed),
                (Kind.INFLATED, text),
            ]


def test_a_frame_cut_off_by_the_end_is_still_read() -> None:
    parser = to_relay()
    list(parser.feed(REQUEST + frame(Opcode.BINARY, b"kopernikus")[:-3]))
    assert [piece.data for piece in parser.finish()] == [b"koperni"]


def test_what_is_no_websocket_is_noted_once() -> None:
    for junk in (
        b"\x16\x03\x01\x02\x00\x01",
        REQUEST + b"\xf2\x00",
        REQUEST + b"\x82\x7f" + (MAX_PAYLOAD + 1).to_bytes(8, "big"),
        REQUEST + frame(Opcode.BINARY, b"abc").replace(b"\x82", b"\xc2", 1),
    ):
        parser = to_relay()
        pieces = list(parser.feed(junk))
        assert pieces[-1].kind is Kind.NOTE
        assert list(parser.feed(frame(Opcode.BINARY, b"more"))) == []
        assert list(parser.finish()) == []


def test_plain_http_is_neither_frames_nor_a_fault() -> None:
    shake = Handshake()
    assert list(Unmasker(Direction.TO_RELAY, shake).feed(b"GET / HTTP/1.1\r\n\r\n")) == []
    answer = Unmasker(Direction.TO_CLIENT, shake)
    assert list(answer.feed(b"HTTP/1.1 426 Upgrade Required\r\n\r\nno\n")) == []
    assert shake.upgraded is False


@given(st.binary(max_size=400))
def test_no_bytes_break_it(data: bytes) -> None:
    for start in (b"", REQUEST):
        parser = to_relay()
        list(parser.feed(start + data))
        list(parser.finish())
