"""docs/metadata.md is what the declaration says."""

from __future__ import annotations

from pathlib import Path

from kurir_audit.document import render

DOCUMENT = Path(__file__).parents[2] / "docs" / "metadata.md"


def test_the_document_is_up_to_date() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == render(), (
        "run: kurir-audit metadata > docs/metadata.md"
    )


def test_every_table_row_has_as_many_cells_as_its_head() -> None:
    cells = None
    for line in render().splitlines():
        if not line.startswith("|"):
            cells = None
            continue
        count = line.replace("\\|", "").count("|")
        assert count == (cells or count), line
        cells = count
