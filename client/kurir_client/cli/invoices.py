"""``kurir invoice``: verify, csv, html, schema. Only ``verify`` with records needs a profile."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import click

from kurir_billing.dates import show_month
from kurir_billing.errors import InvoiceError
from kurir_billing.invoice import Invoice, Records
from kurir_billing.invoice_file import from_json, schema
from kurir_billing.verify import coverage, verify_invoice
from kurir_client import invoices
from kurir_client.cli.session import Options, pass_options
from kurir_client.errors import UsageError
from kurir_client.files import write_private
from kurir_client.invoice_csv import to_csv
from kurir_client.money import usd
from kurir_client.profile import Profile
from kurir_wire.errors import LinkError
from kurir_wire.ids import RelayId
from kurir_wire.links import PIN_BYTES, decode, pin_of

_FILE: Final = click.argument("file", type=click.Path(dir_okay=False))
_RELAY_ID_BYTES: Final = 32


@click.group()
def invoice() -> None:
    """For bookkeepers: verify an invoice, make a table or a page of it."""


@invoice.command("verify")
@_FILE
@click.option(
    "--without-records", is_flag=True, help="Check what a stranger can; no profile is needed."
)
@click.option("--pin", help="Which relay it has to be of: what follows # or . in its links.")
@pass_options
def invoice_verify(options: Options, file: str, without_records: bool, pin: str | None) -> None:
    """Recompute the invoice in FILE from this business's own records, and check its proofs.

    Without records, from the file alone; says what could not be checked then.
    """
    parsed = read_invoice(file)
    if pin is not None and not without_records:
        raise UsageError("--pin is for --without-records", "a profile knows its relay")
    if without_records:
        records = Records(_relay(parsed, pin), invoices.business_of(parsed))
        verify_invoice(parsed, records)
        show_invoice(options, parsed, file, records)
        return
    with options.profile() as profile:
        records = invoices.records(profile, parsed.cert)
        invoices.verify(profile, parsed)
        show_invoice(options, parsed, file, records)
        remind(options, profile)


@invoice.command("csv")
@_FILE
@click.option("--out", metavar="FILE", help="Write there, not to standard output.")
@pass_options
def invoice_csv(options: Options, file: str, out: str | None) -> None:
    """Make a table of the invoice in FILE: a row for each charge, fee and adjustment."""
    _write(options, to_csv(_signed_invoice(file)), out)


@invoice.command("html")
@_FILE
@click.option("--out", metavar="FILE", help="Write there, not to standard output.")
@pass_options
def invoice_html(options: Options, file: str, out: str | None) -> None:
    """Make a page of the invoice in FILE, for a browser or for print."""
    # Here, for the template engine takes long to load, and other commands do without.
    from kurir_client.invoice_html import to_html

    _write(options, to_html(_signed_invoice(file)), out)


@invoice.command("schema")
def invoice_schema() -> None:
    """Print the JSON Schema of invoice files."""
    sys.stdout.buffer.write(schema())


def read_invoice(file: str) -> Invoice:
    """:raises UsageError: it cannot be read
    :raises InvoiceError: it is no invoice"""
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    return from_json(data)


def show_invoice(options: Options, invoice: Invoice, file: str, records: Records) -> None:
    """Who owes what, and what was checked."""
    head = invoice.head
    charged = sum(group.count for group in invoice.groups if group.amount)
    checked, unchecked = coverage(records)
    options.out.line(
        f"{file}: {head.number}, {head.buyer.legal_name or 'no name'}, {show_month(head.month)}: "
        f"{head.count} settled, {charged} charged, {head.total_micro_usd} micro-USD = "
        f"{usd(head.total_micro_usd)}; verified",
        event="invoice",
        file=file,
        number=head.number,
        month=show_month(head.month),
        count=head.count,
        charged=charged,
        total_micro_usd=head.total_micro_usd,
        verified=True,
        checked=checked,
        not_checked=unchecked,
    )
    if records.signed is None:
        for what in checked:
            options.out.hint(f"checked: {what}")
    for what in unchecked:
        options.out.hint(f"not checked: {what}")


def remind(options: Options, profile: Profile) -> None:
    """Of evidence against the relay, if there is any."""
    against = len(profile.store.checkpoints(agreeing=False))
    if against:
        options.out.hint(
            f"{against} signed checkpoints of this relay contradict what it showed before; "
            "see: kurir business ledger"
        )


def _signed_invoice(file: str) -> Invoice:
    """An invoice of which everything holds that can be checked without records: what is made of it
    shows only what its relay signed."""
    parsed = read_invoice(file)
    verify_invoice(parsed, Records(parsed.cert.relay_id, invoices.business_of(parsed)))
    return parsed


def _relay(invoice: Invoice, pin: str | None) -> RelayId:
    if pin is None:
        raise UsageError(
            "without records it takes the relay's pin",
            "give --pin; it stands in the relay's links, and kurir-relay show prints it",
        )
    text = pin.strip()
    relay_id = invoice.cert.relay_id
    try:
        if len(text) == 2 * _RELAY_ID_BYTES:
            is_same = bytes.fromhex(text) == relay_id
        else:
            is_same = decode(text, PIN_BYTES) == pin_of(relay_id)
    except (ValueError, LinkError) as error:
        raise UsageError(
            f"{pin!r} is no pin", "give it as links have it, or the id in hex"
        ) from error
    if not is_same:
        raise InvoiceError("relay", "this invoice is of another relay than the pin says")
    return relay_id


def _write(options: Options, data: bytes, out: str | None) -> None:
    if out is None:
        sys.stdout.buffer.write(data)
        return
    write_private(Path(out), data)
    options.out.line(f"written {out}", event="written", file=out)
