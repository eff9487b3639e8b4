"""``kurir-relay``: run and administer a relay.

Exit codes: 0 done, 1 failed, 2 wrong options or input, 3 keys missing or damaged, 4 database
missing, damaged or not writable.
"""

from __future__ import annotations

from pathlib import Path

import click

from kurir_server import admin, keyfiles
from kurir_server.cli_billing import ledger, ratecard, seller
from kurir_server.cli_business import business
from kurir_server.cli_common import (
    BEHIND_PROXY,
    BLOB_QUOTA,
    BLOB_RESERVE,
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
    show_date,
    show_facts,
)
from kurir_server.cli_operation import backup, doctor, restore
from kurir_server.cli_report import report
from kurir_server.config import Config
from kurir_server.log import Level, Log
from kurir_wire.links import encode, pin_of


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kurir")
def main() -> None:
    """Run and administer a kurir relay.

    Exit codes: 0 done, 1 failed, 2 wrong options or input, 3 keys missing or damaged, 4 database
    missing, damaged or not writable.
    """


@main.command()
@DB
@KEYS
@reporting
def init(db: Path, keys: Path | None) -> None:
    """Make a new relay: keys, certificate of a year, database, rate card."""
    made = admin.init(db, keys_folder(db, keys), machine_now())
    click.echo(f"relay {encode(made.relay_id)}")
    click.echo(f"keys in {keys_folder(db, keys)}; root.key is needed only to renew, keep it safe")


@main.command()
@DB
@KEYS
@JSON
@reporting
def show(db: Path, keys: Path | None, as_json: bool) -> None:
    """Print the relay's id, its fingerprint in links, and how long its certificate holds."""
    _show(db, keys, as_json)


@main.command("link-info")
@DB
@KEYS
@JSON
@reporting
def link_info(db: Path, keys: Path | None, as_json: bool) -> None:
    """The same as show: what kurir:// links of this relay pin."""
    _show(db, keys, as_json)


def _show(db: Path, keys: Path | None, as_json: bool) -> None:
    loaded = keyfiles.load(keys_folder(db, keys))
    facts = {
        "relay_id": encode(loaded.relay_id),
        "pin": encode(pin_of(loaded.relay_id)),
        "certificate_until": show_date(loaded.cert.not_after),
    }
    show_facts(facts, as_json)


@main.command()
@DB
@KEYS
@reporting
def renew(db: Path, keys: Path | None) -> None:
    """Certify the working keys for another year; SIGHUP makes a running relay use it."""
    renewed = keyfiles.renew(keys_folder(db, keys), machine_now())
    click.echo(f"certificate until {show_date(renewed.cert.not_after)}")


@main.command()
@DB
@KEYS
@LISTEN
@TLS_CERT
@TLS_KEY
@BEHIND_PROXY
@click.option("--ready-file", type=FILE, help="Holds HOST:PORT while the relay accepts.")
@click.option(
    "--metrics",
    type=click.IntRange(0, 0xFFFF),
    metavar="PORT",
    help="Serve /metrics, /healthz and /readyz on 127.0.0.1.",
)
@click.option("--demo-clock", type=FILE, help="Seconds to add to the time; for demos and tests.")
@BLOB_QUOTA
@BLOB_RESERVE
@click.option("--log-file", type=FILE, help="Append the log here.  [default: standard error]")
@click.option(
    "--log-level",
    type=click.Choice([level.name.lower() for level in Level]),
    default="info",
    show_default=True,
)
@reporting
def serve(
    db: Path,
    keys: Path | None,
    address: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
    ready_file: Path | None,
    metrics: int | None,
    demo_clock: Path | None,
    blob_quota: int,
    blob_reserve: int,
    log_file: Path | None,
    log_level: str,
) -> None:
    """Run the relay until SIGTERM or SIGINT.

    SIGHUP opens the log file anew, and reads the certificates again; connections stay.
    """
    # Here, as it loads the WebSocket library, which the other commands do not need.
    from kurir_server import app
    from kurir_server.blobs import Room

    config = Config(
        db,
        *parse_listen(address),
        keys_folder(db, keys),
        tls_cert,
        tls_key,
        behind_proxy,
        ready_file,
        demo_clock,
        metrics,
        Room(blob_quota, blob_reserve),
    )
    log = Log(level=Level[log_level.upper()], path=log_file)
    try:
        app.run(config, log)
    finally:
        log.close()


for _command in (business, seller, ratecard, ledger, report, doctor, backup, restore):
    main.add_command(_command)


if __name__ == "__main__":
    main()
