"""``kurir-relay business``: who may write to customers, and on what terms."""

from __future__ import annotations

import json
from pathlib import Path

import click

from kurir_billing.tariffs import TARIFFS
from kurir_server import admin, keyfiles, tickets
from kurir_server.cli_common import (
    ADDRESS,
    BUSINESS,
    DB,
    JSON,
    KEYS,
    NOTE,
    TAX_ID,
    keys_folder,
    machine_now,
    party_facts,
    reporting,
    show_date,
    show_facts,
)
from kurir_server.limits import TICKET_DAYS
from kurir_wire.ids import BusinessId


@click.group()
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
@ADDRESS
@TAX_ID
@NOTE
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
    show_facts(party_facts(party), as_json)


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
