"""The tree against the RFC's own recursive definition, and against published vectors."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kurir_wire.ids import Hash
from kurir_wire.merkle import (
    EMPTY_ROOT,
    Growing,
    consistency_proof,
    inclusion_proof,
    inclusion_proofs,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    root,
)

# The definitions of RFC 9162, sections 2.1.1, 2.1.3.1 and 2.1.4.1, as they stand there: over the
# entries themselves, by recursion.


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def mth(d: list[bytes]) -> bytes:
    if not d:
        return hashlib.sha256(b"").digest()
    if len(d) == 1:
        return hashlib.sha256(b"\x00" + d[0]).digest()
    k = split(len(d))
    return hashlib.sha256(b"\x01" + mth(d[:k]) + mth(d[k:])).digest()


def path(m: int, d: list[bytes]) -> list[bytes]:
    if len(d) == 1:
        return []
    k = split(len(d))
    if m < k:
        return [*path(m, d[:k]), mth(d[k:])]
    return [*path(m - k, d[k:]), mth(d[:k])]


def subproof(m: int, d: list[bytes], b: bool) -> list[bytes]:
    if m == len(d):
        return [] if b else [mth(d)]
    k = split(len(d))
    if m <= k:
        return [*subproof(m, d[:k], b), mth(d[k:])]
    return [*subproof(m - k, d[k:], False), mth(d[:k])]


ENTRIES = [number.to_bytes(2, "big") * 3 for number in range(131)]


def node(level: int, index: int) -> Hash:
    """Complete nodes of the tree over ENTRIES, never of leaves that are not there."""
    first, count = index << level, 1 << level
    assert first + count <= len(ENTRIES)
    return Hash(mth(ENTRIES[first : first + count]))


NODES = {
    (level, index): node(level, index)
    for level in range(8)
    for index in range(len(ENTRIES) >> level)
}


def kept(level: int, index: int) -> Hash:
    return NODES[level, index]


def test_roots_of_all_sizes() -> None:
    growing = Growing()
    for size in range(131):
        expected = mth(ENTRIES[:size])
        assert growing.size == size
        assert growing.root() == root(size, kept) == expected
        growing.append(leaf_hash(ENTRIES[size]))
    assert Growing(map(leaf_hash, ENTRIES[:5])).root() == mth(ENTRIES[:5])


def test_inclusion_in_all_sizes() -> None:
    for size in range(1, 131):
        expected_root = mth(ENTRIES[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, kept)
            if size in (1, 2, 3, 7, 8, 100, 130):
                assert proof == path(index, ENTRIES[:size])
            leaf = leaf_hash(ENTRIES[index])
            assert is_included(leaf, index, size, proof, expected_root)
            other = (index + 1) % size
            assert not is_included(leaf, other, size, proof, expected_root) or size == 1


def test_several_proofs_share_what_they_ask_for() -> None:
    asked: list[tuple[int, int]] = []

    def node(level: int, index: int) -> Hash:
        asked.append((level, index))
        return kept(level, index)

    for size in range(1, 131):
        asked.clear()
        indexes = [*range(size), 0, size - 1]
        proofs = inclusion_proofs(indexes, size, node)
        assert proofs == [inclusion_proof(index, size, kept) for index in indexes]
        assert len(asked) <= 2 * size + size.bit_length() ** 2
    with pytest.raises(ValueError, match="no such leaf"):
        inclusion_proofs([0, 3], 3, kept)


def test_consistency_of_all_sizes() -> None:
    roots = [mth(ENTRIES[:size]) for size in range(131)]
    for new in range(1, 131):
        for old in range(1, new + 1):
            proof = consistency_proof(old, new, kept)
            if new in (1, 2, 3, 7, 8, 100, 130):
                assert proof == subproof(old, ENTRIES[:new], True)
            assert is_consistent(old, new, roots[old], roots[new], proof)
            assert not is_consistent(old, new, roots[new - 1], roots[new], proof) or old == new - 1


def test_sizes_that_are_none() -> None:
    for index, size in ((0, 0), (3, 3), (-1, 3)):
        with pytest.raises(ValueError, match="no such leaf"):
            inclusion_proof(index, size, kept)
        assert not is_included(NODES[0, 0], index, size, [], NODES[0, 0])
    for old, new in ((0, 3), (4, 3), (0, 0), (-1, 2)):
        with pytest.raises(ValueError, match="no two sizes"):
            consistency_proof(old, new, kept)
        assert not is_consistent(old, new, EMPTY_ROOT, EMPTY_ROOT, [])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_an_inclusion_proof_is_found(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 130))
    index = data.draw(st.integers(0, size - 1))
    proof: list[bytes] = list(inclusion_proof(index, size, kept))
    leaf, top = NODES[0, index], mth(ENTRIES[:size])
    assert is_included(leaf, index, size, proof, top)
    how = data.draw(st.sampled_from(["bit", "drop", "add", "swap", "leaf", "root"]))
    changed, fresh = list(proof), data.draw(st.binary(min_size=32, max_size=32))
    match how:
        case "bit" if proof:
            place = data.draw(st.integers(0, len(proof) - 1))
            changed[place] = bytes([changed[place][0] ^ 1]) + changed[place][1:]
        case "drop" if proof:
            del changed[data.draw(st.integers(0, len(proof) - 1))]
        case "swap" if len(proof) > 1:
            changed[0], changed[-1] = changed[-1], changed[0]
        case "leaf":
            assert not is_included(fresh, index, size, proof, top)
            return
        case "root":
            assert not is_included(leaf, index, size, proof, fresh)
            return
        case _:
            changed.insert(data.draw(st.integers(0, len(proof))), fresh)
    assert not is_included(leaf, index, size, changed, top)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_a_consistency_proof_is_found(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, 130))
    old = data.draw(st.integers(1, new - 1))
    proof: list[bytes] = list(consistency_proof(old, new, kept))
    before, after = mth(ENTRIES[:old]), mth(ENTRIES[:new])
    assert is_consistent(old, new, before, after, proof)
    place = data.draw(st.integers(0, len(proof) - 1))
    flipped = bytes([proof[place][0] ^ 1]) + proof[place][1:]
    for changed in (
        [*proof[:place], flipped, *proof[place + 1 :]],
        proof[:place] + proof[place + 1 :],
        [*proof[:place], flipped, *proof[place:]],
    ):
        assert not is_consistent(old, new, before, after, changed)
    assert not is_consistent(old, new, after, after, proof)
    assert not is_consistent(old, new, before, before, proof)


def test_large_trees_at_random() -> None:
    """A million leaves and more, of which only the nodes on the way are made."""
    rng = random.Random(9162)
    uniform = [leaf_hash(b"same")]
    while len(uniform) < 40:
        uniform.append(node_hash(uniform[-1], uniform[-1]))

    def same(level: int, index: int) -> Hash:
        return uniform[level]

    for _ in range(500):
        new = rng.randrange(1, 1 << rng.randrange(1, 39))
        old, index = rng.randrange(1, new + 1), rng.randrange(new)
        top = root(new, same)
        proof = inclusion_proof(index, new, same)
        assert len(proof) <= 39
        assert is_included(uniform[0], index, new, proof, top)
        assert is_consistent(old, new, root(old, same), top, consistency_proof(old, new, same))


# The reference vectors of Certificate Transparency (merkle_tree_test.cc and its successors).

CT_ENTRIES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
CT_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
A = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
B = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
C = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
D = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
E = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
F = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
CT_INCLUSION = (
    (0, 1, ()),
    (0, 8, (A, B, C)),
    (5, 8, (D, E, CT_ROOTS[4])),
    (2, 3, (CT_ROOTS[2],)),
    (1, 5, (CT_ROOTS[1], B, D)),
)
CT_CONSISTENCY = (
    (1, 1, ()),
    (1, 8, (A, B, C)),
    (6, 8, (F, E, CT_ROOTS[4])),
    (2, 5, (B, D)),
)


def ct_node(level: int, index: int) -> Hash:
    return Hash(mth(CT_ENTRIES[index << level : (index + 1) << level]))


def unhex(texts: tuple[str, ...]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def test_published_roots() -> None:
    roots = unhex(CT_ROOTS)
    assert roots[0] == EMPTY_ROOT
    for size, expected in enumerate(roots):
        assert Growing(map(leaf_hash, CT_ENTRIES[:size])).root() == expected


@pytest.mark.parametrize(("index", "size", "proof"), CT_INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, proof: tuple[str, ...]) -> None:
    assert inclusion_proof(index, size, ct_node) == unhex(proof)
    leaf, top = leaf_hash(CT_ENTRIES[index]), bytes.fromhex(CT_ROOTS[size])
    assert is_included(leaf, index, size, unhex(proof), top)


@pytest.mark.parametrize(("old", "new", "proof"), CT_CONSISTENCY)
def test_published_consistency_proofs(old: int, new: int, proof: tuple[str, ...]) -> None:
    assert consistency_proof(old, new, ct_node) == unhex(proof)
    before, after = bytes.fromhex(CT_ROOTS[old]), bytes.fromhex(CT_ROOTS[new])
    assert is_consistent(old, new, before, after, unhex(proof))
