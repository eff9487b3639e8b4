"""``kurir-relay seller``, ``ratecard`` and ``ledger``: who bills, at what prices, and the proof."""

from __future__ import annotations

import json
from pathlib import Path

import click
import msgspec

from kurir_billing.party import Party
from kurir_server import admin, export, keyfiles
from kurir_server.cli_common import (
    ADDRESS,
    DB,
    FILE,
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


@click.group()
def seller() -> None:
    """Who runs this relay, as it stands on invoices; also while the relay runs."""


@seller.command("set")
@DB
@JSON
@click.option("--legal-name", required=True, help="Who bills.")
@ADDRESS
@TAX_ID
@NOTE
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
    show_facts(party_facts(party), as_json)


@seller.command("show")
@DB
@JSON
@reporting
def seller_show(db: Path, as_json: bool) -> None:
    """What is recorded."""
    show_facts(party_facts(admin.seller(db)), as_json)


@click.group()
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
@click.option("--now", "from_now", is_flag=True, help="In force at once, whatever FILE says.")
@click.argument("file", type=FILE)
@reporting
def ratecard_install(db: Path, keys: Path | None, from_now: bool, file: Path) -> None:
    """Sign and install the prices in FILE (JSON); the version must rise, and the day from which
    they hold (effective_from, seconds since 1970) be still to come."""
    signer = keyfiles.load(keys_folder(db, keys))
    stored = admin.install_card(db, signer, file, machine_now(), from_now=from_now)
    click.echo(f"version {stored.version}, in force from {show_date(stored.effective_from)}")


@click.group()
def ledger() -> None:
    """Hand the ledger of settled charges to auditors."""


@ledger.command("export")
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


def _usd(micro_usd: int) -> str:
    return f"{micro_usd // 1_000_000}.{micro_usd % 1_000_000:06d}"
