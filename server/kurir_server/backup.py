"""Backups, and putting one in place of a database that is lost.

A backup is of one moment. What came after it is lost with the database, and two things must not
follow from that: beacons that go back, and a ledger that contradicts what the relay has signed. So
time goes on from now; and where a day has ended since, whose checkpoint others may hold, the ledger
is brought forward from an export, or the operator says that it is lost.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from kurir_server import inspection
from kurir_server.errors import ConfigError, DatabaseError
from kurir_server.files import new_file, sync
from kurir_server.keys import RelayKeys
from kurir_server.recovery import Recovered, bring_forward, read_export
from kurir_server.rows import Rows
from kurir_server.startup import only_one
from kurir_server.writer import inspected, offline, upgraded
from kurir_wire.ids import DAY, MINUTE, EnvelopeId

BESIDE = ("", "-wal", "-shm")
"""What SQLite keeps beside a database: put in another's place they would damage it."""


@dataclass(frozen=True, slots=True)
class Restored:
    """``made_at``: relay time of the backup, in seconds. ``former``: where the former database is
    now, if there was one."""

    made_at: int
    recovered: Recovered
    former: Path | None


def make(db: Path, target: Path) -> int:
    """Write a backup of a database, also while its relay runs.

    :returns: relay time in it, in seconds
    :raises ConfigError: the target exists or cannot be written
    :raises StorageError: the database cannot be read, or is damaged
    """
    with offline(db) as store, new_file(target) as partial:
        store.copy_to(partial)
    with inspected(target) as copy:
        return (copy.backup_minute or 0) * MINUTE


def restore(
    backup: Path,
    db: Path,
    keys: RelayKeys,
    now: int,
    *,
    ledger: Path | None = None,
    after_loss: bool = False,
    replace: bool = False,
) -> Restored:
    """Put a backup in place as ``db``.

    :param now: the machine's time, in seconds
    :param ledger: an export of the ledger that is newer than the backup
    :param after_loss: the ledger's days since the backup are lost
    :param replace: there is a database; it is moved aside
    :raises ConfigError: a relay runs on the database, there is one, the backup is of another relay,
        or a day has ended since it was made
    :raises DatabaseError: not a backup, or damaged
    """
    former = db.with_name(db.name + ".former")
    with ExitStack() as stack:
        if db.exists():
            stack.enter_context(only_one(db))
            if not replace:
                raise ConfigError(
                    f"{db} exists", "if it is to be replaced, give --replace: it is moved aside"
                )
            if former.exists():
                raise ConfigError(
                    f"{former} exists already: the database before the last restore",
                    "move it away, or remove it if nothing in it is needed any more",
                )
        prepared = db.with_name(db.name + ".restored")
        prepared.unlink(missing_ok=True)
        with new_file(prepared) as partial:
            if not backup.is_file():
                raise DatabaseError(f"there is no backup {backup}")
            shutil.copyfile(backup, partial)
            made_at, recovered = _prepare(partial, backup, keys, now, ledger, after_loss=after_loss)
        existed = db.exists()
        if existed:
            # The database first: without it no relay starts, should this be interrupted.
            for suffix in BESIDE:
                there = db.with_name(db.name + suffix)
                if there.exists():
                    there.replace(former.with_name(former.name + suffix))
        prepared.replace(db)
        sync(db.parent)
    return Restored(made_at, recovered, former if existed else None)


def _prepare(
    partial: Path, backup: Path, keys: RelayKeys, now: int, ledger: Path | None, *, after_loss: bool
) -> tuple[int, Recovered]:
    """All that a backup needs to become a database, done to a copy of it."""
    with upgraded(partial) as store:
        minute = store.backup_minute
        if minute is None:
            raise DatabaseError(
                f"{backup} was not made with kurir-relay backup",
                f"make a backup of it, and restore that: kurir-relay backup --db {backup} OUT",
            )
        if store.relay_id != keys.relay_id:
            raise ConfigError(
                "the backup belongs to another relay than the keys", "give its keys with --keys"
            )
        with store.reading():
            wrong = store.damage(full=True)
            wrong = wrong or inspection.counts(store.checks)
            wrong = wrong or inspection.tree(store.rows, store.checks, keys)
            wrong = wrong or inspection.leaves(store.rows, store.checks, keys)
            waiting = {
                charge: (row, EnvelopeId(envelope_id))
                for charge, row, envelope_id in store.checks.metered()
            }
        if wrong:
            raise DatabaseError(f"{backup} is damaged: {wrong[0]}", "give an older backup")
        recovered = Recovered()
        if ledger is not None:
            parts = read_export(ledger)

            def work(rows: Rows) -> Recovered:
                return bring_forward(rows, parts, keys, waiting, now)

            recovered = store.transact(work)
        made_at = minute * MINUTE
        _check_loss(made_at, recovered, now, after_loss=after_loss)
        store.put_in_place(now // MINUTE)
        store.checkpoint()
    return made_at, recovered


def _check_loss(made_at: int, recovered: Recovered, now: int, *, after_loss: bool) -> None:
    """Nothing was signed since that the ledger would contradict, as far as can be known here."""
    today = now // DAY
    if today <= made_at // DAY or after_loss:
        return
    if recovered.last_day is not None and recovered.last_day >= today - 1:
        return
    raise ConfigError(
        "a day has ended since the backup was made, and the relay may have signed a checkpoint of "
        "the ledger that this backup knows nothing of",
        "give the newest export of the ledger with --ledger FILE. If there is none, or no charge "
        "has settled since, --after-loss goes on from the backup: should businesses hold a later "
        "checkpoint, what this relay signs next proves to them that its ledger lost charges",
    )
