"""msgpack within limits, then validation against a type.

``msgpack`` bounds what is allocated; ``msgspec`` checks types, lengths and field counts. A decoder
in this package raises :class:`MalformedError` and nothing else, whatever the bytes.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgpack
import msgspec

from kurir_wire.errors import MalformedError, TooLargeError
from kurir_wire.limits import MAX_DEPTH, MAX_FRAME, MAX_ITEMS

T = TypeVar("T")


def pack(value: Any) -> bytes:
    """Encode a struct, list or scalar as msgpack. Structs become arrays."""
    return _encoder.encode(value)


def unpack(data: bytes, type_: type[T], *, limit: int = MAX_FRAME) -> T:
    """Decode and validate.

    :param limit: the most bytes accepted
    :raises TooLargeError: more than ``limit`` bytes
    :raises MalformedError: anything else that is wrong; the text names the place, never the content
    """
    if len(data) > limit:
        raise TooLargeError(f"{len(data)} bytes where at most {limit} are allowed")
    try:
        value = msgpack.unpackb(
            data,
            use_list=True,
            raw=False,
            strict_map_key=True,
            max_bin_len=limit,
            max_str_len=limit,
            max_array_len=MAX_ITEMS,
            max_map_len=MAX_ITEMS,
            max_ext_len=0,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MalformedError("not valid msgpack, or longer than a list may be") from error
    if _depth_exceeds(value, MAX_DEPTH):
        raise MalformedError(f"nested deeper than {MAX_DEPTH}")
    try:
        return msgspec.convert(value, type_)
    except (msgspec.ValidationError, UnicodeError) as error:
        raise MalformedError(str(error)) from error


def _depth_exceeds(value: object, limit: int) -> bool:
    if isinstance(value, list):
        return limit == 0 or any(_depth_exceeds(item, limit - 1) for item in value)
    if isinstance(value, dict):
        return limit == 0 or any(_depth_exceeds(item, limit - 1) for item in value.values())
    return False


_encoder = msgspec.msgpack.Encoder()
