"""What has to be in order before a relay serves. It refuses, and says what to do, rather than hand
out what is damaged or sign what contradicts it."""

from __future__ import annotations

import contextlib
import fcntl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from kurir_billing.errors import LedgerError
from kurir_billing.ledger import open_checkpoint
from kurir_server.config import Config
from kurir_server.errors import ConfigError, DatabaseError, StorageError
from kurir_server.keys import RelayKeys
from kurir_server.log import Event, Log
from kurir_server.rows import Rows
from kurir_server.tiles import Tiles
from kurir_wire.ids import DAY
from kurir_wire.limits import CLOCK_SKEW
from kurir_wire.merkle import root

CERT_WARNING_DAYS: Final = 30
"""Time for an operator to renew a certificate."""
LOCK_TRIES: Final = 10
LOCK_PAUSE: Final = 0.05
"""Seconds: ``doctor`` holds the lock for a moment to see whether a relay does."""


class Opened(Protocol):
    """A database, as :class:`kurir_server.store.Store` has it."""

    @property
    def relay_id(self) -> bytes: ...

    def origin(self) -> tuple[bytes, int, int]: ...

    @property
    def rows(self) -> Rows: ...

    @property
    def backup_minute(self) -> int | None: ...

    @property
    def has_ledger(self) -> bool: ...

    def damage(self, *, full: bool) -> list[str]: ...


@contextlib.contextmanager
def only_one(db: Path) -> Iterator[None]:
    """Two relays on one database would not know of each other's readers, grants and paces.

    :raises ConfigError: another one serves it
    """
    if not db.exists():
        yield  # opening it says what is wrong
        return
    with db.open("rb") as file:
        for tried in range(LOCK_TRIES):
            try:
                # flock, not the kind of lock that SQLite takes: the operator's commands go on.
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if tried + 1 == LOCK_TRIES:
                    raise ConfigError(
                        f"another relay serves {db}", "stop it first, or give another database"
                    ) from error
                time.sleep(LOCK_PAUSE)
        yield


def is_served(db: Path) -> bool:
    """Whether a relay runs on this database."""
    with db.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def check_database(store: Opened, config: Config, keys: RelayKeys) -> tuple[int, int]:
    """What is refused has to stay as it is, so this comes before an older database is brought
    forward.

    :param store: open for reading; it may be of an older version
    :returns: the last minute on disk, and the one that was sure then
    :raises ConfigError: it is another relay's
    :raises DatabaseError: damaged, or a backup
    """
    relay_id, minute, sure = store.origin()
    if relay_id != keys.relay_id:
        raise ConfigError(
            f"{config.db} belongs to another relay than the keys in {config.keys}",
            "give the folder that was made with this database",
        )
    if store.backup_minute is not None:
        raise DatabaseError(
            f"{config.db} is a backup",
            "put it in place with: kurir-relay restore, which says what was lost since",
        )
    damage = store.damage(full=False)
    if damage:
        raise damaged(config.db, damage[0])
    try:
        contradiction = ledger_edge(store.rows, keys) if store.has_ledger else None
    except StorageError as error:
        contradiction = f"the ledger cannot be read: {error}"
    if contradiction is not None:
        raise damaged(config.db, contradiction)
    return minute, sure


def damaged(db: Path, what: str) -> DatabaseError:
    """The refusal of a database that is not what was written."""
    return DatabaseError(
        f"{db} is damaged: {what}",
        "keep the file, see kurir-relay doctor, and put a backup in its place with: "
        "kurir-relay restore",
    )


def ledger_edge(rows: Rows, keys: RelayKeys) -> str | None:
    """What is wrong with the ledger where it grows next, if anything: a few rows are read."""
    newest = rows.newest_checkpoint()
    if newest is None:
        return None
    try:
        signed = open_checkpoint(newest.note, keys.cert.checkpoint_pk, keys.relay_id)
    except LedgerError as error:
        return f"the ledger's newest checkpoint cannot be read: {error}"
    try:
        found = root(newest.size, Tiles(rows).node)
    except (IndexError, ValueError):
        return "nodes of the ledger's tree are missing"
    if (signed.size, signed.root) != (newest.size, found):
        return "the ledger's tree is not the one that its newest checkpoint signed"
    return None


def check_certificate(keys: RelayKeys, now: int, log: Log) -> None:
    """:raises ConfigError: the certificate is not valid now"""
    left = keys.cert.not_after - now
    if left <= 0 or now + CLOCK_SKEW < keys.cert.not_before:
        raise ConfigError(
            "the certificate of the relay's keys is not valid at this time",
            "compare the clock, or run: kurir-relay renew",
        )
    warn_of_end(keys, now, log)


def warn_of_end(keys: RelayKeys, now: int, log: Log) -> None:
    """Say in the log that the certificate ends soon, if it does."""
    left = keys.cert.not_after - now
    if left < CERT_WARNING_DAYS * DAY:
        log(Event.CERTIFICATE_ENDS, days=left // DAY)
