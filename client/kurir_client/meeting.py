"""How contacts come about: invites between people, links of businesses."""

from __future__ import annotations

import contextlib
from typing import Final

from kurir_billing.errors import RateCardError
from kurir_billing.ratecard import OTHER, RateCard, open_rate_card
from kurir_billing.ticket import ticket_hash
from kurir_client import mailboxes, sessions
from kurir_client.content import HELLO, Destination
from kurir_client.errors import PeerError, RelayError, UsageError
from kurir_client.healing import SEND_AGAIN_MOST
from kurir_client.link import Link
from kurir_client.outbox import queue
from kurir_client.profile import Profile, check_name, clean_name
from kurir_client.schema import CameBy, Contact, Invite, Kind, Role, Status
from kurir_crypto.errors import CryptoError
from kurir_crypto.invite import InviteSecret
from kurir_crypto.restart import OneUseKeys
from kurir_crypto.sealing import MailboxKey, week_of
from kurir_wire import codes, frames
from kurir_wire.cards import (
    TIER_NONE,
    BusinessCard,
    PersonCard,
    Signed,
    open_business_card,
    open_person_card,
    person_card_message,
    signed_card,
)
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import ExpiredError, WireError
from kurir_wire.gates import token_gate
from kurir_wire.ids import DAY, HOUR, BusinessId, MailboxId
from kurir_wire.limits import CARD_LIFE
from kurir_wire.links import BusinessLink, InviteLink, LinkEntry, pin_of
from kurir_wire.prekeys import IdentityPublic

CARD_AGE: Final = DAY
"""Seconds after which the card of a business that is written to is fetched anew: it may have other
keys, or have lost its sessions."""
ASK_AGAIN: Final = HOUR
"""Seconds between two such looks at one business: each takes one-time prekeys of it."""


async def make_invite(profile: Profile, link: Link, label: str) -> InviteLink:
    """Make a single-use link for one person: a mailbox, and with it a card under the link's secret.

    :param label: what to call the invite until it is accepted; only shown here
    :raises RelayError: the relay does not take it
    """
    relay = profile.relay
    if relay is None:
        raise UsageError("this profile has no relay yet")
    now = profile.clock()
    secret = InviteSecret.generate()
    token = secret.token()
    seal = secret.mailbox_key(week_of(now))
    made = mailboxes.plan(Role.INVITE, profile.relay_id, token_gate(token), token, seal, now)
    with profile.store.transaction():
        keys = profile.store.new_one_use_keys(profile.identity, now // DAY)
        prekey = keys.one_time.public.key_id
        profile.store.add_mailbox(made)
        profile.store.add_invite(Invite(made.id, secret.value, label, now, False, False, prekey))
    blob = secret.seal_card(_person_card(profile, keys, now))
    await mailboxes.create_new(profile, link)
    await link.one(lambda n: frames.PutCard(n, made.id, blob))
    with profile.store.transaction():
        profile.store.set_invite(made.id)
    return InviteLink(relay, MailboxId(made.id), secret.value, pin_of(profile.relay_id))


async def accept_invite(
    profile: Profile, link: Link, invite: InviteLink, name: str | None
) -> Contact:
    """Fetch and check the card behind an invite, start a session, and queue an introduction.

    :param name: what to call them here; by default as they call themselves
    :raises PeerError: the invite is used up, expired, damaged, or one's own
    """
    now = profile.clock()
    secret = InviteSecret(invite.secret)
    token = secret.token()
    try:
        answer = await link.request(
            lambda n: frames.GetCard(n, invite.mailbox_id, token), frames.CardIs
        )
    except RelayError as error:
        if error.code not in (codes.NO_MAILBOX, codes.NOT_FOUND):
            raise
        raise PeerError(
            "this invite was used already, withdrawn, or has expired", "ask for a new one"
        ) from error
    try:
        card = open_person_card(secret.open_card(answer.card), now)
    except ExpiredError as error:
        raise PeerError(str(error), "ask for a new one") from error
    except (CryptoError, WireError) as error:
        raise PeerError(
            "the card behind this invite is damaged or forged", "ask for a new one"
        ) from error
    identity = card.bundle.identity
    if identity == profile.identity.public:
        raise UsageError("this invite is your own", "send it to the person you want to talk to")
    born_week = week_of(card.issued)
    seal = secret.mailbox_key(born_week)
    store = profile.store
    address = _invite_address(invite, token, seal)
    with store.transaction():
        contact = _known(profile, identity)
        accepted = f"accepted {invite.mailbox_id.hex()}"
        if contact is not None and store.get(accepted) is not None:
            # A second session on the same one-time prekeys would never open at the other end.
            return contact
        store.put(accepted, b"")
        if contact is None:
            contact = store.add_contact(
                check_name(name) if name else clean_name(card.name),
                Kind.PERSON,
                sign_pk=identity.sign_pk,
                identity=pack(identity),
            )
        sessions.start(store, profile.identity, contact.id, card.bundle, now)
        store.set_contact(contact.id, address=address)
        if contact.own_mailbox is None:
            mailboxes.give(profile, contact, now)
        queue(store, contact.id, HELLO, "", now)
    await mailboxes.create_new(profile, link)
    return store.contact(contact.id)


async def add_business(
    profile: Profile, link: Link, business: BusinessLink, name: str | None, country: str | None
) -> Contact:
    """Fetch and check a business's card and badge, and make a mailbox into which it pays.

    By an entry link, the first message names the ad or link, if it is the first ever: a mailbox
    that was there before opens no entry window.

    :param country: two letters, or a market of the rate card; what the business is told
    :raises PeerError: no such business, or its card or badge is not in order
    """
    now = profile.clock()
    answer, card = await _fetch_card(link, business.business_id, now)
    market = (await fetch_rate_card(profile, link)).market_of(country or profile.market or OTHER)
    store = profile.store
    if card.identity == profile.identity.public:
        raise UsageError("this link is your own", "give it to your customers")
    with store.transaction():
        contact = store.contact_by_business(card.business_id)
        known = store.contact_by_key(card.identity.sign_pk)
        if contact is None and known is not None:
            raise PeerError(
                f"you know this business as {known.name} already",
                "write to them there, or use another profile as a customer",
            )
        if contact is None:
            contact = store.add_contact(
                check_name(name) if name else clean_name(card.name),
                Kind.BUSINESS,
                business_id=card.business_id,
                sign_pk=card.identity.sign_pk,
                identity=pack(card.identity),
                market=market,
            )
        _keep_card(profile, contact, answer, card, now)
        if contact.own_mailbox is None:
            mailboxes.give(profile, contact, now)
        if business.entry is not None and not store.has_written(contact.id):
            _note_entry(profile, contact, business.entry)
    await mailboxes.create_new(profile, link)
    return store.contact(contact.id)


def _note_entry(profile: Profile, contact: Contact, entry: LinkEntry) -> None:
    business_id = BusinessId(contact.business_id or b"")
    ticket = ticket_hash(profile.relay_id, business_id, entry.entry_id, entry.not_after)
    profile.store.set_came_by(CameBy(contact.id, ticket, entry.not_after, None))


async def renew_cards(profile: Profile, link: Link) -> None:
    """Fetch the cards anew of businesses to which something waits to be sent and whose card has
    expired or is a day old, or with which no session may be sent on.

    What is wrong with a new card is told by the outbox, which does not send under the old one.
    """
    store, now = profile.store, profile.clock()
    addressed = store.addressed()
    for contact in store.contacts():
        business_id = contact.business_id
        if business_id is None or not _needs_card(contact, contact.id in addressed, now):
            continue
        with contextlib.suppress(PeerError):
            answer, card = await _fetch_card(link, BusinessId(business_id), now)
            with store.transaction():
                _keep_card(profile, store.contact(contact.id), answer, card, now)
        with store.transaction():
            store.set_contact(contact.id, asked_at=now)


def _needs_card(contact: Contact, waits: bool, now: int) -> bool:
    if contact.kind != Kind.BUSINESS or contact.card is None:
        return False
    if waits and unpack_card(contact.card).expires <= now:
        return True
    if contact.asked_at is not None and 0 <= now - contact.asked_at < ASK_AGAIN:
        return False
    is_old = contact.card_at is None or not 0 <= now - contact.card_at < CARD_AGE
    return contact.wants_session or (waits and is_old)


async def _fetch_card(
    link: Link, business_id: BusinessId, now: int
) -> tuple[frames.BusinessIs, BusinessCard]:
    try:
        answer = await link.request(lambda n: frames.GetBusiness(n, business_id), frames.BusinessIs)
    except RelayError as error:
        if error.code != codes.NOT_FOUND:
            raise
        raise PeerError(
            "the relay knows no business of this link", "ask the business for its link"
        ) from error
    try:
        card = open_business_card(answer.card, now)
        card.bundle(answer.one_time, answer.kem).verify()
        if answer.badge is not None:
            answer.badge.verify(link.cert.operator_pk, link.relay_id, business_id)
    except WireError as error:
        raise PeerError(f"the card of this business is not in order: {error}") from error
    if card.business_id != business_id or card.relay_id != link.relay_id:
        raise PeerError("the relay sent the card of another business, or of another relay")
    return answer, card


def _keep_card(
    profile: Profile, contact: Contact, answer: frames.BusinessIs, card: BusinessCard, now: int
) -> None:
    """Inside the running transaction; starts a session if there is none that can be sent on.

    :raises PeerError: older than the one that is here
    """
    store, badge = profile.store, answer.badge
    former = None if contact.card is None else unpack_card(contact.card)
    if former is not None and former.version > card.version:
        raise PeerError(
            f"the relay showed an older card of {contact.name} than it did before",
            "somebody may have restored an old database; ask its operator",
        )
    if contact.identity != pack(card.identity):
        # Sending pauses until the person has decided; what was read stays read.
        store.drop_sessions(contact.id, now // DAY)
        store.set_contact(
            contact.id,
            state="changed",
            verified_on=None,
            sign_pk=card.identity.sign_pk,
            identity=pack(card.identity),
        )
        text = f"{contact.name} shows another key than before; nothing is sent to them for now"
        store.add_message(contact.id, None, "note", text, now, Status.UNREAD)
    certified = badge is not None and badge.not_after > now
    store.set_contact(
        contact.id,
        card=answer.card,
        card_at=now,
        legal_name=badge.legal_name if badge and certified else None,
        tier=badge.tier if badge and certified else TIER_NONE,
    )
    best = sessions.to_send_on(store, contact.id, now)
    lost = best is not None and best.started < card.sessions_from
    # What the first messages of a session name has to be on the card under which they are sent.
    renewed = former is not None and former.signed_prekey != card.signed_prekey
    outdated = best is not None and not best.confirmed and renewed
    early = best is not None and not best.confirmed and sessions.is_early(best, now)
    if best is not None and not (lost or early or outdated or contact.wants_session):
        return
    bundle = card.bundle(answer.one_time, answer.kem)
    sessions.start(store, profile.identity, contact.id, bundle, now, card.sessions_from)
    if lost or early:
        # A day, not a week as with people: what comes again opens a window for answers.
        again = store.send_again(contact.id, now - DAY, SEND_AGAIN_MOST)
        why = (
            "was restored from a copy and has lost the keys agreed with you"
            if lost
            else "could not use keys that were agreed while the clock here was ahead"
        )
        text = f"{contact.name} {why}; fresh ones are used now. " + (
            "What you sent in the past day goes out again; older things may be missing there"
            if again
            else "What you sent before may be missing there"
        )
        store.add_note(contact.id, text, now)
    if (lost or early or contact.wants_session) and contact.id not in store.addressed():
        queue(store, contact.id, HELLO, "", now)  # until it comes they cannot write to us


async def fetch_rate_card(profile: Profile, link: Link) -> RateCard:
    """The prices in force, checked against the operator's key, and kept.

    :raises RelayError: the relay has none, or one that is not in order
    """
    answer = await link.request(frames.GetRateCard, frames.RateCardIs)
    try:
        card, _ = open_rate_card(answer.card, link.cert.operator_pk, link.relay_id)
    except RateCardError as error:
        raise RelayError(f"the relay's rate card is not in order: {error}") from error
    with profile.store.transaction():
        profile.store.put("rate_card", answer.card)
    return card


def _person_card(profile: Profile, keys: OneUseKeys, now: int) -> bytes:
    """A card whose prekeys are for one use, as the invite is."""
    identity = profile.identity
    bundle = keys.bundle(identity.public)
    body = pack(PersonCard(profile.name, bundle, now, now + CARD_LIFE))
    return signed_card(body, identity.sign(person_card_message(body)))


def _known(profile: Profile, identity: IdentityPublic) -> Contact | None:
    contact = profile.store.contact_by_key(identity.sign_pk)
    if contact is not None and contact.identity != pack(identity):
        raise PeerError(f"{contact.name} comes with another key than before")
    return contact


def unpack_card(card: bytes | None) -> BusinessCard:
    """A card that was checked when it was stored, perhaps expired since.

    :raises PeerError: there is none
    """
    if card is None:
        raise PeerError("this business has no card here", "add it again by its link")
    return unpack(unpack(card, Signed).body, BusinessCard)


def _invite_address(invite: InviteLink, token: bytes, seal: MailboxKey) -> bytes:
    """Until they tell their own, the invite's mailbox is where to write."""
    key = seal.to_bytes()[-32:]
    return pack(Destination(invite.mailbox_id, None, token, None, seal.week, key))
