"""``kurir-relay doctor``: whether a relay has what it needs, while it runs and while it does not.

Each check gives findings: what was looked at, how it stands, and what to do. Nothing is changed.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Protocol

from kurir_server import inspection, keyfiles, tls
from kurir_server.blob_writer import MOVE_AWAY, blobs_file, inspect_blobs
from kurir_server.config import CANNOT_LISTEN, Config, shown
from kurir_server.errors import KeyFileError, RelayError
from kurir_server.health import MIN_FREE
from kurir_server.keys import RelayKeys
from kurir_server.metrics import free_beside, size_of
from kurir_server.rows import Rows
from kurir_server.startup import CERT_WARNING_DAYS, Opened, is_served
from kurir_server.writer import inspected
from kurir_wire.cards import TIER_NONE
from kurir_wire.ids import DAY, HOUR, MINUTE
from kurir_wire.limits import CLOCK_SKEW

LARGE_WAL: Final = 256 * 1_048_576
"""Bytes: four times what may wait for the writer, and four times the size at which a commit brings
the log into the database. The relay cuts it in the first pause (LOG_IDLE_SECONDS), and every
LOG_SECONDS if there is none; something hinders that."""
BADGE_WARNING_DAYS: Final = 30
"""Time to ask a business for its papers again."""
RESTORE: Final = "keep the file, and put a backup in its place with: kurir-relay restore"


class State(Enum):
    """How a check ended. A warning needs attention soon, a problem now."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. ``todo`` is empty where nothing is to be done."""

    check: str
    state: State
    found: str
    todo: str = ""


class Inspected(Opened, Protocol):
    """A database that is open for reading."""

    @property
    def checks(self) -> inspection.Whole: ...


def examine(
    config: Config, now: int, *, bind: bool = False, quick: bool = False
) -> Iterator[Finding]:
    """All checks, in order.

    :param now: the machine's time in seconds
    :param bind: try whether the relay could listen on its address
    :param quick: leave out what reads the whole database
    """
    yield from _configuration(config, bind=bind)
    yield from _tls(config, now)
    keys = None
    try:
        keys = keyfiles.load(config.keys)
    except KeyFileError as error:
        yield _problem("keys", error)
    else:
        yield from _keys(config, keys, now)
    yield from _permissions(config)
    latest = now
    owner: bytes | None = None
    try:
        with inspected(config.db) as store, store.reading():
            yield from _database(config, store, keys, now)
            if keys is None or store.relay_id == keys.relay_id:
                owner = store.relay_id
            latest = max(now, store.rows.minute() * MINUTE)
            if keys is not None and store.relay_id == keys.relay_id:
                yield from _contents(store.rows, store.checks, keys, now, quick=quick)
    except RelayError as error:
        yield _problem("database", error)
    yield from _attachments(config, owner, latest, quick=quick)


def _configuration(config: Config, *, bind: bool) -> Iterator[Finding]:
    try:
        config.check()
    except RelayError as error:
        yield _problem("configuration", error)
        return
    serving = config.db.is_file() and is_served(config.db)
    yield Finding("relay", State.OK, "runs" if serving else "does not run")
    if not bind:
        return
    where = shown(config.host, config.port)
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if serving:
            yield Finding("configuration", State.OK, f"{where} is in use, and the relay runs")
        else:
            reason = (error.strerror or "it cannot be used").lower()
            yield Finding(
                "configuration",
                State.PROBLEM,
                f"cannot listen on {where}: {reason}",
                CANNOT_LISTEN,
            )
    else:
        found = f"{where} is free"
        yield Finding(
            "configuration",
            State.WARNING if serving else State.OK,
            found,
            "the relay runs and listens elsewhere" if serving else "",
        )


def _tls(config: Config, now: int) -> Iterator[Finding]:
    if config.tls is None:
        return
    try:
        tls.context_for(*config.tls)
        left = tls.ends_at(config.tls[0]) - now
    except RelayError as error:
        yield _problem("tls", error)
        return
    renew = "get a new one, then reload the relay (SIGHUP)"
    yield _lasting("tls", "the TLS certificate", left, renew)


def _keys(config: Config, keys: RelayKeys, now: int) -> Iterator[Finding]:
    yield Finding("keys", State.OK, f"complete, of relay {keys.relay_id.hex()}")
    renew = "bring root.key back, run kurir-relay renew, then reload the relay (SIGHUP)"
    if now + CLOCK_SKEW < keys.cert.not_before:
        yield Finding(
            "certificate", State.PROBLEM, "the certificate begins in the future", "set the clock"
        )
    else:
        yield _lasting("certificate", "the certificate", keys.cert.not_after - now, renew)
    root = config.keys / keyfiles.ROOT
    if root.exists():
        yield Finding(
            "keys",
            State.WARNING,
            f"{root} is here",
            "serving does not need it: keep it elsewhere, and bring it back to renew",
        )


def _lasting(check: str, what: str, left: int, todo: str) -> Finding:
    if left <= 0:
        return Finding(check, State.PROBLEM, f"{what} has ended", todo)
    soon = left < CERT_WARNING_DAYS * DAY
    state = State.WARNING if soon else State.OK
    return Finding(check, state, f"{what} holds for {left // DAY} days", todo if soon else "")


def _permissions(config: Config) -> Iterator[Finding]:
    db = config.db
    files = [
        _beside(path, suffix) for path in (db, blobs_file(db)) for suffix in ("", "-wal", "-shm")
    ]
    secret = [path for path in files if path.exists()]
    looked_at = ["the database"] if db.exists() else []
    if config.keys.is_dir():
        secret_keys = sorted(path for path in config.keys.iterdir() if path.suffix == ".key")
        secret += secret_keys
        looked_at = [*(["the keys"] if secret_keys else []), *looked_at]
    if config.tls_key is not None and config.tls_key.exists():
        secret.append(config.tls_key)
    open_files = [path for path in secret if path.stat().st_mode & 0o077]
    for path in open_files:
        yield Finding(
            "permissions", State.PROBLEM, f"{path} can be read by others", f"chmod 600 {path}"
        )
    folders = [folder for folder in (db.parent, config.keys) if folder.is_dir()]
    for folder in folders:
        mode = folder.stat().st_mode
        if mode & 0o022 and not mode & stat.S_ISVTX:
            yield Finding(
                "permissions",
                State.PROBLEM,
                f"others can put files into {folder}",
                f"chmod go-w {folder}",
            )
    owner = db.stat().st_uid if db.exists() else os.geteuid()
    for path in [*secret, *folders]:
        if path.stat().st_uid not in (owner, 0):
            yield Finding(
                "permissions",
                State.WARNING,
                f"{path} is of another user than the database",
                f"chown {owner} {path}",
            )
    if looked_at and not open_files:
        are = "is" if looked_at == ["the database"] else "are"
        what = " and ".join(looked_at)
        yield Finding("permissions", State.OK, f"{what} {are} the operator's alone")


def _database(
    config: Config, store: Inspected, keys: RelayKeys | None, now: int
) -> Iterator[Finding]:
    if keys is not None and store.relay_id != keys.relay_id:
        yield Finding(
            "database",
            State.PROBLEM,
            "it belongs to another relay than the keys",
            "give the folder that was made with this database: --keys",
        )
    elif store.backup_minute is not None:
        yield Finding("database", State.OK, "a backup that was made with kurir-relay backup")
    else:
        yield Finding("database", State.OK, f"{size_of(config.db):,} bytes, of this version")
    free = free_beside(config.db)
    yield Finding(
        "disk",
        State.PROBLEM if free < MIN_FREE else State.OK,
        f"{free // 1_048_576:,} MiB free",
        "make room: the relay refuses envelopes on a full disk" if free < MIN_FREE else "",
    )
    for file in (config.db, blobs_file(config.db)):
        log = _beside(file.resolve(), "-wal")
        if size_of(log) > LARGE_WAL:
            yield Finding(
                "disk",
                State.WARNING,
                f"the write-ahead log {log.name} has {size_of(log) // 1_048_576:,} MiB",
                "a backup or another command that takes long keeps it from being cut; end it",
            )
    ahead = store.rows.minute() * MINUTE - now
    if ahead > CLOCK_SKEW:
        yield Finding(
            "clock",
            State.PROBLEM,
            f"the relay's time was {ahead} s ahead of this machine's clock",
            "set the clock; relay time stands still until it has caught up",
        )
    else:
        yield Finding("clock", State.OK, "not behind the relay's time")


def _contents(
    rows: Rows, checks: inspection.Whole, keys: RelayKeys, now: int, *, quick: bool
) -> Iterator[Finding]:
    damage = checks.damage(full=not quick)
    if damage:
        yield Finding("integrity", State.PROBLEM, f"SQLite says: {damage[0]}", RESTORE)
        return
    yield Finding("integrity", State.OK, "the file is whole")
    parts: list[tuple[str, str, Callable[[], list[str]]]] = [
        ("prices", "every rate card is as it was signed", lambda: inspection.prices(rows, keys)),
        (
            "businesses",
            "cards, badges and terms are as they were signed",
            lambda: inspection.businesses(rows, keys),
        ),
    ]
    if not quick:
        parts += [
            (
                "mailboxes",
                "each counts what it holds, which is what was written",
                lambda: inspection.counts(checks),
            ),
            ("charges", "as they were accepted", lambda: inspection.charges(checks, keys)),
            ("ledger", "its tree is what was signed", lambda: inspection.tree(rows, checks, keys)),
            ("ledger", "it has every leaf", lambda: inspection.leaves(rows, checks, keys)),
        ]
    for check, fine, look in parts:
        wrong = look()
        for what in wrong:
            yield Finding(check, State.PROBLEM, what, RESTORE)
        if wrong and check == "ledger":
            return  # leaves are looked up in the tree
        if not wrong:
            yield Finding(check, State.OK, fine)
    yield from _in_force(rows, now)


def _attachments(
    config: Config, owner: bytes | None, now: int, *, quick: bool
) -> Iterator[Finding]:
    """:param owner: the relay whose they have to be; ``None`` where keys and database disagree or
    it is not known: whose they are is no reason then to throw them away"""
    path, check = blobs_file(config.db), "attachments"
    if not path.exists():
        folder = path.resolve().parent
        if folder.is_dir():
            yield Finding(check, State.OK, f"no {path.name}: the relay makes one if it takes any")
        else:
            todo = f"mount what has it, or remove the link {path}"
            yield Finding(check, State.PROBLEM, f"there is no folder {folder}", todo)
        return
    try:
        with inspect_blobs(path, owner) as blobs:
            wrong = blobs.damage(now // HOUR, full=not quick)
            for what in wrong:
                yield Finding(check, State.PROBLEM, f"{path} is damaged: {what}", MOVE_AWAY)
            if wrong:
                return
            changed = 0 if quick else blobs.changed()
    except RelayError as error:
        yield _problem(check, error)
        return
    if changed:
        yield Finding(
            check,
            State.WARNING,
            f"{changed} chunks are not as they were written",
            "look after the disk; their readers are told that they are missing, and their writers "
            "can bring them again",
        )
    else:
        yield Finding(check, State.OK, f"{size_of(path):,} bytes, of this version")


def _in_force(rows: Rows, now: int) -> Iterator[Finding]:
    stored = rows.rate_card_in_force(now)
    if stored is None:
        yield Finding(
            "prices", State.PROBLEM, "no rate card is in force", "kurir-relay ratecard install FILE"
        )
    else:
        yield Finding("prices", State.OK, f"version {stored.version} is in force")
    soon = sum(
        business.tier != TIER_NONE
        and (business.badge_not_after or 0) < now + BADGE_WARNING_DAYS * DAY
        for business in rows.businesses()
    )
    if soon:
        yield Finding(
            "businesses",
            State.WARNING,
            f"{soon} badges end within {BADGE_WARNING_DAYS} days, or have ended",
            "see kurir-relay business list --json, and approve again who may go on",
        )


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _problem(check: str, error: RelayError) -> Finding:
    return Finding(check, State.PROBLEM, str(error), error.hint or "")
