"""Two profiles on disk and a relay that is only a list: for testing inbox, outbox and engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kurir_billing.charge import open_charge
from kurir_billing.lane import Lane
from kurir_billing.ratecard import (
    bundled,
    canonical,
    rate_card_message,
    signed_rate_card,
)
from kurir_billing.terms import Terms, packed_terms, terms_message
from kurir_client import business_keys, inbox, mailboxes, outbox
from kurir_client.cli.people import QUICK_COST
from kurir_client.content import HELLO, Destination
from kurir_client.outbox import Ready
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Kind, Role
from kurir_crypto.keys import SigningKeyPair
from kurir_crypto.sealing import EnvelopeKeyPair, MailboxKey, week_of
from kurir_crypto.session import Session
from kurir_wire.beacons import Beacon, beacon_message
from kurir_wire.cards import TIER_PLATFORM, BusinessCard, Signed
from kurir_wire.codec import pack, unpack
from kurir_wire.entries import Ack, Delivery, Label
from kurir_wire.gates import token_gate
from kurir_wire.ids import DAY, MINUTE, MailboxId, RelayId, business_id_of, relay_id_of
from kurir_wire.prekeys import (
    PreKeyBundle,
)
from kurir_wire.relaycert import RelayCert

START = 1_790_000_000
PASSPHRASE = "a passphrase for tests"


@dataclass
class Clock:
    """Time stands still until a test moves it."""

    now: int = START

    def __call__(self) -> int:
        return self.now


class RelayKeys:
    """The public and secret keys of a relay that exists only in tests."""

    def __init__(self) -> None:
        self.root, self.beacon_key, self.receipt, self.operator, self.checkpoint = (
            SigningKeyPair.generate() for _ in range(5)
        )
        self.report = EnvelopeKeyPair.generate()
        self.cert = RelayCert(
            self.root.public,
            self.beacon_key.public,
            self.receipt.public,
            self.operator.public,
            self.checkpoint.public,
            self.report.public,
            0,
            START * 2,
            bytes(64),
        )

    @property
    def id(self) -> RelayId:
        return relay_id_of(self.root.public)

    def beacon(self, now: int) -> Beacon:
        minute, nonce = now // MINUTE, bytes(16)
        signature = self.beacon_key.sign(beacon_message(self.id, minute, nonce))
        return Beacon(minute, nonce, signature)


class Pair:
    """Alice and Bob, who met by Alice's invite; or a customer and a shop."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.relay = RelayKeys()
        self.alice = self._profile(folder / "alice", "Alice")
        self.bob = self._profile(folder / "bob", "Bob")

    def _profile(self, home: Path, name: str) -> Profile:
        profile = Profile.create(home, PASSPHRASE, name, clock=self.clock, cost=QUICK_COST)
        with profile.store.transaction():
            profile.store.put("relay_id", self.relay.id)
        return profile

    def reopen(self, profile: Profile) -> Profile:
        """As after a crash: nothing but what is on disk."""
        profile.close()
        return Profile.open(profile.home, PASSPHRASE, self.clock)

    def close(self) -> None:
        self.alice.close()
        self.bob.close()

    def prepare(self, profile: Profile) -> list[Ready]:
        return outbox.prepare(profile, self.relay.beacon(self.clock.now), self.clock.now)

    def deliver(self, ready: Ready, to: Profile, label: Label | None = None) -> Ack:
        return inbox.receive(to, self.delivery(ready, label), self.clock.now)

    def delivery(self, ready: Ready, label: Label | None = None) -> Delivery:
        sent = ready.submission
        if sent.charge is not None:
            label = open_charge(sent.charge).label()
        return Delivery(sent.mailbox_id, sent.envelope_id, sent.body, label)

    def carry(self, source: Profile, target: Profile) -> list[Ack]:
        """Send and deliver all that waits."""
        acks = []
        for ready in self.prepare(source):
            acks.append(self.deliver(ready, target))
            with source.store.transaction():
                source.store.drop_outgoing(ready.row.n)
        return acks

    def befriend(self) -> tuple[Contact, Contact]:
        """Both know each other; each has been heard at their own mailbox."""
        now, store = self.clock.now, self.alice.store
        token, seal = bytes(range(32)), MailboxKey.generate(week_of(now))
        invited = mailboxes.plan(Role.INVITE, self.relay.id, token_gate(token), token, seal, now)
        with store.transaction():
            store.add_mailbox(invited)
            bundle = prekeys(self.alice)
        with self.bob.store.transaction():
            contact = self.bob.store.add_contact(
                "Alice",
                Kind.PERSON,
                sign_pk=self.alice.identity.public.sign_pk,
                identity=pack(self.alice.identity.public),
                address=pack(
                    Destination(invited.id, None, token, None, seal.week, seal.to_bytes()[-32:])
                ),
            )
            session = Session.initiate(self.bob.identity, bundle, now // MINUTE)
            self.bob.store.put_session(session.id, contact.id, session.to_bytes())
            mailboxes.give(self.bob, contact, now)
            outbox.queue(self.bob.store, contact.id, HELLO, "", now)
        self.carry(self.bob, self.alice)
        (to_bob,) = store.contacts()
        with store.transaction():
            mailboxes.give(self.alice, to_bob, now)
            outbox.queue(store, to_bob.id, HELLO, "", now)
        self.carry(self.alice, self.bob)
        self.carry(self.bob, self.alice)
        return self.alice.store.contacts()[0], self.bob.store.contacts()[0]

    def agree(
        self,
        tariff: str,
        tier: int = TIER_PLATFORM,
        issued: int = START,
        starts: int | None = None,
    ) -> bytes:
        """Terms of the operator for the shop, packed."""
        business_id = business_id_of(self.bob.store.need("business_root_pk"))
        message = terms_message(self.relay.id, business_id, tariff, tier, starts, issued)
        return packed_terms(Terms(tariff, tier, starts, issued, self.relay.operator.sign(message)))

    def open_shop(self, tariff: str = "reply-2018") -> tuple[Contact, Contact]:
        """Bob becomes a business, and Alice its customer who has written once."""
        now, shop = self.clock.now, self.bob.store
        rates = canonical(bundled())
        signature = self.relay.operator.sign(rate_card_message(self.relay.id, rates))
        with shop.transaction():
            business_keys.make(self.bob, now)
            shop.put("rate_card", signed_rate_card(rates, signature))
            shop.put("terms", self.agree(tariff))
            address = mailboxes.plan(
                Role.ADDRESS,
                self.relay.id,
                token_gate(bytes(32)),
                bytes(32),
                MailboxKey.generate(week_of(now)),
                now,
            )
            shop.add_mailbox(address)
        card = self.card(address.id)
        lane = unpack(shop.need("lane"), Lane)
        with self.alice.store.transaction():
            contact = self.alice.store.add_contact(
                "Shop",
                Kind.BUSINESS,
                business_id=lane.business_id,
                sign_pk=self.bob.identity.public.sign_pk,
                identity=pack(self.bob.identity.public),
                card=card,
                card_at=now,
                market="ID",
            )
            opened = unpack(unpack_signed(card), BusinessCard)
            session = Session.initiate(self.alice.identity, opened.bundle(), now // MINUTE)
            self.alice.store.put_session(session.id, contact.id, session.to_bytes())
            mailboxes.give(self.alice, contact, now)
            outbox.queue(self.alice.store, contact.id, 1, "hello", now)
        self.carry(self.alice, self.bob)
        return self.alice.store.contacts()[0], self.bob.store.contacts()[0]

    def card(self, address: bytes) -> bytes:
        """A new card of the shop."""
        return business_keys.make_card(self.bob, MailboxId(address), self.clock.now)


def unpack_signed(card: bytes) -> bytes:
    return unpack(card, Signed).body


def prekeys(profile: Profile) -> PreKeyBundle:
    """Prekeys for one use, kept in the store."""
    keys = profile.store.new_one_use_keys(profile.identity, profile.clock() // DAY)
    return keys.bundle(profile.identity.public)
