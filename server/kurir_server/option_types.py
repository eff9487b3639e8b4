"""Kinds of values on the command line of ``kurir-relay``."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

import click

_UNITS: Final = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]{1,15})(KiB|MiB|GiB|TiB)?", re.ASCII)
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)


class _Size(click.ParamType[int]):
    """Bytes: a whole number with or without a unit."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(str(value))
        if found is None:
            self.fail(f"{value} is no size; give one such as 500MiB or 10GiB", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


class _Database(click.Path):
    """Where a relay keeps its data. Today a file; a URL would name another kind of store, and is
    here told apart from a file of a strange name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        found = _URL.match(str(value))
        if found is not None:
            self.fail(
                f"this kurir-relay keeps its data in a file and knows no {found[1]}; give a path",
                param,
                ctx,
            )
        return Path(os.fsdecode(super().convert(value, param, ctx)))


SIZE: Final = _Size()
DATABASE: Final = _Database(dir_okay=False)
