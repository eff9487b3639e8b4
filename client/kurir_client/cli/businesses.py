"""Commands for businesses: register, link, status, customers, price, send, invoice, ledger,
adjustments."""

from __future__ import annotations

import base64
import re
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from kurir_billing.adjusted import Ruling
from kurir_billing.dates import show_day
from kurir_billing.invoice import Invoice
from kurir_billing.invoice_file import to_json
from kurir_billing.kinds import Category, Class
from kurir_billing.ratecard import RateCard
from kurir_billing.tariffs import tariff_named
from kurir_client import adjustments, invoices, terms
from kurir_client import business as own
from kurir_client.cli.invoices import invoice, remind, show_invoice
from kurir_client.cli.output import Output
from kurir_client.cli.prices import ask_prices, category_option, described, facts_of, tell_age
from kurir_client.cli.sending import deliver_now
from kurir_client.cli.session import Options, pass_options, run
from kurir_client.display import harmless
from kurir_client.errors import PeerError, UsageError
from kurir_client.files import write_private
from kurir_client.messenger import Messenger
from kurir_client.money import usd
from kurir_client.offers import category_named, offer, refused
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Kind
from kurir_wire.cards import TIER_NAMES
from kurir_wire.ids import Hash
from kurir_wire.relaycert import RelayCert


@click.group()
def business() -> None:
    """For businesses: register, link, customers, price, send, invoice, ledger."""


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
        missing = "no longer" if terms.are_revoked(profile.store) else "not yet"
        name = shown.legal_name or f"{missing} approved"
        options.out.line(
            f"{profile.name}: {name}, tier {TIER_NAMES[shown.tier]}",
            event="business",
            business_id=shown.business_id.hex(),
            legal_name=shown.legal_name,
            tier=TIER_NAMES[shown.tier],
            link=str(shown.link),
            **_terms_facts(profile),
        )
        agreed = terms.known(profile.store)
        if agreed is not None:
            issued = time.strftime("%d %b %Y", time.gmtime(agreed.issued))
            left = terms.starts_left(profile.store)
            rest = "" if left is None else f"; {left:,} left"
            options.out.hint(f"terms of {issued}: {terms.describe(agreed)}{rest}")


def _terms_facts(profile: Profile) -> dict[str, object]:
    agreed = terms.known(profile.store)
    if agreed is None:
        return {"tariff": None}
    return {
        "tariff": agreed.tariff,
        "starts": agreed.starts,
        "starts_left": terms.starts_left(profile.store),
        "terms_issued": agreed.issued,
    }


async def _status(profile: Profile) -> own.Registered:
    messenger = Messenger(profile)
    async with messenger.online(reading=False) as link:
        await own.keep_fresh(profile, link)
        return await own.status(profile, link)


@business.command()
@category_option
@pass_options
def customers(options: Options, category: str | None) -> None:
    """List customers: which windows are open, and what a message costs now.

    Asks the relay by what it prices; if it does not answer, by what it said last.
    """
    with options.profile() as profile:
        why = _ask_prices(profile)
        found = [item for item in profile.store.contacts() if item.kind == Kind.CUSTOMER]
        for contact in found:
            due = offer(profile.store, contact, profile.clock(), category_named(category))
            options.out.line(
                f"{contact.name}  (market {contact.market}; {described(due)})",
                event="customer",
                **facts_of(due, contact),
            )
        tell_age(options.out, profile, why)
        if not found:
            options.out.hint("no customer has written yet; spread: kurir business link")


@business.command("price")
@click.argument("name")
@category_option
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@pass_options
def business_price(options: Options, name: str, category: str | None, as_json: bool) -> None:
    """Say what a message to the customer NAME would cost if it were sent now.

    Asks the relay by what it prices; if it does not answer, by what it said last.
    """
    out = replace(options.out, as_json=options.out.as_json or as_json)
    with options.profile() as profile:
        contact = _customer(Messenger(profile), name)
        why = _ask_prices(profile)
        due = offer(profile.store, contact, profile.clock(), category_named(category))
        out.line(f"{contact.name}: {described(due)}", event="price", **facts_of(due, contact))
        tell_age(out, profile, why)
        if due.may_lower:
            out.hint(f"the invoice may ask for less: {due.may_lower}")
        if due.klass is Class.OUT_OF_WINDOW and due.starts_left is not None:
            out.hint(f"{due.starts_left:,} more customers can be written to unasked for now")
        if due.price_micro_usd is None:
            out.hint(refused(due, contact.name).hint)
        _hint_category(out, due.tariff, category)


def _customer(messenger: Messenger, name: str) -> Contact:
    contact = messenger.contact(name)
    if contact.kind != Kind.CUSTOMER:
        raise UsageError(f"{contact.name} is not a customer", "use: kurir send")
    return contact


def _hint_category(out: Output, tariff: str, category: str | None) -> None:
    if category is not None and not tariff_named(tariff).asks_category:
        out.hint(f"the tariff {tariff} has no categories; none is sent")


@business.command("send")
@click.argument("name")
@click.argument("text", nargs=-1, required=True)
@click.option(
    "--max-price",
    type=click.IntRange(min=0),
    default=0,
    metavar="MICRO_USD",
    help="What you accept to pay; without it only what is free goes.",
)
@category_option
@pass_options
def business_send(
    options: Options, name: str, text: tuple[str, ...], max_price: int, category: str | None
) -> None:
    """Write TEXT to the customer NAME; - reads it from standard input."""
    words = " ".join(text)
    with options.profile() as profile:
        messenger = Messenger(profile)
        contact = _customer(messenger, name)
        _need_prices(profile)
        wanted = category_named(category)
        due = offer(profile.store, contact, profile.clock(), wanted)
        if due.price_micro_usd is None or due.price_micro_usd > max_price:
            # It may cost less by now, or go again; what goes out is priced after connecting anyway.
            why = ask_prices(profile)
            due = offer(profile.store, contact, profile.clock(), wanted)
            if due.price_micro_usd is None or due.price_micro_usd > max_price:
                tell_age(options.out, profile, why)
                raise refused(due, contact.name)
        _hint_category(options.out, due.tariff, category)
        inner_id = messenger.queue_text(
            contact, sys.stdin.read() if words == "-" else words, max_price, category=wanted
        )
        try:
            deliver_now(options.out, messenger, contact, inner_id)
        except PeerError as error:
            # What came with the connection may have changed the price: newer terms, a newer card.
            due = offer(profile.store, contact, profile.clock(), wanted)
            if due.price_micro_usd is None or due.price_micro_usd > max_price:
                raise refused(due, contact.name) from error
            raise


def _need_prices(profile: Profile) -> bool:
    """A price is only as good as rate card and terms; ask once if one is not here yet.

    :returns: whether the relay was asked
    """
    own.own_id(profile)
    if profile.store.get("rate_card") is not None and terms.known(profile.store) is not None:
        return False
    run(_status(profile))
    return True


def _ask_prices(profile: Profile) -> str:
    """The same, and ask with little patience for what is here; see :func:`ask_prices`."""
    return "" if _need_prices(profile) else ask_prices(profile)


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
        records = invoices.records(profile, fetched.cert)
        invoices.verify(profile, fetched)
        show_invoice(options, fetched, str(target), records)
        remind(options, profile)


async def _invoice(profile: Profile, month: int) -> Invoice:
    messenger = Messenger(profile)
    async with messenger.online(reading=False) as link:
        await own.keep_fresh(profile, link)
        return await invoices.fetch_invoice(profile, link, month)


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


@business.command("adjustments")
@click.option("--month", required=True, metavar="YYYY-MM", help="When the operator decided.")
@pass_options
def business_adjustments(options: Options, month: str) -> None:
    """Fetch the charges that the operator re-rated after a report, and verify each."""
    out, number = options.out, _month(month)
    with options.profile() as profile:
        found, cert, cards = run(_adjustments(profile, number))
        for ruling in found:
            was = _category(ruling.leaf.line.category)
            right = _category(ruling.adjust.category)
            text = adjustments.text_of(ruling, profile)
            shown = "(its report does not open)" if text is None else harmless(text)
            delta = ruling.adjust.delta_micro_usd
            out.line(
                f"{show_day(ruling.adjust.day)}: {was} is {right}, {delta} micro-USD more: {shown}",
                event="adjustment",
                day=show_day(ruling.adjust.day),
                settled=show_day(ruling.leaf.settled_day),
                charge=ruling.leaf.charge_hash(profile.relay_id).hex(),
                was=was,
                category=right,
                delta_micro_usd=delta,
                said=text,
            )
        adjustments.verify(profile, cert, cards, found)
        total = sum(ruling.adjust.delta_micro_usd for ruling in found)
        out.line(
            f"{month}: {len(found)} adjustments, {total} micro-USD = {usd(total)}; verified",
            event="adjustments",
            month=month,
            count=len(found),
            total_micro_usd=total,
            verified=True,
        )


def _category(number: int) -> str:
    try:
        return Category(number).name.lower()
    except ValueError:
        return f"category {number}"


async def _adjustments(
    profile: Profile, month: int
) -> tuple[tuple[Ruling, ...], RelayCert, dict[Hash, RateCard]]:
    messenger = Messenger(profile)
    async with messenger.online(reading=False) as link:
        await own.keep_fresh(profile, link)
        found = await adjustments.fetch(profile, link, month)
        return found, link.cert, await adjustments.fetch_cards(link, found)


def _month(text: str) -> int:
    match = re.fullmatch(r"(\d{4})-(0[1-9]|1[0-2])", text)
    if match is None:
        raise UsageError(f"{text!r} is not a month", "give it as YYYY-MM, such as 2026-11")
    return int(match[1]) * 100 + int(match[2])


COMMANDS: Final = (business, invoice)
