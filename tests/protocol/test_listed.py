"""One signature over many charges, each provable alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from kurir_billing.errors import EvidenceError
from kurir_billing.listed import MAX_LISTED, Listed, check_signed, list_message, listed_hash
from kurir_wire import merkle
from kurir_wire.ids import NO_HASH, Hash, digest
from tests.protocol.make import key, public, sign

LANE = key("lane")


def listed(names: list[Hash], index: int) -> tuple[bytes, Listed]:
    """The signature over a list, and the place of one of its entries."""
    tree = [merkle.leaf_hash(name) for name in names]

    def node(level: int, place: int) -> Hash:
        if level == 0:
            return tree[place]
        return merkle.node_hash(node(level - 1, 2 * place), node(level - 1, 2 * place + 1))

    size = len(names)
    signature = sign(LANE, list_message(merkle.root(size, node), size, public(LANE)))
    return signature, Listed(index, size, list(merkle.inclusion_proof(index, size, node)))


@given(st.integers(1, MAX_LISTED), st.data())
def test_each_entry_is_provable_alone(size: int, data: st.DataObject) -> None:
    names = [digest("test", bytes([number])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    signature, place = listed(names, index)
    check_signed(b"charge", names[index], public(LANE), signature, place)
    for wrong in (
        replace(place, index=(index + 1) % size) if size > 1 else replace(place, index=1),
        replace(place, size=size + 1),
        replace(place, proof=[*place.proof, NO_HASH]),
        replace(place, proof=place.proof[:-1]) if size > 1 else replace(place, size=2),
        None,
    ):
        with pytest.raises(EvidenceError):
            check_signed(b"charge", names[index], public(LANE), signature, wrong)
    with pytest.raises(EvidenceError):
        check_signed(b"charge", digest("test", b"other"), public(LANE), signature, place)


def test_places_have_a_hash() -> None:
    place = Listed(1, 2, [NO_HASH])
    assert listed_hash(None) == NO_HASH
    others = (Listed(0, 2, [NO_HASH]), Listed(1, 3, [NO_HASH]), Listed(1, 2, [place.proof[0]] * 2))
    assert len({listed_hash(other) for other in (place, *others)}) == 4
