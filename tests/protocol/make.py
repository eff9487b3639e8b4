"""Honest relays, businesses and customers for the tests: real keys, real signatures."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace
from nacl.signing import SigningKey

from kurir_billing.adjust import Adjust
from kurir_billing.adjusted import Adjustment
from kurir_billing.charge import Charge, Line, charge_message, lock_of
from kurir_billing.grant import Grant, grant_message
from kurir_billing.head import head_for, invoice_message
from kurir_billing.invoice import Invoice, Records, with_groups
from kurir_billing.kinds import Category, Class, GrantKind, PassKind
from kurir_billing.lane import Lane, lane_message
from kurir_billing.leaf import Leaf
from kurir_billing.ledger import (
    Checkpoint,
    PlaceInLedger,
    adjust_hash,
    checkpoint_text,
    entry_hash,
    signed_checkpoint,
)
from kurir_billing.party import Party
from kurir_billing.passes import Pass, pass_message
from kurir_billing.ratecard import (
    bundled,
    canonical,
    parse,
    rate_card_hash,
    rate_card_message,
    signed_rate_card,
)
from kurir_billing.report import Report
from kurir_billing.standing import Standing
from kurir_billing.terms import Terms, terms_message
from kurir_billing.ticket import Ticket, ticket_message
from kurir_billing.total import carried_over
from kurir_billing.windows import PASS_LENGTH
from kurir_wire.beacons import Beacon, beacon_message
from kurir_wire.cards import (
    ENVELOPE_KEY_BYTES,
    BusinessCard,
    PersonCard,
    Signed,
    business_card_message,
    person_card_message,
    signed_card,
)
from kurir_wire.codec import pack, unpack
from kurir_wire.gates import payer_gate
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
    relay_id_of,
)
from kurir_wire.merkle import Growing, consistency_proof, inclusion_proof, node_hash
from kurir_wire.prekeys import (
    KEM_PUBLIC_BYTES,
    PREKEY_LAST_RESORT,
    PREKEY_ONE_TIME,
    PREKEY_SIGNED,
    EcPreKey,
    IdentityPublic,
    KemPreKey,
    PreKeyBundle,
    ec_prekey_message,
    identity_binding,
    kem_prekey_message,
)
from kurir_wire.relaycert import RelayCert, relay_cert_message

NOW = 1_767_225_600 + 14 * DAY + 9 * HOUR
"""15 January 2026, 09:00 UTC."""
TODAY = NOW // DAY

SMALL_ORDER_KEYS = [
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    )
]
"""Ed25519 points of small order (the list in the paper of Brendel, Cremers, Jackson, Zhao)."""


def key(name: str) -> SigningKey:
    """A signing key that is the same in every run."""
    return SigningKey(hashlib.sha256(name.encode()).digest())


def public(secret: SigningKey) -> bytes:
    return bytes(secret.verify_key)


def sign(secret: SigningKey, message: bytes) -> bytes:
    return bytes(secret.sign(message).signature)


def b32(name: str) -> bytes:
    """32 bytes that stand for something random."""
    return hashlib.sha256(b"test " + name.encode()).digest()


def b16(name: str) -> bytes:
    return b32(name)[:16]


def hash_of(name: str) -> Hash:
    return Hash(b32(name))


@dataclass(frozen=True)
class TestRelay:
    """The relay's keys, and what it says with them."""

    __test__ = False
    name: str = "relay"

    @property
    def root(self) -> SigningKey:
        return key(f"{self.name} root")

    @property
    def beacon_key(self) -> SigningKey:
        return key(f"{self.name} beacon")

    @property
    def receipt_key(self) -> SigningKey:
        return key(f"{self.name} receipt")

    @property
    def operator(self) -> SigningKey:
        return key(f"{self.name} operator")

    @property
    def checkpoint_key(self) -> SigningKey:
        return key(f"{self.name} checkpoint")

    @property
    def report_pk(self) -> bytes:
        """Of the right length; nothing is sealed to it."""
        return b32(f"{self.name} report") * (ENVELOPE_KEY_BYTES // 32)

    @property
    def id(self) -> RelayId:
        return relay_id_of(public(self.root))

    def cert(self, not_before: int = NOW - DAY, not_after: int = NOW + 365 * DAY) -> RelayCert:
        beacon, receipt, operator, checkpoint = (
            public(secret)
            for secret in (self.beacon_key, self.receipt_key, self.operator, self.checkpoint_key)
        )
        keys = (beacon, receipt, operator, checkpoint, self.report_pk)
        signature = sign(self.root, relay_cert_message(*keys, not_before, not_after))
        return RelayCert(public(self.root), *keys, not_before, not_after, signature)

    def nonce(self, minute: int) -> bytes:
        return hmac.digest(self.name.encode(), str(minute).encode(), "sha256")[:16]

    def beacon(self, minute: int) -> Beacon:
        nonce = self.nonce(minute)
        signature = sign(self.beacon_key, beacon_message(self.id, minute, nonce))
        return Beacon(minute, nonce, signature)

    def rate_card(self) -> tuple[bytes, Hash]:
        """The bundled card as this relay sends it, and its hash."""
        body = canonical(bundled())
        signature = sign(self.operator, rate_card_message(self.id, body))
        return signed_rate_card(body, signature), rate_card_hash(body)

    def note(self, hashes: Sequence[bytes]) -> bytes:
        """The signed checkpoint of a ledger with these leaves."""
        checkpoint = Checkpoint(self.id, len(hashes), Growing(hashes).root())
        signature = sign(self.checkpoint_key, checkpoint_text(checkpoint))
        return signed_checkpoint(checkpoint, public(self.checkpoint_key), signature)


@dataclass(frozen=True)
class TestBusiness:
    """A business with one lane."""

    __test__ = False
    name: str = "business"

    @property
    def root(self) -> SigningKey:
        return key(f"{self.name} root")

    @property
    def lane_key(self) -> SigningKey:
        return key(f"{self.name} lane")

    @property
    def id(self) -> BusinessId:
        return business_id_of(public(self.root))

    def lane(self, lane_key: SigningKey | None = None, not_after: int = NOW + 90 * DAY) -> Lane:
        lane_pk = public(lane_key or self.lane_key)
        message = lane_message(self.id, lane_pk, not_after)
        return Lane(public(self.root), lane_pk, not_after, sign(self.root, message))


@dataclass(frozen=True)
class TestMailbox:
    """A customer's mailbox that this business pays for."""

    __test__ = False
    relay: TestRelay
    business: TestBusiness
    name: str = "mailbox"
    market: str = "ID"

    @property
    def read_key(self) -> SigningKey:
        return key(f"{self.name} read")

    @property
    def opening(self) -> bytes:
        return b32(f"{self.name} opening")

    @property
    def gate(self) -> Hash:
        return payer_gate(self.business.id, self.market, self.opening)

    @property
    def id(self) -> MailboxId:
        """Born in the hour of NOW."""
        return mailbox_id_of(self.relay.id, public(self.read_key), self.gate, NOW // HOUR)

    def grant(self, minute: int = NOW // 60, ticket: Ticket | None = None) -> Grant:
        nonce = self.relay.nonce(minute)
        kind = GrantKind.SERVICE if ticket is None else GrantKind.ENTRY
        name = NO_HASH if ticket is None else ticket.hash(self.relay.id, self.business.id)
        message = grant_message(self.relay.id, self.business.id, self.id, kind, minute, nonce, name)
        return Grant(kind, minute, nonce, name, sign(self.read_key, message))


@dataclass(frozen=True)
class Envelope:
    """What the relay sees beside the charge."""

    mailbox: TestMailbox
    envelope_id: EnvelopeId = field(default_factory=lambda: EnvelopeId(b16("envelope")))
    body: bytes = bytes(2_048)
    life: int = 720


def make_line(
    market: str = "ID",
    klass: Class = Class.OUT_OF_WINDOW,
    price: int | None = None,
    rate_card: Hash | None = None,
) -> Line:
    """A line priced by the bundled card."""
    if price is None:
        price = 0 if klass is Class.IN_WINDOW else bundled().rates(market).utility
    return Line(
        market,
        "reply-2018",
        rate_card or rate_card_hash(canonical(bundled())),
        int(Category.NONE),
        int(klass),
        price,
    )


def private_hash(charge: Charge, envelope: Envelope) -> Hash:
    relay_id = envelope.mailbox.relay.id
    return charge.private_hash(
        relay_id, envelope.mailbox.id, envelope.envelope_id, envelope.body, envelope.life
    )


def sign_charge(charge: Charge, envelope: Envelope, lane_key: SigningKey) -> Charge:
    relay_id = envelope.mailbox.relay.id
    fields = charge.signed_fields(relay_id, private_hash(charge, envelope))
    return replace(charge, signature=sign(lane_key, charge_message(*fields)))


def make_charge(
    envelope: Envelope, line: Line | None = None, name: str = "charge", grant: Grant | None = None
) -> Charge:
    """An honest charge; its settlement secret is ``b32(name + " secret")``."""
    mailbox = envelope.mailbox
    minute = NOW // 60
    charge = Charge(
        line or make_line(),
        mailbox.opening,
        b32(f"{name} frank"),
        lock_of(b32(f"{name} secret")),
        b32(f"{name} private"),
        b32(f"{name} fresh"),
        minute,
        mailbox.relay.nonce(minute),
        mailbox.business.lane(),
        1,
        grant,
        None,
        NO_HASH,
        None,
        bytes(64),
    )
    return sign_charge(charge, envelope, mailbox.business.lane_key)


def make_ticket(
    relay: TestRelay, business: TestBusiness, not_after: int = NOW + 30 * DAY, name: str = "ad"
) -> Ticket:
    message = ticket_message(relay.id, business.id, b16(name), not_after)
    return Ticket(b16(name), not_after, sign(relay.operator, message))


def make_pass(mailbox: TestMailbox, kind: PassKind = PassKind.CONVERSATION) -> Pass:
    """One that a charge opened now."""
    relay, business = mailbox.relay, mailbox.business
    until = NOW + PASS_LENGTH[kind]
    unsigned = Pass(kind, b32("opener"), Class.IN_WINDOW, NOW, until, bytes(64))
    message = pass_message(relay.id, business.id, mailbox.id, unsigned)
    return replace(unsigned, signature=sign(relay.receipt_key, message))


def make_terms(
    relay: TestRelay,
    business: TestBusiness,
    tariff: str = "message-2025",
    tier: int = 2,
    starts: int | None = 250,
    issued: int = NOW,
) -> Terms:
    message = terms_message(relay.id, business.id, tariff, tier, starts, issued)
    return Terms(tariff, tier, starts, issued, sign(relay.operator, message))


def make_leaf(
    relay: TestRelay,
    business: TestBusiness,
    name: str,
    line: Line | None = None,
    day: int = TODAY,
) -> Leaf:
    envelope = Envelope(TestMailbox(relay, business), EnvelopeId(b16(name)))
    charge = make_charge(envelope, line, name)
    return Leaf.settle(charge, private_hash(charge, envelope), b32(f"{name} secret"), day)


def in_file_order(relay: TestRelay, leaves: Iterable[Leaf]) -> list[Leaf]:
    """As an invoice lists them."""
    return sorted(leaves, key=lambda leaf: (leaf.settled_day, leaf.charge_hash(relay.id)))


def make_leaves(relay: TestRelay, business: TestBusiness) -> list[Leaf]:
    """Five settled charges of January 2026: two markets, one free, three days."""
    free = make_line(klass=Class.IN_WINDOW)
    leaves = [
        make_leaf(relay, business, "a", day=TODAY - 2),
        make_leaf(relay, business, "b", make_line("DE"), day=TODAY - 2),
        make_leaf(relay, business, "c", free, day=TODAY - 1),
        make_leaf(relay, business, "d", day=TODAY),
        make_leaf(relay, business, "e", make_line("DE"), day=TODAY),
    ]
    return in_file_order(relay, leaves)


def make_hashes(relay: TestRelay, leaves: Sequence[Leaf], before: int = 3) -> list[Hash]:
    """A ledger that holds these leaves by day, after leaves of others."""
    own = sorted((leaf.settled_day, entry_hash(leaf, relay.id)) for leaf in leaves)
    return [hash_of(f"other {n}") for n in range(before)] + [entry for _, entry in own]


def make_standing(
    relay: TestRelay,
    leaves: Sequence[Leaf],
    hashes: Sequence[Hash],
    since: int | None = None,
) -> Standing:
    """What an honest relay shows of a ledger with these hashes."""
    tree = Tree(hashes)
    places = tuple(tree.place(entry_hash(leaf, relay.id)) for leaf in leaves)
    if since is None:
        return Standing(relay.note(hashes), places)
    growth = tuple(consistency_proof(since, len(hashes), tree.node))
    return Standing(relay.note(hashes), places, relay.note(hashes[:since]), growth)


class Tree:
    """A Merkle tree of which every node is at hand."""

    def __init__(self, hashes: Sequence[Hash]) -> None:
        self._layers = [list(hashes)]
        while len(self._layers[-1]) > 1:
            below = self._layers[-1]
            pairs = range(0, len(below) - 1, 2)
            self._layers.append([node_hash(*below[n : n + 2]) for n in pairs])
        self._numbers = {entry: number for number, entry in enumerate(hashes)}

    def node(self, level: int, index: int) -> Hash:
        return self._layers[level][index]

    def place(self, entry: Hash) -> PlaceInLedger:
        index = self._numbers[entry]
        proof = inclusion_proof(index, len(self._layers[0]), self.node)
        return PlaceInLedger(index, tuple(proof))


SELLER = Party(
    "Kurir Relay Ltd", ["1 Harbour Street", "Tanjung Priok"], "01.234.567.8", ["IBAN XX00 1234"]
)
BUYER = Party("PT Metro Bus", ["Jalan Terminal 2", "Jakarta"], "09.876.543.2")


def make_invoice(
    relay: TestRelay,
    business: TestBusiness,
    leaves: Sequence[Leaf],
    *,
    month: int = 202601,
    through: int = TODAY + 2,
    signer: SigningKey | None = None,
    adjustments: Sequence[tuple[Adjust, Leaf, Report | None]] = (),
    charged: Collection[Hash] = (),
    cards: Sequence[tuple[bytes, Hash]] | None = None,
    hashes: Sequence[Hash] | None = None,
    **fields: Any,
) -> Invoice:
    """An invoice over these leaves, signed by the operator, honest unless told otherwise.

    :param adjustments: entry, the leaf that it adjusts, the report
    :param cards: signed cards and their names, in the order in which they stand in it
    :param hashes: of the whole ledger
    :param fields: what the head says instead of what is right
    """
    signed = [relay.rate_card()] if cards is None else cards
    opened = {name: parse(unpack(data, Signed).body) for data, name in signed}
    adjusts = [adjust for adjust, _, _ in adjustments]
    carried = carried_over(leaves, relay.id, charged)
    head = head_for(
        business.id,
        month,
        through,
        leaves,
        relay.id,
        opened,
        charged,
        adjusts=adjusts,
        seller=SELLER,
        buyer=BUYER,
    )
    head = replace(head, **fields)
    signature = sign(signer or relay.operator, invoice_message(relay.id, head))
    head = replace(head, signature=signature)
    if hashes is None:
        hashes = make_hashes(relay, leaves)
        hashes += [adjust_hash(adjust, relay.id) for adjust in adjusts]
    tree = Tree(hashes)
    listed = tuple(
        Adjustment(adjust, leaf, report, tree.place(adjust_hash(adjust, relay.id)))
        for adjust, leaf, report in adjustments
    )
    used = {leaf.line.rate_card for leaf in (*leaves, *(leaf for _, leaf, _ in adjustments))}
    kept = tuple(data for data, name in signed if name in used)
    invoice = Invoice(
        relay.cert(),
        head,
        tuple(leaves),
        kept,
        make_standing(relay, leaves, hashes, since=2),
        listed,
        carried,
    )
    try:
        return with_groups(invoice)
    except ValueError:  # a line without meaning has no group
        return invoice


def make_records(
    relay: TestRelay, business: TestBusiness, leaves: Iterable[Leaf], *, days: bool = True
) -> Records:
    """What an honest business kept: it signed all of these, and all were reported as settled."""
    leaves = list(leaves)
    days_by_name = {leaf.charge_hash(relay.id): leaf.settled_day for leaf in leaves}
    return Records(
        relay.id,
        business.id,
        {leaf.charge_hash(relay.id): leaf.line for leaf in leaves},
        days_by_name if days else set(days_by_name),
        BUYER.legal_name,
    )


# Cards


def make_identity(owner: SigningKey) -> IdentityPublic:
    dh_pk = b32("dh")
    return IdentityPublic(public(owner), dh_pk, sign(owner, identity_binding(dh_pk)))


def make_ec(owner: SigningKey, kind: int = PREKEY_SIGNED, key_id: int = 7) -> EcPreKey:
    secret = b32(f"ec {kind}")
    return EcPreKey(kind, key_id, secret, sign(owner, ec_prekey_message(kind, key_id, secret)))


def make_kem(owner: SigningKey, kind: int = PREKEY_LAST_RESORT, key_id: int = 9) -> KemPreKey:
    data = b32(f"kem {kind}") * (KEM_PUBLIC_BYTES // 32)
    return KemPreKey(kind, key_id, data, sign(owner, kem_prekey_message(kind, key_id, data)))


def make_business_card(relay: TestRelay, business: TestBusiness) -> BusinessCard:
    owner = key(f"{business.name} identity")
    return BusinessCard(
        3,
        relay.id,
        public(business.root),
        "Metro Bus",
        b32("address"),
        bytes(ENVELOPE_KEY_BYTES),
        make_identity(owner),
        make_ec(owner),
        make_kem(owner),
        NOW - HOUR,
        NOW + 7 * DAY,
    )


def signed_business_card(card: BusinessCard, root: SigningKey) -> bytes:
    body = pack(card)
    return signed_card(body, sign(root, business_card_message(body)))


def make_person_card(owner: SigningKey) -> PersonCard:
    bundle = PreKeyBundle(
        make_identity(owner),
        make_ec(owner),
        make_kem(owner, PREKEY_ONE_TIME),
        make_ec(owner, PREKEY_ONE_TIME),
    )
    return PersonCard("Sari", bundle, NOW - HOUR, NOW + 7 * DAY)


def signed_person_card(card: PersonCard, owner: SigningKey) -> bytes:
    body = pack(card)
    return signed_card(body, sign(owner, person_card_message(body)))
