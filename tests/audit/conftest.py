"""What several of the audit's tests need."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.audit.trace import Bill, Row, bill_file


@pytest.fixture
def bill(tmp_path: Path) -> Bill:
    """Price rows and lists of rows; returns what is printed."""

    def price(tariff: str, *rows: Row | list[Row], more: tuple[str, ...] = ()) -> list[Row]:
        lines = [row for part in rows for row in (part if isinstance(part, list) else [part])]
        return bill_file(tmp_path, tariff, lines, more)

    return price
