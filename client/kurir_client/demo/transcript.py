"""Transcripts: any text file, one line typed after the other; and the words to search for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Final

from kurir_client.errors import UsageError

BUNDLED: Final = "transcript.txt"
MAX_FILE: Final = 8 * 1_048_576
"""Bytes of a transcript: far more than anybody waits for."""


def read_transcript(path: Path | None) -> list[str]:
    """The lines of a file, or of the bundled one. Bytes that are no UTF-8 become U+FFFD.

    :raises UsageError: the file cannot be read, or is too large
    """
    if path is None:
        file = resources.files("kurir_client.demo").joinpath(BUNDLED)
        return lines_of(file.read_bytes())
    try:
        with path.open("rb") as file_:
            data = file_.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", "name a text file") from error
    if len(data) > MAX_FILE:
        raise UsageError(
            f"{path} has more than {MAX_FILE} bytes", "a transcript is a conversation, not a book"
        )
    return lines_of(data)


def lines_of(data: bytes) -> list[str]:
    """Lines as a person would type them: without line ends; blank ones stay, to be passed over."""
    text = data.decode("utf-8-sig", errors="replace")
    lines = re.split(r"\r\n|\r|\n", text)
    if lines and not lines[-1]:
        lines.pop()
    return lines


def search_terms(texts: Iterable[str]) -> list[str]:
    """Everything that must not be found: each line whole, and each of its words, with and without
    the punctuation around it."""
    terms: dict[str, None] = {}
    for text in texts:
        for line in text.splitlines():
            # A line of a drawing has no words, and each of its marks is a character of its own.
            terms.setdefault(line.strip())
            for word in line.split():
                if any(character.isalnum() for character in word):
                    terms.setdefault(word)
                    terms.update(dict.fromkeys(re.findall(r"[^\W_]+", word)))
    # What has nothing to see is no word: a NUL stands in every unused byte of a database.
    return [term for term in terms if any(c.isprintable() and c != " " for c in term)]
