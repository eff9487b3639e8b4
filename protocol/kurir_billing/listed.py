"""One signature over many charges: a lane signs the root of a tree, and each charge carries the
proof that it stands in it, so that each line stays provable alone.

Source: docs/protocol.md, "Charges".
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from kurir_billing.errors import EvidenceError
from kurir_wire.errors import SignatureError
from kurir_wire.ids import NO_HASH, Hash, digest, u32
from kurir_wire.merkle import leaf_hash, root_of_inclusion
from kurir_wire.prekeys import U32, Bytes32
from kurir_wire.signing import message_to_sign, verify

MAX_LISTED: Final = 256
"""Charges under one signature: as many as one frame carries."""

ListProof = Annotated[list[Bytes32], Meta(max_length=MAX_LISTED.bit_length())]


class Listed(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a charge stands in the list that was signed: place, length, and the proof (RFC 9162,
    section 2.1.3; the entries are charge hashes)."""

    index: U32
    size: Annotated[int, Meta(ge=1, le=MAX_LISTED)]
    proof: ListProof


def listed_hash(listed: Listed | None) -> Hash:
    """One hash over the place, or zeros for none."""
    if listed is None:
        return NO_HASH
    return digest("listed", u32(listed.index) + u32(listed.size) + b"".join(listed.proof))


def list_message(root: bytes, size: int, lane_pk: bytes) -> bytes:
    """What the lane key signs for a whole list."""
    return message_to_sign("charges", root, u32(size), lane_pk)


def signed_message(
    charge_message: bytes, charge_hash: Hash, lane_pk: bytes, listed: Listed | None
) -> bytes:
    """What the signature of a charge covers.

    :raises EvidenceError: the proof has not the form that its place needs
    """
    if listed is None:
        return charge_message
    entry = leaf_hash(charge_hash)
    root = root_of_inclusion(entry, listed.index, listed.size, listed.proof)
    if root is None:
        raise EvidenceError("the charge does not stand in the list that was signed")
    return list_message(root, listed.size, lane_pk)


def check_signed(
    charge_message: bytes,
    charge_hash: Hash,
    lane_pk: bytes,
    signature: bytes,
    listed: Listed | None,
) -> None:
    """:raises EvidenceError: the lane signed neither this charge nor a list that holds it"""
    message = signed_message(charge_message, charge_hash, lane_pk, listed)
    try:
        verify(lane_pk, message, signature, "the charge")
    except SignatureError as error:
        raise EvidenceError(str(error)) from error
