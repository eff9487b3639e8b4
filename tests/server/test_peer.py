"""What waits to be sent, over a wire that takes as it likes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from kurir_server.limits import DRAIN_BYTES, HAND_OVER_BYTES, STALL_SECONDS
from kurir_server.peer import Outboxes, Peer


class Wire:
    """Takes ``left`` bytes, then is full until there is room again."""

    def __init__(self, left: int = 0) -> None:
        self.left = left
        self.peer: Peer | None = None
        self.calls: list[list[bytes]] = []
        self.said: tuple[int, str] | None = None
        self.was_cut = False
        self.waits = 0

    @property
    def is_full(self) -> bool:
        return self.left <= 0

    @property
    def sent(self) -> list[bytes]:
        return [frame for call in self.calls for frame in call]

    def hand_over(self, frames: Sequence[bytes]) -> bool:
        assert not self.is_full
        assert self.said is None
        self.calls.append(list(frames))
        self.left -= sum(map(len, frames))
        return not self.is_full

    def say_goodbye(self, code: int, reason: str) -> None:
        assert self.said is None
        self.said = code, reason
        if self.peer is not None:
            self.peer.forget()

    def untaken(self) -> int:
        return self.waits

    def cut(self) -> None:
        self.was_cut = True


def pair(left: int = 0) -> tuple[Wire, Peer, Outboxes]:
    wire, outboxes = Wire(left), Outboxes(lambda: 0.0)
    wire.peer = Peer(wire, b"net", outboxes)
    return wire, wire.peer, outboxes


def test_small_frames_go_in_one_call_and_large_ones_do_not() -> None:
    wire, peer, outboxes = pair(10**9)
    small = [bytes(100)] * 50
    peer.emit(small)
    assert wire.calls == [small]
    assert (peer.size, outboxes.size) == (0, 0)
    half = bytes(HAND_OVER_BYTES // 2)
    peer.emit([half] * 5)
    assert [len(call) for call in wire.calls] == [50, 2, 2, 1]


def test_what_the_wire_does_not_take_waits_with_us() -> None:
    wire, peer, outboxes = pair(1)
    large = bytes(HAND_OVER_BYTES)
    peer.emit([large] * 3, (1000, "bye"))
    assert wire.sent == [large], "the rest could not be dropped"
    assert peer.size == outboxes.size == 3 * HAND_OVER_BYTES, "the first is not taken either"
    wire.left = 1
    peer.go_on()
    assert peer.size == 2 * HAND_OVER_BYTES
    assert wire.said is None
    peer.drop()
    assert wire.was_cut
    assert (peer.size, outboxes.size) == (0, 0)
    wire.left = 10**9
    peer.go_on()
    peer.emit([large])
    assert wire.sent == [large] * 2
    assert wire.said is None


def test_who_takes_again_may_be_sent_more_at_once() -> None:
    """Even from within the call that says so, and in order."""
    wire, peer, outboxes = pair(1)
    first, second = [b"1" * DRAIN_BYTES] * 2, [b"2" * DRAIN_BYTES] * 2
    told = []

    def more() -> None:
        told.append(peer.size)
        if len(told) == 1:
            peer.emit(second)

    peer.on_taking = more
    peer.emit(first)
    for _ in range(4):
        wire.left = 1
        peer.go_on()
    assert wire.sent == first + second
    wire.left = 1
    peer.go_on()
    assert told == [0, 0]
    assert (peer.size, outboxes.size) == (0, 0)


def test_silence_before_a_frame_is_no_stall() -> None:
    now = [0.0]
    wire, outboxes = Wire(10**9), Outboxes(lambda: now[0])
    peer = wire.peer = Peer(wire, b"net", outboxes)
    for _ in range(3):
        now[0] += 10 * STALL_SECONDS
        wire.waits = 0
        outboxes.look()
        assert len(outboxes) == 0
        peer.emit([bytes(10)])
        wire.waits = 10
        outboxes.look()
        now[0] += STALL_SECONDS - 1
        outboxes.look()
        assert not wire.was_cut
    now[0] += 1
    outboxes.look()
    assert wire.was_cut
    assert len(outboxes) == 0


STEPS = st.lists(
    st.one_of(
        st.lists(st.integers(1, 2 * HAND_OVER_BYTES), max_size=5),
        st.integers(0, 4 * HAND_OVER_BYTES),
    )
)


@given(STEPS, st.booleans())
def test_everything_goes_in_order_and_is_counted(
    steps: list[list[int] | int], closes: bool
) -> None:
    wire, peer, outboxes = pair()
    frames: list[bytes] = []
    for step in steps:
        if isinstance(step, list):
            some = [bytes([number % 256]) * size for number, size in enumerate(step)]
            frames += some
            peer.emit(some)
        else:
            was_full, wire.left = wire.is_full, max(wire.left, step)
            if was_full and not wire.is_full:
                peer.go_on()
        assert wire.sent == frames[: len(wire.sent)]
        waits = sum(map(len, frames[len(wire.sent) :]))
        # And perhaps what filled the wire.
        last = sum(map(len, wire.calls[-1])) if wire.calls and wire.is_full else 0
        assert peer.size in (waits, waits + last)
        assert outboxes.size == peer.size
    if closes:
        peer.emit([], (1000, "bye"))
    while wire.is_full and (peer.size or (closes and wire.said is None)):
        wire.left = 1
        peer.go_on()
    assert wire.sent == frames
    assert wire.said == ((1000, "bye") if closes else None)
    assert (peer.size, outboxes.size) == (0, 0)
