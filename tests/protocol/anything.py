"""Hypothesis strategies for every struct of the protocol, drawn from its own type hints."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

_FEW = 3
"""Entries of a list: enough to notice order and loss."""


def any_of(type_: Any) -> st.SearchStrategy[Any]:
    """Values that fit a type with its limits."""
    return _strategy(inspect.type_info(type_))


def _strategy(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.IntType():
            return st.integers(info.ge, info.le)
        case inspect.BytesType():
            return _bytes(info.min_length or 0, info.max_length or 100)
        case inspect.StrType():
            # Surrogates have no UTF-8 form.
            letters = st.characters(exclude_categories=["Cs"])
            return st.text(letters, min_size=info.min_length or 0, max_size=info.max_length)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.ListType():
            least = info.min_length or 0
            return st.lists(_strategy(info.item_type), min_size=least, max_size=least + _FEW)
        case inspect.UnionType():
            return st.one_of(*(_strategy(member) for member in info.types))
        case inspect.StructType():
            fields = {f.name: _strategy(f.type) for f in info.fields}
            return st.builds(info.cls, **fields)
    raise AssertionError(f"no strategy for {info}")


def _bytes(least: int, most: int) -> st.SearchStrategy[bytes]:
    if most <= 64:
        return st.binary(min_size=least, max_size=most)
    # Long ones are repeated, so that an example stays small for hypothesis.
    return st.builds(
        lambda seed, length: (seed * (length // len(seed) + 1))[:length],
        st.binary(min_size=1, max_size=8),
        st.sampled_from([least, least + 1, min(most, 4_096)] if most > least else [least]),
    )


def fields_of(struct: msgspec.Struct) -> tuple[str, ...]:
    return type(struct).__struct_fields__
