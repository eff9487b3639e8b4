"""Commands for businesses: register, link, status, customers, send, invoice, ledger."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Final

import click

from kurir_billing.invoice import Invoice
from kurir_billing.invoice_file import to_json
from kurir_client import business as own
from kurir_client.cli.invoices import invoice, remind, show_invoice
from kurir_client.cli.output import clock_time
from kurir_client.cli.people import deliver_now
from kurir_client.cli.session import Options, pass_options, run
from kurir_client.errors import UsageError
from kurir_client.files import write_private
from kurir_client.messenger import Messenger
from kurir_client.profile import Profile
from kurir_client.schema import Kind
from kurir_client.terms import offer, refused
from kurir_wire.cards import TIER_NAMES


@click.group()
def business() -> None:
    """For businesses: register, link, customers, send, invoice, ledger."""


@business.command()
@click.option("--legal-name", required=True, help="As the relay's operator will certify it.")
@pass_options
def register(options: Options, legal_name: str) -> None:
    """Register this profile as a business with its relay."""
    with options.profile() as profile:
        shown = run(_register(profile, legal_name))
        ident = shown.business_id.hex()
        options.out.line(
            f"registered {profile.name}, business id {ident}",
            event="registered",
            business_id=ident,
            link=str(shown.link),
            legal_name=shown.legal_name,
            tier=TIER_NAMES[shown.tier],
        )
        if shown.legal_name is None:
            options.out.hint(
                "not approved yet. The operator of the relay runs:\n"
                f"  kurir-relay business approve {ident} --db FILE --tier platform "
                f"--legal-name {legal_name!r}"
            )
        elif shown.legal_name != legal_name:
            options.out.hint(
                f"the operator has certified you as {shown.legal_name!r}, and customers see that; "
                "another name is theirs to approve"
            )
        options.out.hint("your customers reach you by: kurir business link")


async def _register(profile: Profile, legal_name: str) -> own.Registered:
    messenger = Messenger(profile)
    async with messenger.online(reading=False) as link:
        await own.register(profile, link, legal_name)
        return await own.status(profile, link)


@business.command("link")
@pass_options
def business_link(options: Options) -> None:
    """Show the link and QR code by which customers start a chat."""
    with options.profile() as profile:
        text = str(own.own_link(profile))
    options.out.line(text, event="link", link=text)
    options.out.qr(text)


@business.command("status")
@pass_options
def business_status(options: Options) -> None:
    """Say how the relay shows this business to customers."""
    with options.profile() as profile:
        shown = run(_status(profile))
        name = shown.legal_name or "not approved yet"
        options.out.line(
            f"{profile.name}: {name}, tier {TIER_NAMES[shown.tier]}",
            event="business",
            business_id=shown.business_id.hex(),
            legal_name=shown.legal_name,
            tier=TIER_NAMES[shown.tier],
            link=str(shown.link),
        )


async def _status(profile: Profile) -> own.Registered:
    messenger = Messenger(profile)
    async with messenger.online(reading=False) as link:
        await own.keep_fresh(profile, link)
        return await own.status(profile, link)


@business.command()
@pass_options
def customers(options: Options) -> None:
    """List customers: until when an answer is free, and what it costs now."""
    with options.profile() as profile:
        _need_rates(profile)
        found = [item for item in profile.store.contacts() if item.kind == Kind.CUSTOMER]
        for contact in found:
            due = offer(profile.store, contact, profile.clock())
            until = f"free until {clock_time(due.closes_at)}" if due.closes_at else "window shut"
            options.out.line(
                f"{contact.name}  (market {contact.market}; {until}; "
                f"now {due.price_micro_usd} micro-USD)",
                event="customer",
                name=contact.name,
                market=contact.market,
                closes_at=due.closes_at,
                micro_usd=due.price_micro_usd,
            )
        if not found:
            options.out.hint("no customer has written yet; spread: kurir business link")


@business.command("send")
@click.argument("name")
@click.argument("text", nargs=-1, required=True)
@click.option(
    "--max-price",
    type=click.IntRange(min=0),
    default=0,
    metavar="MICRO_USD",
    help="What you accept to pay; without it only free answers go.",
)
@pass_options
def business_send(options: Options, name: str, text: tuple[str, ...], max_price: int) -> None:
    """Write to the customer NAME."""
    with options.profile() as profile:
        messenger = Messenger(profile)
        contact = messenger.contact(name)
        if contact.kind != Kind.CUSTOMER:
            raise UsageError(f"{contact.name} is not a customer", "use: kurir send")
        _need_rates(profile)
        due = offer(profile.store, contact, profile.clock())
        if due.price_micro_usd > max_price:
            raise refused(due)
        inner_id = messenger.queue_text(contact, " ".join(text), max_price)
        deliver_now(options.out, messenger, contact, inner_id)


def _need_rates(profile: Profile) -> None:
    """A price is only as good as the rate card; take one once if none is here yet."""
    own.own_id(profile)
    if profile.store.get("rate_card") is None:
        run(_status(profile))


@business.command("invoice")
@click.option(
    "--month", required=True, metavar="YYYY-MM", help="The running month goes through yesterday."
)
@click.option(
    "--out", "file", metavar="FILE", help="Where to write it; by default invoice-MONTH.json."
)
@pass_options
def business_invoice(options: Options, month: str, file: str | None) -> None:
    """Fetch the invoice of a month with its proofs from the ledger, and verify it."""
    number = _month(month)
    target = Path(file or f"invoice-{month}.json")
    with options.profile() as profile:
        fetched = run(_invoice(profile, number))
        write_private(target, to_json(fetched))
        records = own.records(profile)
        own.verify(profile, fetched)
        show_invoice(options, fetched, str(target), records)
        remind(options, profile)


async def _invoice(profile: Profile, month: int) -> Invoice:
    messenger = Messenger(profile)
    async with messenger.online(reading=False) as link:
        await own.keep_fresh(profile, link)
        return await own.fetch_invoice(profile, link, month)


@business.command("ledger")
@pass_options
def business_ledger(options: Options) -> None:
    """Show the signed states of the relay's ledger that this business saw.

    Those that contradict others are evidence against the relay; each is shown as it was signed.
    """
    with options.profile() as profile:
        own.own_id(profile)
        agreeing = profile.store.checkpoints(agreeing=True)
        against = profile.store.checkpoints(agreeing=False)
    for seen in (*agreeing[-1:], *against):
        word = "last accepted" if seen.agrees else "CONTRADICTS what was accepted"
        options.out.line(
            f"{word}: {seen.size} settled charges, root {seen.root.hex()}\n{seen.note.decode()}",
            event="checkpoint",
            size=seen.size,
            root=seen.root.hex(),
            agrees=seen.agrees,
            note=seen.note.decode(),
            certificate=base64.b64encode(seen.cert).decode(),
        )
    if not agreeing:
        options.out.hint("none yet; kurir business invoice fetches one")


def _month(text: str) -> int:
    match = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", text)
    if match is None:
        raise UsageError(f"{text!r} is not a month", "give it as YYYY-MM, such as 2026-11")
    return int(match[1]) * 100 + int(match[2])


COMMANDS: Final = (business, invoice)
