"""docs/metadata.md is what the declaration says."""

from __future__ import annotations

from pathlib import Path

from kurir_audit.declared_blobs import BLOB_STORE
from kurir_audit.declared_store import STORE
from kurir_audit.declared_together import TOGETHER
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


def test_what_columns_give_together_is_of_columns_that_exist_and_refer_to_it() -> None:
    fields = {
        f"{group.name}.{field.name}": field
        for group in (*STORE, *BLOB_STORE)
        for field in group.fields
    }
    for entry in TOGETHER:
        assert len(set(entry.columns)) == len(entry.columns) > 1
        assert set(entry.columns) <= set(fields)
        assert entry.follows.endswith(".")
        assert entry.lasts
        assert not entry.lasts.endswith(".")
        for column in entry.columns:
            assert fields[column].infers != "nothing by itself", column
    referring = {name for name, field in fields.items() if "give together" in field.infers}
    assert referring <= {column for entry in TOGETHER for column in entry.columns}
    assert "### What columns give together" in render()
