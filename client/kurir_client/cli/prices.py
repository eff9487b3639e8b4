"""Prices before sending: how an offer is shown, and the options that ask for one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from kurir_billing.kinds import Category
from kurir_client.cli.output import Output, clock_time
from kurir_client.cli.session import run
from kurir_client.errors import OfflineError, RelayError, UsageError
from kurir_client.messenger import Messenger
from kurir_client.offers import CATEGORIES, Offer, prices_of
from kurir_client.profile import Profile
from kurir_client.schema import Contact

PATIENCE: Final = 5.0
"""Seconds for which a price waits for the relay: the one that is known does as well, if told so."""
F = TypeVar("F", bound=Callable[..., Any])

_CATEGORY_HELP: Final = (
    "What the message is, where the tariff asks: a free-form answer is service, the default."
)


def category_option(command: F) -> F:
    """``--category``."""
    return click.option(
        "--category", type=click.Choice(list(CATEGORIES), case_sensitive=False), help=_CATEGORY_HELP
    )(command)


def ask_prices(profile: Profile) -> str:
    """Ask the relay by what it prices now, with little patience.

    :returns: why what is known from before has to do; empty if the relay answered
    """
    try:
        run(_ask(profile))
    except TimeoutError:
        return "the relay does not answer"
    except (OfflineError, RelayError, UsageError) as error:
        return error.what
    at = prices_of(profile.store)
    if at is None or abs(profile.clock() - at) > PATIENCE:
        return "the relay does not take this business"
    return ""


async def _ask(profile: Profile) -> None:
    async with asyncio.timeout(PATIENCE), Messenger(profile).online(reading=False):
        pass  # each connection of a business takes them


def tell_age(out: Output, profile: Profile, why: str) -> None:
    """Say of when the prices are, if the relay was asked in vain."""
    at = prices_of(profile.store)
    if why:
        day = "" if at is None else time.strftime(" of %d %b %Y", time.gmtime(at))
        out.hint(f"by the last known prices{day}: {why}")


def described(due: Offer) -> str:
    """An offer in one line: what is open, and what a message costs now."""
    parts = [f"window open until {clock_time(due.closes_at)}" if due.closes_at else "window shut"]
    if due.conversation_until is not None:
        parts.append(f"conversation paid until {clock_time(due.conversation_until)}")
    if due.entry_until is not None:
        parts.append(f"entry window until {clock_time(due.entry_until)}")
    if due.first_answer_until is not None:
        parts.append(f"came by an entry link: answer before {clock_time(due.first_answer_until)}")
    has_category = due.category is not Category.NONE
    what = f"a {due.category.name.lower()} message " if has_category else ""
    if due.price_micro_usd is None:
        utility = "" if due.otherwise is None else f", as utility {due.otherwise} micro-USD"
        parts.append(f"{what or 'a message '}cannot be sent now{utility}")
    else:
        parts.append(f"{what}now {due.price_micro_usd} micro-USD")
    return "; ".join(parts)


def facts_of(due: Offer, contact: Contact) -> dict[str, object]:
    """The same for programs. Money in micro-USD, times in seconds; null: not open, or not now."""
    window = None
    if due.window is not None:
        window = {"kind": due.window.kind, "closes_at": due.window.closes_at}
    return {
        "name": contact.name,
        "market": contact.market,
        "tariff": due.tariff,
        "category": due.category.name.lower(),
        "price_if_sent_now": due.price_micro_usd,
        "price_as_utility": due.otherwise,
        "refusal_code": None if due.refusal is None else int(due.refusal),
        "window": window,
        "conversation_until": due.conversation_until,
        "entry_until": due.entry_until,
        "first_answer_until": due.first_answer_until,
        "starts_left": due.starts_left,
        "may_lower": due.may_lower,
        "prices_of": due.prices_of,
    }
