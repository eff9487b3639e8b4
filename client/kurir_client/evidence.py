"""What a business can show the relay for one customer, so that a message is free or paid already:
the customer's grants, its own entry tickets, the relay's passes.

The relay remembers no customer; it recognises what it is shown. Sources: docs/protocol.md, "Beacons
and grants", "Passes", "Entry tickets".
"""

from __future__ import annotations

from dataclasses import dataclass

from kurir_billing.grant import Grant, check_grant
from kurir_billing.kinds import Category, Class, GrantKind, PassKind
from kurir_billing.passes import Pass, pass_hash, pass_kind
from kurir_billing.tariffs import Facts, tariff_named
from kurir_billing.terms import Terms
from kurir_billing.ticket import Entry, open_ticket
from kurir_client.addresses import destination
from kurir_client.errors import PeerError
from kurir_client.schema import Contact
from kurir_client.store import Store
from kurir_client.terms import ask_no_evidence
from kurir_wire.codec import pack, unpack
from kurir_wire.ids import BusinessId, Hash, MailboxId, RelayId
from kurir_wire.limits import CLOCK_SKEW


@dataclass(frozen=True, slots=True)
class Shown:
    """What goes into one charge; all of it holds at the time for which it was chosen."""

    grant: Grant | None = None
    entry: Entry | None = None
    held: Pass | None = None

    @property
    def pass_hash(self) -> Hash:
        """What the charge names, or zeros."""
        return pass_hash(self.held)

    def facts(self, market: str, category: Category) -> Facts:
        """What the price follows from."""
        kind = None if self.held is None else pass_kind(self.held)
        return Facts(
            market,
            category,
            window_open=self.grant is not None,
            entry_granted=self.entry is not None,
            entry_open=kind is PassKind.ENTRY,
            conversation=Class(self.held.klass)
            if self.held is not None and kind is PassKind.CONVERSATION
            else None,
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that there is for one customer. ``permit``: the latest grant; ``entry_grant``: the first
    one of kind entry, ``entry``: what goes with it, if we hold its ticket."""

    permit: Grant | None
    entry_grant: Grant | None
    entry: Entry | None
    passes: dict[PassKind, Pass]

    def open_pass(self, kind: PassKind, now: int) -> Pass | None:
        """The pass of a kind, until it ends: whoever has it knows that it has begun."""
        held = self.passes.get(kind)
        return held if held is not None and now < held.until else None

    def open_grant(self, now: int) -> Grant | None:
        """The grant with the latest window, while it is open."""
        return self.permit if self.permit is not None and _is_open(self.permit, now) else None

    def open_entry(self, now: int) -> tuple[Grant, Entry] | None:
        """An entry grant that the relay may still take for the first answer."""
        if self.entry_grant is None or self.entry is None or not _is_open(self.entry_grant, now):
            return None
        return self.entry_grant, self.entry

    def to_show(self, terms: Terms, now: int) -> Shown:
        """What makes a message cheapest, and nothing besides: the relay need not know whether a
        window is open where the price does not depend on it.

        :raises BillingError: a tariff that is not known here
        """
        tariff = tariff_named(terms.tariff)
        grant = self.open_grant(now)
        if PassKind.CONVERSATION in tariff.passes:
            held = self.open_pass(PassKind.CONVERSATION, now)
            if held is not None:
                return Shown(None, None, held)
        if PassKind.ENTRY in tariff.passes:
            held = self.open_pass(PassKind.ENTRY, now)
            if held is not None:
                return Shown(grant, None, held)
            first = self.open_entry(now)
            if first is not None:
                return Shown(*first)
        if ask_no_evidence(terms):
            return Shown()
        return Shown(grant)


def _is_open(grant: Grant, now: int) -> bool:
    """The customer had its beacon of the relay, whose clock may be ahead of ours."""
    return grant.opens_at <= now + CLOCK_SKEW and now < grant.closes_at


def evidence_of(store: Store, contact: Contact) -> Evidence:
    """What was kept of a customer; nothing of it needs to be open."""
    permit = unpack(contact.permit, Grant) if contact.permit else None
    entry_grant = unpack(contact.entry_permit, Grant) if contact.entry_permit else None
    entry = None if entry_grant is None else _entry(store, contact, entry_grant)
    held = (unpack(row.body, Pass) for row in store.passes(contact.id))
    passes = {kind: kept for kept in held if (kind := pass_kind(kept)) is not None}
    return Evidence(permit, entry_grant, entry, passes)


def _entry(store: Store, contact: Contact, grant: Grant) -> Entry | None:
    born_hour = destination(contact).born_hour
    ticket = store.ticket(grant.ticket)
    if born_hour is None or ticket is None:
        return None
    return Entry(open_ticket(ticket), born_hour)


def learn_grant(
    store: Store, contact_id: int, grant: Grant, relay_id: RelayId, business_id: BusinessId | None
) -> None:
    """Keep what a customer permits, inside the running transaction.

    :raises PeerError: it came without an address, or to somebody who is no business
    :raises EvidenceError: it is not the permission of this mailbox's reader to this business
    """
    contact = store.contact(contact_id)
    if contact.address is None:
        raise PeerError(f"{contact.name} sent a permission to answer but no address")
    there = destination(contact)
    if there.read_pk is None or business_id is None:
        raise PeerError(f"{contact.name} sent a permission that is not for us")
    # The relay checks the beacon as well; only it can tell the ones it gave out.
    check_grant(grant, relay_id, business_id, MailboxId(there.mailbox_id), there.read_pk)
    if grant.kind == GrantKind.ENTRY and contact.entry_permit is None:
        store.set_contact(contact_id, entry_permit=pack(grant))
        if store.ticket(grant.ticket) is None:
            store.put("terms_wanted", b"1")  # it was made since, and comes with the terms
    # A later grant extends; an older one that arrives late never shortens.
    if contact.permit is None or unpack(contact.permit, Grant).minute < grant.minute:
        store.set_contact(contact_id, permit=pack(grant))
        store.void_quotes(contact_id)
        store.put_off_no_longer(contact_id)  # what waited as a start is an answer now


def learn_pass(
    store: Store,
    contact: Contact,
    learned: Pass,
    mailbox_id: MailboxId,
    receipt_pk: bytes,
    relay_id: RelayId,
    business_id: BusinessId,
) -> None:
    """Keep a pass that came with a receipt or a refusal, inside the running transaction. An older
    one never replaces a newer one.

    :raises SignatureError: the relay did not make it for this business and this mailbox
    """
    learned.verify(receipt_pk, relay_id, business_id, mailbox_id)
    kind = pass_kind(learned)
    if kind is None or learned.klass not in tuple(Class):
        return  # of a newer relay: what is named is only what is understood
    if destination(contact).mailbox_id != mailbox_id:
        return  # the customer has moved since
    former = evidence_of(store, contact).passes.get(kind)
    if former is None or former.until <= learned.until:
        store.put_pass(contact.id, learned.kind, pack(learned))


def forget(store: Store, contact_id: int) -> None:
    """The customer is written to elsewhere now: what was for the old mailbox is of no use there."""
    store.set_contact(contact_id, permit=None, entry_permit=None)
    store.drop_passes(contact_id)
