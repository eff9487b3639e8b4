"""Prices before sending: how an offer is shown, and the options that ask for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from kurir_billing.kinds import Category
from kurir_client.cli.output import clock_time
from kurir_client.offers import CATEGORIES, Offer
from kurir_client.schema import Contact

F = TypeVar("F", bound=Callable[..., Any])

_CATEGORY_HELP: Final = (
    "What the message is, where the tariff asks: a free-form answer is service, the default."
)


def category_option(command: F) -> F:
    """``--category``."""
    return click.option(
        "--category", type=click.Choice(list(CATEGORIES), case_sensitive=False), help=_CATEGORY_HELP
    )(command)


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
    }
