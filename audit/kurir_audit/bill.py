"""``kurir-audit bill``: files in, files out, around :mod:`kurir_audit.replay`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from kurir_audit.capture import reason
from kurir_audit.card_files import Cards, read_cards
from kurir_audit.errors import AuditError, UsageError
from kurir_audit.events import read_events
from kurir_audit.replay import Billed, Refused, replay, total
from kurir_billing.errors import BillingError
from kurir_billing.ratecard import bundled
from kurir_billing.tariffs import tariff_named


def run(file: Path, name: str, card_files: Sequence[Path], out: Path | None) -> None:
    """Price a file of events; to ``out``, or to standard output.

    :param card_files: rate cards; none for the bundled one
    :raises AuditError: a file cannot be used, or there is no such tariff; nothing was written
    """
    if out is not None and out.resolve() in {read.resolve() for read in (file, *card_files)}:
        raise UsageError(f"{out} is what is to be read", "give --out another name")
    try:
        tariff = tariff_named(name)
    except BillingError as error:
        raise UsageError(str(error)) from error
    cards = read_cards(card_files) if card_files else Cards([bundled()])
    events = read_events(file, asks_category=tariff.asks_category)
    outcomes = replay(events, tariff, cards)
    _write(outcomes, out)
    if out is not None:
        refused = sum(1 for outcome in outcomes if isinstance(outcome, Refused))
        click.echo(f"{len(outcomes) - refused:,} settled, {refused:,} refused")
        click.echo(f"{total(outcomes):,} micro-USD under {tariff.name}")


def _write(outcomes: list[Billed | Refused], out: Path | None) -> None:
    encode = msgspec.json.Encoder().encode
    lines = (encode(outcome) + b"\n" for outcome in outcomes)
    if out is None:
        sys.stdout.buffer.writelines(lines)
        return
    # What was there before stays until all of it is written.
    is_file = out.is_file() or not out.exists()
    partial = out.with_name(out.name + ".new") if is_file else out
    try:
        with partial.open("wb") as file:
            file.writelines(lines)
        if is_file:
            partial.replace(out)
    except OSError as error:
        if is_file:
            partial.unlink(missing_ok=True)
        raise AuditError(f"cannot write {out}: {reason(error)}") from error
