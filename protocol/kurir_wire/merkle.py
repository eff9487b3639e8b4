"""Merkle trees of RFC 9162, section 2.1: roots, and the two proofs, made and checked.

A *node* is named by its level and its place there: ``(0, i)`` is the hash of leaf i, and
``(level, i)`` covers the ``2 ** level`` leaves from ``i << level`` on. Only nodes whose leaves are
all there have a hash that never changes; whoever makes proofs keeps those, and the rest follows.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from kurir_wire.ids import Hash

EMPTY_ROOT: Final = Hash(hashlib.sha256().digest())
"""The root of a tree without leaves."""

_PAIR: Final = 2 * hashlib.sha256().digest_size

Node = Callable[[int, int], Hash]
"""Gives the hash of a complete node by level and place."""


def leaf_hash(entry: bytes) -> Hash:
    """The hash of a leaf."""
    return Hash(hashlib.sha256(b"\0" + entry).digest())


def node_hash(left: bytes, right: bytes) -> Hash:
    """The hash of an inner node."""
    return Hash(hashlib.sha256(b"\1" + left + right).digest())


def nodes_above(layer: bytes) -> bytes:
    """The hashes of the complete nodes over a layer of hashes, which stand one after the other."""
    pairs = range(0, len(layer) - _PAIR + 1, _PAIR)
    return b"".join(hashlib.sha256(b"\1" + layer[at : at + _PAIR]).digest() for at in pairs)


class Growing:
    """A tree to which leaves are only added, in as many hashes as its size has binary ones."""

    __slots__ = ("_complete", "size")

    def __init__(self, leaf_hashes: Iterable[bytes] = ()) -> None:
        self.size = 0
        self._complete: list[Hash] = []
        for added in leaf_hashes:
            self.append(added)

    def append(self, added: bytes) -> None:
        """Add one leaf, by its hash."""
        node, size = Hash(added), self.size
        while size & 1:
            node = node_hash(self._complete.pop(), node)
            size >>= 1
        self._complete.append(node)
        self.size += 1

    def root(self) -> Hash:
        """The root at present."""
        return _fold(self._complete)


def root(size: int, node: Node) -> Hash:
    """The root of the first ``size`` leaves."""
    return _root_of(0, size, node)


def inclusion_proof(index: int, size: int, node: Node) -> list[Hash]:
    """That leaf ``index`` is in the tree of the first ``size`` leaves (section 2.1.3.1).

    :raises ValueError: there is no such leaf
    """
    return inclusion_proofs([index], size, node)[0]


def inclusion_proofs(indexes: Iterable[int], size: int, node: Node) -> list[list[Hash]]:
    """The same for several leaves. What their proofs share is asked for once.

    :raises ValueError: there is no such leaf
    """
    root_of = functools.cache(functools.partial(_root_of, node=node))
    proofs: list[list[Hash]] = []
    for index in indexes:
        if not 0 <= index < size:
            raise ValueError("no such leaf in this tree")
        begin, end = 0, size
        path: list[Hash] = []
        while end - begin > 1:
            middle = begin + _left_size(end - begin)
            if index < middle:
                path.append(root_of(middle, end))
                end = middle
            else:
                path.append(root_of(begin, middle))
                begin = middle
        proofs.append(path[::-1])
    return proofs


def consistency_proof(old: int, new: int, node: Node) -> list[Hash]:
    """That the first ``old`` leaves of a tree of ``new`` are those of the tree of size ``old``
    (section 2.1.4.1). Empty if the sizes are equal.

    :raises ValueError: not 0 < old <= new
    """
    if not 0 < old <= new:
        raise ValueError("these are no two sizes of one tree")
    begin, end = 0, new
    path: list[Hash] = []
    while old != end:
        middle = begin + _left_size(end - begin)
        if old <= middle:
            path.append(_root_of(middle, end, node))
            end = middle
        else:
            path.append(_root_of(begin, middle, node))
            begin = middle
    if begin > 0:
        path.append(_root_of(begin, end, node))
    return path[::-1]


def is_included(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root_hash: bytes
) -> bool:
    """Whether a proof shows that ``leaf`` (a leaf's hash) is number ``index`` of the tree
    (section 2.1.3.2)."""
    return root_of_inclusion(leaf, index, size, proof) == root_hash


def root_of_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> Hash | None:
    """The root of the tree in which a proof puts ``leaf``; ``None`` if the proof has not the length
    that its place needs."""
    if not 0 <= index < size:
        return None
    here, last = index, size - 1
    found = Hash(leaf)
    for sibling in proof:
        if last == 0:
            return None
        if here & 1 or here == last:
            found = node_hash(sibling, found)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        here, last = here >> 1, last >> 1
    return found if last == 0 else None


def is_consistent(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether a proof shows that the larger tree begins with the smaller one (section 2.1.4.2)."""
    if not 0 < old <= new:
        return False
    if old == new:
        return old_root == new_root and not proof
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, Hash(old_root))
    if not path:
        return False
    here, last = old - 1, new - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    first = second = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if here & 1 or here == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _left_size(size: int) -> int:
    """The largest power of two below ``size``: how many leaves are on the left."""
    return 1 << (size - 1).bit_length() - 1


def _root_of(begin: int, end: int, node: Node) -> Hash:
    """The root over some leaves, which begin where a node of this size can."""
    size = end - begin
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, begin >> level) if size else EMPTY_ROOT
    complete: list[Hash] = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        complete.append(node(level, begin >> level))
        begin += 1 << level
    return _fold(complete)


def _fold(complete: Sequence[Hash]) -> Hash:
    """The root over complete nodes, largest first."""
    if not complete:
        return EMPTY_ROOT
    found = complete[-1]
    for left in reversed(complete[:-1]):
        found = node_hash(left, found)
    return found
