"""The JSON twins of :mod:`kurir_audit.views`: all of it, in order."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from kurir_audit.canary import Outcome
from kurir_audit.declaration import Field
from kurir_audit.inventory import Inventory
from kurir_audit.stored import Stored, meta_purpose


def dump(value: dict[str, Any]) -> str:
    """As it goes to standard output."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def inventory_json(inventory: Inventory) -> dict[str, Any]:
    """The inventory."""
    return {
        "tables": [
            {
                "name": table.name,
                "about": table.about,
                "rows": table.rows,
                "columns": [
                    {"name": column.name, "bytes": column.bytes, **_field(column.field)}
                    for column in table.columns
                ],
            }
            for table in inventory.tables
        ],
        "indexes": [asdict(index) for index in inventory.indexes],
        "unknown": list(inventory.unknown),
        "missing": list(inventory.missing),
        "file_bytes": inventory.file_bytes,
    }


def stored_json(stored: Stored) -> dict[str, Any]:
    """What a relay stored and logged."""
    return {
        "tables": [
            {
                "name": table.name,
                "about": table.about,
                "fields": [{"name": name, **_field(field)} for name, field in table.fields],
                "keys": {row[0]: _field(meta_purpose(row[0])) for row in table.rows}
                if table.name == "meta"
                else {},
                "rows": [
                    {name: value for (name, _), value in zip(table.fields, row, strict=True)}
                    for row in table.rows
                ],
            }
            for table in stored.tables
        ],
        "log": list(stored.log),
    }


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """The outcome of a canary search."""
    return {
        "clean": outcome.exit_code == 0,
        "blind": list(outcome.blind),
        "exit_code": outcome.exit_code,
        "terms": list(outcome.terms),
        "exact_terms": outcome.exact_terms,
        "searches": outcome.searches,
        "has_baseline": outcome.has_baseline,
        "threshold": outcome.threshold,
        "places": [{"name": name, "bytes": size} for name, size in outcome.places],
        "leaks": [asdict(finding) for finding in outcome.leaks],
        "unjudged": [asdict(finding) for finding in outcome.unjudged],
        "findings": [asdict(finding) for finding in outcome.findings],
        "controls": [{**asdict(control), "found": control.found} for control in outcome.controls],
    }


def _field(field: Field | None) -> dict[str, Any]:
    if field is None:
        return {"declared": False}
    return {
        "declared": True,
        "purpose": field.purpose.value,
        "why": field.why,
        "retention": field.retention,
        "infers": field.infers,
    }
