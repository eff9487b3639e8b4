"""Commands for people: init, invite, add, contacts, read, verify, status."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Final

import click

from kurir_client import terms
from kurir_client.cli.output import Output, clock_time, kind_of, trust_of
from kurir_client.cli.prices import described
from kurir_client.cli.sending import flush
from kurir_client.cli.session import Options, new_passphrase, pass_options, run
from kurir_client.errors import (
    ClientError,
    OfflineError,
    PeerError,
    ProfileError,
    RelayError,
    UsageError,
)
from kurir_client.messenger import Messenger
from kurir_client.offers import offer
from kurir_client.profile import VAULT_FILE, Profile, parse_relay
from kurir_client.schema import Contact, Kind, Message
from kurir_crypto import vault
from kurir_crypto.safety import format_groups, qr_text
from kurir_wire.cards import TIER_NAMES
from kurir_wire.links import BusinessLink, InviteLink, parse_link

QUICK_COST: Final = vault.Cost(operations=1, memory_kib=8_192)
"""For throw-away profiles of demonstrations and tests: unlocking takes 10 ms, so does a guess."""


def _country(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Anything else would be billed as an unknown market, and nobody would be told."""
    if value is None:
        return None
    if len(value) != 2 or not (value.isascii() and value.isalpha()):
        raise UsageError(f"{value!r} is no country code", "give its two letters: ID for Indonesia")
    return value.upper()


@click.command()
@click.option("--name", help="Your name; only people you invite see it.")
@click.option("--relay", help="Your relay: HOST:PORT. A link can say it later, too.")
@click.option(
    "--market",
    callback=_country,
    help="Your country, two letters: what businesses are charged by.",
)
@click.option(
    "--vault-cost",
    type=click.Choice(["default", "quick"]),
    default="default",
    help="How hard the passphrase is to guess; quick is for tests.",
)
@pass_options
def init(
    options: Options, name: str | None, relay: str | None, market: str | None, vault_cost: str
) -> None:
    """Make a profile in --home."""
    out = options.out
    # What can be wrong is said before anything is asked or made.
    if (options.home / VAULT_FILE).exists():
        raise ProfileError(
            f"there is a profile in {options.home} already", "use another folder with --home"
        )
    if relay:
        parse_relay(relay)
    if name is None:
        if not sys.stdin.isatty():
            raise UsageError("a profile needs a name", "give it: kurir init --name NAME")
        name = str(click.prompt("Your name (only people you invite see it)"))
    passphrase = new_passphrase(out)
    cost = QUICK_COST if vault_cost == "quick" else vault.DEFAULT_COST
    profile = Profile.create(options.home, passphrase, name, clock=options.clock, cost=cost)
    try:
        if relay:
            profile.set_relay(relay)
        if market:
            with profile.store.transaction():
                profile.store.put("market", market.encode())
        out.line(
            f"made the profile of {profile.name} in {options.home}",
            event="profile",
            name=profile.name,
            home=str(options.home),
        )
        if profile.relay:
            out.hint("next: kurir invite, and send the link to one person")
        else:
            out.hint("next: kurir add LINK, or kurir init in another folder with --relay")
    finally:
        profile.close()


@click.command()
@click.argument("label", default="")
@pass_options
def invite(options: Options, label: str) -> None:
    """Make a link for one person, to use once. LABEL reminds you whom it is for."""
    with options.profile() as profile:
        link = run(_invite(profile, label))
    text = str(link)
    options.out.line(text, event="invite", link=text, label=label)
    options.out.qr(text)
    options.out.hint(
        "Send this link to one person, by a way that you trust; it works once and for 30 days.\n"
        "When they have added it: kurir read"
    )


async def _invite(profile: Profile, label: str) -> InviteLink:
    messenger = Messenger(profile)
    async with messenger.online(reading=False):
        return await messenger.invite(label)


@click.command()
@click.argument("link")
@click.option("--name", help="What to call them here.")
@click.option("--market", callback=_country, help="For a business: your country, two letters.")
@pass_options
def add(options: Options, link: str, name: str | None, market: str | None) -> None:
    """Add the person or business behind LINK."""
    parsed = parse_link(link)
    with options.profile() as profile:
        _adopt_relay(profile, parsed)
        contact = run(_add(profile, parsed, name, market))
        _greet(options.out, contact)


def _adopt_relay(profile: Profile, link: InviteLink | BusinessLink) -> None:
    profile.set_relay(link.relay.url)
    with profile.store.transaction():
        pin = profile.relay_pin
        if pin is None or profile.store.get("relay_id") is None:
            profile.store.put("relay_pin", link.pin)
        elif pin != link.pin:
            raise PeerError(
                "this link names another relay at the same address than the one you use",
                "ask for a new link; if the relay was set up anew, make a new profile",
            )


async def _add(
    profile: Profile, link: InviteLink | BusinessLink, name: str | None, market: str | None
) -> Contact:
    messenger = Messenger(profile)
    async with messenger.online(reading=False):
        return await messenger.add(link, name, market)


def _greet(out: Output, contact: Contact) -> None:
    facts: dict[str, object] = {
        "event": "contact",
        "name": contact.name,
        "kind": contact.kind,
        "trust": trust_of(contact),
    }
    if contact.kind == Kind.PERSON:
        facts["confirmed"] = contact.introduced
        out.line(f"added {contact.name} ({trust_of(contact)})", **facts)
        if not contact.introduced:
            out.hint(
                f"{contact.name}'s device still has to confirm: an invite works once, and somebody "
                "else may have been first"
            )
        out.hint(
            f"next: kurir send {contact.name!r} TEXT\n"
            f"compare numbers with: kurir verify {contact.name!r}"
        )
        return
    tier = TIER_NAMES.get(contact.tier or 0, "none")
    facts |= {"legal_name": contact.legal_name, "tier": tier, "market": contact.market}
    badge = f"certified as “{contact.legal_name}”" if contact.legal_name else "NOT certified"
    out.line(f"added the business {contact.name}, {badge} by the relay's operator", **facts)
    out.hint(
        f"{contact.name} pays for its messages to you, you never do. The relay counts them, knows "
        f"your market ({contact.market}),\nand cannot read them or see who you are."
    )
    if contact.state == "changed":
        raise PeerError(
            f"{contact.name} shows another key than before; nothing will be sent",
            f"ask them by another way, then: kurir verify {contact.name!r}",
        )


@click.command()
@pass_options
def contacts(options: Options) -> None:
    """List people, businesses and invites that wait."""
    out = options.out
    with options.profile() as profile:
        for contact in profile.store.contacts():
            unread = sum(1 for item in profile.store.unread() if item.contact == contact.id)
            news = f", {unread} new" if unread else ""
            out.line(
                f"{contact.name}  ({kind_of(contact)}; {trust_of(contact)}{news})",
                event="contact",
                name=contact.name,
                kind=contact.kind,
                trust=trust_of(contact),
                unread=unread,
            )
        for waiting in profile.store.invites():
            label = waiting.label or "no label"
            out.line(
                f"invite ({label}), made {clock_time(waiting.made_at)}, not used yet",
                event="invite",
                label=waiting.label,
                made_at=waiting.made_at,
            )
        if not profile.store.contacts() and not profile.store.invites():
            out.hint("nobody yet; make an invite: kurir invite")


@click.command()
@click.option("--follow", is_flag=True, help="Stay, and show what comes until Ctrl+C.")
@click.option("--with", "name", metavar="NAME", help="The last messages with NAME instead.")
@pass_options
def read(options: Options, follow: bool, name: str | None) -> None:
    """Show what is new; with --follow as it comes."""
    out = options.out
    with options.profile() as profile:
        messenger = Messenger(profile)
        if name is not None:
            contact = messenger.contact(name)
            for message in profile.store.history(contact.id, 100):
                _show(out, messenger, message)
            return
        if follow:
            with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
                run(_follow(out, messenger))
            return
        problem: ClientError | None = None
        try:
            run(_fetch(messenger))
        except ClientError as error:
            problem = error  # what has come is shown all the same
        count = show_unread(out, messenger)
        if problem is not None:
            raise problem
        if not count:
            out.hint("nothing new")


async def _fetch(messenger: Messenger) -> None:
    async with messenger.online():
        await messenger.caught_up()


async def _follow(out: Output, messenger: Messenger) -> None:
    async def show() -> None:
        show_unread(out, messenger)

    messenger.on_change = show
    await show()
    await messenger.follow(lambda state: out.note(link_state(messenger, state)))


def link_state(messenger: Messenger, state: str) -> str:
    """What the link does, with a glyph, and what waits."""
    if state == "online":
        relay = messenger.profile.relay
        return f"● online   {relay.authority if relay else ''}"
    queued = messenger.profile.store.queued()
    return f"◌ {state}" + (f", {queued} queued" if queued else "")


def show_unread(out: Output, messenger: Messenger, contact: Contact | None = None) -> int:
    """Print what is new, of one contact or of all, and mark it as read."""
    count = 0
    for message in messenger.unread():
        if contact is None or message.contact in (None, contact.id):
            _show(out, messenger, message)
            # Shown first, marked second: what is printed twice after a crash is better than lost.
            messenger.shown(message)
            count += 1
    return count


def _show(out: Output, messenger: Messenger, message: Message) -> None:
    who = None if message.contact is None else messenger.profile.store.contact(message.contact)
    out.message(message, who)


@click.command()
@click.argument("name")
@click.argument("answer", required=False, type=click.Choice(["yes", "no"]))
@pass_options
def verify(options: Options, name: str, answer: str | None) -> None:
    """Compare safety numbers with NAME; then say yes or no."""
    out = options.out
    with options.profile() as profile:
        messenger = Messenger(profile)
        contact = messenger.contact(name)
        number = messenger.safety_number(contact)
        if answer is None:
            out.line(
                format_groups(number),
                event="safety_number",
                name=contact.name,
                number=number,
                trust=trust_of(contact),
            )
            out.qr(qr_text(number))
            out.hint(f"Compare these 60 digits with what {contact.name} sees, aloud or in person.")
            if out.as_json or not sys.stdin.isatty():
                return
            answer = str(click.prompt("Are they the same", type=click.Choice(["yes", "no"])))
        messenger.set_verified(contact, answer == "yes")
        after = messenger.contact(name)
        out.line(f"{after.name}: {trust_of(after)}", event="trust", trust=trust_of(after))
        if answer == "no":
            out.hint(
                "Then somebody may be in between. Meet in person, and start over with an invite."
            )


@click.command()
@pass_options
def status(options: Options) -> None:
    """Say how things stand: profile, relay, what waits."""
    out = options.out
    with options.profile() as profile:
        relay = profile.relay
        reachable, busy, problem = False, False, ""
        if relay is not None:
            try:
                run(flush(Messenger(profile)))
                reachable = True
            except OfflineError as error:
                problem = error.what
            except RelayError as error:
                reachable = busy = error.retry_after is not None
                problem = error.what
        queued, unread = profile.store.queued(), len(profile.store.unread())
        state = ("● online, busy" if busy else "● online") if reachable else "○ offline"
        where = relay.authority if relay else "no relay yet"
        out.line(
            f"kurir  {profile.name}  {state}  {where}",
            event="status",
            name=profile.name,
            relay=where,
            online=reachable,
            queued=queued,
            unread=unread,
        )
        if problem:
            out.hint(problem)
        out.hint(f"{queued} queued, {unread} unread, {len(profile.store.contacts())} contacts")
        has_prices = terms.known(profile.store) and profile.store.get("rate_card")
        for contact in profile.store.contacts():
            if contact.kind == Kind.CUSTOMER and has_prices:
                due = offer(profile.store, contact, profile.clock())
                out.hint(f"{contact.name}: {described(due)}")


COMMANDS: Final = (init, invite, add, contacts, read, verify, status)
