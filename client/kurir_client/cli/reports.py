"""``kurir report``: show the operator a message that a business labelled wrongly."""

from __future__ import annotations

import sys
from typing import Final

import click

from kurir_billing.kinds import Category
from kurir_client import reporting
from kurir_client.cli.output import Output, category_of, clock_time
from kurir_client.cli.session import Options, pass_options, run
from kurir_client.display import harmless
from kurir_client.errors import UsageError
from kurir_client.messenger import Messenger
from kurir_client.schema import Contact, Kind, Message

CATEGORIES: Final = tuple(
    category.name.lower() for category in Category if category is not Category.NONE
)


@click.command()
@click.argument("name")
@click.argument("message", required=False)
@click.option("--as", "wanted", type=click.Choice(CATEGORIES), help="What it should be labelled.")
@click.option("--reason", default="", metavar="TEXT", help="What the operator should know.")
@click.option("--yes", is_flag=True, help="Do not ask whether to send it.")
@pass_options
def report(
    options: Options, name: str, message: str | None, wanted: str | None, reason: str, yes: bool
) -> None:
    """Report a message of the business NAME that is labelled wrongly, such as an ad as utility.

    MESSAGE is a number, or "last"; without it those that can be reported are listed. The relay's
    operator sees that one message and proof of who sent it, and nothing of who you are.
    """
    out = options.out
    with options.profile() as profile:
        contact = Messenger(profile).contact(name)
        if message is None:
            _list(out, contact, profile.store.reportable_of(contact.id))
            return
        choice = reporting.choose(profile, contact, message)
        category = Category.NONE if wanted is None else Category[wanted.upper()]
        made = reporting.complaint(choice, category, reason)
        label = category_of(choice.message)
        legal = contact.legal_name or "not certified"
        out.note(
            f"This shows the operator of your relay one message, and proves that {contact.name} "
            f"({legal}) sent it:\n"
            f"  its text:   {_quoted(choice.message.text)}\n"
            f"  its label:  {label}{f', which should be {wanted}' if wanted else ''}\n"
            f"  its number among {contact.name}'s messages to you, and when {contact.name} says "
            "it was sent\n"
            + (f"  your words: {_quoted(reason)}\n" if reason else "")
            + "It does not say who you are, and no other message can be read with it. If the "
            f"operator upholds it,\n{contact.name} is shown the report too, without your words, "
            "and can tell that it was you."
        )
        if not yes:
            if out.as_json or not sys.stdin.isatty():
                raise UsageError("nothing was sent: this needs a yes", "add --yes")
            if not click.confirm("Send it", err=True):
                out.hint("nothing was sent")
                return
        run(reporting.send(profile, choice, made))
        out.line(
            f"reported message {choice.message.n} of {contact.name}: the relay has it for its "
            "operator",
            event="reported",
            message=choice.message.n,
            of=contact.name,
            label=label,
            wanted=wanted,
        )


def _list(out: Output, contact: Contact, found: list[Message]) -> None:
    for item in found:
        out.line(
            f"{item.n:>5}  {clock_time(item.at)}  [{category_of(item)}] {_quoted(item.text)}",
            event="reportable",
            message=item.n,
            category=category_of(item),
            said=item.text,
            at=item.at,
        )
    if found:
        out.hint(f"next: kurir report {contact.name!r} NUMBER --as marketing")
    elif contact.kind == Kind.BUSINESS:
        out.hint(f"{contact.name} sent nothing that can be reported")
    else:
        out.hint(f"{contact.name} is no business; what people write cannot be reported")


def _quoted(text: str) -> str:
    return harmless(text).replace("\n", "\n              ")


COMMANDS: Final = (report,)
