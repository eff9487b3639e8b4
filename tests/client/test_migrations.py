"""Profiles of every earlier version are brought forward, once, with all that they hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kurir_client.schema import SCHEMA_VERSION
from kurir_client.store import Store
from tests.client.older import to_version_1, to_version_2
from tests.client.pair import Pair

KEY = bytes(32)


def shape(store: Store) -> dict[str, set[tuple[object, ...]]]:
    """Columns of each table, whatever their order."""
    tables = store._all("SELECT name FROM sqlite_master WHERE type = 'table'")
    return {
        str(table): {tuple(row[1:]) for row in store._all(f"PRAGMA table_info({table})")}
        for (table,) in tables
    }


@pytest.mark.parametrize("older", [to_version_1, to_version_2])
def test_an_older_profile_gets_the_shape_of_a_new_one(
    tmp_path: Path, older: Callable[[Store], None]
) -> None:
    file = tmp_path / "store.db"
    made = Store.create(file, KEY)
    expected = shape(made)
    with made.transaction():
        older(made)
        made.put("kept", b"as it was")
    assert shape(made) != expected
    made.close()
    for _ in range(2):
        store = Store.open(file, KEY)
        assert shape(store) == expected
        assert store.get("schema") == str(SCHEMA_VERSION).encode()
        assert store.get("kept") == b"as it was"
        store.close()


def test_a_business_of_version_2_answers_its_customers(pair: Pair) -> None:
    """What it knew of them is kept: a window that was open still is."""
    _, siti = pair.open_shop()
    permit = siti.permit
    with pair.bob.store.transaction():
        to_version_2(pair.bob.store)
    pair.bob = pair.reopen(pair.bob)
    (again,) = pair.bob.store.contacts()
    assert (again.permit, again.entry_permit) == (permit, None)
