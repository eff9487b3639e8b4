"""``kurir-relay report``: what an operator does with the messages that customers report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import click

from kurir_billing.dates import show_day
from kurir_billing.kinds import Category
from kurir_server import keyfiles, rulings
from kurir_server.cli_common import (
    DB,
    JSON,
    KEYS,
    keys_folder,
    machine_now,
    reporting,
    show_date,
    show_facts,
)
from kurir_server.keys import RelayKeys
from kurir_server.report_key import ReportKey
from kurir_server.rulings import ReportView
from kurir_wire.ids import DAY

CATEGORIES: Final = tuple(
    category.name.lower() for category in Category if category is not Category.NONE
)


def _report_id(ctx: click.Context, param: click.Parameter, value: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except ValueError as error:
        raise click.BadParameter("not a report's id; see: kurir-relay report list") from error


_ID = click.argument("report_id", metavar="ID", callback=_report_id)


@click.group()
def report() -> None:
    """Read what customers report, and correct the category of a charge; also while the relay runs.

    Reports are sealed to report.key in the folder of the relay's keys, which serving does not need.
    """


@report.command("list")
@DB
@KEYS
@JSON
@reporting
def report_list(db: Path, keys: Path | None, as_json: bool) -> None:
    """All reports that wait, oldest first."""
    views = rulings.reports(db, *_keys(db, keys))
    if as_json:
        click.echo(json.dumps([_facts(view) for view in views], indent=2))
        return
    for view in views:
        label = ""
        if view.complaint is not None:
            wanted = view.complaint.wanted
            label = _name(view.complaint.report.category)
            label += f", should be {_name(wanted)}" if wanted else ""
            label = f"  {view.legal_name or 'not a business here'}  ({label})"
        click.echo(f"{view.id.hex()}  {show_day(view.day)}  {_state(view)}{label}")
    if not views:
        click.echo("no reports")


@report.command("show")
@DB
@KEYS
@JSON
@_ID
@reporting
def report_show(db: Path, keys: Path | None, as_json: bool, report_id: bytes) -> None:
    """One report: whether the ledger proves it, and the message that it shows."""
    facts = _facts(rulings.report(db, *_keys(db, keys), report_id))
    if not as_json:
        facts |= {name: _harmless(facts[name]) for name in ("text", "reason") if facts.get(name)}
    show_facts(facts, as_json)


@report.command("uphold")
@DB
@KEYS
@JSON
@_ID
@click.option(
    "--category", type=click.Choice(CATEGORIES), required=True, help="What the message really is."
)
@reporting
def report_uphold(
    db: Path, keys: Path | None, as_json: bool, report_id: bytes, category: str
) -> None:
    """Charge the business what the message costs in its true category.

    The adjustment is signed, comes into the ledger, and the business gets the report as its proof.
    """
    loaded, key = _keys(db, keys)
    adjust, has_copy = rulings.uphold(
        db, loaded, key, report_id, Category[category.upper()], machine_now()
    )
    facts = {
        "report": report_id.hex(),
        "business": adjust.business_id.hex(),
        "category": category,
        "delta_micro_usd": adjust.delta_micro_usd,
        "day": show_day(adjust.day),
        "leaf": adjust.leaf.hex(),
    }
    show_facts(facts, as_json)
    if not has_copy:
        click.echo(
            "note: the business's card has no key to which the report could be sealed; it will ask "
            "you for the proof",
            err=True,
        )


@report.command("dismiss")
@DB
@_ID
@reporting
def report_dismiss(db: Path, report_id: bytes) -> None:
    """Delete a report. An adjustment that was made after it stays."""
    rulings.dismiss(db, report_id)
    click.echo(f"dismissed {report_id.hex()}")


def _keys(db: Path, keys: Path | None) -> tuple[RelayKeys, ReportKey]:
    folder = keys_folder(db, keys)
    loaded = keyfiles.load(folder)
    return loaded, keyfiles.load_report_key(folder, loaded.cert)


def _state(view: ReportView) -> str:
    if not view.is_proved:
        return "not proved"
    return "re-rated" if view.adjust else "proved"


def _facts(view: ReportView) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "id": view.id.hex(),
        "received": show_day(view.day),
        "state": _state(view),
        "why": view.fault,
    }
    if view.complaint is None:
        return facts
    shown, wanted = view.complaint.report, view.complaint.wanted
    facts |= {
        "business": shown.business_id.hex(),
        "legal_name": view.legal_name,
        "labelled": _name(shown.category),
        "should_be": _name(wanted) if wanted else None,
        "reason": view.complaint.reason or None,
    }
    # Text that nothing proves is not shown as the business's.
    if view.leaf is not None and view.said is not None:
        line = view.leaf.line
        facts |= {
            "text": view.said.text,
            "sent": show_date(view.said.sent_at) if view.said.sent_at < DAY * 10**6 else None,
            "settled": show_day(view.leaf.settled_day),
            "market": line.market,
            "tariff": line.tariff,
            "list_price_micro_usd": line.list_price,
            "lock": view.leaf.lock.hex(),
        }
    if view.adjust is not None:
        facts |= {
            "rated_as": _name(view.adjust.category),
            "delta_micro_usd": view.adjust.delta_micro_usd,
        }
    return facts


def _name(category: int) -> str:
    try:
        return Category(category).name.lower()
    except ValueError:
        return f"category {category}"


def _harmless(text: str) -> str:
    """Text of others brings no control characters or direction marks to the terminal, and its lines
    stand apart from ours."""
    shown = (c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "".join(shown).replace("\n", "\n    ")
