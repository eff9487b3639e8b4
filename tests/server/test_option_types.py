"""Values on the command line of kurir-relay: told apart, or refused with what to do."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from kurir_server.option_types import DATABASE, SIZE


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("65536", 65_536), ("1KiB", 1_024), ("500MiB", 500 << 20), ("2TiB", 2 << 40)],
)
def test_sizes(text: str, value: int) -> None:
    assert SIZE.convert(text, None, None) == value
    assert SIZE.convert(value, None, None) == value


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5GiB", "1GB", "5 MiB", "MiB", "\u0661MiB", "1e9", "9" * 16]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(click.BadParameter, match="give one such as 500MiB"):
        SIZE.convert(text, None, None)


def test_a_database_is_a_path_and_no_url(tmp_path: Path) -> None:
    assert DATABASE.convert(str(tmp_path / "relay.db"), None, None) == tmp_path / "relay.db"
    assert DATABASE.convert("a:b/c.db", None, None) == Path("a:b/c.db")
    for url in ("postgresql://host/name", "SQLite:///x", "postgres+tls://h"):
        with pytest.raises(click.BadParameter, match="give a path"):
            DATABASE.convert(url, None, None)
    with pytest.raises(click.BadParameter):
        DATABASE.convert(str(tmp_path), None, None)
