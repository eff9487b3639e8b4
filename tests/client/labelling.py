"""Lets a shop of the tests say what its messages are."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from kurir_billing.kinds import Category, Class
from kurir_client import charging
from kurir_client.offers import to_sign

TARIFF = "message-2025"


def label_all(
    monkeypatch: pytest.MonkeyPatch, category: Category = Category.UTILITY, price: int = 0
) -> None:
    """From now on all messages of businesses are sent under this category, as free answers."""

    def labelled(*arguments: Any) -> Any:
        line, *rest = to_sign(*arguments)
        facts = {"category": int(category), "klass": int(Class.IN_WINDOW), "list_price": price}
        return replace(line, tariff=TARIFF, **facts), *rest

    monkeypatch.setattr(charging, "to_sign", labelled)
