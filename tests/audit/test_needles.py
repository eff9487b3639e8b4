"""Needles: all spellings, and a filter that loses nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kurir_audit.needles import Haystack, Needle, needles_of, surroundings


def test_spellings() -> None:
    assert {needle.data for needle in needles_of(["Ab"])} == {
        b"Ab",
        b"A\0b\0",
        b"\0A\0b",
        b"ab",
        b"a\0b\0",
        b"\0a\0b",
    }
    assert b"\\u00e9" in {needle.data for needle in needles_of(["é"])}
    assert len(needles_of(["x", "x"])) == 3


@given(st.binary(max_size=60), st.binary(min_size=1, max_size=8), st.binary(max_size=60))
def test_the_filter_never_loses_a_needle(before: bytes, word: bytes, after: bytes) -> None:
    hay = Haystack(before + word + after)
    needle = Needle("w", "utf-8", word)
    assert hay.candidates([needle]) == [needle]
    offsets = [at for places in hay.occurrences(word).values() for at in places]
    assert len(before) in offsets


@given(st.binary(max_size=300), st.text(min_size=3, max_size=6))
def test_the_filter_keeps_nothing_that_is_absent(data: bytes, term: str) -> None:
    hay = Haystack(data)
    kept = hay.candidates(needles_of([term]))
    assert all(n.data[:4] in data for n in kept if len(n.data) >= 4)


@given(st.binary(max_size=100), st.binary(min_size=1, max_size=10), st.binary(max_size=100))
def test_surroundings_hold_the_occurrence(before: bytes, word: bytes, after: bytes) -> None:
    data = before + word + after
    around = surroundings(data, len(before), len(before) + len(word))
    assert around.endswith(word)


def test_surroundings_tell_uses_apart_and_not_numbers() -> None:
    def around(data: bytes, word: bytes = b"open") -> bytes:
        at = data.index(word)
        return surroundings(data, at, at + len(word))

    assert around(b'{"time": "1", "event": "open"}') == b', "event": "open'
    assert around(b'{"time": "2", "event": "open"}') == b', "event": "open'
    assert around(b'{"time": "2", "text": "open"}') != b', "event": "open'
    assert around(b"\x07\x93\xa4open\xcd\x01") == b"\x93\xa4open"
    assert around(b"after 3 s open") == around(b"after 14 s open") == b"after 0 s open"
