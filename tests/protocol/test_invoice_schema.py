"""The published JSON Schema: what the relay's invoices are, and what none is."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from kurir_billing.invoice import Invoice
from kurir_billing.invoice_file import from_json, schema, to_json
from tests.frauds.world import world
from tests.protocol.test_invoice_file import invoices

SCHEMA = json.loads(schema())
VALIDATOR = Draft202012Validator(SCHEMA)
VALUE = json.loads(to_json(world(flat=True).honest))


def test_it_is_a_schema_and_what_is_published() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    published = Path(__file__).parents[2] / "docs" / "invoice.schema.json"
    assert published.read_bytes() == schema(), (
        "run: kurir invoice schema > docs/invoice.schema.json"
    )


def test_a_whole_invoice() -> None:
    VALIDATOR.validate(VALUE)
    assert VALUE["adjustments"]
    assert VALUE["charged"]


@settings(deadline=None, max_examples=60)
@given(invoices())
def test_every_file_that_there_can_be(invoice: Invoice) -> None:
    VALIDATOR.validate(json.loads(to_json(invoice)))


def copy() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(json.dumps(VALUE))
    return value


def objects(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of all objects, one of each list."""
    found = []
    if isinstance(value, dict):
        found.append(path)
        for name, inner in value.items():
            found += objects(inner, (*path, name))
    elif isinstance(value, list) and value:
        found += objects(value[0], (*path, 0))
    return found


@pytest.mark.parametrize("path", objects(VALUE), ids=str)
def test_no_field_may_be_missing_or_added_or_be_something_else(path: tuple[Any, ...]) -> None:
    """The reader and the schema refuse the same."""

    def refused(change: Callable[[dict[str, Any]], object]) -> None:
        value = copy()
        place: Any = value
        for step in path:
            place = place[step]
        change(place)
        assert not VALIDATOR.is_valid(value)
        with pytest.raises(Exception, match=": "):
            from_json(json.dumps(value).encode())

    here: Any = VALUE
    for step in path:
        here = here[step]
    refused(lambda place: place.update(more=1))
    for name in here:
        refused(lambda place, name=name: place.pop(name))  # type: ignore[misc]
        refused(lambda place, name=name: place.update({name: 1.5}))  # type: ignore[misc]
        refused(lambda place, name=name: place.update({name: True}))  # type: ignore[misc]


@pytest.mark.parametrize(
    "change",
    [
        {"format": "kurir-invoice/2"},
        {"currency": "EUR"},
        {"month": "2026-13"},
        {"number": "2026-01-0123abcd-0"},
        {"total_micro_usd": -1},
        {"total_micro_usd": "1"},
        {"total_micro_usd": 2**63},
        {"relay": "AA" * 32},
        {"signature": "AAAA"},
        {"certificate": "A"},
        {"checkpoint": ""},
        {"growth": ["00" * 32] * 65},
        {"charged": ["x"]},
        {"buyer": {"legal_name": "", "address": [], "tax_id": None, "notes": []}},
        {"buyer": {"legal_name": "x" * 65, "address": [], "tax_id": None, "notes": []}},
        {"buyer": {"legal_name": "x", "address": ["x"] * 7, "tax_id": None, "notes": []}},
    ],
)
def test_values_that_none_has(change: dict[str, Any]) -> None:
    assert not VALIDATOR.is_valid(VALUE | change)


def test_lines() -> None:
    for change in ({"class": "free"}, {"category": "news"}, {"lane": 0}, {"market": "TOOLONG99"}):
        value = copy()
        value["lines"][0].update(change)
        assert not VALIDATOR.is_valid(value)
