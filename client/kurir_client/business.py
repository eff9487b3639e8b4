"""What a business does besides writing: registering, proving itself, keeping its card and prekeys
fresh.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from kurir_client import business_keys, mailboxes
from kurir_client import terms as own_terms
from kurir_client.errors import RelayError, UsageError
from kurir_client.link import Link
from kurir_client.meeting import fetch_rate_card
from kurir_client.offers import PRICES_OF
from kurir_client.profile import Profile, check_name
from kurir_client.schema import Mailbox, Role
from kurir_crypto.keys import SigningKeyPair
from kurir_crypto.sealing import MailboxKey, week_of
from kurir_wire import codes, frames, proofs
from kurir_wire.cards import open_business_card
from kurir_wire.errors import WireError
from kurir_wire.gates import OPEN_GATE
from kurir_wire.ids import BusinessId, MailboxId, business_id_of
from kurir_wire.limits import MAX_PREKEYS
from kurir_wire.links import BusinessLink, pin_of

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
    await fetch_prices(profile, link)


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
    the last one says otherwise; prove itself; take the rate card in force and the operator's terms.
    Nothing for a person."""
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
    await fetch_prices(profile, link)


async def fetch_prices(profile: Profile, link: Link) -> None:
    """Take all that a price follows from, over a connection that has proved itself: the rate card
    in force and the operator's terms.

    :raises RelayError: they are not in order
    """
    await fetch_rate_card(profile, link)
    await fetch_terms(profile, link)
    with profile.store.transaction():
        profile.store.put(PRICES_OF, str(profile.clock()).encode())


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
    await fetch_prices(profile, link)


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
