"""Pricing: the one line that is due for a charge now.

The rule is :mod:`kurir_billing.tariffs`; here are the facts it is asked about, and the comparison
of what a business signed with what came of it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from kurir_billing.charge import Line
from kurir_billing.kinds import Category, Class, PassKind, RefusalCode
from kurir_billing.passes import Pass, pass_hash
from kurir_billing.ratecard import RateCard, parse
from kurir_billing.tariffs import Facts, price, tariff_named
from kurir_server.evidence import Shown
from kurir_server.marks import Marks
from kurir_server.refusals import RefusedError
from kurir_server.rows import Mailbox, Rows, StoredRateCard
from kurir_wire.cards import Signed
from kurir_wire.codec import unpack
from kurir_wire.ids import NO_HASH, Hash


@dataclass(frozen=True, slots=True)
class Due:
    """``line``: the one that is due; ``held``: the open pass that the charge has to name;
    ``opens``: the kind of pass that its acceptance earns."""

    line: Line
    held: Pass | None
    opens: PassKind | None

    def check(self, signed: Line, named: bytes) -> None:
        """Compare with the line and the pass that a business signed.

        :raises RefusedError: with the right ones
        """
        if signed != self.line:
            shut = (
                signed.klass == Class.IN_WINDOW
                and self.line.klass == Class.OUT_OF_WINDOW
                and self.held is None
            )
            code = RefusalCode.OUTSIDE_WINDOW if shut else RefusalCode.BAD_PARAMETER
            why = None if shut else "the line is not the one that is due now; see the quote"
            raise RefusedError(code, why, quote=self.line, held=self.held)
        if hmac.compare_digest(named, pass_hash(self.held)):
            return
        if self.held is None:
            detail = "the pass that the charge names is not open for this customer; name none"
        else:
            detail = "another pass is open for this customer; name that one"
        raise RefusedError(RefusalCode.BAD_PARAMETER, detail, quote=self.line, held=self.held)


class Pricing:
    """The prices of one relay."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._cards: dict[Hash, RateCard] = {}

    def due(
        self, rows: Rows, now: int, mailbox: Mailbox, tariff: str, signed: Line, shown: Shown
    ) -> Due:
        """What is due for a charge that is accepted at ``now``.

        :param signed: of its line count the market, which the gate fixes, and the category
        :raises RefusedError: the customer or the tariff does not take it
        """
        card = rows.rate_card_in_force(now)
        if card is None:
            raise RefusedError(RefusalCode.BAD_PARAMETER, "no rate card is in force yet")
        asked = tariff_named(tariff).asks_category
        category = Category(signed.category) if asked else Category.NONE
        if mailbox.refused & 1 << category:
            raise RefusedError(RefusalCode.STOPPED_MARKETING)
        mark = self._marks.find(rows, tariff, mailbox.id)
        # Not is_open: after a restart relay time may be a little before the pass was made.
        held = mark if mark is not None and now < mark.until else None
        facts = _facts(signed.market, category, shown, held)
        due = price(tariff, facts, self._parsed(card))
        if isinstance(due, RefusalCode):
            unnamed = due is RefusalCode.BAD_PARAMETER
            raise RefusedError(due, f"{tariff} needs the message's category" if unnamed else None)
        opener = held.opener if held is not None and due.covered else NO_HASH
        line = Line(signed.market, tariff, card.hash, category, due.klass, due.micro_usd, opener)
        return Due(line, held, due.opens)

    def _parsed(self, stored: StoredRateCard) -> RateCard:
        """Parsed once; there are few versions."""
        if stored.hash not in self._cards:
            self._cards[stored.hash] = parse(unpack(stored.card, Signed).body)
        return self._cards[stored.hash]


def _facts(market: str, category: Category, shown: Shown, held: Pass | None) -> Facts:
    """:param held: the open pass, of the tariff's kind"""
    # An entry opens once: while a grant of a mailbox can be shown as one, the pass of the first
    # has not ended (docs/protocol.md, "Marks").
    return Facts(
        market,
        category,
        shown.window_open,
        entry_granted=shown.entry and held is None,
        entry_open=held is not None and held.kind == PassKind.ENTRY,
        conversation=Class(held.klass) if held and held.kind == PassKind.CONVERSATION else None,
    )
