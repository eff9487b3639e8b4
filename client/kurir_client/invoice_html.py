"""An invoice as one self-contained page, for screen and paper.

The page holds no script and loads nothing; its policy lets a browser do neither. Every amount is
exact, to the micro-unit; only what is to be paid is given in cents too.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from jinja2 import DictLoader, Environment, StrictUndefined, Template

from kurir_billing.dates import first_day, month_of_day, show_day, show_month
from kurir_billing.invoice import Invoice, billed, open_cards
from kurir_billing.kinds import Category, Class
from kurir_billing.ledger import Checkpoint, open_checkpoint
from kurir_billing.ratecard import RateCard
from kurir_billing.summary import Group, conversations_of, groups_of, quotas_of, saved_of
from kurir_billing.total import Why
from kurir_client.money import usd, usd_cents
from kurir_wire.ids import Hash
from kurir_wire.links import encode, pin_of

WHY: Final = {
    Why.LIST: "list price",
    Why.TIER: "volume tier",
    Why.WINDOW: "answer in the window",
    Why.QUOTA: "free quota",
    Why.ENTRY: "entry window",
    Why.CONVERSATION: "covered by its conversation",
    Why.FLAT: "covered by the monthly fee",
}
CLASS: Final = {
    Class.IN_WINDOW: "in window",
    Class.OUT_OF_WINDOW: "out of window",
    Class.ENTRY: "entry",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A group of lines as the page shows it."""

    market: str
    category: str
    klass: str
    tariff: str
    why: str
    list_price: str
    unit: str
    count: str
    amount: str


@dataclass(frozen=True, slots=True)
class Correction:
    """An adjustment as the page shows it."""

    day: str
    charge: str
    was: str
    now: str
    amount: str


def to_html(invoice: Invoice) -> bytes:
    """The page, UTF-8. What it says has to be verified before: see
    :func:`kurir_billing.verify.verify_invoice`.

    :raises InvoiceError: a rate card in it is none
    """
    return _template().render(_view(invoice, _text("invoice.css"))).encode()


@cache
def _template() -> Template:
    environment = Environment(
        loader=DictLoader({"page": _text("invoice.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page")


def _text(name: str) -> str:
    return resources.files("kurir_client").joinpath("templates", name).read_text("utf-8")


def _view(invoice: Invoice, style: str) -> dict[str, object]:
    head, relay_id = invoice.head, invoice.cert.relay_id
    items, cards = billed(invoice), open_cards(invoice)
    groups, saved = groups_of(items), saved_of(items)
    first = first_day(head.month) or 0
    is_whole = month_of_day(head.through_day + 1) != head.month
    standing = invoice.standing
    return {
        "style": style,
        "policy": f"default-src 'none'; style-src 'sha256-{_fingerprint(style)}'",
        "head": head,
        "issued": show_day(head.issued_day),
        "month": show_month(head.month),
        "first": show_day(first),
        "through": show_day(head.through_day),
        "is_whole": is_whole,
        "is_empty": head.through_day < first,
        "rows": [_row(group, cards) for group in groups],
        "adjustments": [_correction(invoice, number) for number in range(len(invoice.adjustments))],
        "fee": head.fee_micro_usd,
        "total_off": sum(part.micro_usd for part in saved),
        "saved": [(WHY[part.why], part.count, part.micro_usd) for part in saved],
        "quotas": quotas_of(items),
        "conversations": conversations_of(items),
        "carried": len(invoice.charged),
        "usd": usd,
        "cents": usd_cents,
        "count": lambda number: f"{number:,}",
        "relay": relay_id.hex(),
        "pin": encode(pin_of(relay_id)),
        "business": head.business_id.hex(),
        "checkpoint": _checkpoint(invoice) if standing else None,
        "signature": _in_fours(hashlib.sha256(head.signature).hexdigest()[:32]),
        "lines_hash": head.lines_hash.hex(),
    }


def _row(group: Group, cards: dict[Hash, RateCard]) -> Row:
    why = WHY[group.why]
    above = _tier_above(group, list(cards.values())) if group.why is Why.TIER else None
    return Row(
        group.market,
        "–" if group.category is Category.NONE else group.category.name.lower(),
        CLASS[group.klass],
        group.tariff,
        why if above is None else f"{why} above {above:,}",
        usd(group.list_price),
        usd(group.unit),
        f"{group.count:,}",
        usd(group.amount),
    )


def _tier_above(group: Group, cards: Sequence[RateCard]) -> int | None:
    """Where the tier begins, if the cards leave no doubt."""
    found = {
        step.above
        for card in cards
        for step in card.rates(group.market).steps(group.category)
        if step.micro_usd == group.unit
    }
    return found.pop() if len(found) == 1 else None


def _correction(invoice: Invoice, number: int) -> Correction:
    adjustment = invoice.adjustments[number]
    adjust, leaf = adjustment.adjust, adjustment.leaf
    return Correction(
        show_day(adjust.day),
        leaf.charge_hash(invoice.cert.relay_id).hex()[:16],
        Category(leaf.line.category).name.lower(),
        Category(adjust.category).name.lower(),
        usd(adjust.delta_micro_usd),
    )


def _checkpoint(invoice: Invoice) -> Checkpoint | None:
    if invoice.standing is None:
        return None
    cert = invoice.cert
    return open_checkpoint(invoice.standing.checkpoint, cert.checkpoint_pk, cert.relay_id)


def _fingerprint(style: str) -> str:
    return base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()


def _in_fours(text: str) -> str:
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))
