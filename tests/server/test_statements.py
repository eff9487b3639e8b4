"""How often the database is asked for plain messages."""

from __future__ import annotations

from kurir_server.rows import Rows
from kurir_wire.entries import Ack
from tests.server.rig import NETWORK, Rig

MESSAGES = 8


def test_a_message_is_written_and_removed_and_its_mailbox_written_once_a_batch(rig: Rig) -> None:
    box = rig.personal()
    row = rig.row(box)
    rig.run(lambda rows: rig.reading.open(rows, rig.moment, rig.nonce, [box.opening(rig.nonce)]))
    entries = [box.write() for _ in range(MESSAGES)]

    def submit(rows: Rows) -> None:
        for entry in entries:  # a request each
            rig.submitting.submit(rows, rig.moment, [entry], NETWORK, lambda row: False)

    def acknowledge(rows: Rows) -> None:
        for entry in entries:
            rig.reading.ack(rows, rig.moment, [(row, Ack(box.id, entry.envelope_id))])

    said: list[str] = []
    rig.store.connection.set_trace_callback(said.append)
    rig.run(submit)
    rig.run(acknowledge)
    rig.store.connection.set_trace_callback(None)
    assert [statement.split()[0] for statement in said] == [
        *("BEGIN", "PRAGMA", *["INSERT"] * MESSAGES, "UPDATE", "COMMIT"),
        *("BEGIN", "PRAGMA", *["SELECT", "DELETE"] * MESSAGES, "UPDATE", "COMMIT"),
    ]
    mailbox = rig.run(lambda rows: rows.mailbox_at(row))
    assert mailbox is not None
    assert (mailbox.next_n, mailbox.depth, mailbox.size) == (MESSAGES + 1, 0, 0)
