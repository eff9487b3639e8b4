"""``kurir-audit bill``: files in, files out, around :mod:`kurir_audit.replay`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from kurir_audit.capture import reason
from kurir_audit.errors import AuditError, EvidenceFileError, UsageError
from kurir_audit.events import read_events
from kurir_audit.replay import Billed, Refused, replay, total
from kurir_billing.errors import BillingError, RateCardError
from kurir_billing.ratecard import RateCard, bundled, canonical, parse
from kurir_billing.tariffs import tariff_named


def run(file: Path, name: str, card_file: Path | None, out: Path | None) -> None:
    """Price a file of events; to ``out``, or to standard output.

    :raises AuditError: a file cannot be used, or there is no such tariff; nothing was written
    """
    if out is not None and out.resolve() in {file.resolve(), card_file and card_file.resolve()}:
        raise UsageError(f"{out} is what is to be read", "give --out another name")
    try:
        tariff = tariff_named(name)
    except BillingError as error:
        raise UsageError(str(error)) from error
    card = read_card(card_file) if card_file else bundled()
    events = read_events(file, asks_category=tariff.asks_category)
    outcomes = replay(events, tariff, card)
    _write(outcomes, out)
    if out is not None:
        refused = sum(1 for outcome in outcomes if isinstance(outcome, Refused))
        click.echo(f"{len(outcomes) - refused:,} settled, {refused:,} refused")
        click.echo(f"{total(outcomes):,} micro-USD under {tariff.name}")


def read_card(file: Path) -> RateCard:
    """A rate card in any spelling, as ``kurir-relay ratecard show --json`` prints it.

    :raises EvidenceFileError: not a rate card
    """
    try:
        return parse(canonical(msgspec.json.decode(file.read_bytes(), type=RateCard)))
    except OSError as error:
        raise EvidenceFileError(f"cannot read {file}: {reason(error)}") from error
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise EvidenceFileError(f"{file} is not a rate card: {error}") from error
    except RateCardError as error:
        raise EvidenceFileError(f"{file}: {error}") from error


def _write(outcomes: list[Billed | Refused], out: Path | None) -> None:
    encode = msgspec.json.Encoder().encode
    lines = (encode(outcome) + b"\n" for outcome in outcomes)
    if out is None:
        sys.stdout.buffer.writelines(lines)
        return
    try:
        with out.open("wb") as file:
            file.writelines(lines)
    except OSError as error:
        raise AuditError(f"cannot write {out}: {reason(error)}") from error
