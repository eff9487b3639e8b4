"""The keys of messages that have not come: which are kept, for how long, and at what cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir_crypto.errors import SkippedTooFarError
from kurir_crypto.kdf import chain_step
from kurir_crypto.skipped import MAX_JUMP, MAX_SKIPPED, check_jump, skip, without

CHAIN = b"c" * 32


def walked(chain: bytes, steps: int) -> tuple[bytes, list[bytes]]:
    """The chain after so many steps, and the keys on the way."""
    keys = []
    for _ in range(steps):
        chain, key = chain_step(chain)
        keys.append(key)
    return chain, keys


def test_the_bounds() -> None:
    """Part of the protocol: docs/protocol.md states them."""
    assert (MAX_SKIPPED, MAX_JUMP) == (2_000, 25_000)


@given(at=st.integers(0, 50), count=st.integers(0, 60), name=st.binary(max_size=32))
def test_the_keys_are_those_of_the_chain(at: int, count: int, name: bytes) -> None:
    chain, keys = walked(CHAIN, count)
    after, kept = skip(CHAIN, name, at, at + count, {})
    assert after == chain
    assert kept == {name + (at + n).to_bytes(4, "big"): key for n, key in enumerate(keys)}


@pytest.mark.parametrize("until", [0, 4, 5])
def test_nothing_is_skipped_backwards(until: int) -> None:
    kept = {b"name": bytes(32)}
    chain, after = skip(CHAIN, b"", 5, until, kept)
    assert (chain, after) == (CHAIN, kept)


def test_what_is_given_stays_as_it_was() -> None:
    before = {b"other": b"k" * 32}
    _, after = skip(CHAIN, b"n", 0, 3, before)
    assert list(before) == [b"other"]
    assert next(iter(after)) == b"other"
    less = without(after, b"other")
    assert b"other" in after
    assert list(less) == list(after)[1:]
    with pytest.raises(KeyError):
        without(less, b"other")


@pytest.mark.parametrize("held", [0, 1, 500, MAX_SKIPPED])
@pytest.mark.parametrize("new", [1, 1_500, MAX_SKIPPED, MAX_SKIPPED + 700])
def test_the_oldest_go_and_the_newest_stay(held: int, new: int) -> None:
    _, before = skip(CHAIN, b"old", 0, held, {})
    _, after = skip(CHAIN, b"new", 0, new, before)
    _, all_new = skip(CHAIN, b"new", max(0, new - MAX_SKIPPED), new, {})
    expected = [*before, *(b"new" + n.to_bytes(4, "big") for n in range(new))][-MAX_SKIPPED:]
    assert list(after) == expected
    assert len(all_new) == min(new, MAX_SKIPPED)


def test_a_jump_that_is_too_far_says_how_far() -> None:
    for count in (-1, 0, 1, MAX_JUMP):
        check_jump(count)
    with pytest.raises(SkippedTooFarError, match=r"25001 messages are missing .* at most 25000"):
        check_jump(MAX_JUMP + 1)
