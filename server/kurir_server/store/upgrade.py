"""Databases of older versions, brought forward in one transaction when a relay starts."""

from __future__ import annotations

import sqlite3

from kurir_billing.leaf import open_leaf
from kurir_billing.ledger import entry_hash
from kurir_billing.party import Party
from kurir_server.errors import DatabaseError
from kurir_server.store.schema import INVOICES, LEDGER, SCHEMA_VERSION
from kurir_wire.codec import pack
from kurir_wire.errors import WireError
from kurir_wire.ids import RelayId


def version_of(connection: sqlite3.Connection) -> int | None:
    """The schema version that a database says it has."""
    value = _meta(connection, "schema_version")
    return int(value) if value is not None and value.isdecimal() else None


def upgrade(connection: sqlite3.Connection) -> None:
    """Bring an older database to the present version; one of any other version stays as it is.

    :raises DatabaseError: it holds something that the version that wrote it never wrote
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = version_of(connection)
        if version == 1:
            _add_ledger(connection)
        if version in (1, 2):
            _add_invoices(connection)
            connection.execute(
                "UPDATE meta SET value = ? WHERE key = 'schema_version'", (str(SCHEMA_VERSION),)
            )
        connection.execute("COMMIT")
    except WireError as error:
        raise DatabaseError(
            f"a settled charge cannot be brought forward: {error}", "restore it from a backup"
        ) from error
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _add_ledger(connection: sqlite3.Connection) -> None:
    """1 to 2: every leaf there is waits for the tree; housekeeping closes their days one by one."""
    _add(connection, LEDGER)
    relay_id = RelayId(bytes.fromhex(_meta(connection, "relay_id") or ""))
    connection.executemany(
        "INSERT INTO pending VALUES (?, ?)",
        (
            (day, entry_hash(open_leaf(leaf), relay_id))
            for day, leaf in connection.execute("SELECT settled_day, leaf FROM leaves")
        ),
    )


def _add_invoices(connection: sqlite3.Connection) -> None:
    """2 to 3: who is approved stands on invoices with the certified name; no more is known."""
    _add(connection, INVOICES)
    connection.executemany(
        "INSERT INTO parties VALUES (?, ?)",
        [
            (business, pack(Party(legal_name)))
            for business, legal_name in connection.execute(
                "SELECT id, legal_name FROM businesses WHERE legal_name IS NOT NULL"
            )
        ],
    )


def _add(connection: sqlite3.Connection, tables: str) -> None:
    for statement in tables.split(";"):
        connection.execute(statement)


def _meta(connection: sqlite3.Connection, key: str) -> str | None:
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(found[0]) if found else None
