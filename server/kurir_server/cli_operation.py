"""``kurir-relay doctor``, ``backup`` and ``restore``."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from kurir_server import backup as backups
from kurir_server import doctor as examination
from kurir_server import keyfiles
from kurir_server.backup import Restored
from kurir_server.cli_common import (
    BEHIND_PROXY,
    DB,
    FILE,
    JSON,
    KEYS,
    LISTEN,
    TLS_CERT,
    TLS_KEY,
    keys_folder,
    machine_now,
    parse_listen,
    reporting,
)
from kurir_server.config import Config
from kurir_server.doctor import Finding, State


@click.command()
@DB
@KEYS
@LISTEN
@TLS_CERT
@TLS_KEY
@BEHIND_PROXY
@click.option("--quick", is_flag=True, help="Leave out what reads the whole database.")
@JSON
@click.pass_context
@reporting
def doctor(
    ctx: click.Context,
    db: Path,
    keys: Path | None,
    address: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
    quick: bool,
    as_json: bool,
) -> None:
    """Look whether a relay has what it needs, running or not; changes nothing.

    Give the options that the relay is served with. Exit code 1 if something is a problem; warnings
    need attention soon.
    """
    config = Config(
        db, *parse_listen(address), keys_folder(db, keys), tls_cert, tls_key, behind_proxy
    )
    said = ctx.get_parameter_source("address")
    bind = said is not click.core.ParameterSource.DEFAULT
    found: list[Finding] = []
    for finding in examination.examine(config, machine_now(), bind=bind, quick=quick):
        found.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        lines = [
            {"check": f.check, "state": f.state.value, "found": f.found, "todo": f.todo}
            for f in found
        ]
        click.echo(json.dumps(lines, indent=2))
    if any(finding.state is State.PROBLEM for finding in found):
        sys.exit(1)


def _show(finding: Finding) -> None:
    click.echo(f"{finding.state.value:8} {finding.check:14} {finding.found}")
    if finding.todo:
        click.echo(f"{'':23} → {finding.todo}")


@click.command()
@DB
@click.argument("out", type=FILE)
@reporting
def backup(db: Path, out: Path) -> None:
    """Copy the database to OUT, also while the relay runs.

    The keys are not in it: keep a copy of their folder apart. What readers acknowledge later stays
    in the backup, so keep few, and not for long.
    """
    made_at = backups.make(db, out)
    click.echo(f"{out}: {out.stat().st_size:,} bytes, as of {_minute(made_at)}")


@click.command()
@click.argument("backup", type=FILE)
@DB
@KEYS
@click.option("--ledger", type=FILE, help="The newest file of: kurir-relay ledger export.")
@click.option("--after-loss", is_flag=True, help="Days of the ledger since the backup are lost.")
@click.option("--replace", is_flag=True, help="Move the database, or log, that is there aside.")
@reporting
def restore(
    backup: Path,
    db: Path,
    keys: Path | None,
    ledger: Path | None,
    after_loss: bool,
    replace: bool,
) -> None:
    """Put BACKUP in place of a database that is lost; no relay may run on it.

    What came after the backup is lost: mailboxes made since, envelopes accepted and not read,
    charges not settled. Envelopes read since come again, and clients show none of them twice.
    """
    loaded = keyfiles.load(keys_folder(db, keys))
    done = backups.restore(
        backup,
        db,
        loaded,
        machine_now(),
        ledger=ledger,
        after_loss=after_loss,
        replace=replace,
    )
    _say_restored(db, done)


def _say_restored(db: Path, done: Restored) -> None:
    click.echo(f"{db} is as of {_minute(done.made_at)}")
    if done.recovered.days:
        click.echo(
            f"from the export: {done.recovered.days} days of the ledger, "
            f"{done.recovered.leaves} settled charges"
        )
    if done.former is not None:
        click.echo(f"the former database is {done.former}; remove it when nothing in it is needed")
    if done.stray is not None:
        click.echo(
            f"{done.stray} is the log of a database that was not there any more, and holds what "
            "that one acknowledged last; keep the two together, or remove it when nothing in it is "
            "needed"
        )


def _minute(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
