"""``kurir`` of a business that calls all its messages utility: ``python -m tests.e2e.labelled``.

It differs from ``kurir`` only in the line that it signs.
"""

from __future__ import annotations

import pytest

from kurir_client import cli
from tests.client.labelling import label_all

if __name__ == "__main__":
    label_all(pytest.MonkeyPatch())
    cli.main()
