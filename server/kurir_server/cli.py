"""``kurir-relay``: run and administer a relay.

Exit codes: 0 done, 1 failed, 2 wrong options or input, 3 keys missing or damaged, 4 database
missing, damaged or not writable.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from kurir_billing.party import Party
from kurir_billing.tariffs import TARIFFS
from kurir_server import admin, cli_operation, export, keyfiles, tickets
from kurir_server.cli_common import (
    BEHIND_PROXY,
    BLOB_QUOTA,
    BLOB_RESERVE,
    BUSINESS,
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
from kurir_server.config import Config
from kurir_server.limits import TICKET_DAYS
from kurir_server.log import Level, Log
from kurir_server.report_cli import report
from kurir_wire.ids import BusinessId
from kurir_wire.links import encode, pin_of

_ADDRESS = click.option("--address", multiple=True, help="A line of the address; repeat it.")
_TAX_ID = click.option("--tax-id", default="", help="As the tax office writes it.")
_NOTE = click.option(
    "--note", multiple=True, help="A line such as how to pay, or a purchase order; repeat it."
)


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


@main.group()
def business() -> None:
    """List, approve, revoke and remove businesses; also while the relay runs."""


@business.command("list")
@DB
@JSON
@reporting
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
@DB
@JSON
@BUSINESS
@reporting
def business_show(db: Path, as_json: bool, business_id: BusinessId) -> None:
    """One business."""
    show_facts(_business_facts(admin.business(db, business_id)), as_json)


@business.command("approve")
@DB
@KEYS
@JSON
@BUSINESS
@click.option("--tier", type=click.Choice(list(admin.TIERS)), required=True)
@click.option("--legal-name", required=True, help="What customers see in the badge.")
@click.option(
    "--tariff",
    type=click.Choice(list(TARIFFS)),
    help="How it is charged.  [default: as before; reply-2018 at first]",
)
@click.option(
    "--starts",
    type=click.Choice(list(admin.STARTS)),
    help="How many customers it may write to outside of their window within 24 hours.  "
    "[default: as before; 250 at first]",
)
@reporting
def business_approve(
    db: Path,
    keys: Path | None,
    as_json: bool,
    business_id: BusinessId,
    tier: str,
    legal_name: str,
    tariff: str | None,
    starts: str | None,
) -> None:
    """Grant tier, tariff and badge for a year, and sign terms that say so."""
    loaded = keyfiles.load(keys_folder(db, keys))
    view = admin.approve(db, loaded, business_id, tier, legal_name, tariff, starts, machine_now())
    show_facts(_business_facts(view), as_json)


@business.command("ticket")
@DB
@KEYS
@JSON
@BUSINESS
@click.option(
    "--days",
    type=click.IntRange(1, TICKET_DAYS),
    required=True,
    help="For how long customers may come by it.",
)
@click.option(
    "--relay", required=True, metavar="HOST[:PORT]", help="Where customers reach this relay."
)
@reporting
def business_ticket(
    db: Path,
    keys: Path | None,
    as_json: bool,
    business_id: BusinessId,
    days: int,
    relay: str,
) -> None:
    """Sign an entry ticket and print its link, for an ad or a page of the business.

    Who comes by the link may be answered free of charge for 72 hours. The business gets the ticket
    from the relay.
    """
    loaded = keyfiles.load(keys_folder(db, keys))
    made = tickets.give(db, loaded, business_id, days, relay, machine_now())
    facts = {
        "link": str(made.link),
        "entry_id": made.entry_id.hex(),
        "until": show_date(made.not_after),
    }
    show_facts(facts, as_json)


@business.command("details")
@DB
@JSON
@BUSINESS
@_ADDRESS
@_TAX_ID
@_NOTE
@reporting
def business_details(
    db: Path,
    as_json: bool,
    business_id: BusinessId,
    address: tuple[str, ...],
    tax_id: str,
    note: tuple[str, ...],
) -> None:
    """What stands on its invoices beside its certified name.

    Sets all of it anew; without options shows what there is.
    """
    if address or tax_id or note:
        party = admin.set_buyer(db, business_id, list(address), tax_id, list(note))
    else:
        party = admin.buyer(db, business_id)
    show_facts(_party_facts(party), as_json)


@business.command("revoke")
@DB
@JSON
@BUSINESS
@reporting
def business_revoke(db: Path, as_json: bool, business_id: BusinessId) -> None:
    """Take tier and badge away; charges are refused from now on."""
    show_facts(_business_facts(admin.revoke(db, business_id)), as_json)


@business.command("remove")
@DB
@BUSINESS
@reporting
def business_remove(db: Path, business_id: BusinessId) -> None:
    """Remove one that is not approved, with its address and all that waits there."""
    admin.remove(db, business_id)
    click.echo("removed")


@main.group()
def seller() -> None:
    """Who runs this relay, as it stands on invoices; also while the relay runs."""


@seller.command("set")
@DB
@JSON
@click.option("--legal-name", required=True, help="Who bills.")
@_ADDRESS
@_TAX_ID
@_NOTE
@reporting
def seller_set(
    db: Path,
    as_json: bool,
    legal_name: str,
    address: tuple[str, ...],
    tax_id: str,
    note: tuple[str, ...],
) -> None:
    """Set all of it anew. A month that was invoiced before gets a new revision."""
    party = Party(legal_name, list(address), tax_id, list(note))
    admin.set_seller(db, party)
    show_facts(_party_facts(party), as_json)


@seller.command("show")
@DB
@JSON
@reporting
def seller_show(db: Path, as_json: bool) -> None:
    """What is recorded."""
    show_facts(_party_facts(admin.seller(db)), as_json)


@main.group()
def ratecard() -> None:
    """Show and install prices."""


@ratecard.command("show")
@DB
@JSON
@reporting
def ratecard_show(db: Path, as_json: bool) -> None:
    """The prices in force, in USD per message."""
    stored = admin.card_in_force(db, machine_now())
    card = admin.read_card(stored)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(card), indent=2, sort_keys=True))
        return
    click.echo(f"version {card.version}, in force since {show_date(card.effective_from)}")
    click.echo(f"{'market':8}  {'marketing':>9}  {'utility':>9}  {'auth.':>9}")
    for name, rates in sorted(card.markets.items()):
        prices = (rates.marketing, rates.utility, rates.authentication)
        click.echo(f"{name:8}  " + "  ".join(f"{_usd(price):>9}" for price in prices))
    if card.flat_monthly_micro_usd is not None:
        click.echo(f"a month under the tariff flat: {_usd(card.flat_monthly_micro_usd)}")
    for later in admin.rate_cards(db):
        if later.version > stored.version:
            click.echo(f"version {later.version} follows on {show_date(later.effective_from)}")


@ratecard.command("install")
@DB
@KEYS
@click.argument("file", type=FILE)
@reporting
def ratecard_install(db: Path, keys: Path | None, file: Path) -> None:
    """Sign and install the prices in FILE (JSON); the version must rise."""
    stored = admin.install_card(db, keyfiles.load(keys_folder(db, keys)), file)
    click.echo(f"version {stored.version}, in force from {show_date(stored.effective_from)}")


for _command in (cli_operation.doctor, cli_operation.backup, cli_operation.restore):
    main.add_command(_command)


@main.group("ledger")
def ledger_group() -> None:
    """Hand the ledger of settled charges to auditors."""


@ledger_group.command("export")
@DB
@KEYS
@click.argument("out", type=FILE)
@reporting
def ledger_export(db: Path, keys: Path | None, out: Path) -> None:
    """Write all settled charges and checkpoints to OUT; also while the relay runs.

    Check it with: kurir-audit ledger OUT
    """
    done = export.export_ledger(db, keyfiles.load(keys_folder(db, keys)).cert, out)
    click.echo(
        f"{done.leaves} settled charges, {done.adjustments} adjustments, "
        f"{done.checkpoints} checkpoints"
    )


main.add_command(report)


def _business_facts(view: admin.BusinessView) -> dict[str, str | int | None]:
    return {
        "id": view.id.hex(),
        "name": view.name,
        "legal_name": view.legal_name,
        "tier": view.tier,
        "tariff": view.tariff,
        "starts": view.starts,
        "card_version": view.version,
        "card_until": show_date(view.expires),
        "badge_until": show_date(view.badge_not_after) if view.badge_not_after else None,
    }


def _party_facts(party: Party) -> dict[str, Any]:
    return {
        "legal_name": party.legal_name or None,
        "address": party.address,
        "tax_id": party.tax_id or None,
        "notes": party.notes,
    }


def _usd(micro_usd: int) -> str:
    return f"{micro_usd // 1_000_000}.{micro_usd % 1_000_000:06d}"


if __name__ == "__main__":
    main()
