"""What a business does besides writing: registering, keeping its card and prekeys fresh, fetching
settlements and invoices.
"""

from __future__ import annotations

import calendar
import os
from dataclasses import dataclass
from typing import Final

from kurir_billing.charge import Lane, Line, lane_message, packed
from kurir_billing.errors import BillingError
from kurir_billing.invoice import Invoice, Records, open_head, verify_invoice
from kurir_billing.leaf import Leaf, open_leaf
from kurir_client import ledger, mailboxes
from kurir_client.errors import RelayError, UsageError
from kurir_client.link import Link
from kurir_client.meeting import fetch_rate_card, unpack_card
from kurir_client.profile import Profile, check_name
from kurir_client.schema import Mailbox, Role
from kurir_crypto.keys import OwnEcPreKey, OwnKemPreKey, SigningKeyPair
from kurir_crypto.sealing import EnvelopeKeyPair, MailboxKey, week_of
from kurir_wire import frames
from kurir_wire.cards import (
    BusinessCard,
    business_card_message,
    open_business_card,
    signed_card,
)
from kurir_wire.codec import pack, unpack
from kurir_wire.errors import WireError
from kurir_wire.gates import OPEN_GATE
from kurir_wire.ids import DAY, NO_HASH, BusinessId, Hash, business_id_of
from kurir_wire.limits import CARD_LIFE, MAX_PREKEYS
from kurir_wire.links import BusinessLink, pin_of
from kurir_wire.prekeys import (
    PREKEY_LAST_RESORT,
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    EcPreKey,
    KemPreKey,
)

PREKEY_STOCK: Final = 20
"""One-time prekeys of each kind that are left with the relay at a time: 36 KiB."""
RENEW_BEFORE: Final = 10 * DAY
"""Seconds before a card expires at which a new version is made."""
LANE_LIFE: Final = 365 * DAY
"""Seconds for which a lane key may sign charges."""


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
            _make_keys(profile, now)
        store.put("legal_name", check_name(legal_name).encode())
        if _address(profile) is None:
            opening = os.urandom(mailboxes.TOKEN_BYTES)  # never used: an address has no secret gate
            seal = MailboxKey.generate(week_of(now))
            address = mailboxes.plan(Role.ADDRESS, profile.relay_id, OPEN_GATE, opening, seal, now)
            store.add_mailbox(address)
    await _leave_card(profile, link)
    await prove(profile, link)
    await _refill(profile, link)


async def keep_fresh(profile: Profile, link: Link) -> None:
    """What a business does at each connection: prove itself, take the rate card in force, renew its
    card in time, refill prekeys.

    :raises UsageError: it was never registered
    """
    store, now = profile.store, profile.clock()
    if not profile.is_business or _address(profile) is None:
        raise UsageError(
            "this profile is not a registered business",
            "register it: kurir business register --legal-name …",
        )
    _renew_lane(profile, now)
    card = store.get("business_card")
    if card is None or _expires(card) - now < RENEW_BEFORE:
        await _leave_card(profile, link)
    await prove(profile, link)
    await _refill(profile, link)
    await fetch_rate_card(profile, link)


async def prove(profile: Profile, link: Link) -> None:
    """Show the relay that this connection speaks for the business.

    :raises RelayError: it does not believe it
    """
    store = profile.store
    business_id = own_id(profile)
    lane_key = SigningKeyPair.from_seed(store.need("lane_seed"))
    signature = lane_key.sign(frames.prove_message(link.relay_id, link.nonce, business_id))
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
    answer = await link.request(lambda n: frames.GetInvoice(n, month), frames.InvoiceIs)
    head = open_head(answer.head)
    cards: dict[bytes, bytes] = {}
    for leaf in leaves:
        wanted = leaf.line.rate_card
        if wanted not in cards:
            sent = await link.request(
                lambda n, wanted=wanted: frames.GetRateCard(n, wanted),  # type: ignore[misc]
                frames.RateCardIs,
            )
            cards[wanted] = sent.card
    standing = await ledger.fetch_standing(profile, link, leaves)
    shown = await status(profile, link)
    legal_name = shown.legal_name or profile.store.need("legal_name").decode()
    return Invoice(link.cert, legal_name, head, tuple(leaves), tuple(cards.values()), standing)


def records(profile: Profile) -> Records:
    """What this business kept itself: see :func:`kurir_billing.invoice.verify_invoice`."""
    rows = profile.store.charges()
    signed = {Hash(row.hash): unpack(row.line, Line) for row in rows}
    settled = {Hash(row.hash): row.settled_day for row in rows if row.settled_day is not None}
    certified = profile.store.get("certified_name")
    name = None if certified is None else certified.decode()
    return Records(profile.relay_id, own_id(profile), signed, settled, name, ledger.known(profile))


def verify(profile: Profile, invoice: Invoice) -> None:
    """Recompute an invoice from this business's own records.

    :raises InvoiceError: the first difference
    """
    verify_invoice(invoice, records(profile))


def _make_keys(profile: Profile, now: int) -> None:
    store = profile.store
    root, lane_key, envelope = (
        SigningKeyPair.generate(),
        SigningKeyPair.generate(),
        EnvelopeKeyPair.generate(),
    )
    lane = _certified(root, lane_key.public, now)
    store.put("business_root", root.seed())
    store.put("business_root_pk", root.public)
    store.put("lane_seed", lane_key.seed())
    store.put("lane", packed(lane))
    store.put("envelope_key", envelope.to_bytes())
    signed = OwnEcPreKey.generate(profile.identity, PREKEY_SIGNED, 1)
    last = OwnKemPreKey.generate(profile.identity, PREKEY_LAST_RESORT, 1)
    store.add_prekey("ec", PREKEY_SIGNED, 1, signed.to_bytes())
    store.add_prekey("kem", PREKEY_LAST_RESORT, 1, last.to_bytes())


def _certified(root: SigningKeyPair, lane_pk: bytes, now: int) -> Lane:
    not_after = now + LANE_LIFE
    signature = root.sign(lane_message(business_id_of(root.public), lane_pk, not_after))
    return Lane(root.public, lane_pk, not_after, signature)


def _renew_lane(profile: Profile, now: int) -> None:
    """The same lane key, certified for another year in time."""
    store = profile.store
    lane = unpack(store.need("lane"), Lane)
    if lane.not_after - now >= RENEW_BEFORE:
        return
    root = SigningKeyPair.from_seed(store.need("business_root"))
    with store.transaction():
        store.put("lane", packed(_certified(root, lane.lane_pk, now)))


def _address(profile: Profile) -> Mailbox | None:
    for mailbox in profile.store.mailboxes("new", "live"):
        if mailbox.role is Role.ADDRESS:
            return mailbox
    return None


async def _leave_card(profile: Profile, link: Link) -> None:
    store, now = profile.store, profile.clock()
    address = _address(profile)
    if address is None:
        raise UsageError("this business has no address yet")
    root = SigningKeyPair.from_seed(store.need("business_root"))
    ec, kem = store.prekey("ec", PREKEY_SIGNED, 1), store.prekey("kem", PREKEY_LAST_RESORT, 1)
    if ec is None or kem is None:
        raise UsageError(
            "this business has lost its prekeys", "the profile is damaged; make a new one"
        )
    with store.transaction():
        version = store.count_up("card_version")
    body = pack(
        BusinessCard(
            version=version,
            relay_id=profile.relay_id,
            root_pk=root.public,
            name=profile.name,
            address=address.id,
            envelope_pk=EnvelopeKeyPair.from_bytes(store.need("envelope_key")).public,
            identity=profile.identity.public,
            signed_prekey=OwnEcPreKey.from_bytes(ec).public,
            last_resort=OwnKemPreKey.from_bytes(kem).public,
            issued=now,
            expires=now + CARD_LIFE,
        )
    )
    card = signed_card(body, root.sign(business_card_message(body)))
    entry = mailboxes.new_mailbox_entry(address, OPEN_GATE, link)
    await link.one(lambda n: frames.Register(n, card, entry))
    with store.transaction():
        store.put("business_card", card)
        store.set_mailbox(address.id, state="live")


async def _refill(profile: Profile, link: Link) -> None:
    """Leave fresh one-time prekeys for as many as were handed out. The relay says how many it has:
    of those that it handed out many are never used, and ours may have been lost on the way."""
    store, identity = profile.store, profile.identity
    answer = await link.one(lambda n: frames.PutPreKeys(n, [], []))
    room = answer.left if answer and answer.left is not None else MAX_PREKEYS
    missing = PREKEY_STOCK - max(MAX_PREKEYS - room, 0)
    if missing <= 0:
        return
    ec: list[EcPreKey] = []
    kem: list[KemPreKey] = []
    with store.transaction():
        first = store.count_up("one_time_ec", missing)
        for key_id in range(first, first + missing):
            own = OwnEcPreKey.generate(identity, PREKEY_ONE_TIME, key_id)
            store.add_prekey("ec", PREKEY_ONE_TIME, key_id, own.to_bytes())
            ec.append(own.public)
        first = store.count_up("one_time_kem", missing)
        for key_id in range(first, first + missing):
            own_kem = OwnKemPreKey.generate(identity, PREKEY_ONE_TIME, key_id)
            store.add_prekey("kem", PREKEY_ONE_TIME, key_id, own_kem.to_bytes())
            kem.append(own_kem.public)
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


def _expires(card: bytes) -> int:
    """When our own card expires; decoded without the checks, which fail once it has."""
    return unpack_card(card).expires


def _days_of(month: int) -> list[int]:
    """The days (unix time // 86400) of a month."""
    year, number = divmod(month, 100)
    first = calendar.timegm((year, number, 1, 0, 0, 0)) // DAY
    return [first + day for day in range(calendar.monthrange(year, number)[1])]
