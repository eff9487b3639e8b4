"""The operator's terms, as a business keeps them: by which tariff it is billed, in which tier it
is, how many conversations it may start, and its entry tickets.

Lines are signed under the newest terms only. Older ones never come back, so that a relay cannot
switch tariffs and leave no trace. Source: docs/protocol.md, "Terms".
"""

from __future__ import annotations

from typing import Final

from kurir_billing.kinds import REFUSAL_TEXT, RefusalCode
from kurir_billing.tariffs import TARIFFS
from kurir_billing.terms import Terms, open_terms
from kurir_billing.ticket import open_ticket
from kurir_client.errors import RefusedError, RelayError
from kurir_client.profile import Profile
from kurir_client.store import Store
from kurir_wire.cards import TIER_NAMES, TIER_SMALL
from kurir_wire.errors import WireError
from kurir_wire.frames import TermsAre
from kurir_wire.ids import BusinessId
from kurir_wire.relaycert import RelayCert

_TERMS: Final = "terms"
_STARTS_LEFT: Final = "starts_left"
_REVOKED: Final = "terms_revoked"


def known(store: Store) -> Terms | None:
    """The newest terms that were seen; None before the operator has approved the business."""
    data = store.get(_TERMS)
    return None if data is None else open_terms(data)


def need(store: Store) -> Terms:
    """:raises RefusedError: there are none yet"""
    found = known(store)
    if found is None:
        code = RefusalCode.NOT_APPROVED
        hint = (
            "ask the operator of the relay for it, also if it was approved before there were terms "
            "to sign; see: kurir business status"
        )
        raise RefusedError(f"{REFUSAL_TEXT[code]} ({int(code)})", hint, code)
    return found


def ask_no_evidence(terms: Terms) -> bool:
    """Whether the relay need not know if a customer has written, and so knows no starts. A small
    business may send nothing without a grant."""
    tariff = TARIFFS.get(terms.tariff)
    return tariff is not None and tariff.flat_fee and terms.tier != TIER_SMALL


def are_revoked(store: Store) -> bool:
    """Whether the relay had no terms any more when it was last asked: the newest that were seen say
    how things were priced, but nothing can be sent until terms come again."""
    return bool(store.get(_REVOKED))


def revoked() -> RefusedError:
    """The refusal to send for a business that was approved once."""
    code = RefusalCode.NOT_APPROVED
    hint = "take it up with the operator of the relay; once approved again, send it again"
    return RefusedError(f"the operator no longer approves this business ({int(code)})", hint, code)


def starts_left(store: Store) -> int | None:
    """How many more customers could be written to outside of their window when the relay was last
    asked; None for any number, also where nobody counts."""
    terms = known(store)
    if terms is not None and ask_no_evidence(terms):
        return None
    value = store.get(_STARTS_LEFT)
    return int(value) if value else None


def take(profile: Profile, answer: TermsAre, cert: RelayCert, business_id: BusinessId) -> None:
    """Check and keep what the relay says, and tell the person of a change.

    :raises RelayError: it is not the operator's word
    """
    store, now, relay_id = profile.store, profile.clock(), cert.relay_id
    try:
        tickets = [open_ticket(data) for data in answer.tickets]
        for ticket in tickets:
            ticket.verify(cert.operator_pk, relay_id, business_id)
        new = None if answer.terms is None else open_terms(answer.terms)
        if new is not None:
            new.verify(cert.operator_pk, relay_id, business_id)
    except WireError as error:
        raise RelayError(f"the relay shows terms that are not in order: {error}") from error
    with store.transaction():
        for ticket, data in zip(tickets, answer.tickets, strict=True):
            store.put_ticket(ticket.hash(relay_id, business_id), data, ticket.not_after)
        store.drop_tickets(now)
        left = "" if answer.starts_left is None else str(answer.starts_left)
        store.put(_STARTS_LEFT, left.encode())
        former = known(store)
        if new is None or answer.terms is None:
            if former is not None and not are_revoked(store):
                store.put(_REVOKED, b"1")
                store.add_note(None, f"{revoked().what}: nothing can be sent now", now)
            return
        if former is not None and new != former and new.issued <= former.issued:
            text = (
                f"the relay shows older terms ({describe(new)}) than it did before "
                f"({describe(former)}); the newer ones count here. Ask its operator"
            )
            store.add_note(None, text, now)
            return
        store.put(_TERMS, answer.terms)
        store.put(_REVOKED, b"")
        if former is not None and describe(new) != describe(former):
            text = f"the operator has changed the terms: {describe(new)}; before {describe(former)}"
            store.add_note(None, text, now)


def describe(terms: Terms) -> str:
    """Terms in a few words."""
    tier = TIER_NAMES.get(terms.tier, str(terms.tier))
    starts = "any number of" if terms.starts is None else f"{terms.starts:,}"
    return f"tariff {terms.tariff}, tier {tier}, {starts} conversations started in 24 hours"
