"""How contacts come about: invites between people, links of businesses."""

from __future__ import annotations

import contextlib

from kurir_billing.errors import RateCardError
from kurir_billing.ratecard import OTHER, RateCard, open_rate_card
from kurir_client import mailboxes
from kurir_client.content import HELLO, Destination
from kurir_client.errors import PeerError, RelayError, UsageError
from kurir_client.link import Link
from kurir_client.outbox import queue
from kurir_client.profile import Profile, check_name, clean_name
from kurir_client.schema import Contact, Invite, Kind, Role, Status
from kurir_crypto.errors import CryptoError
from kurir_crypto.invite import InviteSecret
from kurir_crypto.keys import OwnEcPreKey, OwnKemPreKey
from kurir_crypto.sealing import MailboxKey, week_of
from kurir_crypto.session import Session, next_start
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
from kurir_wire.ids import MINUTE, BusinessId, MailboxId
from kurir_wire.limits import CARD_LIFE
from kurir_wire.links import BusinessLink, InviteLink, pin_of
from kurir_wire.prekeys import (
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    IdentityPublic,
    PreKeyBundle,
)


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
    blob = secret.seal_card(_person_card(profile, now))
    with profile.store.transaction():
        profile.store.add_mailbox(made)
        profile.store.add_invite(Invite(made.id, secret.value, label, now, False, False))
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
        old = [Session.from_bytes(state) for state in store.sessions(contact.id)]
        session = Session.initiate(profile.identity, card.bundle, next_start(old, now // MINUTE))
        store.put_session(session.id, contact.id, session.to_bytes())
        store.set_contact(contact.id, address=address, introduced=False)
        if contact.own_mailbox is None:
            mailboxes.give(profile, contact, now)
        queue(store, contact.id, HELLO, "", now)
    await mailboxes.create_new(profile, link)
    return store.contact(contact.id)


async def add_business(
    profile: Profile, link: Link, business: BusinessLink, name: str | None, country: str | None
) -> Contact:
    """Fetch and check a business's card and badge, and make a mailbox into which it pays.

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
    await mailboxes.create_new(profile, link)
    return store.contact(contact.id)


async def renew_cards(profile: Profile, link: Link) -> None:
    """Fetch the cards anew that have expired, of businesses to which something waits to be sent.

    What is wrong with a new card is told by the outbox, which does not send under the old one.
    """
    store, now = profile.store, profile.clock()
    addressed = store.addressed()
    for contact in store.contacts():
        if contact.kind != Kind.BUSINESS or contact.id not in addressed or contact.card is None:
            continue
        if contact.business_id is None or unpack_card(contact.card).expires > now:
            continue
        with contextlib.suppress(PeerError):
            answer, card = await _fetch_card(link, BusinessId(contact.business_id), now)
            with store.transaction():
                _keep_card(profile, store.contact(contact.id), answer, card, now)


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
    """Inside the running transaction; starts a session if there is none.

    :raises PeerError: older than the one that is here
    """
    store, badge = profile.store, answer.badge
    if contact.card is not None and unpack_card(contact.card).version > card.version:
        raise PeerError(
            f"the relay showed an older card of {contact.name} than it did before",
            "somebody may have restored an old database; ask its operator",
        )
    if contact.identity != pack(card.identity):
        # Sending pauses until the person has decided; what was read stays read.
        store.drop_sessions(contact.id)
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
        legal_name=badge.legal_name if badge and certified else None,
        tier=badge.tier if badge and certified else TIER_NONE,
    )
    if not store.sessions(contact.id):
        bundle = card.bundle(answer.one_time, answer.kem)
        session = Session.initiate(profile.identity, bundle, now // MINUTE)
        store.put_session(session.id, contact.id, session.to_bytes())


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


def _person_card(profile: Profile, now: int) -> bytes:
    """A card whose prekeys are for one use, as the invite is."""
    identity, store = profile.identity, profile.store
    with store.transaction():
        number = store.count_up("prekeys", 3)
        signed = OwnEcPreKey.generate(identity, PREKEY_SIGNED, number)
        one_time = OwnEcPreKey.generate(identity, PREKEY_ONE_TIME, number + 1)
        kem = OwnKemPreKey.generate(identity, PREKEY_ONE_TIME, number + 2)
        store.add_prekey("ec", PREKEY_SIGNED, number, signed.to_bytes())
        store.add_prekey("ec", PREKEY_ONE_TIME, number + 1, one_time.to_bytes())
        store.add_prekey("kem", PREKEY_ONE_TIME, number + 2, kem.to_bytes())
    bundle = PreKeyBundle(identity.public, signed.public, kem.public, one_time.public)
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
