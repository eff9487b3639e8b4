"""``kurir-relay``: run and administer a relay.

Exit codes: 0 done, 1 failed, 2 wrong options or input, 3 keys missing or damaged, 4 database
missing, damaged or not writable.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, NoReturn, ParamSpec, TextIO

import click
import msgspec

from kurir_billing.tariffs import DEFAULT_TARIFF
from kurir_server import admin, export, keyfiles
from kurir_server.errors import RelayError
from kurir_server.limits import BLOB_QUOTA, BLOB_RESERVE
from kurir_server.log import Level, Log
from kurir_server.option_types import DATABASE, SIZE
from kurir_wire.errors import LinkError
from kurir_wire.ids import BusinessId
from kurir_wire.links import decode, encode, pin_of

P = ParamSpec("P")

ID_BYTES: Final = 32


def _fail(error: RelayError) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    sys.exit(error.exit_code)


def _reporting(command: Callable[P, None]) -> Callable[P, None]:
    """Errors as two lines and an exit code, never as a traceback."""

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except RelayError as error:
            _fail(error)

    return wrapper


def _business_id(ctx: click.Context, param: click.Parameter, value: str) -> BusinessId:
    """A business id in base64url or hex."""
    try:
        if len(value) == 2 * ID_BYTES:
            return BusinessId(bytes.fromhex(value))
        return BusinessId(decode(value, ID_BYTES))
    except (ValueError, LinkError) as error:
        raise click.BadParameter("not a business id; see: kurir-relay business list") from error


_ID = click.argument("business_id", metavar="ID", callback=_business_id)
_FILE = click.Path(path_type=Path, dir_okay=False)
_FOLDER = click.Path(path_type=Path, file_okay=False)
_DB = click.option("--db", type=DATABASE, required=True, help="The relay's database.")
_KEYS = click.option(
    "--keys", type=_FOLDER, help="Folder of the relay's keys.  [default: FILE.keys beside --db]"
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _folder(db: Path, keys: Path | None) -> Path:
    return keys or keyfiles.default_folder(db)


def _now() -> int:
    return int(time.time())


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="kurir")
def main() -> None:
    """Run and administer a kurir relay.

    Exit codes: 0 done, 1 failed, 2 wrong options or input, 3 keys missing or damaged, 4 database
    missing, damaged or not writable.
    """


@main.command()
@_DB
@_KEYS
@_reporting
def init(db: Path, keys: Path | None) -> None:
    """Make a new relay: keys, certificate of a year, database, rate card."""
    made = admin.init(db, _folder(db, keys), _now())
    click.echo(f"relay {encode(made.relay_id)}")
    click.echo(f"keys in {_folder(db, keys)}; root.key is needed only to renew, keep it safe")


@main.command()
@_DB
@_KEYS
@_JSON
@_reporting
def show(db: Path, keys: Path | None, as_json: bool) -> None:
    """Print the relay's id, its fingerprint in links, and how long its certificate holds."""
    _show(db, keys, as_json)


@main.command("link-info")
@_DB
@_KEYS
@_JSON
@_reporting
def link_info(db: Path, keys: Path | None, as_json: bool) -> None:
    """The same as show: what kurir:// links of this relay pin."""
    _show(db, keys, as_json)


def _show(db: Path, keys: Path | None, as_json: bool) -> None:
    loaded = keyfiles.load(_folder(db, keys))
    facts = {
        "relay_id": encode(loaded.relay_id),
        "pin": encode(pin_of(loaded.relay_id)),
        "certificate_until": _date(loaded.cert.not_after),
    }
    _print(facts, as_json)


@main.command()
@_DB
@_KEYS
@_reporting
def renew(db: Path, keys: Path | None) -> None:
    """Certify the working keys for another year; restart the relay to use it."""
    renewed = keyfiles.renew(_folder(db, keys), _now())
    click.echo(f"certificate until {_date(renewed.cert.not_after)}")


@main.command()
@_DB
@_KEYS
@click.option("--listen", default="127.0.0.1:7474", show_default=True, metavar="HOST:PORT")
@click.option("--tls-cert", type=_FILE, help="PEM certificate with its chain.")
@click.option("--tls-key", type=_FILE, help="PEM private key.")
@click.option("--behind-proxy", is_flag=True, help="A proxy in front does TLS.")
@click.option("--ready-file", type=_FILE, help="Holds HOST:PORT while the relay accepts.")
@click.option("--demo-clock", type=_FILE, help="Seconds to add to the time; for demos and tests.")
@click.option(
    "--blob-quota",
    type=SIZE,
    default=BLOB_QUOTA,
    help="Room for attachments in all, such as 500MiB; 0 takes none.  [default: 10GiB]",
)
@click.option(
    "--blob-reserve",
    type=SIZE,
    default=BLOB_RESERVE,
    help="Room on the disk that attachments leave free.  [default: 1GiB]",
)
@click.option("--log-file", type=_FILE, help="Append the log here.  [default: standard error]")
@click.option(
    "--log-level",
    type=click.Choice([level.name.lower() for level in Level]),
    default="info",
    show_default=True,
)
@_reporting
def serve(
    db: Path,
    keys: Path | None,
    listen: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    behind_proxy: bool,
    ready_file: Path | None,
    demo_clock: Path | None,
    blob_quota: int,
    blob_reserve: int,
    log_file: Path | None,
    log_level: str,
) -> None:
    """Run the relay until SIGTERM or SIGINT."""
    # Here, as it loads the WebSocket library, which the other commands do not need.
    from kurir_server import app
    from kurir_server.blobs import Room

    host, port = _listen(listen)
    config = app.Config(
        db,
        host,
        port,
        _folder(db, keys),
        tls_cert,
        tls_key,
        behind_proxy,
        ready_file,
        demo_clock,
        Room(blob_quota, blob_reserve),
    )
    app.run(config, Log(_log_stream(log_file), Level[log_level.upper()]))


@main.group()
def business() -> None:
    """List, approve and revoke businesses; also while the relay runs."""


@business.command("list")
@_DB
@_JSON
@_reporting
def business_list(db: Path, as_json: bool) -> None:
    """All registered businesses."""
    found = [_business_facts(view) for view in admin.businesses(db)]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for facts in found:
        label = facts["legal_name"] or f"{facts['name']} (not approved)"
        click.echo(f"{facts['id']}  {facts['tier']:8}  {label}")


@business.command("show")
@_DB
@_JSON
@_ID
@_reporting
def business_show(db: Path, as_json: bool, business_id: BusinessId) -> None:
    """One business."""
    _print(_business_facts(admin.business(db, business_id)), as_json)


@business.command("approve")
@_DB
@_KEYS
@_JSON
@_ID
@click.option("--tier", type=click.Choice(list(admin.TIERS)), required=True)
@click.option("--legal-name", required=True, help="What customers see in the badge.")
@click.option("--tariff", type=click.Choice(admin.METERED), default=DEFAULT_TARIFF)
@_reporting
def business_approve(
    db: Path,
    keys: Path | None,
    as_json: bool,
    business_id: BusinessId,
    tier: str,
    legal_name: str,
    tariff: str,
) -> None:
    """Grant tier, tariff and badge for a year."""
    loaded = keyfiles.load(_folder(db, keys))
    view = admin.approve(db, loaded, business_id, tier, legal_name, tariff, _now())
    _print(_business_facts(view), as_json)


@business.command("revoke")
@_DB
@_JSON
@_ID
@_reporting
def business_revoke(db: Path, as_json: bool, business_id: BusinessId) -> None:
    """Take tier and badge away; charges are refused from now on."""
    _print(_business_facts(admin.revoke(db, business_id)), as_json)


@main.group()
def ratecard() -> None:
    """Show and install prices."""


@ratecard.command("show")
@_DB
@_JSON
@_reporting
def ratecard_show(db: Path, as_json: bool) -> None:
    """The prices in force, in USD per message."""
    stored = admin.card_in_force(db, _now())
    card = admin.read_card(stored)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(card), indent=2, sort_keys=True))
        return
    click.echo(f"version {card.version}, in force since {_date(card.effective_from)}")
    click.echo(f"{'market':8}  {'marketing':>9}  {'utility':>9}  {'auth.':>9}")
    for name, rates in sorted(card.markets.items()):
        prices = (rates.marketing, rates.utility, rates.authentication)
        click.echo(f"{name:8}  " + "  ".join(f"{_usd(price):>9}" for price in prices))
    for later in admin.rate_cards(db):
        if later.version > stored.version:
            click.echo(f"version {later.version} follows on {_date(later.effective_from)}")


@ratecard.command("install")
@_DB
@_KEYS
@click.argument("file", type=_FILE)
@_reporting
def ratecard_install(db: Path, keys: Path | None, file: Path) -> None:
    """Sign and install the prices in FILE (JSON); the version must rise."""
    stored = admin.install_card(db, keyfiles.load(_folder(db, keys)), file)
    click.echo(f"version {stored.version}, in force from {_date(stored.effective_from)}")


@main.group("ledger")
def ledger_group() -> None:
    """Hand the ledger of settled charges to auditors."""


@ledger_group.command("export")
@_DB
@_KEYS
@click.argument("out", type=_FILE)
@_reporting
def ledger_export(db: Path, keys: Path | None, out: Path) -> None:
    """Write all settled charges and checkpoints to OUT; also while the relay runs.

    Check it with: kurir-audit ledger OUT
    """
    done = export.export_ledger(db, keyfiles.load(_folder(db, keys)).cert, out)
    click.echo(f"{done.leaves} settled charges, {done.checkpoints} checkpoints")


def _listen(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 0xFFFF:
        raise click.BadParameter("give HOST:PORT, with port 0 for any", param_hint="--listen")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _log_stream(path: Path | None) -> TextIO:
    if path is None:
        return sys.stderr
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise RelayError(f"cannot write {path}: {error.strerror}") from error


def _business_facts(view: admin.BusinessView) -> dict[str, str | int | None]:
    return {
        "id": view.id.hex(),
        "name": view.name,
        "legal_name": view.legal_name,
        "tier": view.tier,
        "tariff": view.tariff,
        "card_version": view.version,
        "card_until": _date(view.expires),
        "badge_until": _date(view.badge_not_after) if view.badge_not_after else None,
    }


def _print(facts: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        click.echo(f"{name.replace('_', ' ')}: {'-' if value is None else value}")


def _date(seconds: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _usd(micro_usd: int) -> str:
    return f"{micro_usd // 1_000_000}.{micro_usd % 1_000_000:06d}"


if __name__ == "__main__":
    main()
