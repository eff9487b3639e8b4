"""Databases of older versions, brought forward in one transaction when a relay starts."""

from __future__ import annotations

import secrets
import sqlite3
from typing import Final

from kurir_billing.leaf import open_leaf
from kurir_billing.ledger import entry_hash
from kurir_billing.party import Party
from kurir_server.errors import DatabaseError
from kurir_server.store.mailboxes import pad_of
from kurir_server.store.places import ROW_BITS, place_of
from kurir_server.store.schema import (
    CHARGE_SUMS,
    ENVELOPES,
    EVIDENCE,
    INVOICES,
    LEDGER,
    PADDING,
    REPORTS,
    SCHEMA_VERSION,
)
from kurir_server.store.sums import sum_of
from kurir_wire.codec import pack
from kurir_wire.errors import WireError
from kurir_wire.ids import RelayId

LEDGER_VERSION: Final = 2
"""Since which there is a ledger."""


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
        if version is not None and 1 <= version < SCHEMA_VERSION:
            for step in _STEPS[version - 1 :]:
                step(connection)
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
    """Who is approved stands on invoices with the certified name; no more is known."""
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


def _add_evidence(connection: sqlite3.Connection) -> None:
    """No window is remembered as open. Businesses go on as they were, without signed terms
    and without a limit on starts, until the operator approves them again. Envelopes that are there
    now count as whole."""
    for tables in (EVIDENCE, REPORTS, CHARGE_SUMS):
        _add(connection, tables)
    connection.execute("ALTER TABLE envelopes ADD COLUMN sum BLOB")
    connection.create_function("sum_of", -1, sum_of, deterministic=True)
    connection.execute(
        "UPDATE envelopes SET sum = sum_of(mailbox, n, id, expires_hour, charge, body)"
    )
    connection.execute(
        "UPDATE charges SET sum = sum_of(hash, accepted_hour, private_hash, body) "
        "WHERE body IS NOT NULL"
    )


def _to_three(connection: sqlite3.Connection) -> None:
    """2 to 3: see :func:`_add_evidence` and :func:`_add_invoices`."""
    _add_evidence(connection)
    _add_invoices(connection)


def _put_in_place(connection: sqlite3.Connection) -> None:
    """3 to 4: mailboxes get shorter rows and count anew; what waits keeps its order, and what is
    not as it was written stays so. Envelopes and cards of no mailbox, which nobody can have, go."""
    _add(connection, PADDING)
    mailboxes = connection.execute(
        "SELECT row, depth, size, debt, handed_n FROM mailboxes"
    ).fetchall()
    taken = {row for row, *_ in mailboxes}
    connection.execute("DROP INDEX envelopes_by_id")
    connection.execute("ALTER TABLE envelopes RENAME TO old_envelopes")
    _add(connection, ENVELOPES)
    for row, *counters, handed_n in mailboxes:
        while (new_row := secrets.randbits(ROW_BITS)) in taken:
            pass
        taken.add(new_row)
        new_n = new_handed_n = 0
        for n, *values, total in connection.execute(
            """SELECT n, id, expires_hour, charge, body, sum FROM old_envelopes
            WHERE mailbox = ? ORDER BY n""",
            (row,),
        ):
            new_n += 1
            new_handed_n += n <= handed_n
            place = place_of(new_row, new_n)
            new_total = sum_of(place, *values) if total == sum_of(row, n, *values) else None
            connection.execute(
                "INSERT INTO envelopes VALUES (?, ?, ?, ?, ?, ?)", (place, *values, new_total)
            )
        connection.execute(
            "UPDATE mailboxes SET row = ?, next_n = ?, handed_n = ?, pad = ? WHERE row = ?",
            (
                new_row,
                new_n + 1,
                new_handed_n,
                pad_of(new_n + 1, *counters, new_handed_n),
                row,
            ),
        )
        connection.execute("UPDATE cards SET mailbox = ? WHERE mailbox = ?", (new_row, row))
    connection.execute("DELETE FROM cards WHERE mailbox NOT IN (SELECT row FROM mailboxes)")
    connection.execute("DROP TABLE old_envelopes")


def _forget_seconds(connection: sqlite3.Connection) -> None:
    """4 to 5: a retry of a charge that was accepted before gets a receipt that names the start of
    the hour, as any does after a restart."""
    connection.execute("DROP TABLE accepted_seconds")


_STEPS: Final = (_add_ledger, _to_three, _put_in_place, _forget_seconds)
"""From each version to the next, from 1 on."""


def _meta(connection: sqlite3.Connection, key: str) -> str | None:
    found = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return str(found[0]) if found else None
