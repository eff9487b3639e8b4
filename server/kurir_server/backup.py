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

BESIDE = ("", "-wal", "-shm", "-journal")
"""A database, and what SQLite keeps beside it: a log of another one would be replayed into it."""


@dataclass(frozen=True, slots=True)
class Restored:
    """``made_at``: relay time of the backup, in seconds. ``former``: where the former database is
    now, if there was one. ``stray``: where the log of one is now that was there no more."""

    made_at: int
    recovered: Recovered
    former: Path | None
    stray: Path | None = None


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
    :param replace: there is a database, or a log of one; it is moved aside
    :raises ConfigError: a relay runs on the database, there is one, the backup is of another relay,
        or a day has ended since it was made
    :raises DatabaseError: not a backup, or damaged
    """
    former = db.with_name(db.name + ".former")
    prepared = db.with_name(db.name + ".restored")
    # Nothing but a restore that was broken off while it moved files leaves both of these.
    was_broken_off = prepared.exists() and bool(_there(former)) and not db.exists()
    with ExitStack() as stack:
        if db.exists():
            stack.enter_context(only_one(db))
        there = _there(db)
        if there and not replace:
            raise ConfigError(
                f"{_named(db, there[0])} exists",
                "if it is to be replaced, give --replace: it is moved aside, with all that belongs "
                "to it",
            )
        in_the_way = [s for s in _there(former) if s in there or not was_broken_off]
        if there and in_the_way:
            raise ConfigError(
                f"{_named(former, in_the_way[0])} exists already: of the database before the last "
                "restore",
                f"move {former.name} away with what is beside it ({', '.join(BESIDE[1:])}), or "
                "remove it if nothing in it is needed any more",
            )
        if was_broken_off:
            _move(db, there, former)
        prepared.unlink(missing_ok=True)
        with new_file(prepared) as partial:
            if not backup.is_file():
                raise DatabaseError(f"there is no backup {backup}", "give another file")
            shutil.copyfile(backup, partial)
            made_at, recovered = _prepare(partial, backup, keys, now, ledger, after_loss=after_loss)
        there = _there(db)
        _move(db, there, former)
        prepared.replace(db)
        sync(db.parent)
    moved = _there(former) if there or was_broken_off else []
    if "" in moved:
        return Restored(made_at, recovered, former)
    logs = [_named(former, suffix) for suffix in moved if suffix != "-shm"]
    return Restored(made_at, recovered, None, logs[0] if logs else None)


def _there(db: Path) -> list[str]:
    """What there is of a database, the file itself first."""
    return [suffix for suffix in BESIDE if _named(db, suffix).exists()]


def _named(db: Path, suffix: str) -> Path:
    return db.with_name(db.name + suffix)


def _move(db: Path, suffixes: list[str], former: Path) -> None:
    """The database first: without it no relay starts, should this be broken off, and without its
    log it would have forgotten what it acknowledged. Each on disk before the next."""
    for suffix in suffixes:
        _named(db, suffix).replace(_named(former, suffix))
        sync(db.parent)


def _prepare(
    partial: Path, backup: Path, keys: RelayKeys, now: int, ledger: Path | None, *, after_loss: bool
) -> tuple[int, Recovered]:
    """All that a backup needs to become a database, done to a copy of it."""
    with ExitStack() as stack:
        try:
            store = stack.enter_context(upgraded(partial))
            store.origin()
        except DatabaseError as error:
            said = str(error).replace(str(partial), str(backup))
            # Not to restore a backup, which is what somebody is doing here.
            hint = "give another backup" if "restore" in (error.hint or "") else error.hint
            raise DatabaseError(said, hint) from error
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
