"""Reporting a message that a business labelled wrongly: what can be reported, and how it is sent.

A report goes over a connection of its own that reads no mailbox, sealed to the operator, so that
the relay learns neither who reports nor what.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from kurir_billing.kinds import Category
from kurir_billing.report import REPORT_DAYS, Complaint, Report, open_report, packed_report
from kurir_client.errors import UsageError
from kurir_client.link import Link, open_link
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Kind, Message
from kurir_crypto.sealing import seal_report
from kurir_wire.entries import Delivery
from kurir_wire.frames import SendReport
from kurir_wire.ids import DAY
from kurir_wire.limits import MAX_REPORT_REASON

LAST: Final = "last"
"""Stands for the newest message that can be reported."""

MAX_DIGITS: Final = 18
"""Of a message's number: more do not fit its column."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A message, and what shows it to the operator."""

    message: Message
    report: Report = field(repr=False)


def choose(profile: Profile, contact: Contact, which: str) -> Choice:
    """The message that a person means.

    :param which: its number, or :data:`LAST`
    :raises UsageError: there is none, or it cannot be reported; the text says why
    """
    store = profile.store
    if contact.kind != Kind.BUSINESS:
        raise UsageError(
            f"{contact.name} is no business, and what people write cannot be reported",
            "nobody can prove to others what was said in private, and that is on purpose",
        )
    see = f"see what can be: kurir report {contact.name!r}"
    if which == LAST:
        found = store.reportable_of(contact.id)
        if not found:
            raise UsageError(f"{contact.name} sent nothing that can be reported", f"it {_needs()}")
        message: Message | None = found[-1]
    else:
        if not (which.isascii() and which.isdecimal() and len(which) <= MAX_DIGITS):
            raise UsageError(f"{which!r} is neither a number nor {LAST!r}", see)
        message = store.message_of(contact.id, int(which))
    if message is None:
        raise UsageError(f"there is no message {which} of {contact.name}", see)
    kept = store.reportable(message.n)
    if kept is None:
        raise UsageError(f"message {message.n} cannot be reported", f"it {_needs()}; {see}")
    if kept.reported_on is not None:
        raise UsageError(f"message {message.n} was reported already", "once is enough")
    return Choice(message, open_report(kept.report))


def complaint(choice: Choice, wanted: Category, reason: str) -> Complaint:
    """What to send about a message.

    :param wanted: what it should have been called; NONE: not said
    :raises UsageError: it was called that, or the reason is too long
    """
    if wanted == choice.report.category:
        raise UsageError(
            f"the message is labelled {wanted.name.lower()}", "say what it should have been: --as"
        )
    if len(reason) > MAX_REPORT_REASON:
        raise UsageError(f"a reason has at most {MAX_REPORT_REASON} characters", "shorten it")
    return Complaint(choice.report, wanted, reason)


async def send(profile: Profile, choice: Choice, made: Complaint) -> None:
    """Leave a report for the operator.

    :raises OfflineError: the relay cannot be reached
    :raises RelayError: the operator's box is full, or it was too fast; with when to retry
    """
    if profile.relay is None:
        raise UsageError("this profile has no relay yet")
    # Not the messenger's connection: on one that reads mailboxes the relay would see whose it is.
    async with open_link(profile.relay, profile.relay_pin, _ignore, profile.ca_file) as link:
        await leave(link, made)
    with profile.store.transaction():
        profile.store.mark_reported(choice.message.n, profile.clock() // DAY)


async def leave(link: Link, made: Complaint) -> None:
    """Seal a report to the operator of the relay, and hand it over."""
    sealed = seal_report(link.cert.report_pk, link.relay_id, packed_report(made))
    await link.one(lambda n: SendReport(n, sealed))


async def _ignore(deliveries: list[Delivery]) -> None:
    """Nothing is delivered to a connection that reads nothing."""


def _needs() -> str:
    return (
        f"has to be a message that {REPORT_DAYS} days ago or later came from a business, which "
        "paid for it under a category"
    )
