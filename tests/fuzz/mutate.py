"""Changing inputs: bytes at random, and by their structure where a format has one.

Every change takes its randomness as an argument, so that a seed gives the same inputs everywhere.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import msgpack

Mutator = Callable[[bytes, Random], bytes]

INTEGERS: Final = (0, 1, 2, 3, 4, 8, 127, 128, 255, 256, 2**16, 2**31, 2**32 - 1, 2**32, 2**63 - 1)
"""Where fields end and kinds change."""
TEXTS: Final = ("", " ", "\0", "\x1b[2J", "\u202e", "é", "OTHER", "ID", "x" * 65, "9" * 400)
_MOST: Final = 4
_TIMES: Final = (1, 1, 1, 2, 4)
"""Mostly one change: what is wrong in two places is refused for the first."""
_LISTS: Final = (*range(0x90, 0xA0), 0xDC, 0xDD)
"""First bytes of a list in msgpack: what a longer field begins with may be packed itself."""


def some_bytes(data: bytes, random: Random) -> bytes:
    """A few changes anywhere."""
    changed = bytearray(data)
    for _ in range(random.randint(1, _MOST)):
        at = random.randrange(len(changed) + 1)
        match random.randrange(7):
            case 0 if changed:
                changed[at % len(changed)] ^= 1 << random.randrange(8)
            case 1 if changed:
                changed[at % len(changed)] = random.randrange(256)
            case 2:
                changed[at:at] = random.randbytes(random.choice((1, 1, 2, 4, 16)))
            case 3:
                del changed[at : at + random.choice((1, 1, 2, 4, 32))]
            case 4:
                size = random.choice((1, 2, 4, 8))
                changed[at : at + size] = (random.choice(INTEGERS) % 256**size).to_bytes(size)
            case 5:
                other = random.randrange(len(changed) + 1)
                changed[at:at] = changed[other : other + random.choice((1, 4, 32))]
            case _:
                del changed[at:]
    return bytes(changed)


def field_at(*borders: int) -> Mutator:
    """For formats of fixed width: change one field and leave its length alone.

    :param borders: where fields begin, ascending
    """

    def change(data: bytes, random: Random) -> bytes:
        starts = [border for border in borders if border < len(data)]
        if not starts:
            return some_bytes(data, random)
        index = random.randrange(len(starts))
        start = starts[index]
        end = starts[index + 1] if index + 1 < len(starts) else len(data)
        field = bytearray(data[start:end])
        match random.randrange(4):
            case 0:
                field[:] = bytes(len(field))
            case 1:
                field[:] = b"\xff" * len(field)
            case 2:
                field[:] = random.randbytes(len(field))
            case _:
                field[random.randrange(len(field))] ^= 1 << random.randrange(8)
        return data[:start] + bytes(field) + data[end:]

    return change


def msgpack_tree(data: bytes, random: Random) -> bytes:
    """Change values of a msgpack structure, also of one that lies packed within it."""
    try:
        value = msgpack.unpackb(data, strict_map_key=False, max_ext_len=0)
        for _ in range(random.choice(_TIMES)):
            value = _changed(value, random)
        packed = msgpack.packb(value)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        return some_bytes(data, random)
    return bytes(packed)


def json_tree(data: bytes, random: Random) -> bytes:
    """Change values of a JSON text, and sometimes its spelling."""
    try:
        value = json.loads(data)
        for _ in range(random.choice(_TIMES)):
            value = _changed(value, random, packed=False)
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    except (ValueError, TypeError, OverflowError, RecursionError):
        return some_bytes(data, random)  # OverflowError: a whole number that no float holds


def of_words(words: Sequence[bytes]) -> Mutator:
    """Put words of a format where they do not belong, or for one another."""

    def change(data: bytes, random: Random) -> bytes:
        word, other = random.choice(words), random.choice(words)
        if other in data and random.random() < 0.5:
            return data.replace(other, word, random.choice((1, -1)))
        at = random.randrange(len(data) + 1)
        return data[:at] + word + data[at + random.choice((0, len(word))) :]

    return change


def _changed(value: Any, random: Random, *, packed: bool = True) -> Any:
    """One change, somewhere within."""
    if random.random() < 0.04:
        return _anything(random, packed=packed)
    match value:
        case list() if value and random.random() < 0.8:
            at = random.randrange(len(value))
            return [*value[:at], _changed(value[at], random, packed=packed), *value[at + 1 :]]
        case list():
            return _changed_list(value, random, packed=packed)
        case dict() if value and random.random() < 0.8:
            name = random.choice(list(value))
            return {**value, name: _changed(value[name], random, packed=packed)}
        case dict():
            named = dict(value)
            if named and random.random() < 0.5:
                del named[random.choice(list(named))]
            else:
                named[random.choice(TEXTS)] = _anything(random, packed=packed)
            return named
        case bytes():
            return _changed_bytes(value, random)
        case bool() | None:
            return _anything(random, packed=packed)
        case int():
            near = (value - 1, value + 1, -1, random.getrandbits(32))
            return random.choice((bool(value), float(value), *near, *INTEGERS))
        case str():
            at = random.randrange(len(value) + 1)
            other = random.choice(TEXTS)
            return random.choice(
                (other, value[:at] + other, value.upper(), value.replace("-", ""), value + "=")
            )
    return _anything(random, packed=packed)


def _changed_list(value: list[Any], random: Random, *, packed: bool) -> list[Any]:
    at = random.randrange(len(value) + 1)
    match random.randrange(5):
        case 0:
            return [*value[:at], _anything(random, packed=packed), *value[at:]]
        case 1 if value:
            return value * random.choice((2, 300 // len(value) + 1))
        case 2:
            return [*value[:at], *value[at : at + 1], *value[at:]]
        case 3:
            return value[:at]
        case _:
            return [*value[:at], *value[at + 1 :]]


def _changed_bytes(value: bytes, random: Random) -> bytes | str:
    if len(value) > 64 and value[0] in _LISTS and random.random() < 0.7:
        return msgpack_tree(value, random)
    match random.randrange(6):
        case 0:
            return value[:-1]
        case 1:
            return value + b"\0"
        case 2:
            return bytes(len(value))
        case 3:
            return b"\xff" * len(value)
        case 4:
            return base64.b64encode(value).decode()
        case _ if value:
            at = random.randrange(len(value))
            return value[:at] + bytes([value[at] ^ 1 << random.randrange(8)]) + value[at + 1 :]
    return value


def _anything(random: Random, *, packed: bool) -> Any:
    kinds: list[Any] = [
        None, True, 1.5, -1, [], {}, [[[[[[[]]]]]]], random.choice(INTEGERS), random.choice(TEXTS)
    ]  # fmt: skip
    if packed:
        kinds += [b"", bytes(32), random.randbytes(random.choice((16, 32, 64)))]
    return random.choice(kinds)
