"""Transcripts: any file is a conversation, and every word of it is searched for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir_client.demo.disguise import disguise
from kurir_client.demo.transcript import lines_of, read_transcript, search_terms
from kurir_client.errors import UsageError


def test_the_bundled_transcript_books_a_seat() -> None:
    assert any("3A" in line for line in read_transcript(None))


@given(st.binary(max_size=300))
def test_any_bytes_are_lines(data: bytes) -> None:
    assert all("\n" not in line for line in lines_of(data))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        read_transcript(tmp_path / "none")


def test_lines_words_and_words_without_punctuation_are_searched_for() -> None:
    terms = search_terms(["Thank you, Ayu!\n  code MB-42"])
    assert {"Thank you, Ayu!", "you,", "you", "Ayu", "code MB-42", "MB-42", "42"} <= set(terms)


@given(st.text())
def test_a_disguise_keeps_the_length_and_comes_off(text: str) -> None:
    worn = disguise(text)
    assert len(worn.encode()) == len(text.encode())
    assert disguise(worn) == text


@given(
    st.text(alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1)
)
def test_a_disguise_changes_every_letter_and_digit(text: str) -> None:
    assert all(one != other for one, other in zip(text, disguise(text), strict=True))
