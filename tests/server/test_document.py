"""docs/protocol.md names every limit, code and frame, with the values of the code."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from kurir_server import limits as relay_limits
from kurir_server.rates import Rate
from kurir_wire import codes
from kurir_wire import limits as wire_limits
from kurir_wire.frames import Push, Request
from tests.server.helpers import ROOT

TEXT = (ROOT / "docs" / "protocol.md").read_text("utf-8")
LIMITS_TEXT = (ROOT / "docs" / "limits.md").read_text("utf-8")
UNTABLED = {"PROTOCOL_VERSION", "SUBPROTOCOL"}


def constants() -> dict[str, Any]:
    found = vars(wire_limits) | vars(relay_limits)
    return {
        name: value
        for name, value in found.items()
        if name.isupper() and not name.startswith("_") and name not in UNTABLED
    }


def spellings(value: Any) -> set[str]:
    """How a value may stand in the table."""
    if isinstance(value, Rate):
        several = {f"{value.per_second:,g}", f"{value.per_second:,.0f}"}
        return {f"{per}, {value.burst:,}" for per in (*several, f"1/{1 / value.per_second:g}")}
    if isinstance(value, tuple):
        return {", ".join(f"{item:,}" for item in value)}
    whole_days = {f"{value // 86_400:,} d"} if value % 86_400 == 0 else set()
    return {f"{value:,}"} | whole_days


def cells() -> dict[str, str]:
    """Name to the cell of its value."""
    table = TEXT.partition("## Limits and rates")[2].partition("\n## ")[0]
    found: dict[str, str] = {}
    for names, values in re.findall(r"^\| ([A-Z_, ]+) \| ([^|]+) \|", table, re.MULTILINE):
        several = names.split(", ")
        parts = values.rsplit(", ", len(several) - 1) if values.count(", ") else [values]
        for index, name in enumerate(several):
            found[name] = parts[index] if len(parts) == len(several) else values
    return found


@pytest.mark.parametrize("name", sorted(constants()))
def test_every_limit_is_in_the_document_with_its_value(name: str) -> None:
    cell = cells()[name].strip()
    assert any(
        re.match(re.escape(spelling) + r"(?![\d,.]*\d)", cell)
        for spelling in spellings(constants()[name])
    ), cell


def test_the_table_names_nothing_else() -> None:
    assert set(cells()) == set(constants())


def test_every_bound_has_a_test_that_exists() -> None:
    """docs/limits.md: each row of its tables names a limit, and tests that there are."""
    written = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    rows = [line for line in LIMITS_TEXT.splitlines() if line.startswith("| ")]
    for row in rows:
        cells_of_row = row.strip("| ").split(" | ")
        if cells_of_row[0] == "what":
            continue
        assert re.search(r"`test_\w+`", cells_of_row[-1]), row
    for name in re.findall(r"`(test_\w+)`", LIMITS_TEXT):
        assert f"def {name}(" in written, name
    named = set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", LIMITS_TEXT))
    assert named <= set(constants())


def test_every_code_and_frame_is_in_the_document() -> None:
    names = [value for name, value in vars(codes).items() if name.isupper()]
    names += [kind.__struct_config__.tag for kind in (*get_args(Request), *get_args(Push))]
    assert [name for name in names if f"`{name}`" not in TEXT and f"`{name} [" not in TEXT] == []
