"""Actors that sign: people's mailboxes and businesses, for tests."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs
from nacl import bindings

from kurir_billing.answers import Receipt, Refusal, open_receipt, open_refusal
from kurir_billing.charge import Charge, Line, charge_hash, charge_message, lock_of, packed
from kurir_billing.grant import Grant, grant_message
from kurir_billing.kinds import Category, Class, GrantKind
from kurir_billing.lane import Lane, lane_message
from kurir_billing.listed import Listed, list_message
from kurir_billing.passes import Pass, pass_hash
from kurir_billing.ratecard import bundled, canonical, rate_card_hash
from kurir_billing.ticket import Entry, Ticket
from kurir_wire import merkle
from kurir_wire.beacons import Beacon
from kurir_wire.cards import ENVELOPE_KEY_BYTES, BusinessCard, business_card_message, signed_card
from kurir_wire.codec import pack
from kurir_wire.entries import NewMailbox, Opening, Result, Submission
from kurir_wire.frames import Prove
from kurir_wire.gates import OPEN_GATE, payer_gate, token_gate
from kurir_wire.ids import (
    DAY,
    HOUR,
    NO_HASH,
    BusinessId,
    EnvelopeId,
    Hash,
    MailboxId,
    RelayId,
    business_id_of,
    mailbox_id_of,
)
from kurir_wire.prekeys import (
    KEM_PUBLIC_BYTES,
    PREKEY_LAST_RESORT,
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    EcPreKey,
    IdentityPublic,
    KemPreKey,
    ec_prekey_message,
    identity_binding,
    kem_prekey_message,
)
from kurir_wire.proofs import create_message, open_message, prove_message

ROOT = Path(__file__).parents[2]
MARKET = "ID"
CARD_HASH = rate_card_hash(canonical(bundled()))
"""The bundled rate card, as ``kurir-relay init`` installs it."""


async def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    """Wait for something in another process that says nothing when it happens."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def body(size: int = 2_048) -> bytes:
    """A sealed body, as far as a relay can tell."""
    return secrets.token_bytes(size)


class Key:
    """A signing key."""

    def __init__(self) -> None:
        self.public, self._secret = bindings.crypto_sign_keypair()

    def sign(self, message: bytes) -> bytes:
        return bindings.crypto_sign(message, self._secret)[:64]


@dataclass
class Box:
    """A mailbox and the key that reads it."""

    relay_id: RelayId
    gate: Hash
    born_hour: int
    key: Key = field(default_factory=Key)
    token: bytes | None = None

    @classmethod
    def personal(cls, relay_id: RelayId, now: int) -> Box:
        token = secrets.token_bytes(32)
        return cls(relay_id, token_gate(token), now // HOUR, token=token)

    @property
    def id(self) -> MailboxId:
        return mailbox_id_of(self.relay_id, self.key.public, self.gate, self.born_hour)

    def new(self, nonce: bytes) -> NewMailbox:
        message = create_message(self.relay_id, nonce, self.gate, self.born_hour)
        return NewMailbox(self.key.public, self.gate, self.born_hour, self.key.sign(message))

    def opening(self, nonce: bytes) -> Opening:
        return Opening(self.id, self.key.sign(open_message(self.relay_id, nonce, self.id)))

    def grant(self, business_id: BusinessId, beacon: Beacon, ticket: Ticket | None = None) -> Grant:
        """:param ticket: the one by which the customer came"""
        kind = GrantKind.SERVICE if ticket is None else GrantKind.ENTRY
        name = NO_HASH if ticket is None else ticket.hash(self.relay_id, business_id)
        message = grant_message(
            self.relay_id, business_id, self.id, kind, beacon.minute, beacon.nonce, name
        )
        return Grant(kind, beacon.minute, beacon.nonce, name, self.key.sign(message))

    def write(self, size: int = 2_048, envelope_id: bytes | None = None) -> Submission:
        return Submission(
            self.id, envelope_id or secrets.token_bytes(16), body(size), 24, self.token
        )


@dataclass
class Signed:
    """A charge on its way, with what it commits to."""

    submission: Submission
    charge: Charge
    hash: Hash
    secret: bytes


@dataclass
class Draft:
    """A charge before it is signed; ``fields`` are what a signature covers."""

    submission: Submission
    charge: Charge
    fields: tuple[bytes, ...]
    secret: bytes

    @property
    def hash(self) -> Hash:
        return charge_hash(*self.fields)

    def signed(self, signature: bytes, listed: Listed | None = None) -> Signed:
        charge = structs.replace(self.charge, signature=signature, listed=listed)
        submission = structs.replace(self.submission, charge=packed(charge))
        return Signed(submission, charge, self.hash, self.secret)


class Shop:
    """A business: root, identity, lane and address."""

    def __init__(self, relay_id: RelayId, now: int) -> None:
        self.relay_id = relay_id
        self.root, self.identity, self.lane_key = Key(), Key(), Key()
        self.address = Box(relay_id, OPEN_GATE, now // HOUR)
        self.seq = 0
        self.issued = now
        self.dh, self.signed_public = secrets.token_bytes(32), secrets.token_bytes(32)
        self.sessions_from = 0
        self.lane = self.enrol(now + 30 * DAY)

    @property
    def id(self) -> BusinessId:
        return business_id_of(self.root.public)

    def enrol(self, until: int) -> Lane:
        signature = self.root.sign(lane_message(self.id, self.lane_key.public, until))
        return Lane(self.root.public, self.lane_key.public, until, signature)

    def prove(self, nonce: bytes, n: int = 1) -> Prove:
        message = prove_message(self.relay_id, nonce, self.id)
        return Prove(n, self.id, packed(self.lane), self.lane_key.sign(message))

    def card(self, version: int = 1, name: str = "Metro Bus") -> bytes:
        binding = self.identity.sign(identity_binding(self.dh))
        identity = IdentityPublic(self.identity.public, self.dh, binding)
        card = BusinessCard(
            version,
            self.relay_id,
            self.root.public,
            name,
            self.address.id,
            secrets.token_bytes(ENVELOPE_KEY_BYTES),
            identity,
            self.ec(0, PREKEY_SIGNED, self.signed_public),
            self.kem(0, PREKEY_LAST_RESORT),
            self.issued,
            self.issued + 30 * DAY,
            self.sessions_from,
        )
        packed_card = pack(card)
        return signed_card(packed_card, self.root.sign(business_card_message(packed_card)))

    def ec(self, key_id: int, kind: int = PREKEY_ONE_TIME, public: bytes | None = None) -> EcPreKey:
        public = public or secrets.token_bytes(32)
        signature = self.identity.sign(ec_prekey_message(kind, key_id, public))
        return EcPreKey(kind, key_id, public, signature)

    def kem(self, key_id: int, kind: int = PREKEY_ONE_TIME) -> KemPreKey:
        public = secrets.token_bytes(KEM_PUBLIC_BYTES)
        signature = self.identity.sign(kem_prekey_message(kind, key_id, public))
        return KemPreKey(kind, key_id, public, signature)

    def customer(self, now: int, market: str = MARKET) -> tuple[Box, bytes]:
        """A mailbox into which this business pays, and what opens its gate."""
        opening = secrets.token_bytes(32)
        return Box(self.relay_id, payer_gate(self.id, market, opening), now // HOUR), opening

    def line(
        self, *, is_open: bool, price: int = 25_000, market: str = MARKET, **changes: Any
    ) -> Line:
        klass = Class.IN_WINDOW if is_open else Class.OUT_OF_WINDOW
        values: dict[str, Any] = {
            "market": market,
            "tariff": "reply-2018",
            "rate_card": CARD_HASH,
            "category": Category.NONE,
            "klass": klass,
            "list_price": 0 if is_open else price,
        }
        return Line(**(values | changes))

    def sign(
        self,
        box: Box,
        opening: bytes,
        line: Line,
        beacon: Beacon,
        grant: Grant | None = None,
        **evidence: Any,
    ) -> Signed:
        """Sign a charge as a business does, for a random message."""
        draft = self.draft(box, opening, line, beacon, grant, **evidence)
        return draft.signed(self.lane_key.sign(charge_message(*draft.fields)))

    def sign_list(self, drafts: Sequence[Draft]) -> list[Signed]:
        """One signature over all of them."""
        tree = [merkle.leaf_hash(draft.hash) for draft in drafts]

        def node(level: int, place: int) -> Hash:
            if level == 0:
                return tree[place]
            return merkle.node_hash(node(level - 1, 2 * place), node(level - 1, 2 * place + 1))

        size = len(drafts)
        message = list_message(merkle.root(size, node), size, self.lane_key.public)
        signature = self.lane_key.sign(message)
        return [
            draft.signed(
                signature, Listed(place, size, list(merkle.inclusion_proof(place, size, node)))
            )
            for place, draft in enumerate(drafts)
        ]

    def draft(
        self,
        box: Box,
        opening: bytes,
        line: Line,
        beacon: Beacon,
        grant: Grant | None = None,
        *,
        envelope_id: bytes | None = None,
        seq: int | None = None,
        payload: bytes | None = None,
        entry: Entry | None = None,
        held: Pass | None = None,
    ) -> Draft:
        """A charge for a random message, still unsigned.

        :param held: the pass that it names
        """
        self.seq += 1
        secret = secrets.token_bytes(32)
        envelope = EnvelopeId(envelope_id or secrets.token_bytes(16))
        text = payload or body()
        draft = Charge(
            line,
            opening,
            secrets.token_bytes(32),
            lock_of(secret),
            secrets.token_bytes(32),
            secrets.token_bytes(32),
            beacon.minute,
            beacon.nonce,
            self.lane,
            self.seq if seq is None else seq,
            grant,
            entry,
            pass_hash(held),
            None,
            bytes(64),
        )
        private = draft.private_hash(self.relay_id, box.id, envelope, text, 24)
        fields = draft.signed_fields(self.relay_id, private)
        return Draft(Submission(box.id, envelope, text, 24), draft, fields, secret)


def receipt_of(result: Result | None) -> Receipt:
    assert result is not None, "plain success, no receipt"
    assert result.code == "ok", result
    assert result.data is not None
    return open_receipt(result.data)


def refusal_of(result: Result | None) -> Refusal:
    assert result is not None, "plain success, no refusal"
    assert result.data is not None, result
    return open_refusal(result.data)
