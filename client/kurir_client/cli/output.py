"""What the command line prints: lines for people, or one JSON object a line.

Text of others never reaches the terminal with control characters in it; JSON is all ASCII.
"""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from typing import Final

import click
import segno

from kurir_billing.kinds import Category
from kurir_client.display import harmless
from kurir_client.schema import Contact, Kind, Message, Status

GLYPHS: Final = {Status.QUEUED: "·", Status.STORED: "✓", Status.FAILED: "✗"}
ASCII_GLYPHS: Final = {Status.QUEUED: ".", Status.STORED: "v", Status.FAILED: "x"}


@dataclass(frozen=True, slots=True)
class Output:
    """Where and how to print."""

    as_json: bool
    ascii_only: bool

    def line(self, text: str, **facts: object) -> None:
        """One line; in JSON the facts instead."""
        if self.as_json:
            click.echo(json.dumps(facts))
        else:
            click.echo(self._plain(text))

    def hint(self, text: str) -> None:
        """Advice for people only."""
        if not self.as_json:
            click.echo(self._plain(text))

    def note(self, text: str) -> None:
        """What happens meanwhile, to standard error."""
        if not self.as_json:
            click.echo(self._plain(text), err=True)

    def error(self, what: str, hint: str, code: int, **more: object) -> None:
        """What went wrong, and what to do."""
        if self.as_json:
            facts = {"error": what, "hint": hint, "exit_code": code, **more}
            click.echo(json.dumps(facts), err=True)
            return
        click.echo(f"error: {harmless(what)}", err=True)
        if hint:
            click.echo(f"hint: {harmless(hint)}", err=True)

    def qr(self, text: str) -> None:
        """A QR code, for people only."""
        if self.as_json or self.ascii_only:
            return
        out = io.StringIO()
        segno.make(text, error="l", micro=False).terminal(out=out, compact=True, border=2)
        click.echo(out.getvalue(), nl=False)

    def message(self, message: Message, contact: Contact | None) -> None:
        """One message or note of the history."""
        name = contact.name if contact else ""
        if self.as_json:
            facts = {
                "event": "message" if message.direction == "in" else message.direction,
                "from": name if message.direction == "in" else None,
                "to": name if message.direction == "out" else None,
                "text": message.text,
                "at": message.at,
                "status": message.status.value,
                "category": category_of(message),
                "price_micro_usd": message.price,
            }
            if message.direction == "in" and message.category is not None:
                facts["paid_by"] = name
            shown = {key: value for key, value in facts.items() if value is not None}
            click.echo(json.dumps(shown))
            return
        when = clock_time(message.at)
        text = harmless(message.text).replace("\n", "\n" + " " * (len(when) + 2))
        match message.direction:
            case "note":
                click.echo(self._plain(f"{when}  ! {text}"))
            case "out":
                cost = _cost_of(message)
                click.echo(self._plain(f"{when}  you: {text}  {self.glyph(message.status)}{cost}"))
            case _:
                label = category_of(message)
                word = "message" if label == "none" else label
                paid = f"  [{word} · paid by {name}]" if label is not None else ""
                click.echo(self._plain(f"{when}  {name}: {text}{paid}"))

    def glyph(self, status: Status) -> str:
        """``·`` queued here, ``✓`` the relay has it on disk, ``✗`` failed."""
        return (ASCII_GLYPHS if self.ascii_only else GLYPHS).get(status, "")

    def _plain(self, text: str) -> str:
        if not self.ascii_only:
            return text
        for glyph, plain in (("·", "-"), ("✓", "v"), ("●", "*"), ("◌", "o"), ("…", "...")):
            text = text.replace(glyph, plain)
        return text


def clock_time(at: int) -> str:
    """Hours and minutes here; with the date if it was another day."""
    try:
        then, now = time.localtime(at), time.localtime()
    except (OverflowError, OSError, ValueError):
        return "??:??"  # the other side's clock may say anything
    same_day = then[:3] == now[:3]
    return time.strftime("%H:%M" if same_day else "%d %b %H:%M", then)


def category_of(message: Message) -> str | None:
    """The category that a business declared, in a word: ``none`` where its tariff has none."""
    if message.category is None:
        return None
    try:
        return Category(message.category).name.lower()
    except ValueError:
        return f"category {message.category}"  # of a newer kurir


def _cost_of(message: Message) -> str:
    """What a business's own message was declared as and cost."""
    label = category_of(message)
    words = [] if label in (None, "none") else [str(label)]
    if message.price:
        words.append(f"{message.price} micro-USD")
    return f"  [{', '.join(words)}]" if words else ""


def trust_of(contact: Contact) -> str:
    """``verified``, ``unverified`` or ``KEY CHANGED``."""
    if contact.state == "changed":
        return "KEY CHANGED"
    if contact.state != "active":
        return "NUMBERS DIFFER"
    return "verified" if contact.verified_on is not None else "unverified"


def kind_of(contact: Contact) -> str:
    """What a contact is, in words."""
    match contact.kind:
        case Kind.BUSINESS:
            badge = f"“{contact.legal_name}”" if contact.legal_name else "no badge"
            return f"business, {badge}"
        case Kind.CUSTOMER:
            return f"customer, market {contact.market}"
        case _:
            return "person"
