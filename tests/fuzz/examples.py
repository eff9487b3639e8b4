"""One well-formed value of any struct of the protocol, made from its type hints."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import inspect

from tests.protocol.make import b32

_LENGTH: Final = 16
"""Bytes or letters where a type leaves the length open."""


def example(type_: Any, *, full: bool) -> Any:
    """:param full: with a value in each place that may stay empty"""
    return _example(inspect.type_info(type_), type_.__name__, full)


def _example(info: inspect.Type, name: str, full: bool) -> Any:
    match info:
        case inspect.IntType():
            return max(info.ge or 0, 1)
        case inspect.BytesType():
            length = info.min_length if info.min_length else min(info.max_length or 0, _LENGTH)
            return (b32(name) * (length // 32 + 1))[:length]
        case inspect.StrType():
            return "ID" if full else "x" * (info.min_length or 0)
        case inspect.BoolType():
            return full
        case inspect.NoneType():
            return None
        case inspect.ListType():
            count = 2 if full else info.min_length or 0
            return [_example(info.item_type, f"{name} {n}", full) for n in range(count)]
        case inspect.UnionType():
            some = [one for one in info.types if not isinstance(one, inspect.NoneType)]
            return _example(some[0], name, full) if full or len(some) == len(info.types) else None
        case inspect.StructType():
            fields = {f.name: _example(f.type, f"{name} {f.name}", full) for f in info.fields}
            made: msgspec.Struct = info.cls(**fields)
            return made
    raise AssertionError(f"no example of {info}")
