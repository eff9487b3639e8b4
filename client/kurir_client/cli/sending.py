"""Sending from the command line: send, mute, and what becomes of one message."""

from __future__ import annotations

import sys
import time
from typing import Final

import click

from kurir_billing.answers import open_refusal
from kurir_billing.kinds import Category, RefusalCode
from kurir_client.cli.output import Output, category_of, clock_time
from kurir_client.cli.session import Options, pass_options, run
from kurir_client.errors import OfflineError, PeerError, RefusedError, RelayError, UsageError
from kurir_client.messenger import Messenger
from kurir_client.offers import cost, what_to_do
from kurir_client.schema import Contact, Kind, Status
from kurir_wire import codes

WAIT_MOST: Final = 20
"""Seconds for which a command waits where the relay asks to slow down."""
STOPPABLE: Final = {"marketing": Category.MARKETING}
"""What a customer can tell a business to stop; the rest are answers, or what was ordered."""


@click.command()
@click.argument("name")
@click.argument("text", nargs=-1, required=True)
@pass_options
def send(options: Options, name: str, text: tuple[str, ...]) -> None:
    """Send TEXT to NAME; - reads it from standard input."""
    words = " ".join(text)
    with options.profile() as profile:
        messenger = Messenger(profile)
        contact = messenger.contact(name)
        if contact.kind == Kind.CUSTOMER:
            raise UsageError(f"{contact.name} is a customer", "use: kurir business send")
        inner_id = messenger.queue_text(contact, sys.stdin.read() if words == "-" else words)
        deliver_now(options.out, messenger, contact, inner_id)


def deliver_now(out: Output, messenger: Messenger, contact: Contact, inner_id: bytes) -> None:
    """Send what waits, and say what became of one message.

    :raises ClientError: it failed for good
    """
    store = messenger.profile.store
    waits = _send_now(out, messenger, inner_id)
    sent = store.message_sent(inner_id)
    status = sent.status if sent else Status.FAILED
    if status is Status.FAILED:
        notes = [item for item in messenger.unread() if item.inner_id == inner_id]
        for note in notes:
            messenger.shown(note)
        text = notes[0].text if notes else f"the message to {contact.name} was not sent"
        answers = [open_refusal(data) for data in store.refusals(inner_id)]
        if answers:
            last = max(answers, key=lambda refusal: refusal.now)
            quoted = cost(store, last.quote.line) if last.quote else None
            hint = what_to_do(RefusalCode(last.code))
            if quoted:
                hint = f"accept the price: --max-price {quoted}"
            raise RefusedError(text.removesuffix(f"; {hint}"), hint, last.code, quoted)
        raise PeerError(text)
    if not waits and not messenger.can_send(contact):
        waits = f": fresh keys are being agreed with {contact.name}, it goes when that is done"
    row = store.outgoing_of(inner_id)
    if not waits and row is not None and row.not_before is not None:
        waits = f": the relay takes it from {clock_time(row.not_before)} on; see kurir read"
    words = "the relay has it" if status is Status.STORED else "queued here" + waits
    price = f" ({sent.price} micro-USD)" if sent and sent.price is not None else ""
    facts: dict[str, object] = {"event": "sent", "to": contact.name, "status": status.value}
    if sent and sent.price is not None:
        facts |= {"price_micro_usd": sent.price, "category": category_of(sent)}
    out.line(f"{out.glyph(status)} {contact.name}: {words}{price}", **facts)


def _send_now(out: Output, messenger: Messenger, inner_id: bytes) -> str:
    """Send what waits. If the relay asks to slow down for a moment, wait for it and say so.

    :returns: why it could not all be sent now
    :raises RelayError: it failed for good
    """
    waited = 0
    while True:
        try:
            run(flush(messenger))
            return ""
        except (OfflineError, RelayError) as error:
            pause = error.retry_after if isinstance(error, RelayError) else 0
            if pause is None:
                raise
            is_moment = isinstance(error, RelayError) and error.code == codes.RATE
            still = messenger.profile.store.outgoing_of(inner_id) is not None
            if not still or not is_moment or waited + pause > WAIT_MOST:
                return f": {error.what}; it goes with the next command that connects"
            out.note(f"{error.what}; trying again in {pause} s")
            time.sleep(pause)
            waited += pause


async def flush(messenger: Messenger) -> None:
    """Connect, and send what waits, without reading."""
    async with messenger.online(reading=False):
        await messenger.flush()


@click.command()
@click.argument("name")
@click.argument("what", type=click.Choice(list(STOPPABLE), case_sensitive=False))
@click.option("--undo", is_flag=True, help="Take it again.")
@pass_options
def mute(options: Options, name: str, what: str, undo: bool) -> None:
    """Take no more messages of the category WHAT from the business NAME."""
    out, category = options.out, STOPPABLE[what.lower()]
    with options.profile() as profile:
        messenger = Messenger(profile)
        contact = messenger.contact(name)
        if contact.kind != Kind.BUSINESS:
            raise UsageError(f"{contact.name} is not a business", "only those say what they send")
        with profile.store.transaction():
            bits = contact.refuses & ~(1 << category) if undo else contact.refuses | 1 << category
            profile.store.set_contact(contact.id, refuses=bits)
        problem = ""
        try:
            run(_read_once(messenger))
        except (OfflineError, RelayError, UsageError) as error:
            problem = error.what  # what was asked stays, and goes with the next connection
        told = profile.store.contact(contact.id).refusal_told == bits
        word = "is taken again" if undo else "is taken no more"
        later = "" if told else f"; the relay hears of it later: {problem or 'not connected'}"
        out.line(
            f"{what.lower()} of {contact.name} {word}{later}",
            event="muted",
            name=contact.name,
            refuses=[name for name, one in STOPPABLE.items() if bits >> one & 1],
            told=told,
        )
        if not told:
            return
        out.hint("the relay refuses it from now on where the business's tariff names categories")


async def _read_once(messenger: Messenger) -> None:
    async with messenger.online():
        await messenger.caught_up()


COMMANDS: Final = (send, mute)
