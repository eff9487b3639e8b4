"""Metered envelopes: sealed with a settlement key inside, and the charges that a business signs for
them, one by one or many under one signature. Sans-I/O.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from kurir_billing import charge as charges
from kurir_billing.grant import Grant
from kurir_billing.lane import Lane
from kurir_billing.listed import Listed, list_message
from kurir_billing.ticket import Entry
from kurir_client.content import Content
from kurir_client.engine import ENVELOPE_ID_BYTES, Sealed, encrypt, frank_of, seal_body
from kurir_crypto.keys import SigningKeyPair
from kurir_crypto.sealing import Binding, MailboxKey
from kurir_crypto.session import Session
from kurir_crypto.settlement import generate_kf, settlement_secret
from kurir_wire.beacons import Beacon
from kurir_wire.entries import Label, Submission
from kurir_wire.ids import EnvelopeId, Hash, MailboxId, RelayId
from kurir_wire.limits import DEFAULT_LIFE_HOURS
from kurir_wire.merkle import Growing, inclusion_proofs, leaf_hash


@dataclass(frozen=True, slots=True)
class PaidRoute:
    """Into a customer's mailbox that we pay for: the opening of its gate, and its sealing key."""

    mailbox_id: MailboxId
    opening: bytes = field(repr=False)
    key: MailboxKey


@dataclass(frozen=True, slots=True)
class Claim:
    """What a business signs besides the envelope: the line, the evidence, a fresh beacon, and its
    lane with the next number."""

    line: charges.Line
    grant: Grant | None
    entry: Entry | None
    pass_hash: Hash
    beacon: Beacon
    lane: Lane
    lane_seq: int


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A sealed envelope and the charge that is to go with it; ``fields`` are what is signed."""

    session: Session
    submission: Submission
    charge: charges.Charge
    fields: tuple[bytes, ...]

    @property
    def charge_hash(self) -> Hash:
        """The charge's name, which its signature does not change."""
        return charges.charge_hash(*self.fields)


def seal_paid(
    session: Session,
    content: Content,
    route: PaidRoute,
    claim: Claim,
    relay_id: RelayId,
    now: int,
) -> Unsigned:
    """A metered envelope, its charge still to be signed.

    The settlement key goes inside; outside stand only its hash and the franking tag, so that the
    relay can neither settle by itself nor see what is settled.

    :raises MessageTooLongError: the text does not fit the largest bucket
    """
    envelope_id = EnvelopeId(os.urandom(ENVELOPE_ID_BYTES))
    business_id = claim.lane.business_id
    settle_key = generate_kf()
    category = claim.line.category
    content = msgspec.structs.replace(content, category=category, settle_key=settle_key)
    place = (route.mailbox_id, envelope_id)
    label = Label(
        business_id,
        category,
        frank_of(content, settle_key, relay_id, business_id, *place, category),
        charges.lock_of(settlement_secret(settle_key, envelope_id)),
    )
    binding = Binding(*place, charges.label_hash(label, relay_id, *place))
    after, data, bucket = encrypt(session, content, binding, address=False)
    body = seal_body(route.key, now, binding, data, bucket)
    charge = charges.Charge(
        line=claim.line,
        opening=route.opening,
        frank=label.frank,
        lock=label.lock,
        private_salt=os.urandom(32),
        fresh_salt=os.urandom(32),
        beacon_minute=claim.beacon.minute,
        beacon_nonce=claim.beacon.nonce,
        lane=claim.lane,
        lane_seq=claim.lane_seq,
        grant=claim.grant,
        entry=claim.entry,
        pass_hash=claim.pass_hash,
        listed=None,
        signature=bytes(64),
    )
    private_hash = charge.private_hash(relay_id, *place, body, DEFAULT_LIFE_HOURS)
    fields = charge.signed_fields(relay_id, private_hash)
    return Unsigned(after, Submission(*place, body, DEFAULT_LIFE_HOURS), charge, fields)


def sign(lane_key: SigningKeyPair, unsigned: Sequence[Unsigned]) -> list[Sealed]:
    """Sign charges of one lane: a single one by itself, several by the root over all of them.

    :returns: in the same order; at most ``MAX_LISTED`` at a time
    """
    if len(unsigned) == 1:
        signature = lane_key.sign(charges.charge_message(*unsigned[0].fields))
        return [_signed(unsigned[0], None, signature)]
    # In the order of their hashes: the relay keeps each one's index, and the order in which they
    # were written is mostly that of the customers' messages.
    ordered = sorted(unsigned, key=lambda item: item.charge_hash)
    leaves = [leaf_hash(item.charge_hash) for item in ordered]
    size = len(leaves)

    def node(level: int, index: int) -> Hash:
        return Growing(leaves[index << level : (index + 1) << level]).root()

    signature = lane_key.sign(list_message(Growing(leaves).root(), size, lane_key.public))
    listed = {
        item.charge_hash: Listed(index, size, [*proof])
        for index, (item, proof) in enumerate(
            zip(ordered, inclusion_proofs(range(size), size, node), strict=True)
        )
    }
    return [_signed(item, listed[item.charge_hash], signature) for item in unsigned]


def _signed(item: Unsigned, listed: Listed | None, signature: bytes) -> Sealed:
    charge = msgspec.structs.replace(item.charge, listed=listed, signature=signature)
    submission = msgspec.structs.replace(item.submission, charge=charges.packed(charge))
    return Sealed(item.session, submission, item.charge_hash)
