"""Profiles as earlier versions of kurir left them."""

from __future__ import annotations

from typing import Final

from kurir_client.store import Store

_NEW_IN_3: Final = {
    "contact": ("entry_permit", "refuses", "refusal_told"),
    "outbox": ("category", "not_before"),
}
_NEW_IN_2: Final = {
    "contact": ("wants_session", "asked_at", "card_at"),
    "prekey": ("retired_on",),
    "invite": ("prekey",),
    "session": ("archived",),
}


def to_version_2(store: Store) -> None:
    """Without categories, evidence and reports."""
    _without(store, _NEW_IN_3, "pass", "ticket", "entry", "reportable", "adjustment")
    store.put("schema", b"2")


def to_version_1(store: Store) -> None:
    """Without what heals sessions, and without a ledger."""
    to_version_2(store)
    _without(store, _NEW_IN_2, "checkpoint", "envelope_key", "former_session")
    store.put("schema", b"1")


def _without(store: Store, columns: dict[str, tuple[str, ...]], *tables: str) -> None:
    for table in tables:
        store._run(f"DROP TABLE {table}")
    for table, names in columns.items():
        for name in names:
            store._run(f"ALTER TABLE {table} DROP COLUMN {name}")
