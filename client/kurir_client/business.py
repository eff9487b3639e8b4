"""What a business does besides writing: registering, keeping its card and prekeys fresh, fetching
settlements and invoices.
"""

from __future__ import annotations

import calendar
import os
from dataclasses import dataclass
from typing import Final

import msgspec

from kurir_billing.adjusted import Adjustment
from kurir_billing.charge import Line
from kurir_billing.errors import BillingError
from kurir_billing.head import InvoiceHead, open_head, packed_head
from kurir_billing.invoice import Invoice, Records, with_groups
from kurir_billing.leaf import Leaf, open_leaf
from kurir_billing.total import carried_over
from kurir_billing.verify import charged_before, verify_invoice
from kurir_client import adjustments, business_keys, ledger, mailboxes
from kurir_client import terms as own_terms
from kurir_client.errors import RelayError, UsageError
from kurir_client.link import Link
from kurir_client.meeting import fetch_rate_card
from kurir_client.profile import Profile, check_name
from kurir_client.schema import Mailbox, Role
from kurir_crypto.keys import SigningKeyPair
from kurir_crypto.sealing import MailboxKey, week_of
from kurir_wire import codes, frames, proofs
from kurir_wire.cards import open_business_card
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import WireError
from kurir_wire.gates import OPEN_GATE
from kurir_wire.ids import DAY, NO_HASH, BusinessId, Hash, MailboxId, business_id_of
from kurir_wire.limits import MAX_PREKEYS
from kurir_wire.links import BusinessLink, pin_of
from kurir_wire.relaycert import RelayCert

PREKEY_STOCK: Final = 50
"""One-time prekeys of each kind that are left with the relay at a time, 90 KiB. A customer takes
one when it fetches the card, at most once a day."""
_STALE_HINT: Final = (
    "compare the clocks; if they are right, the relay has dropped the address: kurir read tells"
)


@dataclass(frozen=True, slots=True)
class Registered:
    """A business as its relay knows it. ``legal_name`` and ``tier`` come from the operator."""

    business_id: BusinessId
    link: BusinessLink
    legal_name: str | None
    tier: int


async def register(profile: Profile, link: Link, legal_name: str) -> None:
    """Make the business's keys and address if there are none yet, and leave its card.

    :param legal_name: as the operator will certify it; customers see the profile's own name too
    :raises RelayError: the relay does not take it
    """
    store, now = profile.store, profile.clock()
    mailboxes.drop_stale(profile, now)
    with store.transaction():
        if store.get("business_root") is None:
            business_keys.make(profile, now)
        else:
            business_keys.renew(profile, now)
        store.put("legal_name", check_name(legal_name).encode())
        address = _address(profile)
        if address is None:
            opening = os.urandom(mailboxes.TOKEN_BYTES)  # never used: an address has no secret gate
            seal = MailboxKey.generate(week_of(now))
            address = mailboxes.plan(Role.ADDRESS, profile.relay_id, OPEN_GATE, opening, seal, now)
            store.add_mailbox(address)
    await _leave_card(profile, link, address)
    await prove(profile, link)
    await _refill(profile, link)
    await fetch_terms(profile, link)


def renew_keys(profile: Profile) -> None:
    """Replace keys in time, before a connection uses them; nothing to do for a person."""
    store, now = profile.store, profile.clock()
    if _is_registered(profile) and business_keys.are_due(profile, now):
        with store.transaction():
            business_keys.renew(profile, now)


def needs_card(profile: Profile) -> bool:
    """Whether the last card that the relay took does not name the present keys."""
    address = _address(profile)
    if address is None or not _is_registered(profile):
        return False
    return not business_keys.is_named(profile, MailboxId(address.id))


async def greet(profile: Profile, link: Link) -> None:
    """What a business does at each connection before it writes: say in a card what keys it has, if
    the last one says otherwise; prove itself; take the operator's terms. Nothing for a person."""
    if not _is_registered(profile):
        return
    if needs_card(profile):
        await keep_fresh(profile, link)
        return
    try:
        await prove(profile, link)
    except RelayError as error:
        if error.code != codes.NOT_AUTHORISED:
            raise
        text = (
            f"the relay does not take this business for the one that it knows ({error.what}); "
            "register again: kurir business register"
        )
        with profile.store.transaction():
            profile.store.add_note(None, text, profile.clock())
        return  # what customers wrote is read all the same
    await fetch_terms(profile, link)


async def fetch_terms(profile: Profile, link: Link) -> None:
    """Take the operator's terms and entry tickets, over a connection that has proved itself.

    :raises RelayError: they are not in order
    """
    answer = await link.request(frames.GetTerms, frames.TermsAre)
    own_terms.take(profile, answer, link.cert, own_id(profile))


async def keep_fresh(profile: Profile, link: Link) -> None:
    """What a business does now and then: replace keys in time and say so in a new card, prove
    itself, refill prekeys, take the rate card in force and the operator's terms.

    :raises UsageError: it was never registered
    """
    address = _address(profile)
    if address is None or not _is_registered(profile):
        raise UsageError(
            "this profile is not a registered business",
            "register it: kurir business register --legal-name …",
        )
    renew_keys(profile)
    if needs_card(profile):
        await _leave_card(profile, link, address)
    await prove(profile, link)
    await _refill(profile, link)
    await fetch_rate_card(profile, link)
    await fetch_terms(profile, link)


async def prove(profile: Profile, link: Link) -> None:
    """Show the relay that this connection speaks for the business.

    :raises RelayError: it does not believe it
    """
    store = profile.store
    business_id = own_id(profile)
    lane_key = SigningKeyPair.from_seed(store.need("lane_seed"))
    signature = lane_key.sign(proofs.prove_message(link.relay_id, link.nonce, business_id))
    lane = store.need("lane")
    await link.one(lambda n: frames.Prove(n, business_id, lane, signature))


def own_id(profile: Profile) -> BusinessId:
    """:raises UsageError: this profile is not a business"""
    root_pk = profile.store.get("business_root_pk")
    if root_pk is None:
        raise UsageError(
            "this profile is not a business", "register it: kurir business register --legal-name …"
        )
    return business_id_of(root_pk)


def own_link(profile: Profile) -> BusinessLink:
    """The link by which customers reach the business."""
    business_id = own_id(profile)
    relay = profile.relay
    if relay is None:
        raise UsageError("this profile has no relay yet")
    return BusinessLink(relay, business_id, pin_of(profile.relay_id))


async def status(profile: Profile, link: Link) -> Registered:
    """How the relay shows the business to its customers.

    :raises RelayError: it does not know it, or shows a badge that is not the operator's
    """
    business_id = own_id(profile)
    answer = await link.request(lambda n: frames.GetBusiness(n, business_id), frames.BusinessIs)
    badge = answer.badge
    try:
        open_business_card(answer.card, profile.clock())
        if badge is not None:
            badge.verify(link.cert.operator_pk, link.relay_id, business_id)
    except WireError as error:
        raise RelayError(f"the relay shows this business wrongly: {error}") from error
    if badge is not None:
        with profile.store.transaction():
            profile.store.put("certified_name", badge.legal_name.encode())
    return Registered(
        business_id,
        own_link(profile),
        badge.legal_name if badge else None,
        badge.tier if badge else 0,
    )


async def fetch_settlements(profile: Profile, link: Link, month: int) -> list[Leaf]:
    """All settled charges of the days of a month that are over, and note them in our records.

    :param month: year * 100 + month
    :raises RelayError: the relay sends something that is not a settled charge of ours
    """
    store = profile.store
    leaves: list[Leaf] = []
    today = profile.clock() // DAY
    for day in (day for day in _days_of(month) if day < today):
        after: bytes = NO_HASH
        while True:
            answer = await link.request(
                lambda n, day=day, after=after: frames.GetSettlements(n, day, after),  # type: ignore[misc]
                frames.SettlementsAre,
            )
            batch = [_checked_leaf(profile, data, day) for data in answer.leaves]
            with store.transaction():
                for leaf in batch:
                    name = leaf.charge_hash(profile.relay_id)
                    if not store.set_settled(name, day):
                        raise RelayError(
                            f"the relay lists charge {name.hex()[:16]} as settled, which this "
                            "business never signed",
                            "keep the records, and take it up with the operator",
                        )
                    after = max(after, name)
            leaves += batch
            if not answer.more or not batch:
                break
    return leaves


async def fetch_invoice(profile: Profile, link: Link, month: int) -> Invoice:
    """The invoice of a month: the relay's signed head, the lines from its daily lists, and where
    they stand in the ledger.

    :param month: year * 100 + month; the running one goes through yesterday
    :raises RelayError: the relay has none, or sends something else
    :raises LedgerForkError: its ledger is another one than before
    """
    leaves = await fetch_settlements(profile, link, month)
    leaves.sort(key=lambda leaf: (leaf.settled_day, leaf.charge_hash(profile.relay_id)))
    answer = await link.request(lambda n: frames.GetInvoice(n, month), frames.InvoiceIs)
    head = open_head(answer.head)
    if head.month != month:
        raise RelayError("the relay sends the invoice of another month than asked")
    rulings = [
        ruling
        for ruling in await adjustments.fetch(profile, link, month)
        if ruling.adjust.day <= head.through_day
    ]
    rulings.sort(key=lambda ruling: (ruling.adjust.day, ruling.adjust.hash(profile.relay_id)))
    cards: dict[bytes, bytes] = {}
    for leaf in (*leaves, *(ruling.leaf for ruling in rulings)):
        wanted = leaf.line.rate_card
        if wanted not in cards:
            sent = await link.request(
                lambda n, wanted=wanted: frames.GetRateCard(n, wanted),  # type: ignore[misc]
                frames.RateCardIs,
            )
            cards[wanted] = sent.card
    standing, places = await ledger.fetch_standing(
        profile, link, leaves, [ruling.adjust for ruling in rulings]
    )
    if len(places) != len(rulings):
        raise RelayError("the relay sends adjustments, and a ledger without entries")
    await status(profile, link)
    signed, settled = _signed(profile), _settled(profile)
    charged = charged_before(settled, signed, head.month)
    return with_groups(
        Invoice(
            link.cert,
            head,
            tuple(leaves),
            tuple(cards.values()),
            standing,
            tuple(
                Adjustment(ruling.adjust, ruling.leaf, ruling.report, place)
                for ruling, place in zip(rulings, places, strict=True)
            ),
            charged=carried_over(leaves, profile.relay_id, charged),
        )
    )


def records(profile: Profile, cert: RelayCert) -> Records:
    """What this business kept itself: see :func:`kurir_billing.verify.verify_invoice`.

    :param cert: the invoice's
    """
    certified = profile.store.get("certified_name")
    return Records(
        profile.relay_id,
        own_id(profile),
        _signed(profile),
        _settled(profile),
        None if certified is None else certified.decode(),
        ledger.known(profile),
        adjustments.reported(profile, cert),
        heads=_heads(profile),
    )


def business_of(invoice: Invoice) -> BusinessId:
    """Whom an invoice is for, as it says itself."""
    return BusinessId(invoice.head.business_id)


def verify(profile: Profile, invoice: Invoice) -> None:
    """Recompute an invoice from this business's own records, and remember its head: one number
    stands for one invoice from then on.

    :raises InvoiceError: the first difference
    """
    verify_invoice(invoice, records(profile, invoice.cert))
    with profile.store.transaction():
        kept = _heads(profile) | {invoice.head.number: invoice.head}
        profile.store.put("invoice_heads", pack([packed_head(head) for head in kept.values()]))


def _signed(profile: Profile) -> dict[Hash, Line]:
    return {Hash(row.hash): unpack(row.line, Line) for row in profile.store.charges()}


def _settled(profile: Profile) -> dict[Hash, int]:
    rows = profile.store.charges()
    return {Hash(row.hash): row.settled_day for row in rows if row.settled_day is not None}


def _heads(profile: Profile) -> dict[str, InvoiceHead]:
    """The heads of the invoices that were verified, by number."""
    stored = profile.store.get("invoice_heads")
    if stored is None:
        return {}
    heads = (open_head(head) for head in msgspec.msgpack.decode(stored, type=list[bytes]))
    return {head.number: head for head in heads}


def _address(profile: Profile) -> Mailbox | None:
    for mailbox in profile.store.mailboxes("new", "live"):
        if mailbox.role is Role.ADDRESS:
            return mailbox
    return None


def _is_registered(profile: Profile) -> bool:
    return profile.is_business and _address(profile) is not None


async def _leave_card(profile: Profile, link: Link, address: Mailbox) -> None:
    try:
        await _register(profile, link, address)
    except RelayError as refused:
        if refused.code not in (codes.STALE, codes.CONFLICT):
            raise
        # Another process, or the home of which this is a copy, has left a card of this version.
        own = own_id(profile)
        try:
            answer = await link.request(lambda n: frames.GetBusiness(n, own), frames.BusinessIs)
            business_keys.note_card(profile, answer.card)
            await _register(profile, link, address)
        except RelayError as error:
            raise RelayError(refused.what, _STALE_HINT, refused.code) from error


async def _register(profile: Profile, link: Link, address: Mailbox) -> None:
    store = profile.store
    card = business_keys.make_card(profile, MailboxId(address.id), profile.clock())
    entry = mailboxes.new_mailbox_entry(address, OPEN_GATE, link)
    await link.one(lambda n: frames.Register(n, card, entry))
    with store.transaction():
        store.put("business_card", card)
        store.set_mailbox(address.id, state="live")


async def _refill(profile: Profile, link: Link) -> None:
    """Leave fresh one-time prekeys for as many as were handed out. The relay says how many it has:
    of those that it handed out many are never used, and ours may have been lost on the way."""
    store = profile.store
    answer = await link.one(lambda n: frames.PutPreKeys(n, [], []))
    room = answer.left if answer and answer.left is not None else MAX_PREKEYS
    missing = PREKEY_STOCK - max(MAX_PREKEYS - room, 0)
    if missing <= 0:
        return
    with store.transaction():
        ec, kem = business_keys.one_time_prekeys(profile, missing)
    await link.one(lambda n: frames.PutPreKeys(n, ec, kem))


def _checked_leaf(profile: Profile, data: bytes, day: int) -> Leaf:
    try:
        leaf = open_leaf(data)
        leaf.check_signature(profile.relay_id)
        leaf.check_settlement()
    except (WireError, BillingError) as error:
        raise RelayError(f"the relay lists a charge that does not hold: {error}") from error
    if leaf.settled_day != day:
        raise RelayError("the relay lists a charge on another day than it was settled")
    return leaf


def _days_of(month: int) -> list[int]:
    """The days (unix time // 86400) of a month."""
    year, number = divmod(month, 100)
    first = calendar.timegm((year, number, 1, 0, 0, 0)) // DAY
    return [first + day for day in range(calendar.monthrange(year, number)[1])]
