"""Two profiles on disk and a relay that is only a list: for testing inbox, outbox and engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kurir_billing.charge import Lane, open_charge
from kurir_billing.ratecard import (
    bundled,
    canonical,
    rate_card_message,
    signed_rate_card,
)
from kurir_client import business, inbox, mailboxes, outbox
from kurir_client.cli.people import QUICK_COST
from kurir_client.content import HELLO, Destination
from kurir_client.outbox import Ready
from kurir_client.profile import Profile
from kurir_client.schema import Contact, Kind, Role
from kurir_crypto.keys import OwnEcPreKey, OwnKemPreKey, SigningKeyPair
from kurir_crypto.sealing import EnvelopeKeyPair, MailboxKey, week_of
from kurir_crypto.session import Session
from kurir_wire.beacons import Beacon, beacon_message
from kurir_wire.cards import BusinessCard, Signed, business_card_message, signed_card
from kurir_wire.codec import pack, unpack
from kurir_wire.frames import Ack, Delivery, Label
from kurir_wire.gates import token_gate
from kurir_wire.ids import MINUTE, RelayId, relay_id_of
from kurir_wire.limits import CARD_LIFE
from kurir_wire.prekeys import (
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
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
        self.cert = RelayCert(
            self.root.public,
            self.beacon_key.public,
            self.receipt.public,
            self.operator.public,
            self.checkpoint.public,
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

    def open_shop(self) -> tuple[Contact, Contact]:
        """Bob becomes a business, and Alice its customer who has written once."""
        now, shop = self.clock.now, self.bob.store
        rates = canonical(bundled())
        signature = self.relay.operator.sign(rate_card_message(self.relay.id, rates))
        with shop.transaction():
            business._make_keys(self.bob, now)
            shop.put("rate_card", signed_rate_card(rates, signature))
            address = mailboxes.plan(
                Role.ADDRESS,
                self.relay.id,
                token_gate(bytes(32)),
                bytes(32),
                MailboxKey.generate(week_of(now)),
                now,
            )
            shop.add_mailbox(address)
        card = self._card(address.id)
        lane = unpack(shop.need("lane"), Lane)
        with self.alice.store.transaction():
            contact = self.alice.store.add_contact(
                "Shop",
                Kind.BUSINESS,
                business_id=lane.business_id,
                sign_pk=self.bob.identity.public.sign_pk,
                identity=pack(self.bob.identity.public),
                card=card,
                market="ID",
            )
            opened = unpack(unpack_signed(card), BusinessCard)
            session = Session.initiate(self.alice.identity, opened.bundle(), now // MINUTE)
            self.alice.store.put_session(session.id, contact.id, session.to_bytes())
            mailboxes.give(self.alice, contact, now)
            outbox.queue(self.alice.store, contact.id, 1, "hello", now)
        self.carry(self.alice, self.bob)
        return self.alice.store.contacts()[0], self.bob.store.contacts()[0]

    def _card(self, address: bytes) -> bytes:
        shop, now = self.bob.store, self.clock.now
        root = SigningKeyPair.from_seed(shop.need("business_root"))
        ec, kem = shop.prekey("ec", 0, 1), shop.prekey("kem", 2, 1)
        envelope = shop.need("envelope_key")
        assert ec is not None
        assert kem is not None
        body = pack(
            BusinessCard(
                1,
                self.relay.id,
                root.public,
                "Shop",
                address,
                EnvelopeKeyPair.from_bytes(envelope).public,
                self.bob.identity.public,
                OwnEcPreKey.from_bytes(ec).public,
                OwnKemPreKey.from_bytes(kem).public,
                now,
                now + CARD_LIFE,
            )
        )
        return signed_card(body, root.sign(business_card_message(body)))


def unpack_signed(card: bytes) -> bytes:
    return unpack(card, Signed).body


def prekeys(profile: Profile) -> PreKeyBundle:
    """One-time prekeys of both kinds, kept in the store."""
    identity, store = profile.identity, profile.store
    signed = OwnEcPreKey.generate(identity, PREKEY_SIGNED, 1)
    one_time = OwnEcPreKey.generate(identity, PREKEY_ONE_TIME, 2)
    kem = OwnKemPreKey.generate(identity, PREKEY_ONE_TIME, 3)
    store.add_prekey("ec", PREKEY_SIGNED, 1, signed.to_bytes())
    store.add_prekey("ec", PREKEY_ONE_TIME, 2, one_time.to_bytes())
    store.add_prekey("kem", PREKEY_ONE_TIME, 3, kem.to_bytes())
    return PreKeyBundle(identity.public, signed.public, kem.public, one_time.public)
