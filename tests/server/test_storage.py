"""The database: its settings, what it refuses to open, and what is gone when it is deleted."""

from __future__ import annotations

import secrets
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from kurir_server.errors import DatabaseError, StorageError
from kurir_server.limits import BUSY_MILLISECONDS
from kurir_server.rows import Rows
from kurir_server.store import Store, opening
from kurir_wire.entries import Ack, Submission
from kurir_wire.ids import HOUR, EnvelopeId
from tests.server.helpers import Box
from tests.server.rig import START, Rig


def test_the_settings_are_what_the_document_says(rig: Rig) -> None:
    assert rig.store.settings() == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "DELETE"), ("synchronous", "NORMAL"), ("secure_delete", "OFF")],
)
def test_a_relay_does_not_start_with_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pragma: str, value: str
) -> None:
    """As on a file system that has no shared memory, or with an SQLite that knows better."""
    db = tmp_path / "relay.db"
    Store.create(db, bytes(32)).close()
    settle = opening.settle

    def settle_otherwise(connection: sqlite3.Connection) -> None:
        settle(connection)
        connection.execute(f"PRAGMA {pragma} = {value}").fetchall()

    monkeypatch.setattr(opening, "settle", settle_otherwise)
    with pytest.raises(DatabaseError, match="does not keep what the relay promises"):
        Store.open(db)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="there is no database"):
        Store.open(tmp_path / "none.db")
    noise = tmp_path / "noise.db"
    noise.write_bytes(secrets.token_bytes(8_192))
    with pytest.raises(DatabaseError, match="cannot use"):
        Store.open(noise)
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(DatabaseError, match="cannot use"):
        Store.open(empty)
    db = tmp_path / "relay.db"
    Store.create(db, bytes(32)).close()
    assert stat.S_IMODE(db.stat().st_mode) == 0o600
    with pytest.raises(DatabaseError, match="exists already"):
        Store.create(db, bytes(32))
    store = Store.open(db)
    store.connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema_version'")
    store.close()
    with pytest.raises(DatabaseError, match="of a newer kurir-relay"):
        Store.open(db)


def test_a_transaction_is_whole_or_nothing(rig: Rig) -> None:
    row = rig.row(rig.personal())

    def lose(error: Exception) -> None:
        def work(rows: Rows) -> None:
            rows.delete_mailbox(row)
            raise error

        with pytest.raises(type(error)):
            rig.store.transact(work)

    lose(StorageError("SQLITE_FULL"))
    lose(KeyError())
    assert rig.count("mailboxes") == 1
    assert not rig.store.connection.in_transaction


def test_errors_of_sqlite_are_named_without_values(rig: Rig) -> None:
    box = rig.personal()
    mailbox = rig.run(lambda rows: rows.mailbox(box.id))
    assert mailbox is not None
    with pytest.raises(StorageError) as caught:
        rig.run(lambda rows: rows.add_mailbox(box.id, mailbox.read_pk, mailbox.gate, 1))
    assert str(caught.value) == "SQLITE_CONSTRAINT_UNIQUE"
    other = sqlite3.connect(rig.store._path, isolation_level=None, timeout=0)
    other.execute("BEGIN IMMEDIATE")
    rig.store.connection.execute("PRAGMA busy_timeout = 1")
    with pytest.raises(StorageError, match="SQLITE_BUSY"):
        rig.personal()
    other.close()
    rig.personal()


def everywhere(rig: Rig) -> bytes:
    """All bytes in the database, its log and its shared memory."""
    return b"".join(path.read_bytes() for path in rig.store._path.parent.glob("rig.db*"))


def marked(box: Box, number: int, size: int) -> Submission:
    """A body that is found again: sixteen bytes of its own at every 64."""
    mark = b"MARK" + number.to_bytes(4, "big") + b"kurircanary!"
    body = b"".join(mark + secrets.token_bytes(44) for _ in range(size // 64))
    return Submission(box.id, secrets.token_bytes(16), body, 24, box.token)


@pytest.mark.parametrize("how", ["acknowledged", "deleted", "expired"])
def test_what_is_deleted_is_gone_from_every_file(rig: Rig, how: str) -> None:
    boxes = [rig.personal() for _ in range(3)]
    gone, kept = boxes[:2], boxes[2]
    sizes = (2_048, 4_096, 16_384, 65_536)
    sent = [(box, marked(box, number, sizes[number % 4])) for number, box in enumerate(boxes * 12)]
    for _, entry in sent:
        assert rig.submit(entry) == [None]
    rig.store.checkpoint()
    found = everywhere(rig)
    for _, entry in sent:
        assert entry.body[:20] in found, "the search is not blind"
        assert entry.envelope_id in found
    removed = [entry for box, entry in sent if box is not kept]
    match how:
        case "acknowledged":
            for entry in removed:
                box = next(box for box in gone if box.id == entry.mailbox_id)
                assert rig.ack(box, entry.envelope_id) is None
        case "deleted":
            rows = [rig.row(box) for box in gone]
            rig.run(lambda db: rig.mailboxes.delete(db, rows))
        case _:
            for row in [rig.row(box) for box in boxes]:
                rig.run(lambda db, row=row: db.keep_mailbox(row, START // HOUR + 99))  # type: ignore[misc]
            rig.now += 24 * HOUR
            rig.tidy()
            assert rig.count("mailboxes") == 3
            removed = [entry for _, entry in sent]
    rig.store.checkpoint()
    left = everywhere(rig)
    for entry in removed:
        assert entry.body[:20] not in left
        assert entry.body[-64:-44] not in left
        assert entry.envelope_id not in left
    if how in ("acknowledged", "deleted"):
        for _, entry in sent:
            assert (entry.body[:20] in left) is (entry.mailbox_id == kept.id)
    assert b"kurircanary!" in left or how == "expired"
    if how == "deleted":
        for box in gone:
            assert box.key.public not in left
            assert bytes(box.id) not in left


def test_what_is_gone_before_a_checkpoint_is_gone_after_it(rig: Rig) -> None:
    """Written and removed within one life of the write-ahead log."""
    box = rig.personal()
    entries = [marked(box, number, 4_096) for number in range(20)]
    assert rig.submit(*entries) == [None] * 20
    row = rig.row(box)
    acks = [(row, Ack(box.id, entry.envelope_id)) for entry in entries]
    rig.run(lambda rows: rig.reading.ack(rows, rig.moment, acks))
    assert b"kurircanary!" in everywhere(rig), "still in the log"
    rig.store.checkpoint()
    assert b"kurircanary!" not in everywhere(rig)
    assert rig.run(lambda rows: rows.envelope_body(row, EnvelopeId(entries[0].envelope_id))) is None


def test_a_backup_that_reads_keeps_the_log_from_being_cut_and_nobody_waiting(rig: Rig) -> None:
    box = rig.personal()
    assert rig.submit(marked(box, 1, 4_096)) == [None]
    row = rig.row(box)
    with closing(sqlite3.connect(rig.store.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM envelopes").fetchone()
        rig.run(lambda rows: rig.mailboxes.delete(rows, [row]))
        rig.store.checkpoint()
        assert b"kurircanary!" in everywhere(rig), "the reader may still want it"
        timeout = rig.store.connection.execute("PRAGMA busy_timeout").fetchone()[0]
        assert timeout == BUSY_MILLISECONDS, "other commands are waited for as before"
    rig.store.checkpoint()
    assert b"kurircanary!" not in everywhere(rig)
