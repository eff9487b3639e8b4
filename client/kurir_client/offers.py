"""What a message to a customer would cost now, and the line that a business signs for it.

The functions that price are those of the relay, under the operator's newest terms. A business signs
nothing that does not follow from rate card, evidence and terms.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

from kurir_billing.charge import Line
from kurir_billing.dates import show_day
from kurir_billing.kinds import REFUSAL_TEXT, Category, Class, GrantKind, PassKind, RefusalCode
from kurir_billing.ratecard import RateCard, parse, rate_card_hash
from kurir_billing.tariffs import Tariff, price, tariff_named
from kurir_billing.terms import Terms
from kurir_client import terms as own_terms
from kurir_client.errors import PeerError, RefusedError, UsageError
from kurir_client.evidence import Evidence, Shown, evidence_of
from kurir_client.schema import Contact
from kurir_client.store import Store
from kurir_wire.cards import TIER_SMALL, Signed
from kurir_wire.codec import unpack
from kurir_wire.ids import DAY, NO_HASH, Hash
from kurir_wire.limits import CLOCK_SKEW

NOT_ACCEPTED: Final = 131_042
"""The refusal to spend what nobody accepted, while the window is open: what business software knows
as a question of payment. No relay sends it."""
PRICES_OF: Final = "prices_of"
"""Under which the store keeps when the relay last said by what it prices."""
CATEGORIES: Final = {
    category.name.lower(): category for category in Category if category is not Category.NONE
}
"""What a business can say that a message is."""


@dataclass(frozen=True, slots=True)
class Window:
    """The 24 hours after the customer wrote, while they last: ``kind`` says whether they began with
    a message like any other (``service``) or with the first by an entry link (``entry``)."""

    kind: str
    closes_at: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What a message of ``category`` sent now would cost. Times in seconds, None: not open.

    ``price_micro_usd``: None if it cannot be sent now; ``refusal`` says why, ``otherwise`` what the
    same as ``utility`` would cost. ``list_price_micro_usd``: what the line says; it is more where a
    conversation is paid already. ``conversation_until``, ``entry_until``: passes that hold.
    ``first_answer_until``: the first answer until then opens the entry window. ``starts_left``: how
    many customers may still be written to outside of their window, None for any number.
    ``prices_of``: when the relay last told the prices in force, None if it is not known.
    ``may_lower``: what the end of the month may take off, in words.
    """

    tariff: str
    category: Category
    price_micro_usd: int | None
    list_price_micro_usd: int
    klass: Class | None
    refusal: RefusalCode | None
    otherwise: int | None
    window: Window | None
    conversation_until: int | None
    entry_until: int | None
    first_answer_until: int | None
    starts_left: int | None
    may_lower: str
    prices_of: int | None

    @property
    def closes_at(self) -> int | None:
        """When the 24-hour window shuts."""
        return None if self.window is None else self.window.closes_at


def category_named(name: str | None) -> Category:
    """:raises UsageError: there is no such category"""
    if name is None:
        return Category.NONE
    found = CATEGORIES.get(name.lower())
    if found is None:
        raise UsageError(
            f"there is no category {name!r}", f"say one of {', '.join(CATEGORIES)}, or none"
        )
    return found


def declared(tariff: Tariff, wanted: Category) -> Category:
    """The category on the wire: none where the tariff does not ask, and an answer where it does and
    nothing was said."""
    if not tariff.asks_category:
        return Category.NONE
    return Category.SERVICE if wanted is Category.NONE else wanted


def offer(store: Store, contact: Contact, now: int, wanted: Category = Category.NONE) -> Offer:
    """What a message sent now would cost, and what is open.

    :raises RefusedError: the operator has not approved the business
    :raises PeerError: the contact is no customer
    :raises BillingError: a tariff that is not known here
    """
    terms, evidence = own_terms.need(store), evidence_of(store, contact)
    tariff = tariff_named(terms.tariff)
    category = declared(tariff, wanted)
    line = _line(store, contact, terms, category, evidence.to_show(terms, now))
    refusal = line if isinstance(line, RefusalCode) else None
    due = None if isinstance(line, RefusalCode) else line
    grant = evidence.open_grant(now)
    kind = GrantKind.ENTRY if grant and grant.kind == GrantKind.ENTRY else GrantKind.SERVICE
    conversation = evidence.open_pass(PassKind.CONVERSATION, now)
    entry = evidence.open_pass(PassKind.ENTRY, now)
    first = evidence.open_entry(now) if PassKind.ENTRY in tariff.passes and not entry else None
    return Offer(
        tariff.name,
        category,
        None if due is None else cost(store, due),
        0 if due is None else due.list_price,
        None if due is None else Class(due.klass),
        refusal,
        _as_utility(store, contact, terms, evidence, now) if refusal is not None else None,
        None if grant is None else Window(kind.name.lower(), grant.closes_at),
        conversation.until if conversation and PassKind.CONVERSATION in tariff.passes else None,
        entry.until if entry and PassKind.ENTRY in tariff.passes else None,
        first[0].closes_at if first else None,
        own_terms.starts_left(store),
        _may_lower(store, contact, tariff, category, due),
        prices_of(store),
    )


def _as_utility(
    store: Store, contact: Contact, terms: Terms, evidence: Evidence, now: int
) -> int | None:
    shown = evidence.to_show(terms, now)
    line = _line(store, contact, terms, Category.UTILITY, shown)
    return None if isinstance(line, RefusalCode) else cost(store, line)


def _may_lower(
    store: Store, contact: Contact, tariff: Tariff, category: Category, line: Line | None
) -> str:
    """What the end of the month may take off the price, in words."""
    if line is None or contact.market is None or not cost(store, line):
        return ""
    if tariff.quota is not None and tariff.quota.category is category:
        what = "conversations" if category is Category.NONE else f"{category.name.lower()} messages"
        return f"the first {tariff.quota.count:,} {what} of a month are free"
    card, _ = current_rate_card(store)
    if tariff.asks_category and card.rates(contact.market).steps(category):
        return "volume tiers lower it beyond a number of messages in a month"
    return ""


def to_sign(
    store: Store, contact: Contact, wanted: Category, quote: Line | None, now: int
) -> tuple[Line, Shown]:
    """The line to sign, and the evidence to show with it.

    :param quote: a line that the relay quoted and whose price the business accepts; it is signed
        only if it follows from rate card, terms and the evidence at hand
    :raises PeerError: the contact is no customer
    :raises RefusedError: it cannot be sent now; or the relay quoted what is not due, or hands out a
        rate card before its day
    :raises BillingError: a tariff that is not known here
    """
    terms, evidence = own_terms.need(store), evidence_of(store, contact)
    if own_terms.are_revoked(store):
        raise own_terms.revoked()
    _check_in_force(store, now)
    category = declared(tariff_named(terms.tariff), wanted)
    shown = evidence.to_show(terms, now)
    line = _line(store, contact, terms, category, shown)
    if quote is None:
        if isinstance(line, RefusalCode):
            raise refused(offer(store, contact, now, wanted), contact.name)
        return line, shown
    if quote == line:
        return quote, shown
    return quote, _why_quoted(store, contact, terms, evidence, category, quote, line, now)


def _check_in_force(store: Store, now: int) -> None:
    """A relay could hand out next month's dearer card today. Our clock may be a little behind.

    :raises RefusedError: the card at hand is not in force yet
    """
    card, _ = current_rate_card(store)
    if card.effective_from > now + CLOCK_SKEW:
        raise RefusedError(
            f"the relay hands out version {card.version} of its rate card, which is in force only "
            f"from {show_day(card.effective_from // DAY)}",
            "compare the clocks; then take it up with the operator",
            RefusalCode.BAD_PARAMETER,
        )


def _why_quoted(
    store: Store,
    contact: Contact,
    terms: Terms,
    evidence: Evidence,
    category: Category,
    quote: Line,
    ours: Line | RefusalCode,
    now: int,
) -> Shown:
    """The evidence from which a quoted line follows. A business that signed whatever it is quoted
    could be overcharged without proof.

    Two clocks may differ by a little where a window or a pass ends: the relay may see it shut when
    we do not yet, or still open when we do not any more. But what has begun here has begun there.

    :raises RefusedError: another line is due
    """
    late = evidence.to_show(terms, now + CLOCK_SKEW)
    if quote == _line(store, contact, terms, category, late):
        return late
    early = evidence.to_show(terms, now - CLOCK_SKEW)
    if quote == _line(store, contact, terms, category, early):
        is_dearer = isinstance(ours, Line) and cost(store, quote) > cost(store, ours)
        if not is_dearer:
            return early
    raise _not_due(terms, evidence, quote, now)


def _not_due(terms: Terms, evidence: Evidence, quote: Line, now: int) -> RefusedError:
    keep = "keep its signed refusal, and take it up with the operator"
    if quote.tariff != terms.tariff:
        what = f"the relay quotes by the tariff {quote.tariff}, but your terms say {terms.tariff}"
    elif quote.klass == Class.OUT_OF_WINDOW and evidence.open_grant(now + CLOCK_SKEW) is not None:
        what = "the relay wants to charge for an answer whose window is open"
        keep = "keep its signed refusal and compare the clocks; then take it up with the operator"
    else:
        what = "the relay quoted a price that does not follow from its rate card"
    return RefusedError(what, keep, RefusalCode.BAD_PARAMETER)


def _line(
    store: Store, contact: Contact, terms: Terms, category: Category, shown: Shown
) -> Line | RefusalCode:
    if contact.market is None:
        raise PeerError(f"{contact.name} is not a customer")
    if own_terms.are_revoked(store):
        return RefusalCode.NOT_APPROVED
    if terms.tier == TIER_SMALL and shown.grant is None:
        return RefusalCode.OUTSIDE_WINDOW
    card, card_hash = current_rate_card(store)
    due = price(terms.tariff, shown.facts(contact.market, category), card)
    if isinstance(due, RefusalCode):
        return due
    opener = shown.held.opener if shown.held is not None and due.covered else NO_HASH
    return Line(contact.market, terms.tariff, card_hash, category, due.klass, due.micro_usd, opener)


def cost(store: Store, line: Line) -> int:
    """What signing a line can add to the bill, in micro-USD.

    A conversation is due once, whichever of its messages settles first. One that this business
    opened adds nothing more than what its own later price is above the one accepted then; one that
    somebody else is said to have opened may have to be paid by this very message.
    """
    if line.opener == NO_HASH:
        return line.list_price
    opener = store.charge(line.opener)
    if opener is None or opener.state == "refused":
        return line.list_price
    return max(0, line.list_price - unpack(opener.line, Line).list_price)


def has_prices(store: Store) -> bool:
    """Whether a rate card and terms that hold are at hand; each connection of a business takes
    those in force."""
    is_approved = own_terms.known(store) is not None and not own_terms.are_revoked(store)
    return is_approved and store.get("rate_card") is not None


def prices_of(store: Store) -> int | None:
    """The second at which the relay last told the rate card in force and the terms."""
    value = store.get(PRICES_OF)
    return int(value) if value else None


def current_rate_card(store: Store) -> tuple[RateCard, Hash]:
    """The rate card that the relay last sent, checked then."""
    return _parsed(store.need("rate_card"))


@functools.lru_cache(maxsize=4)
def _parsed(card: bytes) -> tuple[RateCard, Hash]:
    """Parsed once for many customers; cards change rarely."""
    body = unpack(card, Signed).body
    return parse(body), rate_card_hash(body)


def what_to_do(code: RefusalCode) -> str:
    """What helps where neither a price nor another category does; empty: nothing is known to."""
    match code:
        case RefusalCode.NOT_APPROVED:
            return own_terms.revoked().hint
        case RefusalCode.STOPPED_MARKETING:
            return "send nothing more that is marketing, until the customer takes it again"
        case _:
            return ""


def refused(due: Offer, name: str) -> RefusedError:
    """The refusal to send what nobody accepted to pay, or what cannot be sent now; with what to do
    instead."""
    word = "message" if due.category is Category.NONE else f"{due.category.name.lower()} message"
    if due.price_micro_usd is None:
        code = due.refusal or RefusalCode.BAD_PARAMETER
        if code is RefusalCode.NOT_APPROVED:
            return own_terms.revoked()
        hint = f"wait until {name} writes again"
        if due.otherwise is not None:
            accept = f" --max-price {due.otherwise}" if due.otherwise else ""
            hint += (
                f", or send it as --category utility{accept}, "
                f"which would cost {due.otherwise} micro-USD"
            )
        text = f"{REFUSAL_TEXT[code]} ({int(code)}); a {word} has to wait"
        return RefusedError(text, hint, code, due.otherwise)
    price_text = f"this {word} would cost {due.price_micro_usd} micro-USD"
    hint = f"accept the price to send it all the same: --max-price {due.price_micro_usd}"
    if due.klass is Class.OUT_OF_WINDOW:
        code = RefusalCode.OUTSIDE_WINDOW
        return RefusedError(f"{REFUSAL_TEXT[code]}: {price_text}", hint, code, due.price_micro_usd)
    return RefusedError(price_text, hint, NOT_ACCEPTED, due.price_micro_usd)
