"""What a fuzzing target is: a decoder, what it may raise, and what must hold of all it accepts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from kurir_wire import codec
from kurir_wire.cards import DIRECTION_MARKS
from tests.fuzz.mutate import Mutator

CORPUS: Final = Path(__file__).parent / "corpus"
VALID: Final = "valid-"
"""Begins the name of a sample that has to be accepted; all others have only to be survived."""

MAX_FILES: Final = 40
"""Samples of one target."""

Errors: TypeAlias = type[Exception] | tuple[type[Exception], ...]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """One decoder, or a few that take the same bytes.

    :ivar run: given any bytes, returns whether they were accepted; raises where a promise is broken
    :ivar samples: makes valid inputs, by name, for the corpus
    :ivar mutators: ways to change an input that fit its format
    :ivar words: what the format has to say, for the dictionary
    :ivar mutations: how many changed inputs the plain test tries
    """

    name: str
    run: Callable[[bytes], bool]
    samples: Callable[[], Mapping[str, bytes]]
    mutators: tuple[Mutator, ...]
    words: tuple[bytes, ...] = ()
    max_bytes: int = 16_384
    mutations: int = 2_000

    @property
    def folder(self) -> Path:
        return CORPUS / self.name

    def corpus(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if path.is_file())


def attempt(errors: Errors, decode: Callable[[], T]) -> T | None:
    """The value, or None if it was refused by a documented error. Any other error goes through."""
    try:
        return decode()
    except errors as error:
        check_text(error)
        return None


def check_again(data: bytes, again: bytes) -> None:
    """What was decoded says what the bytes said: the same values of the same types, in one
    spelling. At the end of a list there may be more, as what stayed away has a default."""
    assert _agree(codec.decode(data), codec.decode(again))


def _agree(value: object, again: object) -> bool:
    if isinstance(value, list) and isinstance(again, list):
        return len(value) <= len(again) and all(map(_agree, value, again))
    return type(value) is type(again) and value == again


def check_text(error: Exception) -> None:
    """What a person reads of an error is a sentence, and cannot play tricks on a terminal."""
    text = str(error)
    assert text.strip(), type(error)
    assert len(text) < 1_000, f"an error of {len(text)} characters"
    assert not any(
        not character.isprintable() or character in DIRECTION_MARKS for character in text
    ), ascii(text)
