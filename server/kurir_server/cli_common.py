"""What the commands of ``kurir-relay`` share: options, errors as two lines, output."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final, NoReturn, ParamSpec

import click

from kurir_billing.dates import show_day
from kurir_billing.party import Party
from kurir_server import keyfiles, limits
from kurir_server.errors import RelayError
from kurir_server.option_types import DATABASE, SIZE
from kurir_wire.errors import LinkError
from kurir_wire.ids import DAY, BusinessId
from kurir_wire.links import decode

P = ParamSpec("P")

ID_BYTES: Final = 32


def _fail(error: RelayError) -> NoReturn:
    click.echo(f"error: {error}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    sys.exit(error.exit_code)


def reporting(command: Callable[P, None]) -> Callable[P, None]:
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


BUSINESS = click.argument("business_id", metavar="ID", callback=_business_id)
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
DB = click.option("--db", type=DATABASE, required=True, help="The relay's database.")
KEYS = click.option(
    "--keys", type=FOLDER, help="Folder of the relay's keys.  [default: FILE.keys beside --db]"
)
LISTEN = click.option(
    "--listen", "address", default="127.0.0.1:7474", show_default=True, metavar="HOST:PORT"
)
TLS_CERT = click.option("--tls-cert", type=FILE, help="PEM certificate with its chain.")
TLS_KEY = click.option("--tls-key", type=FILE, help="PEM private key.")
BEHIND_PROXY = click.option("--behind-proxy", is_flag=True, help="A proxy in front does TLS.")
BLOB_QUOTA = click.option(
    "--blob-quota",
    type=SIZE,
    default=limits.BLOB_QUOTA,
    help="Room for attachments in all, such as 500MiB; 0 takes none.  [default: 10GiB]",
)
BLOB_RESERVE = click.option(
    "--blob-reserve",
    type=SIZE,
    default=limits.BLOB_RESERVE,
    help="Room on the disk that attachments leave free.  [default: 1GiB]",
)
ADDRESS = click.option("--address", multiple=True, help="A line of the address; repeat it.")
TAX_ID = click.option("--tax-id", default="", help="As the tax office writes it.")
NOTE = click.option(
    "--note", multiple=True, help="A line such as how to pay, or a purchase order; repeat it."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def keys_folder(db: Path, keys: Path | None) -> Path:
    """Where the keys are: beside the database unless it was said."""
    return keys or keyfiles.default_folder(db)


def machine_now() -> int:
    """The machine's time in whole seconds."""
    return int(time.time())


def parse_listen(text: str) -> tuple[str, int]:
    """Host and port.

    :raises click.BadParameter: not HOST:PORT
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 0xFFFF:
        raise click.BadParameter("give HOST:PORT, with port 0 for any", param_hint="--listen")
    return host.removeprefix("[").removesuffix("]"), int(port)


def show_facts(facts: dict[str, Any], as_json: bool) -> None:
    """One fact a line, or all of them as JSON."""
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        shown = ", ".join(value) or None if isinstance(value, list) else value
        click.echo(f"{name.replace('_', ' ')}: {'-' if shown is None else shown}")


def show_date(seconds: int) -> str:
    """The day (UTC) of a time."""
    return show_day(seconds // DAY)


def party_facts(party: Party) -> dict[str, Any]:
    """What an invoice says of a party, to show."""
    return {
        "legal_name": party.legal_name or None,
        "address": party.address,
        "tax_id": party.tax_id or None,
        "notes": party.notes,
    }
